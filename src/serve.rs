//! `offshoot serve`: builds the parts from the settings, answers until a signal comes, and ends in good order.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::backend::file::{FileBackend, FileBackendConfig, OpenError, Role};
use crate::backend::memory::{MemoryBackend, MemoryConfig};
use crate::backend::{Backend, BackendError};
use crate::config::{BackendKind, Config, ConfigError, Mode, ServeArgs};
use crate::controller::{Controller, Reach};
use crate::error_chain;
use crate::health::{Health, Registration, StorageReport};
use crate::host::Host;
use crate::host::fake::FakeHost;
use crate::host::linux::{LinuxHost, LinuxHostError, STATE_DIR};
use crate::in_flight::InFlight;
use crate::kubelet::Registrar;
use crate::kubernetes::{ApiError, StartupTaint};
use crate::metrics::{AddressError, BuildInfo, Measure, Monitor};
use crate::node::NodePlugin;
use crate::rpc::{
    ControllerService, EndpointError, GroupControllerService, IdentityService, Listener, NodeInfo,
    NodeService, PluginInfo, Services,
};
use crate::traces::Exporter;
use crate::volume::{Bytes, Node, Topology};
use crate::watcher::watch_storage;

/// The topology key of volumes that live on one node.
const TOPOLOGY_KEY: &str = "topology.offshoot.dev/node";
/// What the memory backend pretends to have.
const MEMORY_POOL: Bytes = Bytes(1 << 40);
/// How long the calls that have begun may take to end after a signal; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(25);
/// How long answers may take to reach clients that are still connected.
const LINGER: Duration = Duration::from_millis(200);

/// Why the driver does not run, or did not end well.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kubelet's directory or the kernel cannot be used.
    #[error(transparent)]
    Host(#[from] LinuxHostError),
    /// This node cannot be made known.
    #[error("failed to register this node")]
    Register(#[source] BackendError),
    /// The endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The address of metrics and health cannot be used.
    #[error(transparent)]
    Metrics(#[from] AddressError),
    /// The Kubernetes API is not known.
    #[error("--startup-taint cannot be removed")]
    Api(#[from] ApiError),
    /// No signal handler.
    #[error("failed to wait for signals")]
    Signals(#[source] std::io::Error),
    /// The server failed.
    #[error("failed to serve")]
    Serve(#[source] tonic::transport::Error),
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(args: ServeArgs, spans: Option<Exporter>) -> Result<(), ServeError> {
    let config = args.check()?;
    let (backend, host) = parts(&config)?;
    let in_flight = InFlight::default();
    if config.args.mode.has_node() {
        register(&config, backend.as_ref()).await?;
    }
    let (report, storage) = watch::channel(StorageReport::default());
    let (told, registration) = watch::channel(match config.args.registration_dir {
        Some(_) => Registration::Waiting,
        None => Registration::Off,
    });
    let health = Health {
        storage,
        registration,
    };
    let mut helpers = JoinSet::new();
    let monitor = monitor(&config, &backend, &in_flight, &health).await?;
    let measure = Measure::new(monitor.as_ref().map(Monitor::operations), spans.is_some());
    let (ending, ended) = watch::channel(false);
    let spans = spans.map(|it| tokio::spawn(it.run(resource(&config), ended)));
    let services = services(&config, backend.clone(), host, &in_flight, health);
    // Before anybody can connect: who does may also send a signal.
    let stop = stop_signal()?;
    let listener = Listener::bind(&config.endpoint).await?;
    helpers.spawn(watch_storage(backend, report));
    if let Some(monitor) = monitor {
        helpers.spawn(monitor.serve());
    }
    if let Some(key) = &config.args.startup_taint {
        let Config { args, node_id, .. } = &config;
        let taint = StartupTaint::new(&args.api, key, &node_id.to_string(), &args.driver_name)?;
        helpers.spawn(taint.remove_when_ready(told.subscribe()));
    }
    if let Some(directory) = &config.args.registration_dir {
        let driver = &config.args.driver_name;
        let registrar = Registrar::bind(directory, driver, &config.endpoint, told).await?;
        helpers.spawn(register_with_kubelet(registrar));
    }
    info!(endpoint = config.args.endpoint, mode = ?config.args.mode, node_id = %config.node_id, "serving");
    let result = serve_until(services, listener, measure, stop, in_flight.clone()).await;
    finish(&in_flight).await;
    helpers.shutdown().await;
    ending.send_replace(true);
    if let Some(spans) = spans {
        // It has a limit of its own, and what it could not send is lost anyway.
        let _ = spans.await;
    }
    info!("stopped");
    result
}

/// The listener for metrics and health, if one is wanted.
async fn monitor(
    config: &Config,
    backend: &Arc<dyn Backend>,
    in_flight: &InFlight,
    health: &Health,
) -> Result<Option<Monitor>, AddressError> {
    let Some(address) = config.args.metrics_address else {
        return Ok(None);
    };
    let info = BuildInfo {
        driver: config.args.driver_name.clone(),
        mode: config.args.mode,
        backend: config.args.backend,
    };
    let monitor = Monitor::bind(
        address,
        info,
        backend.clone(),
        in_flight.clone(),
        health.clone(),
    );
    Ok(Some(monitor.await?))
}

/// Who sends spans, in the words of OpenTelemetry.
fn resource(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        ("service.name", "offshoot".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", config.node_id.to_string()),
        ("k8s.node.name", config.node_id.to_string()),
        ("csi.driver_name", config.args.driver_name.clone()),
    ]
}

/// Without it the driver still serves volumes; `/readyz` and the log say what is missing.
async fn register_with_kubelet(registrar: Registrar) {
    if let Err(error) = registrar.serve().await {
        error!(
            error = error_chain(&error),
            "the socket for the kubelet's registration failed"
        );
    }
}

type Parts = (Arc<dyn Backend>, Option<Arc<dyn Host>>);

/// The backend, and the host where this process has the node half.
fn parts(config: &Config) -> Result<Parts, ServeError> {
    let args = &config.args;
    match args.backend {
        BackendKind::Memory => {
            let backend = MemoryBackend::new(MemoryConfig {
                topology: vec![topology(config)],
                pool: MEMORY_POOL,
                multi_node: true,
            });
            Ok((Arc::new(backend), Some(Arc::new(FakeHost::new()))))
        }
        BackendKind::File => {
            let role = match args.mode {
                Mode::All | Mode::Controller => Role::Controller,
                Mode::Node => Role::Node,
            };
            let backend = FileBackend::open(FileBackendConfig {
                data_dir: args.data_dir.clone(),
                role,
                node_id: config.node_id.clone(),
                reserve_percent: args.pool_reserve,
                topology_key: TOPOLOGY_KEY.to_owned(),
            })?;
            let host = match args.mode {
                Mode::Controller => None,
                Mode::All | Mode::Node => Some(linux_host(args)?),
            };
            Ok((Arc::new(backend), host))
        }
    }
}

fn linux_host(args: &ServeArgs) -> Result<Arc<dyn Host>, LinuxHostError> {
    let state_dir = args.data_dir.join(STATE_DIR);
    Ok(Arc::new(LinuxHost::new(&args.kubelet_dir, &state_dir)?))
}

fn topology(config: &Config) -> Topology {
    Topology::from_iter([(TOPOLOGY_KEY.to_owned(), config.node_id.to_string())])
}

async fn register(config: &Config, backend: &dyn Backend) -> Result<(), ServeError> {
    let node = Node {
        id: config.node_id.clone(),
        max_volumes: config.max_volumes,
    };
    backend
        .register_node(node)
        .await
        .map_err(ServeError::Register)
}

fn services(
    config: &Config,
    backend: Arc<dyn Backend>,
    host: Option<Arc<dyn Host>>,
    in_flight: &InFlight,
    health: Health,
) -> Services {
    let info = PluginInfo {
        name: config.args.driver_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let reach = if config.args.node_deployment {
        Reach::Node
    } else {
        Reach::Cluster
    };
    let controller = config.args.mode.has_controller().then(|| {
        let controller = Arc::new(Controller::new(
            backend.clone(),
            config.args.default_fs_type,
            reach,
        ));
        (
            ControllerService::new(controller.clone(), in_flight.clone()),
            GroupControllerService::new(controller, in_flight.clone()),
        )
    });
    let node = host.map(|host| {
        let info = NodeInfo {
            id: config.node_id.clone(),
            max_volumes: config.max_volumes,
            topology: topology(config),
        };
        let plugin = Arc::new(NodePlugin::new(backend, host));
        NodeService::new(plugin, in_flight.clone(), info, &config.args.kubelet_dir)
    });
    Services {
        identity: IdentityService::new(info, health),
        controller,
        node,
    }
}

/// Completes when the first SIGTERM or SIGINT comes.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping; calls that have begun are finished");
    })
}

/// Serves until `stop`; then the calls that have begun may end. Clients that keep their connections open are not waited for.
async fn serve_until(
    services: Services,
    listener: Listener,
    measure: Measure,
    stop: impl Future<Output = ()> + Send + 'static,
    in_flight: InFlight,
) -> Result<(), ServeError> {
    let (stopping, mut stopped) = watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let idle = async move {
        // An error means that `stop` was dropped, which happens only when serving has ended.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        sleep(LINGER).await;
        finish(&in_flight).await;
        sleep(LINGER).await;
    };
    tokio::select! {
        result = services.serve(listener, measure, stop) => result.map_err(ServeError::Serve),
        () = idle => Ok(()),
    }
}

/// Waits for operations that have begun, also for those whose callers went away.
async fn finish(in_flight: &InFlight) {
    let idle = async {
        while !in_flight.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(GRACE, idle).await.is_err() {
        warn!(
            operations = in_flight.len(),
            "operations still run; they converge when they are repeated"
        );
    }
}
