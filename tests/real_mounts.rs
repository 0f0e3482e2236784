//! The node half on real filesystems and mounts. Needs root; says so otherwise.

mod machine;

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use machine::{Machine, Scene, block_capability, copy_of, is_root, mount_capability, tool};
use offshoot::backend::{Backend, NewContents};
use offshoot::node::{
    ExpandVolume, HealthPaths, PublishError, StageVolume, UnpublishError, UnstageError,
    UnstageVolume,
};
use offshoot::volume::{AccessMode, Bytes, Capability, Contents, FsType, Source};

#[tokio::test]
async fn clones_are_mounted_beside_their_source_and_larger_ones_grow() {
    if !is_root() {
        return;
    }
    for (fs, size) in [(FsType::Ext4, 64), (FsType::Xfs, 320), (FsType::Btrfs, 256)] {
        let scene = Scene::new(Machine::on("xfs"), NewContents::Filesystem(fs), size).await;
        let Scene {
            node,
            backend,
            volume,
            machine,
        } = &scene;
        let capability = mount_capability(AccessMode::SingleNodeWriter);
        let pod = scene.pod(capability.clone());
        pod.stage().await.expect("it is staged");
        let target = pod.publish("pod", false).await.expect("it is published");
        fs::write(target.join("file"), "acknowledged").expect("it is written");
        fs::File::open(target.join("file"))
            .and_then(|it| it.sync_all())
            .expect("it is synced");
        let copy = copy_of(Source::Volume(volume.id.clone()), "clone", size * 2);
        let copy = backend.create_volume(copy).await.expect("it is cloned");
        assert_eq!(copy.contents, volume.contents);
        let staging = machine.target("clone-staging");
        fs::create_dir(staging.to_path_buf()).expect("a directory");
        let request = StageVolume {
            volume_id: copy.id.clone(),
            staging_target_path: staging.clone(),
            capability,
        };
        node.stage(request)
            .await
            .expect("the clone is staged beside its source");
        let text = fs::read_to_string(staging.to_path_buf().join("file")).expect("it is there");
        assert_eq!(text, "acknowledged", "{fs}");
        let shown = rustix::fs::statvfs(staging.to_path_buf()).expect("it is mounted");
        assert!(
            shown.f_blocks * shown.f_frsize > size << 20,
            "{fs} has grown"
        );
        let stats = node
            .stats(&copy.id, &staging)
            .await
            .expect("it is measured");
        assert!(stats.bytes.total > size << 20);
        let request = UnstageVolume {
            volume_id: copy.id.clone(),
            staging_target_path: staging,
        };
        node.unstage(request).await.expect("it is unstaged");
        backend
            .delete_volume(&copy.id)
            .await
            .expect("it is deleted");
        pod.unpublish("pod").await.expect("it is unpublished");
        pod.unstage().await.expect("it is unstaged");
        assert_eq!(
            backend.attached(&volume.id).await.expect("it is known"),
            None
        );
    }
}

#[tokio::test]
async fn a_mounted_filesystem_grows() {
    if !is_root() {
        return;
    }
    for (fs, size) in [(FsType::Xfs, 320), (FsType::Btrfs, 256)] {
        let scene = Scene::new(Machine::new(), NewContents::Filesystem(fs), size).await;
        let Scene {
            node,
            backend,
            volume,
            machine,
        } = &scene;
        let pod = scene.pod(mount_capability(AccessMode::SingleNodeWriter));
        pod.stage().await.expect("it is staged");
        let target = pod.publish("pod", false).await.expect("it is published");
        backend
            .grow_volume(&volume.id, Bytes(size << 21))
            .await
            .expect("it grows");
        let expand = ExpandVolume {
            volume_id: volume.id.clone(),
            volume_path: machine.target("pod"),
            capacity: None,
        };
        for _ in 0..2 {
            let grown = node.expand(expand.clone()).await.expect("it is as large");
            assert_eq!(grown, Bytes(size << 21));
        }
        let shown = rustix::fs::statvfs(&target).expect("it is mounted");
        assert!(
            shown.f_blocks * shown.f_frsize > size << 20,
            "{fs} has grown"
        );
        pod.unpublish("pod").await.expect("it is unpublished");
        pod.unstage().await.expect("it is unstaged");
    }
}

#[tokio::test]
async fn mounts_are_as_asked_for_and_gone_afterwards() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Filesystem(FsType::Ext4), 64).await;
    let Scene {
        backend,
        volume,
        machine,
        ..
    } = &scene;
    let pod = scene.pod(mount_capability(AccessMode::SingleNodeMultiWriter));
    let early = pod.publish("pod", false).await;
    assert!(
        matches!(early, Err(PublishError::NotStaged { .. })),
        "{early:?}"
    );
    for _ in 0..2 {
        pod.stage().await.expect("it is staged");
        pod.publish("pod", false).await.expect("it is published");
    }
    let reader = pod
        .publish("reader", true)
        .await
        .expect("it is published again");
    assert!(fs::write(reader.join("x"), "x").is_err(), "read-only");
    fs::write(machine.target("pod").to_path_buf().join("x"), "x").expect("writable");
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a table");
    let ours: Vec<&str> = table
        .lines()
        .filter(|line| line.contains(&machine.path("kubelet")))
        .collect();
    assert_eq!(ours.len(), 3);
    assert!(
        ours.iter()
            .all(|line| line.contains("nosuid") && line.contains("nodev")),
        "{ours:?}"
    );
    let refused = pod.unstage().await;
    assert!(
        matches!(refused, Err(UnstageError::Published { .. })),
        "{refused:?}"
    );
    // Somebody works in the mount: it is not taken away under him.
    let open = fs::File::open(machine.target("pod").to_path_buf().join("x")).expect("it is there");
    assert!(pod.unpublish("pod").await.is_err(), "busy");
    drop(open);
    for target in ["pod", "reader", "reader", "never"] {
        pod.unpublish(target).await.expect("it is unpublished");
        assert!(!machine.target(target).to_path_buf().exists());
    }
    for _ in 0..2 {
        pod.unstage().await.expect("it is unstaged");
    }
    assert_eq!(
        backend.attached(&volume.id).await.expect("it is known"),
        None
    );
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Filesystem(FsType::Ext4), 64).await;
    let Scene { machine, .. } = &scene;
    let pod = scene.pod(mount_capability(AccessMode::SingleNodeWriter));
    let foreign = machine.path("kubelet/foreign");
    fs::create_dir(&foreign).expect("a directory");
    assert!(tool("mount", &["-t", "tmpfs", "foreign", &foreign]));
    pod.stage().await.expect("it is staged");
    let refused = pod.publish("foreign", false).await;
    assert!(
        matches!(refused, Err(PublishError::Occupied { .. })),
        "{refused:?}"
    );
    let refused = pod.unpublish("foreign").await;
    assert!(
        matches!(refused, Err(UnpublishError::Foreign { .. })),
        "{refused:?}"
    );
    assert!(tool("mountpoint", &["-q", &foreign]), "it is still mounted");
    // A symlink leads nowhere, on the way or at the end.
    let outside = machine.path("outside");
    fs::create_dir(&outside).expect("a directory");
    symlink(&outside, machine.path("kubelet/link")).expect("a symlink");
    for target in ["link", "link/below"] {
        assert!(pod.publish(target, false).await.is_err(), "{target}");
        assert!(pod.unpublish(target).await.is_err(), "{target}");
    }
    assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0);
    // A directory with somebody's files is not removed.
    fs::create_dir(machine.path("kubelet/full")).expect("a directory");
    fs::write(machine.path("kubelet/full/file"), "data").expect("a file");
    assert!(pod.unpublish("full").await.is_err());
    assert!(Path::new(&machine.path("kubelet/full/file")).exists());
    pod.unstage().await.expect("it is unstaged");
}

#[tokio::test]
async fn nothing_is_ever_formatted_at_stage() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Filesystem(FsType::Ext4), 64).await;
    let Scene {
        backend,
        volume,
        machine,
        ..
    } = &scene;
    let pod = scene.pod(mount_capability(AccessMode::SingleNodeWriter));
    let file = fs::OpenOptions::new()
        .write(true)
        .open(machine.volume_file(&volume.id));
    let file = file.expect("it is there");
    let zeros = vec![0; 1 << 20];
    let mut other_filesystem = zeros.clone();
    other_filesystem[..4].copy_from_slice(b"XFSB");
    let mut table = zeros.clone();
    table[510..512].copy_from_slice(&[0x55, 0xaa]);
    for head in [zeros, other_filesystem, table] {
        file.write_all_at(&head, 0).expect("it is overwritten");
        file.sync_all().expect("it is synced");
        let refused = pod.stage().await;
        assert!(
            matches!(
                refused,
                Err(offshoot::node::StageError::FilesystemGone { .. })
            ),
            "{refused:?}"
        );
        let now = fs::read(machine.volume_file(&volume.id)).expect("it is there");
        assert!(now[..head.len()] == head, "not a byte was written");
        pod.unstage().await.expect("its device is taken away");
    }
    assert_eq!(
        backend.attached(&volume.id).await.expect("it is known"),
        None
    );
}

#[tokio::test]
async fn a_raw_block_volume_is_a_device_that_stays_until_it_is_unstaged() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Machine::new(), NewContents::Block, 16).await;
    let Scene {
        node,
        backend,
        volume,
        machine,
    } = &scene;
    assert_eq!(volume.contents, Contents::Block);
    let pod = scene.pod(block_capability());
    pod.stage().await.expect("it is staged");
    let target = pod.publish("pod", false).await.expect("it is published");
    let device = fs::OpenOptions::new()
        .write(true)
        .open(&target)
        .expect("a device");
    device
        .write_all_at(&[7; 4096], 8192)
        .expect("it is written");
    device.sync_all().expect("it is synced");
    let health = node
        .volume_health(&volume.id, HealthPaths::default())
        .await
        .expect("it is known");
    assert!(health.is_empty(), "{health:?}");
    drop(device);
    let bytes = fs::read(machine.volume_file(&volume.id)).expect("it is there");
    assert_eq!(bytes[8192..12288], [7; 4096]);
    // Who may only read gets a mount of its own, which tells so.
    let reader = pod.publish("reader", true).await.expect("it is published");
    pod.publish("reader", true)
        .await
        .expect("it is published already");
    let mut read = [0; 4096];
    let opened = fs::File::open(reader).expect("a device");
    opened.read_exact_at(&mut read, 8192).expect("it is read");
    assert_eq!(read, [7; 4096]);
    drop(opened);
    let changed = pod.publish("reader", false).await;
    assert!(
        matches!(changed, Err(PublishError::Incompatible { .. })),
        "{changed:?}"
    );
    pod.unpublish("reader").await.expect("it is unpublished");
    let refused = pod.unstage().await;
    assert!(
        matches!(refused, Err(UnstageError::Published { .. })),
        "{refused:?}"
    );
    // Whoever has it open keeps it, though nothing is bound any more.
    let attached = backend.attached(&volume.id).await.expect("it is known");
    let held = fs::File::open(attached.expect("a device").path).expect("a device");
    pod.unpublish("pod").await.expect("it is unpublished");
    let refused = pod.unstage().await;
    assert!(
        matches!(refused, Err(UnstageError::Busy { .. })),
        "{refused:?}"
    );
    drop(held);
    pod.unstage().await.expect("it is unstaged");
    assert_eq!(
        backend.attached(&volume.id).await.expect("it is known"),
        None
    );
    let reader = Capability {
        access_mode: AccessMode::SingleNodeReaderOnly,
        ..block_capability()
    };
    let pod = scene.pod(reader);
    pod.stage().await.expect("it is staged read-only");
    let target = pod.publish("pod", true).await.expect("it is published");
    let written = fs::OpenOptions::new()
        .write(true)
        .open(target)
        .and_then(|it| {
            it.write_all_at(&[9; 4096], 0)?;
            it.sync_all()
        });
    assert!(written.is_err(), "the device refuses writers");
    pod.unpublish("pod").await.expect("it is unpublished");
    pod.unstage().await.expect("it is unstaged");
}
