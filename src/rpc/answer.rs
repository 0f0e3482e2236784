//! From nouns to messages.

use crate::csi;
use crate::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use crate::csi::volume_health::VolumeHealthEntry;
use crate::volume::{
    GroupSnapshot, Health, HealthStatus, Snapshot, Source, StorageHealthStatus, Topology, Volume,
    VolumeId,
};

/// The longest string that CSI allows, in bytes.
const MAX_STRING: usize = 128;

/// A volume as CSI knows it. It needs no context: its id says everything.
pub(super) fn volume(volume: &Volume) -> csi::Volume {
    csi::Volume {
        capacity_bytes: volume.size.to_i64(),
        volume_id: volume.id.to_string(),
        volume_context: std::collections::HashMap::new(),
        content_source: volume.source.as_ref().map(source),
        accessible_topology: topologies(&volume.topology),
    }
}

/// The nodes to which a volume is published.
pub(super) fn published_nodes(volume: &Volume) -> Vec<String> {
    let nodes = volume.publications.iter();
    nodes
        .map(|publication| publication.node.to_string())
        .collect()
}

/// A snapshot as CSI knows it: always ready, because it is cut whole.
pub(super) fn snapshot(snapshot: &Snapshot) -> csi::Snapshot {
    let group = snapshot.group.as_ref();
    csi::Snapshot {
        size_bytes: snapshot.size.to_i64(),
        snapshot_id: snapshot.id.to_string(),
        source_volume_id: snapshot.source.to_string(),
        creation_time: Some(snapshot.created_at.into()),
        ready_to_use: true,
        group_snapshot_id: group.map(ToString::to_string).unwrap_or_default(),
        accessible_topology: topologies(&snapshot.topology),
    }
}

/// A group as CSI knows it.
pub(super) fn group(group: &GroupSnapshot) -> csi::VolumeGroupSnapshot {
    csi::VolumeGroupSnapshot {
        group_snapshot_id: group.id.to_string(),
        snapshots: group.snapshots.iter().map(snapshot).collect(),
        creation_time: Some(group.created_at.into()),
        ready_to_use: true,
    }
}

/// The health of a volume; no two entries share status and reason.
pub(super) fn health(id: &VolumeId, health: &[Health]) -> csi::VolumeHealth {
    let mut entries: Vec<VolumeHealthEntry> = Vec::with_capacity(health.len());
    for entry in health.iter().map(health_entry) {
        let is_same =
            |it: &VolumeHealthEntry| (it.status, &it.reason) == (entry.status, &entry.reason);
        if !entries.iter().any(is_same) {
            entries.push(entry);
        }
    }
    csi::VolumeHealth {
        volume_id: id.to_string(),
        health_statuses: entries,
    }
}

/// The number of a storage condition.
pub(super) fn storage_status(status: StorageHealthStatus) -> i32 {
    match status {
        StorageHealthStatus::Degraded => csi::StorageHealthErrorType::StorageDegraded.into(),
        StorageHealthStatus::Unreachable => csi::StorageHealthErrorType::StorageUnreachable.into(),
    }
}

/// A topology as CSI knows it.
pub(super) fn topology(topology: &Topology) -> csi::Topology {
    csi::Topology {
        segments: topology.segments().clone().into_iter().collect(),
    }
}

/// A text of at most 128 bytes, cut between characters.
pub(super) fn short(text: &str) -> String {
    let mut end = text.len().min(MAX_STRING);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn health_entry(health: &Health) -> VolumeHealthEntry {
    use csi::VolumeHealthErrorType as Wire;
    let status = match health.status {
        HealthStatus::Degraded => Wire::Degraded,
        HealthStatus::Inaccessible => Wire::Inaccessible,
        HealthStatus::DataLoss => Wire::DataLoss,
    };
    VolumeHealthEntry {
        status: status.into(),
        reason: health.reason.to_owned(),
        message: short(&health.message),
    }
}

fn source(source: &Source) -> csi::VolumeContentSource {
    let source = match source {
        Source::Snapshot(id) => Type::Snapshot(SnapshotSource {
            snapshot_id: id.to_string(),
        }),
        Source::Volume(id) => Type::Volume(VolumeSource {
            volume_id: id.to_string(),
        }),
    };
    csi::VolumeContentSource {
        r#type: Some(source),
    }
}

fn topologies(list: &[Topology]) -> Vec<csi::Topology> {
    list.iter().map(topology).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let text = "ä".repeat(100);
        assert_eq!(short(&text).len(), 128);
        assert_eq!(short("x").len(), 1);
        assert!(short(&format!("x{text}")).ends_with('ä'));
    }

    #[test]
    fn one_condition_is_reported_once() {
        let entry = |message: &str| Health {
            status: HealthStatus::Degraded,
            reason: "PoolBelowReserve",
            message: message.to_owned(),
        };
        let id = VolumeId::parse("v1-00000000000000000000000000000000").unwrap();
        let wire = health(&id, &[entry("a"), entry("b")]);
        assert_eq!(wire.health_statuses.len(), 1);
    }
}
