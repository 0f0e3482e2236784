//! Probe, the start, and the memory of a driver that idles.

use super::{Scene, TURNS, probes, rate};
use crate::client::Client;
use crate::driver::Process;
use crate::machine::Machine;
use crate::table::Goal::{Absolute, Ratio};
use crate::table::Unit::{Mebibytes, Milliseconds, PerSecond};
use crate::table::{Case, Times, milliseconds};

async fn probe_rate(process: &Process) -> f64 {
    let calls = |mut client: Client, _| async move { client.probe().await };
    rate(&process.client(), 64, 20_000, calls).await
}

pub(super) async fn probe(rounds: usize) {
    let mut scene = Scene::new().await;
    let name = "probe, 1 client (floor: bare tonic)";
    let mut one = Case::new(name, Milliseconds, Ratio(1.3));
    let name = "probe, 64 clients (floor: bare tonic)";
    let mut many = Case::new(name, PerSecond, Ratio(0.8));
    for _ in 0..rounds {
        scene.restart().await;
        let (mut bare, mut ours) = (Times::default(), Times::default());
        for _ in 0..TURNS {
            probes(&scene.bare, 200, &mut bare).await;
            probes(&scene.driver, 200, &mut ours).await;
        }
        one.floor(bare.median());
        one.ours(ours.median());
        many.floor(probe_rate(&scene.bare).await);
        many.ours(probe_rate(&scene.driver).await);
    }
    one.print();
    many.print();
}

pub(super) async fn start(rounds: usize) {
    let name = "start to first probe, empty (floor: bare tonic)";
    let mut start = Case::new(name, Milliseconds, Absolute(6.0));
    let name = "memory, idle (floor: bare tonic)";
    let mut memory = Case::new(name, Mebibytes, Absolute(6.0));
    for _ in 0..rounds * 4 {
        let machine = Machine::new();
        // The first start makes the directory.
        drop(Process::driver(&machine).await);
        let bare = Process::bare(&machine).await;
        let driver = Process::driver(&machine).await;
        start.floor(milliseconds(bare.start));
        start.ours(milliseconds(driver.start));
        memory.floor(bare.memory());
        memory.ours(driver.memory());
    }
    start.print();
    memory.print();
}
