//! What Kubernetes sees beside CSI: the registration with the kubelet, health and metrics.
#![expect(clippy::float_cmp, reason = "counts are exact")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::{Driver, block, connect};
use offshoot::csi;
use offshoot::kubelet::api::registration_client::RegistrationClient;
use offshoot::kubelet::api::{InfoRequest, PluginInfo, RegistrationStatus};
use offshoot::metrics::{FAMILIES, Kind};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// A driver with a registration directory and an address for metrics.
struct Watched {
    driver: Driver,
    plugins: TempDir,
    address: String,
}

impl Watched {
    async fn start() -> Self {
        let plugins = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        let directory = plugins.path().display().to_string();
        let flags = [
            "--registration-dir",
            &directory,
            "--metrics-address",
            &address,
        ];
        Self {
            driver: Driver::start_with(&flags).await,
            plugins,
            address,
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.plugins.path().join("offshoot.dev-reg.sock")
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(&self.address, path).await
    }

    /// Waits until `path` is answered with `status`.
    async fn wait_for(&self, path: &str, status: u16) -> String {
        let mut last = (0, String::new());
        for _ in 0..600 {
            last = self.get(path).await;
            if last.0 == status {
                return last.1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} is answered with {last:?} instead of {status}");
    }

    async fn told(&self, registered: bool, error: &str) {
        let mut kubelet = RegistrationClient::new(connect(&self.socket()).await);
        let status = RegistrationStatus {
            plugin_registered: registered,
            error: error.to_owned(),
        };
        let answer = kubelet.notify_registration_status(status).await;
        answer.expect("the driver listens to the kubelet");
    }
}

/// An address of this machine that nobody listens at, at this moment.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[tokio::test]
async fn the_kubelet_learns_who_the_driver_is() {
    let mut watched = Watched::start().await;
    let socket = watched.socket();
    let mut kubelet = RegistrationClient::new(connect(&socket).await);
    let mode = std::fs::metadata(&socket).expect("the socket is there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let info = kubelet.get_info(InfoRequest {}).await.expect("an answer");
    let expected = PluginInfo {
        r#type: "CSIPlugin".to_owned(),
        name: "offshoot.dev".to_owned(),
        endpoint: watched.driver.dir().join("csi.sock").display().to_string(),
        supported_versions: vec!["1.0.0".to_owned()],
    };
    assert_eq!(info.into_inner(), expected);

    let process = watched.driver.process();
    kill_process(Pid::from_child(process), Signal::TERM).expect("it can be signalled");
    assert!(process.wait().expect("it ends").success());
    assert!(!socket.exists(), "the socket is removed at the end");
}

/// gRPC for Go, when it dials a bare path as the kubelet does, sends the path as `:authority`, percent-encoded. Rust's HTTP/2 resets
/// such a stream as malformed, and so no kubelet could ever have registered the driver.
#[tokio::test]
async fn a_kubelet_that_dials_the_bare_path_is_answered() {
    let watched = Watched::start().await;
    let socket = watched.socket();
    // Its name is there a moment before it listens.
    drop(connect(&socket).await);
    let authority = socket.display().to_string().replace('/', "%2F");
    for _ in 0..2 {
        let info = go_get_info(&socket, &authority).await;
        assert_eq!(info.name, "offshoot.dev");
    }
}

/// GetInfo over bare HTTP/2 with any authority: headers as literals (RFC 7541, 6.2), an empty message.
async fn go_get_info(socket: &Path, authority: &str) -> PluginInfo {
    let literal = |first: u8, value: &str| {
        let length = u8::try_from(value.len()).expect("a short value");
        assert!(length < 127);
        [&[first, length], value.as_bytes()].concat()
    };
    let named = |name: &str, value: &str| {
        let length = u8::try_from(name.len()).expect("a short name");
        [
            vec![0x40, length],
            name.into(),
            literal(0, value)[1..].to_vec(),
        ]
        .concat()
    };
    let headers = [
        vec![0x83, 0x86],
        literal(0x44, "/pluginregistration.Registration/GetInfo"),
        literal(0x41, authority),
        literal(0x5f, "application/grpc"),
        named("te", "trailers"),
    ]
    .concat();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a short frame");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let mut stream = UnixStream::connect(socket).await.expect("it listens");
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 0x4, 1, &headers),
        frame(0, 0x1, 1, &[0; 5]),
    ];
    stream.write_all(&sent.concat()).await.expect("it reads");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("its payload");
        assert_ne!(head[3], 3, "the stream was reset: {payload:?}");
        if head[3] == 0 {
            return PluginInfo::decode(&payload[5..]).expect("a message");
        }
    }
}

#[tokio::test]
async fn a_stale_registration_socket_gives_way() {
    let plugins = tempfile::tempdir().expect("a temporary directory");
    let socket = plugins.path().join("offshoot.dev-reg.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let directory = plugins.path().display().to_string();
    let _driver = Driver::start_with(&["--registration-dir", &directory]).await;
    let mut kubelet = RegistrationClient::new(connect(&socket).await);
    assert!(kubelet.get_info(InfoRequest {}).await.is_ok());
}

#[tokio::test]
async fn a_driver_is_ready_once_the_kubelet_knows_it() {
    let watched = Watched::start().await;
    assert_eq!(watched.wait_for("/healthz", 200).await, "ok\n");
    let reason = watched.wait_for("/readyz", 503).await;
    assert!(!reason.is_empty());

    watched.told(false, "the plugin exists already").await;
    let (status, reason) = watched.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("the plugin exists already"), "{reason}");
    assert_eq!(watched.get("/healthz").await.0, 200, "it still serves");
    let (_, text) = watched.get("/metrics").await;
    assert_eq!(samples(&text)["offshoot_kubelet_registered"], 0.0);

    watched.told(true, "").await;
    assert_eq!(watched.wait_for("/readyz", 200).await, "ok\n");
    let (_, text) = watched.get("/metrics").await;
    assert_eq!(samples(&text)["offshoot_kubelet_registered"], 1.0);
}

#[tokio::test]
async fn without_registration_a_driver_is_ready_when_its_storage_is() {
    let address = free_address();
    let _driver = Driver::start_with(&["--metrics-address", &address]).await;
    for _ in 0..600 {
        if get(&address, "/readyz").await.0 == 200 {
            let (_, text) = get(&address, "/metrics").await;
            assert!(!samples(&text).contains_key("offshoot_kubelet_registered"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the driver does not become ready");
}

/// The samples of a text, by name and labels. Everything in it must be of the format, and in the table.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').expect("a help text");
            let family = FAMILIES.iter().find(|it| it.name == name);
            let family = family.unwrap_or_else(|| panic!("{name} is not in the table"));
            assert_eq!(family.help, help);
            current = Some(family);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let family = current.expect("a help text before");
            let expected = format!("{} {:?}", family.name, family.kind).to_lowercase();
            assert_eq!(kind, expected);
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let family = current.expect("a help text before");
            let name = series.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(family.name).expect("its own family");
            let suffixes: &[&str] = match family.kind {
                Kind::Histogram => &["_bucket", "_sum", "_count"],
                Kind::Counter | Kind::Gauge => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value = value.parse().expect("a number");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let mut watched = Watched::start().await;
    watched.driver.staged("pvc-1", block()).await;
    let unpublished = watched.driver.volume("pvc-2", block()).await;
    watched.driver.snapshot("snap-1", &unpublished).await;
    for _ in 0..2 {
        let request = csi::ControllerGetVolumeRequest {
            volume_id: "v1-none".to_owned(),
        };
        let answer = watched
            .driver
            .controller
            .controller_get_volume(request)
            .await;
        assert!(answer.is_err());
    }
    // The watcher looks when the driver starts; its next look is ten seconds away.
    watched.told(true, "").await;
    watched.wait_for("/readyz", 200).await;
    let (status, text) = watched.get("/metrics").await;
    assert_eq!(status, 200);
    let samples = samples(&text);
    let operation = |suffix: &str, method: &str, code: &str| {
        let labels = format!("method_name=\"/csi.v1.{method}\",grpc_status_code=\"{code}\"");
        let name = format!("csi_plugin_operations_seconds{suffix}");
        samples[&format!("{name}{{driver_name=\"offshoot.dev\",{labels}}}")]
    };
    assert_eq!(operation("_count", "Controller/CreateVolume", "OK"), 2.0);
    assert_eq!(
        operation("_count", "Controller/ControllerGetVolume", "NotFound"),
        2.0
    );
    assert!(operation("_sum", "Controller/CreateVolume", "OK") > 0.0);
    assert_eq!(samples["offshoot_volumes{state=\"published\"}"], 1.0);
    assert_eq!(samples["offshoot_volumes{state=\"unpublished\"}"], 1.0);
    assert_eq!(samples["offshoot_snapshots{state=\"ready\"}"], 1.0);
    assert_eq!(samples["offshoot_operations_in_flight"], 0.0);
    assert_eq!(samples["offshoot_claimed_objects"], 0.0);
    assert_eq!(samples["offshoot_storage_reachable"], 1.0);
    assert!(samples["offshoot_pool_capacity_bytes"] > 0.0);
    assert!(samples["process_resident_memory_bytes"] > 0.0);

    let buckets: Vec<(&str, f64)> = samples
        .iter()
        .filter(|(series, _)| series.contains("_bucket{") && series.contains("CreateVolume"))
        .map(|(series, count)| (series.as_str(), *count))
        .collect();
    assert_eq!(buckets.len(), 14);
    let last = buckets.iter().find(|it| it.0.contains("le=\"+Inf\""));
    assert_eq!(last.expect("the last bucket").1, 2.0);
}

#[tokio::test]
async fn other_pages_and_methods_are_refused() {
    let watched = Watched::start().await;
    assert_eq!(watched.get("/").await.0, 404);
    let mut stream = TcpStream::connect(&watched.address)
        .await
        .expect("it listens");
    let request =
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}
