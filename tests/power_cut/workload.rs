//! A workload that drives the real driver over its socket, and notes what is acknowledged when.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use faultlab::{Answer, Call, Disk, Image, Log, Program, Random, Watched, supervise};
use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessType, BlockVolume, MountVolume};
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use offshoot::volume::{GroupSnapshotId, Name, SnapshotId, VolumeId};
use tempfile::NamedTempFile;
use tonic::Status;
use tonic::transport::Channel;

use super::common::{connect, mode};
use super::machine::{Machine, tool};
use super::story::{Change, Event, Kind, State, Volume, bytes};

/// How large the disk below the data directory is.
const DISK: u64 = 1 << 30;
const CHANGES: u64 = 45;

/// A machine whose data directory is on a disk of this process. In the order in which they must go.
pub(crate) struct Site {
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    _file: NamedTempFile,
}

impl Site {
    /// A machine over these bytes; `None` when their filesystem cannot be mounted.
    pub(crate) fn over(image: Image, kind: &str) -> Option<Self> {
        let file = NamedTempFile::new().expect("a file");
        let disk = Disk::mount(image, file.path()).expect("the disk is there");
        Machine::over(disk.path(), kind).map(|machine| Self {
            machine,
            disk,
            _file: file,
        })
    }

    /// A machine over a new filesystem.
    pub(crate) fn new(kind: &str) -> Self {
        let file = NamedTempFile::new().expect("a file");
        let disk = Disk::mount(Image::new(DISK), file.path()).expect("the disk is there");
        let path = disk.path().display().to_string();
        assert!(tool(&format!("mkfs.{kind}"), &["-q", "-f", &path]));
        let machine = Machine::over(disk.path(), kind).expect("it is mounted");
        Self {
            machine,
            disk,
            _file: file,
        }
    }
}

/// What was written to the disk, and what was acknowledged meanwhile.
pub(crate) struct Recording {
    pub(crate) log: Log,
    pub(crate) events: Vec<Event>,
}

/// Plays a workload. `decide` answers the driver's syncs.
pub(crate) async fn record(
    kind: &str,
    seed: u64,
    decide: impl FnMut(&Call) -> Answer + Send + 'static,
) -> Recording {
    let site = Site::new(kind);
    site.disk.record();
    let mut driver = supervise(site.machine.driver(), &[sync()], decide).expect("it starts");
    let client = Client::connect(&site.machine).await;
    let mut state = State::default();
    let mut random = Random::new(seed);
    let mut events = Vec::new();
    for number in 1..=CHANGES {
        let change = state.choose(&mut random, number);
        let began = site.disk.position();
        let answer = client.perform(&change, &state).await;
        answer.unwrap_or_else(|error| panic!("seed {seed}: {change:?}: {error}"));
        let done = site.disk.position();
        state.apply(&change);
        events.push(Event {
            change,
            began,
            done,
        });
    }
    let log = site.disk.finish();
    for (name, _) in state.volumes.iter().filter(|(_, it)| it.published) {
        client.take_back(name).await.expect("it is taken back");
    }
    driver.kill();
    Recording { log, events }
}

fn sync() -> Watched {
    Watched {
        number: libc::SYS_fsync,
        second: None,
    }
}

/// Starts the driver; it is killed when what this returns is dropped.
pub(crate) fn start(machine: &Machine) -> Program {
    supervise(machine.driver(), &[], |_| Answer::Real).expect("it starts")
}

/// Calls a driver.
pub(crate) struct Client<'a> {
    machine: &'a Machine,
    channel: Channel,
}

impl<'a> Client<'a> {
    pub(crate) async fn connect(machine: &'a Machine) -> Self {
        Self {
            machine,
            channel: connect(Path::new(&machine.path("csi.sock"))).await,
        }
    }

    fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// The ids of all volumes and of all snapshots.
    pub(crate) async fn list(&self) -> (Vec<String>, Vec<String>) {
        let mut controller = self.controller();
        let volumes = controller.list_volumes(csi::ListVolumesRequest::default());
        let volumes = volumes.await.expect("a list").into_inner().entries;
        let snapshots = controller.list_snapshots(csi::ListSnapshotsRequest::default());
        let snapshots = snapshots.await.expect("a list").into_inner().entries;
        let mut volumes: Vec<_> = volumes
            .into_iter()
            .filter_map(|it| it.volume)
            .map(|it| it.volume_id)
            .collect();
        let mut snapshots: Vec<_> = snapshots
            .into_iter()
            .filter_map(|it| it.snapshot)
            .map(|it| it.snapshot_id)
            .collect();
        volumes.sort();
        snapshots.sort();
        (volumes, snapshots)
    }

    /// Asks for a change; `state` is what is there before.
    pub(crate) async fn perform(&self, change: &Change, state: &State) -> Result<(), Status> {
        let mut controller = self.controller();
        let mut groups = GroupControllerClient::new(self.channel.clone());
        match change {
            Change::Create { name, kind, thick } => {
                let mut request = create(name, *kind, kind.size());
                if *thick {
                    request.parameters = parameter("provisioning", "thick");
                }
                controller.create_volume(request).await.map(drop)
            }
            Change::CloneVolume { name, of } => {
                let source = &state.volumes[of];
                let volume_id = volume_id(of).to_string();
                let mut request = create(name, source.kind, source.size);
                request.volume_content_source =
                    Some(content(Type::Volume(VolumeSource { volume_id })));
                controller.create_volume(request).await.map(drop)
            }
            Change::Restore { name, of } => {
                let source = &state.snapshots[of];
                let snapshot_id = snapshot_id(of).to_string();
                let mut request = create(name, source.kind, source.size);
                request.volume_content_source =
                    Some(content(Type::Snapshot(SnapshotSource { snapshot_id })));
                controller.create_volume(request).await.map(drop)
            }
            Change::DeleteVolume(name) => {
                let request = csi::DeleteVolumeRequest {
                    volume_id: volume_id(name).to_string(),
                    ..Default::default()
                };
                controller.delete_volume(request).await.map(drop)
            }
            Change::Snapshot { name, of } => {
                let request = csi::CreateSnapshotRequest {
                    source_volume_id: volume_id(of).to_string(),
                    name: name.clone(),
                    ..Default::default()
                };
                controller.create_snapshot(request).await.map(drop)
            }
            Change::DeleteSnapshot(name) => {
                let request = csi::DeleteSnapshotRequest {
                    snapshot_id: snapshot_id(name).to_string(),
                    ..Default::default()
                };
                controller.delete_snapshot(request).await.map(drop)
            }
            Change::Group { name, of } => {
                let request = csi::CreateVolumeGroupSnapshotRequest {
                    name: name.clone(),
                    source_volume_ids: of.iter().map(|it| volume_id(it).to_string()).collect(),
                    ..Default::default()
                };
                groups.create_volume_group_snapshot(request).await.map(drop)
            }
            Change::DeleteGroup(name) => {
                let request = csi::DeleteVolumeGroupSnapshotRequest {
                    group_snapshot_id: group_id(name).to_string(),
                    ..Default::default()
                };
                groups.delete_volume_group_snapshot(request).await.map(drop)
            }
            Change::Expand(name) => self.expand(name, &state.volumes[name]).await,
            Change::Modify { name, kib } => {
                let request = csi::ControllerModifyVolumeRequest {
                    volume_id: volume_id(name).to_string(),
                    mutable_parameters: parameter("readAheadKiB", &kib.to_string()),
                    ..Default::default()
                };
                controller.controller_modify_volume(request).await.map(drop)
            }
            Change::Publish(name) => self.bring(name, &state.volumes[name]).await,
            Change::Unpublish(name) => self.take_back(name).await,
            Change::Write { name, token } => {
                let path = self.machine.path(&format!("kubelet/{name}"));
                let kind = state.volumes[name].kind;
                let token = *token;
                tokio::task::spawn_blocking(move || write(&path, kind, token))
                    .await
                    .expect("it ends");
                Ok(())
            }
        }
    }

    async fn bring(&self, name: &str, volume: &Volume) -> Result<(), Status> {
        let staging = self.machine.path(&format!("kubelet/{name}-staging"));
        std::fs::create_dir_all(&staging).expect("a directory");
        let publish = csi::ControllerPublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            node_id: "n".to_owned(),
            volume_capability: Some(capability(volume.kind)),
            ..Default::default()
        };
        self.controller().controller_publish_volume(publish).await?;
        let stage = csi::NodeStageVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: staging.clone(),
            volume_capability: Some(capability(volume.kind)),
            ..Default::default()
        };
        self.node().node_stage_volume(stage).await?;
        let publish = csi::NodePublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: staging,
            target_path: self.machine.path(&format!("kubelet/{name}")),
            volume_capability: Some(capability(volume.kind)),
            ..Default::default()
        };
        self.node().node_publish_volume(publish).await.map(drop)
    }

    /// Whatever of the volume is on the node.
    pub(crate) async fn take_back(&self, name: &str) -> Result<(), Status> {
        let unpublish = csi::NodeUnpublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            target_path: self.machine.path(&format!("kubelet/{name}")),
        };
        self.node().node_unpublish_volume(unpublish).await?;
        let unstage = csi::NodeUnstageVolumeRequest {
            volume_id: volume_id(name).to_string(),
            staging_target_path: self.machine.path(&format!("kubelet/{name}-staging")),
        };
        self.node().node_unstage_volume(unstage).await?;
        let unpublish = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume_id(name).to_string(),
            ..Default::default()
        };
        self.controller()
            .controller_unpublish_volume(unpublish)
            .await
            .map(drop)
    }

    async fn expand(&self, name: &str, volume: &Volume) -> Result<(), Status> {
        let grow = csi::ControllerExpandVolumeRequest {
            volume_id: volume_id(name).to_string(),
            capacity_range: Some(range(volume.size + (4 << 20))),
            ..Default::default()
        };
        self.controller().controller_expand_volume(grow).await?;
        let target = self.machine.path(&format!("kubelet/{name}"));
        // A mounted ext4 grows only with CAP_SYS_RESOURCE, which not every root has; it grows when it is staged again.
        let grows = volume.published && volume.kind != Kind::Ext4;
        if !grows || !Path::new(&target).exists() {
            return Ok(());
        }
        let grow = csi::NodeExpandVolumeRequest {
            volume_id: volume_id(name).to_string(),
            volume_path: target,
            ..Default::default()
        };
        self.node().node_expand_volume(grow).await.map(drop)
    }
}

fn create(name: &str, kind: Kind, size: u64) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(range(size)),
        volume_capabilities: vec![capability(kind)],
        ..Default::default()
    }
}

fn capability(kind: Kind) -> csi::VolumeCapability {
    let mount = |fs: &str| {
        AccessType::Mount(MountVolume {
            fs_type: fs.to_owned(),
            ..MountVolume::default()
        })
    };
    let access_type = match kind {
        Kind::Block => AccessType::Block(BlockVolume {}),
        Kind::Ext4 => mount("ext4"),
        Kind::Xfs => mount("xfs"),
    };
    mode(access_type, Mode::SingleNodeWriter)
}

fn content(source: Type) -> csi::VolumeContentSource {
    csi::VolumeContentSource {
        r#type: Some(source),
    }
}

fn parameter(key: &str, value: &str) -> HashMap<String, String> {
    HashMap::from([(key.to_owned(), value.to_owned())])
}

fn range(bytes: u64) -> csi::CapacityRange {
    csi::CapacityRange {
        required_bytes: i64::try_from(bytes).expect("it is small"),
        limit_bytes: 0,
    }
}

pub(crate) fn volume_id(name: &str) -> VolumeId {
    VolumeId::for_name(&Name::parse(name).expect("a name"))
}

pub(crate) fn snapshot_id(name: &str) -> SnapshotId {
    SnapshotId::for_name(&Name::parse(name).expect("a name"))
}

pub(crate) fn group_id(name: &str) -> GroupSnapshotId {
    GroupSnapshotId::for_name(&Name::parse(name).expect("a name"))
}

/// Writes what a token stands for, and syncs it: into a file of its own, or at a place of its own of a device.
fn write(path: &str, kind: Kind, token: u64) {
    if kind == Kind::Block {
        let device = OpenOptions::new().write(true).open(path).expect("it opens");
        device
            .write_all_at(&bytes(token), token * 4096)
            .expect("it is written");
        device.sync_all().expect("it is synced");
        return;
    }
    let file = File::create(format!("{path}/t{token}")).expect("it is made");
    file.write_all_at(&bytes(token), 0).expect("it is written");
    file.sync_all().expect("it is synced");
    File::open(path)
        .and_then(|it| it.sync_all())
        .expect("it is synced");
}
