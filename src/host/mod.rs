//! What a node can do for volumes: look at paths, mount, bind, unmount, measure, grow.
//!
//! A host does what it is told and says what it sees; which volume, and whether it may, is decided in `node`. Calls may be
//! repeated. [`linux`] does it with system calls, [`fake`] pretends, for tests and for the memory backend.

pub mod fake;
pub mod linux;

use std::error::Error as StdError;

use async_trait::async_trait;
use thiserror::Error;

use crate::exhausted;
use crate::volume::{Bytes, Device, DeviceNumber, FsType, MountOptions, TargetPath, VolumeId};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// Nothing.
    Absent,
    /// A directory that is no mount point.
    Directory,
    /// Something else that is no mount point.
    File,
    /// A mount point.
    Mount(Mount),
    /// A mount point whose filesystem is dead: looking at it failed in this way.
    Broken(String),
}

/// A mount, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that the kernel shows"
)]
pub struct Mount {
    /// The block device behind it; `None` when there is none.
    pub device: Option<DeviceNumber>,
    /// It is a device node that is bound there, not a filesystem.
    pub block: bool,
    /// It cannot be written to: through this mount or at all.
    pub read_only: bool,
    /// Programs cannot be executed from it.
    pub no_exec: bool,
    /// It writes no access times.
    pub no_atime: bool,
}

/// What the first sectors of a device say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// A filesystem that we know.
    Filesystem {
        /// Its type.
        fs: FsType,
        /// Its UUID, in lower case with hyphens.
        uuid: String,
        /// How much of the device it uses.
        size: Bytes,
    },
    /// Something else, described for people.
    Other(String),
    /// A pretended device: there are no bytes to look at.
    Pretended,
}

/// How full something is, in bytes or inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All there is.
    pub total: u64,
    /// What is taken.
    pub used: u64,
    /// What a workload can still take.
    pub available: u64,
}

/// A place to which a volume was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub path: TargetPath,
    /// It was mounted so that nobody can write through it.
    pub read_only: bool,
}

/// Why a host could not do it.
#[derive(Debug, Error)]
pub enum HostError {
    /// The path, or one on the way to it, is a symlink or leaves the kubelet's directory.
    #[error("{0} leads through a symlink or out of the kubelet's directory; it is refused")]
    UnsafePath(TargetPath),
    /// The path does not exist where it must.
    #[error("{0} does not exist")]
    NoSuchPath(TargetPath),
    /// Somebody still uses it.
    #[error("{0} is still in use")]
    Busy(String),
    /// No answer in time; the storage behind it hangs.
    #[error("{what} did not answer within {seconds} s; its storage hangs")]
    Hung {
        /// What was asked.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The kernel forbids it to this process.
    #[error("{action} needs the capability {capability}; give it to the driver's container")]
    NotPermitted {
        /// What was tried.
        action: String,
        /// What is missing.
        capability: &'static str,
    },
    /// This machine has no more of something.
    #[error(
        "failed to {action}: this machine has no {what} left; end what uses them, or raise its limits"
    )]
    Exhausted {
        /// What was tried, with which object.
        action: String,
        /// What there is none of.
        what: &'static str,
    },
    /// Anything else.
    #[error("failed to {action}")]
    Failed {
        /// What was tried, with which object.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl HostError {
    /// Anything that has no variant of its own.
    pub fn failed(
        action: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let (action, source) = (action.into(), source.into());
        match exhausted(source.as_ref()) {
            Some(what) => Self::Exhausted { action, what },
            None => Self::Failed { action, source },
        }
    }
}

/// The result of a host's method.
pub type Result<T> = std::result::Result<T, HostError>;

/// A node. See the module's documentation.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// What is at `path`; does not wait for a dead disk.
    async fn look(&self, path: &TargetPath) -> Result<Spot>;
    /// Makes a directory in an existing one; one that exists is fine.
    async fn make_directory(&self, path: &TargetPath) -> Result<()>;
    /// Removes the empty directory or the empty file at `path`; absent is fine.
    async fn remove(&self, path: &TargetPath) -> Result<()>;

    /// What is on the device. An error is an error, not an empty device.
    async fn probe(&self, device: &Device) -> Result<Probed>;
    /// Mounts the filesystem of `device` at an existing directory, `nosuid` and `nodev` always.
    async fn mount(
        &self,
        device: &Device,
        fs: FsType,
        options: &MountOptions,
        path: &TargetPath,
    ) -> Result<()>;
    /// Binds the mount at `from` to the existing directory `to`.
    async fn bind(&self, from: &TargetPath, to: &TargetPath, read_only: bool) -> Result<()>;
    /// Binds the node of `device` to a file at `to`, which it makes.
    ///
    /// A read-only mount does not stop the kernel from opening a device node for writing; it tells what was asked for. What
    /// stops a container is its cgroup, to which the kubelet allows reading only.
    async fn bind_device(&self, device: &Device, to: &TargetPath, read_only: bool) -> Result<()>;
    /// Removes the topmost mount at `path`; [`HostError::Busy`] while it is used. It returns when the kernel has let go.
    async fn unmount(&self, path: &TargetPath) -> Result<()>;
    /// Whether nobody holds `device`: an exclusive open succeeds. A device that is gone is free.
    async fn is_free(&self, device: &Device) -> Result<bool>;

    /// How full the filesystem at `path` is, in bytes and inodes; does not wait for a dead disk.
    async fn usage(&self, path: &TargetPath) -> Result<(Usage, Option<Usage>)>;
    /// Makes the mounted filesystem at `path` as large as `device`; nothing to do when it is.
    async fn grow(&self, device: &Device, fs: FsType, path: &TargetPath) -> Result<()>;
    /// How many errors the kernel counted on the filesystem of `device`, where it counts them.
    async fn error_count(&self, device: &Device, fs: FsType) -> Result<u64>;

    /// The places to which the volume was brought: at least those where it is.
    async fn targets(&self, id: &VolumeId) -> Result<Vec<Target>>;
    /// Notes a place, before anything is mounted there.
    async fn note_target(&self, id: &VolumeId, target: &Target) -> Result<()>;
    /// Forgets a place, after nothing is mounted there any more.
    async fn forget_target(&self, id: &VolumeId, path: &TargetPath) -> Result<()>;
}
