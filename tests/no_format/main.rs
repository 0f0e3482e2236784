//! No volume that was ever formatted is formatted again, whatever its bytes, its device and its disk do.
//!
//! `FORMAT_TRIES` random damages (500 by default, `CRASH_SEED` chooses them) are done to volumes of every filesystem, each of
//! which is then staged through a real loop device: it is refused with every byte unchanged, or mounted as what it was.
//! Meanwhile a wire over every mkfs tells if one is started. The same checker finds a stager that formats what it cannot
//! mount. Needs root; says so otherwise.

#[path = "../machine/mod.rs"]
mod machine;

mod damage;
mod lab;

use faultlab::{Random, private_mounts, setting};
use lab::{Lab, Stager, Tally, tripwire};
use machine::site::{Site, is_possible};
use machine::{Machine, is_root};

/// Runs `work` on a thread with mounts of its own.
fn alone<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            private_mounts().expect("a mount namespace");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(work())
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn whatever_becomes_of_its_bytes_a_volume_is_not_formatted() {
    if !is_root() {
        return;
    }
    let (tries, seed) = (setting("FORMAT_TRIES", 500), setting("CRASH_SEED", 1));
    let tally = alone(async || {
        let machine = Machine::on("xfs");
        let lab = Lab::new(&machine).await;
        let wire = tripwire(&machine);
        let mut tally = Tally::default();
        for number in 0..tries {
            let mut random = Random::new(seed.wrapping_mul(1_000_003) + number);
            let outcome = lab.attempt(&mut random, Stager::Driver, &mut tally).await;
            outcome.unwrap_or_else(|what| panic!("try {number} of CRASH_SEED={seed}: {what}"));
            assert_eq!(wire.tripped(), "", "try {number} of CRASH_SEED={seed}");
        }
        tally
    });
    let Tally { refused, mounted } = tally;
    assert!(refused > 0 && mounted > 0, "{tally:?}");
    eprintln!(
        "no-format: {tries} damaged volumes from seed {seed}, {refused} refused and unchanged, {mounted} mounted as what they were, 0 formatted"
    );
}

/// The checker sees a stager that takes what it cannot mount for blank: by the bytes, and by the wire.
#[test]
fn a_stager_that_formats_what_it_cannot_mount_is_caught() {
    if !is_root() {
        return;
    }
    let (by_bytes, by_wire) = alone(async || {
        let machine = Machine::on("xfs");
        let lab = Lab::new(&machine).await;
        let mut tally = Tally::default();
        let mut by_bytes = 0;
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let outcome = lab.attempt(&mut random, Stager::FormatsWhatItCannotMount, &mut tally);
            by_bytes += usize::from(outcome.await.is_err());
        }
        let wire = tripwire(&machine);
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let outcome = lab.attempt(&mut random, Stager::FormatsWhatItCannotMount, &mut tally);
            let _ = outcome.await;
        }
        (by_bytes, wire.tripped().lines().count())
    });
    assert!(by_bytes > 0 && by_wire > 0, "{by_bytes} and {by_wire}");
    eprintln!(
        "no-format: of 20 tries of the planted bug {by_bytes} were seen by the bytes, {by_wire} by the wire"
    );
}

/// Probes that fail, disks that hang and files that are gone lead to no mkfs either.
#[test]
fn a_disk_that_fails_or_hangs_is_not_taken_for_blank() {
    if !is_possible() {
        return;
    }
    let refused = alone(async || {
        let Site { machine, disk, .. } = &Site::new("xfs");
        let lab = Lab::new(machine).await;
        let wire = tripwire(machine);
        let refused = lab.with_failing_disk(disk).await;
        assert_eq!(wire.tripped(), "");
        refused.unwrap_or_else(|what| panic!("{what}"))
    });
    eprintln!("no-format: {refused} failing probes, 3 disks that hung, 0 formatted");
}
