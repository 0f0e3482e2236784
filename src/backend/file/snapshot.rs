//! Cutting and removing snapshots.
//!
//! Nothing is frozen: the device is flushed, so that what was acknowledged is in the file, and the file is copied as it
//! stands. A journal makes every moment of a filesystem mountable.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, fchmod, fsync};

use super::attach::find_device;
use super::error::Context;
use super::layout::Linked;
use super::{Store, record};
use crate::backend::{BackendError, NewSnapshot, Result};
use crate::host::linux::loop_device::LoopDevice;
use crate::volume::{Bytes, GroupSnapshotId, Snapshot, SnapshotId, VolumeId};

/// A snapshot that has no name yet.
pub(super) struct Cut {
    pub(super) file: File,
    pub(super) snapshot: Snapshot,
}

impl Store {
    pub(super) fn create_snapshot(&self, new: &NewSnapshot) -> Result<Snapshot> {
        self.check_identity()?;
        if let Ok(existing) = self.index()?.snapshot(&new.id).cloned() {
            return Err(BackendError::SnapshotExists(Box::new(existing)));
        }
        let source = self.snapshot_source(&new.source)?;
        flush(&new.source, &source)?;
        let cut = self.cut(new, &source, None)?;
        let linked = self
            .layout
            .snapshots
            .link(&cut.file, cut.snapshot.id.as_str());
        match linked.context(|| format!("finish snapshot {}", cut.snapshot.id))? {
            Linked::Yes => {
                self.index()?.put_snapshot(cut.snapshot.clone());
                Ok(cut.snapshot)
            }
            Linked::Exists => Err(BackendError::Damaged {
                object: format!("snapshot {}", cut.snapshot.id),
                reason: "its file exists, but its record cannot be used".to_owned(),
            }),
        }
    }

    /// The file of a volume that is to be cut; the volume must exist.
    pub(super) fn snapshot_source(&self, id: &VolumeId) -> Result<File> {
        self.index()?.volume(id)?;
        self.volume_file(id, true)
    }

    /// Copies the file of a flushed volume.
    pub(super) fn cut(
        &self,
        new: &NewSnapshot,
        source: &File,
        group: Option<GroupSnapshotId>,
    ) -> Result<Cut> {
        let volume = self.index()?.volume(&new.source)?.clone();
        self.require(Bytes(0), Bytes(0))?;
        let action = || format!("cut snapshot {}", new.id);
        let file = self.layout.snapshots.nameless().context(action)?;
        self.copy_image(source, &file)?;
        let snapshot = Snapshot {
            id: new.id.clone(),
            name: new.name.clone(),
            source: new.source.clone(),
            size: volume.size,
            contents: volume.contents,
            created_at: now(),
            group,
            topology: self.topology.clone(),
        };
        record::write(&file, &snapshot).context(action)?;
        fchmod(&file, Mode::from_raw_mode(0o400)).context(action)?;
        Ok(Cut { file, snapshot })
    }

    pub(super) fn delete_snapshot(&self, id: &SnapshotId) -> Result<()> {
        self.check_identity()?;
        match self.index()?.snapshot(id) {
            Err(BackendError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
            Ok(Snapshot {
                group: Some(group), ..
            }) => {
                return Err(BackendError::Unsupported(format!(
                    "snapshot {id} belongs to group snapshot {group}; delete the group"
                )));
            }
            Ok(_) => {}
        }
        self.remove_snapshot(id)
    }

    pub(super) fn remove_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let removed = self.layout.snapshots.remove(id.as_str());
        removed.context(|| format!("remove the file of snapshot {id}"))?;
        self.index()?.forget_snapshot(id);
        Ok(())
    }
}

/// Brings everything that was acknowledged to be on the volume into its file; the device, if there is one.
pub(super) fn flush(id: &VolumeId, file: &File) -> Result<Option<LoopDevice>> {
    let action = || format!("flush volume {id}");
    let device = find_device(file).context(action)?;
    if let Some(device) = &device {
        device.flush().context(action)?;
    }
    fsync(file).context(action)?;
    Ok(device)
}

/// The time in whole microseconds: what a record can tell again after a restart.
pub(super) fn now() -> SystemTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_micros() * 1000)
}
