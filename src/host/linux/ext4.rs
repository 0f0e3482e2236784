//! Giving a copy of an ext4 image an identity of its own.
//!
//! With the feature `metadata_csum_seed` the checksums of all other metadata do not depend on the UUID, so that only the
//! superblocks change: the first one and its backups (Documentation/filesystems/ext4, "Super Block").

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where the first superblock begins, and how long each is.
const FIRST: u64 = 1024;
const LENGTH: usize = 1024;
const MAGIC: [u8; 2] = [0x53, 0xef];
const BLOCKS_PER_GROUP: usize = 0x20;
const BLOCK_SIZE_SHIFT: usize = 0x18;
const UUID: usize = 0x68;
const HASH_SEED: usize = 0xec;
const CHECKSUM: usize = 0x3fc;

/// Gives the filesystem on `file`, which no one has mounted and which was made with [`super::mkfs::make`], this
/// UUID and this seed for the hashes of its directories.
pub(crate) fn set_identity(file: &File, uuid: [u8; 16], hash_seed: [u8; 16]) -> io::Result<()> {
    let first = read(file, FIRST)?.ok_or_else(|| io::Error::other("it has no ext4 superblock"))?;
    let block_size = 1024_u64 << u32_at(&first, BLOCK_SIZE_SHIFT);
    let group_size = u64::from(u32_at(&first, BLOCKS_PER_GROUP)) * block_size;
    write(file, FIRST, first, uuid, hash_seed)?;
    let groups = file.metadata()?.len().div_ceil(group_size.max(1));
    for group in (1..groups).filter(|group| has_backup(*group)) {
        let position = group * group_size;
        if let Some(backup) = read(file, position)? {
            write(file, position, backup, uuid, hash_seed)?;
        }
    }
    Ok(())
}

/// Feature `sparse_super`: backups are in group 1 and in the powers of 3, 5 and 7. Blocks are 4096 bytes, so that the
/// first block of a group is where its backup begins.
fn has_backup(group: u64) -> bool {
    let is_power = |base: u64| {
        let mut rest = group;
        while rest > 1 && rest.is_multiple_of(base) {
            rest /= base;
        }
        rest == 1
    };
    [3, 5, 7].into_iter().any(is_power)
}

/// The superblock at `position`, if one is there.
fn read(file: &File, position: u64) -> io::Result<Option<[u8; LENGTH]>> {
    let mut block = [0; LENGTH];
    match file.read_exact_at(&mut block, position) {
        Ok(()) => Ok((block[0x38..0x3a] == MAGIC).then_some(block)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(
    file: &File,
    position: u64,
    mut block: [u8; LENGTH],
    uuid: [u8; 16],
    hash_seed: [u8; 16],
) -> io::Result<()> {
    block[UUID..UUID + 16].copy_from_slice(&uuid);
    block[HASH_SEED..HASH_SEED + 16].copy_from_slice(&hash_seed);
    // The kernel's CRC-32C is not inverted at its end.
    let checksum = !crc32c::crc32c(&block[..CHECKSUM]);
    block[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&block, position)
}

fn u32_at(block: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_in_powers_of_3_5_and_7() {
        let groups: Vec<u64> = (1..100).filter(|group| has_backup(*group)).collect();
        assert_eq!(groups, [1, 3, 5, 7, 9, 25, 27, 49, 81]);
    }
}
