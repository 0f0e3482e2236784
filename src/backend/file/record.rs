//! Records: what is known of a file, in an extended attribute of that file.
//!
//! A record is a version, a CRC-32C and JSON. It is replaced as a whole by one system call, so it is old or new, and its
//! checksum finds what a failing disk makes of it.

use std::fs::File;
use std::io;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::host::linux::loop_device::LoopHint;

const RECORD: &str = "user.offshoot.record";
const HINT: &str = "user.offshoot.loop";
const VERSION: u8 = 1;
const HEAD: usize = 5;
/// What Linux allows for one attribute.
const MAX_LENGTH: usize = 64 << 10;

/// Why a record cannot be used.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("it has no record")]
    Missing,
    #[error("its record is of format {0}, which is newer than this driver; use a newer driver")]
    Newer(u8),
    #[error("its record is damaged ({0})")]
    Damaged(String),
    #[error("its record cannot be read")]
    Read(#[source] io::Error),
}

/// The record of a file.
pub(super) fn read<T: DeserializeOwned>(file: &File) -> Result<T, RecordError> {
    let mut bytes = vec![0; 4096];
    let length = loop {
        match fgetxattr(file, RECORD, bytes.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::RANGE) if bytes.len() < MAX_LENGTH => bytes.resize(MAX_LENGTH, 0),
            Err(Errno::NODATA) => return Err(RecordError::Missing),
            Err(error) => return Err(RecordError::Read(error.into())),
        }
    };
    decode(&bytes[..length])
}

/// Replaces the record of a file. The caller syncs the file.
pub(super) fn write<T: Serialize>(file: &File, record: &T) -> io::Result<()> {
    let bytes = encode(record)?;
    Ok(fsetxattr(file, RECORD, &bytes, XattrFlags::empty())?)
}

/// The loop device that may have the file behind it: a hint, verified with the kernel before each use.
pub(super) fn read_hint(file: &File) -> io::Result<Option<LoopHint>> {
    let mut bytes = [0; 64];
    let length = match fgetxattr(file, HINT, &mut bytes) {
        Ok(length) => length,
        Err(Errno::NODATA) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
    let (number, sequence) = text.split_once(' ').unwrap_or((text, ""));
    let sequence = sequence.parse().ok();
    Ok(number
        .parse()
        .ok()
        .map(|number| LoopHint { number, sequence }))
}

/// Notes the loop device. Not synced: after a power cut there are no loop devices.
pub(super) fn write_hint(file: &File, hint: LoopHint) -> io::Result<()> {
    let text = match hint.sequence {
        Some(sequence) => format!("{} {sequence}", hint.number),
        None => hint.number.to_string(),
    };
    Ok(fsetxattr(file, HINT, text.as_bytes(), XattrFlags::empty())?)
}

pub(crate) fn encode<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record).map_err(io::Error::other)?;
    Ok(seal(&json))
}

/// JSON with its version and checksum.
pub(crate) fn seal(json: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + json.len());
    bytes.push(VERSION);
    bytes.extend(crc32c::crc32c(json).to_le_bytes());
    bytes.extend(json);
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let damaged = |why: &str| RecordError::Damaged(why.to_owned());
    let version = *bytes.first().ok_or_else(|| damaged("it is empty"))?;
    if version == 0 {
        return Err(damaged("its version is 0"));
    }
    if version > VERSION {
        return Err(RecordError::Newer(version));
    }
    let (sum, json) = bytes[1..]
        .split_first_chunk()
        .ok_or_else(|| damaged("it is cut short"))?;
    if u32::from_le_bytes(*sum) != crc32c::crc32c(json) {
        return Err(damaged("its checksum is wrong"));
    }
    serde_json::from_slice(json).map_err(|error| RecordError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{
        AccessMode, Bytes, Contents, Digest, FsType, Name, NodeId, Publication, Settings,
        SnapshotId, Source, Topology, Volume, VolumeId,
    };

    fn volume() -> Volume {
        let name = Name::parse("pvc-1").unwrap();
        Volume {
            id: VolumeId::for_name(&name),
            source: Some(Source::Snapshot(SnapshotId::for_name(&name))),
            name,
            size: Bytes::GIB,
            contents: Contents::Filesystem {
                fs: FsType::Xfs,
                uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
            },
            settings: Settings::default(),
            request: Digest::of(&["thin"]),
            topology: vec![Topology::from_iter([("k".to_owned(), "n".to_owned())])],
            publications: vec![Publication {
                node: NodeId::parse("n").unwrap(),
                access_mode: AccessMode::SingleNodeWriter,
                block: false,
                read_only: false,
            }],
        }
    }

    /// Records live as long as volumes do: this form must be readable for ever.
    #[test]
    fn the_form_of_version_1_stays() {
        let bytes = encode(&volume()).unwrap();
        let json = std::str::from_utf8(&bytes[HEAD..]).unwrap();
        let golden = concat!(
            r#"{"id":"v1-ID","name":"pvc-1","size":1073741824,"contents":{"filesystem":{"fs":"xfs","uuid":"00000000-0000-4000-8000-000000000000"}},"#,
            r#""source":{"snapshot":"s1-SOURCE"},"settings":{"provisioning":"thin","directIo":true},"request":"DIGEST","topology":[{"k":"n"}],"#,
            r#""publications":[{"node":"n","accessMode":"single-node-writer","block":false,"readOnly":false}]}"#
        );
        let volume = volume();
        let Some(Source::Snapshot(source)) = &volume.source else {
            unreachable!("it has one");
        };
        let golden = golden
            .replace("v1-ID", volume.id.as_str())
            .replace("s1-SOURCE", source.as_str())
            .replace("DIGEST", &volume.request.0);
        assert_eq!(json, golden);
        assert_eq!(decode::<Volume>(&bytes).unwrap(), volume);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = encode(&volume()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Volume>(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(
                decode::<Volume>(&bytes[..length]).is_err(),
                "length {length}"
            );
        }
    }
}
