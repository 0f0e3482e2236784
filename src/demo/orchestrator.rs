//! What Kubernetes would call, over the socket.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tonic::transport::{Channel, Endpoint};

use super::DemoError;
use super::driver::NODE;
use crate::csi;
use crate::csi::controller_client::ControllerClient;
use crate::csi::identity_client::IdentityClient;
use crate::csi::node_client::NodeClient;
use crate::csi::volume_capability::access_mode::Mode;
use crate::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use crate::csi::volume_content_source::{SnapshotSource, Type};
use crate::volume::{Bytes, FsType};

/// A volume of the demonstration.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) id: String,
    /// `None`: raw block.
    pub(super) fs: Option<FsType>,
    /// Where a pod finds it.
    pub(super) target: PathBuf,
    staging: PathBuf,
}

impl Claim {
    pub(super) fn new(name: &str, fs: Option<FsType>, kubelet: &Path) -> Self {
        Self {
            // The data directory may hold what an earlier demonstration kept.
            name: format!("{name}-{}", std::process::id()),
            id: String::new(),
            fs,
            target: kubelet.join(format!("{name}-pod")),
            staging: kubelet.join(format!("{name}-staging")),
        }
    }

    fn capability(&self) -> csi::VolumeCapability {
        let access_type = match self.fs {
            None => AccessType::Block(BlockVolume {}),
            Some(fs) => AccessType::Mount(MountVolume {
                fs_type: fs.to_string(),
                ..MountVolume::default()
            }),
        };
        csi::VolumeCapability {
            access_type: Some(access_type),
            access_mode: Some(AccessMode {
                mode: Mode::SingleNodeMultiWriter.into(),
            }),
        }
    }
}

/// Clients of the driver's services.
pub(super) struct Orchestrator {
    identity: IdentityClient<Channel>,
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
}

impl Orchestrator {
    pub(super) async fn connect(socket: &Path) -> Result<Self, DemoError> {
        let failed = |error: tonic::transport::Error| DemoError::Call {
            call: "connect",
            message: error.to_string(),
        };
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
        let channel = endpoint.map_err(failed)?.connect().await.map_err(failed)?;
        Ok(Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
        })
    }

    /// The driver's name and version, when it says that it is ready.
    pub(super) async fn probe(&mut self) -> Result<String, DemoError> {
        let probed = self.identity.probe(csi::ProbeRequest {}).await;
        answer("Probe", probed)?;
        let info = self.identity.get_plugin_info(csi::GetPluginInfoRequest {});
        let info = answer("GetPluginInfo", info.await)?;
        Ok(format!("{} {}", info.name, info.vendor_version))
    }

    pub(super) async fn create(
        &mut self,
        claim: &Claim,
        size: Bytes,
        snapshot: Option<&str>,
    ) -> Result<String, DemoError> {
        let source = snapshot.map(|id| csi::VolumeContentSource {
            r#type: Some(Type::Snapshot(SnapshotSource {
                snapshot_id: id.to_owned(),
            })),
        });
        let request = csi::CreateVolumeRequest {
            name: claim.name.clone(),
            capacity_range: Some(range(size)),
            volume_capabilities: vec![claim.capability()],
            volume_content_source: source,
            ..Default::default()
        };
        let created = answer("CreateVolume", self.controller.create_volume(request).await)?;
        Ok(created.volume.unwrap_or_default().volume_id)
    }

    pub(super) async fn publish_to_node(&mut self, claim: &Claim) -> Result<(), DemoError> {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: claim.id.clone(),
            node_id: NODE.to_owned(),
            volume_capability: Some(claim.capability()),
            ..Default::default()
        };
        let published = self.controller.controller_publish_volume(request).await;
        answer("ControllerPublishVolume", published).map(drop)
    }

    pub(super) async fn stage(&mut self, claim: &Claim) -> Result<(), DemoError> {
        make_directory(&claim.staging)?;
        let request = csi::NodeStageVolumeRequest {
            volume_id: claim.id.clone(),
            staging_target_path: claim.staging.display().to_string(),
            volume_capability: Some(claim.capability()),
            ..Default::default()
        };
        answer(
            "NodeStageVolume",
            self.node.node_stage_volume(request).await,
        )
        .map(drop)
    }

    pub(super) async fn publish(&mut self, claim: &Claim) -> Result<(), DemoError> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: claim.id.clone(),
            staging_target_path: claim.staging.display().to_string(),
            target_path: claim.target.display().to_string(),
            volume_capability: Some(claim.capability()),
            ..Default::default()
        };
        let published = self.node.node_publish_volume(request).await;
        answer("NodePublishVolume", published).map(drop)
    }

    /// Everything from the controller to the pod.
    pub(super) async fn bring(&mut self, claim: &Claim) -> Result<(), DemoError> {
        self.publish_to_node(claim).await?;
        self.stage(claim).await?;
        self.publish(claim).await
    }

    /// Everything from the pod to the controller.
    pub(super) async fn take_back(&mut self, claim: &Claim) -> Result<(), DemoError> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: claim.id.clone(),
            target_path: claim.target.display().to_string(),
        };
        let unpublished = self.node.node_unpublish_volume(request).await;
        answer("NodeUnpublishVolume", unpublished)?;
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: claim.id.clone(),
            staging_target_path: claim.staging.display().to_string(),
        };
        let unstaged = self.node.node_unstage_volume(request).await;
        answer("NodeUnstageVolume", unstaged)?;
        remove_directory(&claim.staging)?;
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: claim.id.clone(),
            node_id: NODE.to_owned(),
            ..Default::default()
        };
        let unpublished = self.controller.controller_unpublish_volume(request).await;
        answer("ControllerUnpublishVolume", unpublished).map(drop)
    }

    pub(super) async fn snapshot(
        &mut self,
        claim: &Claim,
        name: &str,
    ) -> Result<String, DemoError> {
        let request = csi::CreateSnapshotRequest {
            source_volume_id: claim.id.clone(),
            name: name.to_owned(),
            ..Default::default()
        };
        let cut = answer(
            "CreateSnapshot",
            self.controller.create_snapshot(request).await,
        )?;
        Ok(cut.snapshot.unwrap_or_default().snapshot_id)
    }

    pub(super) async fn expand(&mut self, claim: &Claim, size: Bytes) -> Result<(), DemoError> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: claim.id.clone(),
            capacity_range: Some(range(size)),
            ..Default::default()
        };
        let expanded = self.controller.controller_expand_volume(request).await;
        answer("ControllerExpandVolume", expanded)?;
        let request = csi::NodeExpandVolumeRequest {
            volume_id: claim.id.clone(),
            volume_path: claim.target.display().to_string(),
            capacity_range: Some(range(size)),
            ..Default::default()
        };
        answer(
            "NodeExpandVolume",
            self.node.node_expand_volume(request).await,
        )
        .map(drop)
    }

    pub(super) async fn delete_volume(&mut self, id: &str) -> Result<(), DemoError> {
        let request = csi::DeleteVolumeRequest {
            volume_id: id.to_owned(),
            secrets: HashMap::new(),
        };
        answer("DeleteVolume", self.controller.delete_volume(request).await).map(drop)
    }

    pub(super) async fn delete_snapshot(&mut self, id: &str) -> Result<(), DemoError> {
        let request = csi::DeleteSnapshotRequest {
            snapshot_id: id.to_owned(),
            secrets: HashMap::new(),
        };
        answer(
            "DeleteSnapshot",
            self.controller.delete_snapshot(request).await,
        )
        .map(drop)
    }
}

fn answer<T>(
    call: &'static str,
    result: Result<tonic::Response<T>, tonic::Status>,
) -> Result<T, DemoError> {
    result
        .map(tonic::Response::into_inner)
        .map_err(|status| DemoError::Call {
            call,
            message: format!("{}: {}", status.code(), status.message()),
        })
}

fn range(size: Bytes) -> csi::CapacityRange {
    csi::CapacityRange {
        required_bytes: size.to_i64(),
        limit_bytes: 0,
    }
}

/// The CO makes the staging directory.
fn make_directory(path: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(path).map_err(|source| DemoError::Io {
        action: format!("make {}", path.display()),
        source,
    })
}

fn remove_directory(path: &Path) -> Result<(), DemoError> {
    match std::fs::remove_dir(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(DemoError::Io {
            action: format!("remove {}", path.display()),
            source,
        }),
        _ => Ok(()),
    }
}
