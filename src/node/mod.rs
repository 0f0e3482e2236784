//! The node's logic: bring a volume to its paths and back, measure and grow it.
//!
//! Each operation observes what the backend and the kernel show, decides by a pure function, and acts; nothing is
//! remembered but the ledger of targets, which is verified against the kernel whenever it is read. Nothing is unmounted
//! or detached that is not the volume's, nothing is formatted or repaired, no process is started.

mod expand;
mod health;
mod observe;
mod publish;
mod stage;
mod stats;
mod unpublish;
mod unstage;

use std::sync::Arc;

use crate::backend::Backend;
use crate::host::Host;

pub use crate::host::Usage;
pub use expand::{ExpandError, ExpandVolume};
pub use health::HealthPaths;
pub use publish::{PublishError, PublishVolume};
pub use stage::{StageError, StageVolume};
pub use stats::{Stats, StatsError};
pub use unpublish::{UnpublishError, UnpublishVolume};
pub use unstage::{UnstageError, UnstageVolume};

/// Stages, publishes, measures and grows volumes on this node.
pub struct NodePlugin {
    backend: Arc<dyn Backend>,
    host: Arc<dyn Host>,
}

impl NodePlugin {
    /// The node half over `backend` and `host`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, host: Arc<dyn Host>) -> Self {
        Self { backend, host }
    }
}
