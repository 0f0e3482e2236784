//! NodeExpandVolume.

use thiserror::Error;

use super::NodePlugin;
use super::observe::Place;
use crate::backend::BackendError;
use crate::host::HostError;
use crate::volume::{Bytes, CapacityRange, Contents, TargetPath, VolumeId};

/// What NodeExpandVolume asks for.
#[derive(Debug, Clone)]
pub struct ExpandVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Where it is: staged or published.
    pub volume_path: TargetPath,
    /// How large it shall be; `None`: as large as its backing.
    pub capacity: Option<CapacityRange>,
}

/// Why a volume is not as large here as it should be.
#[derive(Debug, Error)]
pub enum ExpandError {
    /// The volume is not there.
    #[error("volume {id} is not at {path}; publish it first")]
    NotThere {
        /// The volume.
        id: VolumeId,
        /// Where it should be.
        path: TargetPath,
    },
    /// Its backing is not large enough, or too large already.
    #[error(
        "volume {id} has {size}, which is not within the range asked for; expand it in the controller first"
    )]
    OutOfRange {
        /// The volume.
        id: VolumeId,
        /// Its size.
        size: Bytes,
    },
    /// It is mounted read-only, and cannot grow so.
    #[error("volume {id} is mounted read-only at {path}, and its filesystem cannot grow so")]
    ReadOnly {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: TargetPath,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// This node could not do it.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl NodePlugin {
    /// Gives the device its new size, and makes the filesystem as large (CSI 1.13, "NodeExpandVolume").
    pub async fn expand(&self, request: ExpandVolume) -> Result<Bytes, ExpandError> {
        let (id, path) = (&request.volume_id, &request.volume_path);
        let volume = self.backend.volume(id).await?;
        let device = self.backend.attached(id).await?;
        let not_there = || ExpandError::NotThere {
            id: id.clone(),
            path: path.clone(),
        };
        let device = device.ok_or_else(not_there)?;
        let place = self.observe(id, Some(&device), path).await?;
        // A raw block volume may be named by its staging path, where nothing is mounted.
        let mount = match (place, &volume.contents) {
            (Place::Ours(mount), _) => Some(mount),
            (Place::Directory | Place::File | Place::Absent, Contents::Block) => None,
            (Place::OursBroken(how), _) => {
                return Err(HostError::failed(format!("look at {path}"), how).into());
            }
            _ => return Err(not_there()),
        };
        if request
            .capacity
            .is_some_and(|range| !range.contains(volume.size))
        {
            let (id, size) = (volume.id, volume.size);
            return Err(ExpandError::OutOfRange { id, size });
        }
        let device = self.backend.refresh(id).await?;
        if let Contents::Filesystem { fs, .. } = volume.contents {
            if mount.is_some_and(|it| it.read_only) {
                return Err(ExpandError::ReadOnly {
                    id: volume.id,
                    path: request.volume_path,
                });
            }
            self.host.grow(&device, fs, path).await?;
        }
        Ok(device.size)
    }
}
