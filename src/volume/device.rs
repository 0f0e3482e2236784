//! A block device of this node.

use std::fmt;
use std::path::PathBuf;

use super::Bytes;

/// A device number, as `stat` reports it in `st_rdev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A local block device behind which a volume stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its node below `/dev`.
    pub path: PathBuf,
    /// Its number: what mounts and nodes are compared by.
    pub number: DeviceNumber,
    /// Its size as the kernel sees it now.
    pub size: Bytes,
    /// The kernel refuses writes to it.
    pub read_only: bool,
}
