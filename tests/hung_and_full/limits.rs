//! Descriptors, threads, memory and loop devices that run out.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use faultlab::{Answer, Watched};
use offshoot::csi;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tonic::Code;

use super::machine::calls::{Calls, capability, volume_id};
use super::machine::{Machine, is_root};
use super::world::{World, converge, is_temporary};

/// Sets how much of something the driver may have; as much as it may when nothing is said.
fn limit(world: &World, what: Resource, count: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(world.driver.process.id()).expect("a pid"));
    let maximum = getrlimit(what).maximum;
    let current = count.or(maximum);
    prlimit(pid, what, Rlimit { current, maximum }).expect("it is set");
}

fn limit_descriptors(world: &World, count: Option<u64>) {
    limit(world, Resource::Nofile, count);
}

/// The lowest limit that leaves the driver what it has: its descriptors are numbered one after the other, but for one of
/// faultlab's.
fn in_use(world: &World) -> u64 {
    let path = format!("/proc/{}/fd", world.driver.process.id());
    fs::read_dir(path).expect("it is there").count() as u64 - 1
}

#[tokio::test]
async fn without_descriptors_calls_are_refused_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Machine::new()).await;
    let wanted = || capability(Some("ext4"));
    world
        .calls
        .create("v", wanted(), 16 << 20)
        .await
        .expect("it is made");
    world
        .calls
        .assign("v", wanted())
        .await
        .expect("it is assigned");
    let (mut refused, mut done) = (0, 0);
    let used = in_use(&world);
    for spare in 0..12 {
        limit_descriptors(&world, Some(used + spare));
        for (what, answer) in [
            (
                "create",
                world
                    .calls
                    .create(&format!("new{spare}"), wanted(), 16 << 20)
                    .await,
            ),
            ("stage", world.calls.stage("v", wanted()).await),
            (
                "snapshot",
                world.calls.snapshot(&format!("s{spare}"), "v").await,
            ),
            ("unstage", world.calls.unstage("v").await),
        ] {
            match answer {
                Ok(()) => done += 1,
                Err(status) if is_temporary(&status) => refused += 1,
                Err(status) => panic!("{what} with {spare} spare descriptors: {status}"),
            }
        }
        world.probe().await;
    }
    assert!(refused > 0 && done > 10, "{refused} refused, {done} done");
    limit_descriptors(&world, None);
    converge("unstage", || world.calls.unstage("v")).await;
    world.life("other").await.expect("it works again");
    eprintln!("limits: descriptors ran out in {refused} calls, Probe answered throughout");
}

/// Clients that come while no descriptor is left wait or are refused; the server stays, and does not spend its time on
/// them.
#[tokio::test]
async fn without_descriptors_for_clients_the_server_stays() {
    if !is_root() {
        return;
    }
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let accept = Watched {
        number: libc::SYS_accept4,
        second: None,
    };
    let mut world = World::watched(Machine::new(), &[accept], move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Answer::Real
    })
    .await;
    limit_descriptors(&world, Some(in_use(&world)));
    tries.store(0, Ordering::Relaxed);
    let socket = world.machine.path("csi.sock");
    let crowd: Vec<_> = (0..50)
        .filter_map(|_| std::os::unix::net::UnixStream::connect(&socket).ok())
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    world.probe().await;
    let tries = tries.load(Ordering::Relaxed);
    assert!((1..100).contains(&tries), "it asked {tries} times");
    drop(crowd);
    limit_descriptors(&world, None);
    let newcomer = Calls::connect(&world.machine).await;
    newcomer.probe().await.expect("it is answered");
    world.life("other").await.expect("it works again");
}

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` (linux/loop.h).
const GET_FREE: u32 = 0x4c82;
const CONFIGURE: u32 = 0x4c0a;

/// The kernel has no free loop device, or others are always quicker.
#[tokio::test]
async fn without_loop_devices_staging_is_refused_and_recovers() {
    if !is_root() {
        return;
    }
    let errors = Arc::new([AtomicI32::new(0), AtomicI32::new(0)]);
    let ioctl = |command| Watched {
        number: libc::SYS_ioctl,
        second: Some(command),
    };
    let shared = errors.clone();
    let mut world = World::watched(
        Machine::new(),
        &[ioctl(GET_FREE), ioctl(CONFIGURE)],
        move |call| {
            let which = usize::from(call.arguments[1] == u64::from(CONFIGURE));
            match shared[which].load(Ordering::Relaxed) {
                0 => Answer::Real,
                error => Answer::Fail(error),
            }
        },
    )
    .await;
    let wanted = || capability(Some("ext4"));
    world
        .calls
        .create("v", wanted(), 16 << 20)
        .await
        .expect("it is made");
    world
        .calls
        .assign("v", wanted())
        .await
        .expect("it is assigned");
    for (which, error) in [
        (0, libc::ENOSPC),
        (0, libc::ENOMEM),
        (1, libc::EBUSY),
        (1, libc::ENOMEM),
    ] {
        errors[which].store(error, Ordering::Relaxed);
        let refused = world
            .calls
            .stage("v", wanted())
            .await
            .expect_err("there is none");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(!refused.message().contains("storage is full"), "{refused}");
        world.probe().await;
        errors[which].store(0, Ordering::Relaxed);
        world
            .calls
            .stage("v", wanted())
            .await
            .expect("there is one again");
        world.calls.unstage("v").await.expect("it is unstaged");
    }
    world.life("other").await.expect("it works again");
}

/// `FSCONFIG_CMD_CREATE` (linux/mount.h).
const CREATE: u32 = 6;

/// Who looks for a free loop device, as `losetup` and `mount` do, claims for a moment also those that are not free: the device
/// seemed to be in use, and the call failed.
#[tokio::test]
async fn a_device_that_another_claims_for_a_moment_is_mounted() {
    if !is_root() {
        return;
    }
    let claims = Arc::new(AtomicUsize::new(0));
    let left = claims.clone();
    let create = Watched {
        number: libc::SYS_fsconfig,
        second: Some(CREATE),
    };
    let world = World::watched(Machine::new(), &[create], move |_| {
        let one_less = |it: usize| it.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Answer::Fail(libc::EBUSY),
            Err(_) => Answer::Real,
        }
    })
    .await;
    claims.store(3, Ordering::Relaxed);
    world.life("v").await.expect("it is mounted");
    assert_eq!(claims.load(Ordering::Relaxed), 0);
}

/// A control group (version 1) of the test's own; gone when dropped, after its processes.
struct Group(std::path::PathBuf);

impl Group {
    /// `None` where this machine has no such controller.
    fn new(controller: &str, name: &str) -> Option<Self> {
        let path = format!(
            "/sys/fs/cgroup/{controller}/offshoot-test-{name}-{}",
            std::process::id()
        );
        let path = std::path::PathBuf::from(path);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn set(&self, name: &str, value: &str) {
        fs::write(self.0.join(name), value).expect("it is set");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn without_threads_calls_are_refused_and_the_server_stays() {
    if !is_root() {
        return;
    }
    let Some(group) = Group::new("pids", "threads") else {
        eprintln!("skipped: this machine has no control group for pids");
        return;
    };
    let mut world = World::new(Machine::new()).await;
    group.set("cgroup.procs", &world.driver.process.id().to_string());
    let mut refused = 0;
    for threads in 1..8 {
        group.set("pids.max", &threads.to_string());
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let calls = world.calls.clone();
                tokio::spawn(async move {
                    calls
                        .create(&format!("v{number}"), capability(Some("xfs")), 320 << 20)
                        .await
                })
            })
            .collect();
        for call in calls {
            refused += u32::from(call.await.expect("no panic").is_err());
        }
        world.probe().await;
    }
    group.set("pids.max", "max");
    for number in 0..8 {
        let name = format!("v{number}");
        converge("create", || {
            world
                .calls
                .create(&name, capability(Some("xfs")), 320 << 20)
        })
        .await;
        world.calls.delete(&name).await.expect("it is deleted");
    }
    world.life("other").await.expect("it works again");
    eprintln!("limits: threads ran out, {refused} calls were refused, Probe answered throughout");
    world.driver.kill();
    drop(group);
}

/// Once, a driver that had been idle long enough to have no thread left, and got none, panicked in each call and never looked
/// at its storage again.
#[tokio::test]
async fn an_idle_driver_that_gets_no_thread_says_so() {
    if !is_root() {
        return;
    }
    let Some(group) = Group::new("pids", "idle") else {
        eprintln!("skipped: this machine has no control group for pids");
        return;
    };
    let mut world = World::new(Machine::new()).await;
    group.set("cgroup.procs", &world.driver.process.id().to_string());
    group.set("pids.max", "1");
    let threads = format!("/proc/{}/task", world.driver.process.id());
    for _ in 0..600 {
        if fs::read_dir(&threads).expect("it lives").count() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let wanted = || capability(Some("ext4"));
    let refused = world.calls.create("v", wanted(), 16 << 20).await;
    let refused = refused.expect_err("there is no thread");
    assert!(is_temporary(&refused), "{refused}");
    // The storage may seem unreachable meanwhile; but that is answered.
    let _ = world.calls.probe().await;
    group.set("pids.max", "max");
    converge("create", || world.calls.create("v", wanted(), 16 << 20)).await;
    converge("Probe", || world.calls.probe()).await;
    world.life("other").await.expect("it works again");
    world.driver.kill();
    drop(group);
}

/// A program that gets no memory ends, and kubelet starts it again: what it acknowledged is there, and the rest can be asked
/// for anew.
#[tokio::test]
async fn without_memory_nothing_acknowledged_is_lost() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Machine::new()).await;
    let (mut refused, mut acknowledged, mut ended) = (0, Vec::new(), 0);
    for spare in [0, 2, 4, 8, 16, 32] {
        let all = Some(address_space(&world) + (spare << 20));
        limit(&world, Resource::As, all);
        let calls = (0..8).map(|number| {
            let (calls, name) = (world.calls.clone(), format!("v{spare}-{number}"));
            let create = async move { calls.create(&name, xfs(), 320 << 20).await.map(|()| name) };
            tokio::spawn(create)
        });
        for call in calls.collect::<Vec<_>>() {
            match call.await.expect("no panic") {
                Err(_) => refused += 1,
                Ok(name) => acknowledged.push(volume_id(&name).to_string()),
            }
        }
        if world
            .driver
            .process
            .try_wait()
            .expect("it is our child")
            .is_some()
        {
            world.restart().await;
            ended += 1;
        }
        world.probe().await;
        limit(&world, Resource::As, None);
        let (volumes, _) = world.calls.list().await;
        assert!(
            acknowledged.iter().all(|it| volumes.contains(it)),
            "{volumes:?}"
        );
        for number in 0..8 {
            let name = format!("v{spare}-{number}");
            converge("create", || world.calls.create(&name, xfs(), 320 << 20)).await;
            world.calls.delete(&name).await.expect("it is deleted");
        }
        acknowledged.clear();
    }
    assert_eq!(world.files(), Vec::<String>::new());
    world.life("other").await.expect("it works");
    assert!(refused > 0, "there was memory enough");
    eprintln!(
        "limits: memory ran out in {refused} calls, the driver ended {ended} times, nothing acknowledged was lost"
    );
}

fn xfs() -> csi::VolumeCapability {
    capability(Some("xfs"))
}

fn address_space(world: &World) -> u64 {
    let path = format!("/proc/{}/statm", world.driver.process.id());
    let text = fs::read_to_string(path).expect("it is there");
    let pages: u64 = text
        .split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .expect("a number");
    pages * 4096
}
