//! The harness on trial: bugs that it must find.
//!
//! They are planted in the kernel's answers, so that none stands in the product: a system call that is answered with 0
//! without being done is a driver that forgot it. What no such answer can plant is done behind the driver's back.

use std::io::Write as _;
use std::time::Duration;

use crate::flow::advance;
use crate::lab::Lab;
use crate::machine::{is_root, tool};
use crate::refuse::suffer;
use crate::script::{Contents, Flow, Script, Step};
use crate::tracer::{Action, Fault, Select};
use crate::world::volume_id;

/// A bug: in which call, at which system call, and what the harness must say of it.
struct Plant {
    contents: Contents,
    flow: &'static str,
    at: (&'static str, usize),
    finding: &'static str,
}

const fn forgotten(
    contents: Contents,
    flow: &'static str,
    at: (&'static str, usize),
    finding: &'static str,
) -> Plant {
    Plant {
        contents,
        flow,
        at,
        finding,
    }
}

/// Plays the script up to the flow, and makes its call with the bug in it; what the harness says.
async fn finding(plant: &Plant, action: impl FnOnce(&Lab) -> Action) -> String {
    let mut lab = Lab::new("xfs", plant.contents).await;
    lab.settle = Duration::from_millis(500);
    let flow = at(&mut lab, plant.flow).await;
    let select = Select::Named(plant.at.0, plant.at.1);
    let fault = Fault::once(select, action(&lab));
    match suffer(&mut lab, &flow, fault, |_| true).await {
        Err(problem) => problem,
        Ok(code) => format!("nothing ({code:?})"),
    }
}

/// The flow of this name, with the script standing there.
pub(crate) async fn at(lab: &mut Lab, name: &str) -> Flow {
    for step in Script::steps(&lab.machine, lab.contents) {
        match step {
            Step::Try(flow) if flow.name == name => return flow,
            step => advance(lab, &step).await.expect("nothing is wrong yet"),
        }
    }
    panic!("there is no flow {name}");
}

/// A driver that leaves out a step of its work, and answers OK.
#[tokio::test]
async fn what_was_forgotten_is_found() {
    use Contents::{Block, Ext4, Xfs};
    if !is_root() {
        return;
    }
    let plants = [
        forgotten(Block, "create", ("linkat", 0), "files of volumes"),
        forgotten(Block, "create", ("fsetxattr", 0), "volume v1-"),
        forgotten(Block, "snapshot", ("linkat", 0), "files of snapshots"),
        forgotten(Block, "delete", ("unlinkat", 0), "files of volumes"),
        forgotten(
            Block,
            "delete snapshot",
            ("unlinkat", 0),
            "files of snapshots",
        ),
        forgotten(Block, "delete group", ("unlinkat", 1), "files of snapshots"),
        forgotten(
            Block,
            "controller publish",
            ("fsetxattr", 0),
            "published: false",
        ),
        forgotten(Block, "controller expand", ("ftruncate", 0), "bytes of"),
        forgotten(Xfs, "stage", ("move_mount", 0), "mounts"),
        forgotten(Block, "node publish", ("move_mount", 0), "mounts"),
        forgotten(
            Block,
            "node unpublish",
            ("unlinkat", 0),
            "places in the kubelet",
        ),
        forgotten(Ext4, "create", ("wait4", 0), "children of the driver"),
    ];
    for plant in plants {
        let found = finding(&plant, |_| Action::Pretend).await;
        assert!(
            found.contains(plant.finding),
            "{} without {:?}: {found}",
            plant.flow,
            plant.at
        );
    }
}

/// A driver that formats what it could not read.
#[tokio::test]
async fn a_format_of_an_existing_volume_is_found() {
    use Contents::{Block, Btrfs, Ext4, Xfs};
    if !is_root() {
        return;
    }
    let tools = [
        (Ext4, "mkfs.ext4"),
        (Xfs, "mkfs.xfs"),
        (Btrfs, "mkfs.btrfs"),
        (Block, "mkfs.btrfs"),
    ];
    for (contents, mkfs) in tools {
        let plant = forgotten(contents, "modify", ("fsetxattr", 0), "the image volumes/");
        let found = finding(&plant, |lab| {
            let image = format!("data/offshoot/volumes/{}", volume_id("base"));
            let image = lab.machine.path(&image);
            let force = if contents == Ext4 { "-F" } else { "-f" };
            let format = move || assert!(tool(mkfs, &["-q", force, &image]), "it formats");
            Action::Before(Box::new(format))
        });
        let found = found.await;
        assert!(found.contains(plant.finding), "{mkfs}: {found}");
    }
}

/// A driver that loses bytes, leaves a device, or panics and goes on.
#[tokio::test]
async fn what_happens_behind_the_drivers_back_is_found() {
    if !is_root() {
        return;
    }
    let plant = |flow, finding| forgotten(Contents::Xfs, flow, ("fsetxattr", 0), finding);
    let lost = plant("modify, in use", "lost acknowledged bytes");
    let found = finding(&lost, |lab| {
        let file = lab.machine.path("kubelet/base/file");
        Action::Before(Box::new(move || {
            std::fs::write(file, "other").expect("a file");
        }))
    });
    let found = found.await;
    assert!(
        found.contains(lost.finding) || found.contains("failed to fill"),
        "{found}"
    );

    let leaked = plant("modify", "loop devices");
    let found = finding(&leaked, |lab| {
        let image = format!("data/offshoot/volumes/{}", volume_id("base"));
        let image = lab.machine.path(&image);
        Action::Before(Box::new(move || {
            assert!(tool("losetup", &["-f", &image]), "a device");
        }))
    });
    let found = found.await;
    assert!(found.contains(leaked.finding), "{found}");

    let panic = plant("modify", "the driver panicked");
    let found = finding(&panic, |lab| {
        let log = lab.machine.path("driver.log");
        Action::Before(Box::new(move || {
            let log = std::fs::File::options().append(true).open(log);
            writeln!(log.expect("a log"), "thread 'x' panicked at src/x.rs:1:1:").expect("a line");
        }))
    });
    let found = found.await;
    assert!(found.contains(panic.finding), "{found}");
}
