//! How a volume may be used: access modes, access types, filesystems.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bytes, MountFlags};

/// CSI's access modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessMode {
    /// Read and write on one node; Kubernetes' ReadWriteOnce for drivers without SINGLE_NODE_MULTI_WRITER.
    SingleNodeWriter,
    /// Read on one node.
    SingleNodeReaderOnly,
    /// Read on many nodes.
    MultiNodeReaderOnly,
    /// Write on one node, read on the others.
    MultiNodeSingleWriter,
    /// Read and write on many nodes.
    MultiNodeMultiWriter,
    /// One workload on one node: ReadWriteOncePod.
    SingleNodeSingleWriter,
    /// Many workloads on one node: ReadWriteOnce.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// Nobody may write in this mode.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::SingleNodeReaderOnly | Self::MultiNodeReaderOnly)
    }

    /// The volume may be published to several nodes at once.
    #[must_use]
    pub fn is_multi_node(self) -> bool {
        matches!(
            self,
            Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter
        )
    }

    /// The volume may be published at a second target path of the same node.
    ///
    /// CSI's table forbids it for the SINGLE_NODE_WRITER and SINGLE_NODE_READER_ONLY modes too, but kubelets send those
    /// for ReadWriteOnce, which Kubernetes lets several pods of a node share (KEP-2485): only the exclusive mode is strict.
    #[must_use]
    pub fn allows_second_target(self) -> bool {
        self != Self::SingleNodeSingleWriter
    }
}

/// A filesystem that we make and mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsType {
    /// The default.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl FsType {
    /// Every filesystem that we know.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Reads CSI's `fs_type`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fs| fs.as_str() == name)
    }

    /// The smallest volume on which its mkfs works with our options.
    #[must_use]
    pub fn minimum_size(self) -> Bytes {
        match self {
            Self::Ext4 => Bytes(2 << 20),
            Self::Xfs => Bytes(300 << 20),
            Self::Btrfs => Bytes(114 << 20),
        }
    }

    /// The name that the kernel gives it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A mounted filesystem, as a capability asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountCapability {
    /// The filesystem; `None` leaves the choice to us.
    pub fs_type: Option<FsType>,
    /// Mount flags as the CO sent them; an allow-list judges them once the filesystem is known.
    pub flags: MountFlags,
}

/// How the volume appears to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessType {
    /// A block device.
    Block,
    /// A directory.
    Mount(MountCapability),
}

impl AccessType {
    /// Whether the volume appears as a block device.
    #[must_use]
    pub fn is_block(&self) -> bool {
        matches!(self, Self::Block)
    }
}

/// CSI's `VolumeCapability`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Who may use the volume, and where.
    pub access_mode: AccessMode,
    /// As what it appears.
    pub access_type: AccessType,
}
