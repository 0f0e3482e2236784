//! The GroupController service.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::instrument;

use super::{answer, request, run::run_to_end, status};
use crate::controller::Controller;
use crate::csi;
use crate::csi::group_controller_server::GroupController;
use crate::csi::group_controller_service_capability::{Rpc, Type, rpc};
use crate::in_flight::{InFlight, Need};
use crate::volume::{GroupSnapshotId, Shown, VolumeId};

type Answer<T> = Result<Response<T>, Status>;

/// Snapshots of several volumes, cut at one moment.
pub struct GroupControllerService {
    controller: Arc<Controller>,
    in_flight: InFlight,
}

impl GroupControllerService {
    /// A service over `controller`.
    #[must_use]
    pub fn new(controller: Arc<Controller>, in_flight: InFlight) -> Self {
        Self {
            controller,
            in_flight,
        }
    }
}

#[tonic::async_trait]
impl GroupController for GroupControllerService {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<csi::GroupControllerGetCapabilitiesRequest>,
    ) -> Answer<csi::GroupControllerGetCapabilitiesResponse> {
        let capability = csi::GroupControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: rpc::Type::CreateDeleteGetVolumeGroupSnapshot.into(),
            })),
        };
        Ok(Response::new(csi::GroupControllerGetCapabilitiesResponse {
            capabilities: vec![capability],
        }))
    }

    #[instrument(skip_all, fields(name = %Shown(&request.get_ref().name)), err(level = "warn"))]
    async fn create_volume_group_snapshot(
        &self,
        request: Request<csi::CreateVolumeGroupSnapshotRequest>,
    ) -> Answer<csi::CreateVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let name = request::name(&request.name)?;
        request::no_parameters(&request.parameters)?;
        request::secrets(request.secrets)?;
        let sources = sources(&request.source_volume_ids)?;
        let id = GroupSnapshotId::for_name(&name);
        let mut needs = vec![Need::alone(&id)];
        needs.extend(sources.iter().map(Need::shared));
        let claim = self.in_flight.claim("CreateVolumeGroupSnapshot", needs)?;
        let controller = self.controller.clone();
        let work = async move { controller.create_group(name, sources).await };
        let group = run_to_end(claim, work).await?;
        tracing::info!(group_snapshot_id = %group.id, "group snapshot is there");
        Ok(Response::new(csi::CreateVolumeGroupSnapshotResponse {
            group_snapshot: Some(answer::group(&group)),
        }))
    }

    #[instrument(skip_all, fields(group_snapshot_id = %Shown(&request.get_ref().group_snapshot_id)), err(level = "warn"))]
    async fn delete_volume_group_snapshot(
        &self,
        request: Request<csi::DeleteVolumeGroupSnapshotRequest>,
    ) -> Answer<csi::DeleteVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let id = request::group_snapshot_id(&request.group_snapshot_id)?;
        request::secrets(request.secrets)?;
        let done = Response::new(csi::DeleteVolumeGroupSnapshotResponse {});
        let Some(id) = id else {
            return Ok(done);
        };
        let needs = vec![Need::alone(&id)];
        let claim = self.in_flight.claim("DeleteVolumeGroupSnapshot", needs)?;
        let controller = self.controller.clone();
        let work = async move { controller.delete_group(&id, &request.snapshot_ids).await };
        run_to_end(claim, work).await?;
        tracing::info!("group snapshot is gone");
        Ok(done)
    }

    #[instrument(skip_all, fields(group_snapshot_id = %Shown(&request.get_ref().group_snapshot_id)), err(level = "warn"))]
    async fn get_volume_group_snapshot(
        &self,
        request: Request<csi::GetVolumeGroupSnapshotRequest>,
    ) -> Answer<csi::GetVolumeGroupSnapshotResponse> {
        let request = request.into_inner();
        let id = request::group_snapshot_id(&request.group_snapshot_id)?;
        request::secrets(request.secrets)?;
        let missing = || status::not_found("group snapshot", &request.group_snapshot_id);
        let id = id.ok_or_else(missing)?;
        let group = self.controller.group(&id, &request.snapshot_ids).await?;
        Ok(Response::new(csi::GetVolumeGroupSnapshotResponse {
            group_snapshot: Some(answer::group(&group)),
        }))
    }
}

/// The volumes to cut; one of foreign format does not exist.
fn sources(ids: &[String]) -> Result<Vec<VolumeId>, Status> {
    request::required("source_volume_ids", ids.first().map_or("", String::as_str))?;
    let known =
        |id: &String| request::volume_id(id)?.ok_or_else(|| status::not_found("volume", id));
    let mut sources = ids.iter().map(known).collect::<Result<Vec<_>, Status>>()?;
    sources.sort();
    sources.dedup();
    Ok(sources)
}
