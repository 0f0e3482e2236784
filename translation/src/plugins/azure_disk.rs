//! Azure Disk.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, CSIPersistentVolumeSource, PersistentVolume, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::aws_ebs::foreign_keys;
use super::{Result, inline_pv, since, spec};
use crate::error::TranslateError;
use crate::go::lower;
use crate::storage_class::{Translated, parameters};
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "disk.csi.azure.com";
const TOPOLOGY_KEY: &str = "topology.disk.csi.azure.com/zone";
const MANAGED: &str = "Managed";
const FORM: &str = "…/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/NAME";

pub(super) fn pv_to_csi(
    mut pv: PersistentVolume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = spec(&mut pv).azure_disk.take().unwrap_or_default();
    check_kind(&source, version)?;
    let mut csi = csi(&source, version);
    if let Some(mode) = &source.caching_mode {
        set(&mut csi, caching_mode_key(version), mode);
    }
    spec(&mut pv).csi = Some(csi);
    Ok(pv)
}

pub(super) fn inline_to_csi(
    volume: &Volume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = volume.azure_disk.clone().unwrap_or_default();
    check_kind(&source, version)?;
    let mut csi = csi(&source, version);
    if let Some(mode) = source.caching_mode.filter(|it| !it.is_empty()) {
        set(&mut csi, caching_mode_key(version), &mode);
    }
    let name = if since(version, 21) {
        source.disk_uri
    } else {
        format!("{DRIVER}-{}", source.disk_name)
    };
    Ok(inline_pv(name, csi, "ReadWriteOnce"))
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let name = disk_name(&source.volume_handle).ok_or_else(|| TranslateError::Handle {
        handle: source.volume_handle.clone(),
        form: FORM,
    })?;
    let mut disk = AzureDiskVolumeSource {
        disk_name: name.to_owned(),
        fs_type: Some(source.fs_type.unwrap_or_default()),
        read_only: Some(source.read_only.unwrap_or(false)),
        kind: Some(MANAGED.to_owned()),
        caching_mode: None,
        disk_uri: source.volume_handle,
    };
    for (key, value) in source.volume_attributes.unwrap_or_default() {
        // Before 1.22 the spelling mattered.
        let key = if since(version, 22) { lower(&key) } else { key };
        if value.is_empty() {
            continue;
        }
        if key == caching_mode_key(version) {
            disk.caching_mode = Some(value);
        } else if key == fs_type_key(version) {
            disk.fs_type = Some(value);
        } else if key == "kind" && !since(version, 22) {
            disk.kind = Some(value);
        }
    }
    spec(&mut pv).azure_disk = Some(disk);
    Ok(pv)
}

pub(super) fn storage_class_to_csi(
    class: &StorageClass,
    version: KubernetesVersion,
) -> Result<StorageClass> {
    if !since(version, 19) {
        return Ok(class.clone());
    }
    let mut translated = Translated::default();
    for (key, value) in parameters(class) {
        if !translated.take_zones(TOPOLOGY_KEY, key, value) {
            translated.set(key, value);
        }
    }
    let mut class = translated.into_class(class, TOPOLOGY_KEY, foreign_keys(version))?;
    if !since(version, 24) {
        return Ok(class);
    }
    for term in class.allowed_topologies.iter_mut().flatten() {
        for expression in term.match_label_expressions.iter_mut().flatten() {
            if expression.key == TOPOLOGY_KEY {
                expression.values.iter_mut().for_each(clear_fault_domain);
            }
        }
    }
    Ok(class)
}

/// Regions without zones had fault domains, which are numbers.
fn clear_fault_domain(zone: &mut String) {
    if zone.bytes().all(|byte| byte.is_ascii_digit()) {
        zone.clear();
    }
}

fn check_kind(source: &AzureDiskVolumeSource, version: KubernetesVersion) -> Result<()> {
    match &source.kind {
        Some(kind) if since(version, 22) && lower(kind) != "managed" => {
            Err(TranslateError::AzureDiskKind(kind.clone()))
        }
        _ => Ok(()),
    }
}

fn caching_mode_key(version: KubernetesVersion) -> &'static str {
    if since(version, 22) {
        "cachingmode"
    } else {
        "cachingMode"
    }
}

fn fs_type_key(version: KubernetesVersion) -> &'static str {
    if since(version, 22) {
        "fstype"
    } else {
        "fsType"
    }
}

fn csi(source: &AzureDiskVolumeSource, version: KubernetesVersion) -> CSIPersistentVolumeSource {
    let mut csi = CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: source.disk_uri.clone(),
        read_only: source.read_only,
        fs_type: source.fs_type.clone(),
        volume_attributes: Some(BTreeMap::new()),
        ..CSIPersistentVolumeSource::default()
    };
    let kind = source.kind.as_deref().filter(|_| !since(version, 22));
    set(&mut csi, "kind", kind.unwrap_or(MANAGED));
    if let Some(fs_type) = &source.fs_type {
        set(&mut csi, fs_type_key(version), fs_type);
    }
    csi
}

fn set(csi: &mut CSIPersistentVolumeSource, key: &str, value: &str) {
    let attributes = csi.volume_attributes.get_or_insert_default();
    attributes.insert(key.to_owned(), value.to_owned());
}

/// The last part of a disk's URI, found as the regular expressions of Kubernetes find it: leftmost, as long as possible,
/// within one line.
fn disk_name(uri: &str) -> Option<&str> {
    if uri.len() > 4 && uri.is_char_boundary(4) && lower(&uri[..4]) == "http" {
        return unmanaged(uri);
    }
    uri.split('\n').find_map(managed)
}

/// `http…://…/vhds/NAME`
fn unmanaged(uri: &str) -> Option<&str> {
    uri.split('\n').find_map(|line| {
        let begin = line.find("http")?;
        let rest = &line[begin..];
        let (at, _) = rest
            .rmatch_indices("/vhds/")
            .find(|(at, mark)| rest[..*at].contains("://") && at + mark.len() < rest.len())?;
        Some(&rest[at + "/vhds/".len()..])
    })
}

/// `…/subscriptions/…/resourceGroups/…/providers/Microsoft?Compute/disks/NAME`
fn managed(line: &str) -> Option<&str> {
    const PROVIDER: &str = "/providers/Microsoft";
    const DISKS: &str = "Compute/disks/";
    let mut candidates = line.rmatch_indices(PROVIDER);
    candidates.find_map(|(at, _)| {
        let before = &line[..at];
        let group = before.rfind("/resourceGroups/")?;
        before[..group].find("/subscriptions/")?;
        let mut rest = line[at + PROVIDER.len()..].chars();
        rest.next()?;
        let name = rest.as_str().strip_prefix(DISKS)?;
        (!name.is_empty()).then_some(name)
    })
}
