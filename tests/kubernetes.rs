//! The start-up taint and the pre-stop hook, before an API server that speaks TLS as a real one does.
#![expect(clippy::needless_pass_by_value, reason = "JSON is written in place")]

mod common;
mod machine;

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Driver, NODE, connect};
use faultlab::Running;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use machine::Machine;
use machine::calls::{Calls, capability, volume_id};
use offshoot::kubelet::api::RegistrationStatus;
use offshoot::kubelet::api::registration_client::RegistrationClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const TOKEN: &str = "token-of-the-test";
const TAINT: &str = "offshoot.dev/agent-not-ready";

/// What the API server knows, and what was asked of it.
#[derive(Default)]
struct Cluster {
    node: Value,
    drivers: Vec<&'static str>,
    attachments: Vec<Value>,
    requests: Vec<String>,
    /// Before the next patch is looked at, somebody else adds a taint.
    interferes: bool,
    /// How many requests fail before one is answered.
    failures: u32,
}

/// An API server, and a service account for it.
struct ApiServer {
    cluster: Arc<Mutex<Cluster>>,
    service_account: TempDir,
    port: u16,
}

impl ApiServer {
    async fn start(cluster: Cluster) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let ours = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = ours.signed_by(&key, &authority).expect("a certificate");

        let service_account = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: String| {
            std::fs::write(service_account.path().join(name), text).expect("it is written");
        };
        write("ca.crt", pem(authority.der()));
        write("token", format!("{TOKEN}\n"));

        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cluster = Arc::new(Mutex::new(cluster));
        tokio::spawn(serve(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            cluster.clone(),
        ));
        Self {
            cluster,
            service_account,
            port,
        }
    }

    /// Says where this server is.
    fn flags(&self) -> Vec<String> {
        let directory = self.service_account.path().display();
        vec![
            "--kubernetes-service-host=127.0.0.1".to_owned(),
            format!("--kubernetes-service-port={}", self.port),
            format!("--service-account-dir={directory}"),
        ]
    }

    fn with<T>(&self, work: impl FnOnce(&mut Cluster) -> T) -> T {
        work(&mut self.cluster.lock().expect("no panic"))
    }

    async fn wait_for(&self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        for _ in 0..1500 {
            if self.with(|cluster| holds(cluster)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (node, requests) = self.with(|it| (it.node.clone(), it.requests.clone()));
        panic!("{what} did not happen: {node} after {requests:?}");
    }
}

fn pem(der: &[u8]) -> String {
    let text = serde_json::to_value(ByteString(der.to_vec())).expect("base64");
    let text = text.as_str().expect("a string");
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, cluster: Arc<Mutex<Cluster>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, cluster) = (tls.clone(), cluster.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let answer = service_fn(|request: Request<Incoming>| {
                let cluster = cluster.clone();
                async move { Ok::<_, Infallible>(answer(request, &cluster).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>, cluster: &Mutex<Cluster>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let mut cluster = cluster.lock().expect("no panic");
    cluster
        .requests
        .push(format!("{} {}", head.method, head.uri));
    let token = head
        .headers
        .get("authorization")
        .map(http::HeaderValue::as_bytes);
    if token != Some(format!("Bearer {TOKEN}").as_bytes()) {
        return said(
            StatusCode::UNAUTHORIZED,
            json!({ "message": "Unauthorized" }),
        );
    }
    if cluster.failures > 0 {
        cluster.failures -= 1;
        return said(StatusCode::FORBIDDEN, json!({ "message": "not for you" }));
    }
    let node = format!("/api/v1/nodes/{NODE}");
    let csi_node = format!("/apis/storage.k8s.io/v1/csinodes/{NODE}");
    match (&head.method, head.uri.path()) {
        (&Method::GET, path) if path == node => said(StatusCode::OK, cluster.node.clone()),
        (&Method::PATCH, path) if path == node => {
            assert_eq!(head.headers["content-type"], "application/json-patch+json");
            patch(&mut cluster, &serde_json::from_slice(&body).expect("JSON"))
        }
        (&Method::GET, path) if path == csi_node => {
            let drivers: Vec<Value> = cluster
                .drivers
                .iter()
                .map(|it| json!({ "name": it }))
                .collect();
            said(StatusCode::OK, json!({ "spec": { "drivers": drivers } }))
        }
        (&Method::GET, "/apis/storage.k8s.io/v1/volumeattachments") => {
            attachments(&cluster, &head.uri)
        }
        _ => said(StatusCode::NOT_FOUND, json!({ "message": "no such path" })),
    }
}

/// Knows `test`, `replace` and `remove` of the taints, as the API server applies them.
fn patch(cluster: &mut Cluster, operations: &Value) -> Response<Full<Bytes>> {
    if std::mem::take(&mut cluster.interferes) {
        let foreign = json!({ "key": "foreign", "effect": "NoExecute" });
        let taints = cluster.node["spec"]["taints"].as_array_mut();
        taints.expect("taints").push(foreign);
    }
    for operation in operations.as_array().expect("a list") {
        assert_eq!(operation["path"], "/spec/taints");
        let spec = cluster.node["spec"].as_object_mut().expect("a spec");
        match operation["op"].as_str() {
            Some("test") if spec.get("taints") == Some(&operation["value"]) => {}
            Some("test") => {
                let text = json!({ "message": "the server rejected our request due to an error in our request" });
                return said(StatusCode::UNPROCESSABLE_ENTITY, text);
            }
            Some("replace") => {
                spec.insert("taints".to_owned(), operation["value"].clone());
            }
            Some("remove") => {
                spec.remove("taints");
            }
            other => panic!("{other:?}"),
        }
    }
    said(StatusCode::OK, cluster.node.clone())
}

/// One attachment a page.
fn attachments(cluster: &Cluster, uri: &http::Uri) -> Response<Full<Bytes>> {
    let query = uri.query().unwrap_or_default();
    let next = query.split('&').find_map(|it| it.strip_prefix("continue="));
    let index: usize = next.and_then(|it| it.parse().ok()).unwrap_or(0);
    let items: Vec<&Value> = cluster.attachments.iter().skip(index).take(1).collect();
    let more = index + 1 < cluster.attachments.len();
    let next = more.then(|| (index + 1).to_string());
    said(
        StatusCode::OK,
        json!({ "metadata": { "continue": next }, "items": items }),
    )
}

fn said(status: StatusCode, text: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_string()));
    *response.status_mut() = status;
    response
}

fn attachment(driver: &str, node: &str, volume: &str) -> Value {
    json!({
        "metadata": { "name": format!("csi-{volume}") },
        "spec": { "attacher": driver, "nodeName": node, "source": { "persistentVolumeName": volume } },
        "status": { "attached": true },
    })
}

fn node(spec: Value) -> Value {
    json!({ "metadata": { "name": NODE }, "spec": spec })
}

async fn tell(socket: &Path, registered: bool) {
    let mut kubelet = RegistrationClient::new(connect(socket).await);
    let status = RegistrationStatus {
        plugin_registered: registered,
        error: String::new(),
    };
    let told = kubelet.notify_registration_status(status).await;
    told.expect("the driver listens");
}

#[tokio::test]
async fn the_startup_taint_goes_when_the_kubelet_knows_the_driver() {
    let ours = json!({ "key": TAINT, "effect": "NoSchedule" });
    let other = json!({ "key": "other", "effect": "NoSchedule" });
    let api = ApiServer::start(Cluster {
        node: node(json!({ "taints": [ours, other] })),
        interferes: true,
        failures: 1,
        ..Cluster::default()
    })
    .await;
    let plugins = tempfile::tempdir().expect("a temporary directory");
    let mut flags = api.flags();
    flags.push(format!("--registration-dir={}", plugins.path().display()));
    flags.push(format!("--startup-taint={TAINT}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _driver = Driver::start_with(&flags).await;
    let socket = plugins.path().join("offshoot.dev-reg.sock");

    tell(&socket, false).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        api.with(|it| it.requests.is_empty()),
        "nothing is asked before"
    );

    // A refusal, a CSINode without the driver, a patch that meets a change of somebody else: none of them is the end.
    tell(&socket, true).await;
    let listed = |it: &Cluster| {
        it.requests
            .iter()
            .filter(|it| it.contains("csinodes"))
            .count()
            >= 2
    };
    api.wait_for("a second look at the CSINode", listed).await;
    api.with(|it| it.drivers.push("offshoot.dev"));
    let foreign = json!({ "key": "foreign", "effect": "NoExecute" });
    let expected = node(json!({ "taints": [other, foreign] }));
    api.wait_for("the removal", |it| it.node == expected).await;
    let patches = api.with(|it| {
        it.requests
            .iter()
            .filter(|it| it.starts_with("PATCH"))
            .count()
    });
    assert_eq!(patches, 2, "the first one met a change");

    // The node was made anew, with its taint, and the kubelet registers the driver again.
    api.with(|it| it.node = node(json!({ "taints": [ours] })));
    tell(&socket, true).await;
    api.wait_for("the second removal", |it| it.node == node(json!({})))
        .await;
}

#[tokio::test]
async fn without_self_registration_the_csi_node_tells() {
    let ours = json!({ "key": TAINT, "effect": "NoExecute" });
    let api = ApiServer::start(Cluster {
        node: node(json!({ "taints": [ours] })),
        drivers: vec!["offshoot.dev"],
        ..Cluster::default()
    })
    .await;
    let mut flags = api.flags();
    flags.push(format!("--startup-taint={TAINT}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _driver = Driver::start_with(&flags).await;
    api.wait_for("the removal", |it| it.node == node(json!({})))
        .await;
}

struct Hook {
    process: Running,
    dir: TempDir,
}

impl Hook {
    fn start(api: &ApiServer, timeout: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("kubelet")).expect("a directory");
        let (kubelet, data) = (dir.path().join("kubelet"), dir.path().join("data"));
        Self::start_at(api, timeout, dir, &kubelet, &data)
    }

    fn start_at(api: &ApiServer, timeout: &str, dir: TempDir, kubelet: &Path, data: &Path) -> Self {
        let at = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let log = dir.path().join("log");
        #[expect(clippy::disallowed_methods, reason = "the binary under test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_offshoot"));
        command
            .args(["pre-stop", "--node-id", NODE, "--timeout", timeout])
            .args([
                at("kubelet-dir", kubelet),
                at("data-dir", data),
                at("log-file", &log),
            ])
            .args(api.flags())
            .stderr(Stdio::piped());
        let process = Running::start(&mut command).expect("it starts");
        Self { process, dir }
    }

    /// How it ended, and what its log file says.
    async fn end(self) -> (Output, String) {
        let Self { process, dir } = self;
        let output = tokio::task::spawn_blocking(|| process.output());
        let output = output.await.expect("no panic").expect("it ends");
        let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
        (output, log)
    }
}

#[tokio::test]
async fn the_hook_returns_at_once_when_the_node_is_not_drained() {
    let api = ApiServer::start(Cluster {
        node: node(json!({})),
        attachments: vec![attachment("offshoot.dev", NODE, "pv-1")],
        ..Cluster::default()
    })
    .await;
    let (output, log) = Hook::start(&api, "600").end().await;
    assert!(output.status.success(), "{output:?}");
    assert!(log.contains("not drained"), "{log}");
    let asked = api.with(|it| it.requests.clone());
    assert_eq!(asked, [format!("GET /api/v1/nodes/{NODE}")]);
}

#[tokio::test]
async fn the_hook_waits_until_our_attachments_are_gone() {
    let api = ApiServer::start(Cluster {
        node: node(json!({ "unschedulable": true })),
        attachments: vec![
            attachment("other.dev", NODE, "pv-0"),
            attachment("offshoot.dev", "node-2", "pv-2"),
            attachment("offshoot.dev", NODE, "pv-1"),
        ],
        ..Cluster::default()
    })
    .await;
    let mut hook = Hook::start(&api, "600");
    let counted = |it: &Cluster| {
        it.requests
            .iter()
            .filter(|it| it.contains("continue=2"))
            .count()
            >= 2
    };
    api.wait_for("a second count", counted).await;
    assert!(
        hook.process.try_wait().expect("a child").is_none(),
        "it waits"
    );
    api.with(|it| it.attachments.truncate(2));
    let (output, log) = hook.end().await;
    assert!(output.status.success(), "{output:?}");
    assert!(log.contains("VolumeAttachments of pv-1\n"), "{log}");
    assert!(log.ends_with("nothing is left on node node-1\n"), "{log}");
}

#[tokio::test]
async fn the_hook_says_what_is_left_when_its_time_is_up() {
    let taints = json!([{ "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" }]);
    let api = ApiServer::start(Cluster {
        node: node(json!({ "taints": taints })),
        attachments: vec![attachment("offshoot.dev", NODE, "pv-1")],
        ..Cluster::default()
    })
    .await;
    let (output, log) = Hook::start(&api, "1").end().await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for text in [&log, &said] {
        assert!(
            text.contains("still has VolumeAttachments of pv-1"),
            "{text}"
        );
    }
}

/// Where volumes are not attached (attachRequired: false), only the ledger and the kernel know what is left.
#[tokio::test]
async fn the_hook_waits_for_mounts_that_the_ledger_knows() {
    if !machine::is_root() {
        return;
    }
    let machine = Machine::new();
    let _driver = Running::start(&mut machine.driver()).expect("it starts");
    let calls = Calls::connect(&machine).await;
    let mounted = || capability(Some("ext4"));
    calls
        .create("v", mounted(), 64 << 20)
        .await
        .expect("it is made");
    let assigned = calls.assign("v", mounted()).await;
    assigned.expect("it is assigned");
    calls.stage("v", mounted()).await.expect("it is staged");
    let api = ApiServer::start(Cluster {
        node: node(json!({ "unschedulable": true })),
        ..Cluster::default()
    })
    .await;
    let kubelet = machine.dir.path().join("kubelet");
    let data = machine.dir.path().join("data/offshoot");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut hook = Hook::start_at(&api, "600", dir, &kubelet, &data);
    let counted = |it: &Cluster| {
        it.requests
            .iter()
            .filter(|it| it.contains("volumeattachments"))
            .count()
            >= 2
    };
    api.wait_for("a second count", counted).await;
    assert!(
        hook.process.try_wait().expect("a child").is_none(),
        "it waits"
    );
    calls.unstage("v").await.expect("it is unstaged");
    let (output, log) = hook.end().await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        log.contains(&format!("mounts of {}\n", volume_id("v"))),
        "{log}"
    );
}

#[tokio::test]
async fn a_hook_that_learns_nothing_does_not_wait() {
    let api = ApiServer::start(Cluster {
        failures: u32::MAX,
        ..Cluster::default()
    })
    .await;
    let (output, log) = Hook::start(&api, "600").end().await;
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("not for you"), "{log}");
}

#[tokio::test]
async fn a_server_with_a_certificate_of_somebody_else_is_not_trusted() {
    let api = ApiServer::start(Cluster::default()).await;
    let stranger = ApiServer::start(Cluster::default()).await;
    let other = stranger.service_account.path().join("ca.crt");
    std::fs::copy(other, api.service_account.path().join("ca.crt")).expect("it is copied");
    let (output, log) = Hook::start(&api, "600").end().await;
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("invalid peer certificate"), "{log}");
    assert!(
        api.with(|it| it.requests.is_empty()),
        "the token was not sent"
    );
}
