//! The bytes of a disk: sparse, and cheap to copy.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 4096;

/// The bytes of a disk. Blocks of zeros take no memory, and copies share what is equal.
#[derive(Debug, Clone)]
pub struct Image {
    size: u64,
    blocks: HashMap<u64, Arc<[u8; BLOCK]>>,
}

impl Image {
    /// A disk of zeros.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            blocks: HashMap::new(),
        }
    }

    /// How large the disk is.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from `offset` on; the part that is on the disk.
    #[must_use]
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let length = clip(self.size, offset, length as u64);
        let mut bytes = vec![0; length];
        each_block(offset, length, |block, inside, at| {
            if let Some(found) = self.blocks.get(&block) {
                bytes[at..at + inside.len()].copy_from_slice(&found[inside]);
            }
        });
        bytes
    }

    /// Writes at `offset`, as far as the disk goes.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let length = clip(self.size, offset, bytes.len() as u64);
        each_block(offset, length, |block, inside, at| {
            let new = &bytes[at..at + inside.len()];
            if inside.len() == BLOCK && is_zero(new) {
                self.blocks.remove(&block);
                return;
            }
            let found = self
                .blocks
                .entry(block)
                .or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(found)[inside].copy_from_slice(new);
        });
    }

    /// Makes `length` bytes at `offset` zeros.
    pub fn clear(&mut self, offset: u64, length: u64) {
        let length = clip(self.size, offset, length);
        each_block(offset, length, |block, inside, _| {
            if inside.len() == BLOCK {
                self.blocks.remove(&block);
            } else if let Some(found) = self.blocks.get_mut(&block) {
                Arc::make_mut(found)[inside].fill(0);
            }
        });
    }

    /// Writes the image into a sparse file, for a closer look.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (block, bytes) in &self.blocks {
            file.write_all_at(&bytes[..], block * BLOCK as u64)?;
        }
        Ok(())
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// How much of a range is on the disk.
fn clip(size: u64, offset: u64, length: u64) -> usize {
    usize::try_from(size.saturating_sub(offset).min(length)).unwrap_or(usize::MAX)
}

/// Calls `work` for each block of a range, with the part of the block and where in the range that part begins.
fn each_block(
    offset: u64,
    length: usize,
    mut work: impl FnMut(u64, std::ops::Range<usize>, usize),
) {
    let mut at = 0;
    while at < length {
        let position = offset + at as u64;
        let start = usize::try_from(position % BLOCK as u64).unwrap_or(0);
        let end = BLOCK.min(start + length - at);
        work(position / BLOCK as u64, start..end, at);
        at += end - start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_copies_are_independent() {
        let mut image = Image::new(3 * BLOCK as u64);
        image.write(4090, b"across blocks");
        let copy = image.clone();
        assert_eq!(image.read(4090, 13), b"across blocks");
        image.clear(4096, BLOCK as u64);
        assert_eq!(image.read(4090, 13), b"across\0\0\0\0\0\0\0");
        assert_eq!(copy.read(4090, 13), b"across blocks");
        assert_eq!(image.read(3 * BLOCK as u64 - 2, 10), [0, 0]);
        image.write(0, &[0; BLOCK]);
        assert!(image.blocks.is_empty(), "zeros take no room");
    }
}
