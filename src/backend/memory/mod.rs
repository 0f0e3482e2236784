//! A backend that keeps everything in memory: for tests, for csi-sanity without root, and to try the driver.
//!
//! It follows every rule of [`Backend`] but durability, which nothing in memory has. Bytes are not kept: its devices
//! exist only in what it says about them.

mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use self::state::{Attached, State, page};
use super::{
    AttachMode, Attachment, Backend, BackendError, Capacity, Inventory, Measured, NewContents,
    NewGroupSnapshot, NewSnapshot, NewVolume, Origin, Page, PoolUsage, Result, Traits,
};
use crate::volume::{
    Bytes, Contents, Device, GroupSnapshot, GroupSnapshotId, Health, HealthStatus, Node, NodeId,
    Provisioning, Publication, Settings, Snapshot, SnapshotId, Source, StorageHealth, Topology,
    Volume, VolumeId,
};

/// What the memory backend pretends to be.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    /// Where its volumes can be reached from.
    pub topology: Vec<Topology>,
    /// How much it holds; every volume and snapshot takes its whole size.
    pub pool: Bytes,
    /// Volumes can be published to several nodes.
    pub multi_node: bool,
}

/// See the module's documentation.
pub struct MemoryBackend {
    config: MemoryConfig,
    state: Mutex<State>,
}

impl MemoryBackend {
    /// An empty backend.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self {
            config,
            state: Mutex::default(),
        }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn require(&self, state: &State, needed: Bytes) -> Result<()> {
        let available = Bytes(self.config.pool.0.saturating_sub(state.used().0));
        if needed > available {
            return Err(BackendError::NoSpace { needed, available });
        }
        Ok(())
    }

    fn cut(
        &self,
        state: &State,
        new: NewSnapshot,
        group: Option<GroupSnapshotId>,
    ) -> Result<Snapshot> {
        let source = state.volume(&new.source)?;
        Ok(Snapshot {
            id: new.id,
            name: new.name,
            size: source.size,
            contents: source.contents.clone(),
            source: new.source,
            created_at: SystemTime::now(),
            group,
            topology: self.config.topology.clone(),
        })
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn traits(&self) -> Traits {
        Traits {
            multi_node: self.config.multi_node,
            topology: self.config.topology.clone(),
        }
    }

    async fn create_volume(&self, new: NewVolume) -> Result<Volume> {
        let mut state = self.lock();
        if let Some(existing) = state.volumes.get(&new.id) {
            return Err(BackendError::VolumeExists(Box::new(existing.clone())));
        }
        let (contents, source) = match new.origin {
            Origin::New(NewContents::Block) => (Contents::Block, None),
            Origin::New(NewContents::Filesystem(fs)) => {
                let uuid = uuid_of(&new.id);
                (Contents::Filesystem { fs, uuid }, None)
            }
            Origin::Copy(source) => {
                let contents = match &source {
                    Source::Snapshot(id) => state.snapshot(id)?.contents.clone(),
                    Source::Volume(id) => state.volume(id)?.contents.clone(),
                };
                (contents, Some(source))
            }
        };
        self.require(&state, new.size)?;
        let volume = Volume {
            id: new.id.clone(),
            name: new.name,
            size: new.size,
            contents,
            source,
            settings: new.settings,
            request: new.request,
            topology: self.config.topology.clone(),
            publications: Vec::new(),
        };
        state.volumes.insert(new.id, volume.clone());
        Ok(volume)
    }

    async fn volume(&self, id: &VolumeId) -> Result<Volume> {
        self.lock().volume(id).cloned()
    }

    async fn volumes(&self, wanted: Page<VolumeId>) -> Result<Vec<Volume>> {
        Ok(page(&self.lock().volumes, &wanted).cloned().collect())
    }

    async fn delete_volume(&self, id: &VolumeId) -> Result<()> {
        let mut state = self.lock();
        if let Some(attached) = state.attached.get(id) {
            return Err(BackendError::InUse {
                object: format!("volume {id}"),
                user: attached.device.path.display().to_string(),
            });
        }
        state.volumes.remove(id);
        Ok(())
    }

    async fn grow_volume(&self, id: &VolumeId, size: Bytes) -> Result<Volume> {
        let mut state = self.lock();
        let growth = size.0.saturating_sub(state.volume(id)?.size.0);
        self.require(&state, Bytes(growth))?;
        let volume = state.volume_mut(id)?;
        volume.size = volume.size.max(size);
        Ok(volume.clone())
    }

    async fn modify_volume(&self, id: &VolumeId, settings: Settings) -> Result<Volume> {
        let mut state = self.lock();
        let volume = state.volume_mut(id)?;
        volume.settings = settings;
        Ok(volume.clone())
    }

    async fn publish_volume(
        &self,
        id: &VolumeId,
        publication: Publication,
        limit: Option<u32>,
    ) -> Result<()> {
        let mut state = self.lock();
        state.volume(id)?;
        let node = &publication.node;
        let others = state.published_to(node, id);
        if limit.is_some_and(|limit| others >= limit as usize) {
            return Err(BackendError::NodeFull {
                node: node.clone(),
                limit: limit.unwrap_or_default(),
            });
        }
        let publications = &mut state.volume_mut(id)?.publications;
        publications.retain(|it| it.node != publication.node);
        publications.push(publication);
        Ok(())
    }

    async fn unpublish_volume(&self, id: &VolumeId, node: Option<&NodeId>) -> Result<()> {
        let mut state = self.lock();
        let stays = |it: &Publication| node.is_some_and(|node| it.node != *node);
        state.volume_mut(id)?.publications.retain(stays);
        Ok(())
    }

    async fn create_snapshot(&self, new: NewSnapshot) -> Result<Snapshot> {
        let mut state = self.lock();
        if let Some(existing) = state.snapshots.get(&new.id) {
            return Err(BackendError::SnapshotExists(Box::new(existing.clone())));
        }
        let snapshot = self.cut(&state, new, None)?;
        self.require(&state, snapshot.size)?;
        state
            .snapshots
            .insert(snapshot.id.clone(), snapshot.clone());
        Ok(snapshot)
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.lock().snapshot(id).cloned()
    }

    async fn snapshots(
        &self,
        source: Option<&VolumeId>,
        wanted: Page<SnapshotId>,
    ) -> Result<Vec<Snapshot>> {
        let state = self.lock();
        let everything = Page {
            after: wanted.after,
            limit: usize::MAX,
        };
        let snapshots = page(&state.snapshots, &everything)
            .filter(|it| source.is_none_or(|source| it.source == *source));
        Ok(snapshots.take(wanted.limit).cloned().collect())
    }

    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let mut state = self.lock();
        if let Some(group) = state.snapshots.get(id).and_then(|it| it.group.as_ref()) {
            return Err(BackendError::Unsupported(format!(
                "snapshot {id} belongs to group snapshot {group}; delete the group"
            )));
        }
        state.snapshots.remove(id);
        Ok(())
    }

    async fn create_group(&self, new: NewGroupSnapshot) -> Result<GroupSnapshot> {
        let mut state = self.lock();
        if let Some(existing) = state.groups.get(&new.id) {
            return Err(BackendError::GroupExists(Box::new(existing.clone())));
        }
        let cut = |source: &VolumeId| {
            let member = NewSnapshot {
                id: SnapshotId::of_member(&new.id, source),
                name: new.name.clone(),
                source: source.clone(),
            };
            self.cut(&state, member, Some(new.id.clone()))
        };
        let snapshots = new.sources.iter().map(cut).collect::<Result<Vec<_>>>()?;
        self.require(&state, Bytes(snapshots.iter().map(|it| it.size.0).sum()))?;
        for snapshot in &snapshots {
            state
                .snapshots
                .insert(snapshot.id.clone(), snapshot.clone());
        }
        let group = GroupSnapshot {
            id: new.id.clone(),
            name: new.name,
            snapshots,
            created_at: SystemTime::now(),
        };
        state.groups.insert(new.id, group.clone());
        Ok(group)
    }

    async fn group(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        let state = self.lock();
        let missing = || BackendError::NotFound(format!("group snapshot {id}"));
        state.groups.get(id).cloned().ok_or_else(missing)
    }

    async fn delete_group(&self, id: &GroupSnapshotId) -> Result<()> {
        let mut state = self.lock();
        for member in state.groups.remove(id).iter().flat_map(|it| &it.snapshots) {
            state.snapshots.remove(&member.id);
        }
        Ok(())
    }

    async fn capacity(&self, _: Provisioning) -> Result<Capacity> {
        let available = Bytes(self.config.pool.0.saturating_sub(self.lock().used().0));
        Ok(Capacity {
            available,
            maximum_volume_size: available,
        })
    }

    async fn volume_health(&self, id: &VolumeId) -> Result<Vec<Health>> {
        let state = self.lock();
        let volume = state.volume(id)?;
        let behind = state
            .attached
            .get(id)
            .filter(|it| it.device.size < volume.size);
        Ok(behind.map(|_| not_refreshed(volume)).into_iter().collect())
    }

    async fn unhealthy_volumes(&self) -> Result<Vec<(VolumeId, Vec<Health>)>> {
        let state = self.lock();
        let behind = state.attached.iter().filter_map(|(id, attached)| {
            let volume = state.volumes.get(id)?;
            (attached.device.size < volume.size).then(|| (id.clone(), vec![not_refreshed(volume)]))
        });
        Ok(behind.collect())
    }

    async fn storage_health(&self) -> Result<Vec<StorageHealth>> {
        Ok(Vec::new())
    }

    async fn measure(&self) -> Result<Measured> {
        let state = self.lock();
        let capacity = self.config.pool;
        Ok(Measured {
            pool: PoolUsage {
                capacity,
                available: Bytes(capacity.0.saturating_sub(state.used().0)),
                reserve: Bytes(0),
            },
            devices: state.attached.len() as u64,
        })
    }

    fn inventory(&self) -> Option<Inventory> {
        let state = self.lock();
        let mut inventory = Inventory {
            snapshots: state.snapshots.len() as u64,
            group_snapshots: state.groups.len() as u64,
            ..Inventory::default()
        };
        state.volumes.values().for_each(|it| inventory.add(it));
        Some(inventory)
    }

    async fn register_node(&self, node: Node) -> Result<()> {
        self.lock().nodes.insert(node.id.clone(), node);
        Ok(())
    }

    async fn node(&self, id: &NodeId) -> Result<Node> {
        let missing = || BackendError::NotFound(format!("node {id}"));
        self.lock().nodes.get(id).cloned().ok_or_else(missing)
    }

    async fn attach(&self, id: &VolumeId, mode: AttachMode) -> Result<Attachment> {
        let mut state = self.lock();
        let size = state.volume(id)?.size;
        if let Some(attached) = state.attached.get(id).filter(|it| it.mode != mode) {
            return Err(BackendError::InUse {
                object: format!("volume {id}"),
                user: format!("{} in another mode", attached.device.path.display()),
            });
        }
        let device = state.attach(id, size, mode);
        Ok(Attachment { device, hold: None })
    }

    async fn attached(&self, id: &VolumeId) -> Result<Option<Device>> {
        Ok(self.lock().attached.get(id).map(|it| it.device.clone()))
    }

    async fn detach(&self, id: &VolumeId) -> Result<()> {
        self.lock().attached.remove(id);
        Ok(())
    }

    async fn refresh(&self, id: &VolumeId) -> Result<Device> {
        let mut state = self.lock();
        let size = state.volume(id)?.size;
        let Some(Attached { device, .. }) = state.attached.get_mut(id) else {
            return Err(BackendError::NotFound(format!("a device of volume {id}")));
        };
        device.size = size;
        Ok(device.clone())
    }
}

/// A UUID made of the digits of the id.
fn uuid_of(id: &VolumeId) -> String {
    let digits = id.as_str().trim_start_matches("v1-");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|range| &digits[range]).join("-")
}

fn not_refreshed(volume: &Volume) -> Health {
    Health {
        status: HealthStatus::Degraded,
        reason: "DeviceSmallerThanVolume",
        message: format!(
            "the volume has {}, its device less: expand it on the node",
            volume.size
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::conformance;

    #[tokio::test]
    async fn it_conforms() {
        let backend = MemoryBackend::new(MemoryConfig {
            topology: vec![Topology::default()],
            pool: Bytes(1 << 40),
            multi_node: true,
        });
        conformance::run(&backend).await;
        conformance::run_node(&backend).await;
    }
}
