//! How fast and how small the driver is, beside the bare system calls for the same work (`make bench`).
//!
//! In every round the floor and the driver take turns, on the same filesystem; the best round counts for both. Client and
//! driver share the machine. Arguments: parts of the names of the groups to run (probe, start, create, cycle,
//! many-volumes, many-devices, snapshot, binary). `BENCH_ROUNDS` (5), `TMPDIR` (where everything is) and `BENCH_DRIVER` (the
//! binary that is measured) can be set.

#[path = "../../tests/machine/mod.rs"]
mod machine;

mod cases;
mod client;
mod driver;
mod floor;
mod table;

use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let [mode, socket] = arguments.as_slice()
        && mode == driver::BARE
    {
        runtime.block_on(driver::serve_bare(socket));
        return ExitCode::SUCCESS;
    }
    if !machine::is_root() {
        return ExitCode::FAILURE;
    }
    let wanted = |name: &str| {
        let mut words = arguments.iter().filter(|it| !it.starts_with('-'));
        words.clone().next().is_none() || words.any(|word| name.contains(word.as_str()))
    };
    let rounds = std::env::var("BENCH_ROUNDS").ok();
    let rounds = rounds.and_then(|it| it.parse().ok()).unwrap_or(5);
    runtime.block_on(async {
        // What a case has made goes away with it, also when it is stopped.
        let mut terminate = signal(SignalKind::terminate()).expect("signals");
        tokio::select! {
            () = cases::run(rounds, &wanted) => ExitCode::SUCCESS,
            _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
            _ = terminate.recv() => ExitCode::FAILURE,
        }
    })
}
