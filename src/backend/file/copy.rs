//! Copies of images: a reflink where the filesystem can, else a copy of what is allocated.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::Errno;

use crate::volume::Bytes;

/// How much is copied by one system call.
const PIECE: u64 = 64 << 20;

/// Whether `from` can be shared with `to` instead of copied; if so, it is.
pub(super) fn share(from: &File, to: &File) -> io::Result<bool> {
    match ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::XDEV | Errno::NOSYS | Errno::NOTTY) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Copies what is allocated by reading and writing it, so that the copy shares nothing: its space is its own.
pub(super) fn copy_unshared(from: &File, to: &File) -> io::Result<()> {
    let mut piece = vec![0; 1 << 20];
    each_extent(from, |start, end| {
        let mut position = start;
        while position < end {
            let length = usize::try_from(end - position).unwrap_or(usize::MAX);
            let length = length.min(piece.len());
            let read = from.read_at(&mut piece[..length], position)?;
            if read == 0 {
                return Ok(());
            }
            to.write_all_at(&piece[..read], position)?;
            position += read as u64;
        }
        Ok(())
    })
}

/// How much a copy of `file` takes.
pub(super) fn allocated(file: &File) -> io::Result<Bytes> {
    Ok(Bytes(file.metadata()?.blocks() * 512))
}

/// Copies what is allocated of `from`; holes stay holes. `to` is as large as `from` and empty.
pub(super) fn copy_allocated(from: &File, to: &File) -> io::Result<()> {
    each_extent(from, |start, end| copy_range(from, to, start, end))
}

/// Calls `work` with the begin and the end of each part that is no hole.
fn each_extent(file: &File, mut work: impl FnMut(u64, u64) -> io::Result<()>) -> io::Result<()> {
    let mut position = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(start))?;
        work(start, position)?;
    }
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from((end - read_at).min(PIECE)).map_err(io::Error::other)?;
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
            // The source became shorter: a hole was punched at its end.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
