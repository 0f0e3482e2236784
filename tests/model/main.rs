//! Random calls against a small model: repeated, reordered, at once, with other parameters, and cut off.
//!
//! `MODEL_CALLS` calls (200,000 by default) over memory and a pretended host, `MODEL_REAL_CALLS` (2,000) over a real data
//! directory with loop devices and mounts, `MODEL_SOCKET_CALLS` (4,000) over a socket, from `MODEL_SEED` on (1). What fails
//! says how to play it again.

#[path = "../common/mod.rs"]
mod common;
#[path = "../machine/mod.rs"]
mod machine;

mod call;
mod message;
mod reference;
mod rounds;
mod slow;
mod socket;
mod wild;
mod world;

use faultlab::setting;
use machine::{Machine, is_root};
use rounds::{Plan, Tally, play};
use wild::Variant;
use world::World;

/// How many calls a seed gives.
const CALLS_OF_A_SEED: u64 = 20_000;

#[tokio::test]
async fn the_driver_does_what_the_model_says() {
    let (calls, first) = (setting("MODEL_CALLS", 200_000), setting("MODEL_SEED", 1));
    let mut total = Tally::default();
    for seed in first..first + calls.div_ceil(CALLS_OF_A_SEED) {
        let world = World::pretended(Variant::Ours, seed).await;
        let plan = Plan {
            test: "the_driver_does_what_the_model_says",
            length: "MODEL_CALLS",
            seed,
            calls: CALLS_OF_A_SEED,
        };
        match play(&world, plan).await {
            Ok(tally) => total.add(tally),
            Err(failure) => panic!("{failure}"),
        }
    }
    eprintln!("model: {total} from seed {first} on, as the model says");
    assert!(total.calls < 200_000 || total.cut >= 10_000, "{total}");
}

#[tokio::test]
async fn the_driver_does_so_on_real_devices_too() {
    if !is_root() {
        return;
    }
    let (calls, seed) = (setting("MODEL_REAL_CALLS", 2_000), setting("MODEL_SEED", 1));
    let world = World::real(Machine::on("xfs")).await;
    let plan = Plan {
        test: "the_driver_does_so_on_real_devices_too",
        length: "MODEL_REAL_CALLS",
        seed,
        calls,
    };
    match play(&world, plan).await {
        Ok(tally) => {
            eprintln!("model on real devices: {tally} of seed {seed}, as the model says");
        }
        Err(failure) => panic!("{failure}"),
    }
}

/// A caller may go away at any moment: what it asked for is done or not, and nothing is held afterwards.
#[tokio::test]
async fn callers_that_go_away_leave_everything_whole() {
    let (calls, seed) = (
        setting("MODEL_SOCKET_CALLS", 4_000),
        setting("MODEL_SEED", 1),
    );
    let world = World::pretended(Variant::Ours, seed).await;
    let plan = Plan {
        test: "callers_that_go_away_leave_everything_whole",
        length: "MODEL_SOCKET_CALLS",
        seed,
        calls,
    };
    match socket::play(&world, plan).await {
        Ok(tally) => {
            eprintln!("model over a socket: {tally} of seed {seed}, as the model says");
            assert!(
                tally.cut * 10 > calls,
                "only {} calls were cut off",
                tally.cut
            );
        }
        Err(failure) => panic!("{failure}"),
    }
}

/// The model finds out each of these drivers, or it would find nothing.
#[tokio::test]
async fn planted_bugs_are_found() {
    for variant in [
        Variant::NoClaims,
        Variant::Forgetful,
        Variant::StopsWithCaller,
    ] {
        let world = World::pretended(variant, 1).await;
        let plan = Plan {
            test: "planted_bugs_are_found",
            length: "MODEL_CALLS",
            seed: setting("MODEL_SEED", 1),
            calls: 200_000,
        };
        let Err(failure) = play(&world, plan).await else {
            panic!("{variant:?} was not found out");
        };
        let first = failure.lines().next().unwrap_or_default();
        eprintln!("model: {variant:?} is found out: {first}");
    }
}
