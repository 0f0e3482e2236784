//! The proof that nothing is left: no mount, no loop device, no file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DemoError, Place};
use crate::backend::file::layout::{GROUPS, SNAPSHOTS, VOLUMES};
use crate::host::linux::mount_table::{self, MountLine};
use crate::host::linux::{STATE_DIR, loop_table};

/// Looks for everything that the demonstration could have left; `kept` volumes are meant to be there.
pub(super) fn prove(place: &Place, kept: bool) -> Result<String, DemoError> {
    let mounts = mount_table::read();
    let mounts = mounts.map_err(|source| unreadable(Path::new("/proc/self/mountinfo"), source))?;
    let mut left = mounts_below(&mounts, &place.dir);
    left.extend(loops_of(&place.data_dir)?);
    left.extend(
        files_in(&place.kubelet())?
            .iter()
            .map(|it| it.display().to_string()),
    );
    if !kept {
        let now = files_of(&place.data_dir)?;
        let new = now.difference(&place.before);
        left.extend(new.map(|it| it.display().to_string()));
    }
    if left.is_empty() {
        return Ok("no mount, no loop device, no file".to_owned());
    }
    Err(DemoError::LeftBehind(left.join(", ")))
}

/// What a data directory holds of volumes, snapshots, groups and their ledger.
pub(super) fn files_of(data_dir: &Path) -> Result<BTreeSet<PathBuf>, DemoError> {
    let mut files = BTreeSet::new();
    for directory in [VOLUMES, SNAPSHOTS, GROUPS, STATE_DIR] {
        files.extend(files_in(&data_dir.join(directory))?);
    }
    Ok(files)
}

/// The mount points below `dir`.
fn mounts_below(table: &[MountLine], dir: &Path) -> Vec<String> {
    let below = table.iter().filter(|it| it.point.starts_with(dir));
    below
        .map(|it| format!("mount {}", it.point.display()))
        .collect()
}

/// The loop devices that have a file below `data_dir` behind them.
fn loops_of(data_dir: &Path) -> Result<Vec<String>, DemoError> {
    let devices = loop_table::backing_files();
    let devices = devices.map_err(|source| unreadable(Path::new("/sys/block"), source))?;
    let ours = devices.iter().filter(|it| it.path.starts_with(data_dir));
    Ok(ours
        .map(|it| format!("loop device /dev/{}", it.device))
        .collect())
}

/// A directory that is not there holds nothing.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| unreadable(directory, source))?,
    };
    let paths = entries.map(|entry| entry.map(|it| it.path()));
    paths
        .collect::<io::Result<_>>()
        .map_err(|source| unreadable(directory, source))
}

fn unreadable(path: &Path, source: io::Error) -> DemoError {
    DemoError::Io {
        action: format!("read {}", path.display()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_mount_point() {
        let table = "29 1 254:1 / / rw - ext4 /dev/vda1 rw\n\
                     98 29 7:3 / /tmp/demo/kubelet/a\\040b rw shared:1 - xfs /dev/loop3 rw\n\
                     99 29 7:4 / /tmp/demolition rw - xfs /dev/loop4 rw\n";
        assert_eq!(
            mounts_below(&mount_table::parse(table), Path::new("/tmp/demo")),
            ["mount /tmp/demo/kubelet/a b"]
        );
    }
}
