//! What an upgrade of Kubernetes changes about a volume that is in use.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{PersistentVolume, Volume};

use crate::error::TranslateError;
use crate::translator::as_of;
use crate::version::KubernetesVersion;

/// Something about a translated volume that differs between two versions. Such a change makes Kubernetes detach a disk
/// that is in use, or place a pod elsewhere: drain the nodes before the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What differs: `volumeHandle`, `name`, `nodeAffinity`, `volumeAttributes`, `accessModes`, or `translation` when one of
    /// the versions does not translate the volume.
    pub what: &'static str,
    /// At the first version.
    pub from: String,
    /// At the second version.
    pub to: String,
}

/// What differs about an in-tree PersistentVolume when it is translated by two versions of Kubernetes.
///
/// ```
/// # use k8s_openapi::api::core::v1::PersistentVolume;
/// let pv: PersistentVolume = serde_json::from_str(
///     r#"{"metadata":{"name":"p","labels":{"topology.kubernetes.io/zone":"us-east1-b"}},"spec":{"gcePersistentDisk":{"pdName":"d"}}}"#,
/// ).unwrap();
/// let changes = csi_translation::drift(&pv, "1.20".parse().unwrap(), "1.24".parse().unwrap());
/// assert_eq!(changes[0].what, "volumeHandle");
/// assert_eq!(changes[0].to, "projects/UNSPECIFIED/zones/us-east1-b/disks/d");
/// ```
#[must_use]
pub fn drift(pv: &PersistentVolume, from: KubernetesVersion, to: KubernetesVersion) -> Vec<Change> {
    changes(as_of(from).pv_to_csi(pv), as_of(to).pv_to_csi(pv))
}

/// What differs about a volume of a pod, its staging name too, which is the name of the PersistentVolume that stands for it.
///
/// ```
/// # use k8s_openapi::api::core::v1::Volume;
/// let volume: Volume = serde_json::from_str(
///     r#"{"name":"v","azureFile":{"secretName":"s","shareName":"h"}}"#,
/// ).unwrap();
/// let changes = csi_translation::drift_inline(&volume, "ns", "1.20".parse().unwrap(), "1.24".parse().unwrap());
/// assert_eq!((changes[0].what, changes[0].to.as_str()), ("name", "#s#h#v#ns"));
/// ```
#[must_use]
pub fn drift_inline(
    volume: &Volume,
    pod_namespace: &str,
    from: KubernetesVersion,
    to: KubernetesVersion,
) -> Vec<Change> {
    let at = |version| as_of(version).inline_to_csi(volume, pod_namespace);
    changes(at(from), at(to))
}

fn changes(
    before: Result<PersistentVolume, TranslateError>,
    after: Result<PersistentVolume, TranslateError>,
) -> Vec<Change> {
    match (before, after) {
        (Ok(before), Ok(after)) => compare(&before, &after),
        (Err(before), Err(after)) if before == after => Vec::new(),
        (before, after) => vec![Change {
            what: "translation",
            from: outcome(&before),
            to: outcome(&after),
        }],
    }
}

fn outcome(translated: &Result<PersistentVolume, TranslateError>) -> String {
    match translated {
        Ok(_) => "translated".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn compare(before: &PersistentVolume, after: &PersistentVolume) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old, new) = (
        before.spec.clone().unwrap_or_default(),
        after.spec.clone().unwrap_or_default(),
    );
    let (old_csi, new_csi) = (old.csi.unwrap_or_default(), new.csi.unwrap_or_default());
    let mut add = |what, from: String, to: String| {
        if from != to {
            changes.push(Change { what, from, to });
        }
    };
    let name = |pv: &PersistentVolume| pv.metadata.name.clone().unwrap_or_default();
    add("name", name(before), name(after));
    add("volumeHandle", old_csi.volume_handle, new_csi.volume_handle);
    add(
        "volumeAttributes",
        show(&old_csi.volume_attributes),
        show(&new_csi.volume_attributes),
    );
    add(
        "nodeAffinity",
        show(&old.node_affinity),
        show(&new.node_affinity),
    );
    add(
        "accessModes",
        show(&old.access_modes),
        show(&new.access_modes),
    );
    changes
}

fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}
