//! NodeUnpublishVolume.

use thiserror::Error;

use super::NodePlugin;
use super::observe::Place;
use crate::backend::BackendError;
use crate::host::HostError;
use crate::volume::{TargetPath, VolumeId};

/// What NodeUnpublishVolume asks for.
#[derive(Debug, Clone)]
pub struct UnpublishVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Where a workload found it.
    pub target_path: TargetPath,
}

/// Why a volume is still published.
#[derive(Debug, Error)]
pub enum UnpublishError {
    /// Something that is not the volume is there.
    #[error("{path} holds {what}, which is not volume {id}; it is left alone")]
    Foreign {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: TargetPath,
        /// What is there.
        what: String,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// This node could not do it.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl NodePlugin {
    /// Takes a volume from a workload's path, and removes the path; OK when it is not there (CSI 1.13,
    /// "NodeUnpublishVolume"). Works when the volume's record is gone.
    pub async fn unpublish(&self, request: UnpublishVolume) -> Result<(), UnpublishError> {
        let (id, path) = (&request.volume_id, &request.target_path);
        let device = self.backend.attached(id).await?;
        match self.clear(id, device.as_ref(), path).await? {
            Place::Foreign(what) => {
                return Err(UnpublishError::Foreign {
                    id: request.volume_id,
                    path: request.target_path,
                    what,
                });
            }
            Place::Absent => {}
            _ => self.host.remove(path).await?,
        }
        self.host.forget_target(id, path).await?;
        Ok(())
    }
}
