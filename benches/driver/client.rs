//! The calls of an orchestrator.

use std::path::Path;
use std::time::{Duration, Instant};

use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::identity_client::IdentityClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::transport::Channel;

pub(crate) const MIB: i64 = 1 << 20;

/// The calls of a whole cycle, as the table shows them.
pub(crate) const CALLS_OF_A_CYCLE: [&str; 8] = [
    "    of it CreateVolume",
    "    of it ControllerPublishVolume",
    "    of it NodeStageVolume",
    "    of it NodePublishVolume",
    "    of it NodeUnpublishVolume",
    "    of it NodeUnstageVolume",
    "    of it ControllerUnpublishVolume",
    "    of it DeleteVolume",
];

/// What is in a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Ext4,
}

/// A client over one connection, as a sidecar has it.
#[derive(Clone)]
pub(crate) struct Client {
    identity: IdentityClient<Channel>,
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
}

fn capability(kind: Kind) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
        access_type: Some(match kind {
            Kind::Block => AccessType::Block(BlockVolume {}),
            Kind::Ext4 => AccessType::Mount(MountVolume {
                fs_type: "ext4".to_owned(),
                ..MountVolume::default()
            }),
        }),
    }
}

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        let limit = 64 << 20;
        Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()).max_decoding_message_size(limit),
            node: NodeClient::new(channel),
        }
    }

    pub(crate) async fn probe(&mut self) {
        let answer = self.identity.probe(csi::ProbeRequest {}).await;
        answer.expect("Probe");
    }

    pub(crate) async fn create(&mut self, name: &str, kind: Kind, size: i64) -> String {
        self.create_from(name, kind, size, None).await
    }

    pub(crate) async fn create_from(
        &mut self,
        name: &str,
        kind: Kind,
        size: i64,
        source: Option<Type>,
    ) -> String {
        let request = csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: size,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![capability(kind)],
            volume_content_source: source.map(|it| csi::VolumeContentSource { r#type: Some(it) }),
            ..Default::default()
        };
        let answer = self.controller.create_volume(request).await;
        let volume = answer.expect("CreateVolume").into_inner().volume;
        volume.expect("a volume").volume_id
    }

    pub(crate) async fn delete(&mut self, volume_id: &str) {
        let request = csi::DeleteVolumeRequest {
            volume_id: volume_id.to_owned(),
            ..Default::default()
        };
        self.controller
            .delete_volume(request)
            .await
            .expect("DeleteVolume");
    }

    pub(crate) async fn get(&mut self, volume_id: &str) {
        let request = csi::ControllerGetVolumeRequest {
            volume_id: volume_id.to_owned(),
        };
        let answer = self.controller.controller_get_volume(request).await;
        answer.expect("ControllerGetVolume");
    }

    /// A page of at most `max_entries` volumes.
    pub(crate) async fn list(&mut self, max_entries: i32) -> csi::ListVolumesResponse {
        let request = csi::ListVolumesRequest {
            max_entries,
            ..Default::default()
        };
        let answer = self.controller.list_volumes(request).await;
        answer.expect("ListVolumes").into_inner()
    }

    pub(crate) async fn snapshot(&mut self, name: &str, volume_id: &str) -> String {
        let request = csi::CreateSnapshotRequest {
            source_volume_id: volume_id.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.controller.create_snapshot(request).await;
        let snapshot = answer.expect("CreateSnapshot").into_inner().snapshot;
        snapshot.expect("a snapshot").snapshot_id
    }

    pub(crate) async fn publish_to_node(&mut self, volume_id: &str, kind: Kind) {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            node_id: "n".to_owned(),
            volume_capability: Some(capability(kind)),
            ..Default::default()
        };
        let answer = self.controller.controller_publish_volume(request).await;
        answer.expect("ControllerPublishVolume");
    }

    pub(crate) async fn unpublish_from_node(&mut self, volume_id: &str) {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            ..Default::default()
        };
        let answer = self.controller.controller_unpublish_volume(request).await;
        answer.expect("ControllerUnpublishVolume");
    }

    /// Brings a volume to a pod at `place`.
    pub(crate) async fn up(&mut self, volume_id: &str, kind: Kind, place: &Path) {
        self.publish_to_node(volume_id, kind).await;
        std::fs::create_dir_all(staging(place)).expect("a directory");
        self.stage(volume_id, kind, place).await;
        self.publish(volume_id, kind, place).await;
    }

    async fn stage(&mut self, volume_id: &str, kind: Kind, place: &Path) {
        let request = csi::NodeStageVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: staging(place),
            volume_capability: Some(capability(kind)),
            ..Default::default()
        };
        self.node
            .node_stage_volume(request)
            .await
            .expect("NodeStageVolume");
    }

    async fn publish(&mut self, volume_id: &str, kind: Kind, place: &Path) {
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: staging(place),
            target_path: place.display().to_string(),
            volume_capability: Some(capability(kind)),
            ..Default::default()
        };
        self.node
            .node_publish_volume(request)
            .await
            .expect("NodePublishVolume");
    }

    pub(crate) async fn stats(&mut self, volume_id: &str, place: &Path) {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: volume_id.to_owned(),
            volume_path: place.display().to_string(),
            ..Default::default()
        };
        self.node
            .node_get_volume_stats(request)
            .await
            .expect("NodeGetVolumeStats");
    }

    /// Takes a volume from its pod again.
    pub(crate) async fn down(&mut self, volume_id: &str, place: &Path) {
        self.unpublish(volume_id, place).await;
        self.unstage(volume_id, place).await;
        self.unpublish_from_node(volume_id).await;
    }

    async fn unpublish(&mut self, volume_id: &str, place: &Path) {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            target_path: place.display().to_string(),
        };
        self.node
            .node_unpublish_volume(request)
            .await
            .expect("NodeUnpublishVolume");
    }

    async fn unstage(&mut self, volume_id: &str, place: &Path) {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: staging(place),
        };
        self.node
            .node_unstage_volume(request)
            .await
            .expect("NodeUnstageVolume");
    }

    /// The whole life of a volume, without snapshots: how long each of its calls took.
    pub(crate) async fn cycle(&mut self, name: &str, kind: Kind, place: &Path) -> [Duration; 8] {
        let mut laps = Laps::begin();
        let id = self.create(name, kind, 64 * MIB).await;
        laps.end();
        self.publish_to_node(&id, kind).await;
        laps.end();
        // The kubelet makes it.
        std::fs::create_dir_all(staging(place)).expect("a directory");
        laps.restart();
        self.stage(&id, kind, place).await;
        laps.end();
        self.publish(&id, kind, place).await;
        laps.end();
        self.unpublish(&id, place).await;
        laps.end();
        self.unstage(&id, place).await;
        laps.end();
        self.unpublish_from_node(&id).await;
        laps.end();
        self.delete(&id).await;
        laps.end();
        laps.times()
    }
}

/// What the orchestrator chooses beside a target.
fn staging(place: &Path) -> String {
    format!("{}-staging", place.display())
}

/// The times of steps that follow each other.
pub(crate) struct Laps {
    begin: Instant,
    times: Vec<Duration>,
}

impl Laps {
    pub(crate) fn begin() -> Self {
        Self {
            begin: Instant::now(),
            times: Vec::with_capacity(8),
        }
    }

    /// What was done since the last step belongs to none.
    pub(crate) fn restart(&mut self) {
        self.begin = Instant::now();
    }

    pub(crate) fn end(&mut self) {
        self.times.push(self.begin.elapsed());
        self.restart();
    }

    pub(crate) fn times(self) -> [Duration; 8] {
        let steps = self.times.try_into();
        steps.expect("eight steps")
    }
}

pub(crate) fn from_snapshot(snapshot_id: String) -> Type {
    Type::Snapshot(SnapshotSource { snapshot_id })
}

pub(crate) fn from_volume(volume_id: String) -> Type {
    Type::Volume(VolumeSource { volume_id })
}
