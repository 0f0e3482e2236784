//! What is on a device, read from its superblocks. It can only veto: nothing is ever formatted because of what is seen here.

use std::fmt::Write as _;
use std::io;

use rustix::fs::OFlags;

use super::path::open_device;
use crate::host::{HostError, Probed, Result};
use crate::volume::{Bytes, Device, FsType};

/// Enough for every superblock that we know; btrfs keeps its own at 64 KiB.
const LENGTH: usize = 128 << 10;
const ALIGNMENT: usize = 4096;
const BTRFS_SUPERBLOCK: usize = 64 << 10;
const EXT4_SUPERBLOCK: usize = 1024;

/// What is on `device`. A read that fails is an error.
pub(super) fn probe(device: &Device) -> Result<Probed> {
    let head = read_head(device).map_err(|error| {
        HostError::failed(
            format!("read the first sectors of {}", device.path.display()),
            error,
        )
    })?;
    Ok(recognise(&head))
}

/// Past the page cache where possible: a mounted filesystem may have written past it.
fn read_head(device: &Device) -> io::Result<Vec<u8>> {
    match read_with(device, OFlags::RDONLY | OFlags::DIRECT) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            read_with(device, OFlags::RDONLY)
        }
        result => result,
    }
}

fn read_with(device: &Device, flags: OFlags) -> io::Result<Vec<u8>> {
    let node = open_device(device, flags)?;
    let mut memory = vec![0_u8; LENGTH + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let mut length = 0;
    while length < LENGTH {
        let part = &mut memory[start + length..start + LENGTH];
        match rustix::io::pread(&node, part, length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(memory[start..start + length].to_vec())
}

pub(crate) fn recognise(head: &[u8]) -> Probed {
    let known = [btrfs(head), xfs(head), ext4(head)];
    let mut found = known.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        (Some(_), Some(_)) => Probed::Other("several filesystems at once".to_owned()),
        (None, _) => Probed::Other(describe(head).to_owned()),
    }
}

fn ext4(head: &[u8]) -> Option<Probed> {
    let block = head.get(EXT4_SUPERBLOCK..EXT4_SUPERBLOCK + 1024)?;
    if block[56..58] != [0x53, 0xef] {
        return None;
    }
    let has_64_bit = le32(block, 96) & 0x80 != 0;
    let high = if has_64_bit { le32(block, 0x150) } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(le32(block, 4));
    let shift = le32(block, 24).checked_add(10);
    let size = Bytes(shift.and_then(|it| blocks.checked_shl(it)).unwrap_or(0));
    Some(filesystem(FsType::Ext4, &block[104..120], size))
}

fn xfs(head: &[u8]) -> Option<Probed> {
    let block = head.get(..512).filter(|it| it.starts_with(b"XFSB"))?;
    let size = Bytes(be64(block, 8).saturating_mul(be64(block, 0) & 0xffff_ffff));
    Some(filesystem(FsType::Xfs, &block[32..48], size))
}

fn btrfs(head: &[u8]) -> Option<Probed> {
    let block = head.get(BTRFS_SUPERBLOCK..BTRFS_SUPERBLOCK + 4096)?;
    if block[64..72] != *b"_BHRfS_M" {
        return None;
    }
    let size = Bytes(u64::from(le32(block, 116)) << 32 | u64::from(le32(block, 112)));
    Some(filesystem(FsType::Btrfs, &block[32..48], size))
}

fn filesystem(fs: FsType, uuid: &[u8], size: Bytes) -> Probed {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    Probed::Filesystem {
        fs,
        uuid: text,
        size,
    }
}

fn describe(head: &[u8]) -> &'static str {
    if head.is_empty() {
        "no bytes at all"
    } else if head.iter().all(|byte| *byte == 0) {
        "nothing but zeros"
    } else if head.starts_with(b"LUKS\xba\xbe") {
        "an encrypted volume (LUKS)"
    } else if head.get(510..512) == Some(&[0x55, 0xaa]) {
        "a partition table or boot sector"
    } else {
        "bytes that are no filesystem we know"
    }
}

fn le32(block: &[u8], at: usize) -> u32 {
    block[at..at + 4]
        .iter()
        .rev()
        .fold(0, |all, byte| all << 8 | u32::from(*byte))
}

fn be64(block: &[u8], at: usize) -> u64 {
    block[at..at + 8]
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_filesystem_is_said_to_be_none() {
        let zeros = vec![0; LENGTH];
        assert_eq!(
            recognise(&zeros),
            Probed::Other("nothing but zeros".to_owned())
        );
        let mut table = zeros.clone();
        table[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(matches!(recognise(&table), Probed::Other(_)));
        assert!(matches!(recognise(&[]), Probed::Other(_)));
    }

    #[test]
    fn two_superblocks_are_none() {
        let mut head = vec![0; LENGTH];
        head[..4].copy_from_slice(b"XFSB");
        head[EXT4_SUPERBLOCK + 56..EXT4_SUPERBLOCK + 58].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(
            recognise(&head),
            Probed::Other("several filesystems at once".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..4096), magic in 0..3_usize) {
            let mut image = vec![0; LENGTH];
            image[..head.len()].copy_from_slice(&head);
            let (at, bytes): (usize, &[u8]) = [(0, b"XFSB" as &[u8]), (1080, &[0x53, 0xef]), (65600, b"_BHRfS_M")][magic];
            image[at..at + bytes.len()].copy_from_slice(bytes);
            recognise(&image);
            recognise(&head);
        }
    }
}
