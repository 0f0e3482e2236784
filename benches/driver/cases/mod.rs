//! What is measured: a file for each group of cases.

mod create;
mod cycle;
mod many_devices;
mod many_volumes;
mod probe;
mod snapshot;

use std::future::Future;
use std::path::PathBuf;
use std::time::Instant;

use crate::client::Client;
use crate::driver::{Process, binary_bytes};
use crate::floor::Floor;
use crate::machine::Machine;
use crate::table::{Case, Goal, Times, Unit, print_head};

/// How often floor and driver take turns within a round.
const TURNS: usize = 10;

/// Runs the groups of cases of which a name is wanted, and prints their lines.
pub(crate) async fn run(rounds: usize, wanted: &dyn Fn(&str) -> bool) {
    print_head();
    if wanted("probe") {
        probe::probe(rounds).await;
    }
    if wanted("start") {
        probe::start(rounds).await;
    }
    if wanted("create") {
        create::create(rounds).await;
    }
    if wanted("cycle") {
        cycle::cycle(rounds).await;
    }
    if wanted("many-volumes") {
        many_volumes::many_volumes(rounds).await;
    }
    if wanted("many-devices") {
        many_devices::many_devices(rounds).await;
    }
    if wanted("snapshot") {
        snapshot::snapshot(rounds).await;
    }
    if wanted("binary") {
        let goal = Goal::Absolute(8e6 / 1_048_576.0);
        let mut case = Case::new("binary, stripped (8 MB)", Unit::Mebibytes, goal);
        #[expect(clippy::cast_precision_loss, reason = "a size")]
        case.ours(binary_bytes() as f64 / 1_048_576.0);
        case.print();
    }
}

/// A machine with the driver, a bare server, and a directory for the bare system calls beside the driver's.
struct Scene {
    bare: Process,
    driver: Process,
    floor: Floor,
    /// Last: it takes everything away.
    machine: Machine,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Machine::new()).await
    }

    async fn on(machine: Machine) -> Self {
        Self {
            bare: Process::bare(&machine).await,
            driver: Process::driver(&machine).await,
            floor: Floor::new(PathBuf::from(machine.path("data/floor"))),
            machine,
        }
    }

    /// Starts the processes anew. The scheduler keeps a process and its client on one processor or on two, which makes a
    /// call twice as long; new processes are placed anew, and the best round counts.
    async fn restart(&mut self) {
        self.driver.kill();
        self.driver = Process::driver(&self.machine).await;
        self.bare.kill();
        self.bare = Process::bare(&self.machine).await;
    }

    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(self.machine.path(&format!("kubelet/{name}")))
    }
}

/// Adds the times of `calls` calls of Probe.
async fn probes(process: &Process, calls: usize, times: &mut Times) {
    let mut client = process.client();
    for _ in 0..calls {
        times.call(client.probe()).await;
    }
}

/// The median time of a bare RPC, which is a part of every floor of one.
async fn rpc(bare: &Process) -> f64 {
    let mut times = Times::default();
    probes(bare, 1_000, &mut times).await;
    times.median()
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
    per_second(calls, begin)
}

/// The same for bare system calls, on threads.
fn bare_rate(threads: usize, calls: usize, work: impl Fn(usize) + Sync) -> f64 {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..threads {
            let work = &work;
            scope.spawn(move || (first..calls).step_by(threads).for_each(work));
        }
    });
    per_second(calls, begin)
}

fn per_second(calls: usize, begin: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let calls = calls as f64;
    calls / begin.elapsed().as_secs_f64()
}
