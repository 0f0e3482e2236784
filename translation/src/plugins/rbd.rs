//! Ceph RBD, which Kubernetes translated from 1.23 to 1.30.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, RBDPersistentVolumeSource, SecretReference, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Result, attribute, inline_pv, only_true, since, spec};
use crate::error::TranslateError;
use crate::go::lower;
use crate::md5::hex_digest;
use crate::storage_class::{FS_TYPE, parameters};
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "rbd.csi.ceph.com";
const HANDLE_ANNOTATION: &str = "rbd.csi.ceph.com/volume-handle";
const IMAGE_PREFIX: &str = "kubernetes-dynamic-pvc-";
const DEFAULT_POOL: &str = "rbd";
const DEFAULT_ADMIN: &str = "admin";
const DEFAULT_FEATURES: &str = "layering";
const SECRET_USERS: [&str; 3] = ["provisioner", "node-stage", "controller-expand"];
/// What the way back keeps in annotations.
const KEPT: [&str; 4] = ["clusterID", "journalPool", "imageFeatures", "imageFormat"];

type Attributes = BTreeMap<String, String>;

pub(super) fn pv_to_csi(mut pv: PersistentVolume, version: KubernetesVersion) -> PersistentVolume {
    let source = spec(&mut pv).rbd.take().unwrap_or_default();
    let annotation = |key: &str| {
        let annotations = pv.metadata.annotations.as_ref();
        annotations
            .and_then(|it| it.get(key))
            .cloned()
            .unwrap_or_default()
    };
    let mut all = Attributes::new();
    let mut set = |key: &str, value: String| all.insert(key.to_owned(), value);
    let pool = source.pool.clone().unwrap_or_default();
    let known = annotation(HANDLE_ANNOTATION);
    let handle = if known.is_empty() {
        let cluster = hex_digest(&source.monitors.join(","));
        let handle = migrated_handle(&cluster, unprefixed(&source.image, version), &pool);
        set("clusterID", cluster);
        set("staticVolume", "true".to_owned());
        handle
    } else {
        set("clusterID", annotation("clusterID"));
        known
    };
    let features = annotation("imageFeatures");
    let features = if features.is_empty() {
        DEFAULT_FEATURES.to_owned()
    } else {
        features
    };
    set("imageName", source.image);
    set("pool", pool);
    set("imageFeatures", features);
    set("imageFormat", annotation("imageFormat"));
    set("journalPool", annotation("journalPool"));
    set("migration", "true".to_owned());
    set("tryOtherMounters", "true".to_owned());
    let spec = spec(&mut pv);
    spec.csi = Some(CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: handle,
        fs_type: source.fs_type,
        volume_attributes: Some(all),
        node_stage_secret_ref: source.secret_ref.clone(),
        controller_expand_secret_ref: source.secret_ref,
        ..CSIPersistentVolumeSource::default()
    });
    spec.access_modes = Some(vec![access_mode(source.read_only).to_owned()]);
    pv
}

pub(super) fn inline_to_csi(volume: &Volume, pod_namespace: &str) -> PersistentVolume {
    let source = volume.rbd.clone().unwrap_or_default();
    let pool = source.pool.filter(|it| !it.is_empty());
    let secret = source
        .secret_ref
        .map_or_else(SecretReference::default, |it| SecretReference {
            name: Some(it.name),
            namespace: Some(pod_namespace.to_owned()),
        });
    let all = [
        ("clusterID", hex_digest(&source.monitors.join(","))),
        ("pool", pool.unwrap_or_else(|| DEFAULT_POOL.to_owned())),
        ("staticVolume", "true".to_owned()),
        ("imageFeatures", DEFAULT_FEATURES.to_owned()),
    ];
    let name = format!("{DRIVER}-{}", source.image);
    let csi = CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: source.image,
        fs_type: source.fs_type,
        volume_attributes: Some(super::attributes(all)),
        node_stage_secret_ref: Some(secret.clone()),
        controller_expand_secret_ref: Some(secret),
        ..CSIPersistentVolumeSource::default()
    };
    inline_pv(name, csi, access_mode(source.read_only))
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
) -> PersistentVolume {
    let text = |key: &str| attribute(&source, key).unwrap_or_default().to_owned();
    let user = Some(text("adminId")).filter(|it| !it.is_empty());
    let annotations = pv.metadata.annotations.get_or_insert_default();
    annotations.insert(HANDLE_ANNOTATION.to_owned(), source.volume_handle.clone());
    for key in KEPT {
        annotations.insert(key.to_owned(), text(key));
    }
    let rbd = RBDPersistentVolumeSource {
        monitors: vec![String::new()],
        image: text("imageName"),
        pool: Some(text("pool")),
        user: user.or_else(|| Some(DEFAULT_ADMIN.to_owned())),
        read_only: only_true(source.read_only),
        fs_type: source.fs_type,
        secret_ref: source.node_stage_secret_ref,
        ..RBDPersistentVolumeSource::default()
    };
    spec(&mut pv).rbd = Some(rbd);
    pv
}

pub(super) fn storage_class_to_csi(class: &StorageClass) -> Result<StorageClass> {
    let mut all = Attributes::new();
    let mut set = |key: String, value: &str| all.insert(key, value.to_owned());
    set("migration".to_owned(), "true");
    set("pool".to_owned(), DEFAULT_POOL);
    let secret_key = |user: &str, part: &str| format!("csi.storage.k8s.io/{user}-secret-{part}");
    for user in SECRET_USERS {
        set(secret_key(user, "namespace"), DEFAULT_NAMESPACE);
    }
    for (key, value) in parameters(class) {
        match lower(key).as_str() {
            "fstype" => drop(set(FS_TYPE.to_owned(), value)),
            "imagefeatures" => drop(set("imageFeatures".to_owned(), value)),
            "pool" => drop(set("pool".to_owned(), value)),
            "imageformat" => drop(set("imageFormat".to_owned(), value)),
            "adminid" => drop(set("adminId".to_owned(), value)),
            "adminsecretname" => {
                for user in SECRET_USERS {
                    set(secret_key(user, "name"), value);
                }
            }
            "adminsecretnamespace" => {
                for user in SECRET_USERS {
                    set(secret_key(user, "namespace"), value);
                }
            }
            "monitors" => {
                set("clusterID".to_owned(), &hex_digest(value));
                set("monitors".to_owned(), value);
            }
            _ => {}
        }
    }
    let missing = |key: &str| all.get(key).is_none_or(String::is_empty);
    if missing("csi.storage.k8s.io/provisioner-secret-name") {
        return Err(TranslateError::MissingParameter("adminSecretName"));
    }
    if missing("monitors") {
        return Err(TranslateError::MissingParameter("monitors"));
    }
    Ok(StorageClass {
        provisioner: DRIVER.to_owned(),
        parameters: Some(all),
        ..class.clone()
    })
}

const DEFAULT_NAMESPACE: &str = "default";

/// The image without its prefix. Before 1.26 what followed a second prefix was lost too.
fn unprefixed(image: &str, version: KubernetesVersion) -> &str {
    if since(version, 26) {
        image.strip_prefix(IMAGE_PREFIX).unwrap_or(image)
    } else {
        image.split(IMAGE_PREFIX).nth(1).unwrap_or(image)
    }
}

fn migrated_handle(cluster: &str, image: &str, pool: &str) -> String {
    let mut handle = format!("mig_mons-{cluster}_image-{image}_");
    for byte in pool.bytes() {
        write!(handle, "{byte:02x}").expect("writing to a String does not fail");
    }
    handle
}

fn access_mode(read_only: Option<bool>) -> &'static str {
    if read_only == Some(true) {
        "ReadOnlyMany"
    } else {
        "ReadWriteOnce"
    }
}
