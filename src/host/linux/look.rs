//! What the kernel shows at a path.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, StatVfsMountFlags, Statx, StatxAttributes, StatxFlags, fstatvfs, statx,
};
use rustix::io::Errno;

use super::growth_ioctl;
use super::path::{KubeletDir, reopen};
use crate::host::{HostError, Mount, Result, Spot, Usage};
use crate::volume::{Device, DeviceNumber, FsType, TargetPath};

/// What `statfs` shows as the type of btrfs (linux/magic.h).
const BTRFS_SUPER_MAGIC: u64 = 0x9123_683e;

/// What is at `path`.
pub(super) fn look(kubelet: &KubeletDir, path: &TargetPath) -> Result<Spot> {
    let Some(found) = kubelet.find(path)? else {
        return Ok(Spot::Absent);
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let shown = match statx(&found, "", flags, StatxFlags::BASIC_STATS) {
        Ok(shown) => shown,
        Err(error) if is_dead(error) => return Ok(Spot::Broken(error.to_string())),
        Err(error) => return Err(HostError::failed(format!("look at {path}"), error)),
    };
    let kind = FileType::from_raw_mode(shown.stx_mode.into());
    if !shown.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(match kind {
            FileType::Directory => Spot::Directory,
            _ => Spot::File,
        });
    }
    if kind == FileType::BlockDevice {
        return Ok(Spot::Mount(device_node(&shown)));
    }
    match filesystem(&found, &shown) {
        Ok(mount) => Ok(Spot::Mount(mount)),
        Err(error) if is_dead(error) => Ok(Spot::Broken(error.to_string())),
        Err(error) => Err(HostError::failed(
            format!("look at the mount {path}"),
            error,
        )),
    }
}

/// How full the filesystem at `path` is.
pub(super) fn usage(kubelet: &KubeletDir, path: &TargetPath) -> Result<(Usage, Option<Usage>)> {
    let found = kubelet.get(path)?;
    let failed = |error| HostError::failed(format!("measure {path}"), error);
    let shown = fstatvfs(&found).map_err(failed)?;
    let unit = shown.f_frsize.max(1);
    let bytes = Usage {
        total: shown.f_blocks * unit,
        used: shown.f_blocks.saturating_sub(shown.f_bfree) * unit,
        available: shown.f_bavail * unit,
    };
    // btrfs has no table of inodes, and shows none.
    let inodes = (shown.f_files > 0).then(|| Usage {
        total: shown.f_files,
        used: shown.f_files.saturating_sub(shown.f_ffree),
        available: shown.f_favail,
    });
    Ok((bytes, inodes))
}

/// How many errors the kernel counted; only ext4 counts them.
pub(super) fn error_count(device: &Device, fs: FsType) -> u64 {
    if fs != FsType::Ext4 {
        return 0;
    }
    let name = device.path.file_name().unwrap_or_default();
    let counter = Path::new("/sys/fs/ext4").join(name).join("errors_count");
    let text = std::fs::read_to_string(counter).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// These errors come from a filesystem whose storage is gone.
fn is_dead(error: Errno) -> bool {
    matches!(
        error,
        Errno::IO
            | Errno::NOTCONN
            | Errno::STALE
            | Errno::UCLEAN
            | Errno::SHUTDOWN
            | Errno::HOSTDOWN
    )
}

fn device_node(shown: &Statx) -> Mount {
    Mount {
        device: Some(DeviceNumber {
            major: shown.stx_rdev_major,
            minor: shown.stx_rdev_minor,
        }),
        block: true,
        read_only: false,
        no_exec: false,
        no_atime: false,
    }
}

fn filesystem(found: &OwnedFd, shown: &Statx) -> std::result::Result<Mount, Errno> {
    let flags = fstatvfs(found)?.f_flag;
    Ok(Mount {
        device: device_of(found, shown)?,
        block: false,
        read_only: flags.contains(StatVfsMountFlags::RDONLY),
        no_exec: flags.contains(StatVfsMountFlags::NOEXEC),
        no_atime: flags.contains(StatVfsMountFlags::NOATIME),
    })
}

/// The device behind a filesystem. btrfs shows a number of its own making, and must be asked.
fn device_of(found: &OwnedFd, shown: &Statx) -> std::result::Result<Option<DeviceNumber>, Errno> {
    if shown.stx_dev_major != 0 {
        return Ok(Some(DeviceNumber {
            major: shown.stx_dev_major,
            minor: shown.stx_dev_minor,
        }));
    }
    let magic = rustix::fs::fstatfs(found)?.f_type;
    if u64::try_from(magic).ok() != Some(BTRFS_SUPER_MAGIC) {
        return Ok(None);
    }
    let path = growth_ioctl::btrfs_device(&reopen(found)?)?;
    let node = rustix::fs::stat(path)?;
    Ok(Some(DeviceNumber {
        major: rustix::fs::major(node.st_rdev),
        minor: rustix::fs::minor(node.st_rdev),
    }))
}
