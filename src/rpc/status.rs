//! The code of every error. No arm is `_`: a new variant must choose.
//!
//! What a code makes each caller do is part of the choice: `UNAVAILABLE` and `ABORTED` make the sidecars repeat the call
//! until it is settled, `INVALID_ARGUMENT` and `OUT_OF_RANGE` make the resizer give up, and any final code may make the
//! provisioner forget the volume; so no final code is given while work may still go on.

use tonic::{Code, Status};

use super::request::InvalidRequest;
use crate::backend::BackendError;
use crate::controller::{
    CreateGroupError, CreateSnapshotError, CreateVolumeError, DeleteSnapshotError,
    DeleteVolumeError, ExpandVolumeError, GroupError, ModifyVolumeError, PublishVolumeError,
};
use crate::error_chain;
use crate::host::HostError;
use crate::in_flight::OperationPending;
use crate::node::{
    ExpandError, PublishError, StageError, StatsError, UnpublishError, UnstageError,
};
use crate::volume::Shown;

/// Gives an error type its code and, as the message, the whole chain of causes.
macro_rules! codes {
    ($($error:ty => $code:expr),+ $(,)?) => {$(
        impl From<$error> for Status {
            fn from(error: $error) -> Self {
                let code: fn(&$error) -> Code = $code;
                Status::new(code(&error), error_chain(&error))
            }
        }
    )+};
}

codes! {
    InvalidRequest => |_| Code::InvalidArgument,
    OperationPending => |_| Code::Aborted,
    BackendError => backend,
    CreateVolumeError => create_volume,
    DeleteVolumeError => delete_volume,
    PublishVolumeError => publish_volume,
    ExpandVolumeError => expand_volume,
    ModifyVolumeError => modify_volume,
    CreateSnapshotError => create_snapshot,
    DeleteSnapshotError => delete_snapshot,
    CreateGroupError => create_group,
    GroupError => group,
    StageError => stage,
    UnstageError => unstage,
    PublishError => publish,
    UnpublishError => unpublish,
    StatsError => stats,
    ExpandError => expand,
}

fn backend(error: &BackendError) -> Code {
    use BackendError as E;
    match error {
        E::NotFound(_) => Code::NotFound,
        E::VolumeExists(_) | E::SnapshotExists(_) | E::GroupExists(_) => Code::AlreadyExists,
        E::NoSpace { .. } | E::Full(_) | E::NodeFull { .. } | E::Exhausted { .. } => {
            Code::ResourceExhausted
        }
        E::InUse { .. } => Code::FailedPrecondition,
        E::NotQuiet { .. } => Code::Aborted,
        E::Unsupported(_) => Code::InvalidArgument,
        E::Damaged { .. } => Code::DataLoss,
        E::Unavailable(_) | E::Elsewhere(_) => Code::Unavailable,
        E::Other { .. } => Code::Internal,
    }
}

fn create_volume(error: &CreateVolumeError) -> Code {
    use CreateVolumeError as E;
    match error {
        E::Capability(_) | E::IncompatibleSource(_) => Code::InvalidArgument,
        E::Capacity(_) => Code::OutOfRange,
        // Both make the provisioner ask the scheduler for another node.
        E::Topology { .. } | E::SourceElsewhere(_) => Code::ResourceExhausted,
        E::Different { .. } => Code::AlreadyExists,
        E::Backend(error) => backend(error),
    }
}

fn delete_volume(error: &DeleteVolumeError) -> Code {
    match error {
        DeleteVolumeError::Published { .. } => Code::FailedPrecondition,
        DeleteVolumeError::Backend(error) => backend(error),
    }
}

fn publish_volume(error: &PublishVolumeError) -> Code {
    use PublishVolumeError as E;
    match error {
        E::Unsupported(_) => Code::InvalidArgument,
        E::Exceeds { .. } | E::Elsewhere { .. } => Code::FailedPrecondition,
        E::Different { .. } => Code::AlreadyExists,
        E::Backend(error) => backend(error),
    }
}

fn expand_volume(error: &ExpandVolumeError) -> Code {
    match error {
        ExpandVolumeError::Capability { .. } => Code::InvalidArgument,
        ExpandVolumeError::Capacity { .. } => Code::OutOfRange,
        ExpandVolumeError::Backend(error) => backend(error),
    }
}

fn modify_volume(error: &ModifyVolumeError) -> Code {
    match error {
        ModifyVolumeError::Nothing(_) => Code::InvalidArgument,
        ModifyVolumeError::Backend(error) => backend(error),
    }
}

fn create_snapshot(error: &CreateSnapshotError) -> Code {
    match error {
        CreateSnapshotError::Topology { .. } => Code::ResourceExhausted,
        CreateSnapshotError::Different { .. } => Code::AlreadyExists,
        CreateSnapshotError::Backend(error) => backend(error),
    }
}

fn delete_snapshot(error: &DeleteSnapshotError) -> Code {
    match error {
        DeleteSnapshotError::Member { .. } => Code::InvalidArgument,
        DeleteSnapshotError::Backend(error) => backend(error),
    }
}

fn create_group(error: &CreateGroupError) -> Code {
    match error {
        CreateGroupError::Different(_) => Code::AlreadyExists,
        CreateGroupError::Backend(error) => backend(error),
    }
}

fn group(error: &GroupError) -> Code {
    match error {
        GroupError::OtherMembers { .. } => Code::InvalidArgument,
        GroupError::Backend(error) => backend(error),
    }
}

fn host(error: &HostError) -> Code {
    use HostError as E;
    match error {
        E::UnsafePath(_) => Code::InvalidArgument,
        E::NoSuchPath(_) => Code::FailedPrecondition,
        // Somebody will let go of it, or the disk will answer: repeat the call.
        E::Busy(_) | E::Hung { .. } => Code::Unavailable,
        E::Exhausted { .. } => Code::ResourceExhausted,
        E::NotPermitted { .. } | E::Failed { .. } => Code::Internal,
    }
}

fn stage(error: &StageError) -> Code {
    use StageError as E;
    match error {
        E::Exceeds { .. } => Code::FailedPrecondition,
        E::MountOption(_) => Code::InvalidArgument,
        E::Incompatible { .. } => Code::AlreadyExists,
        E::Occupied { .. } => Code::Internal,
        E::FilesystemGone { .. } => Code::DataLoss,
        E::Backend(error) => backend(error),
        E::Host(error) => host(error),
    }
}

fn unstage(error: &UnstageError) -> Code {
    use UnstageError as E;
    match error {
        E::Published { .. } => Code::FailedPrecondition,
        E::Busy { .. } => Code::Unavailable,
        E::Foreign { .. } => Code::Internal,
        E::Backend(error) => backend(error),
        E::Host(error) => host(error),
    }
}

fn publish(error: &PublishError) -> Code {
    use PublishError as E;
    match error {
        E::Exceeds { .. } | E::NotStaged { .. } | E::SecondTarget { .. } => {
            Code::FailedPrecondition
        }
        E::MountOption(_) => Code::InvalidArgument,
        E::Incompatible { .. } => Code::AlreadyExists,
        E::Occupied { .. } => Code::Internal,
        E::Backend(error) => backend(error),
        E::Host(error) => host(error),
    }
}

fn unpublish(error: &UnpublishError) -> Code {
    match error {
        UnpublishError::Foreign { .. } => Code::Internal,
        UnpublishError::Backend(error) => backend(error),
        UnpublishError::Host(error) => host(error),
    }
}

fn stats(error: &StatsError) -> Code {
    match error {
        StatsError::NotThere { .. } => Code::NotFound,
        StatsError::Dead { .. } => Code::Internal,
        StatsError::Backend(error) => backend(error),
        StatsError::Host(error) => host(error),
    }
}

fn expand(error: &ExpandError) -> Code {
    match error {
        ExpandError::NotThere { .. } => Code::NotFound,
        ExpandError::OutOfRange { .. } => Code::OutOfRange,
        ExpandError::ReadOnly { .. } => Code::FailedPrecondition,
        ExpandError::Backend(error) => backend(error),
        ExpandError::Host(error) => host(error),
    }
}

/// The object that a well-formed request names does not exist.
pub(super) fn not_found(kind: &str, id: &str) -> Status {
    Status::not_found(format!("{kind} {} does not exist", Shown(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chain_is_told_once() {
        let io = std::io::Error::other("disk on fire");
        let status = Status::from(CreateVolumeError::from(BackendError::other("make v1", io)));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "failed to make v1: disk on fire");
    }
}
