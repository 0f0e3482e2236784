//! Somebody exchanges directories on the way to staging and target paths for symlinks, while volumes are staged and published
//! there (as in CVE-2021-25741): nothing outside the kubelet's directory is mounted on, made or removed. `SWAPS` exchanges
//! (100,000), `SWAP_SEED`. Needs root; says so otherwise.

mod machine;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use faultlab::{Random, setting};
use machine::{Machine, Scene, is_root, mount_capability, tool};
use offshoot::backend::NewContents;
use offshoot::node::{PublishVolume, StageVolume, UnpublishVolume, UnstageVolume};
use offshoot::volume::{AccessMode, FsType};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const TARGET: &str = "pods/one/mount";
const STAGING: &str = "plugins/staging";

/// Directories of the kubelet, and beside each a symlink that leads outside, to where the same names are found.
fn build(machine: &Machine) {
    for path in [
        "kubelet/pods/one",
        "kubelet/plugins/staging",
        "outside/one/mount",
        "outside/mount",
        "outside/staging",
    ] {
        fs::create_dir_all(machine.path(path)).expect("a directory");
    }
    fs::write(machine.path("outside/one/file"), "").expect("a file");
    for link in ["kubelet/pods~", "kubelet/plugins~", "kubelet/pods/one~"] {
        let to = machine.path("outside");
        std::os::unix::fs::symlink(to, machine.path(link)).expect("a symlink");
    }
    let staging = machine.path("outside/staging");
    let link = machine.path("kubelet/plugins/staging~");
    std::os::unix::fs::symlink(staging, link).expect("a symlink");
}

/// What is outside: mounts, and everything there is.
fn outside(machine: &Machine) -> Vec<String> {
    let outside = machine.path("outside");
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a table");
    let mounts = table.lines().filter_map(|it| it.split(' ').nth(4));
    let mut seen: Vec<String> = mounts
        .filter(|it| it.starts_with(&outside))
        .map(|it| format!("mount {it}"))
        .collect();
    list(outside.as_ref(), &mut seen);
    seen.sort();
    seen
}

fn list(directory: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        into.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            list(&entry.path(), into);
        }
    }
}

/// The names that are exchanged, from the top down.
const PAIRS: [&str; 4] = [
    "kubelet/pods",
    "kubelet/plugins",
    "kubelet/pods/one",
    "kubelet/plugins/staging",
];

/// Puts the directories back. One that was exchanged between being found and being mounted on took its mount along.
fn put_back(machine: &Machine) {
    for name in PAIRS {
        let (name, other) = (machine.path(name), machine.path(&format!("{name}~")));
        while tool("mountpoint", &["-q", "--nofollow", &other]) {
            assert!(tool("umount", &[&other]), "{other}");
        }
        if Path::new(&name).is_symlink() {
            renameat_with(CWD, &name, CWD, &other, RenameFlags::EXCHANGE).expect("it is put back");
        }
    }
}

/// Threads that exchange names until they are told to stop.
struct Swappers {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Swappers {
    fn start(machine: &Machine, seed: u64) -> Self {
        let (stop, swaps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let threads = PAIRS.iter().enumerate().map(|(index, name)| {
            let (stop, swaps) = (stop.clone(), swaps.clone());
            // By handle: the swapper itself must not be led astray.
            let (above, name) = name.rsplit_once('/').expect("a path");
            let above = fs::File::open(machine.path(above)).expect("a directory");
            let pair = (above, name.to_owned(), format!("{name}~"));
            let random = Random::new(seed * 10 + index as u64);
            std::thread::spawn(move || swap(&pair, random, &stop, &swaps))
        });
        let threads = threads.collect();
        Self {
            stop,
            swaps,
            threads,
        }
    }

    fn count(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("it ends");
        }
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swappers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Bursts of exchanges with pauses, in which things are as they should be more often than not: so that some calls find the
/// way they want, and others lose it.
fn swap(
    (above, name, link): &(fs::File, String, String),
    mut random: Random,
    stop: &AtomicBool,
    swaps: &AtomicU64,
) {
    let mut exchanged = false;
    while !stop.load(Ordering::Relaxed) {
        let burst = random.below(100);
        let end = burst + 2 * u64::from(random.below(4) > 0);
        for number in 0..end {
            if number >= burst && !exchanged {
                break;
            }
            // It fails while one of them is a mount point.
            if renameat_with(above, name, above, link, RenameFlags::EXCHANGE).is_ok() {
                exchanged = !exchanged;
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
    }
}

#[tokio::test]
async fn exchanged_paths_lead_nowhere() {
    if !is_root() {
        return;
    }
    let (wanted, seed) = (setting("SWAPS", 100_000), setting("SWAP_SEED", 1));
    let machine = Machine::new();
    build(&machine);
    let before = outside(&machine);
    let scene = Scene::new(machine, NewContents::Filesystem(FsType::Ext4), 16).await;
    let swappers = Swappers::start(&scene.machine, seed);
    let mut random = Random::new(seed);
    let (mut done, mut refused) = ([0_u32; 4], 0_u32);
    while swappers.count() < wanted {
        let which = random.below(4);
        if one_call(&scene, which).await {
            done[usize::try_from(which).expect("below 4")] += 1;
        } else {
            refused += 1;
        }
        let now = outside(&scene.machine);
        assert!(
            now == before,
            "after call {which}, seed {seed}: {before:#?} became {now:#?}"
        );
    }
    let swaps = swappers.finish();
    put_back(&scene.machine);
    assert!(
        done.iter().all(|it| *it > 0) && refused > 0,
        "{done:?}, {refused} refused"
    );
    // Nobody interferes any more: everything can be taken away.
    for which in [2, 3] {
        assert!(one_call(&scene, which).await, "{which}");
    }
    assert_eq!(outside(&scene.machine), before);
    eprintln!(
        "path swaps: {swaps} swaps, {} calls done ({done:?}: stage, publish, unpublish, unstage), {refused} refused, 0 traces outside",
        done.iter().sum::<u32>()
    );
}

/// Whether the call succeeded.
async fn one_call(scene: &Scene, which: u64) -> bool {
    let capability = mount_capability(AccessMode::SingleNodeWriter);
    let volume_id = scene.volume.id.clone();
    let staging_target_path = scene.machine.target(STAGING);
    let target_path = scene.machine.target(TARGET);
    match which {
        0 => {
            let request = StageVolume {
                volume_id,
                staging_target_path,
                capability,
            };
            scene.node.stage(request).await.is_ok()
        }
        1 => {
            let request = PublishVolume {
                volume_id,
                staging_target_path,
                target_path,
                capability,
                read_only: false,
            };
            scene.node.publish(request).await.is_ok()
        }
        2 => {
            let request = UnpublishVolume {
                volume_id,
                target_path,
            };
            scene.node.unpublish(request).await.is_ok()
        }
        _ => {
            let request = UnstageVolume {
                volume_id,
                staging_target_path,
            };
            scene.node.unstage(request).await.is_ok()
        }
    }
}

/// A driver that looks at the path first and then goes there by its name is found out.
#[test]
fn a_planted_check_before_use_is_found_out() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    build(&machine);
    let before = outside(&machine);
    let target = machine.path(&format!("kubelet/{TARGET}"));
    let swappers = Swappers::start(&machine, 1);
    let mut found = None;
    while found.is_none() && swappers.count() < 2_000_000 {
        if is_plain(&machine, TARGET)
            && fs::create_dir(&target).is_ok() | Path::new(&target).is_dir()
        {
            let mounted = tool(
                "mount",
                &["-t", "tmpfs", "-o", "size=64k", "planted", &target],
            );
            found = Some(outside(&machine)).filter(|now| mounted && *now != before);
            if mounted && found.is_none() {
                tool("umount", &[&target]);
            }
        }
    }
    let swaps = swappers.finish();
    for line in found.iter().flatten() {
        if let Some(mount) = line.strip_prefix("mount ") {
            assert!(tool("umount", &[mount]), "{mount}");
        }
    }
    assert!(found.is_some(), "not found out in {swaps} swaps");
}

fn is_plain(machine: &Machine, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    (1..=parts.len()).all(|length| {
        let part = machine.path(&format!("kubelet/{}", parts[..length].join("/")));
        !Path::new(&part).is_symlink()
    })
}
