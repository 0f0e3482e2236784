//! CreateVolume and DeleteVolume.

use thiserror::Error;

use super::fit::{self, Misfit, Wanted};
use super::{Controller, Reach};
use crate::backend::{BackendError, NewContents, NewVolume, Origin};
use crate::volume::{
    Bytes, Capability, CapacityError, CapacityRange, Contents, Digest, Name, Provisioning,
    Settings, SettingsPatch, Source, TopologyRequirement, Volume, VolumeId,
};

/// The size of a volume for which none was asked.
const DEFAULT_SIZE: Bytes = Bytes::GIB;

/// What CreateVolume asks for.
#[derive(Debug, Clone)]
pub struct CreateVolume {
    /// The CO's name: the idempotency key.
    pub name: Name,
    /// How large.
    pub capacity: CapacityRange,
    /// For which uses; at least one.
    pub capabilities: Vec<Capability>,
    /// Its settings: parameters, and over them the mutable parameters.
    pub settings: SettingsPatch,
    /// With what it begins.
    pub source: Option<Source>,
    /// From where it must be reached.
    pub accessibility: TopologyRequirement,
}

/// Why there is no such volume.
#[derive(Debug, Error)]
pub enum CreateVolumeError {
    /// No volume of ours has these capabilities.
    #[error("no volume can have these capabilities")]
    Capability(#[source] Misfit),
    /// No volume of ours has such a size.
    #[error("no volume can have this size")]
    Capacity(#[source] CapacityError),
    /// The source holds something else than what is wanted.
    #[error("the source cannot be used")]
    IncompatibleSource(#[source] Misfit),
    /// The storage is elsewhere.
    #[error(
        "this storage cannot be reached from where the volume is wanted; it is reached from {here}"
    )]
    Topology {
        /// From where it is reached.
        here: String,
    },
    /// The source is on another node, or nowhere.
    #[error("{0} is not on this node; a copy is made where its source is")]
    SourceElsewhere(String),
    /// A volume of this name exists, and is another one.
    #[error(
        "volume {id} of this name exists with another {difference}; choose another name, or delete it"
    )]
    Different {
        /// The existing volume.
        id: VolumeId,
        /// In what it differs.
        difference: &'static str,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a volume is still there.
#[derive(Debug, Error)]
pub enum DeleteVolumeError {
    /// It is published.
    #[error("volume {id} is published to node {node}; unpublish it first")]
    Published {
        /// The volume.
        id: VolumeId,
        /// One of the nodes.
        node: String,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The source of a new volume, looked up.
struct Found {
    source: Source,
    contents: Contents,
    size: Bytes,
}

impl Controller {
    /// Makes a volume, or finds the one of this name (CSI 1.13, "CreateVolume").
    pub async fn create_volume(&self, request: CreateVolume) -> Result<Volume, CreateVolumeError> {
        let traits = self.backend.traits();
        let wanted =
            fit::wanted(&request.capabilities, &traits).map_err(CreateVolumeError::Capability)?;
        if !request.accessibility.admits(&traits.topology) {
            let here = format!("{:?}", traits.topology);
            return Err(CreateVolumeError::Topology { here });
        }
        let id = VolumeId::for_name(&request.name);
        match self.backend.volume(&id).await {
            Ok(existing) => return same(&request, wanted, existing),
            Err(BackendError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let new = self.plan(id, &request, wanted).await?;
        match self.backend.create_volume(new).await {
            Ok(volume) => Ok(volume),
            Err(BackendError::VolumeExists(existing)) => same(&request, wanted, *existing),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a volume that is published nowhere; its snapshots stay (CSI 1.13, "DeleteVolume").
    pub async fn delete_volume(&self, id: &VolumeId) -> Result<(), DeleteVolumeError> {
        match self.backend.volume(id).await {
            Err(BackendError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(volume) => {
                if let Some(publication) = volume.publications.first() {
                    let node = publication.node.to_string();
                    return Err(DeleteVolumeError::Published {
                        id: volume.id,
                        node,
                    });
                }
            }
        }
        match self.backend.delete_volume(id).await {
            Ok(()) | Err(BackendError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn plan(
        &self,
        id: VolumeId,
        request: &CreateVolume,
        wanted: Wanted,
    ) -> Result<NewVolume, CreateVolumeError> {
        let found = match self.find_source(request.source.as_ref()).await {
            Err(BackendError::NotFound(source)) if self.reach == Reach::Node => {
                return Err(CreateVolumeError::SourceElsewhere(source));
            }
            found => found?,
        };
        let contents = match &found {
            Some(found) => {
                wanted
                    .check(&found.contents)
                    .map_err(CreateVolumeError::IncompatibleSource)?;
                NewContents::from(&found.contents)
            }
            None => wanted.or_default(self.default_fs),
        };
        if let NewContents::Filesystem(fs) = contents {
            fit::check_flags(&request.capabilities, fs).map_err(CreateVolumeError::Capability)?;
        }
        let size = size(request.capacity, contents, found.as_ref())?;
        let settings = request.settings.apply(&Settings::default());
        Ok(NewVolume {
            id,
            name: request.name.clone(),
            size,
            origin: found.map_or(Origin::New(contents), |found| Origin::Copy(found.source)),
            request: digest(&settings),
            settings,
        })
    }

    async fn find_source(&self, source: Option<&Source>) -> Result<Option<Found>, BackendError> {
        let found = match source {
            None => return Ok(None),
            Some(source @ Source::Snapshot(id)) => {
                let snapshot = self.backend.snapshot(id).await?;
                Found {
                    source: source.clone(),
                    contents: snapshot.contents,
                    size: snapshot.size,
                }
            }
            Some(source @ Source::Volume(id)) => {
                let volume = self.backend.volume(id).await?;
                Found {
                    source: source.clone(),
                    contents: volume.contents,
                    size: volume.size,
                }
            }
        };
        Ok(Some(found))
    }
}

/// A copy is at least as large as its source, and as large as its source when nothing was asked for.
fn size(
    range: CapacityRange,
    contents: NewContents,
    source: Option<&Found>,
) -> Result<Bytes, CreateVolumeError> {
    let default = source.map_or(DEFAULT_SIZE, |source| source.size);
    let minimum = source.map_or_else(|| contents.minimum_size(), |source| source.size);
    range
        .choose(default, minimum)
        .map_err(CreateVolumeError::Capacity)
}

/// What a repeated request must repeat beyond size, source and contents, which the volume itself shows.
fn digest(settings: &Settings) -> Digest {
    let provisioning = match settings.provisioning {
        Provisioning::Thin => "thin",
        Provisioning::Thick => "thick",
    };
    let read_ahead = settings.read_ahead_kib.map(|kib| kib.to_string());
    let direct_io = settings.direct_io.to_string();
    Digest::of(&[
        provisioning,
        read_ahead.as_deref().unwrap_or("default"),
        &direct_io,
    ])
}

/// The existing volume, if it is what was asked for in every respect.
fn same(
    request: &CreateVolume,
    wanted: Wanted,
    existing: Volume,
) -> Result<Volume, CreateVolumeError> {
    let settings = request.settings.apply(&Settings::default());
    let difference = if !request.capacity.contains(existing.size) {
        Some("size")
    } else if request.source != existing.source {
        Some("source")
    } else if wanted.check(&existing.contents).is_err() {
        Some("access type or filesystem")
    } else if digest(&settings) != existing.request {
        Some("set of parameters")
    } else {
        None
    };
    match difference {
        None => Ok(existing),
        Some(difference) => Err(CreateVolumeError::Different {
            id: existing.id,
            difference,
        }),
    }
}
