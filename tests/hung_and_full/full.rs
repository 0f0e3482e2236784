//! Pools without room.

use std::fs;
use std::os::unix::fs::FileExt;

use offshoot::csi;
use tonic::Code;

use super::machine::Machine;
use super::machine::calls::{capability, create, volume_id, write_synced};
use super::machine::site::{Site, is_possible};
use super::world::{World, converge};

/// Takes what is left of the pool, but for `leave` bytes.
fn fill(machine: &Machine, leave: u64) -> String {
    let path = machine.path("data/filler");
    let shown = rustix::fs::statvfs(machine.path("data")).expect("it is measured");
    let wanted = (shown.f_bavail * shown.f_frsize).saturating_sub(leave);
    let file = fs::File::create(&path).expect("it is made");
    let (mut length, mut piece) = (0, wanted);
    // In ever smaller pieces: the filesystem needs a part for itself.
    while piece >= 1 << 16 && length < wanted {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&file, flags, length, piece.min(wanted - length)) {
            Ok(()) => length += piece.min(wanted - length),
            Err(_) => piece /= 2,
        }
    }
    // btrfs counts what was taken when it commits.
    rustix::fs::syncfs(&file).expect("it is synced");
    path
}

/// Filesystems give the room back a little later; btrfs when it commits.
fn make_room(machine: &Machine, filler: &str) {
    fs::remove_file(filler).expect("it is removed");
    let data = fs::File::open(machine.path("data")).expect("it opens");
    rustix::fs::syncfs(data).expect("it is synced");
}

#[tokio::test]
async fn a_full_pool_refuses_before_it_acknowledges() {
    if !is_possible() {
        return;
    }
    for kind in ["xfs", "ext4", "btrfs"] {
        let pool = Site::new(kind);
        let mut world = World::new(pool.machine).await;
        let calls = world.calls.clone();
        let ext4 = || capability(Some("ext4"));
        calls
            .create("v", ext4(), 64 << 20)
            .await
            .expect("it is made");
        let before = world.files();
        let filler = fill(&world.machine, 8 << 20);
        let mut thick = create("thick", capability(None), 64 << 20);
        thick
            .parameters
            .insert("provisioning".to_owned(), "thick".to_owned());
        let refused = [
            ("create", calls.create("new", ext4(), 64 << 20).await),
            (
                "thick",
                calls.controller().create_volume(thick).await.map(drop),
            ),
            ("snapshot", calls.snapshot("s", "v").await),
            ("expand", calls.expand("v", 128 << 20).await),
        ];
        for (what, answer) in refused {
            let code = answer.err().map(|it| it.code());
            assert_eq!(code, Some(Code::ResourceExhausted), "{what} on {kind}");
        }
        assert_eq!(world.files(), before, "nothing is left behind on {kind}");
        world.probe().await;
        make_room(&world.machine, &filler);
        converge("create", || calls.create("new", ext4(), 64 << 20)).await;
        converge("snapshot", || calls.snapshot("s", "v")).await;
        converge("expand", || calls.expand("v", 128 << 20)).await;
        world.life("other").await.expect("it works again");
    }
    eprintln!(
        "full: 12 calls refused on 3 full pools, nothing left behind, all done when there was room"
    );
}

/// No room for another inode: found only when the file is made.
#[tokio::test]
async fn a_pool_without_inodes_refuses_and_recovers() {
    if !is_possible() {
        return;
    }
    let pool = Site::made(64 << 20, "ext4", &["-q", "-F", "-N", "64"]);
    let mut world = World::new(pool.machine).await;
    let calls = world.calls.clone();
    let wanted = || capability(Some("ext4"));
    calls
        .create("pod", wanted(), 4 << 20)
        .await
        .expect("it is made");
    calls.bring("pod", wanted()).await.expect("it is there");
    let second = |path| csi::NodePublishVolumeRequest {
        volume_id: volume_id("pod").to_string(),
        staging_target_path: calls.staging("pod"),
        target_path: path,
        volume_capability: Some(wanted()),
        ..Default::default()
    };
    let published = calls
        .node()
        .node_publish_volume(second(calls.target("two")))
        .await;
    published.expect("pods of one node share it");
    let mut made = 0;
    let refused = loop {
        let name = format!("v{made}");
        match world.calls.create(&name, capability(None), 1 << 20).await {
            Ok(()) => made += 1,
            Err(status) => break status,
        }
        assert!(made < 64, "there are inodes for all");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(world.files().len(), made + 1);
    world.probe().await;
    // Once, the ledger of the other targets could not be written, and a pod could not end.
    calls
        .take_back("pod")
        .await
        .expect_err("the second target is left");
    let unpublish = csi::NodeUnpublishVolumeRequest {
        volume_id: volume_id("pod").to_string(),
        target_path: calls.target("two"),
    };
    calls
        .node()
        .node_unpublish_volume(unpublish)
        .await
        .expect("pods end on a full disk");
    calls
        .take_back("pod")
        .await
        .expect("pods end on a full disk");
    for number in 0..8 {
        world
            .calls
            .delete(&format!("v{number}"))
            .await
            .expect("it is deleted");
    }
    world.life("other").await.expect("there is room again");
}

/// The pool runs full below a thin volume: its filesystem gives errors, but what was synced before is there afterwards.
#[tokio::test]
async fn a_volume_whose_pool_runs_full_keeps_what_was_synced() {
    if !is_possible() {
        return;
    }
    for fs_type in ["ext4", "xfs"] {
        let pool = Site::new("xfs");
        let mut world = World::new(pool.machine).await;
        let wanted = || capability(Some(fs_type));
        world
            .calls
            .create("v", wanted(), 320 << 20)
            .await
            .expect("it is made");
        world.calls.bring("v", wanted()).await.expect("it is there");
        let target = world.calls.target("v");
        write_synced(&target, "synced", &vec![5; 1 << 20]).expect("it is synced");
        let filler = fill(&world.machine, 0);
        let more = fs::File::create(format!("{target}/more"));
        let failed = more.is_err_and(|_| true)
            || (0..300).any(|mib| {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(format!("{target}/more"));
                file.and_then(|it| {
                    it.write_all_at(&vec![9; 1 << 20], mib << 20)
                        .and_then(|()| it.sync_all())
                })
                .is_err()
            });
        assert!(failed, "300 MiB go into no room");
        world.probe().await;
        make_room(&world.machine, &filler);
        world.calls.take_back("v").await.expect("it is taken back");
        world
            .calls
            .bring("v", wanted())
            .await
            .expect("it is there again");
        let found = fs::read(format!("{target}/synced")).expect("it is there");
        assert!(
            found == vec![5; 1 << 20],
            "every synced byte is there on {fs_type}"
        );
        write_synced(&target, "after", b"bytes").expect("it can be written again");
        world.calls.take_back("v").await.expect("it is taken back");
    }
}
