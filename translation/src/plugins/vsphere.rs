//! vSphere.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, Volume, VsphereVirtualDiskVolumeSource,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::aws_ebs::foreign_keys;
use super::{Result, attribute, attributes, inline_pv, not_empty, since, spec};
use crate::go::lower;
use crate::storage_class::{FS_TYPE, Translated, parameters};
use crate::topology::{Keys, add, has_values, keys, label, replace, set_label, values};
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "csi.vsphere.vmware.com";
const ZONE: &str = "topology.csi.vmware.com/zone";
const REGION: &str = "topology.csi.vmware.com/region";
const POLICY: &str = "storagepolicyname";
/// The driver must know of these, and does nothing with them.
const MIGRATION_PARAMETERS: [&str; 8] = [
    "datastore",
    "diskformat",
    "hostfailurestotolerate",
    "forceprovisioning",
    "cachereservation",
    "diskstripes",
    "objectspacereservation",
    "iopslimit",
];

pub(super) fn pv_to_csi(mut pv: PersistentVolume, version: KubernetesVersion) -> PersistentVolume {
    let source = spec(&mut pv).vsphere_volume.take().unwrap_or_default();
    spec(&mut pv).csi = Some(csi(source));
    if since(version, 24) {
        let Keys { zone, region } = keys(&pv);
        place(&mut pv, zone, ZONE);
        place(&mut pv, region, REGION);
    }
    pv
}

pub(super) fn inline_to_csi(volume: &Volume) -> PersistentVolume {
    let source = volume.vsphere_volume.clone().unwrap_or_default();
    let name = format!("{DRIVER}-{}", source.volume_path);
    inline_pv(name, csi(source), "ReadWriteOnce")
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: &CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> PersistentVolume {
    let path = attribute(source, "initialvolumefilepath").unwrap_or_default();
    spec(&mut pv).vsphere_volume = Some(VsphereVirtualDiskVolumeSource {
        volume_path: path.to_owned(),
        fs_type: source.fs_type.clone(),
        ..VsphereVirtualDiskVolumeSource::default()
    });
    if since(version, 24) {
        let Keys { zone, region } = keys(&pv);
        for (driver_key, key) in [(ZONE, zone), (REGION, region)] {
            replace(&mut pv, driver_key, key);
            if let Some(first) = values(&pv, key).into_iter().next() {
                set_label(&mut pv, key, first);
            }
        }
    }
    pv
}

pub(super) fn storage_class_to_csi(
    class: &StorageClass,
    version: KubernetesVersion,
) -> Result<StorageClass> {
    let mut translated = Translated::default();
    for (key, value) in parameters(class) {
        match lower(key).as_str() {
            "fstype" => translated.set(FS_TYPE, value),
            POLICY => translated.set(POLICY, value),
            key if MIGRATION_PARAMETERS.contains(&key) => {
                translated.set(format!("{key}-migrationparam"), value);
            }
            _ => {}
        }
    }
    translated.set("csimigration", "true");
    if since(version, 24) {
        return translated.into_class(class, ZONE, foreign_keys(version));
    }
    Ok(StorageClass {
        parameters: Some(translated.parameters),
        ..class.clone()
    })
}

/// Gives the driver's key to zone or region, from the affinity or else from the label.
fn place(pv: &mut PersistentVolume, key: &str, driver_key: &str) {
    if has_values(pv, key) {
        replace(pv, key, driver_key);
    } else if let Some(label) = label(pv, key).map(str::to_owned) {
        add(pv, driver_key, std::iter::once(label.as_str()));
    }
}

fn csi(source: VsphereVirtualDiskVolumeSource) -> CSIPersistentVolumeSource {
    CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: source.volume_path,
        fs_type: source.fs_type,
        volume_attributes: not_empty(source.storage_policy_name)
            .map(|policy| attributes([(POLICY, policy)])),
        ..CSIPersistentVolumeSource::default()
    }
}
