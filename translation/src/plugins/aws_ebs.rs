//! AWS EBS.

use k8s_openapi::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, CSIPersistentVolumeSource, PersistentVolume, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Result, attribute, attributes, inline_pv, only_true, since, spec};
use crate::error::TranslateError;
use crate::go::{atoi32, lower, url_path};
use crate::storage_class::{FS_TYPE, ForeignKeys, Translated, parameters};
use crate::topology;
use crate::version::KubernetesVersion;

pub(super) const DRIVER: &str = "ebs.csi.aws.com";
const TOPOLOGY_KEY: &str = "topology.ebs.csi.aws.com/zone";
const URL_SCHEME: &str = "aws://";

pub(super) fn pv_to_csi(
    mut pv: PersistentVolume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = spec(&mut pv)
        .aws_elastic_block_store
        .take()
        .unwrap_or_default();
    let csi = csi(&source)?;
    spec(&mut pv).csi = Some(csi);
    super::gce_pd::topology_to_csi(&mut pv, TOPOLOGY_KEY, version)?;
    Ok(pv)
}

pub(super) fn inline_to_csi(
    volume: &Volume,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let source = volume.aws_elastic_block_store.clone().unwrap_or_default();
    let csi = csi(&source)?;
    let name = if since(version, 18) {
        format!("{DRIVER}-{}", csi.volume_handle)
    } else {
        format!("{DRIVER}-{}", source.volume_id)
    };
    Ok(inline_pv(name, csi, "ReadWriteOnce"))
}

pub(super) fn pv_to_in_tree(
    mut pv: PersistentVolume,
    source: CSIPersistentVolumeSource,
    version: KubernetesVersion,
) -> Result<PersistentVolume> {
    let partition = attribute(&source, "partition").map(partition).transpose()?;
    spec(&mut pv).aws_elastic_block_store = Some(AWSElasticBlockStoreVolumeSource {
        volume_id: source.volume_handle,
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
        match lower(key).as_str() {
            "fstype" => translated.set(FS_TYPE, value),
            "iopspergb" if since(version, 22) => {
                translated.set(key, value);
                translated.set("allowautoiopspergbincrease", "true");
            }
            _ if translated.take_zones(TOPOLOGY_KEY, key, value) => {}
            _ => translated.set(key, value),
        }
    }
    translated.into_class(class, TOPOLOGY_KEY, foreign_keys(version))
}

/// What other keys in allowedTopologies were before 1.22.
pub(super) fn foreign_keys(version: KubernetesVersion) -> ForeignKeys {
    if since(version, 22) {
        ForeignKeys::Pass
    } else if since(version, 21) {
        ForeignKeys::Refuse
    } else {
        ForeignKeys::RefuseGeneral
    }
}

fn csi(source: &AWSElasticBlockStoreVolumeSource) -> Result<CSIPersistentVolumeSource> {
    Ok(CSIPersistentVolumeSource {
        driver: DRIVER.to_owned(),
        volume_handle: volume_id(&source.volume_id)?,
        read_only: only_true(source.read_only),
        fs_type: source.fs_type.clone(),
        volume_attributes: Some(attributes([(
            "partition",
            source.partition.unwrap_or(0).to_string(),
        )])),
        ..CSIPersistentVolumeSource::default()
    })
}

/// `vol-…`, out of the URL that the tree used; what is no URL passes unchecked.
fn volume_id(id: &str) -> Result<String> {
    if !id.starts_with(URL_SCHEME) {
        return Ok(id.to_owned());
    }
    let refused = |reason| TranslateError::AwsVolumeId {
        id: id.to_owned(),
        reason,
    };
    let path = url_path(id, URL_SCHEME).map_err(refused)?;
    let name = path.trim_matches('/');
    if name.starts_with("vol-") && !name.contains('/') {
        Ok(name.to_owned())
    } else {
        Err(refused("its path is not vol-…"))
    }
}

fn partition(text: &str) -> Result<i32> {
    atoi32(text).ok_or_else(|| TranslateError::Partition(text.to_owned()))
}

fn region(zones: &[String]) -> Result<String> {
    topology::one_region(zones, region_of)
}

/// `us-west-2a` lies in `us-west-2`; the local zone `us-west-2-lax-1a` too.
fn region_of(zone: &str) -> Option<String> {
    let parts: Vec<&str> = zone.split('-').collect();
    match (parts.as_slice(), parts.last()) {
        ([_, _, _] | [_, _, _, _], Some(last)) if last.len() == 2 => {
            zone.get(..zone.len() - 1).map(str::to_owned)
        }
        ([a, b, c, _, _] | [a, b, c, _, _, _, _], _) => Some(format!("{a}-{b}-{c}")),
        _ => None,
    }
}
