//! From messages to nouns. Every field is checked here, before anything is looked up.
//!
//! Ids of a foreign format are not malformed: they name something that does not exist, so they become `None`.

mod capability;
mod fields;

use std::collections::HashMap;

use thiserror::Error;

use crate::csi;
use crate::volume::{
    CapacityError, CapacityRange, GroupSnapshotId, NameError, NodeId, Secrets, SettingsError,
    SettingsPatch, Shown, SnapshotId, Source, TargetPathError, Topology, TopologyRequirement,
    VolumeId,
};

pub(super) use capability::{capabilities, capability, optional_capability};
pub(super) use fields::{map, maximum, name, node_id, optional, required, target_path};

/// What is wrong with a request. Each of these is `INVALID_ARGUMENT`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InvalidRequest {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{field} has {bytes} bytes, CSI allows {limit}")]
    TooLong {
        field: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("{field} is not a name that CSI allows")]
    Name {
        field: &'static str,
        #[source]
        source: NameError,
    },
    #[error("capacity_range cannot be met")]
    Capacity(#[source] CapacityError),
    #[error("{field} cannot be used")]
    Settings {
        field: &'static str,
        #[source]
        source: SettingsError,
    },
    #[error("{field} cannot be used")]
    Path {
        field: &'static str,
        #[source]
        source: TargetPathError,
    },
    #[error("filesystem {0} is not supported; ext4, xfs and btrfs are")]
    FsType(String),
    #[error("access mode {0} is unknown")]
    AccessMode(i32),
    #[error(
        "volume_mount_group is set, but the driver does not have the VOLUME_MOUNT_GROUP capability"
    )]
    MountGroup,
    #[error("{field} is negative ({value})")]
    Negative { field: &'static str, value: i64 },
    #[error("{field} holds {value}; {allowed}")]
    Value {
        field: &'static str,
        value: String,
        allowed: &'static str,
    },
}

type Result<T> = std::result::Result<T, InvalidRequest>;

/// The id of a volume; `None` when no volume of ours can have it.
pub(super) fn volume_id(id: &str) -> Result<Option<VolumeId>> {
    Ok(VolumeId::parse(required("volume_id", id)?))
}

/// The id of a snapshot; `None` when no snapshot of ours can have it.
pub(super) fn snapshot_id(id: &str) -> Result<Option<SnapshotId>> {
    Ok(SnapshotId::parse(required("snapshot_id", id)?))
}

/// The id of a group snapshot; `None` when no group of ours can have it.
pub(super) fn group_snapshot_id(id: &str) -> Result<Option<GroupSnapshotId>> {
    Ok(GroupSnapshotId::parse(required("group_snapshot_id", id)?))
}

/// A capacity range; absent means no wish.
pub(super) fn capacity(range: Option<csi::CapacityRange>) -> Result<CapacityRange> {
    let range = range.unwrap_or_default();
    match CapacityRange::parse(range.required_bytes, range.limit_bytes) {
        Ok(range) => Ok(range),
        Err(error) => Err(InvalidRequest::Capacity(error)),
    }
}

/// `parameters` or `mutable_parameters`.
pub(super) fn settings(
    field: &'static str,
    parameters: &HashMap<String, String>,
) -> Result<SettingsPatch> {
    map(field, parameters)?;
    SettingsPatch::parse(parameters).map_err(|source| InvalidRequest::Settings { field, source })
}

/// Parameters of snapshots and groups: there are none yet beyond those of the sidecars. Kubernetes' own storage tests repeat
/// the `deletionPolicy` of a class among its parameters; it means nothing there, and no driver takes offence at it.
pub(super) fn no_parameters(parameters: &HashMap<String, String>) -> Result<()> {
    map("parameters", parameters)?;
    let unknown = parameters
        .keys()
        .find(|key| !key.starts_with("csi.storage.k8s.io/") && *key != "deletionPolicy");
    match unknown {
        None => Ok(()),
        Some(key) => Err(InvalidRequest::Value {
            field: "parameters",
            value: Shown(key).to_string(),
            allowed: "snapshots take no parameters",
        }),
    }
}

/// Checks the size of secrets and hides them.
pub(super) fn secrets(secrets: HashMap<String, String>) -> Result<Secrets> {
    map("secrets", &secrets)?;
    Ok(Secrets::new(secrets))
}

/// With what a new volume begins, as the request says it.
pub(super) enum AskedSource {
    Nothing,
    /// A source that no backend of ours can have.
    Unknown,
    Known(Source),
}

/// The content source of a new volume.
pub(super) fn source(source: Option<csi::VolumeContentSource>) -> Result<AskedSource> {
    use csi::volume_content_source::Type;
    let Some(source) = source else {
        return Ok(AskedSource::Nothing);
    };
    let known = match source.r#type {
        None => return Err(InvalidRequest::Missing("volume_content_source.type")),
        Some(Type::Snapshot(it)) => snapshot_id(&it.snapshot_id)?.map(Source::Snapshot),
        Some(Type::Volume(it)) => volume_id(&it.volume_id)?.map(Source::Volume),
    };
    Ok(known.map_or(AskedSource::Unknown, AskedSource::Known))
}

/// Where something must be reached from; absent means anywhere.
pub(super) fn accessibility(
    requirement: Option<csi::TopologyRequirement>,
) -> Result<TopologyRequirement> {
    let requirement = requirement.unwrap_or_default();
    let all = |list: Vec<csi::Topology>| list.into_iter().map(topology).collect::<Result<_>>();
    Ok(TopologyRequirement {
        requisite: all(requirement.requisite)?,
        preferred: all(requirement.preferred)?,
    })
}

/// A topology.
pub(super) fn topology(topology: csi::Topology) -> Result<Topology> {
    map("topology segments", &topology.segments)?;
    Ok(topology.segments.into_iter().collect())
}

/// The node of ControllerUnpublishVolume; absent means all nodes.
pub(super) fn optional_node_id(id: &str) -> Result<Option<NodeId>> {
    (!id.is_empty()).then(|| node_id(id)).transpose()
}

/// A message that must be there.
pub(super) fn present<T>(field: &'static str, message: Option<T>) -> Result<T> {
    message.ok_or(InvalidRequest::Missing(field))
}
