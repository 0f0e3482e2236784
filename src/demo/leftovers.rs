//! The proof that nothing is left: no mount, no loop device, no file.

use std::fs;
use std::io;
use std::path::Path;

use super::DemoError;

/// Looks for everything that the demonstration could have left; `kept` volumes are meant to be there.
pub(super) fn prove(dir: &Path, data_dir: &Path, kept: bool) -> Result<String, DemoError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|source| io_error("the mount table", source))?;
    let mut left = mounts_below(&mounts, dir);
    left.extend(loops_of(data_dir).map_err(|source| io_error("/sys/block", source))?);
    if !kept {
        for directory in ["volumes", "snapshots", "groups", "node"] {
            left.extend(files_in(&data_dir.join(directory)));
        }
    }
    left.extend(
        files_in(&dir.join("kubelet"))
            .into_iter()
            .filter(|it| !it.ends_with("-staging")),
    );
    if left.is_empty() {
        return Ok("no mount, no loop device, no file".to_owned());
    }
    Err(DemoError::LeftBehind(left.join(", ")))
}

/// The mount points below `dir`, of a mount table in the form of `/proc/self/mountinfo`.
fn mounts_below(table: &str, dir: &Path) -> Vec<String> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below = points.filter(|point| Path::new(point).starts_with(dir));
    below.map(|point| format!("mount {point}")).collect()
}

/// The loop devices that have a file below `data_dir` behind them.
fn loops_of(data_dir: &Path) -> io::Result<Vec<String>> {
    let mut loops = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let path = entry?.path();
        let backing = fs::read_to_string(path.join("loop/backing_file"));
        if backing.is_ok_and(|backing| Path::new(backing.trim_end()).starts_with(data_dir)) {
            loops.push(format!("loop device {}", path.display()));
        }
    }
    Ok(loops)
}

/// A directory that is not there holds nothing.
fn files_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn io_error(what: &str, source: io::Error) -> DemoError {
    DemoError::Io {
        action: format!("read {what}"),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_mount_point() {
        let table = "29 1 254:1 / / rw - ext4 /dev/vda1 rw\n\
                     98 29 7:3 / /tmp/demo/kubelet/a rw shared:1 - xfs /dev/loop3 rw\n\
                     99 29 7:4 / /tmp/demolition rw - xfs /dev/loop4 rw\n";
        assert_eq!(
            mounts_below(table, Path::new("/tmp/demo")),
            ["mount /tmp/demo/kubelet/a"]
        );
    }
}
