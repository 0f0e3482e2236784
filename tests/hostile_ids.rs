//! `HOSTILE_IDS` (100,000) strings as the ids of volumes, snapshots and groups, for a driver with a data directory: each names
//! something that does not exist, and nothing in the directory or beside it is read, changed or removed by it.

mod machine;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use faultlab::{Random, setting};
use machine::{Machine, new_volume};
use offshoot::backend::{Backend, NewContents, NewSnapshot};
use offshoot::controller::{Controller, Reach};
use offshoot::csi;
use offshoot::csi::controller_server::Controller as _;
use offshoot::csi::group_controller_server::GroupController as _;
use offshoot::csi::node_server::Node as _;
use offshoot::in_flight::InFlight;
use offshoot::rpc::{ControllerService, GroupControllerService, NodeInfo, NodeService};
use offshoot::volume::{FsType, GroupSnapshotId, Name, NodeId, SnapshotId, Topology, VolumeId};
use tonic::{Code, Request, Response, Status};

/// What ids are made of: good ones, and what leads elsewhere.
const PIECES: [&str; 30] = [
    "v1-",
    "s1-",
    "g1-",
    "V1-",
    "../",
    "..",
    "/",
    "./",
    "~",
    "\0",
    "\n",
    "\r",
    " ",
    "%2e%2e%2f",
    "\\",
    "\u{202e}",
    "\u{1F4BE}",
    "e\u{301}",
    "volumes",
    "snapshots",
    "offshoot",
    ".new",
    "*",
    "$(id)",
    "';--",
    "{}",
    "-",
    "0",
    "a",
    "/etc/passwd",
];

/// Pieces in a row, or one of `good` with a few changes.
fn draw(random: &mut Random, good: &[String]) -> String {
    let mut id = String::new();
    if random.below(2) == 0 {
        for _ in 0..=random.below(8) {
            id.push_str(random.choose::<&str>(&PIECES));
        }
        return id;
    }
    let mut chars: Vec<char> = random.choose(good).chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.index(chars.len());
        match random.below(4) {
            0 => chars[at] = chars[at].to_ascii_uppercase(),
            1 => drop(chars.remove(at)),
            2 => drop(chars.splice(at..at, random.choose(&PIECES).chars())),
            _ => chars[at] = *random.choose(&['\u{7f}', '\u{ff}', 'g', '/', 'Z']),
        }
    }
    chars.into_iter().collect()
}

/// Every file below, with all that would change if somebody touched it.
fn inventory(directory: &Path, into: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|it| it.expect("an entry").path())
        .collect();
    paths.sort();
    for path in paths {
        let it = fs::symlink_metadata(&path).expect("it is there");
        let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        into.push(format!(
            "{} {} {} {times:?}",
            path.display(),
            it.ino(),
            it.len()
        ));
        if it.is_dir() {
            inventory(&path, into);
        }
    }
}

fn code<T>(answer: &Result<Response<T>, Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

/// The services over a data directory.
struct Services {
    controller: ControllerService,
    groups: GroupControllerService,
    node: NodeService,
    target: String,
}

impl Services {
    fn new(machine: &Machine, backend: Arc<dyn Backend>, node: offshoot::node::NodePlugin) -> Self {
        let controller = Arc::new(Controller::new(backend, FsType::Ext4, Reach::Cluster));
        let in_flight = InFlight::default();
        let info = NodeInfo {
            id: NodeId::parse("n").expect("an id"),
            max_volumes: None,
            topology: Topology::default(),
        };
        let kubelet = machine.path("kubelet");
        Self {
            controller: ControllerService::new(controller.clone(), in_flight.clone()),
            groups: GroupControllerService::new(controller, in_flight.clone()),
            node: NodeService::new(Arc::new(node), in_flight, info, kubelet.as_ref()),
            target: format!("{kubelet}/target"),
        }
    }

    /// The codes of looking, of deleting, and of taking from a node.
    async fn codes(&self, id: &str) -> ([Code; 3], [Code; 4]) {
        let id = || id.to_owned();
        let volume = csi::ControllerGetVolumeRequest { volume_id: id() };
        let snapshot = csi::GetSnapshotRequest {
            snapshot_id: id(),
            ..Default::default()
        };
        let group = csi::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: id(),
            ..Default::default()
        };
        let looks = [
            code(
                &self
                    .controller
                    .controller_get_volume(Request::new(volume))
                    .await,
            ),
            code(&self.controller.get_snapshot(Request::new(snapshot)).await),
            code(
                &self
                    .groups
                    .get_volume_group_snapshot(Request::new(group))
                    .await,
            ),
        ];
        let volume = csi::DeleteVolumeRequest {
            volume_id: id(),
            ..Default::default()
        };
        let snapshot = csi::DeleteSnapshotRequest {
            snapshot_id: id(),
            ..Default::default()
        };
        let group = csi::DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: id(),
            ..Default::default()
        };
        let target = csi::NodeUnpublishVolumeRequest {
            volume_id: id(),
            target_path: self.target.clone(),
        };
        let deletions = [
            code(&self.controller.delete_volume(Request::new(volume)).await),
            code(
                &self
                    .controller
                    .delete_snapshot(Request::new(snapshot))
                    .await,
            ),
            code(
                &self
                    .groups
                    .delete_volume_group_snapshot(Request::new(group))
                    .await,
            ),
            code(&self.node.node_unpublish_volume(Request::new(target)).await),
        ];
        (looks, deletions)
    }
}

#[tokio::test]
async fn no_string_is_a_way_to_what_it_does_not_name() {
    let count = setting("HOSTILE_IDS", 100_000);
    let machine = Machine::new();
    let backend = machine.backend();
    let made = backend
        .create_volume(new_volume("v", NewContents::Block, 1))
        .await;
    let volume = made.expect("it is made");
    let name = Name::parse("s").expect("a name");
    let snapshot = NewSnapshot {
        id: SnapshotId::for_name(&name),
        name,
        source: volume.id.clone(),
    };
    let snapshot = backend.create_snapshot(snapshot).await.expect("it is cut");
    fs::create_dir(machine.path("kubelet/target")).expect("a directory");
    fs::write(machine.path("kubelet/target/file"), "x").expect("a file");
    let group = GroupSnapshotId::for_name(&Name::parse("g").expect("a name"));
    let good = [
        volume.id.to_string(),
        snapshot.id.to_string(),
        group.to_string(),
    ];
    let services = Services::new(&machine, backend.clone(), machine.node(backend.clone()));
    let mut before = Vec::new();
    inventory(machine.dir.path(), &mut before);
    let (mut random, mut unknown, mut malformed) = (Random::new(1), 0, 0);
    while unknown < count {
        let mut id = draw(&mut random, &good);
        if random.below(500) == 0 {
            id = id.repeat(30);
        }
        let of_ours = VolumeId::parse(&id).is_some()
            || SnapshotId::parse(&id).is_some()
            || GroupSnapshotId::parse(&id).is_some();
        if of_ours {
            continue;
        }
        let (looks, deletions) = services.codes(&id).await;
        if id.is_empty() || id.len() > 128 {
            malformed += 1;
            assert_eq!(
                (looks, deletions),
                ([Code::InvalidArgument; 3], [Code::InvalidArgument; 4]),
                "{id:?}"
            );
        } else {
            unknown += 1;
            assert_eq!(
                (looks, deletions),
                ([Code::NotFound; 3], [Code::Ok; 4]),
                "{id:?}"
            );
        }
    }
    let mut after = Vec::new();
    inventory(machine.dir.path(), &mut after);
    assert_eq!(before, after, "nothing is touched");
    assert!(malformed > 0, "no id was too long");
    eprintln!(
        "hostile ids: {unknown} unknown and {malformed} malformed, 7 calls each, nothing touched"
    );
    // The inventory would show it: one call with the right id.
    let request = csi::DeleteVolumeRequest {
        volume_id: volume.id.to_string(),
        ..Default::default()
    };
    assert_eq!(
        code(
            &services
                .controller
                .delete_volume(Request::new(request))
                .await
        ),
        Code::Ok
    );
    let mut after = Vec::new();
    inventory(machine.dir.path(), &mut after);
    assert_ne!(before, after);
}
