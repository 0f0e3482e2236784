//! Disks that do not answer.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faultlab::{Answer, Watched};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::machine::calls::{Calls, capability, write_synced};
use super::machine::site::{Site, is_possible};
use super::machine::{Machine, is_root, tool};
use super::world::{PATIENCE, SlowDisk, World, converge};

/// The calls of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rpc {
    Stage,
    Publish,
    Stats,
    Expand,
    Unpublish,
    Unstage,
}

const SLOW: &str = "slow";
const STEADY: &str = "steady";

impl Rpc {
    async fn call(self, calls: &Calls, fs: &str) -> Result<(), Status> {
        let wanted = capability(Some(fs));
        match self {
            Self::Stage => calls.stage(SLOW, wanted).await,
            Self::Publish => calls.publish(SLOW, wanted).await,
            Self::Stats => calls.stats(SLOW).await,
            Self::Expand => calls.node_expand(SLOW).await,
            Self::Unpublish => calls.unpublish(SLOW).await,
            Self::Unstage => calls.unstage(SLOW).await,
        }
    }

    /// Brings the volume to where this call is the next; what is written last is not synced.
    async fn prepare(self, calls: &Calls, fs: &str, size: &mut u64) -> Result<(), Status> {
        if self == Self::Stage {
            return Ok(());
        }
        calls.stage(SLOW, capability(Some(fs))).await?;
        if matches!(self, Self::Stats | Self::Expand | Self::Unpublish) {
            calls.publish(SLOW, capability(Some(fs))).await?;
        }
        if self == Self::Expand {
            *size += 16 << 20;
            calls.expand(SLOW, *size).await?;
        }
        fs::write(
            format!("{}/unsynced", calls.staging(SLOW)),
            vec![7; 100_000],
        )
        .expect("it is written");
        Ok(())
    }
}

/// What is said to be done is done, also while the disk hangs.
fn check(rpc: Rpc, slow: &SlowDisk, answer: &Result<(), Status>) {
    match (rpc, answer) {
        (Rpc::Unstage, Ok(())) => assert!(!slow.is_busy(SLOW), "its device is still held"),
        (Rpc::Stage, Ok(())) => assert!(slow.is_busy(SLOW), "nothing is mounted"),
        _ => {}
    }
}

/// Other volumes are used, and made. They are not attached while another attach hangs: devices are handed out one at a
/// time, and in a cluster the files of all volumes are on one disk.
async fn others(world: &World, attach: bool) -> Result<(), Status> {
    if attach {
        world.life("other").await?;
    }
    let calls = &world.calls;
    calls.publish(STEADY, capability(Some("ext4"))).await?;
    write_synced(&calls.target(STEADY), "file", b"bytes").expect("it is written");
    calls.stats(STEADY).await?;
    calls.unpublish(STEADY).await?;
    calls.create("other", capability(None), 1 << 20).await?;
    calls.snapshot("snapshot", "other").await?;
    calls.delete("other").await
}

/// Hangs the disk of one volume before and during a call, and looks what becomes of that call, of the driver, and of others.
async fn hang_during(
    world: &mut World,
    slow: &SlowDisk,
    (rpc, fs): (Rpc, &'static str),
    moment: Option<Duration>,
) -> bool {
    let calls = world.calls.clone();
    assert_eq!(slow.is_busy(SLOW), rpc != Rpc::Stage, "it is staged or not");
    if moment.is_none() {
        slow.disk.hang();
    }
    let mut call = tokio::spawn(async move { rpc.call(&calls, fs).await });
    if let Some(moment) = moment {
        sleep(moment).await;
        slow.disk.hang();
    }
    sleep(Duration::from_millis(100)).await;
    world.probe().await;
    let other = timeout(PATIENCE, others(world, rpc != Rpc::Stage)).await;
    other
        .expect("other volumes go on")
        .expect("other volumes work");
    world.probe().await;
    let waited = slow.disk.is_waited_for() && !call.is_finished();
    if call.is_finished() {
        let answer = (&mut call).await.expect("no panic");
        check(rpc, slow, &answer);
        slow.disk.resume();
    } else {
        // The CO comes again, and must not be told that it is done when it is not.
        let again = timeout(Duration::from_secs(6), rpc.call(&world.calls, fs));
        if let Ok(answer) = again.await {
            check(rpc, slow, &answer);
        }
        world.probe().await;
        slow.disk.resume();
        let answer = timeout(PATIENCE, call).await.expect("it ends");
        check(rpc, slow, &answer.expect("no panic"));
    }
    converge(&format!("{rpc:?} on {fs}"), || rpc.call(&world.calls, fs)).await;
    waited
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_its_own_volume_only() {
    if !is_possible() {
        return;
    }
    let mut world = World::new(Machine::new()).await;
    let mut slow = SlowDisk::beside(&world.machine);
    let ext4 = || capability(Some("ext4"));
    world
        .calls
        .create(STEADY, ext4(), 16 << 20)
        .await
        .expect("it is made");
    world
        .calls
        .bring(STEADY, ext4())
        .await
        .expect("it is there");
    world
        .calls
        .unpublish(STEADY)
        .await
        .expect("it is unpublished");
    let (mut hangs, mut waited) = (0, 0);
    for (fs, mut size) in [("ext4", 32 << 20), ("xfs", 320 << 20)] {
        world
            .calls
            .create(SLOW, capability(Some(fs)), size)
            .await
            .expect("it is made");
        slow.adopt(&world.machine, SLOW);
        world
            .calls
            .assign(SLOW, capability(Some(fs)))
            .await
            .expect("it is assigned");
        world
            .calls
            .stage(SLOW, capability(Some(fs)))
            .await
            .expect("it is staged");
        write_synced(&world.calls.staging(SLOW), "synced", b"acknowledged").expect("it is written");
        world.calls.unstage(SLOW).await.expect("it is unstaged");
        for rpc in [
            Rpc::Stage,
            Rpc::Publish,
            Rpc::Stats,
            Rpc::Expand,
            Rpc::Unpublish,
            Rpc::Unstage,
        ] {
            // A mounted ext4 grows only with CAP_SYS_RESOURCE, which not every root has.
            if (rpc, fs) == (Rpc::Expand, "ext4") {
                continue;
            }
            for moment in [None, Some(0), Some(2), Some(5)] {
                rpc.prepare(&world.calls, fs, &mut size)
                    .await
                    .expect("it is prepared");
                let moment = moment.map(Duration::from_millis);
                waited += u32::from(hang_during(&mut world, &slow, (rpc, fs), moment).await);
                hangs += 1;
                converge("unpublish", || world.calls.unpublish(SLOW)).await;
                converge("unstage", || world.calls.unstage(SLOW)).await;
            }
        }
        world
            .calls
            .stage(SLOW, capability(Some(fs)))
            .await
            .expect("it is staged");
        let found = fs::read(format!("{}/synced", world.calls.staging(SLOW)));
        assert_eq!(found.expect("it is there"), b"acknowledged");
        world.calls.unstage(SLOW).await.expect("it is unstaged");
        world.calls.unassign(SLOW).await.expect("it is unassigned");
        slow.release(&world.machine, SLOW);
        world.calls.delete(SLOW).await.expect("it is deleted");
    }
    world
        .calls
        .take_back(STEADY)
        .await
        .expect("it is taken back");
    assert!(waited > 0, "no call ever waited for the disk");
    eprintln!(
        "hung: a disk hung in {hangs} calls, {waited} of them waited for it; 0 wrong answers, other volumes went on"
    );
}

/// While an unmount hangs, or after a lazy one, the mount is in no table any more, and the filesystem still owns its device:
/// that is not unstaged.
#[tokio::test]
async fn a_volume_is_unstaged_when_its_device_is_free_and_not_before() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let staging = machine.path("kubelet/v-staging");
    let lazy = Arc::new(AtomicBool::new(true));
    let (is_lazy, mounted) = (lazy.clone(), staging.clone());
    let watched = [Watched {
        number: libc::SYS_umount2,
        second: None,
    }];
    let world = World::watched(machine, &watched, move |_| {
        if is_lazy.load(Ordering::Relaxed) {
            assert!(tool("umount", &["--lazy", &mounted]));
            return Answer::Pretend;
        }
        Answer::Real
    });
    let mut world = world.await;
    let wanted = || capability(Some("ext4"));
    let created = world.calls.create("v", wanted(), 16 << 20).await;
    created.expect("it is made");
    world
        .calls
        .assign("v", wanted())
        .await
        .expect("it is assigned");
    world
        .calls
        .stage("v", wanted())
        .await
        .expect("it is staged");
    let user = fs::File::create(format!("{staging}/file")).expect("it is made");
    for _ in 0..2 {
        let refused = world
            .calls
            .unstage("v")
            .await
            .expect_err("its device is held");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        lazy.store(false, Ordering::Relaxed);
    }
    world.probe().await;
    drop(user);
    converge("unstage", || world.calls.unstage("v")).await;
    world.life("other").await.expect("it works");
}

/// The disk below the data directory hangs: Probe goes on answering, and what was asked is done when the disk answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_hangs_is_waited_for() {
    if !is_possible() {
        return;
    }
    let pool = Site::new("xfs");
    let mut world = World::new(pool.machine).await;
    let calls = world.calls.clone();
    pool.disk.hang();
    let create =
        tokio::spawn(async move { calls.create("v", capability(Some("ext4")), 32 << 20).await });
    for _ in 0..20 {
        sleep(Duration::from_millis(50)).await;
        let answer = timeout(Duration::from_secs(5), world.calls.probe()).await;
        // It may be told that the storage does not answer; but it is answered.
        let _ = answer.expect("Probe answers");
    }
    assert!(
        !create.is_finished(),
        "nothing is acknowledged that is not on the disk"
    );
    pool.disk.resume();
    let answer = timeout(PATIENCE, create)
        .await
        .expect("it ends")
        .expect("no panic");
    answer.expect("it is made");
    converge("Probe", || world.calls.probe()).await;
    world.life("other").await.expect("it works again");
    world.driver.kill();
    drop(world);
}
