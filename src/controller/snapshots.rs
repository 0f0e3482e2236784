//! CreateSnapshot, DeleteSnapshot and GetSnapshot.

use thiserror::Error;

use super::Controller;
use crate::backend::{BackendError, NewSnapshot};
use crate::volume::{GroupSnapshotId, Name, Snapshot, SnapshotId, TopologyRequirement, VolumeId};

/// What CreateSnapshot asks for.
#[derive(Debug, Clone)]
pub struct CreateSnapshot {
    /// The CO's name: the idempotency key.
    pub name: Name,
    /// Of which volume.
    pub source: VolumeId,
    /// From where it must be reached.
    pub accessibility: TopologyRequirement,
}

/// Why there is no such snapshot.
#[derive(Debug, Error)]
pub enum CreateSnapshotError {
    /// The storage is elsewhere.
    #[error(
        "this storage cannot be reached from where the snapshot is wanted; it is reached from {here}"
    )]
    Topology {
        /// From where it is reached.
        here: String,
    },
    /// A snapshot of this name exists, of another volume.
    #[error(
        "snapshot {id} of this name exists, of volume {source_volume}; choose another name, or delete it"
    )]
    Different {
        /// The existing snapshot.
        id: SnapshotId,
        /// Its volume.
        source_volume: VolumeId,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a snapshot is still there.
#[derive(Debug, Error)]
pub enum DeleteSnapshotError {
    /// It belongs to a group.
    #[error("snapshot {id} belongs to group snapshot {group}; delete the group")]
    Member {
        /// The snapshot.
        id: SnapshotId,
        /// Its group.
        group: GroupSnapshotId,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Controller {
    /// Cuts a snapshot, or finds the one of this name (CSI 1.13, "CreateSnapshot").
    pub async fn create_snapshot(
        &self,
        request: CreateSnapshot,
    ) -> Result<Snapshot, CreateSnapshotError> {
        let topology = self.backend.traits().topology;
        if !request.accessibility.admits(&topology) {
            let here = format!("{topology:?}");
            return Err(CreateSnapshotError::Topology { here });
        }
        let id = SnapshotId::for_name(&request.name);
        match self.backend.snapshot(&id).await {
            Ok(existing) => return same(&request.source, existing),
            Err(BackendError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let new = NewSnapshot {
            id,
            name: request.name,
            source: request.source.clone(),
        };
        match self.backend.create_snapshot(new).await {
            Ok(snapshot) => Ok(snapshot),
            Err(BackendError::SnapshotExists(existing)) => same(&request.source, *existing),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a snapshot that belongs to no group (CSI 1.13, "DeleteSnapshot").
    pub async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), DeleteSnapshotError> {
        match self.backend.snapshot(id).await {
            Err(BackendError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(Snapshot {
                id,
                group: Some(group),
                ..
            }) => return Err(DeleteSnapshotError::Member { id, group }),
            Ok(_) => {}
        }
        match self.backend.delete_snapshot(id).await {
            Ok(()) | Err(BackendError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The snapshot (CSI 1.13, "GetSnapshot").
    pub async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, BackendError> {
        self.backend.snapshot(id).await
    }
}

fn same(source: &VolumeId, existing: Snapshot) -> Result<Snapshot, CreateSnapshotError> {
    if existing.source == *source {
        return Ok(existing);
    }
    Err(CreateSnapshotError::Different {
        id: existing.id,
        source_volume: existing.source,
    })
}
