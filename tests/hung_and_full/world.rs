//! A driver that runs, and disks below its volumes that a test holds in its hands.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use faultlab::{Answer, Call, Disk, Image, Program, Watched, supervise};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::machine::calls::{Calls, capability, volume_id, write_synced};
use super::machine::{Machine, tool, unmount_below};

/// Longer than anything takes here that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A driver on a machine.
pub(crate) struct World {
    pub(crate) calls: Calls,
    pub(crate) driver: Program,
    pub(crate) machine: Machine,
}

impl World {
    pub(crate) async fn new(machine: Machine) -> Self {
        Self::watched(machine, &[], |_| Answer::Real).await
    }

    /// With a driver whose system calls are answered by `decide`.
    pub(crate) async fn watched(
        machine: Machine,
        watched: &[Watched],
        decide: impl FnMut(&Call) -> Answer + Send + 'static,
    ) -> Self {
        let driver = supervise(machine.driver(), watched, decide).expect("it starts");
        Self {
            calls: served(&machine).await,
            driver,
            machine,
        }
    }

    /// Starts the driver again.
    pub(crate) async fn restart(&mut self) {
        self.driver.kill();
        self.driver = supervise(self.machine.driver(), &[], |_| Answer::Real).expect("it starts");
        self.calls = served(&self.machine).await;
    }

    /// The driver lives, and says that it is ready.
    pub(crate) async fn probe(&mut self) {
        let ended = self.driver.process.try_wait().expect("it is our child");
        assert_eq!(ended, None, "the driver ended");
        let answer = timeout(Duration::from_secs(5), self.calls.probe()).await;
        answer.expect("Probe answers").expect("it is ready");
    }

    /// A whole life of another volume.
    pub(crate) async fn life(&self, name: &str) -> Result<(), Status> {
        let wanted = capability(Some("ext4"));
        self.calls.create(name, wanted.clone(), 16 << 20).await?;
        self.calls.bring(name, wanted).await?;
        let target = self.calls.target(name);
        write_synced(&target, "file", b"bytes").expect("it is written");
        self.calls.take_back(name).await?;
        self.calls.delete(name).await
    }

    /// Everything of this driver that is below the data directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["volumes", "snapshots", "groups"] {
            let path = self.machine.path(&format!("data/offshoot/{directory}"));
            let entries = fs::read_dir(path).expect("it is there").flatten();
            found.extend(entries.map(|it| it.path().display().to_string()));
        }
        found.sort();
        found
    }
}

/// A connection that the driver has accepted: a socket takes connections before, and the start waits for disks.
async fn served(machine: &Machine) -> Calls {
    let calls = Calls::connect(machine).await;
    let answer = timeout(PATIENCE, calls.probe()).await;
    answer.expect("Probe answers").expect("it is ready");
    calls
}

/// Repeats a call until it succeeds.
pub(crate) async fn converge<F>(what: &str, call: impl Fn() -> F)
where
    F: Future<Output = Result<(), Status>>,
{
    let mut last = None;
    for _ in 0..400 {
        match call().await {
            Ok(()) => return,
            Err(status) => last = Some(status),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} does not converge: {last:?}");
}

/// Codes that tell the CO to come again, or to make room.
pub(crate) fn is_temporary(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::ResourceExhausted | Code::Unavailable | Code::Aborted
    )
}

/// A disk of this process with a filesystem, mounted beside the data directory.
pub(crate) struct SlowDisk {
    pub(crate) disk: Disk,
    mounted: String,
    kubelet: String,
    /// The directory of the machine.
    machine: String,
    bound: Vec<PathBuf>,
    _file: NamedTempFile,
}

impl SlowDisk {
    pub(crate) fn beside(machine: &Machine) -> Self {
        let file = NamedTempFile::new().expect("a file");
        let disk = Disk::mount(Image::new(1 << 30), file.path()).expect("the disk is there");
        let (path, mounted) = (disk.path().display().to_string(), machine.path("slow"));
        fs::create_dir(&mounted).expect("a directory");
        assert!(tool("mkfs.xfs", &["-q", "-f", &path]));
        assert!(tool("mount", &["-o", "loop", &path, &mounted]));
        Self {
            disk,
            mounted,
            kubelet: machine.path("kubelet"),
            machine: machine.path(""),
            bound: Vec::new(),
            _file: file,
        }
    }

    /// Brings the file of a volume onto this disk, under its name in the data directory.
    pub(crate) fn adopt(&mut self, machine: &Machine, name: &str) {
        let file = machine.volume_file(&volume_id(name));
        let (from, to) = (
            file.display().to_string(),
            format!("{}/{name}", self.mounted),
        );
        assert!(tool(
            "cp",
            &["--preserve=all", "--sparse=always", &from, &to]
        ));
        assert!(tool("mount", &["--bind", &to, &from]));
        self.bound.push(file);
    }

    /// Gives the name back to the file that is below.
    pub(crate) fn release(&mut self, machine: &Machine, name: &str) {
        let file = machine.volume_file(&volume_id(name));
        assert!(tool("umount", &[&file.display().to_string()]));
        fs::remove_file(format!("{}/{name}", self.mounted)).expect("it is removed");
        self.bound.retain(|it| *it != file);
    }

    /// Whether a filesystem or somebody else holds the loop device of a volume.
    pub(crate) fn is_busy(&self, name: &str) -> bool {
        let id = volume_id(name);
        let devices = fs::read_dir("/sys/block").expect("it is there").flatten();
        let mut behind = devices.filter(|it| {
            let shown = fs::read_to_string(it.path().join("loop/backing_file"));
            shown.is_ok_and(|it| {
                it.trim_end().ends_with(id.as_str()) && it.starts_with(&self.machine)
            })
        });
        behind.any(|it| {
            let node = Path::new("/dev").join(it.file_name());
            let exclusive = fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_EXCL)
                .open(node);
            exclusive.is_err_and(|it| it.raw_os_error() == Some(libc::EBUSY))
        })
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.disk.resume();
        unmount_below(&self.kubelet);
        for bound in &self.bound {
            tool("umount", &[&bound.display().to_string()]);
        }
        for _ in 0..200 {
            if tool("umount", &[&self.mounted]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
