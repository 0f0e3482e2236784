//! The plugins: one file each, with the same functions and the rules that changed from version to version.

mod aws_ebs;
mod azure_disk;
mod azure_file;
mod cinder;
mod gce_pd;
mod portworx;
mod rbd;
mod vsphere;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeSpec, SecretReference, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::error::TranslateError;
use crate::version::KubernetesVersion;

/// An in-tree plugin that Kubernetes translates to CSI, or translated once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plugin {
    /// `kubernetes.io/aws-ebs`
    AwsEbs,
    /// `kubernetes.io/gce-pd`
    GcePd,
    /// `kubernetes.io/cinder`
    Cinder,
    /// `kubernetes.io/azure-disk`
    AzureDisk,
    /// `kubernetes.io/azure-file`
    AzureFile,
    /// `kubernetes.io/vsphere-volume`
    Vsphere,
    /// `kubernetes.io/portworx-volume`
    Portworx,
    /// `kubernetes.io/rbd`
    Rbd,
}

type Result<T> = std::result::Result<T, TranslateError>;

/// Later than every version that changes anything.
const NEVER: u32 = 10_000;

impl Plugin {
    /// Every plugin, in the order in which a volume with several sources is looked at.
    pub const ALL: [Self; 8] = [
        Self::AwsEbs,
        Self::GcePd,
        Self::Cinder,
        Self::AzureDisk,
        Self::AzureFile,
        Self::Vsphere,
        Self::Portworx,
        Self::Rbd,
    ];

    /// The name under which it provisioned in the tree.
    ///
    /// ```
    /// assert_eq!(csi_translation::Plugin::Cinder.in_tree_name(), "kubernetes.io/cinder");
    /// ```
    #[must_use]
    pub fn in_tree_name(self) -> &'static str {
        match self {
            Self::AwsEbs => "kubernetes.io/aws-ebs",
            Self::GcePd => "kubernetes.io/gce-pd",
            Self::Cinder => "kubernetes.io/cinder",
            Self::AzureDisk => "kubernetes.io/azure-disk",
            Self::AzureFile => "kubernetes.io/azure-file",
            Self::Vsphere => "kubernetes.io/vsphere-volume",
            Self::Portworx => "kubernetes.io/portworx-volume",
            Self::Rbd => "kubernetes.io/rbd",
        }
    }

    /// The CSI driver that stands for it.
    ///
    /// ```
    /// assert_eq!(csi_translation::Plugin::Cinder.driver(), "cinder.csi.openstack.org");
    /// ```
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::AwsEbs => aws_ebs::DRIVER,
            Self::GcePd => gce_pd::DRIVER,
            Self::Cinder => cinder::DRIVER,
            Self::AzureDisk => azure_disk::DRIVER,
            Self::AzureFile => azure_file::DRIVER,
            Self::Vsphere => vsphere::DRIVER,
            Self::Portworx => portworx::DRIVER,
            Self::Rbd => rbd::DRIVER,
        }
    }

    /// The versions of Kubernetes that translate it.
    ///
    /// ```
    /// let rbd = csi_translation::Plugin::Rbd.versions();
    /// assert_eq!((rbd.start().to_string(), rbd.end().to_string()), ("1.23".into(), "1.30".into()));
    /// ```
    #[must_use]
    pub fn versions(self) -> RangeInclusive<KubernetesVersion> {
        let (first, last) = match self {
            Self::AwsEbs | Self::GcePd | Self::Cinder | Self::AzureDisk | Self::AzureFile => {
                (17, NEVER)
            }
            Self::Vsphere => (19, NEVER),
            Self::Portworx => (23, NEVER),
            Self::Rbd => (23, 30),
        };
        KubernetesVersion::of(first)..=KubernetesVersion::of(last)
    }

    pub(crate) fn is_in(self, spec: &PersistentVolumeSpec) -> bool {
        match self {
            Self::AwsEbs => spec.aws_elastic_block_store.is_some(),
            Self::GcePd => spec.gce_persistent_disk.is_some(),
            Self::Cinder => spec.cinder.is_some(),
            Self::AzureDisk => spec.azure_disk.is_some(),
            Self::AzureFile => spec.azure_file.is_some(),
            Self::Vsphere => spec.vsphere_volume.is_some(),
            Self::Portworx => spec.portworx_volume.is_some(),
            Self::Rbd => spec.rbd.is_some(),
        }
    }

    pub(crate) fn is_in_volume(self, volume: &Volume) -> bool {
        match self {
            Self::AwsEbs => volume.aws_elastic_block_store.is_some(),
            Self::GcePd => volume.gce_persistent_disk.is_some(),
            Self::Cinder => volume.cinder.is_some(),
            Self::AzureDisk => volume.azure_disk.is_some(),
            Self::AzureFile => volume.azure_file.is_some(),
            Self::Vsphere => volume.vsphere_volume.is_some(),
            Self::Portworx => volume.portworx_volume.is_some(),
            Self::Rbd => volume.rbd.is_some(),
        }
    }

    pub(crate) fn pv_to_csi(
        self,
        pv: PersistentVolume,
        version: KubernetesVersion,
    ) -> Result<PersistentVolume> {
        match self {
            Self::AwsEbs => aws_ebs::pv_to_csi(pv, version),
            Self::GcePd => gce_pd::pv_to_csi(pv, version),
            Self::Cinder => cinder::pv_to_csi(pv, version),
            Self::AzureDisk => azure_disk::pv_to_csi(pv, version),
            Self::AzureFile => azure_file::pv_to_csi(pv, version),
            Self::Vsphere => Ok(vsphere::pv_to_csi(pv, version)),
            Self::Portworx => Ok(portworx::pv_to_csi(pv, version)),
            Self::Rbd => Ok(rbd::pv_to_csi(pv, version)),
        }
    }

    pub(crate) fn pv_to_in_tree(
        self,
        pv: PersistentVolume,
        source: CSIPersistentVolumeSource,
        version: KubernetesVersion,
    ) -> Result<PersistentVolume> {
        match self {
            Self::AwsEbs => aws_ebs::pv_to_in_tree(pv, source, version),
            Self::GcePd => gce_pd::pv_to_in_tree(pv, source, version),
            Self::Cinder => cinder::pv_to_in_tree(pv, source, version),
            Self::AzureDisk => azure_disk::pv_to_in_tree(pv, source, version),
            Self::AzureFile => azure_file::pv_to_in_tree(pv, source, version),
            Self::Vsphere => Ok(vsphere::pv_to_in_tree(pv, &source, version)),
            Self::Portworx => Ok(portworx::pv_to_in_tree(pv, source)),
            Self::Rbd => Ok(rbd::pv_to_in_tree(pv, source)),
        }
    }

    pub(crate) fn inline_to_csi(
        self,
        volume: &Volume,
        pod_namespace: &str,
        version: KubernetesVersion,
    ) -> Result<PersistentVolume> {
        match self {
            Self::AwsEbs => aws_ebs::inline_to_csi(volume, version),
            Self::GcePd => Ok(gce_pd::inline_to_csi(volume)),
            Self::Cinder => Ok(cinder::inline_to_csi(volume)),
            Self::AzureDisk => azure_disk::inline_to_csi(volume, version),
            Self::AzureFile => Ok(azure_file::inline_to_csi(volume, pod_namespace, version)),
            Self::Vsphere => Ok(vsphere::inline_to_csi(volume)),
            Self::Portworx => Ok(portworx::inline_to_csi(volume)),
            Self::Rbd => Ok(rbd::inline_to_csi(volume, pod_namespace)),
        }
    }

    pub(crate) fn storage_class_to_csi(
        self,
        class: &StorageClass,
        version: KubernetesVersion,
    ) -> Result<StorageClass> {
        match self {
            Self::AwsEbs => aws_ebs::storage_class_to_csi(class, version),
            Self::GcePd => gce_pd::storage_class_to_csi(class, version),
            Self::Cinder => cinder::storage_class_to_csi(class, version),
            Self::AzureDisk => azure_disk::storage_class_to_csi(class, version),
            Self::AzureFile => Ok(class.clone()),
            Self::Vsphere => vsphere::storage_class_to_csi(class, version),
            Self::Portworx => Ok(portworx::storage_class_to_csi(class, version)),
            Self::Rbd => rbd::storage_class_to_csi(class),
        }
    }

    pub(crate) fn repair_volume_handle(self, handle: &str, node_id: &str) -> Result<String> {
        match self {
            Self::GcePd => gce_pd::repair_volume_handle(handle, node_id),
            _ => Ok(handle.to_owned()),
        }
    }
}

/// Whether `version` is 1.`minor` or later.
fn since(version: KubernetesVersion, minor: u32) -> bool {
    version.minor() >= minor
}

/// The spec of a volume that is being translated; the caller has seen that it is there.
fn spec(pv: &mut PersistentVolume) -> &mut PersistentVolumeSpec {
    pv.spec.get_or_insert_default()
}

/// The volume that stands for one in a pod.
fn inline_pv(name: String, csi: CSIPersistentVolumeSource, access_mode: &str) -> PersistentVolume {
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            csi: Some(csi),
            access_modes: Some(vec![access_mode.to_owned()]),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

fn attributes<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn attribute<'a>(source: &'a CSIPersistentVolumeSource, key: &str) -> Option<&'a str> {
    source
        .volume_attributes
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// `true`, or absent.
fn only_true(flag: Option<bool>) -> Option<bool> {
    flag.filter(|flag| *flag)
}

/// A text, or absent when it is empty.
fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn secret(name: &str, namespace: &str) -> SecretReference {
    SecretReference {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
    }
}
