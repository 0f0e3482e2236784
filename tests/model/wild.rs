//! Planted bugs: drivers that the model must find out. They are put together here from the library's own parts; nothing of
//! them is in the shipped program.

use offshoot::in_flight::{InFlight, Need};
use offshoot::node::{PublishVolume, StageVolume, UnpublishVolume, UnstageVolume};
use offshoot::volume::{AccessMode, AccessType, Capability, MountCapability};
use tonic::Status;

use crate::call::Call;
use crate::message::{Answer, volume_id};
use crate::reference::Model;
use crate::world::World;

/// Which driver is played with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The real one.
    Ours,
    /// Two changing calls may work on one volume at once.
    NoClaims,
    /// It forgets to compare a parameter with that of the existing volume.
    Forgetful,
    /// Its handlers work themselves, and so stop where they are when their caller goes away.
    StopsWithCaller,
}

/// What a driver hears that does not compare `parameters` and `readonly`: those that it has already.
pub(crate) fn forget(call: &Call, model: &Model) -> Call {
    let mut heard = call.clone();
    if let Call::Create {
        volume, read_ahead, ..
    } = &mut heard
        && let Some(existing) = model.volumes.get(volume)
    {
        *read_ahead = existing.asked;
    }
    heard
}

/// The node's operations, in the handler itself.
pub(crate) async fn inline(world: &World, in_flight: &InFlight, call: &Call) -> Option<Answer> {
    let (Call::Stage { volume, .. }
    | Call::Unstage { volume }
    | Call::NodePublish { volume, .. }
    | Call::NodeUnpublish { volume, .. }) = call
    else {
        return None;
    };
    let id = volume_id(*volume);
    let _claim = match in_flight.claim("handler", vec![Need::alone(&id)]) {
        Ok(claim) => claim,
        Err(pending) => return Some(Err(pending.into())),
    };
    let staging_target_path = world.path(&world.envelope.staging(*volume));
    let done: Result<(), Status> = match call {
        Call::Stage { block, .. } => {
            let stage = StageVolume {
                volume_id: id,
                staging_target_path,
                capability: capability(*block),
            };
            world.plugin.stage(stage).await.map_err(Status::from)
        }
        Call::NodePublish {
            target,
            read_only,
            block,
            ..
        } => {
            let publish = PublishVolume {
                volume_id: id,
                staging_target_path,
                target_path: world.path(&world.envelope.target(*volume, *target)),
                capability: capability(*block),
                read_only: *read_only,
            };
            world.plugin.publish(publish).await.map_err(Status::from)
        }
        Call::NodeUnpublish { target, .. } => {
            let unpublish = UnpublishVolume {
                volume_id: id,
                target_path: world.path(&world.envelope.target(*volume, *target)),
            };
            world
                .plugin
                .unpublish(unpublish)
                .await
                .map_err(Status::from)
        }
        _ => {
            let unstage = UnstageVolume {
                volume_id: id,
                staging_target_path,
            };
            world.plugin.unstage(unstage).await.map_err(Status::from)
        }
    };
    Some(done.map(|()| None))
}

fn capability(block: bool) -> Capability {
    Capability {
        access_mode: AccessMode::SingleNodeWriter,
        access_type: if block {
            AccessType::Block
        } else {
            AccessType::Mount(MountCapability::default())
        },
    }
}
