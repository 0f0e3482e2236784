//! Random calls against a small model: repeated, reordered, with other parameters, by several clients at once, and cut off.
//!
//! One client plays `MODEL_CALLS` calls (30,000 by default) from `MODEL_SEED` on, and the model says what each must answer; then
//! several clients play without a model, and afterwards every answer must be explained by what is there.

mod common;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use common::{Driver, MIB, NODE, code, create, create_snapshot, mount, publish_to_node, range};
use offshoot::csi;
use tonic::Code;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(default)
}

/// What the model knows of a volume.
#[derive(Clone)]
struct Volume {
    id: String,
    size: i64,
    published: Option<bool>,
    staged: bool,
    targets: u64,
}

#[derive(Default)]
struct Model {
    volumes: BTreeMap<u64, Volume>,
    /// Name to volume id and snapshot id.
    snapshots: BTreeMap<u64, (String, String)>,
}

const NAMES: u64 = 6;
const SIZES: [i64; 2] = [512 * MIB, 1024 * MIB];

/// One call, and what the model says of its code.
async fn step(driver: &mut Driver, model: &mut Model, random: &mut Random) -> (String, Code, Code) {
    let name = random.below(NAMES);
    let known = model.volumes.get(&name).cloned();
    let id = known
        .as_ref()
        .map_or_else(|| common::UNKNOWN.to_owned(), |it| it.id.clone());
    match random.below(12) {
        0 | 1 => create_volume(driver, model, random, name).await,
        2 => delete_volume(driver, model, name, known, id).await,
        3 => publish(driver, model, random, name, known, id).await,
        4 => {
            let request = csi::ControllerUnpublishVolumeRequest {
                volume_id: id,
                node_id: if random.below(2) == 0 {
                    NODE.to_owned()
                } else {
                    String::new()
                },
                ..Default::default()
            };
            let answer = driver.controller.controller_unpublish_volume(request).await;
            if let Some(volume) = model.volumes.get_mut(&name) {
                volume.published = None;
            }
            (
                "unpublish from the node".to_owned(),
                code(&answer),
                Code::Ok,
            )
        }
        5 => stage(driver, model, name, known, &id).await,
        6 => unstage(driver, model, name, known, id).await,
        7 => node_publish(driver, model, random, name, known, &id).await,
        8 => node_unpublish(driver, model, random, name, known, id).await,
        9 => expand(driver, model, random, name, known, id).await,
        10 => snapshot(driver, model, random, name, known, id).await,
        _ => delete_snapshot(driver, model, name).await,
    }
}

type Step = (String, Code, Code);

async fn create_volume(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
) -> Step {
    let size = SIZES[usize::try_from(random.below(2)).unwrap_or(0)];
    let mut request = create(&format!("volume-{name}"), mount());
    request.capacity_range = Some(range(size, size));
    let answer = driver.controller.create_volume(request).await;
    let expected = match model.volumes.get(&name) {
        Some(volume) if volume.size != size => Code::AlreadyExists,
        _ => Code::Ok,
    };
    let got = code(&answer);
    if let Ok(answer) = answer {
        let id = answer.into_inner().volume.expect("a volume").volume_id;
        let volume = model.volumes.entry(name).or_insert(Volume {
            id: id.clone(),
            size,
            published: None,
            staged: false,
            targets: 0,
        });
        assert_eq!(volume.id, id, "the same name is the same volume");
    }
    (format!("create {size}"), got, expected)
}

async fn delete_volume(
    driver: &mut Driver,
    model: &mut Model,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let request = csi::DeleteVolumeRequest {
        volume_id: id,
        ..Default::default()
    };
    let answer = driver.controller.delete_volume(request).await;
    let expected = match known {
        Some(volume) if volume.published.is_some() || volume.staged => Code::FailedPrecondition,
        _ => Code::Ok,
    };
    if expected == Code::Ok {
        model.volumes.remove(&name);
    }
    ("delete".to_owned(), code(&answer), expected)
}

async fn publish(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let read_only = random.below(4) == 0;
    let mut request = publish_to_node(&id, mount());
    request.readonly = read_only;
    let answer = driver.controller.controller_publish_volume(request).await;
    let expected = match known.map(|it| it.published) {
        None => Code::NotFound,
        Some(Some(published)) if published != read_only => Code::AlreadyExists,
        Some(_) => Code::Ok,
    };
    if expected == Code::Ok {
        model.volumes.get_mut(&name).expect("it is known").published = Some(read_only);
    }
    ("publish to the node".to_owned(), code(&answer), expected)
}

async fn stage(
    driver: &mut Driver,
    model: &mut Model,
    name: u64,
    known: Option<Volume>,
    id: &str,
) -> Step {
    let request = driver.stage(id, mount());
    let answer = driver.node.node_stage_volume(request).await;
    let expected = if known.is_some() {
        Code::Ok
    } else {
        Code::NotFound
    };
    if let Some(volume) = model.volumes.get_mut(&name) {
        volume.staged = true;
    }
    ("stage".to_owned(), code(&answer), expected)
}

async fn unstage(
    driver: &mut Driver,
    model: &mut Model,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let request = csi::NodeUnstageVolumeRequest {
        staging_target_path: driver.path(&format!("{id}-staging")),
        volume_id: id,
    };
    let answer = driver.node.node_unstage_volume(request).await;
    let expected = match known {
        Some(volume) if volume.targets != 0 => Code::FailedPrecondition,
        _ => Code::Ok,
    };
    if let Some(volume) = model
        .volumes
        .get_mut(&name)
        .filter(|_| expected == Code::Ok)
    {
        volume.staged = false;
    }
    ("unstage".to_owned(), code(&answer), expected)
}

async fn node_publish(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
    known: Option<Volume>,
    id: &str,
) -> Step {
    let target = random.below(3);
    let request = driver.publish(id, &format!("{id}-{target}"), mount());
    let answer = driver.node.node_publish_volume(request).await;
    let expected = match known {
        None => Code::NotFound,
        Some(volume) if !volume.staged => Code::FailedPrecondition,
        Some(_) => Code::Ok,
    };
    if expected == Code::Ok {
        model.volumes.get_mut(&name).expect("it is known").targets |= 1 << target;
    }
    (format!("publish at {target}"), code(&answer), expected)
}

async fn node_unpublish(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let target = random.below(3);
    let request = csi::NodeUnpublishVolumeRequest {
        target_path: driver.path(&format!("{id}-{target}")),
        volume_id: id,
    };
    let path = request.target_path.clone();
    let answer = driver.node.node_unpublish_volume(request).await;
    if known.is_some() {
        model.volumes.get_mut(&name).expect("it is known").targets &= !(1 << target);
    }
    assert!(!std::path::Path::new(&path).exists(), "{path} is removed");
    (format!("unpublish at {target}"), code(&answer), Code::Ok)
}

async fn expand(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let size = SIZES[usize::try_from(random.below(2)).unwrap_or(0)];
    let request = csi::ControllerExpandVolumeRequest {
        volume_id: id,
        capacity_range: Some(range(size, 0)),
        ..Default::default()
    };
    let answer = driver.controller.controller_expand_volume(request).await;
    let expected = if known.is_some() {
        Code::Ok
    } else {
        Code::NotFound
    };
    let got = code(&answer);
    if let (Some(volume), Ok(answer)) = (model.volumes.get_mut(&name), answer) {
        volume.size = volume.size.max(size);
        assert_eq!(answer.into_inner().capacity_bytes, volume.size);
    }
    (format!("expand to {size}"), got, expected)
}

async fn snapshot(
    driver: &mut Driver,
    model: &mut Model,
    random: &mut Random,
    name: u64,
    known: Option<Volume>,
    id: String,
) -> Step {
    let snapshot = random.below(NAMES);
    let answer = driver
        .controller
        .create_snapshot(create_snapshot(&format!("snapshot-{snapshot}"), &id))
        .await;
    let expected = match (model.snapshots.get(&snapshot), &known) {
        (Some((volume, _)), _) if *volume == id => Code::Ok,
        (Some(_), _) => Code::AlreadyExists,
        (None, None) => Code::NotFound,
        (None, Some(_)) => Code::Ok,
    };
    let got = code(&answer);
    if let Ok(answer) = answer {
        let cut = answer
            .into_inner()
            .snapshot
            .expect("a snapshot")
            .snapshot_id;
        model.snapshots.insert(snapshot, (id, cut));
    }
    (format!("snapshot of {name}"), got, expected)
}

async fn delete_snapshot(driver: &mut Driver, model: &mut Model, name: u64) -> Step {
    let id = model
        .snapshots
        .remove(&name)
        .map_or_else(|| "s1-none".to_owned(), |(_, id)| id);
    let request = csi::DeleteSnapshotRequest {
        snapshot_id: id,
        ..Default::default()
    };
    let answer = driver.controller.delete_snapshot(request).await;
    ("delete snapshot".to_owned(), code(&answer), Code::Ok)
}

#[tokio::test]
async fn one_client_meets_the_model() {
    let (calls, seed) = (setting("MODEL_CALLS", 30_000), setting("MODEL_SEED", 1));
    let mut driver = Driver::start().await;
    let mut model = Model::default();
    let mut random = Random(seed);
    for number in 0..calls {
        let (what, got, expected) = step(&mut driver, &mut model, &mut random).await;
        assert_eq!(got, expected, "call {number} of seed {seed}: {what}");
    }
    let listed = driver
        .controller
        .list_volumes(csi::ListVolumesRequest::default())
        .await;
    let mut listed: Vec<(String, i64)> = listed
        .expect("a list")
        .into_inner()
        .entries
        .into_iter()
        .filter_map(|it| it.volume.map(|it| (it.volume_id, it.capacity_bytes)))
        .collect();
    let mut known: Vec<(String, i64)> = model
        .volumes
        .values()
        .map(|it| (it.id.clone(), it.size))
        .collect();
    listed.sort();
    known.sort();
    assert_eq!(
        listed, known,
        "in the end the model and the driver hold the same"
    );
    eprintln!("model: {calls} calls of seed {seed} answered as the model says");
}

/// Calls that several clients make at once, some of which are given up at a random moment.
#[tokio::test]
async fn many_clients_and_cancelled_calls_leave_everything_whole() {
    let (calls, seed) = (
        setting("MODEL_CALLS", 30_000) / 16,
        setting("MODEL_SEED", 1),
    );
    let mut driver = Driver::start().await;
    let mut clients = Vec::new();
    for client in 0..8 {
        let (mut controller, mut random) = (driver.controller.clone(), Random(seed * 100 + client));
        clients.push(tokio::spawn(async move {
            for _ in 0..calls {
                let name = format!("volume-{}", random.below(4));
                let patience = Duration::from_micros(random.below(2_000));
                if random.below(2) == 0 {
                    let call = controller.create_volume(create(&name, mount()));
                    if let Ok(answer) = tokio::time::timeout(patience, call).await {
                        check_contended(&answer);
                    }
                } else {
                    let id = offshoot::volume::VolumeId::for_name(
                        &offshoot::volume::Name::parse(&name).expect("a name"),
                    );
                    let request = csi::DeleteVolumeRequest {
                        volume_id: id.to_string(),
                        ..Default::default()
                    };
                    let call = controller.delete_volume(request);
                    if let Ok(answer) = tokio::time::timeout(patience, call).await {
                        check_contended(&answer);
                    }
                }
            }
        }));
    }
    for client in clients {
        client.await.expect("no client fails");
    }
    // Nothing is held any more: every volume can be deleted, and then nothing is left.
    for name in 0..4 {
        let id = driver.volume(&format!("volume-{name}"), mount()).await;
        let request = csi::DeleteVolumeRequest {
            volume_id: id,
            ..Default::default()
        };
        assert_eq!(
            code(&driver.controller.delete_volume(request).await),
            Code::Ok
        );
    }
    let listed = driver
        .controller
        .list_volumes(csi::ListVolumesRequest::default())
        .await;
    assert!(listed.expect("a list").into_inner().entries.is_empty());
}

/// A call succeeds, or another one is under way. What the connection says is not the driver's answer: after many cancelled
/// calls HTTP/2 asks a client to calm down.
fn check_contended<T>(answer: &Result<tonic::Response<T>, tonic::Status>) {
    match answer {
        Ok(_) => {}
        Err(status) if status.code() == Code::Aborted || status.source().is_some() => {}
        Err(status) => panic!("{status:?}"),
    }
}
