//! NodeStageVolume.

use thiserror::Error;
use tracing::warn;

use super::NodePlugin;
use super::observe::Place;
use crate::backend::{AttachMode, BackendError, Lifetime};
use crate::host::{HostError, Mount, Probed, Target};
use crate::volume::{
    AccessType, Bytes, Capability, Contents, Device, FsType, MountCapability, MountOptionError,
    MountOptions, TargetPath, VolumeId,
};

/// What NodeStageVolume asks for.
#[derive(Debug, Clone)]
pub struct StageVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// Where its filesystem is mounted; a raw block volume only gets its device.
    pub staging_target_path: TargetPath,
    /// For which use.
    pub capability: Capability,
}

/// Why a volume is not staged.
#[derive(Debug, Error)]
pub enum StageError {
    /// The volume holds something else than what is wanted.
    #[error("volume {id} holds {holds}, and cannot be used as {wanted}")]
    Exceeds {
        /// The volume.
        id: VolumeId,
        /// What it holds.
        holds: String,
        /// What was wanted.
        wanted: String,
    },
    /// A mount flag that is not allowed.
    #[error(transparent)]
    MountOption(#[from] MountOptionError),
    /// It is staged for another use.
    #[error("volume {id} is staged in another way ({how}); unstage it first")]
    Incompatible {
        /// The volume.
        id: VolumeId,
        /// In what it differs.
        how: String,
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
    /// The device does not hold what the record says.
    #[error(
        "volume {id} should hold {expected}, but its device holds {found}; nothing was changed. Restore it from a snapshot, or repair a clone of it"
    )]
    FilesystemGone {
        /// The volume.
        id: VolumeId,
        /// What the record says.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// This node could not do it.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What staging a filesystem must do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    AlreadyStaged,
    Mount,
    /// Make the directory, which is the CO's duty, and mount.
    MakeAndMount,
    /// Take the dead mount away, and mount.
    Remount,
}

impl NodePlugin {
    /// Makes the volume's device, and mounts its filesystem at the staging path (CSI 1.13, "NodeStageVolume").
    ///
    /// After a failure the device may stay attached; the same call continues, NodeUnstageVolume takes it away.
    pub async fn stage(&self, request: StageVolume) -> Result<(), StageError> {
        let volume = self.backend.volume(&request.volume_id).await?;
        match (&volume.contents, &request.capability.access_type) {
            (Contents::Block, AccessType::Block) => self.stage_block(&request).await,
            (Contents::Filesystem { fs, uuid }, AccessType::Mount(wanted))
                if wanted.fs_type.is_none_or(|it| it == *fs) =>
            {
                self.stage_filesystem(&request, wanted, (*fs, uuid)).await
            }
            (contents, wanted) => Err(StageError::Exceeds {
                id: request.volume_id,
                holds: describe(contents),
                wanted: match wanted {
                    AccessType::Block => "a raw block device".to_owned(),
                    AccessType::Mount(MountCapability {
                        fs_type: Some(fs), ..
                    }) => format!("an {fs} filesystem"),
                    AccessType::Mount(_) => "a filesystem".to_owned(),
                },
            }),
        }
    }

    async fn stage_block(&self, request: &StageVolume) -> Result<(), StageError> {
        let mode = AttachMode {
            read_only: request.capability.access_mode.is_read_only(),
            lifetime: Lifetime::UntilDetached,
        };
        self.attach(&request.volume_id, mode).await?;
        Ok(())
    }

    async fn stage_filesystem(
        &self,
        request: &StageVolume,
        wanted: &MountCapability,
        (fs, uuid): (FsType, &str),
    ) -> Result<(), StageError> {
        let (id, path) = (&request.volume_id, &request.staging_target_path);
        let mut options = MountOptions::parse(fs, &wanted.flags)?;
        options.read_only |= request.capability.access_mode.is_read_only();
        let device = self.backend.attached(id).await?;
        let place = self.observe(id, device.as_ref(), path).await?;
        match plan(request, &options, place)? {
            Plan::AlreadyStaged => return Ok(()),
            Plan::Mount => {}
            Plan::MakeAndMount => self.host.make_directory(path).await?,
            Plan::Remount => {
                self.clear(id, device.as_ref(), path).await?;
            }
        }
        // Journals are replayed by a read-only mount too, so the device itself can be written.
        let mode = AttachMode {
            read_only: false,
            lifetime: Lifetime::WhileInUse,
        };
        let attachment = self.attach(id, mode).await?;
        let device = &attachment.device;
        let small = self.check_contents(id, device, (fs, uuid)).await?;
        let target = Target {
            path: path.clone(),
            read_only: options.read_only,
        };
        self.host.note_target(id, &target).await?;
        self.host.mount(device, fs, &options, path).await?;
        drop(attachment.hold);
        if small && !options.read_only {
            self.grow_or_warn(id, device, fs, path).await;
        }
        Ok(())
    }

    async fn attach(
        &self,
        id: &VolumeId,
        mode: AttachMode,
    ) -> Result<crate::backend::Attachment, StageError> {
        self.backend
            .attach(id, mode)
            .await
            .map_err(|error| match error {
                BackendError::InUse { user, .. } => StageError::Incompatible {
                    id: id.clone(),
                    how: user,
                },
                error => error.into(),
            })
    }

    /// Lets what is on the device veto the mount; whether the filesystem is smaller than its device.
    async fn check_contents(
        &self,
        id: &VolumeId,
        device: &Device,
        (fs, uuid): (FsType, &str),
    ) -> Result<bool, StageError> {
        match self.host.probe(device).await? {
            Probed::Pretended => Ok(true),
            Probed::Filesystem {
                fs: found,
                uuid: found_uuid,
                size,
            } if found == fs && found_uuid == uuid => Ok(is_smaller(size, device.size)),
            found => Err(StageError::FilesystemGone {
                id: id.clone(),
                expected: format!("an {fs} filesystem {uuid}"),
                found: match found {
                    Probed::Filesystem { fs, uuid, .. } => format!("an {fs} filesystem {uuid}"),
                    Probed::Other(what) => what,
                    Probed::Pretended => unreachable!("matched above"),
                },
            }),
        }
    }

    /// A volume whose filesystem is too small is still a good volume: staging succeeds, health tells.
    async fn grow_or_warn(&self, id: &VolumeId, device: &Device, fs: FsType, path: &TargetPath) {
        if let Err(error) = self.host.grow(device, fs, path).await {
            warn!(volume_id = %id, %error, "filesystem stays smaller than its device");
        }
    }
}

/// The last group of a filesystem may be too small to be used; what is missing is then less than this.
const SLACK: Bytes = Bytes(128 << 20);

pub(super) fn is_smaller(filesystem: Bytes, device: Bytes) -> bool {
    filesystem < device
}

pub(super) fn is_much_smaller(filesystem: Bytes, device: Bytes) -> bool {
    filesystem.0 + SLACK.0 < device.0
}

pub(super) fn describe(contents: &Contents) -> String {
    match contents {
        Contents::Block => "a raw block device".to_owned(),
        Contents::Filesystem { fs, .. } => format!("an {fs} filesystem"),
    }
}

/// What to do at the staging path.
fn plan(request: &StageVolume, options: &MountOptions, place: Place) -> Result<Plan, StageError> {
    let occupied = |what: String| StageError::Occupied {
        id: request.volume_id.clone(),
        path: request.staging_target_path.clone(),
        what,
    };
    match place {
        Place::Ours(mount) => match difference(&mount, options) {
            None => Ok(Plan::AlreadyStaged),
            Some(how) => Err(StageError::Incompatible {
                id: request.volume_id.clone(),
                how: how.to_owned(),
            }),
        },
        Place::OursBroken(_) => Ok(Plan::Remount),
        Place::Directory => Ok(Plan::Mount),
        Place::Absent => Ok(Plan::MakeAndMount),
        Place::File => Err(occupied("a file".to_owned())),
        Place::Foreign(what) => Err(occupied(what)),
    }
}

/// In what a mount differs from what is wanted. Options of the filesystem itself are not compared: the kernel does not
/// show them one by one, and they change nothing that a workload could rely on.
fn difference(mount: &Mount, options: &MountOptions) -> Option<&'static str> {
    if mount.block {
        Some("as a raw block device")
    } else if mount.read_only != options.read_only {
        Some("read-only or not")
    } else if mount.no_exec != options.no_exec || mount.no_atime != options.no_atime {
        Some("with other mount flags")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{AccessMode, Name};
    use std::path::Path;

    fn request() -> StageVolume {
        StageVolume {
            volume_id: VolumeId::for_name(&Name::parse("v").unwrap()),
            staging_target_path: TargetPath::parse(Path::new("/k"), "/k/stage").unwrap(),
            capability: Capability {
                access_mode: AccessMode::SingleNodeWriter,
                access_type: AccessType::Mount(MountCapability::default()),
            },
        }
    }

    fn mount(read_only: bool) -> Mount {
        Mount {
            device: None,
            block: false,
            read_only,
            no_exec: false,
            no_atime: false,
        }
    }

    #[test]
    fn staging_decides_by_what_stands_there() {
        let plan = |place| plan(&request(), &MountOptions::default(), place);
        assert_eq!(plan(Place::Absent).unwrap(), Plan::MakeAndMount);
        assert_eq!(plan(Place::Directory).unwrap(), Plan::Mount);
        assert_eq!(
            plan(Place::OursBroken(String::new())).unwrap(),
            Plan::Remount
        );
        assert_eq!(
            plan(Place::Ours(mount(false))).unwrap(),
            Plan::AlreadyStaged
        );
        let other = plan(Place::Ours(mount(true)));
        assert!(matches!(other, Err(StageError::Incompatible { .. })));
        for place in [Place::File, Place::Foreign("device 7:1".to_owned())] {
            assert!(matches!(plan(place), Err(StageError::Occupied { .. })));
        }
    }
}
