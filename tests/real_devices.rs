//! The file backend and the Linux host on real loop devices, filesystems and mounts. Needs root; says so otherwise.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use offshoot::backend::file::{FileBackend, FileBackendConfig, OpenError, Role};
use offshoot::backend::{
    AttachMode, Backend, BackendError, Lifetime, NewContents, NewGroupSnapshot, NewSnapshot,
    NewVolume, Origin, conformance,
};
use offshoot::host::linux::LinuxHost;
use offshoot::node::{
    ExpandVolume, HealthPaths, NodePlugin, PublishError, PublishVolume, StageVolume,
    UnpublishError, UnpublishVolume, UnstageError, UnstageVolume,
};
use offshoot::volume::{
    AccessMode, AccessType, Bytes, Capability, Contents, Digest, FsType, GroupSnapshotId,
    HealthStatus, MountCapability, Name, NodeId, Provisioning, Settings, SnapshotId, Source,
    TargetPath, Volume, VolumeId,
};
use tempfile::TempDir;

/// Whether this process may make devices; a line that says so otherwise.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: real devices need root");
    }
    root
}

fn tool(name: &str, arguments: &[&str]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "tests look from outside")]
    let status = Command::new(name).args(arguments).output();
    status.expect("the tool is installed").status.success()
}

/// A directory on a filesystem of its own, with a kubelet's directory beside it.
struct Machine {
    dir: TempDir,
    mounted: bool,
}

impl Machine {
    /// On whatever holds temporary files.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["data", "kubelet"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        Self {
            dir,
            mounted: false,
        }
    }

    /// With a data directory on this filesystem.
    fn on(kind: &str) -> Self {
        let mut machine = Self::new();
        let (data, image) = (machine.path("data"), machine.path("image"));
        let mounted = if kind == "tmpfs" {
            tool("mount", &["-t", "tmpfs", "-o", "size=8g", "test", &data])
        } else {
            let file = fs::File::create(&image).expect("an image");
            file.set_len(8 << 30).expect("a sparse image");
            let force = if kind == "ext4" { "-F" } else { "-f" };
            tool(&format!("mkfs.{kind}"), &["-q", force, &image])
                && tool("mount", &["-o", "loop", &image, &data])
        };
        assert!(mounted, "{kind} can be mounted");
        machine.mounted = true;
        machine
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn config(&self) -> FileBackendConfig {
        FileBackendConfig {
            data_dir: self.dir.path().join("data/offshoot"),
            role: Role::Controller,
            node_id: NodeId::parse("n").expect("an id"),
            reserve_percent: 5,
            topology_key: "topology.offshoot.dev/node".to_owned(),
        }
    }

    fn backend(&self) -> Arc<FileBackend> {
        Arc::new(FileBackend::open(self.config()).expect("it opens"))
    }

    fn node(&self, backend: Arc<FileBackend>) -> NodePlugin {
        let host = LinuxHost::new(
            &self.dir.path().join("kubelet"),
            &self.dir.path().join("data/state"),
        );
        NodePlugin::new(backend, Arc::new(host.expect("this is a Linux host")))
    }

    fn target(&self, name: &str) -> TargetPath {
        let kubelet = self.dir.path().join("kubelet");
        let path = kubelet.join(name).display().to_string();
        TargetPath::parse(&kubelet, &path).expect("a path")
    }

    fn volume_file(&self, id: &VolumeId) -> PathBuf {
        self.dir
            .path()
            .join("data/offshoot/volumes")
            .join(id.as_str())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let kubelet = self.path("kubelet");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let mut mounts: Vec<&str> = points.filter(|it| it.starts_with(&kubelet)).collect();
        mounts.reverse();
        for mount in mounts {
            tool("umount", &[mount]);
        }
        // A test that failed may have left its device.
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let behind =
                fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if behind.starts_with(&self.path("data/")) {
                tool(
                    "losetup",
                    &["-d", &format!("/dev/{}", entry.file_name().display())],
                );
            }
        }
        if self.mounted {
            tool("umount", &[&self.path("data")]);
        }
    }
}

fn new_volume(name: &str, contents: NewContents, size: u64) -> NewVolume {
    let name = Name::parse(name).expect("a name");
    NewVolume {
        id: VolumeId::for_name(&name),
        name,
        size: Bytes(size << 20),
        origin: Origin::New(contents),
        settings: Settings::default(),
        request: Digest::of(&[]),
    }
}

fn copy_of(source: Source, name: &str, size: u64) -> NewVolume {
    NewVolume {
        origin: Origin::Copy(source),
        ..new_volume(name, NewContents::Block, size)
    }
}

fn mount_capability(access_mode: AccessMode) -> Capability {
    Capability {
        access_mode,
        access_type: AccessType::Mount(MountCapability::default()),
    }
}

fn block_capability() -> Capability {
    Capability {
        access_mode: AccessMode::SingleNodeMultiWriter,
        access_type: AccessType::Block,
    }
}

/// A pod on a machine: stages and publishes.
struct Pod<'a> {
    machine: &'a Machine,
    node: &'a NodePlugin,
    volume: &'a Volume,
    capability: Capability,
}

impl Pod<'_> {
    async fn stage(&self) -> Result<(), offshoot::node::StageError> {
        let staging = self.machine.target("staging");
        fs::create_dir_all(staging.to_path_buf()).expect("a directory");
        let request = StageVolume {
            volume_id: self.volume.id.clone(),
            staging_target_path: staging,
            capability: self.capability.clone(),
        };
        self.node.stage(request).await
    }

    async fn publish(&self, target: &str, read_only: bool) -> Result<PathBuf, PublishError> {
        let target_path = self.machine.target(target);
        let request = PublishVolume {
            volume_id: self.volume.id.clone(),
            staging_target_path: self.machine.target("staging"),
            target_path: target_path.clone(),
            capability: self.capability.clone(),
            read_only,
        };
        self.node
            .publish(request)
            .await
            .map(|()| target_path.to_path_buf())
    }

    async fn unpublish(&self, target: &str) -> Result<(), UnpublishError> {
        let request = UnpublishVolume {
            volume_id: self.volume.id.clone(),
            target_path: self.machine.target(target),
        };
        self.node.unpublish(request).await
    }

    async fn unstage(&self) -> Result<(), UnstageError> {
        let request = UnstageVolume {
            volume_id: self.volume.id.clone(),
            staging_target_path: self.machine.target("staging"),
        };
        self.node.unstage(request).await
    }
}

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
async fn clones_are_mounted_beside_their_source_and_larger_ones_grow() {
    if !is_root() {
        return;
    }
    for (fs, size) in [(FsType::Ext4, 64), (FsType::Xfs, 320), (FsType::Btrfs, 256)] {
        let machine = Machine::on("xfs");
        let backend = machine.backend();
        let node = machine.node(backend.clone());
        let volume = backend
            .create_volume(new_volume("v", NewContents::Filesystem(fs), size))
            .await
            .expect("it is made");
        let capability = mount_capability(AccessMode::SingleNodeWriter);
        let pod = Pod {
            machine: &machine,
            node: &node,
            volume: &volume,
            capability: capability.clone(),
        };
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
        let machine = Machine::new();
        let backend = machine.backend();
        let node = machine.node(backend.clone());
        let volume = backend
            .create_volume(new_volume("v", NewContents::Filesystem(fs), size))
            .await
            .expect("it is made");
        let capability = mount_capability(AccessMode::SingleNodeWriter);
        let pod = Pod {
            machine: &machine,
            node: &node,
            volume: &volume,
            capability,
        };
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
    let machine = Machine::new();
    let backend = machine.backend();
    let node = machine.node(backend.clone());
    let volume = backend
        .create_volume(new_volume("v", NewContents::Filesystem(FsType::Ext4), 64))
        .await
        .expect("it is made");
    let capability = mount_capability(AccessMode::SingleNodeMultiWriter);
    let pod = Pod {
        machine: &machine,
        node: &node,
        volume: &volume,
        capability,
    };
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
    let machine = Machine::new();
    let backend = machine.backend();
    let node = machine.node(backend.clone());
    let volume = backend
        .create_volume(new_volume("v", NewContents::Filesystem(FsType::Ext4), 64))
        .await
        .expect("it is made");
    let capability = mount_capability(AccessMode::SingleNodeWriter);
    let pod = Pod {
        machine: &machine,
        node: &node,
        volume: &volume,
        capability,
    };
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
    let machine = Machine::new();
    let backend = machine.backend();
    let node = machine.node(backend.clone());
    let volume = backend
        .create_volume(new_volume("v", NewContents::Filesystem(FsType::Ext4), 64))
        .await
        .expect("it is made");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(machine.volume_file(&volume.id))
        .expect("it is there");
    let zeros = vec![0; 1 << 20];
    let other_filesystem = {
        let mut head = zeros.clone();
        head[..4].copy_from_slice(b"XFSB");
        head
    };
    let table = {
        let mut head = zeros.clone();
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head
    };
    let capability = mount_capability(AccessMode::SingleNodeWriter);
    let pod = Pod {
        machine: &machine,
        node: &node,
        volume: &volume,
        capability,
    };
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
    let machine = Machine::new();
    let backend = machine.backend();
    let node = machine.node(backend.clone());
    let volume = backend
        .create_volume(new_volume("v", NewContents::Block, 16))
        .await
        .expect("it is made");
    assert_eq!(volume.contents, Contents::Block);
    let pod = Pod {
        machine: &machine,
        node: &node,
        volume: &volume,
        capability: block_capability(),
    };
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
    let pod = Pod {
        capability: reader,
        ..pod
    };
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
