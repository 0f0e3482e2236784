//! Power cuts: the real driver over a disk that records every write, and every promise checked on what a cut could leave.
//!
//! A workload drives the driver over its socket; then images are made as a power cut would leave them (faultlab::Replay),
//! mounted, and the driver is started on them. `CRASH_IMAGES` images are checked (50 by default), half of them on XFS and half
//! on btrfs, from `CRASH_SEED` on. Needs root; says so otherwise.

#[path = "../machine/mod.rs"]
mod machine;

mod check;
mod story;
mod workload;

use faultlab::{Answer, Call, Cut, Loss, Random, Replay, setting};
use machine::site::is_possible;
use workload::{Recording, record};

/// How many images are made from one workload.
const IMAGES_EACH: u64 = 50;

/// Cuts in the order of the log. Half of them come right after an answer: what was forgotten shows before a later sync.
fn cuts(recording: &Recording, count: u64, seed: u64) -> Vec<Cut> {
    let mut random = Random::new(seed);
    let end = recording.log.len();
    let cut = |_| Cut {
        at: if random.flip() {
            random.index(end + 1)
        } else {
            (random.choose(&recording.events).done + random.index(3)).min(end)
        },
        loss: *random.choose(&[
            Loss::Nothing,
            Loss::Writes,
            Loss::Blocks,
            Loss::Sectors,
            Loss::All,
        ]),
        seed: random.next(),
    };
    let mut cuts: Vec<Cut> = (0..count).map(cut).collect();
    cuts.sort_by_key(|it| it.at);
    cuts
}

/// What came out of a number of images.
#[derive(Default)]
struct Outcome {
    wrong: Vec<(Cut, Vec<String>)>,
    mended: u32,
}

/// Checks `count` images of a recording.
async fn check(recording: &Recording, kind: &str, count: u64, seed: u64) -> Outcome {
    let mut replay = Replay::new(&recording.log);
    let mut outcome = Outcome::default();
    for cut in cuts(recording, count, seed) {
        let image = replay.image(cut);
        let verdict = check::check(image, kind, &recording.events, cut).await;
        outcome.mended += verdict.mended;
        if !verdict.wrong.is_empty() {
            outcome.wrong.push((cut, verdict.wrong));
        }
    }
    outcome
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_power_cut() {
    if !is_possible() {
        return;
    }
    let (images, seed) = (setting("CRASH_IMAGES", 50), setting("CRASH_SEED", 1));
    let (mut done, mut round, mut mended) = (0, 0, 0);
    while done < images {
        let kind = ["xfs", "btrfs"][usize::from(round % 2 == 1)];
        let count = IMAGES_EACH.min(images.div_ceil(2)).min(images - done);
        let recording = record(kind, seed + round, |_| Answer::Real).await;
        let outcome = check(&recording, kind, count, seed + round).await;
        for (cut, found) in &outcome.wrong {
            let name = format!("power-cut-{kind}-{}-{}", seed + round, cut.at);
            let path = std::env::temp_dir().join(name);
            let _ = Replay::new(&recording.log).image(*cut).save(&path);
            eprintln!("{cut:?} (image in {}): {found:#?}", path.display());
        }
        let which = format!("CRASH_SEED={} on {kind}", seed + round);
        assert!(
            outcome.wrong.is_empty(),
            "power-cut: {which} lost something"
        );
        mended += outcome.mended;
        (done, round) = (done + count, round + 1);
    }
    eprintln!(
        "power-cut: {done} images of {round} workloads from seed {seed}, 0 lost; {mended} ext4 superblocks torn between sectors of 512 bytes"
    );
}

/// The same workload over a driver whose syncs of some kind do nothing: the checker must see it.
async fn must_fail(kind: &str, forgets: fn(&Call) -> bool) {
    if !is_possible() {
        return;
    }
    let mut seen = 0;
    for seed in 1..=4 {
        let decide = move |call: &Call| {
            if forgets(call) {
                Answer::Pretend
            } else {
                Answer::Real
            }
        };
        let recording = record(kind, seed, decide).await;
        seen += check(&recording, kind, 10, seed).await.wrong.len();
        if seen > 0 {
            break;
        }
    }
    eprintln!("power-cut: a planted bug on {kind} lost something in {seen} images");
    assert!(seen > 0, "the planted bug was not found");
}

#[tokio::test]
async fn a_driver_that_does_not_sync_directories_is_caught() {
    must_fail("xfs", Call::is_directory).await;
}

#[tokio::test]
async fn a_driver_that_does_not_sync_files_is_caught() {
    must_fail("xfs", |call| !call.is_directory()).await;
}

#[tokio::test]
async fn a_driver_that_does_not_sync_its_copies_is_caught() {
    let is_copy = |call: &Call| call.descriptor().to_string_lossy().contains("/snapshots/#");
    must_fail("btrfs", is_copy).await;
}
