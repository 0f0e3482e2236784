//! The Controller service.

use std::future::Future;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::{Span, field, info, instrument};

use super::run::run_to_end;
use super::{answer, pages, request, status};
use crate::controller::{
    CapacityQuestion, Controller, CreateSnapshot, CreateVolume, ExpandVolume, PublishVolume,
};
use crate::csi;
use crate::csi::controller_server::Controller as Service;
use crate::csi::controller_service_capability::{Rpc, Type, rpc};
use crate::csi::validate_volume_capabilities_response::Confirmed;
use crate::error_chain;
use crate::in_flight::{Claim, InFlight, Need};
use crate::volume::{Shown, SnapshotId, Source, VolumeId};

type Answer<T> = Result<Response<T>, Status>;

/// Every capability of CSI 1.13 but none of its removed ones.
const CAPABILITIES: [rpc::Type; 16] = [
    rpc::Type::CreateDeleteVolume,
    rpc::Type::PublishUnpublishVolume,
    rpc::Type::ListVolumes,
    rpc::Type::GetCapacity,
    rpc::Type::CreateDeleteSnapshot,
    rpc::Type::ListSnapshots,
    rpc::Type::CloneVolume,
    rpc::Type::PublishReadonly,
    rpc::Type::ExpandVolume,
    rpc::Type::ListVolumesPublishedNodes,
    rpc::Type::GetVolume,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::ModifyVolume,
    rpc::Type::GetSnapshot,
    rpc::Type::GetVolumeHealth,
    rpc::Type::ListVolumeHealth,
];

/// Makes, publishes, grows, lists and removes volumes and snapshots.
pub struct ControllerService {
    controller: Arc<Controller>,
    in_flight: InFlight,
}

impl ControllerService {
    /// A service over `controller`.
    #[must_use]
    pub fn new(controller: Arc<Controller>, in_flight: InFlight) -> Self {
        Self {
            controller,
            in_flight,
        }
    }

    fn claim(&self, operation: &'static str, needs: Vec<Need>) -> Result<Claim, Status> {
        Ok(self.in_flight.claim(operation, needs)?)
    }

    /// Runs an operation on the controller to its end.
    async fn run<T, E, F>(
        &self,
        claim: Claim,
        work: impl FnOnce(Arc<Controller>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        Status: From<E>,
    {
        run_to_end(claim, work(self.controller.clone())).await
    }
}

#[tonic::async_trait]
impl Service for ControllerService {
    #[instrument(skip_all, fields(name = %Shown(&request.get_ref().name), volume_id = field::Empty), err(level = "warn"))]
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Answer<csi::CreateVolumeResponse> {
        let create = create_volume(request.into_inner())?;
        let id = VolumeId::for_name(&create.name);
        Span::current().record("volume_id", id.as_str());
        let mut needs = vec![Need::alone(&id)];
        match &create.source {
            Some(Source::Snapshot(id)) => needs.push(Need::shared(id)),
            Some(Source::Volume(id)) => needs.push(Need::shared(id)),
            None => {}
        }
        let claim = self.claim("CreateVolume", needs)?;
        let work = |it: Arc<Controller>| async move { it.create_volume(create).await };
        let volume = self.run(claim, work).await?;
        info!(size = %volume.size, "volume is there");
        Ok(Response::new(csi::CreateVolumeResponse {
            volume: Some(answer::volume(&volume)),
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Answer<csi::DeleteVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        request::secrets(request.secrets)?;
        if let Some(id) = id {
            let claim = self.claim("DeleteVolume", vec![Need::alone(&id)])?;
            let work = |it: Arc<Controller>| async move { it.delete_volume(&id).await };
            self.run(claim, work).await?;
            info!("volume is gone");
        }
        Ok(Response::new(csi::DeleteVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), node_id = %Shown(&request.get_ref().node_id)), err(level = "warn"))]
    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Answer<csi::ControllerPublishVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let node_id = request::node_id(&request.node_id)?;
        let capability = request::capability(request.volume_capability.as_ref())?;
        request::map("volume_context", &request.volume_context)?;
        request::secrets(request.secrets)?;
        let publish = PublishVolume {
            volume_id: id.ok_or_else(|| status::not_found("volume", &request.volume_id))?,
            node_id,
            capability,
            read_only: request.readonly,
        };
        let needs = vec![Need::alone(&publish.volume_id)];
        let claim = self.claim("ControllerPublishVolume", needs)?;
        let work = |it: Arc<Controller>| async move { it.publish_volume(publish).await };
        self.run(claim, work).await?;
        info!("volume is published to the node");
        Ok(Response::new(
            csi::ControllerPublishVolumeResponse::default(),
        ))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), node_id = %Shown(&request.get_ref().node_id)), err(level = "warn"))]
    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Answer<csi::ControllerUnpublishVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let node = request::optional_node_id(&request.node_id)?;
        request::secrets(request.secrets)?;
        if let Some(id) = id {
            let claim = self.claim("ControllerUnpublishVolume", vec![Need::alone(&id)])?;
            let work =
                |it: Arc<Controller>| async move { it.unpublish_volume(&id, node.as_ref()).await };
            self.run(claim, work).await?;
            info!("volume is not published to the node");
        }
        Ok(Response::new(csi::ControllerUnpublishVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Answer<csi::ValidateVolumeCapabilitiesResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let capabilities = request::capabilities(&request.volume_capabilities)?;
        request::map("volume_context", &request.volume_context)?;
        request::secrets(request.secrets)?;
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let capable = self.controller.validate_capabilities(&id, &capabilities);
        let capable = capable.await?.map_err(|misfit| error_chain(&misfit));
        let parameters = request::settings("parameters", &request.parameters).and(
            request::settings("mutable_parameters", &request.mutable_parameters),
        );
        let judged = capable.and(parameters.map_err(|error| error_chain(&error)));
        Ok(Response::new(match judged {
            Err(message) => csi::ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message,
            },
            Ok(_) => csi::ValidateVolumeCapabilitiesResponse {
                confirmed: Some(Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                    mutable_parameters: request.mutable_parameters,
                }),
                message: String::new(),
            },
        }))
    }

    #[instrument(skip_all, err(level = "warn"))]
    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Answer<csi::ListVolumesResponse> {
        let request = request.into_inner();
        let page = pages::page(
            request.max_entries,
            &request.starting_token,
            VolumeId::parse,
        )?;
        let volumes = self.controller.volumes(page.clone()).await?;
        let (entries, next_token) = pages::entries(&volumes, &page, |volume| {
            let entry = csi::list_volumes_response::Entry {
                volume: Some(answer::volume(volume)),
                status: Some(csi::list_volumes_response::VolumeStatus {
                    published_node_ids: answer::published_nodes(volume),
                }),
            };
            (entry, volume.id.clone())
        });
        Ok(Response::new(csi::ListVolumesResponse {
            entries,
            next_token,
        }))
    }

    #[instrument(skip_all, err(level = "warn"))]
    async fn controller_list_volume_health(
        &self,
        request: Request<csi::ControllerListVolumeHealthRequest>,
    ) -> Answer<csi::ControllerListVolumeHealthResponse> {
        let request = request.into_inner();
        let page = pages::page(
            request.max_entries,
            &request.starting_token,
            VolumeId::parse,
        )?;
        request::secrets(request.secrets)?;
        let unhealthy = self.controller.unhealthy_volumes(&page).await?;
        let (entries, next_token) = pages::entries(&unhealthy, &page, |(id, health)| {
            (answer::health(id, health), id.clone())
        });
        Ok(Response::new(csi::ControllerListVolumeHealthResponse {
            entries,
            next_token,
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn controller_get_volume_health(
        &self,
        request: Request<csi::ControllerGetVolumeHealthRequest>,
    ) -> Answer<csi::ControllerGetVolumeHealthResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        request::secrets(request.secrets)?;
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let health = self.controller.volume_health(&id).await?;
        Ok(Response::new(csi::ControllerGetVolumeHealthResponse {
            volume_health: Some(answer::health(&id, &health)),
        }))
    }

    #[instrument(skip_all, err(level = "warn"))]
    async fn get_capacity(
        &self,
        request: Request<csi::GetCapacityRequest>,
    ) -> Answer<csi::GetCapacityResponse> {
        let request = request.into_inner();
        let capabilities = match request.volume_capabilities.as_slice() {
            [] => Vec::new(),
            list => request::capabilities(list)?,
        };
        let question = CapacityQuestion {
            capabilities,
            settings: request::settings("parameters", &request.parameters)?,
            topology: request
                .accessible_topology
                .map(request::topology)
                .transpose()?,
        };
        let (capacity, minimum) = self.controller.capacity(&question).await?;
        Ok(Response::new(csi::GetCapacityResponse {
            available_capacity: capacity.available.to_i64(),
            maximum_volume_size: Some(capacity.maximum_volume_size.to_i64()),
            minimum_volume_size: Some(minimum.to_i64()),
        }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Answer<csi::ControllerGetCapabilitiesResponse> {
        let capabilities = CAPABILITIES.map(|it| csi::ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: it.into() })),
        });
        Ok(Response::new(csi::ControllerGetCapabilitiesResponse {
            capabilities: capabilities.to_vec(),
        }))
    }

    #[instrument(skip_all, fields(name = %Shown(&request.get_ref().name), volume_id = %Shown(&request.get_ref().source_volume_id)), err(level = "warn"))]
    async fn create_snapshot(
        &self,
        request: Request<csi::CreateSnapshotRequest>,
    ) -> Answer<csi::CreateSnapshotResponse> {
        let request = request.into_inner();
        let name = request::name(&request.name)?;
        request::required("source_volume_id", &request.source_volume_id)?;
        request::no_parameters(&request.parameters)?;
        request::secrets(request.secrets)?;
        let accessibility = request::accessibility(request.accessibility_requirements)?;
        let constrained = !accessibility.requisite.is_empty();
        let source = request::volume_id(&request.source_volume_id)?;
        let create = CreateSnapshot {
            name,
            source: source.ok_or_else(|| status::not_found("volume", &request.source_volume_id))?,
            accessibility,
        };
        let id = SnapshotId::for_name(&create.name);
        let needs = vec![Need::alone(&id), Need::shared(&create.source)];
        let claim = self.claim("CreateSnapshot", needs)?;
        let work = |it: Arc<Controller>| async move { it.create_snapshot(create).await };
        let snapshot = self.run(claim, work).await?;
        info!(snapshot_id = %snapshot.id, "snapshot is there");
        let mut answer = answer::snapshot(&snapshot);
        if constrained {
            // The caller said where, and it is met; GetSnapshot and ListSnapshots tell it again. The field is optional,
            // and csi-sanity 5.6.0 compares it with a Go value that holds caches, to which no answer is equal.
            answer.accessible_topology.clear();
        }
        Ok(Response::new(csi::CreateSnapshotResponse {
            snapshot: Some(answer),
        }))
    }

    #[instrument(skip_all, fields(snapshot_id = %Shown(&request.get_ref().snapshot_id)), err(level = "warn"))]
    async fn delete_snapshot(
        &self,
        request: Request<csi::DeleteSnapshotRequest>,
    ) -> Answer<csi::DeleteSnapshotResponse> {
        let request = request.into_inner();
        let id = request::snapshot_id(&request.snapshot_id)?;
        request::secrets(request.secrets)?;
        if let Some(id) = id {
            let claim = self.claim("DeleteSnapshot", vec![Need::alone(&id)])?;
            let work = |it: Arc<Controller>| async move { it.delete_snapshot(&id).await };
            self.run(claim, work).await?;
            info!("snapshot is gone");
        }
        Ok(Response::new(csi::DeleteSnapshotResponse {}))
    }

    #[instrument(skip_all, err(level = "warn"))]
    async fn list_snapshots(
        &self,
        request: Request<csi::ListSnapshotsRequest>,
    ) -> Answer<csi::ListSnapshotsResponse> {
        let request = request.into_inner();
        let page = pages::page(
            request.max_entries,
            &request.starting_token,
            SnapshotId::parse,
        )?;
        let id = request::optional("snapshot_id", &request.snapshot_id)?;
        let source = request::optional("source_volume_id", &request.source_volume_id)?;
        request::secrets(request.secrets)?;
        let snapshots = match (id, source) {
            ("", "") => self.controller.snapshots(None, page.clone()).await?,
            ("", source) => match VolumeId::parse(source) {
                Some(source) => {
                    self.controller
                        .snapshots(Some(&source), page.clone())
                        .await?
                }
                None => Vec::new(),
            },
            (id, source) => self.snapshot_of(id, source).await?,
        };
        let (entries, next_token) = pages::entries(&snapshots, &page, |snapshot| {
            let entry = csi::list_snapshots_response::Entry {
                snapshot: Some(answer::snapshot(snapshot)),
            };
            (entry, snapshot.id.clone())
        });
        Ok(Response::new(csi::ListSnapshotsResponse {
            entries,
            next_token,
        }))
    }

    #[instrument(skip_all, fields(snapshot_id = %Shown(&request.get_ref().snapshot_id)), err(level = "warn"))]
    async fn get_snapshot(
        &self,
        request: Request<csi::GetSnapshotRequest>,
    ) -> Answer<csi::GetSnapshotResponse> {
        let request = request.into_inner();
        let id = request::snapshot_id(&request.snapshot_id)?;
        request::secrets(request.secrets)?;
        let id = id.ok_or_else(|| status::not_found("snapshot", &request.snapshot_id))?;
        let snapshot = self.controller.snapshot(&id).await?;
        Ok(Response::new(csi::GetSnapshotResponse {
            snapshot: Some(answer::snapshot(&snapshot)),
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Answer<csi::ControllerExpandVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let range = request::present("capacity_range", request.capacity_range)?;
        let capacity = request::capacity(Some(range))?;
        let capability = request::optional_capability(request.volume_capability.as_ref())?;
        request::secrets(request.secrets)?;
        let expand = ExpandVolume {
            volume_id: id.ok_or_else(|| status::not_found("volume", &request.volume_id))?,
            capacity,
            capability,
        };
        let claim = self.claim(
            "ControllerExpandVolume",
            vec![Need::alone(&expand.volume_id)],
        )?;
        let work = |it: Arc<Controller>| async move { it.expand_volume(expand).await };
        let volume = self.run(claim, work).await?;
        info!(size = %volume.size, "volume is as large as asked for");
        Ok(Response::new(csi::ControllerExpandVolumeResponse {
            capacity_bytes: volume.size.to_i64(),
            // The node gives its device the new size, and grows the filesystem.
            node_expansion_required: true,
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Answer<csi::ControllerGetVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let volume = self.controller.volume(&id).await?;
        Ok(Response::new(csi::ControllerGetVolumeResponse {
            volume: Some(answer::volume(&volume)),
            status: Some(csi::controller_get_volume_response::VolumeStatus {
                published_node_ids: answer::published_nodes(&volume),
            }),
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn controller_modify_volume(
        &self,
        request: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Answer<csi::ControllerModifyVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let patch = request::settings("mutable_parameters", &request.mutable_parameters)?;
        request::secrets(request.secrets)?;
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let claim = self.claim("ControllerModifyVolume", vec![Need::alone(&id)])?;
        let work = |it: Arc<Controller>| async move { it.modify_volume(&id, &patch).await };
        self.run(claim, work).await?;
        info!("volume has the settings asked for");
        Ok(Response::new(csi::ControllerModifyVolumeResponse {}))
    }
}

impl ControllerService {
    /// The snapshot of this id, if it exists and is of this volume; an empty `source` stands for any.
    async fn snapshot_of(
        &self,
        id: &str,
        source: &str,
    ) -> Result<Vec<crate::volume::Snapshot>, Status> {
        let Some(id) = SnapshotId::parse(id) else {
            return Ok(Vec::new());
        };
        match self.controller.snapshot(&id).await {
            Ok(it) if source.is_empty() || it.source.as_str() == source => Ok(vec![it]),
            Ok(_) | Err(crate::backend::BackendError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

fn create_volume(request: csi::CreateVolumeRequest) -> Result<CreateVolume, Status> {
    let name = request::name(&request.name)?;
    let capacity = request::capacity(request.capacity_range)?;
    let capabilities = request::capabilities(&request.volume_capabilities)?;
    let parameters = request::settings("parameters", &request.parameters)?;
    let mutable = request::settings("mutable_parameters", &request.mutable_parameters)?;
    request::secrets(request.secrets)?;
    let accessibility = request::accessibility(request.accessibility_requirements)?;
    let source = request::source(request.volume_content_source)?;
    let source = match source {
        request::AskedSource::Unknown => {
            return Err(Status::not_found("the content source does not exist"));
        }
        request::AskedSource::Nothing => None,
        request::AskedSource::Known(source) => Some(source),
    };
    Ok(CreateVolume {
        name,
        capacity,
        capabilities,
        settings: parameters.overlaid_by(&mutable),
        source,
        accessibility,
    })
}
