//! A machine to try things on: real loop devices, filesystems and mounts, gone when the test ends.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod calls;
pub(crate) mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use offshoot::backend::file::{FileBackend, FileBackendConfig, OpenError, Role};
use offshoot::backend::{Backend, NewContents, NewVolume, Origin};
use offshoot::host::linux::LinuxHost;
use offshoot::node::{
    NodePlugin, PublishError, PublishVolume, StageVolume, UnpublishError, UnpublishVolume,
    UnstageError, UnstageVolume,
};
use offshoot::volume::{
    AccessMode, AccessType, Bytes, Capability, Digest, MountCapability, Name, NodeId, Settings,
    Source, TargetPath, Volume, VolumeId,
};
use tempfile::TempDir;

/// Whether this process may make devices; a line that says so otherwise.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: real devices need root");
    }
    root
}

pub(crate) fn tool(name: &str, arguments: &[&str]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "tests look from outside")]
    let status = Command::new(name).args(arguments).output();
    status.expect("the tool is installed").status.success()
}

/// Unmounts everything below a directory, the last first.
pub(crate) fn unmount_below(directory: &str) {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut mounts: Vec<&str> = points.filter(|it| it.starts_with(directory)).collect();
    mounts.reverse();
    for mount in mounts {
        tool("umount", &[mount]);
    }
}

/// Mounts an image; again when another process was quicker to take the free loop device.
fn mount_image(kind: &str, image: &str, at: &str) -> bool {
    (0..5).any(|attempt| {
        std::thread::sleep(std::time::Duration::from_millis(attempt * 50));
        tool("mount", &["-t", kind, "-o", "loop", image, at])
    })
}

/// A directory on a filesystem of its own, with a kubelet's directory beside it.
pub(crate) struct Machine {
    pub(crate) dir: TempDir,
    mounted: bool,
}

impl Machine {
    /// On whatever holds temporary files.
    pub(crate) fn new() -> Self {
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
    pub(crate) fn on(kind: &str) -> Self {
        let mut machine = Self::new();
        let (data, image) = (machine.path("data"), machine.path("image"));
        let mounted = if kind == "tmpfs" {
            tool("mount", &["-t", "tmpfs", "-o", "size=8g", "test", &data])
        } else {
            let file = fs::File::create(&image).expect("an image");
            file.set_len(8 << 30).expect("a sparse image");
            let force = if kind == "ext4" { "-F" } else { "-f" };
            tool(&format!("mkfs.{kind}"), &["-q", force, &image])
                && mount_image(kind, &image, &data)
        };
        assert!(mounted, "{kind} can be mounted");
        machine.mounted = true;
        machine
    }

    /// With a data directory on the filesystem of this image; `None` when that cannot be mounted.
    pub(crate) fn over(image: &Path, kind: &str) -> Option<Self> {
        let mut machine = Self::new();
        let (data, image) = (machine.path("data"), image.display().to_string());
        machine.mounted = mount_image(kind, &image, &data);
        machine.mounted.then_some(machine)
    }

    /// The driver, to be started on this machine.
    pub(crate) fn driver(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the binary under test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_offshoot"));
        command
            .args(["serve", "--node-id", "n", "--log-level", "off"])
            .args(["--endpoint", &format!("unix://{}", self.path("csi.sock"))])
            .args(["--data-dir", &self.path("data/offshoot")])
            .args(["--kubelet-dir", &self.path("kubelet")])
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What a directory holds.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).expect("it is there");
        let names = entries.flatten().map(|it| it.file_name());
        names.map(|it| it.display().to_string()).collect()
    }

    /// The mounts in the kubelet's directory, one on another twice.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let kubelet = self.path("kubelet/");
        let mounts = points.filter(|it| it.starts_with(&kubelet));
        mounts.map(str::to_owned).collect()
    }

    pub(crate) fn config(&self) -> FileBackendConfig {
        FileBackendConfig {
            data_dir: self.dir.path().join("data/offshoot"),
            role: Role::Controller,
            node_id: NodeId::parse("n").expect("an id"),
            reserve_percent: 5,
            topology_key: "topology.offshoot.dev/node".to_owned(),
        }
    }

    pub(crate) fn backend(&self) -> Arc<FileBackend> {
        // A program that another test starts has the lock of a backend that is gone, until it begins.
        for _ in 0..100 {
            match FileBackend::open(self.config()) {
                Err(OpenError::Locked(_)) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                opened => return Arc::new(opened.expect("it opens")),
            }
        }
        panic!("the directory stays locked");
    }

    pub(crate) fn node(&self, backend: Arc<FileBackend>) -> NodePlugin {
        NodePlugin::new(backend, self.host())
    }

    pub(crate) fn host(&self) -> Arc<LinuxHost> {
        let host = LinuxHost::new(
            &self.dir.path().join("kubelet"),
            &self.dir.path().join("data/state"),
        );
        Arc::new(host.expect("this is a Linux host"))
    }

    /// The loop devices that have a file of this machine's data directory behind them.
    pub(crate) fn loops(&self) -> Vec<String> {
        let devices = self.loops_and_files().into_iter();
        devices.map(|(device, _)| device).collect()
    }

    /// As [`Self::loops`], each with the file behind it.
    pub(crate) fn loops_and_files(&self) -> Vec<(String, String)> {
        let data = self.path("data/");
        let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let behind = |entry: fs::DirEntry| {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            let device = format!("/dev/{}", entry.file_name().display());
            Some((device, file.trim_end().to_owned()))
        };
        let all = entries.filter_map(behind);
        all.filter(|(_, file)| file.starts_with(&data)).collect()
    }

    pub(crate) fn target(&self, name: &str) -> TargetPath {
        let kubelet = self.dir.path().join("kubelet");
        let path = kubelet.join(name).display().to_string();
        TargetPath::parse(&kubelet, &path).expect("a path")
    }

    pub(crate) fn volume_file(&self, id: &VolumeId) -> PathBuf {
        self.dir
            .path()
            .join("data/offshoot/volumes")
            .join(id.as_str())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        unmount_below(&self.path("kubelet"));
        // A test that failed may have left its device.
        for device in self.loops() {
            tool("losetup", &["-d", &device]);
        }
        // Another test may be starting a program, which has our descriptors until it begins.
        let data = self.path("data");
        for _ in 0..200 {
            if !self.mounted || tool("umount", &[&data]) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A volume on a machine, with both halves of the driver.
pub(crate) struct Scene {
    pub(crate) node: NodePlugin,
    pub(crate) backend: Arc<FileBackend>,
    pub(crate) volume: Volume,
    /// Last: it takes everything away.
    pub(crate) machine: Machine,
}

impl Scene {
    pub(crate) async fn new(machine: Machine, contents: NewContents, mib: u64) -> Self {
        let backend = machine.backend();
        let volume = backend.create_volume(new_volume("v", contents, mib)).await;
        Self {
            node: machine.node(backend.clone()),
            backend,
            volume: volume.expect("it is made"),
            machine,
        }
    }

    pub(crate) fn pod(&self, capability: Capability) -> Pod<'_> {
        Pod {
            machine: &self.machine,
            node: &self.node,
            volume: &self.volume,
            capability,
        }
    }
}

pub(crate) fn new_volume(name: &str, contents: NewContents, size: u64) -> NewVolume {
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

pub(crate) fn copy_of(source: Source, name: &str, size: u64) -> NewVolume {
    NewVolume {
        origin: Origin::Copy(source),
        ..new_volume(name, NewContents::Block, size)
    }
}

pub(crate) fn mount_capability(access_mode: AccessMode) -> Capability {
    Capability {
        access_mode,
        access_type: AccessType::Mount(MountCapability::default()),
    }
}

pub(crate) fn block_capability() -> Capability {
    Capability {
        access_mode: AccessMode::SingleNodeMultiWriter,
        access_type: AccessType::Block,
    }
}

/// A pod on a machine: stages and publishes.
pub(crate) struct Pod<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) node: &'a NodePlugin,
    pub(crate) volume: &'a Volume,
    pub(crate) capability: Capability,
}

impl Pod<'_> {
    pub(crate) async fn stage(&self) -> Result<(), offshoot::node::StageError> {
        let staging = self.machine.target("staging");
        fs::create_dir_all(staging.to_path_buf()).expect("a directory");
        let request = StageVolume {
            volume_id: self.volume.id.clone(),
            staging_target_path: staging,
            capability: self.capability.clone(),
        };
        self.node.stage(request).await
    }

    pub(crate) async fn publish(
        &self,
        target: &str,
        read_only: bool,
    ) -> Result<PathBuf, PublishError> {
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

    pub(crate) async fn unpublish(&self, target: &str) -> Result<(), UnpublishError> {
        let request = UnpublishVolume {
            volume_id: self.volume.id.clone(),
            target_path: self.machine.target(target),
        };
        self.node.unpublish(request).await
    }

    pub(crate) async fn unstage(&self) -> Result<(), UnstageError> {
        let request = UnstageVolume {
            volume_id: self.volume.id.clone(),
            staging_target_path: self.machine.target("staging"),
        };
        self.node.unstage(request).await
    }
}
