//! What is read from files and devices.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::file::{GroupRecord, record};
use crate::host::linux::probe;
use crate::translate::bytes;
use crate::volume::{Node, Snapshot, Volume};

/// The attribute of a file.
pub(super) fn record(bytes: &[u8]) {
    read_back::<Volume>(bytes);
    read_back::<Snapshot>(bytes);
    read_back::<Node>(bytes);
    read_back::<GroupRecord>(bytes);
}

/// An attribute whose version and checksum are right: the JSON is hostile.
pub(super) fn sealed_record(json: &[u8]) {
    record(&record::seal(json));
}

/// What could be read is written as something that reads the same.
fn read_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(read) = record::decode::<T>(bytes) {
        let written = record::encode(&read).expect("a record can be written");
        let again = record::decode::<T>(&written).expect("what was written can be read");
        assert_eq!(again, read);
    }
}

/// The beginning of a device: the bytes, at the places of the superblocks.
pub(super) fn superblock(bytes: &[u8]) {
    probe::recognise(bytes);
    let mut head = vec![0; 128 << 10];
    for at in [0, 1024, 64 << 10] {
        let length = bytes.len().min(4096);
        head[at..at + length].copy_from_slice(&bytes[..length]);
        probe::recognise(&head);
    }
}

/// YAML or JSON for `offshoot translate`, both ways.
pub(super) fn translate(text: &[u8]) {
    bytes::translate(text);
}

/// YAML or JSON for `offshoot drift`.
pub(super) fn drift(text: &[u8]) {
    bytes::drift(text);
}
