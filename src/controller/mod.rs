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

use crate::backend::{Backend, BackendError};
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
    reach: Reach,
}

/// Which volumes callers may ask this controller for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All there are: what is not here does not exist.
    Cluster,
    /// Those of its node and, because some callers cannot tell them apart, those of other nodes: what is not here may be
    /// there.
    Node,
}

impl Controller {
    /// A controller over `backend`; volumes whose capability names no filesystem get `default_fs`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, default_fs: FsType, reach: Reach) -> Self {
        Self {
            backend,
            default_fs,
            reach,
        }
    }

    /// Turns "there is no such volume" into "not here", which nobody takes for the last word.
    ///
    /// The resizer has no mode for nodes: each node's is told of every claim that grows or changes. NOT_FOUND makes it give
    /// the claim up as infeasible; the call may only stay open until the resizer of the right node has done the work.
    fn not_here(&self, error: BackendError) -> BackendError {
        match (self.reach, error) {
            (Reach::Node, BackendError::NotFound(object)) => BackendError::Elsewhere(object),
            (_, error) => error,
        }
    }
}
