//! The ioctls that tell the size of a mounted filesystem and change it.
#![expect(unsafe_code, reason = "ioctls take untyped pointers")]

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::io::Result;
use rustix::ioctl::{Getter, Setter, Updater, ioctl, opcode};

/// `struct xfs_fsop_geom_v1` (xfs_fs.h).
#[repr(C)]
pub(super) struct XfsGeometry {
    pub(super) blocksize: u32,
    rtextsize: u32,
    agblocks: u32,
    agcount: u32,
    logblocks: u32,
    sectsize: u32,
    inodesize: u32,
    pub(super) imaxpct: u32,
    pub(super) datablocks: u64,
    rtblocks: u64,
    rtextents: u64,
    logstart: u64,
    uuid: [u8; 16],
    sunit: u32,
    swidth: u32,
    version: i32,
    flags: u32,
    logsectsize: u32,
    rtsectsize: u32,
    dirblocksize: u32,
}

/// `struct xfs_growfs_data` (xfs_fs.h).
#[repr(C)]
struct XfsGrowfsData {
    newblocks: u64,
    imaxpct: u32,
}

/// `struct btrfs_ioctl_vol_args` (btrfs.h).
#[repr(C)]
struct BtrfsVolArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_dev_info_args` (btrfs.h).
#[repr(C)]
struct BtrfsDevInfo {
    devid: u64,
    uuid: [u8; 16],
    bytes_used: u64,
    total_bytes: u64,
    fsid: [u8; 16],
    unused: [u64; 377],
    path: [u8; 1024],
}

/// Makes a mounted ext4 filesystem `blocks` blocks large; needs `CAP_SYS_RESOURCE`.
pub(super) fn ext4_resize(directory: impl AsFd, blocks: u64) -> Result<()> {
    const RESIZE_FS: u32 = opcode::write::<u64>(b'f', 16);
    // SAFETY: EXT4_IOC_RESIZE_FS reads a u64.
    unsafe { ioctl(directory, Setter::<RESIZE_FS, u64>::new(blocks)) }
}

/// The geometry of a mounted XFS filesystem.
pub(super) fn xfs_geometry(directory: impl AsFd) -> Result<XfsGeometry> {
    const FSGEOMETRY_V1: u32 = opcode::read::<XfsGeometry>(b'X', 100);
    // SAFETY: XFS_IOC_FSGEOMETRY_V1 writes a `struct xfs_fsop_geom_v1`.
    unsafe { ioctl(directory, Getter::<FSGEOMETRY_V1, XfsGeometry>::new()) }
}

/// Makes a mounted XFS filesystem `blocks` blocks large.
pub(super) fn xfs_grow(directory: impl AsFd, blocks: u64, imaxpct: u32) -> Result<()> {
    const FSGROWFSDATA: u32 = opcode::write::<XfsGrowfsData>(b'X', 110);
    let size = XfsGrowfsData {
        newblocks: blocks,
        imaxpct,
    };
    // SAFETY: XFS_IOC_FSGROWFSDATA reads a `struct xfs_growfs_data`.
    unsafe { ioctl(directory, Setter::<FSGROWFSDATA, XfsGrowfsData>::new(size)) }
}

/// Makes a mounted btrfs filesystem as large as its device.
pub(super) fn btrfs_grow(directory: impl AsFd) -> Result<()> {
    const RESIZE: u32 = opcode::write::<BtrfsVolArgs>(0x94, 3);
    let mut size = BtrfsVolArgs {
        fd: 0,
        name: [0; 4088],
    };
    size.name[..3].copy_from_slice(b"max");
    // SAFETY: BTRFS_IOC_RESIZE reads a `struct btrfs_ioctl_vol_args` whose name ends with a zero byte.
    unsafe { ioctl(directory, Setter::<RESIZE, BtrfsVolArgs>::new(size)) }
}

/// The path by which the only device of a mounted btrfs filesystem was mounted.
pub(super) fn btrfs_device(directory: impl AsFd) -> Result<PathBuf> {
    const DEV_INFO: u32 = opcode::read_write::<BtrfsDevInfo>(0x94, 30);
    let mut info = BtrfsDevInfo {
        devid: 1,
        uuid: [0; 16],
        bytes_used: 0,
        total_bytes: 0,
        fsid: [0; 16],
        unused: [0; 377],
        path: [0; 1024],
    };
    // SAFETY: BTRFS_IOC_DEV_INFO reads and writes a `struct btrfs_ioctl_dev_info_args`.
    unsafe { ioctl(directory, Updater::<DEV_INFO, BtrfsDevInfo>::new(&mut info))? };
    let path = info
        .path
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(OsString::from_vec(path.to_vec()).into())
}
