//! The GroupController service.

use thiserror::Error;

use super::Controller;
use crate::backend::{BackendError, NewGroupSnapshot};
use crate::volume::{GroupSnapshot, GroupSnapshotId, Name, VolumeId};

/// Why there is no such group snapshot.
#[derive(Debug, Error)]
pub enum CreateGroupError {
    /// A group of this name exists, of other volumes.
    #[error(
        "group snapshot {0} of this name exists with other volumes; choose another name, or delete it"
    )]
    Different(GroupSnapshotId),
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a group cannot be shown or removed.
#[derive(Debug, Error)]
pub enum GroupError {
    /// The caller believes that it has other members.
    #[error("snapshot_ids are not the members of group snapshot {id}, which are {members}")]
    OtherMembers {
        /// The group.
        id: GroupSnapshotId,
        /// Its members.
        members: String,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Controller {
    /// Cuts snapshots of several volumes at one moment, or finds the group of this name (CSI 1.13,
    /// "CreateVolumeGroupSnapshot").
    pub async fn create_group(
        &self,
        name: Name,
        mut sources: Vec<VolumeId>,
    ) -> Result<GroupSnapshot, CreateGroupError> {
        sources.sort();
        sources.dedup();
        let id = GroupSnapshotId::for_name(&name);
        match self.backend.group(&id).await {
            Ok(existing) => return same(&sources, existing),
            Err(BackendError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let new = NewGroupSnapshot {
            id,
            name,
            sources: sources.clone(),
        };
        match self.backend.create_group(new).await {
            Ok(group) => Ok(group),
            Err(BackendError::GroupExists(existing)) => same(&sources, *existing),
            Err(error) => Err(error.into()),
        }
    }

    /// The group with its snapshots; `members` are compared when there are any (CSI 1.13, "GetVolumeGroupSnapshot").
    pub async fn group(
        &self,
        id: &GroupSnapshotId,
        members: &[String],
    ) -> Result<GroupSnapshot, GroupError> {
        let group = self.backend.group(id).await?;
        check_members(&group, members)?;
        Ok(group)
    }

    /// Removes the group and its snapshots; `members` are compared when there are any (CSI 1.13,
    /// "DeleteVolumeGroupSnapshot").
    pub async fn delete_group(
        &self,
        id: &GroupSnapshotId,
        members: &[String],
    ) -> Result<(), GroupError> {
        match self.backend.group(id).await {
            Ok(group) => check_members(&group, members)?,
            Err(BackendError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match self.backend.delete_group(id).await {
            Ok(()) | Err(BackendError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn same(sources: &[VolumeId], existing: GroupSnapshot) -> Result<GroupSnapshot, CreateGroupError> {
    if existing.snapshots.iter().map(|s| &s.source).eq(sources) {
        Ok(existing)
    } else {
        Err(CreateGroupError::Different(existing.id))
    }
}

/// CSI 1.13 requires `snapshot_ids`, but csi-sanity and callers without a list send none: an empty list asserts nothing.
fn check_members(group: &GroupSnapshot, claimed: &[String]) -> Result<(), GroupError> {
    let mut claimed: Vec<&str> = claimed.iter().map(String::as_str).collect();
    let mut members: Vec<&str> = group.snapshots.iter().map(|s| s.id.as_str()).collect();
    claimed.sort_unstable();
    members.sort_unstable();
    if claimed.is_empty() || claimed == members {
        return Ok(());
    }
    Err(GroupError::OtherMembers {
        id: group.id.clone(),
        members: members.join(", "),
    })
}
