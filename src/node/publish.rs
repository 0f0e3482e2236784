//! NodePublishVolume.

use thiserror::Error;

use super::NodePlugin;
use super::observe::Place;
use super::stage::describe;
use crate::backend::BackendError;
use crate::host::{HostError, Target};
use crate::volume::{
    AccessType, Capability, Contents, Device, MountOptionError, MountOptions, TargetPath, Volume,
    VolumeId,
};

/// What NodePublishVolume asks for.
#[derive(Debug, Clone)]
pub struct PublishVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Where it is staged.
    pub staging_target_path: TargetPath,
    /// Where a workload shall find it.
    pub target_path: TargetPath,
    /// For which use.
    pub capability: Capability,
    /// The workload may not write.
    pub read_only: bool,
}

/// Why a volume is not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The volume holds something else than what is wanted.
    #[error("volume {id} holds {holds}, and cannot be published in another way")]
    Exceeds {
        /// The volume.
        id: VolumeId,
        /// What it holds.
        holds: String,
    },
    /// A mount flag that is not allowed.
    #[error(transparent)]
    MountOption(#[from] MountOptionError),
    /// It is not staged.
    #[error("volume {id} is not staged at {path}; stage it first")]
    NotStaged {
        /// The volume.
        id: VolumeId,
        /// Where it should be.
        path: TargetPath,
    },
    /// One workload has it, which is all that its access mode allows.
    #[error(
        "volume {id} is published at {first}, and its access mode allows one target only; unpublish it there first"
    )]
    SecondTarget {
        /// The volume.
        id: VolumeId,
        /// Where it is.
        first: TargetPath,
    },
    /// It is at this target in another way.
    #[error(
        "volume {id} is published at {path} in another way (read-only or not, block or not); unpublish it first"
    )]
    Incompatible {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: TargetPath,
    },
    /// Something that is not the volume is where it should be.
    #[error("{path} holds {what}, which is not volume {id}; it is left alone")]
    Occupied {
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

/// What publishing must do at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    AlreadyPublished,
    Bind,
    /// Take the dead mount away, and bind.
    Rebind,
}

impl NodePlugin {
    /// Brings a staged volume to a workload's path (CSI 1.13, "NodePublishVolume").
    pub async fn publish(&self, request: PublishVolume) -> Result<(), PublishError> {
        let volume = self.backend.volume(&request.volume_id).await?;
        let read_only = wants_read_only(&request, &volume)?;
        let device = self.staged(&request, &volume).await?;
        let (id, target) = (&request.volume_id, &request.target_path);
        let place = self.observe(id, Some(&device), target).await?;
        let block = volume.contents == Contents::Block;
        match plan(&request, (block, read_only), &place)? {
            Plan::AlreadyPublished => return Ok(()),
            Plan::Bind => {}
            Plan::Rebind => {
                self.clear(id, Some(&device), target).await?;
            }
        }
        self.check_alone(&request, &device).await?;
        let entry = Target {
            path: target.clone(),
            read_only,
        };
        self.host.note_target(id, &entry).await?;
        if block {
            self.host.bind_device(&device, target, read_only).await?;
        } else {
            self.host.make_directory(target).await?;
            let staging = &request.staging_target_path;
            self.host.bind(staging, target, read_only).await?;
        }
        Ok(())
    }

    /// The device of the volume, proved to be staged.
    async fn staged(
        &self,
        request: &PublishVolume,
        volume: &Volume,
    ) -> Result<Device, PublishError> {
        let path = &request.staging_target_path;
        let not_staged = || PublishError::NotStaged {
            id: volume.id.clone(),
            path: path.clone(),
        };
        let device = self.backend.attached(&volume.id).await?;
        let device = device.ok_or_else(not_staged)?;
        if volume.contents == Contents::Block {
            return Ok(device);
        }
        match self.observe(&volume.id, Some(&device), path).await? {
            Place::Ours(mount) if !mount.block => Ok(device),
            _ => Err(not_staged()),
        }
    }

    async fn check_alone(
        &self,
        request: &PublishVolume,
        device: &Device,
    ) -> Result<(), PublishError> {
        if request.capability.access_mode.allows_second_target() {
            return Ok(());
        }
        let id = &request.volume_id;
        let targets = self
            .live_targets(id, Some(device), &request.target_path)
            .await?;
        let first = targets
            .into_iter()
            .find(|it| *it != request.staging_target_path);
        match first {
            None => Ok(()),
            Some(first) => Err(PublishError::SecondTarget {
                id: id.clone(),
                first,
            }),
        }
    }
}

/// Whether the workload may only read; an error when the volume cannot be used in this way at all.
fn wants_read_only(request: &PublishVolume, volume: &Volume) -> Result<bool, PublishError> {
    let reader = request.read_only || request.capability.access_mode.is_read_only();
    match (&volume.contents, &request.capability.access_type) {
        (Contents::Block, AccessType::Block) => Ok(reader),
        (Contents::Filesystem { fs, .. }, AccessType::Mount(wanted))
            if wanted.fs_type.is_none_or(|it| it == *fs) =>
        {
            Ok(reader || MountOptions::parse(*fs, &wanted.flags)?.read_only)
        }
        (contents, _) => Err(PublishError::Exceeds {
            id: volume.id.clone(),
            holds: describe(contents),
        }),
    }
}

/// What to do at the target.
fn plan(
    request: &PublishVolume,
    (block, read_only): (bool, bool),
    place: &Place,
) -> Result<Plan, PublishError> {
    let occupied = |what: &str| PublishError::Occupied {
        id: request.volume_id.clone(),
        path: request.target_path.clone(),
        what: what.to_owned(),
    };
    match place {
        Place::Ours(mount) if mount.block == block && mount.read_only == read_only => {
            Ok(Plan::AlreadyPublished)
        }
        Place::Ours(_) => Err(PublishError::Incompatible {
            id: request.volume_id.clone(),
            path: request.target_path.clone(),
        }),
        Place::OursBroken(_) => Ok(Plan::Rebind),
        Place::Absent => Ok(Plan::Bind),
        Place::Directory if !block => Ok(Plan::Bind),
        Place::File if block => Ok(Plan::Bind),
        Place::Directory => Err(occupied("a directory")),
        Place::File => Err(occupied("a file")),
        Place::Foreign(what) => Err(occupied(what)),
    }
}
