//! `mount_setattr(2)`, which rustix does not have.
#![expect(unsafe_code, reason = "a system call without a safe wrapper")]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

/// The kernel's `struct mount_attr` (linux/mount.h).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

/// Makes a detached mount read-only.
pub(super) fn set_read_only(mount: &OwnedFd) -> Result<(), Errno> {
    let attributes = MountAttr {
        attr_set: MOUNT_ATTR_RDONLY,
        ..MountAttr::default()
    };
    // SAFETY: the descriptor is open, the path is an empty C string, and the kernel reads exactly the given number of
    // bytes of `attributes`, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
