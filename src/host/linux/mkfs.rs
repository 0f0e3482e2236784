//! Making filesystems on new files, and growing those of private copies.
//!
//! Only files that have no name yet come here: what can be formatted or repaired is never a volume.

use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use super::command::CommandError;
use super::tools::{E2FSCK, MKFS_BTRFS, MKFS_EXT4, MKFS_XFS, RESIZE2FS};
use crate::volume::FsType;

/// How often, and after which time, a tool is run again that other volumes were in the way of.
const ATTEMPTS: usize = 10;
const INTERVAL: Duration = Duration::from_millis(20);

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
        FsType::Btrfs => patiently(|| MKFS_BTRFS.run(&["-q", "-f", "-K", "-U", uuid], file, 0)),
    }
}

/// Again, while what other volumes do is in the way; that is seen before anything is written.
fn patiently(run: impl Fn() -> Result<(), CommandError>) -> Result<(), CommandError> {
    for _ in 1..ATTEMPTS {
        match run() {
            Err(error) if error.met_another_unmount() => sleep(INTERVAL),
            made => return made,
        }
    }
    run()
}

/// Makes the ext4 filesystem on a private copy as large as `file`. Its journal is replayed on the way.
pub(crate) fn grow_ext4(file: &File) -> Result<(), CommandError> {
    // Exit codes 1 and 2: errors were corrected. They are in the copy only.
    E2FSCK.run(&["-f", "-p"], file, 2)?;
    RESIZE2FS.run(&["-f"], file, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn failed(output: &str) -> CommandError {
        CommandError::Failed {
            tool: "mkfs.btrfs",
            status: ExitStatus::from_raw(1 << 8),
            output: output.to_owned(),
        }
    }

    #[test]
    fn what_another_volume_disturbs_is_tried_again() {
        let runs = Cell::new(0);
        let disturbed = "ERROR: cannot check mount status of /proc/self/fd/0: No such device";
        let made = patiently(|| {
            runs.set(runs.get() + 1);
            if runs.get() < 3 {
                Err(failed(disturbed))
            } else {
                Ok(())
            }
        });
        assert!(made.is_ok() && runs.get() == 3);
        runs.set(0);
        let made = patiently(|| {
            runs.set(runs.get() + 1);
            Err(failed("ERROR: unable to write"))
        });
        assert!(made.is_err() && runs.get() == 1);
    }
}
