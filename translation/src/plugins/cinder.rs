//! OpenStack Cinder.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, CinderPersistentVolumeSource, PersistentVolume, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::aws_ebs::foreign_keys;
use super::gce_pd::topology_to_csi;
use super::{Result, inline_pv, only_true, since, spec};
use crate::go::lower;
use crate::storage_class::{FS_TYPE, Translated, parameters};
use crate::topology;
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "cinder.csi.openstack.org";
const TOPOLOGY_KEY: &str = "topology.cinder.csi.openstack.org/zone";

pub(super) fn pv_to_csi(
    mut pv: PersistentVolume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = spec(&mut pv).cinder.take().unwrap_or_default();
    spec(&mut pv).csi = Some(csi(source.volume_id, source.fs_type, source.read_only));
    topology_to_csi(&mut pv, TOPOLOGY_KEY, version)?;
    Ok(pv)
}

pub(super) fn inline_to_csi(volume: &Volume) -> PersistentVolume {
    let source = volume.cinder.clone().unwrap_or_default();
    let name = format!("{DRIVER}-{}", source.volume_id);
    let csi = csi(source.volume_id, source.fs_type, source.read_only);
    inline_pv(name, csi, "ReadWriteOnce")
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    spec(&mut pv).cinder = Some(CinderPersistentVolumeSource {
        volume_id: source.volume_handle,
        fs_type: source.fs_type,
        read_only: only_true(source.read_only),
        secret_ref: None,
    });
    if since(version, 21) {
        topology::to_in_tree(&mut pv, TOPOLOGY_KEY, None)?;
    }
    Ok(pv)
}

pub(super) fn storage_class_to_csi(
    class: &StorageClass,
    version: KubernetesVersion,
) -> Result<StorageClass> {
    if !since(version, 18) {
        return Ok(class.clone());
    }
    let mut translated = Translated::default();
    for (key, value) in parameters(class) {
        if lower(key) == "fstype" {
            translated.set(FS_TYPE, value);
        } else {
            translated.set(key, value);
        }
    }
    translated.into_class(class, TOPOLOGY_KEY, foreign_keys(version))
}

fn csi(id: String, fs_type: Option<String>, read_only: Option<bool>) -> CSIPersistentVolumeSource {
    CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: id,
        fs_type,
        read_only: only_true(read_only),
        ..CSIPersistentVolumeSource::default()
    }
}
