//! The processes that are measured: the driver, and a server of tonic that does nothing but answer Probe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use offshoot::csi;
use offshoot::csi::identity_server::{Identity, IdentityServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::client::Client;
use crate::machine::Machine;

/// The argument that makes this program the bare server.
pub(crate) const BARE: &str = "bare";

/// A process that answers on a socket. It ends with this value.
pub(crate) struct Process {
    child: Child,
    channel: Channel,
    /// From its start to its first answer to Probe.
    pub(crate) start: Duration,
}

impl Process {
    pub(crate) async fn driver(machine: &Machine) -> Self {
        let socket = machine.path("csi.sock");
        let mut command = command(&driver_binary());
        command
            .args(["serve", "--node-id", "n", "--log-level", "warn"])
            .args(["--endpoint", &format!("unix://{socket}")])
            .args(["--data-dir", &machine.path("data/offshoot")])
            .args(["--kubelet-dir", &machine.path("kubelet")]);
        Self::start(command, &socket).await
    }

    pub(crate) async fn bare(machine: &Machine) -> Self {
        let socket = machine.path("bare.sock");
        let program = std::env::current_exe().expect("this program");
        let mut command = command(&program);
        command.args([BARE, &socket]);
        Self::start(command, &socket).await
    }

    async fn start(mut command: Command, socket: &str) -> Self {
        let begin = Instant::now();
        let child = command.spawn().expect("it starts");
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let endpoint = Endpoint::from_shared(format!("unix://{socket}")).expect("an endpoint");
        let channel = endpoint.connect().await.expect("it answers");
        Client::new(channel.clone()).probe().await;
        Self {
            child,
            channel,
            start: begin.elapsed(),
        }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.channel.clone())
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(program: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the programs that are measured")]
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// The driver as it is distributed (`BENCH_DRIVER`); else the one that cargo built beside this program, which has features
/// that only tests need.
fn driver_binary() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_offshoot"));
    std::env::var_os("BENCH_DRIVER").map_or_else(built, PathBuf::from)
}

/// The size of the driver's binary in bytes.
pub(crate) fn binary_bytes() -> u64 {
    fs::metadata(driver_binary()).expect("it was built").len()
}

struct Bare;

#[tonic::async_trait]
impl Identity for Bare {
    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse { ready: Some(true) }))
    }

    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Err(Status::unimplemented("bare"))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        Err(Status::unimplemented("bare"))
    }
}

pub(crate) async fn serve_bare(socket: &str) {
    // An earlier one may have left it.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("it listens");
    Server::builder()
        .add_service(IdentityServer::new(Bare))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .expect("it serves");
}
