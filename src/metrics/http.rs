//! The listener for metrics and health. It has no more than three pages, so it needs no router.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::operations::Operations;
use super::process::Process;
use super::render::{State, render};
use crate::backend::Backend;
use crate::config::{BackendKind, Mode};
use crate::health::Health;
use crate::in_flight::InFlight;

/// How many connections are served at once; more wait. The kubelet and Prometheus need two.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take to send the head of a request; an idle connection is closed after that, too.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait when no connection can be accepted, because descriptors are used up for instance.
const PAUSE: Duration = Duration::from_millis(200);
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The address cannot be listened at.
#[derive(Debug, Error)]
#[error("failed to listen at {address} for metrics and health (--metrics-address)")]
pub struct AddressError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// What this process is.
#[derive(Debug, Clone)]
pub struct BuildInfo {
    /// The driver's name.
    pub driver: String,
    /// Which half of the driver.
    pub mode: Mode,
    /// Where volumes live.
    pub backend: BackendKind,
}

impl BuildInfo {
    pub(super) fn mode_name(&self) -> String {
        flag_name(&self.mode)
    }

    pub(super) fn backend_name(&self) -> String {
        flag_name(&self.backend)
    }
}

/// The word that stands for the value on the command line.
fn flag_name(value: &impl ValueEnum) -> String {
    let name = value.to_possible_value();
    name.map(|it| it.get_name().to_owned()).unwrap_or_default()
}

/// Serves metrics and health.
pub struct Monitor {
    listener: TcpListener,
    view: Arc<View>,
}

/// What the pages show.
struct View {
    info: BuildInfo,
    operations: Arc<Operations>,
    backend: Arc<dyn Backend>,
    in_flight: InFlight,
    health: Health,
}

impl Monitor {
    /// Listens at `address`.
    pub async fn bind(
        address: SocketAddr,
        info: BuildInfo,
        backend: Arc<dyn Backend>,
        in_flight: InFlight,
        health: Health,
    ) -> Result<Self, AddressError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| AddressError { address, source })?;
        let view = View {
            info,
            operations: Arc::default(),
            backend,
            in_flight,
            health,
        };
        Ok(Self {
            listener,
            view: Arc::new(view),
        })
    }

    /// Where calls are counted.
    #[must_use]
    pub fn operations(&self) -> Arc<Operations> {
        self.view.operations.clone()
    }

    /// Answers for ever.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let view = self.view.clone();
                    tokio::spawn(async move {
                        converse(stream, view).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection for metrics and health");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, view: Arc<View>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = view.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = ended {
        debug!(%error, "connection for metrics and health ended");
    }
}

impl View {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return page(
                StatusCode::METHOD_NOT_ALLOWED,
                PLAIN,
                "GET only\n".to_owned(),
            );
        }
        match path {
            "/metrics" => page(StatusCode::OK, PROMETHEUS, self.metrics()),
            "/healthz" => verdict(self.health.live()),
            "/readyz" => verdict(self.health.ready()),
            _ => page(
                StatusCode::NOT_FOUND,
                PLAIN,
                "there are /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }

    fn metrics(&self) -> String {
        let report = self.health.storage.borrow();
        let registration = self.health.registration.borrow();
        render(&State {
            info: &self.info,
            operations: &self.operations,
            claimed: self.in_flight.len(),
            report: &report,
            registration: &registration,
            inventory: self.backend.inventory(),
            process: Process::now(),
        })
    }
}

fn verdict(health: Result<(), String>) -> Response<Full<Bytes>> {
    match health {
        Ok(()) => page(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        Err(reason) => page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason + "\n"),
    }
}

fn page(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
