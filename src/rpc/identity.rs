//! The Identity service.

use tonic::{Request, Response, Status};

use crate::csi;
use crate::csi::identity_server::Identity;
use crate::csi::plugin_capability::{self, Service, VolumeExpansion};
use crate::health::Health;

type Answer<T> = Result<Response<T>, Status>;

/// Who we are.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// The driver's name, as in `CSIDriver`.
    pub name: String,
    /// The driver's version.
    pub version: &'static str,
}

/// Says who we are, what we can do and whether we are well.
pub struct IdentityService {
    info: PluginInfo,
    health: Health,
}

impl IdentityService {
    /// A service that answers for the driver `info`.
    #[must_use]
    pub fn new(info: PluginInfo, health: Health) -> Self {
        Self { info, health }
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Answer<csi::GetPluginInfoResponse> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: self.info.name.clone(),
            vendor_version: self.info.version.to_owned(),
            manifest: std::collections::HashMap::new(),
        }))
    }

    /// The same on every socket: the capabilities belong to the driver, wherever its halves run.
    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Answer<csi::GetPluginCapabilitiesResponse> {
        use plugin_capability::service::Type as S;
        use plugin_capability::volume_expansion::Type as E;
        let services = [
            S::ControllerService,
            S::VolumeAccessibilityConstraints,
            S::GroupControllerService,
            S::SnapshotAccessibilityConstraints,
        ]
        .map(|it| plugin_capability::Type::Service(Service { r#type: it.into() }));
        let expansion = [E::Online, E::Offline].map(|it| {
            plugin_capability::Type::VolumeExpansion(VolumeExpansion { r#type: it.into() })
        });
        let capabilities = services
            .into_iter()
            .chain(expansion)
            .map(|it| csi::PluginCapability { r#type: Some(it) })
            .collect();
        Ok(Response::new(csi::GetPluginCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(&self, _: Request<csi::ProbeRequest>) -> Answer<csi::ProbeResponse> {
        self.health.live().map_err(Status::failed_precondition)?;
        Ok(Response::new(csi::ProbeResponse { ready: Some(true) }))
    }
}
