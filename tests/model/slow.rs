//! A backend that takes its time at random, so that calls meet and are cut off in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use faultlab::Random;
use offshoot::backend::{
    AttachMode, Attachment, Backend, Capacity, Inventory, Measured, NewGroupSnapshot, NewSnapshot,
    NewVolume, Page, Result, Traits,
};
use offshoot::volume::{
    Bytes, Device, GroupSnapshot, GroupSnapshotId, Health, Node, NodeId, Provisioning, Publication,
    Settings, Snapshot, SnapshotId, StorageHealth, Volume, VolumeId,
};

pub(crate) struct Slow {
    inner: Arc<dyn Backend>,
    calls: AtomicU64,
}

impl Slow {
    pub(crate) fn new(inner: Arc<dyn Backend>, seed: u64) -> Self {
        let calls = AtomicU64::new(seed << 32);
        Self { inner, calls }
    }

    /// Lets others run, often; makes them wait, now and then.
    async fn pause(&self) {
        let mut random = Random::new(self.calls.fetch_add(1, Ordering::Relaxed));
        for _ in 0..random.below(3) {
            tokio::task::yield_now().await;
        }
        if random.below(128) == 0 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

macro_rules! slow {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Backend for Slow {
            fn traits(&self) -> Traits {
                self.inner.traits()
            }

            fn inventory(&self) -> Option<Inventory> {
                self.inner.inventory()
            }

            $(async fn $method(&self, $($argument: $kind),*) -> Result<$answer> {
                self.pause().await;
                let answer = self.inner.$method($($argument),*).await;
                self.pause().await;
                answer
            })+
        }
    };
}

slow! {
    create_volume(new: NewVolume) -> Volume;
    volume(id: &VolumeId) -> Volume;
    volumes(page: Page<VolumeId>) -> Vec<Volume>;
    delete_volume(id: &VolumeId) -> ();
    grow_volume(id: &VolumeId, size: Bytes) -> Volume;
    modify_volume(id: &VolumeId, settings: Settings) -> Volume;
    publish_volume(id: &VolumeId, publication: Publication, limit: Option<u32>) -> ();
    unpublish_volume(id: &VolumeId, node: Option<&NodeId>) -> ();
    create_snapshot(new: NewSnapshot) -> Snapshot;
    snapshot(id: &SnapshotId) -> Snapshot;
    snapshots(source: Option<&VolumeId>, page: Page<SnapshotId>) -> Vec<Snapshot>;
    delete_snapshot(id: &SnapshotId) -> ();
    create_group(new: NewGroupSnapshot) -> GroupSnapshot;
    group(id: &GroupSnapshotId) -> GroupSnapshot;
    delete_group(id: &GroupSnapshotId) -> ();
    capacity(provisioning: Provisioning) -> Capacity;
    volume_health(id: &VolumeId) -> Vec<Health>;
    unhealthy_volumes() -> Vec<(VolumeId, Vec<Health>)>;
    storage_health() -> Vec<StorageHealth>;
    measure() -> Measured;
    register_node(node: Node) -> ();
    node(id: &NodeId) -> Node;
    attach(id: &VolumeId, mode: AttachMode) -> Attachment;
    attached(id: &VolumeId) -> Option<Device>;
    detach(id: &VolumeId) -> ();
    refresh(id: &VolumeId) -> Device;
}
