//! The messages of calls, and how they are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use offshoot::csi;
use offshoot::volume::{GroupSnapshotId, Name, SnapshotId, VolumeId};
use tonic::{Request, Status};

use crate::call::Call;
use crate::common::{block, mount, parameters, range};
use crate::reference::Origin;

fn name(kind: &str, number: u8) -> Name {
    Name::parse(&format!("{kind}-{number}")).expect("a name")
}

pub(crate) fn volume_id(number: u8) -> VolumeId {
    VolumeId::for_name(&name("volume", number))
}

pub(crate) fn snapshot_id(number: u8) -> SnapshotId {
    SnapshotId::for_name(&name("snapshot", number))
}

pub(crate) fn group_id(number: u8) -> GroupSnapshotId {
    GroupSnapshotId::for_name(&name("group", number))
}

pub(crate) fn node_name(number: u8) -> String {
    format!("node-{number}")
}

pub(crate) fn capability(is_block: bool) -> csi::VolumeCapability {
    if is_block { block() } else { mount() }
}

/// How a call is sent.
#[derive(Clone)]
pub(crate) struct Envelope {
    /// The kubelet's directory.
    pub(crate) kubelet: String,
    /// What the caller allows (`grpc-timeout`).
    pub(crate) deadline: Option<Duration>,
}

impl Envelope {
    pub(crate) fn staging(&self, volume: u8) -> String {
        format!("{}/staging-{volume}", self.kubelet)
    }

    pub(crate) fn target(&self, volume: u8, target: u8) -> String {
        format!("{}/target-{volume}-{target}", self.kubelet)
    }

    pub(crate) fn wrap<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }
}

/// The size that an answer tells, if it tells one.
pub(crate) type Answer = Result<Option<u64>, Status>;

pub(crate) fn size(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok()
}

pub(crate) fn create_request(call: &Call) -> csi::CreateVolumeRequest {
    let Call::Create {
        volume,
        size,
        block,
        read_ahead,
        source,
    } = call
    else {
        panic!("it creates no volume: {call:?}");
    };
    let bytes = i64::try_from(*size).expect("it is small");
    let read_ahead = read_ahead.map(|it| it.to_string());
    csi::CreateVolumeRequest {
        name: name("volume", *volume).to_string(),
        capacity_range: Some(range(bytes, bytes)),
        volume_capabilities: vec![capability(*block)],
        parameters: read_ahead.map_or_else(Default::default, |it| {
            parameters(&[("readAheadKiB", it.as_str())])
        }),
        volume_content_source: source.map(|it| csi::VolumeContentSource {
            r#type: Some(content_source(it)),
        }),
        ..Default::default()
    }
}

fn content_source(origin: Origin) -> csi::volume_content_source::Type {
    use csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
    match origin {
        Origin::Snapshot(it) => Type::Snapshot(SnapshotSource {
            snapshot_id: snapshot_id(it).to_string(),
        }),
        Origin::Volume(it) => Type::Volume(VolumeSource {
            volume_id: volume_id(it).to_string(),
        }),
    }
}

pub(crate) fn snapshot_request(snapshot: u8, volume: u8) -> csi::CreateSnapshotRequest {
    csi::CreateSnapshotRequest {
        name: name("snapshot", snapshot).to_string(),
        source_volume_id: volume_id(volume).to_string(),
        ..Default::default()
    }
}

pub(crate) fn group_request(
    group: u8,
    volumes: &BTreeSet<u8>,
) -> csi::CreateVolumeGroupSnapshotRequest {
    csi::CreateVolumeGroupSnapshotRequest {
        name: name("group", group).to_string(),
        source_volume_ids: volumes
            .iter()
            .map(|it| volume_id(*it).to_string())
            .collect(),
        ..Default::default()
    }
}

/// Sends a call: services and clients have the same methods.
macro_rules! send {
    ($call:expr, $envelope:expr, $controller:expr, $groups:expr, $node:expr) => {{
        use $crate::call::Call;
        use $crate::message::{
            capability, create_request, group_request, node_name, size, snapshot_request, volume_id,
        };
        let it: &$crate::message::Envelope = $envelope;
        match $call {
            call @ Call::Create { .. } => {
                let answer = $controller
                    .create_volume(it.wrap(create_request(call)))
                    .await;
                answer.map(|it| size(it.into_inner().volume.expect("a volume").capacity_bytes))
            }
            Call::Delete { volume } => {
                let request = csi::DeleteVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    ..Default::default()
                };
                $controller
                    .delete_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Publish {
                volume,
                node,
                read_only,
                block,
            } => {
                let request = csi::ControllerPublishVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    node_id: node_name(*node),
                    volume_capability: Some(capability(*block)),
                    readonly: *read_only,
                    ..Default::default()
                };
                $controller
                    .controller_publish_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Unpublish { volume, node } => {
                let request = csi::ControllerUnpublishVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    node_id: node.map_or_else(String::new, node_name),
                    ..Default::default()
                };
                $controller
                    .controller_unpublish_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Stage { volume, block } => {
                let request = csi::NodeStageVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    staging_target_path: it.staging(*volume),
                    volume_capability: Some(capability(*block)),
                    ..Default::default()
                };
                $node
                    .node_stage_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Unstage { volume } => {
                let request = csi::NodeUnstageVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    staging_target_path: it.staging(*volume),
                };
                $node
                    .node_unstage_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::NodePublish {
                volume,
                target,
                read_only,
                block,
            } => {
                let request = csi::NodePublishVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    staging_target_path: it.staging(*volume),
                    target_path: it.target(*volume, *target),
                    volume_capability: Some(capability(*block)),
                    readonly: *read_only,
                    ..Default::default()
                };
                $node
                    .node_publish_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::NodeUnpublish { volume, target } => {
                let request = csi::NodeUnpublishVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    target_path: it.target(*volume, *target),
                };
                $node
                    .node_unpublish_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Expand {
                volume,
                size: bytes,
            } => {
                let request = csi::ControllerExpandVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    capacity_range: Some($crate::common::range(
                        i64::try_from(*bytes).expect("it is small"),
                        0,
                    )),
                    ..Default::default()
                };
                let answer = $controller.controller_expand_volume(it.wrap(request)).await;
                answer.map(|it| size(it.into_inner().capacity_bytes))
            }
            Call::NodeExpand { volume } => {
                let request = csi::NodeExpandVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    volume_path: it.staging(*volume),
                    ..Default::default()
                };
                let answer = $node.node_expand_volume(it.wrap(request)).await;
                answer.map(|it| size(it.into_inner().capacity_bytes))
            }
            Call::Modify { volume, read_ahead } => {
                let request = csi::ControllerModifyVolumeRequest {
                    volume_id: volume_id(*volume).to_string(),
                    mutable_parameters: $crate::common::parameters(&[(
                        "readAheadKiB",
                        &read_ahead.to_string(),
                    )]),
                    ..Default::default()
                };
                $controller
                    .controller_modify_volume(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Snapshot { snapshot, volume } => {
                let answer = $controller
                    .create_snapshot(it.wrap(snapshot_request(*snapshot, *volume)))
                    .await;
                answer.map(|it| size(it.into_inner().snapshot.expect("a snapshot").size_bytes))
            }
            Call::DeleteSnapshot { snapshot } => {
                let request = csi::DeleteSnapshotRequest {
                    snapshot_id: $crate::message::snapshot_id(*snapshot).to_string(),
                    ..Default::default()
                };
                $controller
                    .delete_snapshot(it.wrap(request))
                    .await
                    .map(|_| None)
            }
            Call::Group { group, volumes } => {
                let answer = $groups
                    .create_volume_group_snapshot(it.wrap(group_request(*group, volumes)))
                    .await;
                answer.map(|_| None)
            }
            Call::DeleteGroup { group } => {
                let request = csi::DeleteVolumeGroupSnapshotRequest {
                    group_snapshot_id: $crate::message::group_id(*group).to_string(),
                    ..Default::default()
                };
                $groups
                    .delete_volume_group_snapshot(it.wrap(request))
                    .await
                    .map(|_| None)
            }
        }
    }};
}
pub(crate) use send;
