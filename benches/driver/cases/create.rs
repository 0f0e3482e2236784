//! CreateVolume.

use std::fs::File;
use std::path::PathBuf;

use super::{Scene, TURNS, bare_rate, rate, rpc};
use crate::client::{Client, Kind, MIB};
use crate::floor::{Floor, template};
use crate::table::Goal::{Absolute, Ratio};
use crate::table::Unit::{Milliseconds, PerSecond};
use crate::table::{Case, Times};

/// How many are made in a turn before they are removed again.
const CALLS: usize = 20;

async fn ours(client: &mut Client, kind: Kind, size: i64, times: &mut Times) {
    let mut ids = Vec::new();
    for call in 0..CALLS {
        let name = format!("pvc-{call}");
        ids.push(times.call(client.create(&name, kind, size)).await);
    }
    for id in ids {
        client.delete(&id).await;
    }
}

fn bare(floor: &Floor, size: i64, template: Option<&File>, times: &mut Times) {
    let size = u64::try_from(size).expect("a size");
    let names: Vec<String> = (0..CALLS).map(|call| format!("v1-{call}")).collect();
    for name in &names {
        times.time(|| floor.create(name, size, template));
    }
    for name in &names {
        floor.delete(name);
    }
}

pub(super) async fn create(rounds: usize) {
    let mut scene = Scene::new().await;
    let image = |mib: u64| {
        let path = scene.machine.path(&format!("data/template-{mib}"));
        template(&PathBuf::from(path), mib << 20)
    };
    let (small, large) = (image(64), image(10_240));
    let name = "create, block, durable (floor + bare RPC)";
    alone(&mut scene, rounds, name, (Kind::Block, 64, None)).await;
    let name = "create, ext4 64 MiB (floor: template + bare RPC)";
    alone(&mut scene, rounds, name, (Kind::Ext4, 64, Some(&small))).await;
    let name = "create, ext4 10 GiB (floor: template + bare RPC)";
    alone(&mut scene, rounds, name, (Kind::Ext4, 10_240, Some(&large))).await;
    together(&mut scene, rounds).await;
}

/// One creation after the other.
async fn alone(
    scene: &mut Scene,
    rounds: usize,
    name: &'static str,
    (kind, mib, image): (Kind, i64, Option<&File>),
) {
    let mut case = Case::new(name, Milliseconds, Ratio(1.5));
    for _ in 0..rounds {
        scene.restart().await;
        let mut client = scene.driver.client();
        // The first makes what later ones share.
        let first = client.create("first", kind, mib * MIB).await;
        client.delete(&first).await;
        let (mut floor_times, mut times) = (Times::default(), Times::default());
        for _ in 0..TURNS {
            bare(&scene.floor, mib * MIB, image, &mut floor_times);
            ours(&mut client, kind, mib * MIB, &mut times).await;
        }
        case.floor(floor_times.median() + rpc(&scene.bare).await);
        case.ours(times.median());
    }
    case.print();
}

async fn together(scene: &mut Scene, rounds: usize) {
    const CALLS: usize = 2_000;
    let name = "create, block, durable, 64 clients (no RPC in floor)";
    let mut case = Case::new(name, PerSecond, Absolute(5_000.0));
    for round in 0..rounds {
        scene.restart().await;
        let size = 64 << 20;
        case.floor(bare_rate(64, CALLS, |call| {
            drop(scene.floor.create(&format!("b{call}"), size, None));
        }));
        let create = move |mut client: Client, call| async move {
            let name = format!("r{round}-{call}");
            client.create(&name, Kind::Block, 64 * MIB).await;
        };
        case.ours(rate(&scene.driver.client(), 64, CALLS, create).await);
        bare_rate(64, CALLS, |call| scene.floor.delete(&format!("b{call}")));
    }
    case.print();
}
