//! `offshoot pre-stop`: the hook that runs before the node container stops.
//!
//! While a node is drained its pods go away, and their volumes must be unpublished and unstaged by this very driver. If the driver
//! goes first, volumes stay attached for minutes. So the hook waits while our node is drained until nothing of ours is
//! left there: no VolumeAttachment, and no place that the ledger knows and the kernel still shows as a mount. When the
//! node is not drained (an upgrade of the driver), mounts survive without the driver, and the hook returns at once.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiArgs, ApiError};
use super::objects::{Node, VolumeAttachments};
use crate::error_chain;
use crate::host::linux::{LinuxHost, LinuxHostError, STATE_DIR};

const INTERVAL: Duration = Duration::from_secs(1);
const PAGE: usize = 500;
/// How many volumes a line names.
const NAMED: usize = 5;

/// Arguments of `offshoot pre-stop`.
#[derive(Debug, Clone, Args)]
pub struct PreStopArgs {
    /// The name of this node in the cluster
    #[arg(long, env = "OFFSHOOT_NODE_ID")]
    node_id: String,
    /// The driver's name, as in the CSIDriver object
    #[arg(long, env = "OFFSHOOT_DRIVER_NAME", default_value = "offshoot.dev")]
    driver_name: String,
    /// The data directory, in which the driver notes what it published on this node
    #[arg(long, env = "OFFSHOOT_DATA_DIR", default_value = "/var/lib/offshoot")]
    data_dir: PathBuf,
    /// The kubelet's directory
    #[arg(long, env = "OFFSHOOT_KUBELET_DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,
    /// How many seconds to wait at most; it counts against the pod's terminationGracePeriodSeconds (30 unless set)
    #[arg(long, env = "OFFSHOOT_PRE_STOP_TIMEOUT", default_value_t = 20)]
    timeout: u64,
    /// A file to which lines are written too; /proc/1/fd/2 is the log of the container whose hook this is
    #[arg(long, env = "OFFSHOOT_PRE_STOP_LOG_FILE")]
    log_file: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Why the hook did not see the end.
#[derive(Debug, Error)]
pub enum PreStopError {
    /// The API is not there, or forbids it.
    #[error("failed to learn whether the node {node} is drained; not waiting")]
    Unknown {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Host(#[from] LinuxHostError),
    /// There are volumes left.
    #[error("after {seconds} s the node {node} still has {left}; stopping nevertheless")]
    TimeIsUp {
        /// The node.
        node: String,
        /// How long was waited.
        seconds: u64,
        /// What is left.
        left: String,
    },
}

/// Waits while the node is drained and volumes of ours are left.
pub async fn pre_stop(args: PreStopArgs) -> Result<(), PreStopError> {
    let log = Log(args.log_file.clone());
    let result = wait(&args, &log).await;
    if let Err(error) = &result {
        // Standard error gets it from `main`.
        log.write_file(&error_chain(error));
    }
    result
}

async fn wait(args: &PreStopArgs, log: &Log) -> Result<(), PreStopError> {
    let node = &args.node_id;
    let unknown = |source| PreStopError::Unknown {
        node: node.clone(),
        source,
    };
    let api = Api::new(&args.api).map_err(unknown)?;
    let path = format!("/api/v1/nodes/{node}");
    let found: Node = api.get(&path).await.map_err(unknown)?;
    let Some(because) = found.drained_because() else {
        log.write(&format!("node {node} is not drained; nothing to wait for"));
        return Ok(());
    };
    log.write(&format!(
        "node {node} is drained ({because}); waiting up to {} s until its volumes are gone",
        args.timeout
    ));
    let began = Instant::now();
    let mut said = String::new();
    loop {
        let left = left(args, &api, log).await?;
        if left.is_empty() {
            log.write(&format!("nothing is left on node {node}"));
            return Ok(());
        }
        if began.elapsed() >= Duration::from_secs(args.timeout) {
            return Err(PreStopError::TimeIsUp {
                node: node.clone(),
                seconds: args.timeout,
                left,
            });
        }
        if left != said {
            log.write(&format!("node {node} still has {left}"));
            said = left;
        }
        sleep(INTERVAL).await;
    }
}

/// What is left on the node, for people; empty when nothing is.
async fn left(args: &PreStopArgs, api: &Api, log: &Log) -> Result<String, PreStopError> {
    let attached = match attachments(args, api).await {
        Ok(attached) => attached,
        Err(error) => {
            // It may come back, and until then we cannot say that nothing is left.
            log.write(&error_chain(&error));
            return Ok("VolumeAttachments that cannot be counted".to_owned());
        }
    };
    let host = LinuxHost::looking(&args.kubelet_dir, &args.data_dir.join(STATE_DIR))?;
    let mut staged: Vec<String> = host
        .noted_targets()
        .await
        .iter()
        .filter(|it| it.mounted)
        .map(|it| it.id.to_string())
        .collect();
    staged.dedup();
    let parts = [("VolumeAttachments of", attached), ("mounts of", staged)];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(what, names)| format!("{what} {}", listed(&names)))
        .collect();
    Ok(parts.join(", and "))
}

async fn attachments(args: &PreStopArgs, api: &Api) -> Result<Vec<String>, ApiError> {
    let mut attached = Vec::new();
    let mut next = String::new();
    loop {
        let path =
            format!("/apis/storage.k8s.io/v1/volumeattachments?limit={PAGE}&continue={next}");
        let page: VolumeAttachments = api.get(&path).await?;
        attached.extend(page.of(&args.driver_name, &args.node_id));
        match page.metadata.next {
            Some(more) if !more.is_empty() => next = more,
            _ => return Ok(attached),
        }
    }
}

fn listed(all: &[String]) -> String {
    let named = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Where lines go. What a hook writes is seen by nobody, unless it goes to the log of its container.
struct Log(Option<PathBuf>);

impl Log {
    fn write(&self, line: &str) {
        eprintln!("offshoot pre-stop: {line}");
        self.write_file(line);
    }

    fn write_file(&self, line: &str) {
        let Some(path) = &self.0 else { return };
        let line = format!("offshoot pre-stop: {line}\n");
        let file = OpenOptions::new().append(true).create(true).open(path);
        // The hook has a purpose without its log.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..7).map(|it| format!("v{it}")).collect();
        assert_eq!(listed(&names[..2]), "v0, v1");
        assert_eq!(listed(&names), "v0, v1, v2, v3, v4 and 2 more");
    }
}
