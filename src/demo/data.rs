//! What a pod does: write bytes, and read them back.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::DemoError;

const PIECE: usize = 1 << 20;

/// How many bytes a pod writes.
pub(super) const LENGTH: usize = 8 * PIECE;

/// Bytes that are known by their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written([u8; 32]);

/// Writes random bytes to `path`, a file or a device, and waits until they are on the disk.
pub(super) fn write(path: &Path) -> Result<Written, DemoError> {
    write_all(path).map_err(|source| DemoError::Io {
        action: format!("write to {}", path.display()),
        source,
    })
}

/// Whether `path` begins with these bytes.
pub(super) fn check(path: &Path, written: &Written) -> Result<(), DemoError> {
    let found = read(path).map_err(|source| DemoError::Io {
        action: format!("read {}", path.display()),
        source,
    })?;
    if found == *written {
        return Ok(());
    }
    Err(DemoError::OtherBytes(path.to_owned()))
}

fn write_all(path: &Path) -> io::Result<Written> {
    let mut random = File::open("/dev/urandom")?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    for _ in 0..LENGTH / PIECE {
        random.read_exact(&mut piece)?;
        digest.update(&piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(Written(digest.finalize().into()))
}

fn read(path: &Path) -> io::Result<Written> {
    let mut file = File::open(path)?.take(LENGTH as u64);
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Written(digest.finalize().into())),
            length => digest.update(&piece[..length]),
        }
    }
}
