//! NodeUnstageVolume.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::NodePlugin;
use super::observe::Place;
use crate::backend::BackendError;
use crate::host::HostError;
use crate::volume::{Device, TargetPath, VolumeId};

/// How long the kernel may take to let go of a device after the last unmount.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// What NodeUnstageVolume asks for.
#[derive(Debug, Clone)]
pub struct UnstageVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Where it is staged.
    pub staging_target_path: TargetPath,
}

/// Why a volume is still staged.
#[derive(Debug, Error)]
pub enum UnstageError {
    /// A workload still has it.
    #[error("volume {id} is still published at {path}; unpublish it first")]
    Published {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: TargetPath,
    },
    /// Somebody holds its device.
    #[error(
        "the device {device} of volume {id} is still held by somebody (a mount in another namespace, or an open file); end that use"
    )]
    Busy {
        /// The volume.
        id: VolumeId,
        /// Its device.
        device: String,
    },
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
    /// Unmounts the volume and takes its device away; OK when there is none (CSI 1.13, "NodeUnstageVolume"). Success means
    /// that nobody holds the device any more: proved by an exclusive open. Works when the volume's record is gone.
    pub async fn unstage(&self, request: UnstageVolume) -> Result<(), UnstageError> {
        let (id, path) = (&request.volume_id, &request.staging_target_path);
        let device = self.backend.attached(id).await?;
        let mut targets = self.live_targets(id, device.as_ref(), path).await?;
        if let Some(path) = targets.pop() {
            let id = request.volume_id;
            return Err(UnstageError::Published { id, path });
        }
        if let Place::Foreign(what) = self.clear(id, device.as_ref(), path).await? {
            return Err(UnstageError::Foreign {
                id: request.volume_id,
                path: request.staging_target_path,
                what,
            });
        }
        if let Some(device) = device {
            self.wait_until_free(id, &device).await?;
            self.backend.detach(id).await.map_err(|error| match error {
                BackendError::InUse { .. } => UnstageError::Busy {
                    id: id.clone(),
                    device: device.path.display().to_string(),
                },
                error => error.into(),
            })?;
        }
        for target in self.host.targets(id).await? {
            self.host.forget_target(id, &target.path).await?;
        }
        Ok(())
    }

    async fn wait_until_free(&self, id: &VolumeId, device: &Device) -> Result<(), UnstageError> {
        let deadline = Instant::now() + RELEASE_LIMIT;
        while !self.host.is_free(device).await? {
            if Instant::now() >= deadline {
                return Err(UnstageError::Busy {
                    id: id.clone(),
                    device: device.path.display().to_string(),
                });
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
