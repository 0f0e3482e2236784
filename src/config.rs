//! The settings of `offshoot serve`: read once, checked whole, passed down.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::kubernetes::ApiArgs;
use crate::rpc::{Endpoint, EndpointError};
use crate::volume::{FsType, NameError, NodeId};

/// Which half of the driver a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Both halves, for one machine or one DaemonSet.
    All,
    /// Controller and GroupController.
    Controller,
    /// Node.
    Node,
}

impl Mode {
    /// The process serves the Controller and GroupController services.
    #[must_use]
    pub fn has_controller(self) -> bool {
        self != Self::Node
    }

    /// The process serves the Node service.
    #[must_use]
    pub fn has_node(self) -> bool {
        self != Self::Controller
    }
}

/// Where volumes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// Files below the data directory, attached through loop devices.
    File,
    /// Nowhere: for tests without root; mounts are pretended too.
    Memory,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Arguments of `offshoot serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to answer: unix:///path/to/csi.sock
    #[arg(long, env = "CSI_ENDPOINT")]
    pub endpoint: String,
    /// Which half of the driver this process is
    #[arg(long, env = "OFFSHOOT_MODE", value_enum, default_value = "all")]
    pub mode: Mode,
    /// Where volumes live
    #[arg(long, env = "OFFSHOOT_BACKEND", value_enum, default_value = "file")]
    pub backend: BackendKind,
    /// The directory that holds the volumes of the file backend
    #[arg(long, env = "OFFSHOOT_DATA_DIR", default_value = "/var/lib/offshoot")]
    pub data_dir: PathBuf,
    /// The name of this node in the cluster [default: the host name]
    #[arg(long, env = "OFFSHOOT_NODE_ID")]
    pub node_id: Option<String>,
    /// The driver's name, as in the CSIDriver object
    #[arg(long, env = "OFFSHOOT_DRIVER_NAME", default_value = "offshoot.dev")]
    pub driver_name: String,
    /// Each node runs the driver with volumes of its own: what is not on this node may be on another
    #[arg(long, env = "OFFSHOOT_NODE_DEPLOYMENT")]
    pub node_deployment: bool,
    /// How many volumes may be published to this node at once; 0 sets no limit
    #[arg(long, env = "OFFSHOOT_MAX_VOLUMES_PER_NODE", default_value_t = 0)]
    pub max_volumes_per_node: u32,
    /// The kubelet's directory; staging and target paths outside it are refused
    #[arg(long, env = "OFFSHOOT_KUBELET_DIR", default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,
    /// The filesystem of volumes whose StorageClass names none: ext4, xfs or btrfs
    #[arg(long, env = "OFFSHOOT_DEFAULT_FS_TYPE", default_value = "ext4", value_parser = fs_type)]
    pub default_fs_type: FsType,
    /// The share of the data directory's filesystem that stays free, in percent
    #[arg(long, env = "OFFSHOOT_POOL_RESERVE", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub pool_reserve: u8,
    /// The kubelet's directory for plugins' sockets, such as /var/lib/kubelet/plugins_registry; the driver registers itself there [default: it does not]
    #[arg(long, env = "OFFSHOOT_REGISTRATION_DIR")]
    pub registration_dir: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served, such as 0.0.0.0:9808 [default: nowhere]
    #[arg(long, env = "OFFSHOOT_METRICS_ADDRESS")]
    pub metrics_address: Option<SocketAddr>,
    /// The key of a taint, such as offshoot.dev/agent-not-ready, that is removed from this node once the driver is registered there [default: none]
    #[arg(long, env = "OFFSHOOT_STARTUP_TAINT")]
    pub startup_taint: Option<String>,
    /// Where the Kubernetes API is; asked only for the start-up taint.
    #[command(flatten)]
    pub api: ApiArgs,
    /// A collector that takes spans of CSI calls by OTLP over gRPC, such as http://localhost:4317 [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// How log lines look
    #[arg(long, env = "OFFSHOOT_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug (of the driver itself), or a filter such as info,offshoot::node=debug
    #[arg(long, env = "OFFSHOOT_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Why the settings are refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No address to answer at.
    #[error("--endpoint cannot be used")]
    Endpoint(#[source] EndpointError),
    /// No name for a CSI driver.
    #[error(
        "--driver-name {0:?} is no CSI plugin name: at most 63 letters, digits, '-' and '.', a letter or digit at both ends"
    )]
    DriverName(String),
    /// No name for a node.
    #[error("--node-id {id:?} cannot be used; name the node as the cluster does")]
    NodeId {
        /// What was given.
        id: String,
        /// Why not.
        #[source]
        source: NameError,
    },
    /// A directory that depends on where the driver was started.
    #[error("{flag} must be an absolute path, not {path:?}")]
    RelativePath {
        /// The flag.
        flag: &'static str,
        /// What was given.
        path: PathBuf,
    },
    /// Only a node is registered.
    #[error("{0} is for --mode all or node: it is about what serves a node")]
    NoNode(&'static str),
    /// Two processes cannot share memory.
    #[error("--backend memory works with --mode all only: its volumes live in one process")]
    SplitMemory,
}

/// Settings that have been checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to answer.
    pub endpoint: Endpoint,
    /// This node.
    pub node_id: NodeId,
    /// How many volumes may be published here; `None` sets no limit.
    pub max_volumes: Option<u32>,
    /// Everything that needed no more than clap's check.
    pub args: ServeArgs,
}

impl ServeArgs {
    /// Checks the settings; nothing has been touched yet.
    pub fn check(self) -> Result<Config, ConfigError> {
        let endpoint = Endpoint::parse(&self.endpoint).map_err(ConfigError::Endpoint)?;
        if !is_plugin_name(&self.driver_name) {
            return Err(ConfigError::DriverName(self.driver_name));
        }
        let paths = [
            ("--data-dir", Some(&self.data_dir)),
            ("--kubelet-dir", Some(&self.kubelet_dir)),
            ("--registration-dir", self.registration_dir.as_ref()),
        ];
        for (flag, path) in paths
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path?)))
        {
            if !path.is_absolute() {
                let path = path.clone();
                return Err(ConfigError::RelativePath { flag, path });
            }
        }
        if self.backend == BackendKind::Memory && self.mode != Mode::All {
            return Err(ConfigError::SplitMemory);
        }
        let of_nodes = [
            ("--registration-dir", self.registration_dir.is_some()),
            ("--startup-taint", self.startup_taint.is_some()),
        ];
        if let Some((flag, _)) = of_nodes.iter().find(|it| it.1 && !self.mode.has_node()) {
            return Err(ConfigError::NoNode(flag));
        }
        let id = self.node_id.clone().unwrap_or_else(host_name);
        let node_id = NodeId::parse(&id).map_err(|source| ConfigError::NodeId { id, source })?;
        Ok(Config {
            endpoint,
            node_id,
            max_volumes: Some(self.max_volumes_per_node).filter(|max| *max > 0),
            args: self,
        })
    }
}

/// Reads the name of a filesystem, for clap.
pub(crate) fn fs_type(name: &str) -> Result<FsType, String> {
    FsType::parse(name).ok_or_else(|| "ext4, xfs and btrfs are known".to_owned())
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// CSI 1.13, "GetPluginInfo": domain-name notation, at most 63 characters.
fn is_plugin_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn check(flags: &[&str]) -> Result<Config, ConfigError> {
        let base = ["offshoot", "--endpoint", "unix:///run/csi.sock"];
        let flags = base.iter().chain(flags);
        Cli::try_parse_from(flags).unwrap().args.check()
    }

    #[test]
    fn the_defaults_are_good() {
        let config = check(&[]).unwrap();
        assert_eq!(config.max_volumes, None);
        assert_eq!(config.args.default_fs_type, FsType::Ext4);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let refused = [
            (["--driver-name", "x-"], "--driver-name"),
            (["--driver-name", ""], "--driver-name"),
            (["--node-id", ""], "--node-id"),
            (["--data-dir", "data"], "--data-dir"),
            (["--kubelet-dir", "."], "--kubelet-dir"),
            (["--registration-dir", "plugins"], "--registration-dir"),
        ];
        for (flags, name) in refused {
            let error = check(&flags).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let split = check(&["--backend", "memory", "--mode", "node"]);
        assert!(matches!(split, Err(ConfigError::SplitMemory)));
        let directory = ["--registration-dir", "/plugins", "--mode", "controller"];
        assert!(matches!(check(&directory), Err(ConfigError::NoNode(_))));
    }
}
