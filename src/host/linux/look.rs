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
    if !shown.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(no_mount(&shown));
    }
    let mount = match kind(&shown) {
        FileType::BlockDevice => device_node(&found, &shown),
        _ => filesystem(&found, &shown),
    };
    match mount {
        Ok(mount) => Ok(Spot::Mount(mount)),
        Err(error) if is_dead(error) => Ok(Spot::Broken(error.to_string())),
        Err(error) => Err(HostError::failed(
            format!("look at the mount {path}"),
            error,
        )),
    }
}

/// What is at `path` where nothing is mounted; `None` where something may be, which only [`look`] can tell. Never waits for
/// a dead disk.
pub(super) fn look_unmounted(kubelet: &KubeletDir, path: &TargetPath) -> Option<Spot> {
    let Some(found) = kubelet.find_unmounted(path).ok()? else {
        return Some(Spot::Absent);
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let shown = statx(&found, "", flags, StatxFlags::BASIC_STATS).ok()?;
    let is_mount = shown.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    (!is_mount).then(|| no_mount(&shown))
}

fn kind(shown: &Statx) -> FileType {
    FileType::from_raw_mode(shown.stx_mode.into())
}

fn no_mount(shown: &Statx) -> Spot {
    match kind(shown) {
        FileType::Directory => Spot::Directory,
        _ => Spot::File,
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

fn device_node(found: &OwnedFd, shown: &Statx) -> std::result::Result<Mount, Errno> {
    let flags = fstatvfs(found)?.f_flag;
    Ok(Mount {
        device: Some(DeviceNumber {
            major: shown.stx_rdev_major,
            minor: shown.stx_rdev_minor,
        }),
        block: true,
        read_only: flags.contains(StatVfsMountFlags::RDONLY),
        no_exec: false,
        no_atime: false,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look shows, without and with the patience for a dead disk.
    fn looks(root: &Path, path: &Path) -> (Option<Spot>, Option<Spot>) {
        let kubelet = KubeletDir::open(root).expect("it opens");
        let path = TargetPath::parse(root, &path.display().to_string()).expect("a path");
        (look_unmounted(&kubelet, &path), look(&kubelet, &path).ok())
    }

    #[test]
    fn a_mount_is_left_to_those_who_may_wait() {
        let root = tempfile::tempdir().expect("a directory");
        let (directory, file) = (root.path().join("directory"), root.path().join("file"));
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::write(&file, "").expect("a file");
        let absent = root.path().join("directory/absent");
        for (path, spot) in [
            (directory, Spot::Directory),
            (file, Spot::File),
            (absent, Spot::Absent),
        ] {
            let expected = (Some(spot.clone()), Some(spot));
            assert_eq!(looks(root.path(), &path), expected);
        }
        let mount = looks(Path::new("/"), Path::new("/proc"));
        assert!(matches!(mount, (None, Some(Spot::Mount(_)))), "{mount:?}");
    }
}
