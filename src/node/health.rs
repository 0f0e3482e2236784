//! NodeGetVolumeHealth and NodeGetStorageHealth.

use super::NodePlugin;
use super::observe::Place;
use super::stage::is_much_smaller;
use crate::backend::BackendError;
use crate::host::{HostError, Target};
use crate::volume::{
    Bytes, Contents, Device, FsType, Health, HealthStatus, StorageHealth, TargetPath, VolumeId,
};

/// Where the CO says that the volume is; both may be absent.
#[derive(Debug, Clone, Default)]
pub struct HealthPaths {
    /// The staging path.
    pub staging: Option<TargetPath>,
    /// The path of a workload.
    pub published: Option<TargetPath>,
}

impl NodePlugin {
    /// What is wrong with the volume as seen from this node, also when it could not be staged (CSI 1.13,
    /// "NodeGetVolumeHealth"). Never waits for a dead disk.
    pub async fn volume_health(
        &self,
        id: &VolumeId,
        paths: HealthPaths,
    ) -> Result<Vec<Health>, BackendError> {
        let mut health = self.backend.volume_health(id).await?;
        let device = self.backend.attached(id).await?;
        let targets = self.host.targets(id).await.unwrap_or_default();
        if device.is_none() && !targets.is_empty() {
            health.push(gone(&targets[0].path));
        }
        for target in with_asked(targets, paths) {
            match self.observe(id, device.as_ref(), &target.path).await {
                Ok(Place::Ours(mount)) if mount.read_only && !mount.block && !target.read_only => {
                    health.push(read_only(&target.path));
                }
                Ok(Place::OursBroken(how)) => health.push(broken(&target.path, &how)),
                Err(error @ HostError::Hung { .. }) => health.push(hung(&error)),
                _ => {}
            }
        }
        if let (Some(device), Ok(volume)) = (&device, self.backend.volume(id).await)
            && let Contents::Filesystem { fs, .. } = volume.contents
        {
            health.extend(self.filesystem_health(device, fs).await);
        }
        Ok(health)
    }

    /// What is wrong with the storage as seen from this node (CSI 1.13, "NodeGetStorageHealth").
    pub async fn storage_health(&self) -> Result<Vec<StorageHealth>, BackendError> {
        self.backend.storage_health().await
    }

    async fn filesystem_health(&self, device: &Device, fs: FsType) -> Vec<Health> {
        let mut health = Vec::new();
        if let Ok(errors @ 1..) = self.host.error_count(device, fs).await {
            health.push(Health {
                status: HealthStatus::Degraded,
                reason: "FilesystemErrors",
                message: format!(
                    "the kernel counted {errors} errors on it; restore it from a snapshot"
                ),
            });
        }
        if let Ok(crate::host::Probed::Filesystem { size, .. }) = self.host.probe(device).await
            && is_much_smaller(size, device.size)
        {
            health.push(too_small(size, device.size));
        }
        health
    }
}

/// The ledger's targets, and those that the CO names beside them.
fn with_asked(mut targets: Vec<Target>, paths: HealthPaths) -> Vec<Target> {
    for path in [paths.staging, paths.published].into_iter().flatten() {
        if !targets.iter().any(|it| it.path == path) {
            // How it was mounted is not known: that it is read-only says nothing.
            let read_only = true;
            targets.push(Target { path, read_only });
        }
    }
    targets
}

fn gone(path: &TargetPath) -> Health {
    Health {
        status: HealthStatus::Inaccessible,
        reason: "DeviceGone",
        message: format!("its device is gone; it was at {path}. Unpublish and stage it again"),
    }
}

fn read_only(path: &TargetPath) -> Health {
    Health {
        status: HealthStatus::Inaccessible,
        reason: "FilesystemReadOnly",
        message: format!("its filesystem went read-only after an error, at {path}"),
    }
}

fn broken(path: &TargetPath, how: &str) -> Health {
    Health {
        status: HealthStatus::Inaccessible,
        reason: "MountCorrupted",
        message: format!("{how} at {path}; unpublish and stage it again"),
    }
}

fn hung(error: &HostError) -> Health {
    Health {
        status: HealthStatus::Inaccessible,
        reason: "StorageHangs",
        message: error.to_string(),
    }
}

fn too_small(filesystem: Bytes, device: Bytes) -> Health {
    Health {
        status: HealthStatus::Degraded,
        reason: "FilesystemSmallerThanDevice",
        message: format!("the filesystem has {filesystem}, its device {device}: expand it"),
    }
}
