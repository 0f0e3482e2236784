//! Volumes as loop devices of this machine.

use std::fs::File;
use std::io;

use super::error::{Context, failed};
use super::{Store, record};
use crate::backend::{AttachMode, Attachment, BackendError, Lifetime, Result};
use crate::host::linux::loop_device::{AttachError, LoopDevice, LoopOptions};
use crate::volume::{Contents, Device, Provisioning, Volume, VolumeId};

impl Store {
    pub(super) fn attach(&self, id: &VolumeId, mode: AttachMode) -> Result<Attachment> {
        let volume = self.volume(id)?;
        let file = self.volume_file(id, !mode.read_only)?;
        let action = || format!("attach volume {id}");
        let length = file.metadata().context(action)?.len();
        if length < volume.size.0 {
            return Err(BackendError::Damaged {
                object: format!("volume {id}"),
                reason: format!(
                    "its file has {length} bytes instead of {}; restore it from a snapshot",
                    volume.size.0
                ),
            });
        }
        let found = find_device(&file).context(action)?;
        let device = if let Some(device) = found {
            same_mode(id, device, mode)?
        } else {
            let options = LoopOptions {
                read_only: mode.read_only,
                autoclear: mode.lifetime == Lifetime::WhileInUse,
                direct_io: volume.settings.direct_io,
                discard: volume.settings.provisioning == Provisioning::Thin,
                block_size: block_size(&volume.contents),
            };
            let remember = |hint| record::write_hint(&file, hint);
            let attached = self.loops.attach(&file, options, remember);
            attached.map_err(|error| match error {
                AttachError::NoneFree => BackendError::Exhausted {
                    action: action(),
                    what: "free loop devices",
                },
                AttachError::Io(error) => failed(action(), error),
            })?
        };
        apply(&device, &volume).context(action)?;
        Ok(Attachment {
            device: device.device().context(action)?,
            hold: Some(Box::new(device)),
        })
    }

    pub(super) fn attached(&self, id: &VolumeId) -> Result<Option<Device>> {
        let file = match self.volume_file(id, false) {
            Err(BackendError::NotFound(_)) => return Ok(None),
            file => file?,
        };
        let found =
            find_device(&file).and_then(|found| found.map(|device| device.device()).transpose());
        found.context(|| format!("look for the device of volume {id}"))
    }

    pub(super) fn detach(&self, id: &VolumeId) -> Result<()> {
        let file = match self.volume_file(id, false) {
            Err(BackendError::NotFound(_)) => return Ok(()),
            file => file?,
        };
        let action = || format!("detach volume {id}");
        let Some(device) = find_device(&file).context(action)? else {
            return Ok(());
        };
        let path = device.device().context(action)?.path;
        if device.clear().context(action)? {
            return Ok(());
        }
        Err(BackendError::InUse {
            object: format!("device {} of volume {id}", path.display()),
            user: "somebody who has it open".to_owned(),
        })
    }

    pub(super) fn refresh(&self, id: &VolumeId) -> Result<Device> {
        let volume = self.volume(id)?;
        let file = self.volume_file(id, false)?;
        let action = || format!("refresh the device of volume {id}");
        let missing = || BackendError::NotFound(format!("a device of volume {id}"));
        let device = find_device(&file).context(action)?.ok_or_else(missing)?;
        device.refresh().context(action)?;
        apply(&device, &volume).context(action)?;
        device.device().context(action)
    }
}

/// Gives the settings of a volume to its device, if it is attached here.
pub(super) fn apply_settings(volume: &Volume, file: &File) -> Result<()> {
    let action = || format!("apply the settings of volume {}", volume.id);
    match find_device(file).context(action)? {
        None => Ok(()),
        Some(device) => apply(&device, volume).context(action),
    }
}

/// The device that has `file` behind it: one look at the device that the hint names, no search.
pub(super) fn find_device(file: &File) -> io::Result<Option<LoopDevice>> {
    match record::read_hint(file)? {
        Some(hint) => LoopDevice::find(hint, file),
        None => Ok(None),
    }
}

/// The size of a device's sectors must not depend on what lies below, or a copy could not be read where its source was:
/// XFS asks for direct IO in whole blocks once a file shares extents. Filesystems are made for 4096; users of raw devices
/// expect 512, and get it at the price of the page cache where direct IO cannot be had so.
fn block_size(contents: &Contents) -> u32 {
    match contents {
        Contents::Block => 512,
        Contents::Filesystem { .. } => 4096,
    }
}

fn same_mode(id: &VolumeId, device: LoopDevice, mode: AttachMode) -> Result<LoopDevice> {
    let autoclear = mode.lifetime == Lifetime::WhileInUse;
    if device.is_read_only() == mode.read_only && device.is_autoclear() == autoclear {
        return Ok(device);
    }
    let path = device
        .device()
        .context(|| format!("look at the device of volume {id}"))?
        .path;
    Err(BackendError::InUse {
        object: format!("volume {id}"),
        user: format!("{} in another mode", path.display()),
    })
}

fn apply(device: &LoopDevice, volume: &Volume) -> io::Result<()> {
    device.set_direct_io(volume.settings.direct_io)?;
    if volume.settings.provisioning == Provisioning::Thick {
        device.forbid_discard()?;
    }
    // The kernel chooses the read-ahead anew whenever another limit changes; so it comes last.
    match volume.settings.read_ahead_kib {
        Some(kib) => device.set_read_ahead(kib),
        None => Ok(()),
    }
}
