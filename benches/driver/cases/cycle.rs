//! The whole life of a volume on one node: eight calls, from CreateVolume to DeleteVolume.

use std::fs::File;
use std::path::PathBuf;

use super::{Scene, TURNS, bare_rate, rate, rpc};
use crate::client::{CALLS_OF_A_CYCLE, Client, Kind};
use crate::floor::template;
use crate::table::Goal::{Absolute, Nothing, Ratio};
use crate::table::Unit::{Milliseconds, PerSecond};
use crate::table::{Case, Times};

/// What is wanted of cycles of one kind, on a machine where the floor of one is `floor` ms.
struct Wanted {
    kind: Kind,
    one: &'static str,
    eight: &'static str,
    floor: f64,
    milliseconds: f64,
    per_second: f64,
}

const BLOCK: Wanted = Wanted {
    kind: Kind::Block,
    one: "cycle, block, 1 client (floor + 8 bare RPCs)",
    eight: "cycle, block, 8 clients (no RPC in floor)",
    floor: 0.9,
    milliseconds: 1.5,
    per_second: 1_000.0,
};

const EXT4: Wanted = Wanted {
    kind: Kind::Ext4,
    one: "cycle, ext4, 1 client (floor + 8 bare RPCs)",
    eight: "cycle, ext4, 8 clients (no RPC in floor)",
    floor: 3.1,
    milliseconds: 4.0,
    per_second: 350.0,
};

pub(super) async fn cycle(rounds: usize) {
    let mut scene = Scene::new().await;
    let image = template(
        &PathBuf::from(scene.machine.path("data/template")),
        64 << 20,
    );
    cycles(&mut scene, rounds, &BLOCK, None).await;
    cycles(&mut scene, rounds, &EXT4, Some(&image)).await;
}

async fn cycles(scene: &mut Scene, rounds: usize, wanted: &Wanted, image: Option<&File>) {
    let ratio = (wanted.milliseconds / wanted.floor * 100.0).round() / 100.0;
    let mut one = Case::new(wanted.one, Milliseconds, Ratio(ratio));
    let mut steps = CALLS_OF_A_CYCLE.map(|name| Case::new(name, Milliseconds, Nothing));
    let mut rates = Vec::new();
    for round in 0..rounds {
        scene.restart().await;
        alone(scene, round, (wanted.kind, image), &mut one, &mut steps).await;
        let bare = bare_rate(8, 400, |call| {
            scene.floor.cycle(&format!("f{call}"), image);
        });
        rates.push((bare, together(scene, round, wanted.kind).await));
    }
    // The goal is for a machine of a certain speed.
    let slower = one.best_floor().map_or(1.0, |floor| wanted.floor / floor);
    let goal = Absolute(wanted.per_second * slower.min(1.0));
    let mut eight = Case::new(wanted.eight, PerSecond, goal);
    for (bare, ours) in rates {
        eight.floor(bare);
        eight.ours(ours);
    }
    one.print();
    steps.iter().for_each(Case::print);
    eight.print();
}

/// A round of one cycle after the other.
async fn alone(
    scene: &Scene,
    round: usize,
    (kind, image): (Kind, Option<&File>),
    whole: &mut Case,
    steps: &mut [Case; 8],
) {
    let rpc = rpc(&scene.bare).await;
    let (mut floor, mut ours) = (Cycles::default(), Cycles::default());
    let mut client = scene.driver.client();
    for turn in 0..TURNS {
        for call in 0..10 {
            floor.add(scene.floor.cycle(&format!("c{call}"), image));
        }
        for call in 0..10 {
            let place = scene.place(&format!("c{call}"));
            let name = format!("c{round}-{turn}-{call}");
            ours.add(client.cycle(&name, kind, &place).await);
        }
    }
    whole.floor(floor.whole.median() + 8.0 * rpc);
    whole.ours(ours.whole.median());
    for ((case, floor), ours) in steps.iter_mut().zip(&mut floor.steps).zip(&mut ours.steps) {
        case.floor(floor.median() + rpc);
        case.ours(ours.median());
    }
}

async fn together(scene: &Scene, round: usize, kind: Kind) -> f64 {
    let kubelet = scene.machine.path("kubelet");
    let cycle = move |mut client: Client, call| {
        let place = PathBuf::from(format!("{kubelet}/e{call}"));
        async move {
            let name = format!("e{round}-{call}");
            client.cycle(&name, kind, &place).await;
        }
    };
    rate(&scene.driver.client(), 8, 400, cycle).await
}

/// The times of cycles, and of the calls of which they consist.
#[derive(Default)]
struct Cycles {
    whole: Times,
    steps: [Times; 8],
}

impl Cycles {
    fn add(&mut self, cycle: [std::time::Duration; 8]) {
        self.whole.add(cycle.iter().sum());
        for (times, time) in self.steps.iter_mut().zip(cycle) {
            times.add(time);
        }
    }
}
