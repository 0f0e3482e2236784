//! A client of the Kubernetes API from within a pod: HTTP/1 over TLS, with the pod's service account.
//!
//! Requests are few and far between, so each has a connection of its own, and token and certificates are read anew for each:
//! they change while the pod runs. The crate `kube` would bring sixty crates and a YAML parser for four requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::objects::ApiStatus;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(15);
/// The longest answer that is read; a page of 500 VolumeAttachments has about one MiB.
const MAX_ANSWER: usize = 16 << 20;

/// Where the Kubernetes API is, and who we are to it. In a pod, all of it is known without being said.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// The host of the Kubernetes API; every pod knows it
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", help_heading = "Kubernetes API")]
    pub kubernetes_service_host: Option<String>,
    /// The port of the Kubernetes API
    #[arg(
        long,
        env = "KUBERNETES_SERVICE_PORT",
        default_value_t = 443,
        help_heading = "Kubernetes API"
    )]
    pub kubernetes_service_port: u16,
    /// The directory with the token and the ca.crt of the pod's service account
    #[arg(
        long,
        env = "OFFSHOOT_SERVICE_ACCOUNT_DIR",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount",
        help_heading = "Kubernetes API"
    )]
    pub service_account_dir: PathBuf,
}

/// Why the Kubernetes API did not do what it was asked.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Not in a pod.
    #[error("KUBERNETES_SERVICE_HOST is not set; is this a pod?")]
    NoHost,
    /// The service account's files cannot be used.
    #[error("failed to use {} of the service account; is its token mounted?", path.display())]
    ServiceAccount {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection, or it broke.
    #[error("failed to talk to the Kubernetes API at {server}")]
    Connection {
        /// Host and port.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error("the Kubernetes API at {0} did not answer within {limit} s", limit = LIMIT.as_secs())]
    TooSlow(String),
    /// It says no.
    #[error("the Kubernetes API refuses {method} {path} ({status}): {message}")]
    Refused {
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// The answer.
        status: StatusCode,
        /// Why, in the words of the API.
        message: String,
    },
    /// It says something that is not understood.
    #[error("the Kubernetes API answers {path} with something else than expected")]
    Malformed {
        /// The request's path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// The API of this pod's cluster.
#[derive(Debug, Clone)]
pub(super) struct Api {
    host: String,
    port: u16,
    service_account: PathBuf,
}

impl Api {
    pub(super) fn new(args: &ApiArgs) -> Result<Self, ApiError> {
        let host = args.kubernetes_service_host.clone();
        Ok(Self {
            host: host.filter(|it| !it.is_empty()).ok_or(ApiError::NoHost)?,
            port: args.kubernetes_service_port,
            service_account: args.service_account_dir.clone(),
        })
    }

    /// Reads the object or the list at `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let answer = self.request(Method::GET, path, None).await?;
        serde_json::from_slice(&answer).map_err(|source| ApiError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Applies a JSON patch (RFC 6902) to the object at `path`.
    pub(super) async fn json_patch(
        &self,
        path: &str,
        changes: &serde_json::Value,
    ) -> Result<(), ApiError> {
        let body = changes.to_string().into();
        self.request(Method::PATCH, path, Some(body)).await?;
        Ok(())
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, ApiError> {
        let exchange = self.exchange(method.clone(), path, body);
        let too_slow = |_| ApiError::TooSlow(self.server());
        let (status, answer) = timeout(LIMIT, exchange).await.map_err(too_slow)??;
        if status.is_success() {
            return Ok(answer);
        }
        let said: ApiStatus = serde_json::from_slice(&answer).unwrap_or_default();
        Err(ApiError::Refused {
            method,
            path: path.to_owned(),
            status,
            message: said.message,
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let tls = TlsConnector::from(Arc::new(self.tls_config()?));
        let token_file = self.service_account.join("token");
        let token =
            std::fs::read_to_string(&token_file).map_err(|error| unusable(&token_file, error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.server())
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json-patch+json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| self.broken(error))?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| self.broken(error))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| self.broken(error))?;
        let stream = tls.connect(name, stream).await;
        let stream = TokioIo::new(stream.map_err(|error| self.broken(error))?);
        let handshake = http1::handshake(stream).await;
        let (sender, connection) = handshake.map_err(|error| self.broken(error))?;
        match tokio::join!(answer(sender, request), connection) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) => Err(self.broken(error)),
            (Err(error), Ok(())) => Err(self.broken(error)),
        }
    }

    /// Trusts the cluster's own certificate authority, and no other.
    fn tls_config(&self) -> Result<ClientConfig, ApiError> {
        let file = self.service_account.join("ca.crt");
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(&file).map_err(|error| unusable(&file, error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(&file, error))?;
            roots
                .add(certificate)
                .map_err(|error| unusable(&file, error))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&file, error))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    fn server(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
        ApiError::Connection {
            server: self.server(),
            source: source.into(),
        }
    }
}

/// The answer to the only request of a connection.
async fn answer(
    mut sender: http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    Ok((status, body.await?.to_bytes()))
}

fn unusable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::ServiceAccount {
        path: path.to_owned(),
        source: source.into(),
    }
}
