//! The real driver on real devices, stopped at every system call of every call that changes something. Needs root; says
//! so otherwise.
//!
//! At each point the driver is killed, started again, and asked again (`kill`); or the system call fails with each errno
//! in turn (`refuse`). After each, the machine is compared with a model of what was acknowledged (`world`): files, sizes,
//! mounts, loop devices, processes, open files, and bytes. `planted` proves that the comparison finds what it must find.
//!
//! The tracer knows the registers of x86-64 only, so there is nothing here on other machines.
//!
//! `CRASH_EVERY=1` tries every point, otherwise each n-th; `CRASH_SEED` shifts which, `CRASH_FLOW` names one flow.

#![cfg(target_arch = "x86_64")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../machine/mod.rs"]
mod machine;

mod calls;
mod driver;
mod flow;
mod kill;
mod lab;
mod planted;
mod refuse;
mod repaired;
mod script;
mod table;
mod tracer;
mod world;

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use faultlab::setting;
use flow::{Kind, Sample, Tally, play};
use machine::is_root;
use script::Contents;

/// Kinds of data directories, and what is tried on each. Two of them can share extents; ext4 cannot, and copies.
fn combinations(kind: Kind) -> [(&'static str, &'static [Contents]); 3] {
    use Contents::{Block, Ext4};
    match kind {
        Kind::Kill => [
            ("xfs", &Contents::ALL),
            ("btrfs", &Contents::ALL),
            ("ext4", &[Ext4, Block]),
        ],
        // Each point fails in nine ways; the driver does the same on all of them.
        Kind::Refuse => [
            ("xfs", &Contents::ALL),
            ("btrfs", &[Block]),
            ("ext4", &[Block]),
        ],
    }
}

/// Every combination, on as many threads as there are processors.
fn try_all(kind: Kind, every: u64) -> Tally {
    let wanted = std::env::var("CRASH_ON").unwrap_or_default();
    let mut work: Vec<(&str, Contents)> = Vec::new();
    for (data, kinds) in combinations(kind) {
        let named = |it: &Contents| format!("{}/{data}", it.name()).contains(&wanted);
        let kinds = kinds.iter().copied().filter(named);
        work.extend(kinds.map(|contents| (data, contents)));
    }
    let (work, total) = (Mutex::new(work), Mutex::new(Tally::default()));
    let sample = Sample {
        every: setting("CRASH_EVERY", every),
        seed: setting("CRASH_SEED", 1),
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                loop {
                    let Some((data, contents)) = work.lock().expect("unpoisoned").pop() else {
                        return;
                    };
                    let tally = runtime.block_on(play(kind, data, contents, sample));
                    total.lock().expect("unpoisoned").add(tally);
                }
            });
        }
    });
    total.into_inner().expect("unpoisoned")
}

/// Prints the figures, also where the output of a test that passes is not shown.
fn conclude(what: &str, tally: &Tally, began: Instant) {
    for (flow, points) in &tally.points {
        eprintln!("{points:6} {flow}");
    }
    let mut out = std::io::stderr();
    for (errno, codes) in &tally.codes {
        let codes = codes.iter().map(|(code, count)| format!("{count} {code}"));
        let line = codes.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "crash: {errno} was answered with {line}");
    }
    let _ = writeln!(
        out,
        "crash: {} {what}, {} of them second kills, {} of a tool alone, {} not reached, {} problems, {} s",
        tally.total(),
        tally.second_kills,
        tally.tool_kills,
        tally.not_reached,
        tally.problems.len(),
        began.elapsed().as_secs(),
    );
    assert!(tally.problems.is_empty(), "{}", tally.problems.join("\n"));
    assert!(tally.total() > 0, "nothing was tried");
}

#[test]
fn killed_at_its_system_calls_the_driver_converges() {
    if !is_root() {
        return;
    }
    eprintln!("crash: a mounted ext4 is not grown here: that needs CAP_SYS_RESOURCE");
    let began = Instant::now();
    conclude("kill points", &try_all(Kind::Kill, 10), began);
}

#[test]
fn what_fails_is_told_and_the_repeated_call_converges() {
    if !is_root() {
        return;
    }
    let began = Instant::now();
    conclude("failing system calls", &try_all(Kind::Refuse, 16), began);
}
