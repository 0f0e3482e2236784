//! The embedded backend: the volume is its file.
//!
//! ```text
//! <data-dir>/offshoot           identity of the directory; also the lock of its controller
//! <data-dir>/volumes/<id>       the block image, sparse or allocated; its record is an extended attribute
//! <data-dir>/snapshots/<id>     likewise: a reflink of its source, or a sparse copy
//! <data-dir>/groups/<id>        an empty file whose record lists the members: the commit of a group snapshot
//! <data-dir>/nodes/<hash>       the nodes that are known
//! <data-dir>/node/              what the node half published (host::linux)
//! ```
//!
//! A file gets its name when it is finished and synced, so no crash leaves a half-made one. There is no database that
//! could disagree with the files: what is kept in memory is an index, made anew at start. A record that fails its
//! checksum quarantines its volume alone.

mod attach;
mod copy;
mod create;
mod error;
mod group;
mod health;
pub(crate) mod identity;
mod index;
pub(crate) mod layout;
mod measure;
mod nodes;
mod open;
mod pool;
mod publish;
pub(crate) mod record;
mod snapshot;
mod templates;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::identity::Identity;
use self::index::Index;
use self::layout::Layout;
use self::templates::Templates;
use super::{
    AttachMode, Attachment, Backend, BackendError, Capacity, Inventory, Measured, NewGroupSnapshot,
    NewSnapshot, NewVolume, Page, Result, Traits,
};
use crate::blocking;
use crate::host::linux::loop_device::LoopControl;
use crate::volume::{
    Bytes, Device, GroupSnapshot, GroupSnapshotId, Health, Node, NodeId, Provisioning, Publication,
    Settings, Snapshot, SnapshotId, StorageHealth, Topology, Volume, VolumeId,
};

pub(crate) use index::GroupRecord;
pub use open::OpenError;

/// Which half of the driver uses the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that changes volumes; there is one at a time. It may attach them too.
    Controller,
    /// One that only attaches volumes, and reads their records when it needs them.
    Node,
}

/// Where the backend keeps its volumes, and how.
#[derive(Debug, Clone)]
pub struct FileBackendConfig {
    /// The directory.
    pub data_dir: PathBuf,
    /// Which half of the driver this is.
    pub role: Role,
    /// The node that the directory belongs to.
    pub node_id: NodeId,
    /// The share of the filesystem that stays free, in percent.
    pub reserve_percent: u8,
    /// The key under which volumes say where they are.
    pub topology_key: String,
}

/// See the module's documentation.
pub struct FileBackend(Arc<Store>);

/// What the blocking threads work with.
struct Store {
    config: FileBackendConfig,
    layout: Layout,
    identity: Identity,
    topology: Vec<Topology>,
    /// What the controller knows; a node reads the files.
    index: Option<Mutex<Index>>,
    loops: LoopControl,
    templates: Templates,
}

impl FileBackend {
    /// Opens the directory, or makes an empty one ours. Blocks.
    pub fn open(config: FileBackendConfig) -> std::result::Result<Self, OpenError> {
        Store::open(config).map(|store| Self(Arc::new(store)))
    }

    /// Runs what blocks on a thread of its own.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.0.clone();
        match blocking::run(move || work(&store)).await {
            Ok(result) => result,
            Err(error) => Err(BackendError::other("finish a blocking operation", error)),
        }
    }
}

impl Store {
    /// The index. Only the controller half calls what needs it. No code panics while it holds the lock.
    fn index(&self) -> Result<MutexGuard<'_, Index>> {
        match &self.index {
            Some(index) => Ok(index.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(BackendError::Unsupported(
                "this process is the node half; ask the controller".to_owned(),
            )),
        }
    }

    /// Refuses to change anything while the directory is not where it was: its disk may be about to go, and an answer would
    /// not be about what the operator sees.
    fn check_identity(&self) -> Result<()> {
        let path = &self.config.data_dir;
        match self.identity.is_at(path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(BackendError::Unavailable(format!(
                "{} is not the directory it was; mount it again",
                path.display()
            ))),
            Err(error) => Err(BackendError::Unavailable(format!(
                "{}: {error}",
                path.display()
            ))),
        }
    }

    /// The volume: from the index, or from its file where there is none.
    fn volume(&self, id: &VolumeId) -> Result<Volume> {
        match &self.index {
            Some(_) => self.index()?.volume(id).cloned(),
            None => self.read_volume(id),
        }
    }
}

#[async_trait]
impl Backend for FileBackend {
    fn traits(&self) -> Traits {
        Traits {
            multi_node: false,
            topology: self.0.topology.clone(),
        }
    }

    async fn create_volume(&self, new: NewVolume) -> Result<Volume> {
        self.run(move |store| store.create_volume(new)).await
    }

    async fn volume(&self, id: &VolumeId) -> Result<Volume> {
        if self.0.index.is_some() {
            return self.0.volume(id);
        }
        let id = id.clone();
        self.run(move |store| store.volume(&id)).await
    }

    async fn volumes(&self, page: Page<VolumeId>) -> Result<Vec<Volume>> {
        Ok(self.0.index()?.volumes(&page))
    }

    async fn delete_volume(&self, id: &VolumeId) -> Result<()> {
        let id = id.clone();
        self.run(move |store| store.delete_volume(&id)).await
    }

    async fn grow_volume(&self, id: &VolumeId, size: Bytes) -> Result<Volume> {
        let id = id.clone();
        self.run(move |store| store.grow_volume(&id, size)).await
    }

    async fn modify_volume(&self, id: &VolumeId, settings: Settings) -> Result<Volume> {
        let id = id.clone();
        self.run(move |store| store.modify_volume(&id, settings))
            .await
    }

    async fn publish_volume(
        &self,
        id: &VolumeId,
        publication: Publication,
        limit: Option<u32>,
    ) -> Result<()> {
        let id = id.clone();
        self.run(move |store| store.publish_volume(&id, publication, limit))
            .await
    }

    async fn unpublish_volume(&self, id: &VolumeId, node: Option<&NodeId>) -> Result<()> {
        let (id, node) = (id.clone(), node.cloned());
        self.run(move |store| store.unpublish_volume(&id, node.as_ref()))
            .await
    }

    async fn create_snapshot(&self, new: NewSnapshot) -> Result<Snapshot> {
        self.run(move |store| store.create_snapshot(&new)).await
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.0.index()?.snapshot(id).cloned()
    }

    async fn snapshots(
        &self,
        source: Option<&VolumeId>,
        page: Page<SnapshotId>,
    ) -> Result<Vec<Snapshot>> {
        Ok(self.0.index()?.snapshots(source, &page))
    }

    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let id = id.clone();
        self.run(move |store| store.delete_snapshot(&id)).await
    }

    async fn create_group(&self, new: NewGroupSnapshot) -> Result<GroupSnapshot> {
        self.run(move |store| store.create_group(&new)).await
    }

    async fn group(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        self.0.index()?.group(id)
    }

    async fn delete_group(&self, id: &GroupSnapshotId) -> Result<()> {
        let id = id.clone();
        self.run(move |store| store.delete_group(&id)).await
    }

    async fn capacity(&self, provisioning: Provisioning) -> Result<Capacity> {
        self.run(move |store| store.capacity(provisioning)).await
    }

    async fn volume_health(&self, id: &VolumeId) -> Result<Vec<Health>> {
        let id = id.clone();
        self.run(move |store| store.volume_health(&id)).await
    }

    async fn unhealthy_volumes(&self) -> Result<Vec<(VolumeId, Vec<Health>)>> {
        self.run(Store::unhealthy_volumes).await
    }

    async fn storage_health(&self) -> Result<Vec<StorageHealth>> {
        self.run(Store::storage_health).await
    }

    async fn measure(&self) -> Result<Measured> {
        self.run(Store::measure).await
    }

    fn inventory(&self) -> Option<Inventory> {
        self.0.inventory()
    }

    async fn register_node(&self, node: Node) -> Result<()> {
        self.run(move |store| store.register_node(&node)).await
    }

    async fn node(&self, id: &NodeId) -> Result<Node> {
        let id = id.clone();
        self.run(move |store| store.node(&id)).await
    }

    async fn attach(&self, id: &VolumeId, mode: AttachMode) -> Result<Attachment> {
        let id = id.clone();
        self.run(move |store| store.attach(&id, mode)).await
    }

    async fn attached(&self, id: &VolumeId) -> Result<Option<Device>> {
        let id = id.clone();
        self.run(move |store| store.attached(&id)).await
    }

    async fn detach(&self, id: &VolumeId) -> Result<()> {
        let id = id.clone();
        self.run(move |store| store.detach(&id)).await
    }

    async fn refresh(&self, id: &VolumeId) -> Result<Device> {
        let id = id.clone();
        self.run(move |store| store.refresh(&id)).await
    }
}
