//! Calls to a driver that runs on a machine, as a CO makes them: names of volumes become ids and paths.

use std::path::Path;

use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::identity_client::IdentityClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use offshoot::volume::{Name, VolumeId};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::Machine;

/// Calls a driver.
#[derive(Clone)]
pub(crate) struct Calls {
    kubelet: String,
    channel: Channel,
}

impl Calls {
    /// Waits until the driver listens.
    pub(crate) async fn connect(machine: &Machine) -> Self {
        let socket = machine.path("csi.sock");
        let endpoint = Endpoint::from_shared(format!("unix://{socket}")).expect("an endpoint");
        for _ in 0..6000 {
            if let Ok(channel) = endpoint.connect().await {
                return Self {
                    kubelet: machine.path("kubelet"),
                    channel,
                };
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the driver does not answer at {socket}");
    }

    pub(crate) fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    pub(crate) fn groups(&self) -> GroupControllerClient<Channel> {
        GroupControllerClient::new(self.channel.clone())
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// Whether the driver says that it is ready.
    pub(crate) async fn probe(&self) -> Result<(), Status> {
        let mut identity = IdentityClient::new(self.channel.clone());
        identity.probe(csi::ProbeRequest {}).await.map(drop)
    }

    /// Where a workload finds a volume.
    pub(crate) fn target(&self, name: &str) -> String {
        format!("{}/{name}", self.kubelet)
    }

    pub(crate) fn staging(&self, name: &str) -> String {
        format!("{}/{name}-staging", self.kubelet)
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
        size: u64,
    ) -> Result<(), Status> {
        let request = create(name, capability, size);
        self.controller().create_volume(request).await.map(drop)
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest {
            volume_id: volume_id(name).to_string(),
            ..Default::default()
        };
        self.controller().delete_volume(request).await.map(drop)
    }

    pub(crate) async fn snapshot(&self, name: &str, of: &str) -> Result<(), Status> {
        let request = csi::CreateSnapshotRequest {
            source_volume_id: volume_id(of).to_string(),
            name: name.to_owned(),
            ..Default::default()
        };
        self.controller().create_snapshot(request).await.map(drop)
    }

    pub(crate) async fn expand(&self, name: &str, size: u64) -> Result<(), Status> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: volume_id(name).to_string(),
            capacity_range: Some(range(size)),
            ..Default::default()
        };
        let answer = self.controller().controller_expand_volume(request).await;
        answer.map(drop)
    }

    pub(crate) async fn assign(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
    ) -> Result<(), Status> {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            node_id: "n".to_owned(),
            volume_capability: Some(capability),
            ..Default::default()
        };
        let answer = self.controller().controller_publish_volume(request).await;
        answer.map(drop)
    }

    pub(crate) async fn unassign(&self, name: &str) -> Result<(), Status> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            ..Default::default()
        };
        let answer = self.controller().controller_unpublish_volume(request).await;
        answer.map(drop)
    }

    pub(crate) async fn stage(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
    ) -> Result<(), Status> {
        let staging = self.staging(name);
        std::fs::create_dir_all(&staging).expect("a directory");
        let request = csi::NodeStageVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: staging,
            volume_capability: Some(capability),
            ..Default::default()
        };
        self.node().node_stage_volume(request).await.map(drop)
    }

    pub(crate) async fn publish(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
    ) -> Result<(), Status> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: self.staging(name),
            target_path: self.target(name),
            volume_capability: Some(capability),
            ..Default::default()
        };
        self.node().node_publish_volume(request).await.map(drop)
    }

    pub(crate) async fn unpublish(&self, name: &str) -> Result<(), Status> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            target_path: self.target(name),
        };
        self.node().node_unpublish_volume(request).await.map(drop)
    }

    pub(crate) async fn unstage(&self, name: &str) -> Result<(), Status> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: self.staging(name),
        };
        self.node().node_unstage_volume(request).await.map(drop)
    }

    pub(crate) async fn node_expand(&self, name: &str) -> Result<(), Status> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: volume_id(name).to_string(),
            volume_path: self.target(name),
            ..Default::default()
        };
        self.node().node_expand_volume(request).await.map(drop)
    }

    pub(crate) async fn stats(&self, name: &str) -> Result<(), Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: volume_id(name).to_string(),
            volume_path: self.target(name),
            ..Default::default()
        };
        self.node().node_get_volume_stats(request).await.map(drop)
    }

    /// From the storage to the workload.
    pub(crate) async fn bring(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
    ) -> Result<(), Status> {
        self.assign(name, capability.clone()).await?;
        self.stage(name, capability.clone()).await?;
        self.publish(name, capability).await
    }

    /// From the workload to the storage, whatever of the volume is where.
    pub(crate) async fn take_back(&self, name: &str) -> Result<(), Status> {
        self.unpublish(name).await?;
        self.unstage(name).await?;
        self.unassign(name).await
    }

    /// The ids of all volumes and of all snapshots.
    pub(crate) async fn list(&self) -> (Vec<String>, Vec<String>) {
        let mut controller = self.controller();
        let volumes = controller.list_volumes(csi::ListVolumesRequest::default());
        let volumes = volumes.await.map(Response::into_inner).expect("a list");
        let snapshots = controller.list_snapshots(csi::ListSnapshotsRequest::default());
        let snapshots = snapshots.await.map(Response::into_inner).expect("a list");
        let volumes = volumes.entries.into_iter().filter_map(|it| it.volume);
        let snapshots = snapshots.entries.into_iter().filter_map(|it| it.snapshot);
        let mut volumes: Vec<String> = volumes.map(|it| it.volume_id).collect();
        let mut snapshots: Vec<String> = snapshots.map(|it| it.snapshot_id).collect();
        volumes.sort();
        snapshots.sort();
        (volumes, snapshots)
    }
}

pub(crate) fn create(
    name: &str,
    capability: csi::VolumeCapability,
    size: u64,
) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(range(size)),
        volume_capabilities: vec![capability],
        ..Default::default()
    }
}

/// A raw block volume, or one with this filesystem, for one writer.
pub(crate) fn capability(fs: Option<&str>) -> csi::VolumeCapability {
    let access_type = match fs {
        None => AccessType::Block(BlockVolume {}),
        Some(fs) => AccessType::Mount(MountVolume {
            fs_type: fs.to_owned(),
            ..MountVolume::default()
        }),
    };
    csi::VolumeCapability {
        access_type: Some(access_type),
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
    }
}

pub(crate) fn range(bytes: u64) -> csi::CapacityRange {
    csi::CapacityRange {
        required_bytes: i64::try_from(bytes).expect("it is small"),
        limit_bytes: 0,
    }
}

pub(crate) fn volume_id(name: &str) -> VolumeId {
    VolumeId::for_name(&Name::parse(name).expect("a name"))
}

/// Writes a file and syncs it.
pub(crate) fn write_synced(directory: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let path = Path::new(directory).join(name);
    std::fs::write(&path, bytes)?;
    std::fs::File::open(path)?.sync_all()
}
