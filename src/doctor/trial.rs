//! What the filesystem of a directory can do, tried on files that never get a name.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, XattrFlags, fsetxattr, ftruncate, ioctl_ficlone, linkat, open,
    unlinkat,
};

/// Each is `None` when it works, or says why not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trial {
    /// A nameless file (`O_TMPFILE`).
    pub(super) nameless: Option<String>,
    /// An extended attribute of users.
    pub(super) xattr: Option<String>,
    /// A name for it, where that does not disturb: `None` too when it was not tried.
    pub(super) link: Option<String>,
    /// `FICLONE`.
    pub(super) reflink: Option<String>,
    /// Direct IO.
    pub(super) direct_io: Option<String>,
}

impl Trial {
    /// Tries everything in `directory`. Names are given in `names` only, in which the driver overlooks foreign ones.
    pub(super) fn run(directory: &Path, names: Option<PathBuf>) -> Self {
        let file = match nameless(directory, OFlags::empty()) {
            Ok(file) => file,
            Err(error) => {
                return Self {
                    nameless: Some(error.to_string()),
                    ..Self::default()
                };
            }
        };
        let said = |result: io::Result<()>| result.err().map(|error| error.to_string());
        let direct = nameless(directory, OFlags::DIRECT).map(drop);
        Self {
            nameless: None,
            xattr: said(xattr(&file)),
            reflink: said(reflink(directory, &file)),
            direct_io: said(direct),
            link: names.and_then(|names| said(link(&names))),
        }
    }
}

fn nameless(directory: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(open(directory, flags, Mode::from_raw_mode(0o600))?.into())
}

fn xattr(file: &File) -> io::Result<()> {
    Ok(fsetxattr(
        file,
        "user.offshoot.doctor",
        b"1",
        XattrFlags::empty(),
    )?)
}

fn reflink(directory: &Path, file: &File) -> io::Result<()> {
    ftruncate(file, 4096)?;
    let copy = nameless(directory, OFlags::empty())?;
    Ok(ioctl_ficlone(&copy, file)?)
}

/// Gives a file a name and takes it away again.
fn link(directory: &Path) -> io::Result<()> {
    let file = nameless(directory, OFlags::empty())?;
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let name = directory.join(format!(".doctor-{}", std::process::id()));
    linkat(CWD, source, CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
    Ok(unlinkat(CWD, &name, AtFlags::empty())?)
}
