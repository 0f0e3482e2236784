//! A workload that drives the real driver over its socket, and notes what is acknowledged when.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use faultlab::{Answer, Call, Log, Program, Random, Watched, supervise};
use offshoot::csi;
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use offshoot::volume::{GroupSnapshotId, Name, SnapshotId};
use tonic::Status;

use super::machine::Machine;
use super::machine::calls::{Calls, create, volume_id, write_synced};
use super::machine::site::Site;
use super::story::{Change, Event, Kind, State, bytes};

const CHANGES: u64 = 45;

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
    let calls = Calls::connect(&site.machine).await;
    let mut state = State::default();
    let mut random = Random::new(seed);
    let mut events = Vec::new();
    for number in 1..=CHANGES {
        let change = state.choose(&mut random, number);
        let began = site.disk.position();
        let answer = perform(&calls, &change, &state).await;
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
        calls.take_back(name).await.expect("it is taken back");
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
    let mut driver = machine.driver();
    // What it says when it cannot start is expected where a bug is planted.
    driver.stderr(Stdio::null());
    supervise(driver, &[], |_| Answer::Real).expect("it starts")
}

/// Asks for a change; `state` is what is there before.
pub(crate) async fn perform(calls: &Calls, change: &Change, state: &State) -> Result<(), Status> {
    let mut controller = calls.controller();
    match change {
        Change::Create { name, kind, thick } => {
            let mut request = create(name, kind.capability(), kind.size());
            if *thick {
                request.parameters = parameter("provisioning", "thick");
            }
            controller.create_volume(request).await.map(drop)
        }
        Change::CloneVolume { name, of } => {
            let source = &state.volumes[of];
            let volume_id = volume_id(of).to_string();
            let mut request = create(name, source.kind.capability(), source.size);
            request.volume_content_source = Some(content(Type::Volume(VolumeSource { volume_id })));
            controller.create_volume(request).await.map(drop)
        }
        Change::Restore { name, of } => {
            let source = &state.snapshots[of];
            let snapshot_id = snapshot_id(of).to_string();
            let mut request = create(name, source.kind.capability(), source.size);
            let source = Type::Snapshot(SnapshotSource { snapshot_id });
            request.volume_content_source = Some(content(source));
            controller.create_volume(request).await.map(drop)
        }
        Change::DeleteVolume(name) => calls.delete(name).await,
        Change::Snapshot { name, of } => calls.snapshot(name, of).await,
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
            let answer = calls.groups().create_volume_group_snapshot(request).await;
            answer.map(drop)
        }
        Change::DeleteGroup(name) => {
            let request = csi::DeleteVolumeGroupSnapshotRequest {
                group_snapshot_id: group_id(name).to_string(),
                ..Default::default()
            };
            let answer = calls.groups().delete_volume_group_snapshot(request).await;
            answer.map(drop)
        }
        Change::Expand(name) => {
            let volume = &state.volumes[name];
            calls.expand(name, volume.size + (4 << 20)).await?;
            // A mounted ext4 grows only with CAP_SYS_RESOURCE, which not every root has; it grows when it is staged again.
            let grows = volume.published && volume.kind != Kind::Ext4;
            if grows && Path::new(&calls.target(name)).exists() {
                calls.node_expand(name).await?;
            }
            Ok(())
        }
        Change::Modify { name, kib } => {
            let request = csi::ControllerModifyVolumeRequest {
                volume_id: volume_id(name).to_string(),
                mutable_parameters: parameter("readAheadKiB", &kib.to_string()),
                ..Default::default()
            };
            controller.controller_modify_volume(request).await.map(drop)
        }
        Change::Publish(name) => {
            calls
                .bring(name, state.volumes[name].kind.capability())
                .await
        }
        Change::Unpublish(name) => calls.take_back(name).await,
        Change::Write { name, token } => {
            let (path, kind, token) = (calls.target(name), state.volumes[name].kind, *token);
            let write = move || write(&path, kind, token);
            tokio::task::spawn_blocking(write).await.expect("it ends");
            Ok(())
        }
    }
}

fn content(source: Type) -> csi::VolumeContentSource {
    csi::VolumeContentSource {
        r#type: Some(source),
    }
}

fn parameter(key: &str, value: &str) -> HashMap<String, String> {
    HashMap::from([(key.to_owned(), value.to_owned())])
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
        let written = device.write_all_at(&bytes(token), token * 4096);
        written.expect("it is written");
        return device.sync_all().expect("it is synced");
    }
    write_synced(path, &format!("t{token}"), &bytes(token)).expect("it is synced");
    let directory = File::open(path).and_then(|it| it.sync_all());
    directory.expect("it is synced");
}
