//! Where volumes live.
//!
//! A backend is naive and honest: it does what it is told, durably, and says what it found. Idempotency, comparison of
//! requests and the choice of codes belong to `controller`; mounts belong to `node`. Each method returns only when its
//! effect would survive a power cut. A call that was cut short by a crash may be repeated and converges.
//!
//! The caller holds the claim of the volume, snapshot or group that it names (see `in_flight`), so two changing calls
//! never meet on one object. Calls on different objects run side by side.

#[doc(hidden)]
pub mod conformance;
pub mod file;
pub mod memory;

use async_trait::async_trait;
use std::any::Any;
use std::error::Error as StdError;
use thiserror::Error;

use crate::exhausted;
use crate::volume::{
    Bytes, CapacityRange, Contents, Device, Digest, FsType, GroupSnapshot, GroupSnapshotId, Health,
    Name, Node, NodeId, Provisioning, Publication, Settings, Snapshot, SnapshotId, Source,
    StorageHealth, Topology, Volume, VolumeId,
};

/// What a backend can do beyond what all of them can, and where its storage is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// A volume can be published to several nodes at once.
    pub multi_node: bool,
    /// Where its volumes can be reached from; empty means everywhere.
    pub topology: Vec<Topology>,
}

/// What a new volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewContents {
    /// Raw zeros.
    Block,
    /// A new filesystem.
    Filesystem(FsType),
}

impl NewContents {
    /// The smallest volume that can hold it.
    #[must_use]
    pub fn minimum_size(self) -> Bytes {
        match self {
            Self::Block => Bytes(CapacityRange::UNIT),
            Self::Filesystem(fs) => fs.minimum_size(),
        }
    }
}

/// With what a new volume begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: it is made anew.
    New(NewContents),
    /// The bytes of a snapshot or of a volume; the contents are the source's.
    Copy(Source),
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// Derived from the name.
    pub id: VolumeId,
    /// The CO's.
    pub name: Name,
    /// At least the source's size.
    pub size: Bytes,
    /// What it begins with.
    pub origin: Origin,
    /// Its settings.
    pub settings: Settings,
    /// To be kept with it.
    pub request: Digest,
}

/// A snapshot to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Derived from the name.
    pub id: SnapshotId,
    /// The CO's.
    pub name: Name,
    /// Of which volume.
    pub source: VolumeId,
}

/// A group of snapshots to be cut at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroupSnapshot {
    /// Derived from the name.
    pub id: GroupSnapshotId,
    /// The CO's.
    pub name: Name,
    /// Of which volumes: sorted, without repetition, at least one.
    pub sources: Vec<VolumeId>,
}

/// A part of a list: at most `limit` entries with ids greater than `after`, in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Id> {
    /// The last id of the page before.
    pub after: Option<Id>,
    /// How many entries at most.
    pub limit: usize,
}

/// How much can be provisioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Space that is free now, the reserve left out.
    pub available: Bytes,
    /// The largest volume that could be made now.
    pub maximum_volume_size: Bytes,
}

/// How full the storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// All there is.
    pub capacity: Bytes,
    /// Space that is free now, the reserve left out.
    pub available: Bytes,
    /// What is kept free.
    pub reserve: Bytes,
}

/// What a look at the storage and at this machine shows, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How full it is.
    pub pool: PoolUsage,
    /// How many devices of this machine are volumes.
    pub devices: u64,
}

/// How many objects there are, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Volumes that are published to a node.
    pub published_volumes: u64,
    /// Volumes that are not.
    pub unpublished_volumes: u64,
    /// Volumes whose record is damaged.
    pub quarantined_volumes: u64,
    /// The sizes of all volumes together, as their users see them.
    pub provisioned: Bytes,
    /// Snapshots, members of groups included.
    pub snapshots: u64,
    /// Snapshots whose record is damaged.
    pub quarantined_snapshots: u64,
    /// Group snapshots.
    pub group_snapshots: u64,
}

impl Inventory {
    /// Counts a volume.
    pub(crate) fn add(&mut self, volume: &Volume) {
        if volume.publications.is_empty() {
            self.unpublished_volumes += 1;
        } else {
            self.published_volumes += 1;
        }
        self.provisioned = Bytes(self.provisioned.0.saturating_add(volume.size.0));
    }
}

/// How a volume is to be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachMode {
    /// The device must refuse writes.
    pub read_only: bool,
    /// How long the device stays without anybody holding it open.
    pub lifetime: Lifetime,
}

/// How long an attached device stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until its last user is gone: a mount keeps it, and a driver that dies leaks nothing.
    WhileInUse,
    /// Until [`Backend::detach`]: a raw block volume is bound into place without being open.
    UntilDetached,
}

/// A volume that is a block device of this node.
pub struct Attachment {
    /// The device.
    pub device: Device,
    /// Keeps a [`Lifetime::WhileInUse`] device in existence until the caller has mounted it.
    pub hold: Option<Box<dyn Any + Send + Sync>>,
}

/// What any backend could say. Everything else is [`BackendError::Other`].
#[derive(Debug, Error)]
pub enum BackendError {
    /// No such volume, snapshot, group, source or node.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A volume of this id exists.
    #[error("volume {} exists", .0.id)]
    VolumeExists(Box<Volume>),
    /// A snapshot of this id exists.
    #[error("snapshot {} exists", .0.id)]
    SnapshotExists(Box<Snapshot>),
    /// A group of this id exists.
    #[error("group snapshot {} exists", .0.id)]
    GroupExists(Box<GroupSnapshot>),
    /// The pool has no room.
    #[error(
        "{needed} needed, {available} available: delete volumes or snapshots, or enlarge the storage"
    )]
    NoSpace {
        /// What was to be taken.
        needed: Bytes,
        /// What may be taken.
        available: Bytes,
    },
    /// The pool became full on the way; nothing was made.
    #[error(
        "failed to {0}: the storage is full; delete volumes or snapshots, or enlarge the storage"
    )]
    Full(String),
    /// Somebody uses it.
    #[error("{object} is in use by {user}")]
    InUse {
        /// The volume or snapshot.
        object: String,
        /// Who uses it.
        user: String,
    },
    /// The node has as many volumes as it may have.
    #[error("node {node} has {limit} volumes, its limit")]
    NodeFull {
        /// The node.
        node: NodeId,
        /// Its limit.
        limit: u32,
    },
    /// The volumes of a group were written while it was cut, each time.
    #[error(
        "the volumes were written to in each of {attempts} attempts to cut them at one moment: try again when there is less load"
    )]
    NotQuiet {
        /// How often it was tried.
        attempts: u32,
    },
    /// Not for this volume.
    #[error("{0}")]
    Unsupported(String),
    /// The object's record is damaged: it is quarantined, its bytes are untouched.
    #[error("{object} is quarantined: {reason}")]
    Damaged {
        /// The volume or snapshot.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// The storage cannot be reached or is not the one we knew; nothing was changed.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// Each node has volumes of its own, and this one may be another's.
    #[error("{0} is not on this node; its own node does what was asked")]
    Elsewhere(String),
    /// This machine has no more of something; nothing was made.
    #[error(
        "failed to {action}: this machine has no {what} left; end what uses them, or raise its limits"
    )]
    Exhausted {
        /// What was tried, with which object.
        action: String,
        /// What there is none of.
        what: &'static str,
    },
    /// Something that only this backend could say.
    #[error("failed to {action}")]
    Other {
        /// What was tried, with which object.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl BackendError {
    /// An error that only this backend could say, or that this machine has no more of something.
    pub fn other(
        action: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let (action, source) = (action.into(), source.into());
        match exhausted(source.as_ref()) {
            Some(what) => Self::Exhausted { action, what },
            None => Self::Other { action, source },
        }
    }
}

/// The result of a backend's method.
pub type Result<T> = std::result::Result<T, BackendError>;

/// Storage with volumes in it. See the module's documentation for what holds of each method.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What it can do; never changes.
    fn traits(&self) -> Traits;

    // --- Controller half ---------------------------------------------------------------------------------------------

    /// Makes a volume, whole or not at all. `VolumeExists` tells what stands in the way; `NotFound` that the source is gone.
    async fn create_volume(&self, new: NewVolume) -> Result<Volume>;
    /// The volume as it is now.
    async fn volume(&self, id: &VolumeId) -> Result<Volume>;
    /// A page of all volumes. Quarantined ones are left out.
    async fn volumes(&self, page: Page<VolumeId>) -> Result<Vec<Volume>>;
    /// Removes the volume and its bytes; `InUse` while any node has it attached. Snapshots of it stay.
    async fn delete_volume(&self, id: &VolumeId) -> Result<()>;
    /// Makes the volume `size` large; it is never made smaller. What is published sees the new size after [`Self::refresh`].
    async fn grow_volume(&self, id: &VolumeId, size: Bytes) -> Result<Volume>;
    /// Gives the volume new settings, and its device too where it is attached on this machine.
    async fn modify_volume(&self, id: &VolumeId, settings: Settings) -> Result<Volume>;
    /// Records a publication (an equal one may exist). `NodeFull` when the node would have more volumes than `limit`.
    async fn publish_volume(
        &self,
        id: &VolumeId,
        publication: Publication,
        limit: Option<u32>,
    ) -> Result<()>;
    /// Forgets the publication to `node`, or to all nodes. After that the node can no longer write to the volume.
    async fn unpublish_volume(&self, id: &VolumeId, node: Option<&NodeId>) -> Result<()>;

    /// Cuts a snapshot, whole or not at all: everything that was acknowledged to be on the volume is in it.
    async fn create_snapshot(&self, new: NewSnapshot) -> Result<Snapshot>;
    /// The snapshot.
    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot>;
    /// A page of all snapshots, of one volume or of all.
    async fn snapshots(
        &self,
        source: Option<&VolumeId>,
        page: Page<SnapshotId>,
    ) -> Result<Vec<Snapshot>>;
    /// Removes a snapshot that belongs to no group. Volumes made from it stay.
    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<()>;

    /// Cuts snapshots of several volumes at one moment, all or none.
    async fn create_group(&self, new: NewGroupSnapshot) -> Result<GroupSnapshot>;
    /// The group with its snapshots.
    async fn group(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot>;
    /// Removes the group and its snapshots, all of them even after a crash.
    async fn delete_group(&self, id: &GroupSnapshotId) -> Result<()>;

    /// How much can be provisioned in this way.
    async fn capacity(&self, provisioning: Provisioning) -> Result<Capacity>;
    /// What is wrong with a volume as seen from the storage. A volume that is lost or quarantined is reported, not `NotFound`.
    async fn volume_health(&self, id: &VolumeId) -> Result<Vec<Health>>;
    /// The volumes with which something is wrong, quarantined ones too.
    async fn unhealthy_volumes(&self) -> Result<Vec<(VolumeId, Vec<Health>)>>;
    /// What is wrong with the storage as a whole.
    async fn storage_health(&self) -> Result<Vec<StorageHealth>>;
    /// How full it is, and how many devices it has here; may wait for the storage.
    async fn measure(&self) -> Result<Measured>;
    /// How many objects there are, from memory: never waits. `None` where that is not known.
    fn inventory(&self) -> Option<Inventory>;

    /// Makes a node known, or known anew.
    async fn register_node(&self, node: Node) -> Result<()>;
    /// A node that has been made known.
    async fn node(&self, id: &NodeId) -> Result<Node>;

    // --- Node half ---------------------------------------------------------------------------------------------------

    /// Makes the volume a block device here, with its settings applied; the same device when it is one already.
    /// `InUse` when it is attached in another mode.
    async fn attach(&self, id: &VolumeId, mode: AttachMode) -> Result<Attachment>;
    /// The device that the volume is here, checked against the kernel; `None` when it is none. Works for volumes that are gone.
    async fn attached(&self, id: &VolumeId) -> Result<Option<Device>>;
    /// Takes the device away; nothing to do when there is none. The caller has proved that nobody uses it.
    async fn detach(&self, id: &VolumeId) -> Result<()>;
    /// Gives the device the volume's present size and settings; the device as it is then.
    async fn refresh(&self, id: &VolumeId) -> Result<Device>;
}

/// What a volume made from `contents` would hold, for comparison with a request.
impl From<&Contents> for NewContents {
    fn from(contents: &Contents) -> Self {
        match contents {
            Contents::Block => Self::Block,
            Contents::Filesystem { fs, .. } => Self::Filesystem(*fs),
        }
    }
}
