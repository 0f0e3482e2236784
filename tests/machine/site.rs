//! A machine whose data directory is on a disk that a test holds in its hands.

use std::path::Path;

use faultlab::{Disk, Image};
use tempfile::NamedTempFile;

use super::{Machine, is_root, tool};

/// Whether this process may make such disks; a line that says so otherwise.
pub(crate) fn is_possible() -> bool {
    let fuse = Path::new("/dev/fuse").exists();
    if !fuse {
        eprintln!("skipped: disks that fail need /dev/fuse");
    }
    is_root() && fuse
}

/// In the order in which they must go.
pub(crate) struct Site {
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    _file: NamedTempFile,
}

impl Site {
    /// Over a new filesystem, on 1 GiB.
    pub(crate) fn new(kind: &str) -> Self {
        let force = if kind == "ext4" { "-F" } else { "-f" };
        Self::made(1 << 30, kind, &["-q", force])
    }

    /// Over a new filesystem that is made in this way.
    pub(crate) fn made(size: u64, kind: &str, arguments: &[&str]) -> Self {
        let (disk, file) = mounted(Image::new(size));
        let path = disk.path().display().to_string();
        let arguments = [arguments, &[&path]].concat();
        assert!(tool(&format!("mkfs.{kind}"), &arguments), "mkfs.{kind}");
        Self {
            machine: Machine::over(disk.path(), kind).expect("it is mounted"),
            disk,
            _file: file,
        }
    }

    /// Over these bytes; `None` when their filesystem cannot be mounted.
    pub(crate) fn over(image: Image, kind: &str) -> Option<Self> {
        let (disk, file) = mounted(image);
        Machine::over(disk.path(), kind).map(|machine| Self {
            machine,
            disk,
            _file: file,
        })
    }
}

fn mounted(image: Image) -> (Disk, NamedTempFile) {
    let file = NamedTempFile::new().expect("a file");
    let disk = Disk::mount(image, file.path()).expect("the disk is there");
    (disk, file)
}
