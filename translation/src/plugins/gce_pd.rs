//! GCE PD.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, GCEPersistentDiskVolumeSource, PersistentVolume, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::aws_ebs::foreign_keys;
use super::{Result, attribute, attributes, inline_pv, only_true, since, spec};
use crate::error::TranslateError;
use crate::go::{atoi32, lower};
use crate::storage_class::{FS_TYPE, Translated, parameters};
use crate::topology::{self, BETA_ZONE, ZONE, label};
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "pd.csi.storage.gke.io";
const TOPOLOGY_KEY: &str = "topology.gke.io/zone";
const UNSPECIFIED: &str = "UNSPECIFIED";
const FORM: &str = "projects/PROJECT/zones/ZONE/disks/NAME";

/// Gives the driver's key to the zone, as the version does it.
pub(super) fn topology_to_csi(
    pv: &mut PersistentVolume,
    key: &str,
    version: KubernetesVersion,
) -> Result<()> {
    if since(version, 21) {
        topology::to_csi(pv, key);
        Ok(())
    } else {
        topology::beta_to_csi(pv, key)
    }
}

pub(super) fn pv_to_csi(
    mut pv: PersistentVolume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = spec(&mut pv).gce_persistent_disk.take().unwrap_or_default();
    let handle = handle(&pv, &source.pd_name, version)?;
    topology_to_csi(&mut pv, TOPOLOGY_KEY, version)?;
    let spec = spec(&mut pv);
    spec.csi = Some(csi(&source, handle));
    spec.access_modes = spec.access_modes.take().map(|modes| access_modes(&modes));
    Ok(pv)
}

pub(super) fn inline_to_csi(volume: &Volume) -> PersistentVolume {
    let source = volume.gce_persistent_disk.clone().unwrap_or_default();
    let handle = zonal(UNSPECIFIED, &source.pd_name);
    let access_mode = if source.read_only == Some(true) {
        "ReadOnlyMany"
    } else {
        "ReadWriteOnce"
    };
    let name = format!("{DRIVER}-{}", source.pd_name);
    inline_pv(name, csi(&source, handle), access_mode)
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let name = source
        .volume_handle
        .split('/')
        .nth(5)
        .ok_or_else(|| TranslateError::Handle {
            handle: source.volume_handle.clone(),
            form: FORM,
        })?;
    let partition = match attribute(&source, "partition") {
        None | Some("") => None,
        Some(text) => Some(atoi32(text).ok_or_else(|| TranslateError::Partition(text.to_owned()))?),
    };
    spec(&mut pv).gce_persistent_disk = Some(GCEPersistentDiskVolumeSource {
        pd_name: name.to_owned(),
        fs_type: source.fs_type,
        partition: partition.filter(|it| *it != 0),
        read_only: only_true(source.read_only),
    });
    if since(version, 21) {
        topology::to_in_tree(&mut pv, TOPOLOGY_KEY, Some(region))?;
    }
    Ok(pv)
}

pub(super) fn storage_class_to_csi(
    class: &StorageClass,
    version: KubernetesVersion,
) -> Result<StorageClass> {
    let mut translated = Translated::default();
    for (key, value) in parameters(class) {
        if lower(key) == "fstype" {
            translated.set(FS_TYPE, value);
        } else if !translated.take_zones(TOPOLOGY_KEY, key, value) {
            translated.set(key, value);
        }
    }
    translated.into_class(class, TOPOLOGY_KEY, foreign_keys(version))
}

/// Fills in the node's project and zone, or region, where the handle has no project.
pub(super) fn repair_volume_handle(handle: &str, node_id: &str) -> Result<String> {
    let refused = || TranslateError::Handle {
        handle: handle.to_owned(),
        form: FORM,
    };
    let parts: Vec<&str> = handle.split('/').collect();
    let [_, project, regionality, place, _, name, ..] = parts.as_slice() else {
        return Err(refused());
    };
    if *project != UNSPECIFIED {
        return Ok(handle.to_owned());
    }
    let node: Vec<&str> = node_id.split('/').collect();
    let [_, project, _, zone, _, _, ..] = node.as_slice() else {
        return Err(TranslateError::NodeId(node_id.to_owned()));
    };
    let place = match *regionality {
        "zones" if *place == UNSPECIFIED => (*zone).to_owned(),
        "regions" if *place == UNSPECIFIED => region(&[(*zone).to_owned()])?,
        "zones" | "regions" => (*place).to_owned(),
        _ => return Err(refused()),
    };
    Ok(format!(
        "projects/{project}/{regionality}/{place}/disks/{name}"
    ))
}

fn csi(source: &GCEPersistentDiskVolumeSource, handle: String) -> CSIPersistentVolumeSource {
    let partition = source
        .partition
        .filter(|it| *it != 0)
        .map(|it| it.to_string());
    CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: handle,
        read_only: only_true(source.read_only),
        fs_type: source.fs_type.clone(),
        volume_attributes: Some(attributes([("partition", partition.unwrap_or_default())])),
        ..CSIPersistentVolumeSource::default()
    }
}

fn zonal(zone: &str, name: &str) -> String {
    format!("projects/{UNSPECIFIED}/zones/{zone}/disks/{name}")
}

/// The zone comes from the labels, the beta one first; before 1.21 from that alone.
fn handle(pv: &PersistentVolume, name: &str, version: KubernetesVersion) -> Result<String> {
    let named = |key| label(pv, key).filter(|zones| !zones.is_empty());
    let zones = named(BETA_ZONE).or_else(|| named(ZONE).filter(|_| since(version, 21)));
    let Some(zones) = zones else {
        return Ok(zonal(UNSPECIFIED, name));
    };
    let zones: Vec<String> = zones.split("__").map(str::to_owned).collect();
    match zones.as_slice() {
        [zone] => Ok(zonal(zone, name)),
        zones if !since(version, 18) => Ok(zonal(&region(zones)?, name)),
        zones => {
            let region = region(zones)?;
            Ok(format!(
                "projects/{UNSPECIFIED}/regions/{region}/disks/{name}"
            ))
        }
    }
}

/// A disk is written by one node, or read by many.
fn access_modes(modes: &[String]) -> Vec<String> {
    let has = |mode: &str| modes.iter().any(|it| it == mode);
    let reads = has("ReadOnlyMany") && !has("ReadWriteOnce") && !has("ReadWriteMany");
    vec![
        if reads {
            "ReadOnlyMany"
        } else {
            "ReadWriteOnce"
        }
        .to_owned(),
    ]
}

fn region(zones: &[String]) -> Result<String> {
    topology::one_region(zones, |zone| {
        match zone.split('-').collect::<Vec<_>>().as_slice() {
            [locale, region, _] => Some(format!("{locale}-{region}")),
            _ => None,
        }
    })
}
