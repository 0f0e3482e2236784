//! What only looks: volumes, snapshots, capacity, health.

use super::Controller;
use super::fit;
use crate::backend::{BackendError, Capacity, NewContents, Page};
use crate::volume::{
    Bytes, Capability, Health, Settings, SettingsPatch, Snapshot, SnapshotId, Topology, Volume,
    VolumeId,
};

/// For which kind of volume GetCapacity asks.
#[derive(Debug, Clone, Default)]
pub struct CapacityQuestion {
    /// What the volume must be able to do; may be empty.
    pub capabilities: Vec<Capability>,
    /// Its parameters.
    pub settings: SettingsPatch,
    /// From where it must be reached.
    pub topology: Option<Topology>,
}

impl Controller {
    /// The volume (CSI 1.13, "ControllerGetVolume").
    pub async fn volume(&self, id: &VolumeId) -> Result<Volume, BackendError> {
        self.backend.volume(id).await
    }

    /// A page of all volumes (CSI 1.13, "ListVolumes").
    pub async fn volumes(&self, page: Page<VolumeId>) -> Result<Vec<Volume>, BackendError> {
        self.backend.volumes(page).await
    }

    /// A page of snapshots, of one volume or of all (CSI 1.13, "ListSnapshots").
    pub async fn snapshots(
        &self,
        source: Option<&VolumeId>,
        page: Page<SnapshotId>,
    ) -> Result<Vec<Snapshot>, BackendError> {
        self.backend.snapshots(source, page).await
    }

    /// How much can be provisioned, and the least size of a volume; nothing where no such volume could be (CSI 1.13,
    /// "GetCapacity").
    pub async fn capacity(
        &self,
        question: &CapacityQuestion,
    ) -> Result<(Capacity, Bytes), BackendError> {
        let traits = self.backend.traits();
        let wanted = fit::wanted(&question.capabilities, &traits);
        let reachable = question.topology.as_ref().is_none_or(|wanted| {
            traits.topology.is_empty() || traits.topology.iter().any(|here| here.is_within(wanted))
        });
        let contents = match wanted {
            Ok(wanted) if reachable => wanted.or_default(self.default_fs),
            _ => {
                let nothing = Capacity {
                    available: Bytes(0),
                    maximum_volume_size: Bytes(0),
                };
                return Ok((nothing, NewContents::Block.minimum_size()));
            }
        };
        let provisioning = question.settings.apply(&Settings::default()).provisioning;
        let capacity = self.backend.capacity(provisioning).await?;
        Ok((capacity, contents.minimum_size()))
    }

    /// What is wrong with a volume as seen from the storage (CSI 1.13, "ControllerGetVolumeHealth").
    pub async fn volume_health(&self, id: &VolumeId) -> Result<Vec<Health>, BackendError> {
        self.backend.volume_health(id).await
    }

    /// A page of the volumes with which something is wrong (CSI 1.13, "ControllerListVolumeHealth").
    pub async fn unhealthy_volumes(
        &self,
        page: &Page<VolumeId>,
    ) -> Result<Vec<(VolumeId, Vec<Health>)>, BackendError> {
        let mut unhealthy = self.backend.unhealthy_volumes().await?;
        unhealthy.sort_by(|(one, _), (other, _)| one.cmp(other));
        unhealthy.retain(|(id, _)| page.after.as_ref().is_none_or(|after| id > after));
        unhealthy.truncate(page.limit);
        Ok(unhealthy)
    }
}
