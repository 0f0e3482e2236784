//! Portworx.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PortworxVolumeSource, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{inline_pv, only_true, secret, since, spec};
use crate::go::lower;
use crate::storage_class::parameters;
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "pxd.portworx.com";
const SECRET_NAME: &str = "openstorage.io/auth-secret-name";
const SECRET_NAMESPACE: &str = "openstorage.io/auth-secret-namespace";
const SECRET_USERS: [&str; 6] = [
    "provisioner",
    "controller-publish",
    "node-publish",
    "node-stage",
    "controller-expand",
    "node-expand",
];
/// From this version on secrets are translated (1.31 and 1.32 have it in later patch releases).
const SECRETS_SINCE: u32 = 32;

pub(super) fn pv_to_csi(mut pv: PersistentVolume, version: KubernetesVersion) -> PersistentVolume {
    let source = spec(&mut pv).portworx_volume.take().unwrap_or_default();
    let annotations = pv.metadata.annotations.as_ref();
    let annotation = |key: &str| annotations.and_then(|it| it.get(key));
    let secret = match (annotation(SECRET_NAME), annotation(SECRET_NAMESPACE)) {
        (Some(name), Some(namespace)) if since(version, SECRETS_SINCE) => {
            Some(secret(name, namespace))
        }
        _ => None,
    };
    spec(&mut pv).csi = Some(CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: source.volume_id,
        fs_type: source.fs_type,
        controller_publish_secret_ref: secret.clone(),
        node_stage_secret_ref: secret.clone(),
        node_publish_secret_ref: secret.clone(),
        controller_expand_secret_ref: secret.clone(),
        node_expand_secret_ref: secret,
        ..CSIPersistentVolumeSource::default()
    });
    pv
}

pub(super) fn inline_to_csi(volume: &Volume) -> PersistentVolume {
    let source = volume.portworx_volume.clone().unwrap_or_default();
    let access_mode = if source.read_only == Some(true) {
        "ReadOnlyMany"
    } else {
        "ReadWriteOnce"
    };
    let name = format!("{DRIVER}-{}", source.volume_id);
    let csi = CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: source.volume_id,
        fs_type: source.fs_type,
        ..CSIPersistentVolumeSource::default()
    };
    inline_pv(name, csi, access_mode)
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
) -> PersistentVolume {
    spec(&mut pv).portworx_volume = Some(PortworxVolumeSource {
        volume_id: source.volume_handle,
        fs_type: source.fs_type,
        read_only: only_true(source.read_only),
    });
    pv
}

pub(super) fn storage_class_to_csi(
    class: &StorageClass,
    version: KubernetesVersion,
) -> StorageClass {
    let mut translated = class.clone();
    DRIVER.clone_into(&mut translated.provisioner);
    if !since(version, SECRETS_SINCE) {
        return translated;
    }
    let mut all = std::collections::BTreeMap::new();
    for (key, value) in parameters(class) {
        let part = match lower(key).as_str() {
            SECRET_NAME => "name",
            SECRET_NAMESPACE => "namespace",
            _ => {
                all.insert(key.clone(), value.clone());
                continue;
            }
        };
        for user in SECRET_USERS {
            all.insert(
                format!("csi.storage.k8s.io/{user}-secret-{part}"),
                value.clone(),
            );
        }
    }
    translated.parameters = Some(all);
    translated
}
