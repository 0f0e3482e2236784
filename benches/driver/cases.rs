//! What is measured.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use crate::client::{Client, Kind, MIB, from_snapshot, from_volume};
use crate::driver::{Process, binary_bytes};
use crate::floor::{Floor, template};
use crate::machine::Machine;
use crate::table::{Case, Goal, Times, Unit, milliseconds, print_head};

use Goal::{Absolute, Ratio};
use Unit::{Mebibytes, Milliseconds, PerSecond};

const MANY: usize = 10_000;
const FEW: usize = 10;

/// Runs the groups of cases of which a name is wanted, and prints their lines.
pub(crate) async fn run(rounds: usize, wanted: &dyn Fn(&str) -> bool) {
    print_head();
    if wanted("probe") {
        probe(rounds).await;
    }
    if wanted("create") {
        create(rounds).await;
    }
    if wanted("cycle") {
        cycle(rounds).await;
    }
    if wanted("many-volumes") {
        many_volumes(rounds).await;
    }
    if wanted("many-devices") {
        many_devices(rounds).await;
    }
    if wanted("snapshot") {
        snapshot(rounds).await;
    }
    if wanted("binary") {
        let mut case = Case::new(
            "binary, stripped (8 MB)",
            Mebibytes,
            Absolute(8e6 / 1_048_576.0),
        );
        #[expect(clippy::cast_precision_loss, reason = "a size")]
        case.ours(binary_bytes() as f64 / 1_048_576.0);
        case.print();
    }
}

/// Calls per second, with `clients` that call at once.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    client: &Client,
    clients: usize,
    calls: usize,
    work: impl Fn(Client, usize) -> F + Clone + Send + 'static,
) -> f64 {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|first| {
            let (client, work) = (client.clone(), work.clone());
            tokio::spawn(async move {
                for call in (first..calls).step_by(clients) {
                    work(client.clone(), call).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the calls succeed");
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let calls = calls as f64;
    calls / begin.elapsed().as_secs_f64()
}

/// The median time of Probe.
async fn probe_time(process: &Process) -> f64 {
    let (mut client, mut times) = (process.client(), Times::default());
    for _ in 0..2_000 {
        times.call(client.probe()).await;
    }
    times.median()
}

async fn probe_rate(process: &Process) -> f64 {
    let calls = |mut client: Client, _| async move { client.probe().await };
    rate(&process.client(), 64, 40_000, calls).await
}

async fn probe(rounds: usize) {
    let machine = Machine::new();
    let (bare, driver) = (
        Process::bare(&machine).await,
        Process::driver(&machine).await,
    );
    let mut one = Case::new(
        "probe, 1 client (floor: bare tonic)",
        Milliseconds,
        Ratio(1.3),
    );
    let mut many = Case::new(
        "probe, 64 clients (floor: bare tonic)",
        PerSecond,
        Ratio(0.8),
    );
    for _ in 0..rounds {
        one.floor(probe_time(&bare).await);
        one.ours(probe_time(&driver).await);
        many.floor(probe_rate(&bare).await);
        many.ours(probe_rate(&driver).await);
    }
    one.print();
    many.print();
    let mut start = Case::new("start to first probe, empty", Milliseconds, Absolute(6.0));
    let mut memory = Case::new("memory, idle", Mebibytes, Absolute(6.0));
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

/// Creations one after the other, then their deletions; the time of one creation.
async fn create_time(client: &mut Client, kind: Kind, size: i64, count: usize) -> f64 {
    let (mut times, mut ids) = (Times::default(), Vec::new());
    // The first makes what later ones share.
    ids.push(client.create("first", kind, size).await);
    for call in 0..count {
        ids.push(
            times
                .call(client.create(&format!("pvc-{call}"), kind, size))
                .await,
        );
    }
    for id in ids {
        client.delete(&id).await;
    }
    times.median()
}

fn create_floor(floor: &Floor, size: i64, template: Option<&std::fs::File>, count: usize) -> f64 {
    let mut times = Times::default();
    for call in 0..count {
        let size = u64::try_from(size).expect("a size");
        times.time(|| floor.create(&format!("v1-{call}"), size, template));
    }
    for call in 0..count {
        floor.delete(&format!("v1-{call}"));
    }
    times.median()
}

async fn create(rounds: usize) {
    let machine = Machine::new();
    let (bare, driver) = (
        Process::bare(&machine).await,
        Process::driver(&machine).await,
    );
    let floor = Floor::new(PathBuf::from(machine.path("data/floor")));
    let images = [64, 10_240].map(|mib| {
        let path = PathBuf::from(machine.path(&format!("data/template-{mib}")));
        template(&path, mib << 20)
    });
    let cases = [
        (
            "create, block, durable (floor + bare RPC)",
            Kind::Block,
            64,
            None,
        ),
        (
            "create, ext4 64 MiB (floor: template + bare RPC)",
            Kind::Ext4,
            64,
            Some(&images[0]),
        ),
        (
            "create, ext4 10 GiB (floor: template + bare RPC)",
            Kind::Ext4,
            10_240,
            Some(&images[1]),
        ),
    ];
    for (name, kind, mib, image) in cases {
        let mut case = Case::new(name, Milliseconds, Ratio(1.5));
        for _ in 0..rounds {
            let rpc = probe_time(&bare).await;
            case.floor(rpc + create_floor(&floor, mib * MIB, image, 200));
            case.ours(create_time(&mut driver.client(), kind, mib * MIB, 200).await);
        }
        case.print();
    }
    let mut case = Case::new(
        "create, block, durable, 64 clients",
        PerSecond,
        Absolute(5_000.0),
    );
    for round in 0..rounds {
        let create = move |mut client: Client, call| async move {
            client
                .create(&format!("r{round}-{call}"), Kind::Block, 64 * MIB)
                .await;
        };
        case.ours(rate(&driver.client(), 64, 4_000, create).await);
    }
    case.print();
}

async fn cycle(rounds: usize) {
    let machine = Machine::new();
    let (bare, driver) = (
        Process::bare(&machine).await,
        Process::driver(&machine).await,
    );
    let floor = Floor::new(PathBuf::from(machine.path("data/floor")));
    let image = template(&PathBuf::from(machine.path("data/template")), 64 << 20);
    let cases = [
        (
            Kind::Block,
            None,
            "cycle, block, 1 client (floor + 8 bare RPCs)",
            1.5 / 0.9,
            "cycle, block, 8 clients",
            1_000.0,
        ),
        (
            Kind::Ext4,
            Some(&image),
            "cycle, ext4, 1 client (floor + 8 bare RPCs)",
            4.0 / 3.1,
            "cycle, ext4, 8 clients",
            350.0,
        ),
    ];
    for (kind, image, one, ratio, eight, goal) in cases {
        let (mut one, mut eight) = (
            Case::new(
                one,
                Milliseconds,
                Ratio((ratio * 100.0_f64).round() / 100.0),
            ),
            Case::new(eight, PerSecond, Absolute(goal)),
        );
        for round in 0..rounds {
            let rpc = probe_time(&bare).await;
            let (mut bare_times, mut times) = (Times::default(), Times::default());
            let mut client = driver.client();
            for call in 0..100 {
                bare_times.time(|| floor.cycle(&format!("c{call}"), image));
                let place = PathBuf::from(machine.path(&format!("kubelet/c{call}")));
                times
                    .call(client.cycle(&format!("c{round}-{call}"), kind, &place))
                    .await;
            }
            one.floor(bare_times.median() + 8.0 * rpc);
            one.ours(times.median());
            let kubelet = machine.path("kubelet");
            let cycle = move |mut client: Client, call| {
                let place = PathBuf::from(format!("{kubelet}/e{call}"));
                async move {
                    client
                        .cycle(&format!("e{round}-{call}"), kind, &place)
                        .await;
                }
            };
            eight.ours(rate(&driver.client(), 8, 800, cycle).await);
        }
        one.print();
        eight.print();
    }
}

/// The times of four calls that must not depend on how many volumes there are.
async fn calls(driver: &Process, machine: &Machine) -> [f64; 4] {
    let mut client = driver.client();
    let mut times: [Times; 4] = Default::default();
    let place = PathBuf::from(machine.path("kubelet/stats"));
    let id = client.create("stats", Kind::Block, 64 * MIB).await;
    client.up(&id, Kind::Block, &place).await;
    for call in 0..300 {
        let name = format!("more-{call}");
        let created = client.create(&name, Kind::Block, 64 * MIB);
        let other = times[0].call(created).await;
        times[1].call(client.get(&other)).await;
        times[2]
            .call(client.publish_to_node(&other, Kind::Block))
            .await;
        times[3].call(client.stats(&id, &place)).await;
        client.unpublish_from_node(&other).await;
        client.delete(&other).await;
    }
    client.down(&id, &place).await;
    client.delete(&id).await;
    times.each_mut().map(Times::median)
}

async fn filled(count: usize) -> (Machine, Process) {
    let machine = Machine::new();
    let driver = Process::driver(&machine).await;
    let create = |mut client: Client, call| async move {
        client
            .create(&format!("pvc-{call}"), Kind::Block, 64 * MIB)
            .await;
    };
    rate(&driver.client(), 64, count, create).await;
    (machine, driver)
}

async fn many_volumes(rounds: usize) {
    let (few_machine, few) = filled(FEW).await;
    let (many_machine, many) = filled(MANY).await;
    let mut cases = [
        "many-volumes: create, 10,000 (floor: 10)",
        "many-volumes: get, 10,000 (floor: 10)",
        "many-volumes: publish, 10,000 (floor: 10)",
        "many-volumes: stats, 10,000 (floor: 10)",
    ]
    .map(|name| Case::new(name, Milliseconds, Ratio(1.2)));
    let mut all = Case::new(
        "many-volumes: list all 10,000",
        Milliseconds,
        Absolute(25.0),
    );
    let mut page = Case::new(
        "many-volumes: list a page of 500",
        Milliseconds,
        Absolute(2.0),
    );
    for _ in 0..rounds {
        let (floor, ours) = (
            calls(&few, &few_machine).await,
            calls(&many, &many_machine).await,
        );
        for (case, (floor, ours)) in cases.iter_mut().zip(floor.into_iter().zip(ours)) {
            case.floor(floor);
            case.ours(ours);
        }
        for (case, entries, expected) in [(&mut all, 0, MANY), (&mut page, 500, 500)] {
            let (mut client, mut times) = (many.client(), Times::default());
            for _ in 0..20 {
                assert_eq!(times.call(client.list(entries)).await, expected);
            }
            case.ours(times.median());
        }
    }
    cases.iter().chain([&all, &page]).for_each(Case::print);
    drop(many);
    let mut start = Case::new(
        "start to first probe, 10,000 volumes",
        Milliseconds,
        Absolute(100.0),
    );
    let mut memory = Case::new("memory, 10,000 volumes", Mebibytes, Absolute(15.0));
    for _ in 0..rounds {
        let driver = Process::driver(&many_machine).await;
        start.ours(milliseconds(driver.start));
        memory.ours(driver.memory());
    }
    start.print();
    memory.print();
}

/// Cycles of block volumes beside `count` volumes that are in use on this machine.
async fn crowded(driver: &Process, machine: &Machine, round: usize) -> f64 {
    let (mut client, mut times) = (driver.client(), Times::default());
    let place = PathBuf::from(machine.path("kubelet/crowded"));
    for call in 0..100 {
        times
            .call(client.cycle(&format!("x{round}-{call}"), Kind::Block, &place))
            .await;
    }
    times.median()
}

async fn many_devices(rounds: usize) {
    let machine = Machine::new();
    let driver = Process::driver(&machine).await;
    let mut client = driver.client();
    let mut case = Case::new(
        "many-devices: cycle, block, 1,000 in use (floor: 10)",
        Milliseconds,
        Ratio(1.1),
    );
    let mut bare = Case::new(
        "many-devices: bare cycle, 1,000 in use (floor: 10)",
        Milliseconds,
        Ratio(1.1),
    );
    let floor = Floor::new(PathBuf::from(machine.path("data/floor")));
    let mut up = Vec::new();
    for (count, few) in [(FEW, true), (1_000, false)] {
        while up.len() < count {
            let place = PathBuf::from(machine.path(&format!("kubelet/in-use-{}", up.len())));
            let id = client
                .create(&format!("in-use-{}", up.len()), Kind::Block, 64 * MIB)
                .await;
            client.up(&id, Kind::Block, &place).await;
            up.push((id, place));
        }
        for round in 0..rounds {
            let time = crowded(&driver, &machine, round).await;
            let mut times = Times::default();
            for call in 0..100 {
                times.time(|| floor.cycle(&format!("c{call}"), None));
            }
            if few {
                case.floor(time);
                bare.floor(times.median());
            } else {
                case.ours(time);
                bare.ours(times.median());
            }
        }
    }
    case.print();
    bare.print();
    for (id, place) in up {
        client.down(&id, &place).await;
        client.delete(&id).await;
    }
}

async fn snapshot(rounds: usize) {
    let machine = Machine::on("xfs");
    let driver = Process::driver(&machine).await;
    let mut client = driver.client();
    let place = PathBuf::from(machine.path("kubelet/source"));
    let id = client.create("source", Kind::Block, 2 << 30).await;
    client.up(&id, Kind::Block, &place).await;
    let mut file = std::fs::File::options()
        .write(true)
        .open(&place)
        .expect("the device");
    for _ in 0..1024 {
        file.write_all(&vec![7; 1 << 20]).expect("it is written");
    }
    file.sync_all().expect("it is synced");
    drop(file);
    let mut cut = Case::new(
        "snapshot of 1 GiB in use, xfs",
        Milliseconds,
        Absolute(10.0),
    );
    let mut restored = Case::new(
        "snapshot restored, 1 GiB, xfs",
        Milliseconds,
        Absolute(10.0),
    );
    let mut cloned = Case::new(
        "snapshot-less clone of 1 GiB, xfs",
        Milliseconds,
        Absolute(10.0),
    );
    for round in 0..rounds {
        let mut times: [Times; 3] = Default::default();
        for call in 0..10 {
            let name = format!("s{round}-{call}");
            let snapshot = times[0].call(client.snapshot(&name, &id)).await;
            let source = Some(from_snapshot(snapshot));
            let (restore, clone) = (format!("r{name}"), format!("c{name}"));
            let restore = client.create_from(&restore, Kind::Block, 2 << 30, source);
            times[1].call(restore).await;
            let source = Some(from_volume(id.clone()));
            let clone = client.create_from(&clone, Kind::Block, 2 << 30, source);
            times[2].call(clone).await;
        }
        let [first, second, third] = times.each_mut().map(Times::median);
        cut.ours(first);
        restored.ours(second);
        cloned.ours(third);
    }
    [&cut, &restored, &cloned].into_iter().for_each(Case::print);
    client.down(&id, &place).await;
}
