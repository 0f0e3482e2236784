//! What must be there: a model that every acknowledged call changes, and the comparison with what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use offshoot::csi;
use offshoot::volume::{GroupSnapshotId, Name, SnapshotId, VolumeId};
use prost::Message as _;

use crate::calls::Call;
use crate::driver::Driver;
use crate::machine::{Machine, calls};

/// What the driver tells of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    size: i64,
    published: bool,
}

/// Everything that was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) volumes: BTreeMap<String, Known>,
    pub(crate) snapshots: BTreeSet<String>,
    /// The members of each group.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// Where each volume is staged; raw block volumes are staged nowhere.
    pub(crate) staged: BTreeMap<String, Option<String>>,
    /// Which volume is at each target.
    pub(crate) targets: BTreeMap<String, String>,
}

pub(crate) fn volume_id(name: &str) -> String {
    calls::volume_id(name).to_string()
}

pub(crate) fn snapshot_id(name: &str) -> String {
    let name = Name::parse(name).expect("a name");
    SnapshotId::for_name(&name).to_string()
}

pub(crate) fn group_id(name: &str) -> String {
    let name = Name::parse(name).expect("a name");
    GroupSnapshotId::for_name(&name).to_string()
}

fn member_id(group: &str, volume: &str) -> String {
    let group = GroupSnapshotId::parse(group).expect("an id");
    let volume = VolumeId::parse(volume).expect("an id");
    SnapshotId::of_member(&group, &volume).to_string()
}

fn size_of(range: Option<&csi::CapacityRange>) -> i64 {
    range.map_or(0, |it| it.required_bytes)
}

impl World {
    /// The world after a call that was acknowledged.
    pub(crate) fn after(&self, call: &Call) -> Self {
        let mut world = self.clone();
        world.apply(call);
        world
    }

    fn apply(&mut self, call: &Call) {
        match call {
            Call::CreateVolume(it) => {
                let size = size_of(it.capacity_range.as_ref());
                let published = false;
                self.volumes
                    .insert(volume_id(&it.name), Known { size, published });
            }
            Call::DeleteVolume(it) => {
                self.volumes.remove(&it.volume_id);
            }
            Call::ControllerPublish(it) => self.change(&it.volume_id, |it| it.published = true),
            Call::ControllerUnpublish(it) => self.change(&it.volume_id, |it| it.published = false),
            Call::ControllerExpand(it) => {
                let size = size_of(it.capacity_range.as_ref());
                self.change(&it.volume_id, |it| it.size = size);
            }
            Call::CreateSnapshot(it) => {
                self.snapshots.insert(snapshot_id(&it.name));
            }
            Call::DeleteSnapshot(it) => {
                self.snapshots.remove(&it.snapshot_id);
            }
            Call::CreateGroup(it) => {
                let group = group_id(&it.name);
                let members = it.source_volume_ids.iter();
                let members: BTreeSet<_> = members.map(|it| member_id(&group, it)).collect();
                self.snapshots.extend(members.iter().cloned());
                self.groups.insert(group, members);
            }
            Call::DeleteGroup(it) => {
                let members = self.groups.remove(&it.group_snapshot_id);
                for member in members.unwrap_or_default() {
                    self.snapshots.remove(&member);
                }
            }
            Call::NodeStage(it) => {
                let raw = is_raw(it.volume_capability.as_ref());
                let path = (!raw).then(|| it.staging_target_path.clone());
                self.staged.insert(it.volume_id.clone(), path);
            }
            Call::NodeUnstage(it) => {
                self.staged.remove(&it.volume_id);
            }
            Call::NodePublish(it) => {
                self.targets
                    .insert(it.target_path.clone(), it.volume_id.clone());
            }
            Call::NodeUnpublish(it) => {
                self.targets.remove(&it.target_path);
            }
            Call::ControllerModify(_)
            | Call::NodeExpand(_)
            | Call::ListVolumes(_)
            | Call::ListSnapshots(_)
            | Call::GetGroup(_) => {}
        }
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Known)) {
        change(self.volumes.get_mut(id).expect("it exists"));
    }

    /// What of this world the machine and the driver's process do not show, or show in excess.
    pub(crate) fn differences(&self, machine: &Machine, driver: &Driver) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, wanted: BTreeSet<String>, shown: Vec<String>| {
            let seen: BTreeSet<String> = shown.iter().cloned().collect();
            if wanted != seen || seen.len() != shown.len() {
                found.push(format!("{what}: {shown:?} instead of {wanted:?}"));
            }
        };
        let files = |directory: &str| machine.names(&format!("data/offshoot/{directory}"));
        compare("files of volumes", keys(&self.volumes), files("volumes"));
        compare(
            "files of snapshots",
            self.snapshots.clone(),
            files("snapshots"),
        );
        compare("files of groups", keys(&self.groups), files("groups"));
        compare("ledgers", self.ledgers(), files("node"));
        let mut mounts: BTreeSet<String> = self.staged.values().flatten().cloned().collect();
        mounts.extend(keys(&self.targets));
        compare("mounts", mounts, machine.mounts());
        let backed = machine.loops_and_files().into_iter();
        let backed = backed.map(|(_, file)| file).collect();
        let devices = self.staged.keys();
        let devices = devices.map(|it| machine.path(&format!("data/offshoot/volumes/{it}")));
        compare("loop devices", devices.collect(), backed);
        let targets = keys(&self.targets);
        let places = machine.names("kubelet").into_iter();
        let places = places.filter(|it| !it.ends_with("-staging"));
        let places = places.map(|it| machine.path(&format!("kubelet/{it}")));
        compare(
            "places in the kubelet's directory",
            targets,
            places.collect(),
        );
        compare(
            "children of the driver",
            BTreeSet::new(),
            children(driver.id()),
        );
        compare(
            "files that the driver has open",
            BTreeSet::new(),
            held(machine, driver.id()),
        );
        found.extend(self.volumes.iter().filter_map(|(id, known)| {
            let file = machine.path(&format!("data/offshoot/volumes/{id}"));
            let length = fs::metadata(file).map_or(0, |it| it.len());
            let promised = known.size.cast_unsigned();
            (length < promised).then(|| format!("volume {id} has {length} bytes of {promised}"))
        }));
        found
    }

    /// Volumes that are mounted somewhere, or published as devices, have a file of their own in the ledger.
    fn ledgers(&self) -> BTreeSet<String> {
        let staged = self.staged.iter().filter(|(_, path)| path.is_some());
        let staged = staged.map(|(id, _)| id.clone());
        staged.chain(self.targets.values().cloned()).collect()
    }
}

fn keys<T>(map: &BTreeMap<String, T>) -> BTreeSet<String> {
    map.keys().cloned().collect()
}

fn is_raw(capability: Option<&csi::VolumeCapability>) -> bool {
    use csi::volume_capability::AccessType;
    capability.is_some_and(|it| matches!(it.access_type, Some(AccessType::Block(_))))
}

/// Processes that the driver started, living or unburied.
fn children(driver: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{driver}/task")).into_iter();
    let lists = tasks
        .flatten()
        .flatten()
        .filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    lists
        .flat_map(|it| it.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Volumes, snapshots and devices that the driver has open between two calls. Template images have no name.
fn held(machine: &Machine, driver: u32) -> Vec<String> {
    let data = machine.path("data/offshoot");
    let entries = fs::read_dir(format!("/proc/{driver}/fd")).into_iter();
    let targets = entries
        .flatten()
        .flatten()
        .filter_map(|it| fs::read_link(it.path()).ok())
        .map(|it| it.display().to_string());
    let ours = |it: &String| {
        let file = ["volumes/", "snapshots/", "groups/"]
            .iter()
            .any(|directory| it.starts_with(&format!("{data}/{directory}")));
        (file && !it.ends_with("(deleted)"))
            || (it.starts_with("/dev/loop") && it != "/dev/loop-control")
    };
    targets.filter(ours).collect()
}

/// What the driver tells: its volumes and snapshots.
pub(crate) async fn told(
    driver: &Driver,
) -> Result<(BTreeMap<String, Known>, BTreeSet<String>), String> {
    let volumes = ask(
        driver,
        Call::ListVolumes(csi::ListVolumesRequest::default()),
    )
    .await?;
    let volumes = csi::ListVolumesResponse::decode(volumes.as_slice()).expect("an answer");
    let volumes = volumes.entries.into_iter().filter_map(|it| {
        let published = it
            .status
            .is_some_and(|it| !it.published_node_ids.is_empty());
        let volume = it.volume?;
        let size = volume.capacity_bytes;
        Some((volume.volume_id, Known { size, published }))
    });
    let snapshots = ask(
        driver,
        Call::ListSnapshots(csi::ListSnapshotsRequest::default()),
    )
    .await?;
    let snapshots = csi::ListSnapshotsResponse::decode(snapshots.as_slice()).expect("an answer");
    let snapshots = snapshots.entries.into_iter();
    let snapshots = snapshots.filter_map(|it| it.snapshot.map(|it| it.snapshot_id));
    Ok((volumes.collect(), snapshots.collect()))
}

async fn ask(driver: &Driver, call: Call) -> Result<Vec<u8>, String> {
    driver
        .ask(&call)
        .await?
        .map_err(|status| format!("{} fails: {status}", call.name()))
}

/// What the driver tells that is neither the world before nor the world after the call that was cut short.
pub(crate) async fn untrue(driver: &Driver, before: &World, after: &World) -> Result<(), String> {
    let (volumes, snapshots) = told(driver).await?;
    for (id, known) in &before.volumes {
        let unchanged = after.volumes.get(id) == Some(known);
        if unchanged && volumes.get(id) != Some(known) {
            return Err(format!(
                "volume {id} is {:?} instead of {known:?}",
                volumes.get(id)
            ));
        }
    }
    for (id, known) in &volumes {
        if before.volumes.get(id) != Some(known) && after.volumes.get(id) != Some(known) {
            return Err(format!("volume {id} is told of as {known:?}"));
        }
    }
    let lost = before.snapshots.intersection(&after.snapshots);
    if let Some(id) = lost.into_iter().find(|it| !snapshots.contains(*it)) {
        return Err(format!("snapshot {id} is lost"));
    }
    let excess = |it: &&String| !before.snapshots.contains(*it) && !after.snapshots.contains(*it);
    if let Some(id) = snapshots.iter().find(excess) {
        return Err(format!("snapshot {id} is told of"));
    }
    for group in keys(&before.groups).intersection(&keys(&after.groups)) {
        let group_snapshot_id = group.clone();
        let get = csi::GetVolumeGroupSnapshotRequest {
            group_snapshot_id,
            ..Default::default()
        };
        ask(driver, Call::GetGroup(get)).await?;
    }
    Ok(())
}
