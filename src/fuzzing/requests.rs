//! Requests as they come over the wire: messages decoded by prost, handed to the services, which have a fresh memory backend.
//!
//! An input is a sequence of calls: the number of the method, the length of the message in two bytes, and the message.

use std::sync::Arc;

use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::{Code, Request, Response};

use crate::backend::memory::{MemoryBackend, MemoryConfig};
use crate::controller::{Controller, Reach};
use crate::csi;
use crate::csi::controller_server::Controller as _;
use crate::csi::group_controller_server::GroupController as _;
use crate::csi::node_server::Node as _;
use crate::host::fake::FakeHost;
use crate::in_flight::InFlight;
use crate::node::NodePlugin;
use crate::rpc::{ControllerService, GroupControllerService, NodeInfo, NodeService};
use crate::volume::{Bytes, FsType, NodeId, Topology};

/// How many calls of an input are made.
const MAX_CALLS: usize = 8;
/// Where nothing can be made: paths are parsed, and lead nowhere.
const KUBELET: &str = "/proc/offshoot/kubelet";
/// What a client takes as the message of an error, with room to spare.
const MAX_MESSAGE: usize = 4096;

/// A call of an input: the number of the method among those of its target, and the encoded message.
pub struct Message(pub u8, pub Vec<u8>);

/// The bytes of an input.
#[must_use]
pub fn message(calls: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Message(method, encoded) in calls {
        bytes.push(*method);
        let length = u16::try_from(encoded.len()).expect("it is short");
        bytes.extend(length.to_le_bytes());
        bytes.extend(encoded);
    }
    bytes
}

struct Driver {
    controller: ControllerService,
    groups: GroupControllerService,
    node: NodeService,
}

impl Driver {
    fn new() -> Self {
        let backend = Arc::new(MemoryBackend::new(MemoryConfig {
            topology: vec![Topology::default()],
            pool: Bytes(1 << 40),
            multi_node: true,
        }));
        let in_flight = InFlight::default();
        let controller = Arc::new(Controller::new(
            backend.clone(),
            FsType::Ext4,
            Reach::Cluster,
        ));
        let plugin = Arc::new(NodePlugin::new(backend, Arc::new(FakeHost::new())));
        let node = NodeInfo {
            id: NodeId::parse("n").expect("an id"),
            max_volumes: None,
            topology: Topology::default(),
        };
        Self {
            controller: ControllerService::new(controller.clone(), in_flight.clone()),
            groups: GroupControllerService::new(controller, in_flight.clone()),
            node: NodeService::new(plugin, in_flight, node, KUBELET.as_ref()),
        }
    }
}

/// Hands the bytes to the method of this number, if they are its message.
macro_rules! call {
    ($number:expr, $bytes:expr; $($service:expr, $method:ident, $message:ty;)+) => {{
        let count = [$(stringify!($method)),+].len();
        let mut number = usize::from($number) % count;
        $(
            if number == 0 {
                if let Ok(message) = <$message>::decode($bytes) {
                    check(stringify!($method), &$service.$method(Request::new(message)).await);
                }
                return;
            }
            number -= 1;
        )+
        let _ = number;
    }};
}

pub(super) fn controller(bytes: &[u8]) {
    run(bytes, &async |driver, number, bytes| {
        let it = &driver.controller;
        call! { number, bytes;
            it, create_volume, csi::CreateVolumeRequest;
            it, delete_volume, csi::DeleteVolumeRequest;
            it, controller_publish_volume, csi::ControllerPublishVolumeRequest;
            it, controller_unpublish_volume, csi::ControllerUnpublishVolumeRequest;
            it, validate_volume_capabilities, csi::ValidateVolumeCapabilitiesRequest;
            it, list_volumes, csi::ListVolumesRequest;
            it, get_capacity, csi::GetCapacityRequest;
            it, create_snapshot, csi::CreateSnapshotRequest;
            it, delete_snapshot, csi::DeleteSnapshotRequest;
            it, list_snapshots, csi::ListSnapshotsRequest;
            it, get_snapshot, csi::GetSnapshotRequest;
            it, controller_expand_volume, csi::ControllerExpandVolumeRequest;
            it, controller_get_volume, csi::ControllerGetVolumeRequest;
            it, controller_modify_volume, csi::ControllerModifyVolumeRequest;
            it, controller_get_volume_health, csi::ControllerGetVolumeHealthRequest;
            it, controller_list_volume_health, csi::ControllerListVolumeHealthRequest;
            it, controller_get_capabilities, csi::ControllerGetCapabilitiesRequest;
        }
    });
}

pub(super) fn node(bytes: &[u8]) {
    run(bytes, &async |driver, number, bytes| {
        let it = &driver.node;
        call! { number, bytes;
            it, node_stage_volume, csi::NodeStageVolumeRequest;
            it, node_unstage_volume, csi::NodeUnstageVolumeRequest;
            it, node_publish_volume, csi::NodePublishVolumeRequest;
            it, node_unpublish_volume, csi::NodeUnpublishVolumeRequest;
            it, node_get_volume_stats, csi::NodeGetVolumeStatsRequest;
            it, node_get_volume_health, csi::NodeGetVolumeHealthRequest;
            it, node_get_storage_health, csi::NodeGetStorageHealthRequest;
            it, node_expand_volume, csi::NodeExpandVolumeRequest;
            it, node_get_info, csi::NodeGetInfoRequest;
            driver.controller, create_volume, csi::CreateVolumeRequest;
        }
    });
}

pub(super) fn group(bytes: &[u8]) {
    run(bytes, &async |driver, number, bytes| {
        let it = &driver.groups;
        call! { number, bytes;
            it, create_volume_group_snapshot, csi::CreateVolumeGroupSnapshotRequest;
            it, delete_volume_group_snapshot, csi::DeleteVolumeGroupSnapshotRequest;
            it, get_volume_group_snapshot, csi::GetVolumeGroupSnapshotRequest;
            driver.controller, create_volume, csi::CreateVolumeRequest;
            driver.controller, delete_snapshot, csi::DeleteSnapshotRequest;
        }
    });
}

fn run(mut bytes: &[u8], call: &impl AsyncFn(&Driver, u8, &[u8])) {
    thread_local! {
        static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    let driver = Driver::new();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            for _ in 0..MAX_CALLS {
                let [number, low, high, rest @ ..] = bytes else {
                    return;
                };
                let length = usize::from(u16::from_le_bytes([*low, *high]));
                let (message, after) = rest.split_at(length.min(rest.len()));
                call(&driver, *number, message).await;
                bytes = after;
            }
        });
    });
}

/// An error says something that a client can take, and is never a surprise.
fn check<T>(method: &str, answer: &Result<Response<T>, tonic::Status>) {
    let Err(status) = answer else {
        return;
    };
    let said = status.message();
    assert!((8..=MAX_MESSAGE).contains(&said.len()), "{method}: {said}");
    assert!(
        !said.contains(|c: char| c.is_control()),
        "{method}: {said:?}"
    );
    assert!(status.details().is_empty(), "{method}");
    assert!(
        !said.starts_with("the operation was cut short by a bug"),
        "{method}: {said}"
    );
    // Nothing can be made at the paths of the node.
    let surprising = match status.code() {
        Code::Unknown | Code::DataLoss | Code::Unavailable => true,
        Code::Internal => !method.starts_with("node_"),
        _ => false,
    };
    assert!(!surprising, "{method}: {status}");
}
