//! The Unix socket on which the driver answers.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tower::limit::GlobalConcurrencyLimitLayer;
use tracing::field::Empty;
use tracing::{info_span, warn};

use super::{ControllerService, GroupControllerService, IdentityService, NodeService};
use crate::csi::controller_server::ControllerServer;
use crate::csi::group_controller_server::GroupControllerServer;
use crate::csi::identity_server::IdentityServer;
use crate::csi::node_server::NodeServer;
use crate::metrics::Measure;

/// How many calls are worked on at once; more wait in their connections.
pub const MAX_CALLS: usize = 256;

/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the driver answers: `unix://` and an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

/// Why the driver cannot answer at its endpoint.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// Not a Unix socket's address.
    #[error("endpoint {0:?} is not of the form unix:///path/to/csi.sock")]
    Malformed(String),
    /// Another process serves there.
    #[error("another process answers at {}; end it, or choose another endpoint", .0.display())]
    Taken(PathBuf),
    /// A file that is no socket.
    #[error("{} exists and is no socket; it is left alone", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("failed to listen at {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Endpoint {
    /// Reads `unix:///path` (CSI 1.13, "CSI_ENDPOINT").
    pub fn parse(endpoint: &str) -> Result<Self, EndpointError> {
        let path = endpoint.strip_prefix("unix://");
        let is_file = |path: &&str| !path.ends_with('/') && Path::new(path).file_name().is_some();
        match path.filter(|path| path.starts_with('/')).filter(is_file) {
            Some(path) => Ok(Self(path.into())),
            None => Err(EndpointError::Malformed(endpoint.to_owned())),
        }
    }

    /// The endpoint at an absolute path that was made, not read.
    #[must_use]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A socket that listens. Its file is removed when this is dropped, if it is still ours.
pub struct Listener {
    socket: UnixListener,
    file: SocketFile,
}

/// The name of a socket of ours.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at `endpoint` in place of a socket that nobody serves any more. The socket's mode is 0660: sidecars that are
    /// not root reach it through the driver's group. Its directory is made where it is missing: no kubelet makes one for a
    /// driver, and a pod's volume is there only while a container mounts it.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, EndpointError> {
        if let Some(directory) = endpoint.0.parent() {
            fs::create_dir_all(directory).map_err(|source| EndpointError::Listen {
                path: endpoint.0.clone(),
                source,
            })?;
        }
        Self::bind_with(endpoint, 0o660).await
    }

    /// As [`Self::bind`], with mode 0600: only root has business there.
    pub(crate) async fn bind_private(endpoint: &Endpoint) -> Result<Self, EndpointError> {
        Self::bind_with(endpoint, 0o600).await
    }

    async fn bind_with(endpoint: &Endpoint, mode: u32) -> Result<Self, EndpointError> {
        let path = endpoint.0.clone();
        make_way(&path).await?;
        let failed = |source| EndpointError::Listen {
            path: path.clone(),
            source,
        };
        // No other thread creates files while the driver starts.
        let before = rustix::process::umask(Mode::from_raw_mode(0o777 & !mode));
        let socket = UnixListener::bind(&path);
        rustix::process::umask(before);
        let socket = socket.map_err(failed)?;
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self {
            socket,
            file: SocketFile { path, identity },
        })
    }

    /// The connections that come, for ever, and what removes the socket's file when it is dropped.
    ///
    /// After one that cannot be accepted, because no descriptor is left for instance, it waits: tonic asks again at once.
    pub(crate) fn into_parts(self) -> (impl Stream<Item = io::Result<UnixStream>>, SocketFile) {
        let name = self.file.path.display().to_string();
        let connections = UnixListenerStream::new(self.socket).then(move |connection| {
            let error = connection.as_ref().err().map(io::Error::to_string);
            if let Some(error) = &error {
                warn!(error, socket = name, "cannot accept a connection");
            }
            async move {
                if error.is_some() {
                    sleep(PAUSE).await;
                }
                connection
            }
        });
        (connections, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            // At the end of the process nothing is left to do about a failure; the next start makes way anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a stale socket; refuses when somebody answers there or when it is something else.
async fn make_way(path: &Path) -> Result<(), EndpointError> {
    let failed = |source| EndpointError::Listen {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(EndpointError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(EndpointError::Taken(path.to_owned())),
    }
}

/// The services of one process; those of the other half of the driver are absent.
pub struct Services {
    /// Always there.
    pub identity: IdentityService,
    /// In modes `all` and `controller`.
    pub controller: Option<(ControllerService, GroupControllerService)>,
    /// In modes `all` and `node`.
    pub node: Option<NodeService>,
}

impl Services {
    /// Answers until `stop`, then finishes the calls that have begun.
    pub async fn serve(
        self,
        listener: Listener,
        measure: Measure,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (controller, groups) = self.controller.unzip();
        let (connections, file) = listener.into_parts();
        Server::builder()
            .trace_fn(|request| info_span!("rpc", method = request.uri().path(), code = Empty))
            .layer(measure)
            .layer(GlobalConcurrencyLimitLayer::new(MAX_CALLS))
            .add_service(IdentityServer::new(self.identity))
            .add_optional_service(controller.map(ControllerServer::new))
            .add_optional_service(groups.map(GroupControllerServer::new))
            .add_optional_service(self.node.map(NodeServer::new))
            .serve_with_incoming_shutdown(connections, stop)
            .await?;
        drop(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_absolute_unix_paths() {
        let endpoint = Endpoint::parse("unix:///run/csi/csi.sock").unwrap();
        assert_eq!(endpoint.path(), Path::new("/run/csi/csi.sock"));
        for bad in [
            "",
            "unix://",
            "unix://csi.sock",
            "tcp://[::]:1",
            "/run/csi.sock",
            "unix:///run/",
            "unix:///run/..",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    /// On a fresh node of profile "single" there was no directory for the driver's socket, and the driver never started.
    #[tokio::test]
    async fn the_directory_of_the_socket_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugins/offshoot.dev/csi.sock");
        let endpoint = Endpoint::parse(&format!("unix://{}", path.display())).unwrap();
        let _listener = Listener::bind(&endpoint).await.unwrap();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_gives_way_and_a_live_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csi.sock");
        let endpoint = Endpoint::parse(&format!("unix://{}", path.display())).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&endpoint).await.unwrap();
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o660);
        let second = Listener::bind(&endpoint).await;
        assert!(matches!(second, Err(EndpointError::Taken(_))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "data").unwrap();
        let third = Listener::bind(&endpoint).await;
        assert!(matches!(third, Err(EndpointError::NotASocket(_))));
    }
}
