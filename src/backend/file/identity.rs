//! The identity of a data directory: a file that says that it is ours, and which one it is.
//!
//! An empty directory is made ours. One that holds something else is refused: it may be the mount point of a disk that is
//! not there, and must not look like "all volumes were deleted".

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Role;
use super::layout::Directory;
use super::open::OpenError;

/// The file's name in the data directory.
pub(crate) const NAME: &str = "offshoot";
/// The newest format of a data directory that this version understands.
pub(crate) const FORMAT: u32 = 1;
/// What a new filesystem may hold of its own.
const NOT_OURS: [&str; 1] = ["lost+found"];

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    uuid: String,
}

/// The identity file, open; a controller's lock is on it.
pub(super) struct Identity(File);

impl Identity {
    /// Reads the identity of `root`; a controller gives an empty directory one.
    pub(super) fn open(root: &Directory, path: &Path, role: Role) -> Result<Self, OpenError> {
        let failed = |source| OpenError::io(path, "read its identity", source);
        let file = match root.file(NAME, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && role == Role::Controller => {
                create(root, path)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::NoIdentity(path.to_owned()));
            }
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        (&file).read_to_string(&mut text).map_err(failed)?;
        match serde_json::from_str::<Content>(&text) {
            Ok(content) if content.format <= FORMAT => Ok(Self(file)),
            Ok(content) => Err(OpenError::Newer {
                path: path.to_owned(),
                format: content.format,
            }),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Locks the directory for one controller; the lock ends with the process.
    pub(super) fn lock(&self, path: &Path) -> Result<(), OpenError> {
        use rustix::fs::{FlockOperation, flock};
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(path.to_owned())),
            Err(error) => Err(OpenError::io(path, "lock it", error.into())),
        }
    }

    /// Whether `path` still leads to this directory: its disk may have been taken away, or another put over it.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let ours = self.0.metadata()?;
        match std::fs::symlink_metadata(path.join(NAME)) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn create(root: &Directory, path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::io(path, "give it an identity", source);
    let mut names = root.names().map_err(failed)?;
    names.retain(|name| !NOT_OURS.contains(&name.as_str()));
    if let Some(name) = names.pop() {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path, name });
    }
    let mut file = root
        .nameless()
        .map_err(|source| OpenError::lacks(path, "nameless files (O_TMPFILE)", source))?;
    let content = Content {
        format: FORMAT,
        uuid: Uuid::random().map_err(failed)?.to_string(),
    };
    let text = serde_json::to_string(&content).map_err(|error| failed(error.into()))?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // Another process of the driver may have been first; then its identity holds.
    root.link(&file, NAME).map_err(failed)?;
    root.file(NAME, false).map_err(failed)
}

/// A UUID.
#[derive(Clone, Copy)]
pub(super) struct Uuid(pub(super) [u8; 16]);

impl Uuid {
    /// A random one (RFC 9562, version 4).
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |range: Range<usize>| {
            format!(
                "{:0w$x}",
                self.0[range.clone()]
                    .iter()
                    .fold(0_u64, |all, byte| all << 8 | u64::from(*byte)),
                w = range.len() * 2
            )
        };
        let groups = [0..4, 4..6, 6..8, 8..10, 10..16].map(hex);
        formatter.write_str(&groups.join("-"))
    }
}
