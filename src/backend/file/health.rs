//! What is wrong, with a volume or with all of them.

use std::io;

use super::{Store, record};
use crate::backend::{BackendError, Result};
use crate::volume::{Health, HealthStatus, StorageHealth, StorageHealthStatus, Volume, VolumeId};

impl Store {
    /// Looks at the file itself, whatever the index says of it.
    pub(super) fn volume_health(&self, id: &VolumeId) -> Result<Vec<Health>> {
        match self.volume(id) {
            Ok(volume) => Ok(self.file_health(&volume)),
            Err(BackendError::Damaged { reason, .. }) => Ok(vec![record_damaged(&reason)]),
            Err(error) => Err(error),
        }
    }

    pub(super) fn unhealthy_volumes(&self) -> Result<Vec<(VolumeId, Vec<Health>)>> {
        let ids = self.index()?.ids();
        let mut unhealthy = Vec::new();
        for id in ids {
            match self.volume_health(&id) {
                Ok(health) if health.is_empty() => {}
                Ok(health) => unhealthy.push((id, health)),
                Err(BackendError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(unhealthy)
    }

    pub(super) fn storage_health(&self) -> Result<Vec<StorageHealth>> {
        let path = &self.config.data_dir;
        let gone = |what: String| StorageHealth {
            status: StorageHealthStatus::Unreachable,
            reason: "DataDirectoryGone",
            message: what,
        };
        match self.identity.is_at(path) {
            Ok(true) => {}
            Ok(false) => {
                let text = format!(
                    "{} is not the directory it was; mount it again",
                    path.display()
                );
                return Ok(vec![gone(text)]);
            }
            Err(error) => return Ok(vec![gone(format!("{}: {error}", path.display()))]),
        }
        let pool = self.pool()?;
        let below = (pool.free < pool.reserve).then(|| StorageHealth {
            status: StorageHealthStatus::Degraded,
            reason: "PoolBelowReserve",
            message: format!(
                "{} has {} MiB free, less than its reserve of {} MiB; delete volumes or enlarge it",
                path.display(),
                pool.free.0 >> 20,
                pool.reserve.0 >> 20
            ),
        });
        Ok(below.into_iter().collect())
    }

    fn file_health(&self, volume: &Volume) -> Vec<Health> {
        let file = match self.layout.volumes.file(volume.id.as_str(), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return vec![data_loss(
                    "BackingFileMissing",
                    "its file is gone; restore it from a snapshot",
                )];
            }
            Err(error) => return vec![inaccessible("BackingFileUnreadable", &error.to_string())],
        };
        let mut health = Vec::new();
        match file.metadata() {
            Err(error) => health.push(inaccessible("BackingFileUnreadable", &error.to_string())),
            Ok(found) if found.len() < volume.size.0 => {
                let text = format!(
                    "its file has {} bytes instead of {}",
                    found.len(),
                    volume.size.0
                );
                health.push(data_loss("BackingFileTruncated", &text));
            }
            Ok(_) => {}
        }
        match record::read::<Volume>(&file) {
            Ok(found) if found.id == volume.id => {}
            Ok(found) => health.push(record_damaged(&format!(
                "its record is that of {}",
                found.id
            ))),
            Err(error) => health.push(record_damaged(&error.to_string())),
        }
        health
    }
}

fn record_damaged(reason: &str) -> Health {
    inaccessible("RecordDamaged", reason)
}

fn inaccessible(reason: &'static str, message: &str) -> Health {
    Health {
        status: HealthStatus::Inaccessible,
        reason,
        message: message.to_owned(),
    }
}

fn data_loss(reason: &'static str, message: &str) -> Health {
    Health {
        status: HealthStatus::DataLoss,
        reason,
        message: message.to_owned(),
    }
}
