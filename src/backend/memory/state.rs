//! What the memory backend remembers.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::backend::{AttachMode, BackendError, Page, Result};
use crate::volume::{
    Bytes, Device, DeviceNumber, GroupSnapshot, GroupSnapshotId, Node, NodeId, Snapshot,
    SnapshotId, Volume, VolumeId,
};

/// The block-major number that Linux hands out for devices without one of their own.
const EXTENDED_MAJOR: u32 = 259;

#[derive(Default)]
pub(super) struct State {
    pub(super) volumes: BTreeMap<VolumeId, Volume>,
    pub(super) snapshots: BTreeMap<SnapshotId, Snapshot>,
    pub(super) groups: BTreeMap<GroupSnapshotId, GroupSnapshot>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) attached: BTreeMap<VolumeId, Attached>,
    next_minor: u32,
}

pub(super) struct Attached {
    pub(super) device: Device,
    pub(super) mode: AttachMode,
}

impl State {
    pub(super) fn volume(&self, id: &VolumeId) -> Result<&Volume> {
        let missing = || BackendError::NotFound(format!("volume {id}"));
        self.volumes.get(id).ok_or_else(missing)
    }

    pub(super) fn volume_mut(&mut self, id: &VolumeId) -> Result<&mut Volume> {
        let missing = || BackendError::NotFound(format!("volume {id}"));
        self.volumes.get_mut(id).ok_or_else(missing)
    }

    pub(super) fn snapshot(&self, id: &SnapshotId) -> Result<&Snapshot> {
        let missing = || BackendError::NotFound(format!("snapshot {id}"));
        self.snapshots.get(id).ok_or_else(missing)
    }

    /// How much volumes and snapshots take.
    pub(super) fn used(&self) -> Bytes {
        let volumes: u64 = self.volumes.values().map(|it| it.size.0).sum();
        let snapshots: u64 = self.snapshots.values().map(|it| it.size.0).sum();
        Bytes(volumes + snapshots)
    }

    /// How many volumes but `except` are published to `node`.
    pub(super) fn published_to(&self, node: &NodeId, except: &VolumeId) -> usize {
        let others = self.volumes.values().filter(|it| it.id != *except);
        others
            .filter(|it| it.publications.iter().any(|it| it.node == *node))
            .count()
    }

    /// The device of a volume, a new one if it has none.
    pub(super) fn attach(&mut self, id: &VolumeId, size: Bytes, mode: AttachMode) -> Device {
        let minor = self.next_minor;
        let attached = self.attached.entry(id.clone()).or_insert_with(|| {
            self.next_minor += 1;
            let number = DeviceNumber {
                major: EXTENDED_MAJOR,
                minor,
            };
            let device = Device {
                path: format!("/dev/offshoot-memory/{id}").into(),
                number,
                size,
                read_only: mode.read_only,
            };
            Attached { device, mode }
        });
        attached.device.clone()
    }
}

/// The entries of a page, in the order of their keys.
pub(super) fn page<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    page: &'a Page<K>,
) -> impl Iterator<Item = &'a V> {
    let from = page
        .after
        .as_ref()
        .map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<K, _>((from, Bound::Unbounded))
        .map(|(_, value)| value)
        .take(page.limit)
}
