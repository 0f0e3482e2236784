//! A host by system calls: no process is started here, no path is trusted, no table is searched.
//!
//! Paths are resolved beneath a handle of the kubelet's directory without following a symlink, and used through
//! descriptors (see `path`), so that exchanging a path between check and use leads nowhere. What looks at a mount may meet
//! a dead disk: it runs on a thread of its own, with a deadline, and once at a time for each path.

mod bounded;
pub(crate) mod capability;
pub(crate) mod command;
pub(crate) mod ext4;
mod growth;
mod growth_ioctl;
mod ledger;
mod look;
pub(crate) mod loop_device;
mod loop_ioctl;
pub(crate) mod loop_table;
pub(crate) mod mkfs;
mod mount;
mod mount_setattr;
pub(crate) mod mount_table;
mod path;
pub(crate) mod probe;
pub(crate) mod tools;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use self::bounded::Bounded;
use self::ledger::Ledger;
use self::path::KubeletDir;
use super::{Host, HostError, Probed, Result, Spot, Target, Usage};
use crate::blocking::{self, BlockingError};
use crate::volume::{Device, FsType, MountOptions, TargetPath, VolumeId};

/// Where below the data directory the host keeps its ledger of targets.
pub(crate) const STATE_DIR: &str = "node";

/// Why this machine cannot be the host.
#[derive(Debug, Error)]
pub enum LinuxHostError {
    /// No kubelet here.
    #[error("failed to open the kubelet's directory {} (--kubelet-dir)", path.display())]
    KubeletDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel lacks a system call.
    #[error("this kernel has no {0}; Linux 5.12 or newer is needed")]
    Kernel(&'static str),
    /// The ledger cannot be kept.
    #[error("failed to make the directory {} for what is published on this node", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A place to which the ledger says that a volume was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotedTarget {
    /// The volume.
    pub(crate) id: VolumeId,
    /// Where.
    pub(crate) path: String,
    /// Something is mounted there.
    pub(crate) mounted: bool,
}

/// This machine.
pub struct LinuxHost {
    kubelet: Arc<KubeletDir>,
    ledger: Arc<Ledger>,
    bounded: Bounded,
}

impl LinuxHost {
    /// The host for paths below `kubelet_dir`, which notes in `state_dir` what it published.
    pub fn new(kubelet_dir: &Path, state_dir: &Path) -> std::result::Result<Self, LinuxHostError> {
        let kubelet = KubeletDir::open(kubelet_dir)?;
        let ledger = Ledger::open(kubelet_dir, state_dir)?;
        Ok(Self {
            kubelet: Arc::new(kubelet),
            ledger: Arc::new(ledger),
            bounded: Bounded::default(),
        })
    }

    /// A host to look at: the ledger is read if there is one, and not made.
    pub(crate) fn looking(
        kubelet_dir: &Path,
        state_dir: &Path,
    ) -> std::result::Result<Self, LinuxHostError> {
        Ok(Self {
            kubelet: Arc::new(KubeletDir::open(kubelet_dir)?),
            ledger: Arc::new(Ledger::at(kubelet_dir, state_dir)),
            bounded: Bounded::default(),
        })
    }

    /// The places that the ledger knows, and whether they are mount points now; one that hangs is.
    pub(crate) async fn noted_targets(&self) -> Vec<NotedTarget> {
        let mut noted = Vec::new();
        for (id, target) in self.with_ledger(Ledger::all).await.unwrap_or_default() {
            let seen = self.look(&target.path).await;
            noted.push(NotedTarget {
                id,
                path: target.path.to_string(),
                mounted: !matches!(seen, Ok(Spot::Absent | Spot::Directory | Spot::File)),
            });
        }
        noted
    }

    /// Runs what may block on a thread of its own.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KubeletDir) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let kubelet = self.kubelet.clone();
        join(blocking::run(move || work(&kubelet)).await)
    }

    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let ledger = self.ledger.clone();
        join(blocking::run(move || work(&ledger)).await)
    }
}

fn join<T>(joined: std::result::Result<Result<T>, BlockingError>) -> Result<T> {
    joined.unwrap_or_else(|error| Err(HostError::failed("finish a system call", error)))
}

#[async_trait]
impl Host for LinuxHost {
    async fn look(&self, path: &TargetPath) -> Result<Spot> {
        // Most looks are at places where nothing is mounted; they need no thread that may be given up.
        if blocking::is_allowed()
            && let Some(spot) = look::look_unmounted(&self.kubelet, path)
        {
            return Ok(spot);
        }
        let (kubelet, at) = (self.kubelet.clone(), path.clone());
        let work = move || look::look(&kubelet, &at);
        self.bounded.run("look", path, work).await
    }

    async fn make_directory(&self, path: &TargetPath) -> Result<()> {
        let path = path.clone();
        self.run(move |kubelet| kubelet.make_directory(&path)).await
    }

    async fn remove(&self, path: &TargetPath) -> Result<()> {
        let path = path.clone();
        self.run(move |kubelet| kubelet.remove(&path)).await
    }

    async fn probe(&self, device: &Device) -> Result<Probed> {
        let device = device.clone();
        self.run(move |_| probe::probe(&device)).await
    }

    async fn mount(
        &self,
        device: &Device,
        fs: FsType,
        options: &MountOptions,
        path: &TargetPath,
    ) -> Result<()> {
        let (device, options, path) = (device.clone(), options.clone(), path.clone());
        self.run(move |kubelet| {
            let mount = mount::filesystem(&device, fs, &options)?;
            mount::place(mount, kubelet, &path)
        })
        .await
    }

    async fn bind(&self, from: &TargetPath, to: &TargetPath, read_only: bool) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run(move |kubelet| {
            let mount = mount::copy(kubelet, &from, read_only)?;
            mount::place(mount, kubelet, &to)
        })
        .await
    }

    async fn bind_device(&self, device: &Device, to: &TargetPath, read_only: bool) -> Result<()> {
        let (device, to) = (device.clone(), to.clone());
        self.run(move |kubelet| {
            let mount = mount::device_node(&device, read_only)?;
            kubelet.make_file(&to)?;
            mount::place(mount, kubelet, &to)
        })
        .await
    }

    async fn unmount(&self, path: &TargetPath) -> Result<()> {
        let path = path.clone();
        self.run(move |kubelet| mount::unmount(kubelet, &path))
            .await
    }

    async fn is_free(&self, device: &Device) -> Result<bool> {
        let device = device.clone();
        self.run(move |_| is_free(&device)).await
    }

    async fn usage(&self, path: &TargetPath) -> Result<(Usage, Option<Usage>)> {
        let (kubelet, at) = (self.kubelet.clone(), path.clone());
        let work = move || look::usage(&kubelet, &at);
        self.bounded.run("usage", path, work).await
    }

    async fn grow(&self, device: &Device, fs: FsType, path: &TargetPath) -> Result<()> {
        let (device, path) = (device.clone(), path.clone());
        self.run(move |kubelet| growth::grow(&device, fs, kubelet, &path))
            .await
    }

    async fn error_count(&self, device: &Device, fs: FsType) -> Result<u64> {
        let device = device.clone();
        self.run(move |_| Ok(look::error_count(&device, fs))).await
    }

    async fn targets(&self, id: &VolumeId) -> Result<Vec<Target>> {
        let id = id.clone();
        self.with_ledger(move |ledger| ledger.read(&id)).await
    }

    async fn note_target(&self, id: &VolumeId, target: &Target) -> Result<()> {
        let (id, target) = (id.clone(), target.clone());
        self.with_ledger(move |ledger| ledger.note(&id, target))
            .await
    }

    async fn forget_target(&self, id: &VolumeId, path: &TargetPath) -> Result<()> {
        let (id, path) = (id.clone(), path.clone());
        self.with_ledger(move |ledger| ledger.forget(&id, &path))
            .await
    }
}

/// A filesystem holds its device exclusively, so that an exclusive open tells whether the kernel has let go of it, while
/// a mount that hangs in its unmount is in no table any more.
fn is_free(device: &Device) -> Result<bool> {
    use rustix::io::Errno;
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(&device.path, flags, Mode::empty()) {
        Ok(_) | Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(error) => {
            let action = format!("open {} exclusively", device.path.display());
            Err(HostError::failed(action, error))
        }
    }
}
