//! Paths below the kubelet's directory, resolved without trust: beneath its handle, and without symlinks.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, open, openat2, unlinkat,
};
use rustix::io::Errno;

use super::LinuxHostError;
use crate::host::{HostError, Result};
use crate::volume::TargetPath;

/// How every path is resolved.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A handle of the kubelet's directory.
pub(super) struct KubeletDir {
    root: OwnedFd,
}

/// The directory that holds a path, and the path's name in it.
pub(super) struct Parent<'a> {
    pub(super) directory: OwnedFd,
    pub(super) name: &'a OsStr,
}

impl KubeletDir {
    pub(super) fn open(path: &Path) -> std::result::Result<Self, LinuxHostError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            open(path, flags, Mode::empty()).map_err(|error| LinuxHostError::KubeletDir {
                path: path.to_owned(),
                source: error.into(),
            })?;
        match beneath(&root, Path::new("."), OFlags::PATH) {
            Ok(_) => Ok(Self { root }),
            Err(_) => Err(LinuxHostError::Kernel("openat2")),
        }
    }

    /// The path itself, topmost mount included; `None` when it does not exist.
    pub(super) fn find(&self, path: &TargetPath) -> Result<Option<OwnedFd>> {
        self.resolve(path, path.relative())
    }

    /// As [`Self::find`], but an error where a mount is on the way or at the end: the kernel stops before it, so that no
    /// dead disk behind it is met.
    pub(super) fn find_unmounted(&self, path: &TargetPath) -> rustix::io::Result<Option<OwnedFd>> {
        let resolve = BENEATH | ResolveFlags::NO_XDEV;
        match open_below(&self.root, path.relative(), OFlags::PATH, resolve) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path itself, which must exist.
    pub(super) fn get(&self, path: &TargetPath) -> Result<OwnedFd> {
        let missing = || HostError::NoSuchPath(path.clone());
        self.find(path)?.ok_or_else(missing)
    }

    /// The directory that holds the path; `None` when it does not exist.
    pub(super) fn parent<'a>(&self, path: &'a TargetPath) -> Result<Option<Parent<'a>>> {
        let relative = path.relative();
        let Some(name) = relative.file_name() else {
            return Err(HostError::NoSuchPath(path.clone()));
        };
        let above = match relative.parent() {
            Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
            _ => PathBuf::from("."),
        };
        let directory = self.resolve(path, &above)?;
        Ok(directory.map(|directory| Parent { directory, name }))
    }

    pub(super) fn make_directory(&self, path: &TargetPath) -> Result<()> {
        let missing = || HostError::NoSuchPath(path.clone());
        let parent = self.parent(path)?.ok_or_else(missing)?;
        match mkdirat(&parent.directory, parent.name, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(HostError::failed(format!("make directory {path}"), error)),
        }
    }

    /// Makes an empty file; one that exists is fine.
    pub(super) fn make_file(&self, path: &TargetPath) -> Result<()> {
        let missing = || HostError::NoSuchPath(path.clone());
        let parent = self.parent(path)?.ok_or_else(missing)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o640);
        match rustix::fs::openat(&parent.directory, parent.name, flags, mode) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(HostError::failed(format!("make file {path}"), error)),
        }
    }

    /// Removes an empty directory or an empty file; absent is fine.
    pub(super) fn remove(&self, path: &TargetPath) -> Result<()> {
        let Some(target) = self.find(path)? else {
            return Ok(());
        };
        let failed = |error: io::Error| HostError::failed(format!("remove {path}"), error);
        let found = rustix::fs::fstat(&target).map_err(|error| failed(error.into()))?;
        drop(target);
        let flags = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if found.st_size == 0 => AtFlags::empty(),
            _ => {
                return Err(failed(io::Error::other(
                    "it is not empty; it is left alone",
                )));
            }
        };
        let Some(parent) = self.parent(path)? else {
            return Ok(());
        };
        match unlinkat(&parent.directory, parent.name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    }

    fn resolve(&self, path: &TargetPath, relative: &Path) -> Result<Option<OwnedFd>> {
        match beneath(&self.root, relative, OFlags::PATH) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP | Errno::XDEV) => Err(HostError::UnsafePath(path.clone())),
            Err(error) => Err(HostError::failed(format!("resolve {path}"), error)),
        }
    }
}

fn beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_below(root, path, flags, BENEATH)
}

fn open_below(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// Opens the directory behind a resolved path for ioctls.
pub(super) fn reopen(found: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(found, ".", flags, Mode::empty())
}

/// Opens a device node, which must be the block device `number`.
pub(super) fn open_device(device: &crate::volume::Device, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let node = rustix::fs::openat(CWD, &device.path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&node)?;
    let number = (
        rustix::fs::major(found.st_rdev),
        rustix::fs::minor(found.st_rdev),
    );
    let is_block = FileType::from_raw_mode(found.st_mode) == FileType::BlockDevice;
    if !is_block || number != (device.number.major, device.number.minor) {
        let text = format!(
            "{} is not block device {}",
            device.path.display(),
            device.number
        );
        return Err(io::Error::other(text));
    }
    Ok(node)
}
