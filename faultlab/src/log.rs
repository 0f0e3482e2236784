//! What was written to a disk, in order, and what a power cut can leave of it.
//!
//! A flush that was answered is kept with everything before it. Of what was written later nothing is certain: it may be
//! there in the order in which it came, without some writes, or without some sectors of some writes.

use std::sync::Arc;

use crate::image::{Image, is_zero};
use crate::random::Random;

/// What every disk writes as a whole, and what nearly all do.
const SECTOR: u64 = 512;
const PHYSICAL_SECTOR: u64 = 4096;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { offset: u64, bytes: Arc<[u8]> },
    Clear { offset: u64, length: u64 },
    Flush,
}

impl Op {
    pub(crate) fn write(offset: u64, bytes: &[u8]) -> Self {
        if is_zero(bytes) {
            let length = bytes.len() as u64;
            return Self::Clear { offset, length };
        }
        Self::Write {
            offset,
            bytes: bytes.into(),
        }
    }

    fn apply(&self, image: &mut Image) {
        match self {
            Self::Write { offset, bytes } => image.write(*offset, bytes),
            Self::Clear { offset, length } => image.clear(*offset, *length),
            Self::Flush => {}
        }
    }

    /// Applies the sectors of `size` bytes that `keep` chooses.
    fn apply_torn(&self, image: &mut Image, size: u64, mut keep: impl FnMut() -> bool) {
        match self {
            Self::Write { offset, bytes } => {
                let mut at = 0;
                while at < bytes.len() {
                    let left = size - (offset + at as u64) % size;
                    let end = bytes
                        .len()
                        .min(at + usize::try_from(left).unwrap_or(usize::MAX));
                    if keep() {
                        image.write(offset + at as u64, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            Self::Clear { .. } if keep() => self.apply(image),
            Self::Clear { .. } | Self::Flush => {}
        }
    }
}

/// Everything that was written to a disk since the recording began.
#[derive(Debug, Clone)]
pub struct Log {
    pub(crate) before: Image,
    pub(crate) ops: Vec<Op>,
}

/// What becomes of the writes that no flush has made certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They were made in order, up to the cut.
    Nothing,
    /// Some were made, others not.
    Writes,
    /// Of each some blocks of 4096 bytes were made, others not: what is usual, and what filesystems rely on.
    Blocks,
    /// Of each some sectors of 512 bytes were made, others not. A superblock of ext4 has two of them.
    Sectors,
    /// None was made.
    All,
}

/// A power cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// How much of the log had happened.
    pub at: usize,
    /// What became of the rest.
    pub loss: Loss,
    /// Which rest.
    pub seed: u64,
}

impl Log {
    /// How many writes, discards and flushes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Makes images from a log; quick when the cuts come in order.
pub struct Replay<'a> {
    log: &'a Log,
    certain: Image,
    applied: usize,
}

impl<'a> Replay<'a> {
    /// The images of `log`.
    #[must_use]
    pub fn new(log: &'a Log) -> Self {
        Self {
            log,
            certain: log.before.clone(),
            applied: 0,
        }
    }

    /// What is on the disk after the power cut.
    pub fn image(&mut self, cut: Cut) -> Image {
        let happened = &self.log.ops[..cut.at.min(self.log.ops.len())];
        let flush = happened.iter().rposition(|op| matches!(op, Op::Flush));
        let certain = flush.map_or(0, |index| index + 1);
        if certain < self.applied {
            *self = Self::new(self.log);
        }
        for op in &happened[self.applied..certain] {
            op.apply(&mut self.certain);
        }
        self.applied = certain;
        let mut image = self.certain.clone();
        let mut random = Random::new(cut.seed);
        for op in &happened[certain..] {
            match cut.loss {
                Loss::Nothing => op.apply(&mut image),
                Loss::Writes if random.flip() => op.apply(&mut image),
                Loss::Blocks => op.apply_torn(&mut image, PHYSICAL_SECTOR, || random.flip()),
                Loss::Sectors => op.apply_torn(&mut image, SECTOR, || random.flip()),
                Loss::Writes | Loss::All => {}
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        let write = |sector: u64, byte: u8| Op::write(sector * 512, &[byte; 1024]);
        Log {
            before: Image::new(1 << 20),
            ops: vec![write(0, 1), Op::Flush, write(2, 2), write(4, 3), Op::Flush],
        }
    }

    #[test]
    fn a_flush_keeps_what_came_before_and_nothing_else() {
        let log = log();
        let mut replay = Replay::new(&log);
        let mut first = |at, loss, seed| {
            let image = replay.image(Cut { at, loss, seed });
            [0, 1024, 2048].map(|offset| image.read(offset, 1)[0])
        };
        assert_eq!(first(5, Loss::All, 1), [1, 2, 3]);
        assert_eq!(first(4, Loss::All, 1), [1, 0, 0]);
        assert_eq!(first(3, Loss::Nothing, 1), [1, 2, 0]);
        assert_eq!(first(1, Loss::All, 1), [0, 0, 0]);
        let dropped: Vec<_> = (0..32).map(|seed| first(4, Loss::Writes, seed)).collect();
        for possible in [[1, 0, 0], [1, 2, 0], [1, 0, 3], [1, 2, 3]] {
            assert!(dropped.contains(&possible), "{possible:?}");
        }
    }

    #[test]
    fn a_write_can_be_torn_between_sectors_and_a_seed_repeats_it() {
        let log = log();
        let torn = |loss, seed| {
            let mut replay = Replay::new(&log);
            let image = replay.image(Cut { at: 3, loss, seed });
            [1024, 1535, 1536].map(|offset| image.read(offset, 1)[0])
        };
        assert!((0..32).any(|seed| torn(Loss::Sectors, seed) == [2, 2, 0]));
        assert!((0..32).all(|seed| torn(Loss::Sectors, seed) == torn(Loss::Sectors, seed)));
        let whole = [[2, 2, 2], [0, 0, 0]];
        assert!((0..32).all(|seed| whole.contains(&torn(Loss::Blocks, seed))));
    }
}
