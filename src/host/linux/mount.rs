//! Mounts, made detached and then put into place: nobody sees one that is not finished.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};

use super::mount_setattr::set_read_only;
use super::path::{KubeletDir, open_device};
use crate::host::{HostError, Result};
use crate::volume::{Device, FsType, MountOptions, TargetPath};

/// How long a mount may be busy: a process that is being started has our descriptors until it begins, and whoever looks into
/// every mount leaves soon.
const PATIENCE: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(5);

/// The filesystem of `device`, mounted nowhere yet.
pub(super) fn filesystem(device: &Device, fs: FsType, options: &MountOptions) -> Result<OwnedFd> {
    let source = device.path.display().to_string();
    let failed = |error| HostError::failed(format!("mount the {fs} filesystem of {source}"), error);
    open_device(device, OFlags::PATH).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let context = fsopen(fs.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        let made = configure(&context, fs, &source, options)
            .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options)));
        match made {
            // Who looks for a free loop device claims also one that is not free, for a moment.
            Err(Errno::BUSY) if Instant::now() < deadline => sleep(RETRY),
            made => return made.map_err(|error| failed(explain(&context, error))),
        }
    }
}

/// A copy of the mount at `path`, placed nowhere yet.
pub(super) fn copy(kubelet: &KubeletDir, path: &TargetPath, read_only: bool) -> Result<OwnedFd> {
    let failed = |error: Errno| HostError::failed(format!("copy the mount {path}"), error);
    detached_copy(&kubelet.get(path)?, read_only).map_err(failed)
}

/// The node of a device as a mount, placed nowhere yet.
pub(super) fn device_node(device: &Device, read_only: bool) -> Result<OwnedFd> {
    let failed = |error| HostError::failed(format!("bind {}", device.path.display()), error);
    let node = open_device(device, OFlags::PATH).map_err(failed)?;
    detached_copy(&node, read_only).map_err(|error| failed(error.into()))
}

/// Puts a detached mount at `path`.
pub(super) fn place(mount: OwnedFd, kubelet: &KubeletDir, path: &TargetPath) -> Result<()> {
    let target = kubelet.get(path)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
        .map_err(|error| HostError::failed(format!("mount at {path}"), error))
}

/// Removes the topmost mount at `path`. Never lazily: a lazy unmount succeeds while the filesystem lives on.
pub(super) fn unmount(kubelet: &KubeletDir, path: &TargetPath) -> Result<()> {
    let Some(parent) = kubelet.parent(path)? else {
        return Ok(());
    };
    // A handle of the mount itself would keep it busy; its directory is held instead, and its last name not followed.
    let directory = format!("/proc/self/fd/{}", parent.directory.as_raw_fd());
    let name = Path::new(&directory).join(parent.name);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::mount::unmount(&name, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => sleep(RETRY),
            Err(Errno::BUSY) => return Err(HostError::Busy(path.to_string())),
            Err(error) => return Err(HostError::failed(format!("unmount {path}"), error)),
        }
    }
}

fn detached_copy(of: &OwnedFd, read_only: bool) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = open_tree(of, "", flags)?;
    if read_only {
        set_read_only(&copy)?;
    }
    Ok(copy)
}

fn configure(
    context: &OwnedFd,
    fs: FsType,
    source: &str,
    options: &MountOptions,
) -> rustix::io::Result<()> {
    fsconfig_set_string(context, "source", source)?;
    match fs {
        // What an error leaves writable gets worse.
        FsType::Ext4 => fsconfig_set_string(context, "errors", "remount-ro")?,
        // A clone has the UUID of its source.
        FsType::Xfs => fsconfig_set_flag(context, "nouuid")?,
        FsType::Btrfs => {}
    }
    if options.read_only {
        fsconfig_set_flag(context, "ro")?;
    }
    for (key, value) in &options.filesystem {
        match value {
            Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(context, key.as_str())?,
        }
    }
    fsconfig_create(context)
}

fn attributes(options: &MountOptions) -> MountAttrFlags {
    let always = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let chosen = [
        (options.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (options.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (options.no_diratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        (options.no_atime, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (
            options.strict_atime && !options.no_atime,
            MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        ),
    ];
    chosen
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(always, |all, (_, attribute)| all | attribute)
}

/// The error with what the filesystem said about it; the context of a mount is read line by line.
fn explain(context: &OwnedFd, error: Errno) -> io::Error {
    let mut said = Vec::new();
    let mut line = [0_u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        // A line begins with its kind and a space: "e ", "w " or "i ".
        let text = String::from_utf8_lossy(&line[..length]);
        said.push(text.get(2..).unwrap_or_default().trim().to_owned());
    }
    let kind = io::Error::from(error);
    if said.is_empty() {
        return kind;
    }
    io::Error::other(format!("{kind} ({})", said.join("; ")))
}
