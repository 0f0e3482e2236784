//! The controller's logic: idempotent operations over a naive [`Backend`].
//!
//! Each operation observes what the backend has, compares *everything* that was asked for, and changes what is missing,
//! so that it can be repeated in any state a crash can leave. Requests have been parsed and their objects claimed before
//! they come here; codes are chosen in `rpc::status`.

mod create;
mod expand;
mod fit;
mod groups;
mod listing;
mod publish;
mod snapshots;

use std::sync::Arc;

use crate::backend::Backend;
use crate::volume::FsType;

pub use create::{CreateVolume, CreateVolumeError, DeleteVolumeError};
pub use expand::{ExpandVolume, ExpandVolumeError, ModifyVolumeError};
pub use fit::Misfit;
pub use groups::{CreateGroupError, GroupError};
pub use listing::CapacityQuestion;
pub use publish::{PublishVolume, PublishVolumeError};
pub use snapshots::{CreateSnapshot, CreateSnapshotError, DeleteSnapshotError};

/// Creates, publishes, grows and deletes volumes and snapshots.
pub struct Controller {
    backend: Arc<dyn Backend>,
    default_fs: FsType,
}

impl Controller {
    /// A controller over `backend`; volumes whose capability names no filesystem get `default_fs`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, default_fs: FsType) -> Self {
        Self {
            backend,
            default_fs,
        }
    }
}
