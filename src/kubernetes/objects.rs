//! The few fields that are read of Kubernetes' objects, and what they mean.

use serde::Deserialize;
use serde_json::{Value, json};

/// What the API says when it refuses something.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ApiStatus {
    #[serde(default)]
    pub(super) message: String,
}

/// A Node.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Debug, Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    unschedulable: bool,
    /// Kept whole, so that they can be compared and written back.
    #[serde(default)]
    taints: Vec<Value>,
}

/// Taints of nodes that lose their pods: `kubectl drain` and `cordon`, the cluster autoscaler, Karpenter, and an
/// administrator who declares a node dead.
const DRAIN_TAINTS: [&str; 5] = [
    "node.kubernetes.io/unschedulable",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service",
];

impl Node {
    /// Why the node is being drained; `None` when it is not.
    pub(super) fn drained_because(&self) -> Option<String> {
        if self.spec.unschedulable {
            return Some("it is unschedulable".to_owned());
        }
        let mut keys = self.spec.taints.iter().filter_map(key_of);
        let key = keys.find(|key| DRAIN_TAINTS.contains(key))?;
        Some(format!("it has the taint {key}"))
    }

    /// What takes every taint with `key` away, and fails when the taints are not what they were; `None` when there is none.
    pub(super) fn without_taint(&self, key: &str) -> Option<Value> {
        let before = &self.spec.taints;
        let after: Vec<&Value> = before.iter().filter(|it| key_of(it) != Some(key)).collect();
        if after.len() == before.len() {
            return None;
        }
        let change = if after.is_empty() {
            json!({ "op": "remove", "path": "/spec/taints" })
        } else {
            json!({ "op": "replace", "path": "/spec/taints", "value": after })
        };
        let unchanged = json!({ "op": "test", "path": "/spec/taints", "value": before });
        Some(json!([unchanged, change]))
    }
}

fn key_of(taint: &Value) -> Option<&str> {
    taint.get("key")?.as_str()
}

/// What the kubelet says of the CSI drivers on a node.
#[derive(Debug, Deserialize)]
pub(super) struct CsiNode {
    #[serde(default)]
    spec: CsiNodeSpec,
}

#[derive(Debug, Default, Deserialize)]
struct CsiNodeSpec {
    #[serde(default)]
    drivers: Option<Vec<CsiNodeDriver>>,
}

#[derive(Debug, Deserialize)]
struct CsiNodeDriver {
    name: String,
}

impl CsiNode {
    pub(super) fn lists(&self, driver: &str) -> bool {
        let mut drivers = self.spec.drivers.iter().flatten();
        drivers.any(|it| it.name == driver)
    }
}

/// A page of VolumeAttachments.
#[derive(Debug, Deserialize)]
pub(super) struct VolumeAttachments {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    #[serde(default)]
    items: Vec<VolumeAttachment>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ListMetadata {
    /// Where the next page begins; empty on the last one.
    #[serde(default, rename = "continue")]
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct VolumeAttachment {
    spec: VolumeAttachmentSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeAttachmentSpec {
    attacher: String,
    node_name: String,
    #[serde(default)]
    source: AttachmentSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentSource {
    persistent_volume_name: Option<String>,
}

impl VolumeAttachments {
    /// The PersistentVolumes that `driver` has attached to `node`; those of inline volumes have no name.
    pub(super) fn of(&self, driver: &str, node: &str) -> impl Iterator<Item = String> {
        self.items
            .iter()
            .map(|it| &it.spec)
            .filter(move |it| it.attacher == driver && it.node_name == node)
            .map(|it| {
                let name = it.source.persistent_volume_name.clone();
                name.unwrap_or_else(|| "an inline volume".to_owned())
            })
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "JSON is written in place")]
mod tests {
    use super::*;

    fn node(spec: Value) -> Node {
        serde_json::from_value(json!({ "metadata": { "name": "n" }, "spec": spec })).unwrap()
    }

    #[test]
    fn a_node_that_loses_its_pods_is_drained() {
        assert_eq!(node(json!({})).drained_because(), None);
        let ready = json!({ "taints": [{ "key": "offshoot.dev/agent-not-ready", "effect": "NoSchedule" }] });
        assert_eq!(node(ready).drained_because(), None);
        assert!(
            node(json!({ "unschedulable": true }))
                .drained_because()
                .is_some()
        );
        for key in DRAIN_TAINTS {
            let taints = json!({ "taints": [{ "key": "a", "effect": "NoSchedule" }, { "key": key, "effect": "NoExecute" }] });
            let because = node(taints).drained_because();
            assert!(because.is_some_and(|it| it.contains(key)));
        }
    }

    #[test]
    fn only_the_taint_goes_and_only_if_nothing_changed() {
        let ours = json!({ "key": "x/not-ready", "effect": "NoSchedule" });
        let ours_too = json!({ "key": "x/not-ready", "effect": "NoExecute", "value": "v" });
        let other =
            json!({ "key": "x", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z" });
        let all = json!([ours, other, ours_too]);
        let patch = node(json!({ "taints": all })).without_taint("x/not-ready");
        let expected = json!([
            { "op": "test", "path": "/spec/taints", "value": all },
            { "op": "replace", "path": "/spec/taints", "value": [other] },
        ]);
        assert_eq!(patch, Some(expected));
        let patch = node(json!({ "taints": [ours] })).without_taint("x/not-ready");
        assert_eq!(
            patch.unwrap()[1],
            json!({ "op": "remove", "path": "/spec/taints" })
        );
        assert_eq!(
            node(json!({ "taints": [other] })).without_taint("x/not-ready"),
            None
        );
        assert_eq!(node(json!({})).without_taint("x/not-ready"), None);
    }

    #[test]
    fn the_kubelet_lists_drivers_by_name() {
        let csi_node =
            |spec: Value| -> CsiNode { serde_json::from_value(json!({ "spec": spec })).unwrap() };
        assert!(!csi_node(json!({ "drivers": null })).lists("offshoot.dev"));
        let drivers = json!({ "drivers": [{ "name": "a", "nodeID": "n" }, { "name": "offshoot.dev", "nodeID": "n" }] });
        assert!(csi_node(drivers).lists("offshoot.dev"));
    }
}
