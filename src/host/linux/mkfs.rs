//! Making filesystems on new files, and growing those of private copies.
//!
//! Only files that have no name yet come here: what can be formatted or repaired is never a volume.

use std::fs::File;

use super::command::CommandError;
use super::tools::{E2FSCK, MKFS_BTRFS, MKFS_EXT4, MKFS_XFS, RESIZE2FS};
use crate::volume::FsType;

/// Makes a filesystem as large as `file`, with this UUID. Allocated space stays allocated: nothing is discarded.
pub(crate) fn make(fs: FsType, uuid: &str, file: &File) -> Result<(), CommandError> {
    match fs {
        FsType::Ext4 => {
            let lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
            // See `ext4`: copies get an identity of their own.
            let features = "metadata_csum,metadata_csum_seed";
            let arguments = ["-q", "-F", "-b", "4096", "-m", "0", "-O", features];
            let arguments = [&arguments[..], &["-E", lazy, "-U", uuid]].concat();
            MKFS_EXT4.run(&arguments, file, 0)
        }
        FsType::Xfs => {
            let uuid = format!("uuid={uuid}");
            MKFS_XFS.run(&["-q", "-f", "-K", "-s", "size=4096", "-m", &uuid], file, 0)
        }
        FsType::Btrfs => MKFS_BTRFS.run(&["-q", "-f", "-K", "-U", uuid], file, 0),
    }
}

/// Makes the ext4 filesystem on a private copy as large as `file`. Its journal is replayed on the way.
pub(crate) fn grow_ext4(file: &File) -> Result<(), CommandError> {
    // Exit codes 1 and 2: errors were corrected. They are in the copy only.
    E2FSCK.run(&["-f", "-p"], file, 2)?;
    RESIZE2FS.run(&["-f"], file, 0)
}
