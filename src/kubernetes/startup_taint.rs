//! The start-up taint: it keeps pods away from a node until the driver is ready there.
//!
//! Whoever makes nodes gives them the taint; the driver takes it away when the kubelet has registered it and says so in the
//! node's CSINode. It must never make things worse, so every failure is repeated, ever more slowly, and nothing else is touched.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::api::{Api, ApiArgs, ApiError};
use super::objects::{CsiNode, Node};
use crate::error_chain;
use crate::health::Registration;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_mins(1);

/// Takes a taint away from our node.
#[derive(Debug)]
pub struct StartupTaint {
    api: Api,
    key: String,
    node: String,
    driver: String,
}

/// How far an attempt came.
enum Attempt {
    /// The node has no such taint any more.
    Gone,
    /// The kubelet has not published the driver yet.
    NotListed,
}

impl StartupTaint {
    /// For the taint `key` of `node`, when `driver` is ready there.
    pub fn new(args: &ApiArgs, key: &str, node: &str, driver: &str) -> Result<Self, ApiError> {
        Ok(Self {
            api: Api::new(args)?,
            key: key.to_owned(),
            node: node.to_owned(),
            driver: driver.to_owned(),
        })
    }

    /// Takes the taint away whenever the kubelet has registered the driver. Where a sidecar registers the driver, only the CSINode tells.
    pub async fn remove_when_ready(self, mut registration: watch::Receiver<Registration>) {
        loop {
            let state = registration.borrow_and_update().clone();
            if matches!(state, Registration::Registered | Registration::Off) {
                self.remove().await;
            }
            if registration.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tries until the taint is gone.
    async fn remove(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt().await {
                Ok(Attempt::Gone) => return,
                Ok(Attempt::NotListed) => {
                    debug!(node_id = self.node, "CSINode does not list the driver yet");
                }
                Err(error) => warn!(
                    taint = self.key,
                    node_id = self.node,
                    error = error_chain(&error),
                    "start-up taint is not removed yet; trying again"
                ),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&self) -> Result<Attempt, ApiError> {
        let csi_node = format!("/apis/storage.k8s.io/v1/csinodes/{}", self.node);
        if !self
            .api
            .get::<CsiNode>(&csi_node)
            .await?
            .lists(&self.driver)
        {
            return Ok(Attempt::NotListed);
        }
        let path = format!("/api/v1/nodes/{}", self.node);
        let node: Node = self.api.get(&path).await?;
        let Some(changes) = node.without_taint(&self.key) else {
            debug!(taint = self.key, "the node has no such taint");
            return Ok(Attempt::Gone);
        };
        self.api.json_patch(&path, &changes).await?;
        info!(
            taint = self.key,
            node_id = self.node,
            "start-up taint is removed: the driver is ready"
        );
        Ok(Attempt::Gone)
    }
}
