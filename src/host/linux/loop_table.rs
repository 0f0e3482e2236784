//! Which files are behind which loop devices, as sysfs shows it: for people and counters. No decision about a volume is
//! made from it (see `loop_device`). Reading it touches no disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const BLOCK: &str = "/sys/block";
/// What the kernel appends to the path of a file that has no name any more.
const DELETED: &str = " (deleted)";

/// A loop device with something behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    /// The device's name, such as `loop0`.
    pub(crate) device: String,
    /// The file's path, as the kernel knew it when it was put there.
    pub(crate) path: PathBuf,
    /// The file has no name any more.
    pub(crate) deleted: bool,
}

/// All of them, in no order.
pub(crate) fn backing_files() -> io::Result<Vec<Backing>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(BLOCK)? {
        let name = entry?.file_name();
        let Some(device) = name.to_str().filter(|name| name.starts_with("loop")) else {
            continue;
        };
        // A device with nothing behind it has no such file, and any may vanish meanwhile.
        let file = Path::new(BLOCK).join(device).join("loop/backing_file");
        if let Ok(text) = fs::read_to_string(file) {
            found.push(backing(device, text.trim_end_matches('\n')));
        }
    }
    Ok(found)
}

fn backing(device: &str, shown: &str) -> Backing {
    let (path, deleted) = match shown.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (shown, false),
    };
    Backing {
        device: device.to_owned(),
        path: path.into(),
        deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_is_told_apart() {
        let there = backing("loop3", "/data/volumes/v1-0");
        assert_eq!(there.path, Path::new("/data/volumes/v1-0"));
        assert!(!there.deleted);
        let gone = backing("loop3", "/data/volumes/v1-0 (deleted)");
        assert_eq!((gone.path, gone.deleted), (there.path, true));
    }

    #[test]
    fn sysfs_can_be_read() {
        assert!(backing_files().is_ok());
    }
}
