//! Volumes, snapshots, groups and nodes as a backend knows them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{
    AccessMode, Bytes, FsType, GroupSnapshotId, Name, NodeId, Settings, SnapshotId, Topology,
    VolumeId,
};

/// What a volume holds, fixed when it is made.
///
/// There is no "not yet formatted": a filesystem is made before the volume exists, so that nothing that mounts a volume
/// can have a reason to format it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contents {
    /// Raw bytes, for a workload that wants a block device.
    Block,
    /// A filesystem.
    Filesystem {
        /// Its type.
        fs: FsType,
        /// The UUID in its superblock, in lower case with hyphens.
        uuid: String,
    },
}

/// What a volume was filled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A snapshot.
    Snapshot(SnapshotId),
    /// Another volume.
    Volume(VolumeId),
}

/// A digest over everything that CreateVolume was asked for and that a later request with the same name must repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of these parts, in this order.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(super::id::hashed("", parts))
    }
}

/// A node to which a volume is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// The node.
    pub node: NodeId,
    /// How it is used there.
    pub access_mode: AccessMode,
    /// As a block device, not as a directory.
    pub block: bool,
    /// The node may not write (ControllerPublishVolume `readonly`).
    pub read_only: bool,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Ours.
    pub id: VolumeId,
    /// The CO's.
    pub name: Name,
    /// Exactly what was asked for.
    pub size: Bytes,
    /// What it holds.
    pub contents: Contents,
    /// What it was filled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Its settings as they are now.
    pub settings: Settings,
    /// What it was created with.
    pub request: Digest,
    /// Where it can be reached from; empty means everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology: Vec<Topology>,
    /// Where it is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Publication>,
}

/// A snapshot of a volume. It lives on when the volume is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Ours.
    pub id: SnapshotId,
    /// The CO's; a member of a group bears the group's.
    pub name: Name,
    /// Of which volume.
    pub source: VolumeId,
    /// The size of the volume when it was cut: the least size of a volume made from it.
    pub size: Bytes,
    /// What it holds.
    pub contents: Contents,
    /// When it was cut, for display only.
    pub created_at: SystemTime,
    /// The group that it belongs to, and with which alone it can be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupSnapshotId>,
    /// Where it can be reached from; empty means everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology: Vec<Topology>,
}

/// Snapshots of several volumes, cut at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Ours.
    pub id: GroupSnapshotId,
    /// The CO's.
    pub name: Name,
    /// One for each volume, in the order of the volumes' ids.
    pub snapshots: Vec<Snapshot>,
    /// When it was cut.
    pub created_at: SystemTime,
}

/// A node on which a node plugin has started at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// As NodeGetInfo reports it.
    pub id: NodeId,
    /// How many volumes may be published to it at once; `None` sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_volumes: Option<u32>,
}
