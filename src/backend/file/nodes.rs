//! The nodes that are known: a small file for each, written by its node half and read by the controller.

use std::io::{self, Read, Write};

use rustix::fs::{Mode, fchmod};

use super::Store;
use super::error::Context;
use crate::backend::{BackendError, Result};
use crate::volume::{Digest, Node, NodeId};

impl Store {
    /// Every start of a node plugin registers its node, so what is known already needs no second sync.
    pub(super) fn register_node(&self, node: &Node) -> Result<()> {
        if self.node(&node.id).is_ok_and(|known| known == *node) {
            return Ok(());
        }
        let action = || format!("register node {}", node.id);
        let text =
            serde_json::to_vec(node).map_err(|error| BackendError::other(action(), error))?;
        let mut file = self.layout.nodes.nameless().context(action)?;
        file.write_all(&text).context(action)?;
        // A controller that is not root reads what the root of a node wrote.
        fchmod(&file, Mode::from_raw_mode(0o644)).context(action)?;
        self.layout
            .nodes
            .replace(&file, &name(&node.id))
            .context(action)
    }

    pub(super) fn node(&self, id: &NodeId) -> Result<Node> {
        let action = || format!("look up node {id}");
        let mut file = match self.layout.nodes.file(&name(id), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackendError::NotFound(format!("node {id}")));
            }
            file => file.context(action)?,
        };
        let mut text = Vec::new();
        file.read_to_end(&mut text).context(action)?;
        serde_json::from_slice(&text).map_err(|error| BackendError::other(action(), error))
    }
}

/// Node ids may hold any character; their digest is safe as a name.
fn name(id: &NodeId) -> String {
    Digest::of(&[id.as_str()]).0
}
