//! Making, growing, changing and removing volumes.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, fallocate, fsync, ftruncate};

use super::attach::apply_settings;
use super::error::Context;
use super::identity::Uuid;
use super::layout::Linked;
use super::snapshot::flush;
use super::{Store, copy, record};
use crate::backend::{BackendError, NewContents, NewVolume, Origin, Result};
use crate::host::linux::command::CommandError;
use crate::host::linux::{ext4, mkfs};
use crate::volume::{Bytes, Contents, FsType, Provisioning, Settings, Source, Volume, VolumeId};

impl Store {
    /// The volume as its own file tells.
    pub(super) fn read_volume(&self, id: &VolumeId) -> Result<Volume> {
        let file = self.volume_file(id, false)?;
        let damaged = |reason: String| BackendError::Damaged {
            object: format!("volume {id}"),
            reason,
        };
        let volume: Volume = record::read(&file).map_err(|error| damaged(error.to_string()))?;
        if volume.id != *id {
            return Err(damaged(format!(
                "its record is that of volume {}",
                volume.id
            )));
        }
        Ok(volume)
    }

    pub(super) fn volume_file(&self, id: &VolumeId, writable: bool) -> Result<File> {
        match self.layout.volumes.file(id.as_str(), writable) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BackendError::NotFound(format!("the file of volume {id}")))
            }
            result => result.context(|| format!("open the file of volume {id}")),
        }
    }

    pub(super) fn create_volume(&self, new: NewVolume) -> Result<Volume> {
        self.check_identity()?;
        if let Ok(existing) = self.index()?.volume(&new.id).cloned() {
            return Err(BackendError::VolumeExists(Box::new(existing)));
        }
        let at_once = match new.settings.provisioning {
            Provisioning::Thin => Bytes(0),
            Provisioning::Thick => new.size,
        };
        self.require(at_once, new.size)?;
        let file = self
            .layout
            .volumes
            .nameless()
            .context(|| format!("make a file for volume {}", new.id))?;
        let (contents, source) = self.fill(&file, &new)?;
        let volume = Volume {
            id: new.id,
            name: new.name,
            size: new.size,
            contents,
            source,
            settings: new.settings,
            request: new.request,
            topology: self.topology.clone(),
            publications: Vec::new(),
        };
        self.link_volume(&file, volume)
    }

    /// Gives the finished file its name: from then on the volume exists.
    fn link_volume(&self, file: &File, volume: Volume) -> Result<Volume> {
        let id = volume.id.clone();
        let linked = record::write(file, &volume)
            .and_then(|()| self.layout.volumes.link(file, id.as_str()))
            .context(|| format!("finish volume {id}"))?;
        match linked {
            Linked::Yes => {
                self.index()?.put_volume(volume.clone());
                Ok(volume)
            }
            // The index does not know it: it is left from a call that failed at its very end.
            Linked::Exists => {
                let existing = self.read_volume(&id)?;
                self.index()?.put_volume(existing.clone());
                Err(BackendError::VolumeExists(Box::new(existing)))
            }
        }
    }

    fn fill(&self, file: &File, new: &NewVolume) -> Result<(Contents, Option<Source>)> {
        match &new.origin {
            Origin::New(contents) => Ok((self.make(file, new, *contents)?, None)),
            Origin::Copy(source) => {
                let (from, contents, size) = self.open_source(source)?;
                check_kernel(&contents)?;
                match new.settings.provisioning {
                    Provisioning::Thin => self.copy_image(&from, file)?,
                    Provisioning::Thick => copy_thick(&from, file, new)?,
                }
                resize(file, new)?;
                if let Contents::Filesystem {
                    fs: FsType::Ext4, ..
                } = contents
                    && new.size > size
                {
                    mkfs::grow_ext4(file).map_err(|error| {
                        failed(format!("grow the copy for volume {}", new.id), error)
                    })?;
                }
                Ok((contents, Some(source.clone())))
            }
        }
    }

    /// What a new volume holds.
    fn make(&self, file: &File, new: &NewVolume, contents: NewContents) -> Result<Contents> {
        let NewContents::Filesystem(fs) = contents else {
            resize(file, new)?;
            return Ok(Contents::Block);
        };
        let action = || format!("make the filesystem of volume {}", new.id);
        let uuid = Uuid::random().context(action)?;
        if (fs, new.settings.provisioning) == (FsType::Ext4, Provisioning::Thin) {
            self.copy_template(file, new, uuid)?;
        } else {
            resize(file, new)?;
            mkfs::make(fs, &uuid.to_string(), file).map_err(|error| failed(action(), error))?;
        }
        let uuid = uuid.to_string();
        Ok(Contents::Filesystem { fs, uuid })
    }

    /// A new ext4 filesystem as the copy of one that was made before.
    fn copy_template(&self, file: &File, new: &NewVolume, uuid: Uuid) -> Result<()> {
        let action = || format!("make the filesystem of volume {}", new.id);
        let template = self.templates.get(new.size, || {
            let template = self.layout.volumes.nameless().context(action)?;
            ftruncate(&template, new.size.0).context(action)?;
            mkfs::make(FsType::Ext4, &uuid.to_string(), &template)
                .map_err(|error| failed(action(), error))?;
            fsync(&template).context(action)?;
            Ok(template)
        })?;
        self.copy_image(&template, file)?;
        let hash_seed = Uuid::random().context(action)?;
        ext4::set_identity(file, uuid.0, hash_seed.0).context(action)
    }

    fn open_source(&self, source: &Source) -> Result<(File, Contents, Bytes)> {
        match source {
            Source::Snapshot(id) => {
                let snapshot = self.index()?.snapshot(id)?.clone();
                let file = self.layout.snapshots.file(id.as_str(), false);
                let file = file.context(|| format!("open the file of snapshot {id}"))?;
                Ok((file, snapshot.contents, snapshot.size))
            }
            Source::Volume(id) => {
                let volume = self.index()?.volume(id)?.clone();
                let file = self.volume_file(id, true)?;
                flush(id, &file)?;
                Ok((file, volume.contents, volume.size))
            }
        }
    }

    /// Makes `to` hold the bytes of `from`.
    pub(super) fn copy_image(&self, from: &File, to: &File) -> Result<()> {
        let action = || "copy an image".to_owned();
        if copy::share(from, to).context(action)? {
            return Ok(());
        }
        let needed = copy::allocated(from).context(action)?;
        self.require(needed, Bytes(0))?;
        let length = from.metadata().context(action)?.len();
        ftruncate(to, length).context(action)?;
        copy::copy_allocated(from, to).context(action)
    }

    /// Quarantined volumes are not deleted: what is in them is not known.
    pub(super) fn delete_volume(&self, id: &VolumeId) -> Result<()> {
        self.check_identity()?;
        match self.index()?.volume(id) {
            Err(BackendError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if let Some(device) = self.attached(id)? {
            return Err(BackendError::InUse {
                object: format!("volume {id}"),
                user: device.path.display().to_string(),
            });
        }
        let removed = self.layout.volumes.remove(id.as_str());
        removed.context(|| format!("remove the file of volume {id}"))?;
        self.index()?.forget_volume(id);
        Ok(())
    }

    pub(super) fn grow_volume(&self, id: &VolumeId, size: Bytes) -> Result<Volume> {
        let volume = self.volume(id)?;
        if size <= volume.size {
            return Ok(volume);
        }
        let at_once = match volume.settings.provisioning {
            Provisioning::Thin => Bytes(0),
            Provisioning::Thick => Bytes(size.0 - volume.size.0),
        };
        self.require(at_once, size)?;
        let file = self.volume_file(id, true)?;
        let action = || format!("grow the file of volume {id} to {size}");
        // The larger file first: a record never promises more than there is.
        let length = file.metadata().context(action)?.len();
        ftruncate(&file, size.0.max(length)).context(action)?;
        if volume.settings.provisioning == Provisioning::Thick {
            allocate(&file, size).context(action)?;
        }
        fsync(&file).context(action)?;
        self.store_volume(&file, Volume { size, ..volume })
    }

    pub(super) fn modify_volume(&self, id: &VolumeId, settings: Settings) -> Result<Volume> {
        let volume = self.volume(id)?;
        let file = self.volume_file(id, true)?;
        if settings.provisioning == Provisioning::Thick {
            let taken = copy::allocated(&file).context(|| format!("measure volume {id}"))?;
            self.require(Bytes(volume.size.0.saturating_sub(taken.0)), volume.size)?;
            allocate(&file, volume.size).context(|| format!("allocate volume {id}"))?;
        }
        let volume = self.store_volume(&file, Volume { settings, ..volume })?;
        apply_settings(&volume, &file)?;
        Ok(volume)
    }

    /// Replaces the record of a volume, durably.
    pub(super) fn store_volume(&self, file: &File, volume: Volume) -> Result<Volume> {
        record::write(file, &volume)
            .and_then(|()| Ok(fsync(file)?))
            .context(|| format!("write the record of volume {}", volume.id))?;
        self.index()?.put_volume(volume.clone());
        Ok(volume)
    }
}

/// What a tool could not do.
fn failed(action: String, error: CommandError) -> BackendError {
    if error.is_full() {
        return BackendError::Full(action);
    }
    BackendError::other(action, error)
}

/// Gives a nameless file the size of its volume, and the space where it is to be thick.
fn resize(file: &File, new: &NewVolume) -> Result<()> {
    let action = || format!("make room for volume {}", new.id);
    ftruncate(file, new.size.0).context(action)?;
    match new.settings.provisioning {
        Provisioning::Thin => Ok(()),
        Provisioning::Thick => allocate(file, new.size).context(action),
    }
}

/// A thick copy shares no extents: a write to it must never need new space.
fn copy_thick(from: &File, to: &File, new: &NewVolume) -> Result<()> {
    resize(to, new)?;
    copy::copy_unshared(from, to).context(|| format!("copy the source of volume {}", new.id))
}

/// Two btrfs filesystems with one UUID can be mounted side by side since Linux 6.7; before, the second would be taken for
/// the first.
fn check_kernel(contents: &Contents) -> Result<()> {
    let Contents::Filesystem {
        fs: FsType::Btrfs, ..
    } = contents
    else {
        return Ok(());
    };
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut parts = release
        .split(['.', '-'])
        .map_while(|it| it.parse::<u32>().ok());
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 7) {
        return Ok(());
    }
    Err(BackendError::Unsupported(format!(
        "Linux {release} cannot mount a btrfs filesystem beside its copy; Linux 6.7 can, as can ext4 and xfs"
    )))
}

fn allocate(file: &File, size: Bytes) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::empty(), 0, size.0)?)
}
