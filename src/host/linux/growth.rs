//! Online growth, by ioctl: no process, and nothing that a kill could leave half done.

use std::io;

use rustix::io::Errno;

use super::growth_ioctl::{btrfs_grow, ext4_resize, xfs_geometry, xfs_grow};
use super::path::{KubeletDir, reopen};
use super::probe;
use crate::host::{HostError, Probed, Result};
use crate::volume::{Device, FsType, TargetPath};

/// What ext4 needs, and containers often lack.
const EXT4_BLOCK: u64 = 4096;

/// Makes the filesystem mounted at `path` as large as `device`.
pub(super) fn grow(
    device: &Device,
    fs: FsType,
    kubelet: &KubeletDir,
    path: &TargetPath,
) -> Result<()> {
    let action = format!("grow the {fs} filesystem at {path} to {}", device.size);
    let mount = kubelet.get(path)?;
    let directory = reopen(&mount).map_err(|error| HostError::failed(&action, error))?;
    let grown = match fs {
        FsType::Ext4 if is_grown(device)? => Ok(()),
        FsType::Ext4 => ext4_resize(&directory, device.size.0 / EXT4_BLOCK),
        FsType::Xfs => grow_xfs(&directory, device),
        FsType::Btrfs => btrfs_grow(&directory),
    };
    match grown {
        Ok(()) => Ok(()),
        Err(Errno::PERM) if fs == FsType::Ext4 => Err(HostError::NotPermitted {
            action,
            capability: "CAP_SYS_RESOURCE",
        }),
        Err(error) => Err(HostError::failed(action, io::Error::from(error))),
    }
}

/// ext4 refuses without the capability even when there is nothing to do.
fn is_grown(device: &Device) -> Result<bool> {
    match probe::probe(device)? {
        Probed::Filesystem { size, .. } => Ok(size >= device.size),
        Probed::Other(_) | Probed::Pretended => Ok(false),
    }
}

fn grow_xfs(directory: &impl std::os::fd::AsFd, device: &Device) -> rustix::io::Result<()> {
    let now = xfs_geometry(directory)?;
    let blocks = device.size.0 / u64::from(now.blocksize.max(1));
    if blocks <= now.datablocks {
        return Ok(());
    }
    xfs_grow(directory, blocks, now.imaxpct)
}
