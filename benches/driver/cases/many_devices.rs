//! What must not depend on how many loop devices and mounts this machine has.

use std::path::PathBuf;

use super::{Scene, TURNS};
use crate::client::{Client, Kind, MIB};
use crate::floor::{existing_loops, remove_loops};
use crate::table::Goal::Ratio;
use crate::table::Unit::Milliseconds;
use crate::table::{Case, Times};

const MANY: usize = 1_000;
const FEW: usize = 10;

pub(super) async fn many_devices(rounds: usize) {
    let before = existing_loops();
    let mut scene = Scene::new().await;
    let name = "many-devices: cycle, block, 1,000 (floor: with 10)";
    let mut case = Case::new(name, Milliseconds, Ratio(1.1));
    let name = "many-devices: bare cycle, 1,000 (floor: with 10)";
    let mut bare = Case::new(name, Milliseconds, Ratio(1.1));
    let mut up = Vec::new();
    for round in 0..rounds {
        scene.restart().await;
        let mut client = scene.driver.client();
        grow(&scene, &mut client, &mut up, FEW).await;
        let (bare_time, time) = cycles(&scene, &mut client, round).await;
        bare.floor(bare_time);
        case.floor(time);
        grow(&scene, &mut client, &mut up, MANY).await;
        let (bare_time, time) = cycles(&scene, &mut client, round).await;
        bare.ours(bare_time);
        case.ours(time);
        for (id, place) in up.drain(FEW..) {
            client.down(&id, &place).await;
        }
    }
    case.print();
    bare.print();
    let mut client = scene.driver.client();
    for (id, place) in up {
        client.down(&id, &place).await;
    }
    remove_loops(&before);
}

/// Brings up volumes until `count` are; each has a device and a mount.
async fn grow(scene: &Scene, client: &mut Client, up: &mut Vec<(String, PathBuf)>, count: usize) {
    while up.len() < count {
        let name = format!("in-use-{}", up.len());
        let place = scene.place(&name);
        let id = client.create(&name, Kind::Block, 64 * MIB).await;
        client.up(&id, Kind::Block, &place).await;
        up.push((id, place));
    }
}

/// The times of a bare cycle and of the driver's, beside the volumes that are in use.
async fn cycles(scene: &Scene, client: &mut Client, round: usize) -> (f64, f64) {
    let (mut bare, mut ours) = (Times::default(), Times::default());
    let place = scene.place("crowded");
    for turn in 0..TURNS {
        for call in 0..10 {
            let steps = scene.floor.cycle(&format!("c{call}"), None);
            bare.add(steps.iter().sum());
        }
        for call in 0..10 {
            let name = format!("x{round}-{turn}-{call}");
            let steps = client.cycle(&name, Kind::Block, &place).await;
            ours.add(steps.iter().sum());
        }
    }
    (bare.median(), ours.median())
}
