//! The real driver on real devices, killed in the middle of every call of a volume's life. Needs root; says so otherwise.
//!
//! Each call is cut short by SIGKILL at a moment that the seed chooses, the driver is started again, and the call is
//! repeated: it must converge, every acknowledged byte must be there, and in the end nothing may be left.
//! `CRASH_LIVES` lives are played (6 by default), from `CRASH_SEED` on.

mod common;
mod machine;

use std::path::Path;
use std::time::Duration;

use common::{block, connect, mode, range};
use faultlab::{Running, setting};
use machine::{Machine, is_root};
use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::AccessType;
use offshoot::csi::volume_capability::MountVolume;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_content_source::{SnapshotSource, Type};
use tonic::transport::Channel;
use tonic::{Code, Status};

const SIZE: i64 = 320 << 20;
const CONTENT: &str = "acknowledged";

/// The driver, which may be dead.
struct Driver<'a> {
    machine: &'a Machine,
    process: Running,
    channel: Channel,
    kills: u32,
    random: u64,
}

impl<'a> Driver<'a> {
    async fn start(machine: &'a Machine, seed: u64) -> Self {
        let (process, channel) = spawn(machine).await;
        Self {
            machine,
            process,
            channel,
            kills: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Makes a call, kills the driver during it, starts it again, and repeats the call until it succeeds.
    async fn survive<T, F>(&mut self, what: &str, call: impl Fn(Channel) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send + 'static,
    {
        let cut = tokio::spawn(call(self.channel.clone()));
        // Calls take between a tenth of a millisecond and some ten; most moments are to lie inside.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let moment = Duration::from_micros(
            (self.random >> 33) % [300, 1_500, 8_000][(self.random >> 60) as usize % 3],
        );
        tokio::time::sleep(moment).await;
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
        self.kills += 1;
        let _ = cut.await;
        (self.process, self.channel) = spawn(self.machine).await;
        for _ in 0..1000 {
            match call(self.channel.clone()).await {
                Ok(answer) => return answer.into_inner(),
                Err(status) if matches!(status.code(), Code::Aborted | Code::Unavailable) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => panic!("{what} after a kill: {status}"),
            }
        }
        panic!("{what} does not converge");
    }
}

async fn spawn(machine: &Machine) -> (Running, Channel) {
    let process = Running::start(&mut machine.driver()).expect("the driver starts");
    (process, connect(Path::new(&machine.path("csi.sock"))).await)
}

fn capability(raw: bool) -> csi::VolumeCapability {
    if raw {
        return block();
    }
    let xfs = MountVolume {
        fs_type: "xfs".to_owned(),
        ..MountVolume::default()
    };
    mode(AccessType::Mount(xfs), Mode::SingleNodeWriter)
}

/// One life: every call is killed once.
async fn live(driver: &mut Driver<'_>, raw: bool) {
    let capability = capability(raw);
    let create = csi::CreateVolumeRequest {
        name: "volume".to_owned(),
        capacity_range: Some(range(SIZE, 0)),
        volume_capabilities: vec![capability.clone()],
        ..Default::default()
    };
    let created = create_volume(driver, create.clone()).await;
    let id = created.volume_id;
    bring(driver, &id, "pod", &capability).await;
    let target = driver.machine.path("kubelet/pod");
    let file = if raw {
        target.clone()
    } else {
        format!("{target}/file")
    };
    write(&file);
    let cut = csi::CreateSnapshotRequest {
        source_volume_id: id.clone(),
        name: "snapshot".to_owned(),
        ..Default::default()
    };
    let snapshot = driver.survive("CreateSnapshot", move |channel| {
        let request = cut.clone();
        async move {
            ControllerClient::new(channel)
                .create_snapshot(request)
                .await
        }
    });
    let snapshot = snapshot.await.snapshot.expect("a snapshot").snapshot_id;
    let group = groups(driver, &id).await;
    expand(driver, &id, &target).await;
    check(&file);
    let clone = csi::CreateVolumeRequest {
        name: "clone".to_owned(),
        volume_content_source: Some(csi::VolumeContentSource {
            r#type: Some(Type::Snapshot(SnapshotSource {
                snapshot_id: snapshot.clone(),
            })),
        }),
        ..create
    };
    let clone = create_volume(driver, clone).await.volume_id;
    bring(driver, &clone, "clone", &capability).await;
    let copied = driver.machine.path("kubelet/clone");
    check(&if raw {
        copied
    } else {
        format!("{copied}/file")
    });
    check(&file);
    take_back(driver, &clone, "clone").await;
    take_back(driver, &id, "pod").await;
    let delete = csi::DeleteSnapshotRequest {
        snapshot_id: snapshot,
        ..Default::default()
    };
    driver
        .survive("DeleteSnapshot", move |channel| {
            let request = delete.clone();
            async move {
                ControllerClient::new(channel)
                    .delete_snapshot(request)
                    .await
            }
        })
        .await;
    let delete = csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: group,
        ..Default::default()
    };
    driver
        .survive("DeleteVolumeGroupSnapshot", move |channel| {
            let request = delete.clone();
            async move {
                GroupControllerClient::new(channel)
                    .delete_volume_group_snapshot(request)
                    .await
            }
        })
        .await;
}

async fn create_volume(driver: &mut Driver<'_>, request: csi::CreateVolumeRequest) -> csi::Volume {
    let created = driver.survive("CreateVolume", move |channel| {
        let request = request.clone();
        async move { ControllerClient::new(channel).create_volume(request).await }
    });
    created.await.volume.expect("a volume")
}

async fn groups(driver: &mut Driver<'_>, id: &str) -> String {
    let request = csi::CreateVolumeGroupSnapshotRequest {
        name: "group".to_owned(),
        source_volume_ids: vec![id.to_owned()],
        ..Default::default()
    };
    let cut = driver.survive("CreateVolumeGroupSnapshot", move |channel| {
        let request = request.clone();
        async move {
            GroupControllerClient::new(channel)
                .create_volume_group_snapshot(request)
                .await
        }
    });
    cut.await.group_snapshot.expect("a group").group_snapshot_id
}

async fn bring(
    driver: &mut Driver<'_>,
    id: &str,
    target: &str,
    capability: &csi::VolumeCapability,
) {
    let staging = driver.machine.path(&format!("kubelet/{target}-staging"));
    std::fs::create_dir_all(&staging).expect("a directory");
    let publish = csi::ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: "n".to_owned(),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    };
    driver
        .survive("ControllerPublishVolume", move |channel| {
            let request = publish.clone();
            async move {
                ControllerClient::new(channel)
                    .controller_publish_volume(request)
                    .await
            }
        })
        .await;
    let stage = csi::NodeStageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: staging.clone(),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    };
    driver
        .survive("NodeStageVolume", move |channel| {
            let request = stage.clone();
            async move { NodeClient::new(channel).node_stage_volume(request).await }
        })
        .await;
    let publish = csi::NodePublishVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: staging,
        target_path: driver.machine.path(&format!("kubelet/{target}")),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    };
    driver
        .survive("NodePublishVolume", move |channel| {
            let request = publish.clone();
            async move { NodeClient::new(channel).node_publish_volume(request).await }
        })
        .await;
}

async fn expand(driver: &mut Driver<'_>, id: &str, path: &str) {
    let grow = csi::ControllerExpandVolumeRequest {
        volume_id: id.to_owned(),
        capacity_range: Some(range(SIZE * 2, 0)),
        ..Default::default()
    };
    driver
        .survive("ControllerExpandVolume", move |channel| {
            let request = grow.clone();
            async move {
                ControllerClient::new(channel)
                    .controller_expand_volume(request)
                    .await
            }
        })
        .await;
    let grow = csi::NodeExpandVolumeRequest {
        volume_id: id.to_owned(),
        volume_path: path.to_owned(),
        ..Default::default()
    };
    driver
        .survive("NodeExpandVolume", move |channel| {
            let request = grow.clone();
            async move { NodeClient::new(channel).node_expand_volume(request).await }
        })
        .await;
}

async fn take_back(driver: &mut Driver<'_>, id: &str, target: &str) {
    let unpublish = csi::NodeUnpublishVolumeRequest {
        volume_id: id.to_owned(),
        target_path: driver.machine.path(&format!("kubelet/{target}")),
    };
    driver
        .survive("NodeUnpublishVolume", move |channel| {
            let request = unpublish.clone();
            async move {
                NodeClient::new(channel)
                    .node_unpublish_volume(request)
                    .await
            }
        })
        .await;
    let unstage = csi::NodeUnstageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: driver.machine.path(&format!("kubelet/{target}-staging")),
    };
    driver
        .survive("NodeUnstageVolume", move |channel| {
            let request = unstage.clone();
            async move { NodeClient::new(channel).node_unstage_volume(request).await }
        })
        .await;
    let unpublish = csi::ControllerUnpublishVolumeRequest {
        volume_id: id.to_owned(),
        ..Default::default()
    };
    driver
        .survive("ControllerUnpublishVolume", move |channel| {
            let request = unpublish.clone();
            async move {
                ControllerClient::new(channel)
                    .controller_unpublish_volume(request)
                    .await
            }
        })
        .await;
    let delete = csi::DeleteVolumeRequest {
        volume_id: id.to_owned(),
        ..Default::default()
    };
    driver
        .survive("DeleteVolume", move |channel| {
            let request = delete.clone();
            async move { ControllerClient::new(channel).delete_volume(request).await }
        })
        .await;
}

fn write(path: &str) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("it opens");
    file.write_all(CONTENT.as_bytes()).expect("it is written");
    file.sync_all().expect("it is synced");
}

fn check(path: &str) {
    use std::io::Read as _;
    let mut bytes = vec![0; CONTENT.len()];
    let mut file = std::fs::File::open(path).expect("it opens");
    file.read_exact(&mut bytes).expect("it is there");
    assert_eq!(
        bytes,
        CONTENT.as_bytes(),
        "{path} has every acknowledged byte"
    );
}

/// Everything that a life could have left.
fn leftovers(machine: &Machine) -> Vec<String> {
    let directories = ["volumes", "snapshots", "groups", "node"];
    let files = directories.map(|it| machine.names(&format!("data/offshoot/{it}")));
    [files.concat(), machine.mounts(), machine.loops()].concat()
}

#[tokio::test]
async fn every_call_survives_a_kill() {
    if !is_root() {
        return;
    }
    let (lives, seed) = (setting("CRASH_LIVES", 6), setting("CRASH_SEED", 1));
    let mut kills = 0;
    for life in 0..lives {
        let machine = Machine::on(["xfs", "ext4", "btrfs"][usize::try_from(life % 3).unwrap_or(0)]);
        let mut driver = Driver::start(&machine, seed + life).await;
        live(&mut driver, life % 2 == 1).await;
        kills += driver.kills;
        drop(driver);
        assert_eq!(
            leftovers(&machine),
            Vec::<String>::new(),
            "life {life} of seed {seed}"
        );
    }
    eprintln!("crash: {kills} kills in {lives} lives from seed {seed}, 0 bytes lost, nothing left");
}
