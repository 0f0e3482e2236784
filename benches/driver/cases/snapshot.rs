//! Snapshots, restores and clones on a filesystem that can share extents.

use std::fs::File;
use std::io::Write;

use super::{Scene, rpc};
use crate::client::{Kind, from_snapshot, from_volume};
use crate::machine::Machine;
use crate::table::Goal::Absolute;
use crate::table::Unit::Milliseconds;
use crate::table::{Case, Times};

const SIZE: i64 = 2 << 30;

pub(super) async fn snapshot(rounds: usize) {
    let scene = Scene::on(Machine::on("xfs")).await;
    let mut client = scene.driver.client();
    let place = scene.place("source");
    let id = client.create("source", Kind::Block, SIZE).await;
    client.up(&id, Kind::Block, &place).await;
    let device = File::options().write(true).open(&place);
    fill(device.expect("the device"));
    let source = scene.floor.create("source", 2 << 30, None);
    fill(source.try_clone().expect("a descriptor"));
    let mut cases = [
        "snapshot of 1 GiB in use, xfs (floor: share + RPC)",
        "snapshot restored, 1 GiB, xfs (floor: share + RPC)",
        "clone of 1 GiB in use, xfs (floor: share + RPC)",
    ]
    .map(|name| Case::new(name, Milliseconds, Absolute(10.0)));
    for round in 0..rounds {
        let (mut bare, mut times): (Times, [Times; 3]) = Default::default();
        for call in 0..10 {
            let name = format!("s{round}-{call}");
            bare.time(|| scene.floor.share(&source, &name));
            let snapshot = times[0].call(client.snapshot(&name, &id)).await;
            let from = Some(from_snapshot(snapshot));
            let restore = format!("r{name}");
            let restored = client.create_from(&restore, Kind::Block, SIZE, from);
            times[1].call(restored).await;
            let (clone, from) = (format!("c{name}"), Some(from_volume(id.clone())));
            let cloned = client.create_from(&clone, Kind::Block, SIZE, from);
            times[2].call(cloned).await;
        }
        let floor = bare.median() + rpc(&scene.bare).await;
        for (case, times) in cases.iter_mut().zip(&mut times) {
            case.floor(floor);
            case.ours(times.median());
        }
    }
    cases.iter().for_each(Case::print);
    client.down(&id, &place).await;
}

fn fill(mut file: File) {
    for _ in 0..1024 {
        file.write_all(&vec![7; 1 << 20]).expect("it is written");
    }
    file.sync_all().expect("it is synced");
}
