//! What the controller knows of its files, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::backend::{BackendError, Inventory, Page, Result};
use crate::volume::{
    GroupSnapshot, GroupSnapshotId, Name, NodeId, Snapshot, SnapshotId, Topology, Volume, VolumeId,
};

/// The record of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupRecord {
    pub(super) id: GroupSnapshotId,
    pub(super) name: Name,
    pub(super) members: Vec<SnapshotId>,
    pub(super) created_at: SystemTime,
}

/// A volume, or why its record cannot be used.
enum Entry {
    Good(Box<Volume>),
    Damaged(String),
}

#[derive(Default)]
pub(super) struct Index {
    volumes: BTreeMap<VolumeId, Entry>,
    snapshots: BTreeMap<SnapshotId, Snapshot>,
    damaged_snapshots: BTreeMap<SnapshotId, String>,
    by_source: HashMap<VolumeId, BTreeSet<SnapshotId>>,
    groups: BTreeMap<GroupSnapshotId, GroupRecord>,
    published: HashMap<NodeId, usize>,
    /// Where the volume that came last is.
    topology: Vec<Topology>,
}

impl Index {
    pub(super) fn volume(&self, id: &VolumeId) -> Result<&Volume> {
        match self.volumes.get(id) {
            Some(Entry::Good(volume)) => Ok(volume),
            Some(Entry::Damaged(reason)) => Err(BackendError::Damaged {
                object: format!("volume {id}"),
                reason: reason.clone(),
            }),
            None => Err(BackendError::NotFound(format!("volume {id}"))),
        }
    }

    pub(super) fn volumes(&self, page: &Page<VolumeId>) -> Vec<Volume> {
        let good = after(&self.volumes, page).filter_map(|(_, entry)| match entry {
            Entry::Good(volume) => Some(volume.as_ref().clone()),
            Entry::Damaged(_) => None,
        });
        good.take(page.limit).collect()
    }

    /// Every id, damaged ones too.
    pub(super) fn ids(&self) -> Vec<VolumeId> {
        self.volumes.keys().cloned().collect()
    }

    pub(super) fn has_volume(&self, id: &VolumeId) -> bool {
        self.volumes.contains_key(id)
    }

    pub(super) fn inventory(&self) -> Inventory {
        let mut inventory = Inventory {
            snapshots: self.snapshots.len() as u64,
            quarantined_snapshots: self.damaged_snapshots.len() as u64,
            group_snapshots: self.groups.len() as u64,
            ..Inventory::default()
        };
        for entry in self.volumes.values() {
            match entry {
                Entry::Good(volume) => inventory.add(volume),
                Entry::Damaged(_) => inventory.quarantined_volumes += 1,
            }
        }
        inventory
    }

    pub(super) fn put_volume(&mut self, mut volume: Volume) {
        // Nearly all volumes are in the same place; what is read from a record is shared again.
        if volume.topology == self.topology {
            volume.topology.clone_from(&self.topology);
        } else {
            self.topology.clone_from(&volume.topology);
        }
        self.forget_volume(&volume.id);
        for publication in &volume.publications {
            *self.published.entry(publication.node.clone()).or_default() += 1;
        }
        self.volumes
            .insert(volume.id.clone(), Entry::Good(Box::new(volume)));
    }

    pub(super) fn put_damaged_volume(&mut self, id: VolumeId, reason: String) {
        self.forget_volume(&id);
        self.volumes.insert(id, Entry::Damaged(reason));
    }

    pub(super) fn forget_volume(&mut self, id: &VolumeId) {
        let Some(Entry::Good(volume)) = self.volumes.remove(id) else {
            return;
        };
        for publication in &volume.publications {
            if let Some(count) = self.published.get_mut(&publication.node) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Takes one of the places that a node has, until it is released; `false` when there is none.
    pub(super) fn reserve(&mut self, node: &NodeId, limit: u32) -> bool {
        let published = self.published.entry(node.clone()).or_default();
        let fits = *published < limit as usize;
        *published += usize::from(fits);
        fits
    }

    /// Gives back a place that was taken.
    pub(super) fn release(&mut self, node: &NodeId) {
        if let Some(published) = self.published.get_mut(node) {
            *published = published.saturating_sub(1);
        }
    }

    pub(super) fn snapshot(&self, id: &SnapshotId) -> Result<&Snapshot> {
        if let Some(reason) = self.damaged_snapshots.get(id) {
            return Err(BackendError::Damaged {
                object: format!("snapshot {id}"),
                reason: reason.clone(),
            });
        }
        let missing = || BackendError::NotFound(format!("snapshot {id}"));
        self.snapshots.get(id).ok_or_else(missing)
    }

    pub(super) fn snapshots(
        &self,
        source: Option<&VolumeId>,
        page: &Page<SnapshotId>,
    ) -> Vec<Snapshot> {
        let Some(source) = source else {
            let all = after(&self.snapshots, page).map(|(_, snapshot)| snapshot.clone());
            return all.take(page.limit).collect();
        };
        let ids = self.by_source.get(source).into_iter().flatten();
        let wanted = ids.filter(|id| page.after.as_ref().is_none_or(|after| *id > after));
        let snapshots = wanted.filter_map(|id| self.snapshots.get(id).cloned());
        snapshots.take(page.limit).collect()
    }

    pub(super) fn put_snapshot(&mut self, snapshot: Snapshot) {
        let of_source = self.by_source.entry(snapshot.source.clone()).or_default();
        of_source.insert(snapshot.id.clone());
        self.snapshots.insert(snapshot.id.clone(), snapshot);
    }

    pub(super) fn put_damaged_snapshot(&mut self, id: SnapshotId, reason: String) {
        self.damaged_snapshots.insert(id, reason);
    }

    pub(super) fn forget_snapshot(&mut self, id: &SnapshotId) {
        let Some(snapshot) = self.snapshots.remove(id) else {
            return;
        };
        if let Some(of_source) = self.by_source.get_mut(&snapshot.source) {
            of_source.remove(id);
            if of_source.is_empty() {
                self.by_source.remove(&snapshot.source);
            }
        }
    }

    pub(super) fn group(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        let record = self.group_record(id)?;
        let snapshots = record
            .members
            .iter()
            .map(|member| self.snapshot(member).cloned());
        Ok(GroupSnapshot {
            id: record.id.clone(),
            name: record.name.clone(),
            snapshots: snapshots.collect::<Result<_>>()?,
            created_at: record.created_at,
        })
    }

    pub(super) fn group_record(&self, id: &GroupSnapshotId) -> Result<&GroupRecord> {
        let missing = || BackendError::NotFound(format!("group snapshot {id}"));
        self.groups.get(id).ok_or_else(missing)
    }

    pub(super) fn put_group(&mut self, group: GroupRecord) {
        self.groups.insert(group.id.clone(), group);
    }

    pub(super) fn forget_group(&mut self, id: &GroupSnapshotId) {
        self.groups.remove(id);
    }
}

fn after<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    page: &'a Page<K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let from = page
        .after
        .as_ref()
        .map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<K, _>((from, Bound::Unbounded))
}
