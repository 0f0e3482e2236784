//! The ioctls of loop devices and of block devices in general (linux/loop.h, linux/fs.h).
#![expect(unsafe_code, reason = "ioctls take untyped pointers")]

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Result;
use rustix::ioctl::{
    Getter, IntegerSetter, Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl, opcode,
};

pub(super) const LO_FLAGS_READ_ONLY: u32 = 1;
pub(super) const LO_FLAGS_AUTOCLEAR: u32 = 4;
pub(super) const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
pub(super) struct LoopInfo {
    pub(super) device: u64,
    pub(super) inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    pub(super) flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `LOOP_CTL_GET_FREE` answers by its return value.
struct GetFree;

// SAFETY: the ioctl takes no argument and returns the number of a device.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        0x4c82
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(number: IoctlOutput, _: *mut c_void) -> Result<u32> {
        u32::try_from(number).map_err(|_| rustix::io::Errno::RANGE)
    }
}

/// The number of a loop device that is free, at this moment.
pub(super) fn get_free(control: impl AsFd) -> Result<u32> {
    // SAFETY: see the implementation of `Ioctl` for `GetFree`.
    unsafe { ioctl(control, GetFree) }
}

/// Puts `backing` behind `device`; `BUSY` when something is behind it already.
pub(super) fn configure(
    device: impl AsFd,
    backing: BorrowedFd<'_>,
    block_size: u32,
    flags: u32,
) -> Result<()> {
    const CONFIGURE: Opcode = 0x4c0a;
    let config = LoopConfig {
        fd: u32::try_from(backing.as_raw_fd()).map_err(|_| rustix::io::Errno::BADF)?,
        block_size,
        info: LoopInfo {
            flags,
            ..LoopInfo::empty()
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`; the descriptor in it is open.
    unsafe { ioctl(device, Setter::<CONFIGURE, LoopConfig>::new(config)) }
}

/// What is behind `device`; `NXIO` when nothing is.
pub(super) fn status(device: impl AsFd) -> Result<LoopInfo> {
    const GET_STATUS64: Opcode = 0x4c05;
    // SAFETY: LOOP_GET_STATUS64 writes a `struct loop_info64`.
    unsafe { ioctl(device, Getter::<GET_STATUS64, LoopInfo>::new()) }
}

/// Takes away what is behind `device`, at once or when the last one who has it open is gone.
pub(super) fn clear(device: impl AsFd) -> Result<()> {
    const CLR_FD: Opcode = 0x4c01;
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(device, NoArg::<CLR_FD>::new()) }
}

/// Removes a device that nothing is behind; `BUSY` while somebody has it open.
pub(super) fn remove(control: impl AsFd, number: u32) -> Result<()> {
    const CTL_REMOVE: Opcode = 0x4c81;
    // SAFETY: LOOP_CTL_REMOVE takes the number of a device.
    unsafe {
        ioctl(
            control,
            IntegerSetter::<CTL_REMOVE>::new_usize(number as usize),
        )
    }
}

/// Lets `device` see the present size of what is behind it.
pub(super) fn set_capacity(device: impl AsFd) -> Result<()> {
    const SET_CAPACITY: Opcode = 0x4c07;
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    unsafe { ioctl(device, NoArg::<SET_CAPACITY>::new()) }
}

/// Switches direct IO; `INVAL` where the backing filesystem has none.
pub(super) fn set_direct_io(device: impl AsFd, direct: bool) -> Result<()> {
    const SET_DIRECT_IO: Opcode = 0x4c08;
    // SAFETY: LOOP_SET_DIRECT_IO takes an integer.
    unsafe {
        ioctl(
            device,
            IntegerSetter::<SET_DIRECT_IO>::new_usize(usize::from(direct)),
        )
    }
}

/// The number that the kernel gave this incarnation of the device; never given twice since boot.
pub(super) fn disk_sequence(device: impl AsFd) -> Result<u64> {
    const GETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
    // SAFETY: BLKGETDISKSEQ writes a u64.
    unsafe { ioctl(device, Getter::<GETDISKSEQ, u64>::new()) }
}

/// The size of a block device in bytes.
pub(super) fn size(device: impl AsFd) -> Result<u64> {
    const GETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
    // SAFETY: BLKGETSIZE64 writes a u64.
    unsafe { ioctl(device, Getter::<GETSIZE64, u64>::new()) }
}

/// Writes back what is cached for a block device, and syncs the filesystem that is mounted from it.
pub(super) fn flush(device: impl AsFd) -> Result<()> {
    const FLSBUF: Opcode = opcode::none(0x12, 97);
    // SAFETY: BLKFLSBUF takes no argument.
    unsafe { ioctl(device, NoArg::<FLSBUF>::new()) }
}

impl LoopInfo {
    fn empty() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}
