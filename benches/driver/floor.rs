//! The bare system calls that the same work needs, made durable in the same way.
//!
//! What the driver keeps for itself beyond the work (where a volume was mounted, which device it has) is no part of it.
#![allow(
    unsafe_code,
    reason = "the ioctls of loop devices take untyped pointers"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use offshoot::csi;
use prost::Message;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, SeekFrom, XattrFlags, copy_file_range, fgetxattr, fsetxattr, fsync,
    ftruncate, ioctl_ficlone, linkat, open, openat, seek, unlinkat,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::client::{Kind, Laps};

/// As long as a record of ours.
const RECORD: [u8; 400] = [b'r'; 400];
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CTL_REMOVE: libc::c_ulong = 0x4c81;
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
const DIRECT_IO: u32 = 16;
const AUTOCLEAR: u32 = 4;

/// A directory in which volumes are files.
pub(crate) struct Floor {
    path: PathBuf,
    directory: OwnedFd,
    /// One asks at a time, as in the driver: the kernel offers the same device to all.
    control: Mutex<File>,
}

/// A loop device with a file behind it.
struct Loop {
    node: File,
    path: String,
}

impl Floor {
    pub(crate) fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a directory");
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            directory: open(&path, flags, Mode::empty()).expect("it opens"),
            path,
            control: Mutex::new(loop_control()),
        }
    }

    /// A volume: a nameless file with its size, contents and record, synced, named, and the name synced.
    pub(crate) fn create(&self, name: &str, size: u64, template: Option<&File>) -> File {
        let file = self.nameless();
        ftruncate(&file, size).expect("its size");
        if let Some(template) = template {
            copy_extents(template, &file);
        }
        self.finish(file, name)
    }

    /// A volume that shares its bytes with `source`, which others may have open.
    pub(crate) fn share(&self, source: &File, name: &str) -> File {
        fsync(source).expect("it is synced");
        let file = self.nameless();
        ioctl_ficlone(&file, source).expect("extents can be shared");
        self.finish(file, name)
    }

    fn nameless(&self) -> File {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        File::from(openat(&self.directory, ".", flags, mode).expect("a nameless file"))
    }

    fn finish(&self, file: File, name: &str) -> File {
        note(&file, false);
        fsync(&file).expect("it is synced");
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        linkat(CWD, source, &self.directory, name, follow).expect("its name");
        fsync(&self.directory).expect("it is synced");
        file
    }

    pub(crate) fn delete(&self, name: &str) {
        unlinkat(&self.directory, name, AtFlags::empty()).expect("it is removed");
        fsync(&self.directory).expect("it is synced");
    }

    /// A whole cycle, as the driver's; `template` makes it one of an ext4 volume. How long its parts took.
    pub(crate) fn cycle(&self, name: &str, template: Option<&File>) -> [Duration; 8] {
        let kind = template.map_or(Kind::Block, |_| Kind::Ext4);
        let target = self.path.join(format!("{name}-target"));
        let staging = self.path.join(format!("{name}-staging"));
        fs::create_dir_all(&staging).expect("a directory");
        let mut laps = Laps::begin();
        let file = self.create(name, 64 << 20, template);
        laps.end();
        note(&file, true);
        laps.end();
        let device = self.attach(&file, kind);
        if kind == Kind::Ext4 {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount(&*device.path, &staging, "ext4", flags, None).expect("a mount");
        }
        laps.end();
        match kind {
            Kind::Block => {
                File::create(&target).expect("a target");
                mount_bind(&*device.path, &target).expect("a bind mount");
            }
            Kind::Ext4 => {
                fs::create_dir(&target).expect("a directory");
                mount_bind(&staging, &target).expect("a bind mount");
            }
        }
        laps.end();
        unmount(&target, UnmountFlags::empty()).expect("an unmount");
        match kind {
            Kind::Block => fs::remove_file(&target).expect("it is removed"),
            Kind::Ext4 => fs::remove_dir(&target).expect("it is removed"),
        }
        laps.end();
        match kind {
            Kind::Block => clear(&device),
            Kind::Ext4 => unmount(&staging, UnmountFlags::empty()).expect("an unmount"),
        }
        drop(device);
        laps.end();
        note(&file, true);
        laps.end();
        drop(file);
        self.delete(name);
        laps.end();
        fs::remove_dir(&staging).expect("it is removed");
        laps.times()
    }

    fn attach(&self, file: &File, kind: Kind) -> Loop {
        let (block_size, flags) = match kind {
            Kind::Block => (512, DIRECT_IO),
            Kind::Ext4 => (4096, DIRECT_IO | AUTOCLEAR),
        };
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..1_000 {
            // SAFETY: this ioctl takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            let path = format!("/dev/loop{number}");
            let Ok(node) = File::options().read(true).write(true).open(&path) else {
                continue;
            };
            // `struct loop_config`: descriptor, block size, and the flags within `struct loop_info64`.
            let mut config = [0_u32; 76];
            config[0] = u32::try_from(file.as_raw_fd()).expect("a descriptor");
            config[1] = block_size;
            config[2 + 13] = flags;
            // SAFETY: the buffer is as long as `struct loop_config` (304 bytes).
            if unsafe { libc::ioctl(node.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) } == 0 {
                return Loop { node, path };
            }
        }
        panic!("no loop device is free");
    }
}

/// Replaces the record.
fn note(file: &File, sync: bool) {
    fsetxattr(file, "user.floor", &RECORD, XattrFlags::empty()).expect("its record");
    if sync {
        fsync(file).expect("it is synced");
    }
}

fn clear(device: &Loop) {
    // SAFETY: this ioctl takes no argument.
    let result = unsafe { libc::ioctl(device.node.as_raw_fd(), LOOP_CLR_FD) };
    assert_eq!(result, 0, "{} is cleared", device.path);
}

/// Copies what is allocated of a template.
fn copy_extents(from: &File, to: &File) {
    let mut position = 0;
    while let Ok(start) = seek(from, SeekFrom::Data(position)) {
        position = seek(from, SeekFrom::Hole(start)).expect("a hole");
        let (mut read_at, mut write_at) = (start, start);
        while read_at < position {
            let length = usize::try_from(position - read_at).expect("a length");
            copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length)
                .expect("a copy");
        }
    }
}

/// An image with an ext4 filesystem.
pub(crate) fn template(path: &Path, size: u64) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let file = file.expect("an image");
    file.set_len(size).expect("its size");
    let lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    let image = path.display().to_string();
    let arguments = ["-q", "-F", "-b", "4096", "-m", "0", "-E", lazy, &image];
    assert!(crate::machine::tool("mkfs.ext4", &arguments), "mkfs.ext4");
    fsync(&file).expect("it is synced");
    file
}

fn loop_control() -> File {
    File::open("/dev/loop-control").expect("loop devices")
}

/// The numbers of the loop devices that the kernel knows.
pub(crate) fn existing_loops() -> BTreeSet<u32> {
    let entries = fs::read_dir("/sys/block").expect("sysfs");
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("loop")?.parse().ok()
        })
        .collect()
}

/// Removes the free loop devices that were not there `before`: they make many tools slow.
pub(crate) fn remove_loops(before: &BTreeSet<u32>) {
    let control = loop_control();
    for number in existing_loops().difference(before) {
        // SAFETY: this ioctl takes a number. It fails for a device that somebody uses, which then stays.
        unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_REMOVE, *number) };
    }
}

/// Reads the records of all files in a directory.
pub(crate) fn read_records(directory: &Path) {
    let mut record = [0; 4096];
    for entry in fs::read_dir(directory).expect("a directory") {
        let file = File::open(entry.expect("an entry").path()).expect("a file");
        fgetxattr(&file, "user.offshoot.record", &mut record).expect("a record");
    }
}

/// How long an answer takes from one thread to another: encoded, sent, received, decoded.
pub(crate) fn exchange(answer: &csi::ListVolumesResponse) -> Duration {
    let (mut here, mut there) = UnixStream::pair().expect("sockets");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bytes = answer.encode_to_vec();
            there.write_all(&bytes).expect("it is sent");
        });
        let mut bytes = Vec::new();
        here.read_to_end(&mut bytes).expect("it is received");
        csi::ListVolumesResponse::decode(bytes.as_slice()).expect("it is an answer");
    });
    begin.elapsed()
}
