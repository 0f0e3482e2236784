//! The file backend on real loop devices. Needs root; says so otherwise.

mod machine;

use std::fs;
use std::path::Path;

use machine::{Machine, copy_of, is_root, new_volume, tool};
use offshoot::backend::file::{FileBackend, OpenError};
use offshoot::backend::{
    AttachMode, Backend, BackendError, Lifetime, NewContents, NewGroupSnapshot, NewSnapshot,
    conformance,
};
use offshoot::volume::{
    Bytes, FsType, GroupSnapshotId, HealthStatus, Name, Provisioning, Settings, SnapshotId, Source,
};

#[tokio::test]
async fn the_file_backend_conforms_on_every_filesystem() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "xfs", "btrfs", "tmpfs"] {
        let machine = Machine::on(kind);
        let backend = machine.backend();
        conformance::run(backend.as_ref()).await;
        conformance::run_node(backend.as_ref()).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let backend = machine.backend();
    let volume = backend
        .create_volume(new_volume("v", NewContents::Filesystem(FsType::Ext4), 64))
        .await;
    let volume = volume.expect("it is made");
    let name = Name::parse("s").expect("a name");
    let snapshot = NewSnapshot {
        id: SnapshotId::for_name(&name),
        name,
        source: volume.id.clone(),
    };
    let snapshot = backend.create_snapshot(snapshot).await.expect("it is cut");
    let name = Name::parse("g").expect("a name");
    let group = NewGroupSnapshot {
        id: GroupSnapshotId::for_name(&name),
        name,
        sources: vec![volume.id.clone()],
    };
    let group = backend.create_group(group).await.expect("it is cut");
    drop(backend);
    let backend = machine.backend();
    assert_eq!(
        backend.volume(&volume.id).await.expect("it is there"),
        volume
    );
    assert_eq!(
        backend.snapshot(&snapshot.id).await.expect("it is there"),
        snapshot
    );
    assert_eq!(backend.group(&group.id).await.expect("it is there"), group);
    drop(backend);
    // A group without its commit was never finished: its members go, other snapshots stay.
    fs::remove_file(machine.path("data/offshoot/groups") + "/" + group.id.as_str())
        .expect("it is there");
    let backend = machine.backend();
    let member = backend.snapshot(&group.snapshots[0].id).await;
    assert!(
        matches!(member, Err(BackendError::NotFound(_))),
        "{member:?}"
    );
    backend.snapshot(&snapshot.id).await.expect("it stays");
}

#[tokio::test]
async fn a_damaged_record_quarantines_its_volume_alone() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let backend = machine.backend();
    let good = backend
        .create_volume(new_volume("good", NewContents::Block, 16))
        .await
        .expect("it is made");
    let bad = backend
        .create_volume(new_volume("bad", NewContents::Block, 16))
        .await
        .expect("it is made");
    let file = fs::File::open(machine.volume_file(&bad.id)).expect("it is there");
    rustix::fs::fsetxattr(
        &file,
        "user.offshoot.record",
        b"\x01junk",
        rustix::fs::XattrFlags::empty(),
    )
    .expect("it is damaged");
    drop(backend);
    let backend = machine.backend();
    backend
        .volume(&good.id)
        .await
        .expect("the other is not touched");
    let refused = [
        backend.volume(&bad.id).await.err(),
        backend.delete_volume(&bad.id).await.err(),
        backend
            .create_volume(new_volume("bad", NewContents::Block, 16))
            .await
            .err(),
    ];
    assert!(
        machine.volume_file(&bad.id).exists(),
        "its bytes are untouched"
    );
    assert!(
        matches!(refused[0], Some(BackendError::Damaged { .. })),
        "{refused:?}"
    );
    assert!(
        matches!(refused[1], Some(BackendError::Damaged { .. })),
        "{refused:?}"
    );
    assert!(refused[2].is_some(), "{refused:?}");
    let unhealthy = backend.unhealthy_volumes().await.expect("a list");
    assert_eq!(unhealthy.len(), 1);
    assert_eq!(unhealthy[0].1[0].reason, "RecordDamaged");
    // A file that became too short is lost data, and is not attached.
    fs::OpenOptions::new()
        .write(true)
        .open(machine.volume_file(&good.id))
        .and_then(|it| it.set_len(4096))
        .expect("it is cut");
    let health = backend.volume_health(&good.id).await.expect("it is known");
    assert_eq!(
        (health[0].status, health[0].reason),
        (HealthStatus::DataLoss, "BackingFileTruncated")
    );
    let mode = AttachMode {
        read_only: false,
        lifetime: Lifetime::UntilDetached,
    };
    assert!(backend.attach(&good.id, mode).await.is_err());
}

/// Once, making a group anew whose record was damaged removed the members that it had: the clean-up of a commit that
/// failed went by names, and took what was there before for its own.
#[tokio::test]
async fn a_damaged_group_keeps_its_members() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let backend = machine.backend();
    let volume = backend
        .create_volume(new_volume("member", NewContents::Block, 16))
        .await
        .expect("it is made");
    let name = Name::parse("group").expect("a name");
    let new = NewGroupSnapshot {
        id: GroupSnapshotId::for_name(&name),
        name,
        sources: vec![volume.id],
    };
    let group = backend.create_group(new.clone()).await.expect("it is cut");
    let data = machine.volume_file(&group.snapshots[0].source);
    let data = data
        .parent()
        .and_then(Path::parent)
        .expect("the data directory");
    let file = fs::File::open(data.join("groups").join(new.id.as_str())).expect("it is there");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::fsetxattr(&file, "user.offshoot.record", b"\x01junk", flags).expect("damaged");
    drop(backend);
    let backend = machine.backend();
    let member = data.join("snapshots").join(group.snapshots[0].id.as_str());
    let before = rustix::fs::stat(&member).expect("it is there").st_ino;
    let refused = backend.create_group(new.clone()).await;
    assert!(
        matches!(refused, Err(BackendError::Damaged { .. })),
        "{refused:?}"
    );
    let after = rustix::fs::stat(&member).expect("it is still there").st_ino;
    assert_eq!(before, after);
    let refused = backend.delete_group(&new.id).await;
    assert!(
        matches!(refused, Err(BackendError::Damaged { .. })),
        "{refused:?}"
    );
}

#[test]
fn only_our_own_directory_is_used_and_by_one_controller() {
    let machine = Machine::new();
    let first = machine.backend();
    let second = FileBackend::open(machine.config()).err();
    assert!(matches!(second, Some(OpenError::Locked(_))), "{second:?}");
    drop(first);
    fs::remove_file(machine.path("data/offshoot/offshoot")).expect("it is there");
    let lost = FileBackend::open(machine.config()).err();
    assert!(matches!(lost, Some(OpenError::Foreign { .. })), "{lost:?}");
}

#[tokio::test]
async fn settings_really_change_the_device() {
    if !is_root() {
        return;
    }
    let machine = Machine::on("xfs");
    let backend = machine.backend();
    let volume = backend
        .create_volume(new_volume("v", NewContents::Block, 64))
        .await
        .expect("it is made");
    let mode = AttachMode {
        read_only: false,
        lifetime: Lifetime::UntilDetached,
    };
    let device = backend
        .attach(&volume.id, mode)
        .await
        .expect("it is attached")
        .device;
    let name = device.path.file_name().expect("a name").to_owned();
    let shown = |setting: &str| {
        let path = Path::new("/sys/block").join(&name).join(setting);
        fs::read_to_string(path)
            .expect("a setting")
            .trim()
            .to_owned()
    };
    assert_eq!(shown("loop/dio"), "1");
    assert_ne!(shown("queue/discard_max_bytes"), "0");
    let settings = Settings {
        provisioning: Provisioning::Thick,
        read_ahead_kib: Some(512),
        direct_io: false,
    };
    backend
        .modify_volume(&volume.id, settings)
        .await
        .expect("it is changed");
    assert_eq!(shown("queue/read_ahead_kb"), "512");
    assert_eq!(shown("loop/dio"), "0");
    assert_eq!(shown("queue/discard_max_bytes"), "0");
    let allocated = std::os::unix::fs::MetadataExt::blocks(
        &fs::metadata(machine.volume_file(&volume.id)).expect("a file"),
    ) * 512;
    assert!(allocated >= volume.size.0, "thick means allocated");
    backend
        .modify_volume(&volume.id, Settings::default())
        .await
        .expect("it is changed");
    // The kernel gives discard back only to another device: the change to thin shows when it is attached again.
    backend.detach(&volume.id).await.expect("it is detached");
    let device = backend.attach(&volume.id, mode).await;
    let device = device.expect("it is attached").device;
    let name = device.path.file_name().expect("a name").to_owned();
    let path = Path::new("/sys/block").join(&name);
    let offered = fs::read_to_string(path.join("queue/discard_max_bytes")).expect("a setting");
    assert_ne!(offered.trim(), "0");
    backend.detach(&volume.id).await.expect("it is detached");
}

#[tokio::test]
async fn a_thick_copy_has_space_of_its_own() {
    if !is_root() {
        return;
    }
    let machine = Machine::on("xfs");
    let backend = machine.backend();
    let volume = backend
        .create_volume(new_volume("v", NewContents::Block, 64))
        .await
        .expect("it is made");
    let bytes = vec![7; 64 << 20];
    fs::write(machine.volume_file(&volume.id), bytes).expect("it is written");
    let free = || {
        // XFS holds more than was written until it is on the disk.
        assert!(tool("sync", &["-f", &machine.path("data")]));
        let shown = rustix::fs::statvfs(machine.path("data")).expect("it is mounted");
        shown.f_bfree * shown.f_frsize
    };
    let mut copy = copy_of(Source::Volume(volume.id.clone()), "thin", 64);
    let before = free();
    backend
        .create_volume(copy.clone())
        .await
        .expect("it is cloned");
    assert!(
        before.saturating_sub(free()) < 8 << 20,
        "a thin copy shares"
    );
    copy = copy_of(Source::Volume(volume.id), "thick", 64);
    copy.settings.provisioning = Provisioning::Thick;
    let before = free();
    backend.create_volume(copy).await.expect("it is cloned");
    assert!(
        before.saturating_sub(free()) >= 64 << 20,
        "a thick copy does not"
    );
}

#[tokio::test]
async fn the_reserve_is_kept_and_its_loss_is_told() {
    if !is_root() {
        return;
    }
    let machine = Machine::on("tmpfs");
    let mut config = machine.config();
    config.reserve_percent = 100;
    let backend = FileBackend::open(config).expect("it opens");
    let refused = backend
        .create_volume(new_volume("v", NewContents::Block, 1))
        .await;
    assert!(
        matches!(refused, Err(BackendError::NoSpace { .. })),
        "{refused:?}"
    );
    let health = backend.storage_health().await.expect("it is known");
    assert_eq!(health[0].reason, "PoolBelowReserve");
    let capacity = backend
        .capacity(Provisioning::Thin)
        .await
        .expect("it is known");
    assert_eq!(
        (capacity.available, capacity.maximum_volume_size),
        (Bytes(0), Bytes(0))
    );
}

#[tokio::test]
async fn a_data_directory_that_went_away_is_not_an_empty_one() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let backend = machine.backend();
    let data = machine.path("data/offshoot");
    fs::rename(&data, machine.path("data/elsewhere")).expect("it is moved");
    let health = backend.storage_health().await.expect("it is known");
    assert_eq!(health[0].reason, "DataDirectoryGone");
    let refused = backend
        .create_volume(new_volume("v", NewContents::Block, 1))
        .await;
    assert!(
        matches!(refused, Err(BackendError::Unavailable(_))),
        "{refused:?}"
    );
}
