//! ControllerExpandVolume and ControllerModifyVolume.

use thiserror::Error;

use super::Controller;
use super::fit::{self, Misfit};
use crate::backend::BackendError;
use crate::volume::{Capability, CapacityError, CapacityRange, SettingsPatch, Volume, VolumeId};

/// What ControllerExpandVolume asks for.
#[derive(Debug, Clone)]
pub struct ExpandVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// How large it shall be.
    pub capacity: CapacityRange,
    /// How it is used, if the CO says so.
    pub capability: Option<Capability>,
}

/// Why a volume is not larger.
#[derive(Debug, Error)]
pub enum ExpandVolumeError {
    /// The volume is not used in the way that the request says.
    #[error("volume {id} has another capability than the request")]
    Capability {
        /// The volume.
        id: VolumeId,
        /// Why.
        #[source]
        misfit: Misfit,
    },
    /// The size is impossible; a volume never becomes smaller.
    #[error("volume {id} cannot have this size")]
    Capacity {
        /// The volume.
        id: VolumeId,
        /// Why.
        #[source]
        error: CapacityError,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why the settings of a volume are as they were.
#[derive(Debug, Error)]
pub enum ModifyVolumeError {
    /// The request names no parameter.
    #[error("mutable_parameters is empty; name what is to be changed in volume {0}")]
    Nothing(VolumeId),
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Controller {
    /// Makes a volume at least as large as asked for; it may be in use meanwhile (CSI 1.13, "ControllerExpandVolume").
    pub async fn expand_volume(&self, request: ExpandVolume) -> Result<Volume, ExpandVolumeError> {
        let volume = self.backend.volume(&request.volume_id).await;
        let volume = volume.map_err(|error| self.not_here(error))?;
        if let Some(capability) = &request.capability {
            let capabilities = std::slice::from_ref(capability);
            fit::check_all(capabilities, &volume.contents, &self.backend.traits()).map_err(
                |misfit| ExpandVolumeError::Capability {
                    id: volume.id.clone(),
                    misfit,
                },
            )?;
        }
        let size = request
            .capacity
            .choose(volume.size, volume.size)
            .map_err(|error| ExpandVolumeError::Capacity {
                id: volume.id.clone(),
                error,
            })?;
        if size == volume.size {
            return Ok(volume);
        }
        Ok(self.backend.grow_volume(&volume.id, size).await?)
    }

    /// Changes the settings that are named, and no others (CSI 1.13, "ControllerModifyVolume").
    pub async fn modify_volume(
        &self,
        id: &VolumeId,
        patch: &SettingsPatch,
    ) -> Result<Volume, ModifyVolumeError> {
        let volume = self.backend.volume(id).await;
        let volume = volume.map_err(|error| self.not_here(error))?;
        if patch.is_empty() {
            return Err(ModifyVolumeError::Nothing(volume.id));
        }
        // Equal settings are set again: the last attempt may have been cut short between the record and the device.
        let settings = patch.apply(&volume.settings);
        Ok(self.backend.modify_volume(id, settings).await?)
    }
}
