//! The Node service.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::{info, instrument};

use super::run::run_to_end;
use super::{answer, request, status};
use crate::csi;
use crate::csi::node_server::Node;
use crate::csi::node_service_capability::{Rpc, Type, rpc};
use crate::csi::volume_usage::Unit;
use crate::in_flight::{InFlight, Need};
use crate::node::{
    ExpandVolume, HealthPaths, NodePlugin, PublishVolume, StageVolume, Stats, UnpublishVolume,
    UnstageVolume, Usage,
};
use crate::volume::{NodeId, Shown, TargetPath, Topology, VolumeId};

type Answer<T> = Result<Response<T>, Status>;

const CAPABILITIES: [rpc::Type; 6] = [
    rpc::Type::StageUnstageVolume,
    rpc::Type::GetVolumeStats,
    rpc::Type::ExpandVolume,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::GetVolumeHealth,
    rpc::Type::GetStorageHealth,
];

/// What NodeGetInfo reports.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// This node.
    pub id: NodeId,
    /// How many volumes may be published here at once; `None` sets no limit.
    pub max_volumes: Option<u32>,
    /// Where this node is.
    pub topology: Topology,
}

/// Stages, publishes, measures and grows volumes on this node.
pub struct NodeService {
    plugin: Arc<NodePlugin>,
    in_flight: InFlight,
    info: NodeInfo,
    kubelet_dir: PathBuf,
}

impl NodeService {
    /// A service over `plugin`, for paths below `kubelet_dir`.
    #[must_use]
    pub fn new(
        plugin: Arc<NodePlugin>,
        in_flight: InFlight,
        info: NodeInfo,
        kubelet_dir: &Path,
    ) -> Self {
        Self {
            plugin,
            in_flight,
            info,
            kubelet_dir: kubelet_dir.to_owned(),
        }
    }

    fn path(&self, field: &'static str, path: &str) -> Result<TargetPath, Status> {
        Ok(request::target_path(field, &self.kubelet_dir, path)?)
    }

    /// The path of a volume that exists; one that no volume of ours can be on is not found (CSI 1.13,
    /// "NodeGetVolumeStats").
    fn volume_path(&self, path: &str) -> Result<TargetPath, Status> {
        TargetPath::parse(&self.kubelet_dir, path)
            .map_err(|error| Status::not_found(format!("no volume is there: {error}")))
    }

    fn optional_path(&self, field: &'static str, path: &str) -> Result<Option<TargetPath>, Status> {
        (!path.is_empty())
            .then(|| self.path(field, path))
            .transpose()
    }

    /// Claims the volume and runs an operation to its end.
    async fn run<T, E, F>(
        &self,
        operation: &'static str,
        volume_id: &VolumeId,
        work: impl FnOnce(Arc<NodePlugin>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        Status: From<E>,
    {
        let claim = self
            .in_flight
            .claim(operation, vec![Need::alone(volume_id)])?;
        run_to_end(claim, work(self.plugin.clone())).await
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), staging_target_path = %Shown(&request.get_ref().staging_target_path)), err(level = "warn"))]
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Answer<csi::NodeStageVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let staging_target_path = self.path("staging_target_path", &request.staging_target_path)?;
        let capability = request::capability(request.volume_capability.as_ref())?;
        request::map("publish_context", &request.publish_context)?;
        request::map("volume_context", &request.volume_context)?;
        request::secrets(request.secrets)?;
        let volume_id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let stage = StageVolume {
            volume_id: volume_id.clone(),
            staging_target_path,
            capability,
        };
        let work = |it: Arc<NodePlugin>| async move { it.stage(stage).await };
        self.run("NodeStageVolume", &volume_id, work).await?;
        info!("volume is staged");
        Ok(Response::new(csi::NodeStageVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), staging_target_path = %Shown(&request.get_ref().staging_target_path)), err(level = "warn"))]
    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Answer<csi::NodeUnstageVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let staging_target_path = self.path("staging_target_path", &request.staging_target_path)?;
        // A volume of foreign format was never staged by us, and what is not ours is not touched.
        if let Some(volume_id) = id {
            let unstage = UnstageVolume {
                volume_id: volume_id.clone(),
                staging_target_path,
            };
            let work = |it: Arc<NodePlugin>| async move { it.unstage(unstage).await };
            self.run("NodeUnstageVolume", &volume_id, work).await?;
            info!("volume is not staged");
        }
        Ok(Response::new(csi::NodeUnstageVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), target_path = %Shown(&request.get_ref().target_path)), err(level = "warn"))]
    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Answer<csi::NodePublishVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let target_path = self.path("target_path", &request.target_path)?;
        let capability = request::capability(request.volume_capability.as_ref())?;
        request::map("publish_context", &request.publish_context)?;
        request::map("volume_context", &request.volume_context)?;
        request::secrets(request.secrets)?;
        let staging = self.optional_path("staging_target_path", &request.staging_target_path)?;
        let volume_id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let not_staged = || {
            Status::failed_precondition("staging_target_path is missing; stage the volume first")
        };
        let publish = PublishVolume {
            volume_id: volume_id.clone(),
            staging_target_path: staging.ok_or_else(not_staged)?,
            target_path,
            capability,
            read_only: request.readonly,
        };
        let work = |it: Arc<NodePlugin>| async move { it.publish(publish).await };
        self.run("NodePublishVolume", &volume_id, work).await?;
        info!("volume is published");
        Ok(Response::new(csi::NodePublishVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), target_path = %Shown(&request.get_ref().target_path)), err(level = "warn"))]
    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Answer<csi::NodeUnpublishVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let target_path = self.path("target_path", &request.target_path)?;
        if let Some(volume_id) = id {
            let unpublish = UnpublishVolume {
                volume_id: volume_id.clone(),
                target_path,
            };
            let work = |it: Arc<NodePlugin>| async move { it.unpublish(unpublish).await };
            self.run("NodeUnpublishVolume", &volume_id, work).await?;
            info!("volume is not published");
        }
        Ok(Response::new(csi::NodeUnpublishVolumeResponse {}))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), volume_path = %Shown(&request.get_ref().volume_path)), err(level = "warn"))]
    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Answer<csi::NodeGetVolumeStatsResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        if request.volume_path.is_empty() {
            return Err(request::InvalidRequest::Missing("volume_path").into());
        }
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let path = self.volume_path(&request.volume_path)?;
        let Stats { bytes, inodes } = self.plugin.stats(&id, &path).await?;
        let mut answer = vec![usage(bytes, Unit::Bytes)];
        answer.extend(inodes.map(|inodes| usage(inodes, Unit::Inodes)));
        Ok(Response::new(csi::NodeGetVolumeStatsResponse {
            usage: answer,
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id)), err(level = "warn"))]
    async fn node_get_volume_health(
        &self,
        request: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Answer<csi::NodeGetVolumeHealthResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        let paths = HealthPaths {
            staging: self.optional_path("staging_target_path", &request.staging_target_path)?,
            published: self.optional_path("volume_publish_path", &request.volume_publish_path)?,
        };
        let id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let health = self.plugin.volume_health(&id, paths).await?;
        Ok(Response::new(csi::NodeGetVolumeHealthResponse {
            volume_health: Some(answer::health(&id, &health)),
        }))
    }

    #[instrument(skip_all, err(level = "warn"))]
    async fn node_get_storage_health(
        &self,
        request: Request<csi::NodeGetStorageHealthRequest>,
    ) -> Answer<csi::NodeGetStorageHealthResponse> {
        use csi::node_get_storage_health_response::StorageBackendHealth;
        request::secrets(request.into_inner().secrets)?;
        let health = self.plugin.storage_health().await?;
        let entries = health.into_iter().map(|it| StorageBackendHealth {
            status: answer::storage_status(it.status),
            reason: it.reason.to_owned(),
            message: answer::short(&it.message),
            volume_capability: None,
        });
        Ok(Response::new(csi::NodeGetStorageHealthResponse {
            backend_health: entries.collect(),
        }))
    }

    #[instrument(skip_all, fields(volume_id = %Shown(&request.get_ref().volume_id), volume_path = %Shown(&request.get_ref().volume_path)), err(level = "warn"))]
    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Answer<csi::NodeExpandVolumeResponse> {
        let request = request.into_inner();
        let id = request::volume_id(&request.volume_id)?;
        if request.volume_path.is_empty() {
            return Err(request::InvalidRequest::Missing("volume_path").into());
        }
        let range = request.capacity_range.map(|it| request::capacity(Some(it)));
        let capacity = range.transpose()?;
        request::optional_capability(request.volume_capability.as_ref())?;
        request::secrets(request.secrets)?;
        let volume_id = id.ok_or_else(|| status::not_found("volume", &request.volume_id))?;
        let expand = ExpandVolume {
            volume_id: volume_id.clone(),
            volume_path: self.volume_path(&request.volume_path)?,
            capacity,
        };
        let work = |it: Arc<NodePlugin>| async move { it.expand(expand).await };
        let size = self.run("NodeExpandVolume", &volume_id, work).await?;
        info!(%size, "volume is as large here as its backing");
        Ok(Response::new(csi::NodeExpandVolumeResponse {
            capacity_bytes: size.to_i64(),
        }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Answer<csi::NodeGetCapabilitiesResponse> {
        let capabilities = CAPABILITIES.map(|it| csi::NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: it.into() })),
        });
        Ok(Response::new(csi::NodeGetCapabilitiesResponse {
            capabilities: capabilities.to_vec(),
        }))
    }

    async fn node_get_info(
        &self,
        _: Request<csi::NodeGetInfoRequest>,
    ) -> Answer<csi::NodeGetInfoResponse> {
        Ok(Response::new(csi::NodeGetInfoResponse {
            node_id: self.info.id.to_string(),
            max_volumes_per_node: self.info.max_volumes.map_or(0, i64::from),
            accessible_topology: Some(answer::topology(&self.info.topology)),
        }))
    }
}

fn usage(usage: Usage, unit: Unit) -> csi::VolumeUsage {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    csi::VolumeUsage {
        available: number(usage.available),
        total: number(usage.total),
        used: number(usage.used),
        unit: unit.into(),
    }
}
