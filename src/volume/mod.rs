//! Our nouns: what a volume, a snapshot, a capability, a capacity is. Pure values with their rules; no tokio, no tonic, no IO.
//!
//! A value that exists has been checked: the parsers here are the only way to make one.

mod capability;
mod capacity;
mod device;
mod health;
mod id;
mod mount_options;
mod secrets;
mod settings;
mod shown;
mod target_path;
mod topology;
mod types;

pub use capability::{AccessMode, AccessType, Capability, FsType, MountCapability};
pub use capacity::{Bytes, CapacityError, CapacityRange};
pub use device::{Device, DeviceNumber};
pub use health::{Health, HealthStatus, StorageHealth, StorageHealthStatus};
pub use id::{GroupSnapshotId, Name, NameError, NodeId, SnapshotId, VolumeId};
pub use mount_options::{MountFlags, MountOptionError, MountOptions};
pub use secrets::Secrets;
pub use settings::{Provisioning, Settings, SettingsError, SettingsPatch};
pub use shown::Shown;
pub use target_path::{TargetPath, TargetPathError};
pub use topology::{Topology, TopologyRequirement};
pub use types::{Contents, Digest, GroupSnapshot, Node, Publication, Snapshot, Source, Volume};
