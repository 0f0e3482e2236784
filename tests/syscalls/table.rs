//! Which system calls are points: those that change something or meet the disk, by their numbers on this machine.

use nix::libc;

/// What a system call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It changes files, devices, mounts or processes, or prepares that.
    Change,
    /// It only looks; to be killed there is to be killed at the next change.
    Look,
}

const TABLE: &[(libc::c_long, &str, Class)] = &[
    (libc::SYS_openat, "openat", Class::Change),
    (libc::SYS_openat2, "openat2", Class::Change),
    (libc::SYS_ftruncate, "ftruncate", Class::Change),
    (libc::SYS_fallocate, "fallocate", Class::Change),
    (libc::SYS_write, "write", Class::Change),
    (libc::SYS_writev, "writev", Class::Change),
    (libc::SYS_pwrite64, "pwrite64", Class::Change),
    (libc::SYS_copy_file_range, "copy_file_range", Class::Change),
    (libc::SYS_lseek, "lseek", Class::Change),
    (libc::SYS_fsync, "fsync", Class::Change),
    (libc::SYS_fdatasync, "fdatasync", Class::Change),
    (libc::SYS_syncfs, "syncfs", Class::Change),
    (libc::SYS_linkat, "linkat", Class::Change),
    (libc::SYS_unlink, "unlink", Class::Change),
    (libc::SYS_unlinkat, "unlinkat", Class::Change),
    (libc::SYS_rmdir, "rmdir", Class::Change),
    (libc::SYS_rename, "rename", Class::Change),
    (libc::SYS_renameat, "renameat", Class::Change),
    (libc::SYS_renameat2, "renameat2", Class::Change),
    (libc::SYS_fsetxattr, "fsetxattr", Class::Change),
    (libc::SYS_fchmod, "fchmod", Class::Change),
    (libc::SYS_mkdir, "mkdir", Class::Change),
    (libc::SYS_mkdirat, "mkdirat", Class::Change),
    (libc::SYS_ioctl, "ioctl", Class::Change),
    (libc::SYS_fsopen, "fsopen", Class::Change),
    (libc::SYS_fsconfig, "fsconfig", Class::Change),
    (libc::SYS_fsmount, "fsmount", Class::Change),
    (libc::SYS_move_mount, "move_mount", Class::Change),
    (libc::SYS_open_tree, "open_tree", Class::Change),
    (libc::SYS_mount_setattr, "mount_setattr", Class::Change),
    (libc::SYS_umount2, "umount2", Class::Change),
    (libc::SYS_clone, "clone", Class::Change),
    (libc::SYS_clone3, "clone3", Class::Change),
    (libc::SYS_vfork, "vfork", Class::Change),
    (libc::SYS_execve, "execve", Class::Change),
    (libc::SYS_wait4, "wait4", Class::Change),
    (libc::SYS_waitid, "waitid", Class::Change),
    (libc::SYS_pipe2, "pipe2", Class::Look),
    (libc::SYS_read, "read", Class::Look),
    (libc::SYS_pread64, "pread64", Class::Look),
    (libc::SYS_fgetxattr, "fgetxattr", Class::Look),
    (libc::SYS_statx, "statx", Class::Look),
    (libc::SYS_fstat, "fstat", Class::Look),
    (libc::SYS_fstatfs, "fstatfs", Class::Look),
    (libc::SYS_getdents64, "getdents64", Class::Look),
];

/// What a tool does to its file: the rest of it is the loading of a program.
const OF_TOOLS: &[&str] = &[
    "write",
    "pwrite64",
    "fallocate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "ioctl",
];

/// The name and the class of a system call that counts.
pub(crate) fn find(number: libc::c_long, in_tool: bool) -> Option<(&'static str, Class)> {
    let (_, name, class) = TABLE.iter().find(|(it, _, _)| *it == number)?;
    (!in_tool || OF_TOOLS.contains(name)).then_some((*name, *class))
}

/// The system calls whose first argument is a descriptor that may have nothing to do with volumes.
pub(crate) fn takes_descriptor(name: &str) -> bool {
    let names = [
        "read",
        "write",
        "writev",
        "ioctl",
        "fstat",
        "statx",
        "getdents64",
    ];
    names.contains(&name)
}
