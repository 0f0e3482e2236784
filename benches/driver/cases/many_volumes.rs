//! What must not depend on how many volumes there are, and what may.

use std::path::Path;

use super::{Scene, TURNS, rate};
use crate::client::{Client, Kind, MIB};
use crate::driver::Process;
use crate::floor;
use crate::machine::Machine;
use crate::table::Goal::{Absolute, Ratio};
use crate::table::Unit::{Mebibytes, Milliseconds};
use crate::table::{Case, Times, milliseconds};

const MANY: usize = 10_000;
const FEW: usize = 10;

/// A driver with many volumes, of which one is in use.
struct Filled {
    scene: Scene,
    id: String,
}

impl Filled {
    async fn with(count: usize) -> Self {
        let scene = Scene::new().await;
        let create = |mut client: Client, call| async move {
            let name = format!("pvc-{call}");
            client.create(&name, Kind::Block, 64 * MIB).await;
        };
        rate(&scene.driver.client(), 64, count - 1, create).await;
        let mut client = scene.driver.client();
        let id = client.create("in-use", Kind::Block, 64 * MIB).await;
        client.up(&id, Kind::Block, &scene.place("in-use")).await;
        Self { scene, id }
    }

    /// Adds the times of four calls.
    async fn calls(&self, times: &mut [Times; 4]) {
        let mut client = self.scene.driver.client();
        let place = self.scene.place("in-use");
        for call in 0..20 {
            let name = format!("more-{call}");
            let created = client.create(&name, Kind::Block, 64 * MIB);
            let other = times[0].call(created).await;
            times[1].call(client.get(&other)).await;
            let published = client.publish_to_node(&other, Kind::Block);
            times[2].call(published).await;
            times[3].call(client.stats(&self.id, &place)).await;
            client.unpublish_from_node(&other).await;
            client.delete(&other).await;
        }
    }

    async fn end(self) -> Scene {
        let mut client = self.scene.driver.client();
        client.down(&self.id, &self.scene.place("in-use")).await;
        self.scene
    }
}

pub(super) async fn many_volumes(rounds: usize) {
    let (mut few, mut many) = (Filled::with(FEW).await, Filled::with(MANY).await);
    let mut cases = [
        "many-volumes: create, 10,000 (floor: with 10)",
        "many-volumes: get, 10,000 (floor: with 10)",
        "many-volumes: publish, 10,000 (floor: with 10)",
        "many-volumes: stats, 10,000 (floor: with 10)",
    ]
    .map(|name| Case::new(name, Milliseconds, Ratio(1.2)));
    for _ in 0..rounds {
        few.scene.restart().await;
        many.scene.restart().await;
        let mut times: [[Times; 4]; 2] = Default::default();
        for _ in 0..TURNS {
            few.calls(&mut times[0]).await;
            many.calls(&mut times[1]).await;
        }
        let [floor, ours] = times.each_mut().map(|it| it.each_mut().map(Times::median));
        for (case, (floor, ours)) in cases.iter_mut().zip(floor.into_iter().zip(ours)) {
            case.floor(floor);
            case.ours(ours);
        }
    }
    cases.iter().for_each(Case::print);
    lists(&many.scene.driver, rounds).await;
    few.end().await;
    let Scene {
        driver, machine, ..
    } = many.end().await;
    drop(driver);
    starts(&machine, rounds).await;
}

async fn lists(driver: &Process, rounds: usize) {
    let name = "many-volumes: list all (floor: bare bytes)";
    let mut all = Case::new(name, Milliseconds, Absolute(25.0));
    let name = "many-volumes: list a page of 500 (floor: bare bytes)";
    let mut page = Case::new(name, Milliseconds, Absolute(2.0));
    let mut client = driver.client();
    for (case, entries, expected) in [(&mut all, 0, MANY), (&mut page, 500, 500)] {
        let answer = client.list(entries).await;
        for _ in 0..rounds {
            let (mut bare, mut times) = (Times::default(), Times::default());
            for _ in 0..20 {
                bare.add(floor::exchange(&answer));
                let listed = times.call(client.list(entries)).await;
                assert_eq!(listed.entries.len(), expected);
            }
            case.floor(bare.median());
            case.ours(times.median());
        }
        case.print();
    }
}

async fn starts(machine: &Machine, rounds: usize) {
    let name = "start to first probe, 10,000 (floor: bare + records)";
    let mut start = Case::new(name, Milliseconds, Absolute(100.0));
    let name = "memory, 10,000 volumes (floor: bare tonic)";
    let mut memory = Case::new(name, Mebibytes, Absolute(15.0));
    let volumes = machine.path("data/offshoot/volumes");
    for _ in 0..rounds {
        let bare = Process::bare(machine).await;
        let mut records = Times::default();
        records.time(|| floor::read_records(Path::new(&volumes)));
        start.floor(milliseconds(bare.start) + records.median());
        let driver = Process::driver(machine).await;
        start.ours(milliseconds(driver.start));
        memory.floor(bare.memory());
        memory.ours(driver.memory());
    }
    start.print();
    memory.print();
}
