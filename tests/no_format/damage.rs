//! What can become of the bytes of a volume.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use faultlab::Random;
use offshoot::volume::FsType;

/// Other things that a device can hold: how they are called, where their mark is, and what it is.
const FOREIGN: &[(&str, u64, &[u8])] = &[
    ("swap", 4086, b"SWAPSPACE2"),
    ("LUKS 1", 0, b"LUKS\xba\xbe\x00\x01"),
    ("LUKS 2", 0, b"LUKS\xba\xbe\x00\x02"),
    ("LVM", 512, b"LABELONE\x01\x00\x00\x00\x00\x00\x00\x00"),
    ("partition table", 510, b"\x55\xaa"),
    ("GPT", 512, b"EFI PART\x00\x00\x01\x00"),
    ("NTFS", 3, b"NTFS    "),
    ("FAT", 54, b"FAT16   "),
    ("exFAT", 3, b"EXFAT   "),
    ("SquashFS", 0, b"hsqs"),
    ("ISO 9660", 32769, b"CD001"),
    ("software RAID", 4096, b"\xfc\x4e\x2b\xa9\x01\x00\x00\x00"),
    ("F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("JFS", 32768, b"JFS1"),
    ("ReiserFS", 65588, b"ReIsEr2Fs"),
    ("XFS", 0, b"XFSB"),
    ("ext", 1080, b"\x53\xef"),
    ("btrfs", 65600, b"_BHRfS_M"),
    ("Bluestore", 0, b"bluestore block device\n"),
    ("bcache", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
];

/// Something that happened to a volume's bytes.
#[derive(Debug, Clone)]
#[expect(
    dead_code,
    reason = "the name of what is foreign is for people, by Debug"
)]
pub(crate) enum Damage {
    FlippedBits {
        at: u64,
        length: u64,
        count: u64,
    },
    Garbage {
        at: u64,
        length: u64,
    },
    Zeros {
        at: u64,
        length: u64,
    },
    Truncated {
        to: u64,
    },
    Foreign {
        what: &'static str,
        at: u64,
        mark: &'static [u8],
        over_zeros: bool,
    },
    /// The bytes of another volume.
    Exchanged {
        with: FsType,
    },
}

/// Where the superblock of a filesystem is.
pub(crate) fn superblock(fs: FsType) -> (u64, u64) {
    match fs {
        FsType::Ext4 => (1024, 1024),
        FsType::Xfs => (0, 512),
        FsType::Btrfs => (65536, 4096),
    }
}

impl Damage {
    /// Some damage to a volume of `size` bytes.
    pub(crate) fn choose(random: &mut Random, fs: FsType, size: u64) -> Self {
        let (start, length) = superblock(fs);
        match random.below(16) {
            0..3 => Self::FlippedBits {
                at: start,
                length,
                count: 1 + random.below(8),
            },
            3..6 => Self::Garbage {
                at: random.below(1 << 20),
                length: 1 + random.below(4096),
            },
            6..8 => Self::Garbage {
                at: random.below(size),
                length: 1 + random.below(1 << 16),
            },
            8 => Self::Zeros { at: start, length },
            9 => Self::Zeros {
                at: 0,
                length: 1 + random.below(1 << 20),
            },
            10 => Self::Zeros {
                at: random.below(size),
                length: 1 + random.below(1 << 20),
            },
            11 => Self::Zeros {
                at: 0,
                length: size,
            },
            12 => Self::Truncated {
                to: random.below(size),
            },
            13 => {
                let others: Vec<FsType> = FsType::ALL.into_iter().filter(|it| *it != fs).collect();
                Self::Exchanged {
                    with: *random.choose(&others),
                }
            }
            _ => {
                let (what, at, mark) = *random.choose(FOREIGN);
                Self::Foreign {
                    what,
                    at,
                    mark,
                    over_zeros: random.flip(),
                }
            }
        }
    }

    /// Does it to the file of a volume; `other` opens the untouched bytes of another.
    pub(crate) fn inflict(
        &self,
        file: &File,
        random: &mut Random,
        other: impl FnOnce(FsType) -> File,
    ) -> io::Result<()> {
        match *self {
            Self::FlippedBits { at, length, count } => {
                for _ in 0..count {
                    let at = at + random.below(length);
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, at)?;
                    byte[0] ^= 1 << random.below(8);
                    file.write_all_at(&byte, at)?;
                }
                Ok(())
            }
            Self::Garbage { at, length } => {
                let mut bytes = vec![0; usize::try_from(clip(file, at, length)?).unwrap_or(0)];
                random.fill(&mut bytes);
                file.write_all_at(&bytes, at)
            }
            Self::Zeros { at, length } => clear(file, at, clip(file, at, length)?),
            Self::Truncated { to } => file.set_len(to),
            Self::Foreign {
                at,
                mark,
                over_zeros,
                ..
            } => {
                if over_zeros {
                    clear(file, 0, clip(file, 0, 1 << 20)?)?;
                }
                file.write_all_at(mark, at)
            }
            Self::Exchanged { with } => {
                let size = file.metadata()?.len();
                rustix::fs::ioctl_ficlone(file, other(with))?;
                // At least as large as before: else it would only be too short.
                file.set_len(size)
            }
        }
    }
}

fn clip(file: &File, at: u64, length: u64) -> io::Result<u64> {
    Ok(length.min(file.metadata()?.len().saturating_sub(at)))
}

fn clear(file: &File, at: u64, length: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags as Flags;
    if length == 0 {
        return Ok(());
    }
    Ok(rustix::fs::fallocate(
        file,
        Flags::PUNCH_HOLE | Flags::KEEP_SIZE,
        at,
        length,
    )?)
}

/// What is in a file: a sum for each block of 4096 bytes that is not zero.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    length: u64,
    blocks: BTreeMap<u64, u32>,
}

impl Fingerprint {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        use rustix::fs::{SeekFrom, seek};
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let (mut blocks, mut position) = (BTreeMap::new(), 0);
        let mut piece = vec![0; 1 << 20];
        while let Ok(start) = seek(&file, SeekFrom::Data(position)) {
            position = seek(&file, SeekFrom::Hole(start))?;
            let mut at = start;
            while at < position {
                let wanted = usize::try_from((position - at).min(1 << 20)).unwrap_or(0);
                file.read_exact_at(&mut piece[..wanted], at)?;
                for (index, block) in piece[..wanted].chunks(4096).enumerate() {
                    if block.iter().any(|byte| *byte != 0) {
                        blocks.insert(at / 4096 + index as u64, crc32c::crc32c(block));
                    }
                }
                at += wanted as u64;
            }
        }
        Ok(Self { length, blocks })
    }

    /// In which blocks two differ; all, when their lengths do.
    pub(crate) fn difference(&self, other: &Self) -> Vec<u64> {
        let all = self.blocks.keys().chain(other.blocks.keys());
        let differ = |block: &&u64| {
            self.length != other.length || self.blocks.get(block) != other.blocks.get(block)
        };
        let blocks: BTreeSet<u64> = all.filter(differ).copied().collect();
        blocks.into_iter().collect()
    }
}
