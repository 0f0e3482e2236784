//! How fast and how small the driver is, beside the bare system calls for the same work (`make bench`).
//!
//! Every round measures the floor and the driver one after the other, on the same filesystem; the best round counts
//! for both. Client and driver share the machine. Arguments: parts of the names of the cases to run. `BENCH_ROUNDS` (5)
//! and `BENCH_DIR` (where temporary files are) can be set.

#[path = "../../tests/machine/mod.rs"]
mod machine;

mod cases;
mod client;
mod driver;
mod floor;
mod table;

use std::process::ExitCode;

use tokio::runtime::Builder;

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
    runtime.block_on(cases::run(rounds, &wanted));
    ExitCode::SUCCESS
}
