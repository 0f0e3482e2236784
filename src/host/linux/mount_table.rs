//! The table of mounts as the kernel prints it (`/proc/self/mountinfo`): for people only. No decision about a volume is made
//! from it (see `look`).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The device's number as `major:minor`.
    pub(crate) device: String,
    /// What of the filesystem is mounted there.
    pub(crate) root: PathBuf,
    /// Where.
    pub(crate) point: PathBuf,
    /// Mounts made below it are seen by its peers in other namespaces.
    pub(crate) shared: bool,
    /// The type of the filesystem.
    pub(crate) fs_type: String,
    /// Options of the mount and of the filesystem.
    pub(crate) options: Vec<String>,
}

/// All mounts of this namespace.
pub(crate) fn read() -> io::Result<Vec<MountLine>> {
    let text = fs::read_to_string(TABLE)
        .map_err(|error| io::Error::new(error.kind(), format!("{TABLE}: {error}")))?;
    Ok(parse(&text))
}

pub(crate) fn parse(text: &str) -> Vec<MountLine> {
    text.lines().filter_map(line).collect()
}

/// The mount that `path` is on: the last one at the longest mount point.
pub(crate) fn mount_of<'a>(table: &'a [MountLine], path: &Path) -> Option<&'a MountLine> {
    let above = table.iter().filter(|it| path.starts_with(&it.point));
    above.max_by_key(|it| it.point.components().count())
}

/// proc(5): id, parent, device, root, point, options, optional fields, `-`, type, source, options of the filesystem.
fn line(line: &str) -> Option<MountLine> {
    let fields: Vec<&str> = line.split(' ').collect();
    let end = fields.iter().position(|it| *it == "-")?;
    let options = [*fields.get(5)?, *fields.get(end + 3)?];
    Some(MountLine {
        device: (*fields.get(2)?).to_owned(),
        root: unescape(fields.get(3)?),
        point: unescape(fields.get(4)?),
        shared: fields
            .get(6..end)?
            .iter()
            .any(|it| it.starts_with("shared:")),
        fs_type: (*fields.get(end + 1)?).to_owned(),
        options: options
            .iter()
            .flat_map(|it| it.split(','))
            .map(str::to_owned)
            .collect(),
    })
}

/// The kernel writes spaces and the like as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|it| std::str::from_utf8(it).ok());
        let value = digits.and_then(|it| u8::from_str_radix(it, 8).ok());
        match value {
            Some(value) if *first == b'\\' => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "29 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw,nobarrier\n\
                         98 29 7:3 / /k/a\\040b rw shared:1 master:2 - xfs /dev/loop3 rw\n\
                         99 29 7:4 /sub /k rw master:7 - xfs /dev/loop4 rw\n";

    #[test]
    fn lines_are_taken_apart() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 3);
        assert_eq!(table[0].options, ["rw", "relatime", "rw", "nobarrier"]);
        assert_eq!(table[1].point, Path::new("/k/a b"));
        assert_eq!(table[1].device, "7:3");
        assert!(table[1].shared && !table[2].shared && !table[0].shared);
        assert_eq!(table[2].root, Path::new("/sub"));
    }

    #[test]
    fn a_path_is_on_the_nearest_mount() {
        let table = parse(TABLE);
        let point = |path: &str| mount_of(&table, Path::new(path)).map(|it| it.device.as_str());
        assert_eq!(point("/k/a b/c"), Some("7:3"));
        assert_eq!(point("/k/x"), Some("7:4"));
        assert_eq!(point("/kk"), Some("254:1"));
    }
}
