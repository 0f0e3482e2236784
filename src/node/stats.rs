//! NodeGetVolumeStats.

use thiserror::Error;

use super::NodePlugin;
use super::observe::Place;
use crate::backend::BackendError;
use crate::host::{HostError, Usage};
use crate::volume::{Device, TargetPath, VolumeId};

/// How full a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// In bytes; of a raw block volume only the total is known.
    pub bytes: Usage,
    /// In inodes, where there is a filesystem.
    pub inodes: Option<Usage>,
}

/// Why nothing is known.
#[derive(Debug, Error)]
pub enum StatsError {
    /// The volume is not there.
    #[error("volume {id} is not at {path}")]
    NotThere {
        /// The volume.
        id: VolumeId,
        /// Where it should be.
        path: TargetPath,
    },
    /// Its filesystem is dead.
    #[error("the filesystem of volume {id} at {path} is dead ({how}); unpublish and unstage it")]
    Dead {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: TargetPath,
        /// What looking at it gave.
        how: String,
    },
    /// The storage could not tell.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// This node could not tell.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl NodePlugin {
    /// How full the volume at `path` is; never waits for a dead disk (CSI 1.13, "NodeGetVolumeStats").
    pub async fn stats(&self, id: &VolumeId, path: &TargetPath) -> Result<Stats, StatsError> {
        let device = self.backend.attached(id).await?;
        let not_there = || StatsError::NotThere {
            id: id.clone(),
            path: path.clone(),
        };
        let device = device.ok_or_else(not_there)?;
        match self.observe(id, Some(&device), path).await? {
            Place::Ours(mount) if mount.block => Ok(whole(&device)),
            Place::Ours(_) => {
                let (bytes, inodes) = self.host.usage(path).await?;
                Ok(Stats { bytes, inodes })
            }
            Place::OursBroken(how) => Err(StatsError::Dead {
                id: id.clone(),
                path: path.clone(),
                how,
            }),
            _ => Err(not_there()),
        }
    }
}

fn whole(device: &Device) -> Stats {
    let bytes = Usage {
        total: device.size.0,
        ..Usage::default()
    };
    Stats {
        bytes,
        inodes: None,
    }
}
