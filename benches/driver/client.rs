//! The calls of an orchestrator.

use std::path::Path;

use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::identity_client::IdentityClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::transport::Channel;

pub(crate) const MIB: i64 = 1 << 20;

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

    /// How many volumes a page of at most `max_entries` has.
    pub(crate) async fn list(&mut self, max_entries: i32) -> usize {
        let request = csi::ListVolumesRequest {
            max_entries,
            ..Default::default()
        };
        let answer = self.controller.list_volumes(request).await;
        answer.expect("ListVolumes").into_inner().entries.len()
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
        let staging = format!("{}-staging", place.display());
        std::fs::create_dir_all(&staging).expect("a directory");
        let request = csi::NodeStageVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: staging.clone(),
            volume_capability: Some(capability(kind)),
            ..Default::default()
        };
        self.node
            .node_stage_volume(request)
            .await
            .expect("NodeStageVolume");
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: staging,
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
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            target_path: place.display().to_string(),
        };
        self.node
            .node_unpublish_volume(request)
            .await
            .expect("NodeUnpublishVolume");
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: format!("{}-staging", place.display()),
        };
        self.node
            .node_unstage_volume(request)
            .await
            .expect("NodeUnstageVolume");
        self.unpublish_from_node(volume_id).await;
    }

    /// The whole life of a volume, without snapshots.
    pub(crate) async fn cycle(&mut self, name: &str, kind: Kind, place: &Path) {
        let id = self.create(name, kind, 64 * MIB).await;
        self.up(&id, kind, place).await;
        self.down(&id, place).await;
        self.delete(&id).await;
    }
}

pub(crate) fn from_snapshot(snapshot_id: String) -> Type {
    Type::Snapshot(SnapshotSource { snapshot_id })
}

pub(crate) fn from_volume(volume_id: String) -> Type {
    Type::Volume(VolumeSource { volume_id })
}
