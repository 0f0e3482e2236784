//! The registration service and its socket.

use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use super::api::registration_server::{Registration as Service, RegistrationServer};
use super::api::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use super::authority;
use crate::health::Registration;
use crate::rpc::{Endpoint, EndpointError, Listener};

/// The kind of plugin that we are to the kubelet.
const PLUGIN_TYPE: &str = "CSIPlugin";
/// The versions of CSI, as the kubelet compares them: it accepts every 1.x.
const SUPPORTED_VERSIONS: [&str; 1] = ["1.0.0"];

/// A socket at which the kubelet can learn of this driver. Its file is removed when this is dropped.
pub struct Registrar {
    listener: Listener,
    service: RegistrationService,
}

impl Registrar {
    /// Listens at `<directory>/<driver>-reg.sock`, for the driver that answers CSI at `csi`. Call it when `csi` can be
    /// connected to: the kubelet asks the driver about its node at once. What the kubelet says goes to `told`.
    pub async fn bind(
        directory: &Path,
        driver: &str,
        csi: &Endpoint,
        told: watch::Sender<Registration>,
    ) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::at(directory.join(format!("{driver}-reg.sock")));
        let listener = Listener::bind_private(&endpoint).await?;
        let service = RegistrationService {
            driver: driver.to_owned(),
            csi: csi.path().to_owned(),
            told,
        };
        Ok(Self { listener, service })
    }

    /// Answers the kubelet, for ever.
    pub async fn serve(self) -> Result<(), tonic::transport::Error> {
        let (connections, _file) = self.listener.into_parts();
        let connections = connections.map(|it| it.and_then(authority::replaced));
        Server::builder()
            .add_service(RegistrationServer::new(self.service))
            .serve_with_incoming(connections)
            .await
    }
}

struct RegistrationService {
    driver: String,
    csi: PathBuf,
    told: watch::Sender<Registration>,
}

#[tonic::async_trait]
impl Service for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: PLUGIN_TYPE.to_owned(),
            name: self.driver.clone(),
            endpoint: self.csi.display().to_string(),
            supported_versions: SUPPORTED_VERSIONS.map(str::to_owned).to_vec(),
        }))
    }

    /// After a refusal the kubelet asks again by itself; there is nothing that an end of this process would mend.
    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            info!(driver_name = self.driver, "registered with the kubelet");
            self.told.send_replace(Registration::Registered);
        } else {
            let reason = status.error;
            error!(
                driver_name = self.driver,
                reason, "the kubelet refuses the driver; it will ask again"
            );
            self.told.send_replace(Registration::Refused(reason));
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
