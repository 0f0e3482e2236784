//! The real binary on a real socket, with the memory backend and the fake host: needs no root.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use faultlab::Running;
use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::identity_client::IdentityClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

pub(crate) const NODE: &str = "node-1";
pub(crate) const MIB: i64 = 1 << 20;

/// A driver that ends with the test, whatever becomes of it.
pub(crate) struct Driver {
    process: Running,
    dir: TempDir,
    pub(crate) identity: IdentityClient<Channel>,
    pub(crate) controller: ControllerClient<Channel>,
    pub(crate) groups: GroupControllerClient<Channel>,
    pub(crate) node: NodeClient<Channel>,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("csi.sock");
        std::fs::create_dir(dir.path().join("kubelet")).expect("a directory");
        #[expect(clippy::disallowed_methods, reason = "the binary under test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_offshoot"));
        command
            .args([
                "serve",
                "--backend",
                "memory",
                "--node-id",
                NODE,
                "--log-level",
                "off",
            ])
            .arg("--endpoint")
            .arg(format!("unix://{}", socket.display()))
            .arg("--kubelet-dir")
            .arg(dir.path().join("kubelet"))
            .args(flags)
            .stdin(Stdio::null());
        let process = Running::start(&mut command).expect("the driver starts");
        let channel = connect(&socket).await;
        Self {
            process,
            dir,
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            groups: GroupControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
        }
    }

    /// A path below the kubelet's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir
            .path()
            .join("kubelet")
            .join(name)
            .display()
            .to_string()
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// The id of a new volume.
    pub(crate) async fn volume(&mut self, name: &str, capability: csi::VolumeCapability) -> String {
        let created = self
            .controller
            .create_volume(create(name, capability))
            .await;
        created
            .expect("it is created")
            .into_inner()
            .volume
            .expect("a volume")
            .volume_id
    }

    /// A new volume that is published to the node and staged.
    pub(crate) async fn staged(&mut self, name: &str, capability: csi::VolumeCapability) -> String {
        let id = self.volume(name, capability.clone()).await;
        let publish = publish_to_node(&id, capability.clone());
        self.controller
            .controller_publish_volume(publish)
            .await
            .expect("it is published");
        let stage = self.stage(&id, capability);
        self.node
            .node_stage_volume(stage)
            .await
            .expect("it is staged");
        id
    }

    pub(crate) fn stage(
        &self,
        id: &str,
        capability: csi::VolumeCapability,
    ) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: self.path(&format!("{id}-staging")),
            volume_capability: Some(capability),
            ..Default::default()
        }
    }

    pub(crate) fn publish(
        &self,
        id: &str,
        target: &str,
        capability: csi::VolumeCapability,
    ) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: self.path(&format!("{id}-staging")),
            target_path: self.path(target),
            volume_capability: Some(capability),
            ..Default::default()
        }
    }

    pub(crate) async fn snapshot(&mut self, name: &str, volume: &str) -> String {
        let cut = self
            .controller
            .create_snapshot(create_snapshot(name, volume))
            .await;
        cut.expect("it is cut")
            .into_inner()
            .snapshot
            .expect("a snapshot")
            .snapshot_id
    }
}

/// Waits until the driver listens; its start waits for disks, which others may keep busy.
pub(crate) async fn connect(socket: &Path) -> Channel {
    let endpoint =
        Endpoint::from_shared(format!("unix://{}", socket.display())).expect("an endpoint");
    for _ in 0..60_000 {
        if let Ok(channel) = endpoint.connect().await {
            return channel;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the driver does not answer at {}", socket.display());
}

pub(crate) fn mode(access_type: AccessType, mode: Mode) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_type: Some(access_type),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

pub(crate) fn mount() -> csi::VolumeCapability {
    mode(
        AccessType::Mount(MountVolume::default()),
        Mode::SingleNodeWriter,
    )
}

pub(crate) fn block() -> csi::VolumeCapability {
    mode(AccessType::Block(BlockVolume {}), Mode::SingleNodeWriter)
}

pub(crate) fn with_flags(flags: &[&str]) -> csi::VolumeCapability {
    let volume = MountVolume {
        mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..MountVolume::default()
    };
    mode(AccessType::Mount(volume), Mode::SingleNodeWriter)
}

pub(crate) fn create(name: &str, capability: csi::VolumeCapability) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(range(512 * MIB, 0)),
        volume_capabilities: vec![capability],
        ..Default::default()
    }
}

pub(crate) fn create_snapshot(name: &str, volume: &str) -> csi::CreateSnapshotRequest {
    csi::CreateSnapshotRequest {
        source_volume_id: volume.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn publish_to_node(
    id: &str,
    capability: csi::VolumeCapability,
) -> csi::ControllerPublishVolumeRequest {
    csi::ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: NODE.to_owned(),
        volume_capability: Some(capability),
        ..Default::default()
    }
}

pub(crate) fn range(required_bytes: i64, limit_bytes: i64) -> csi::CapacityRange {
    csi::CapacityRange {
        required_bytes,
        limit_bytes,
    }
}

pub(crate) fn parameters(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The code of an answer. Every error says something, and has no details (CSI 1.13, "Error Scheme").
#[track_caller]
pub(crate) fn code<T>(answer: &Result<Response<T>, Status>) -> Code {
    match answer {
        Ok(_) => Code::Ok,
        Err(status) => {
            assert!(
                status.message().len() > 8,
                "an error must say what happened: {status}"
            );
            assert!(
                status.details().is_empty(),
                "details must be empty: {status}"
            );
            status.code()
        }
    }
}

/// An id of our form that nothing has.
pub(crate) const UNKNOWN: &str = "v1-00000000000000000000000000000000";
