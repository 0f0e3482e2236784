//! The operations of Kubernetes' own translator, for one version of it.

use k8s_openapi::api::core::v1::{PersistentVolume, Volume};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::error::TranslateError;
use crate::plugins::Plugin;
use crate::version::KubernetesVersion;

/// Translates as one version of Kubernetes does, or as each plugin's newest rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translator {
    version: Option<KubernetesVersion>,
}

/// The newest rules of each plugin; those of Ceph RBD are Kubernetes 1.30's, which was the last to have them.
///
/// ```
/// use k8s_openapi::api::core::v1::PersistentVolume;
/// let pv: PersistentVolume = serde_json::from_str(
///     r#"{"metadata":{"name":"data"},"spec":{"awsElasticBlockStore":{"volumeID":"aws://us-east-1a/vol-0a1b2c"}}}"#,
/// ).unwrap();
/// let csi = csi_translation::newest().pv_to_csi(&pv).unwrap().spec.unwrap().csi.unwrap();
/// assert_eq!((csi.driver.as_str(), csi.volume_handle.as_str()), ("ebs.csi.aws.com", "vol-0a1b2c"));
/// ```
#[must_use]
pub fn newest() -> Translator {
    Translator { version: None }
}

/// The rules of one version of Kubernetes.
///
/// ```
/// let old = csi_translation::as_of("1.22".parse().unwrap());
/// assert!(!old.is_migratable_plugin("kubernetes.io/rbd"));
/// assert!(csi_translation::newest().is_migratable_plugin("kubernetes.io/rbd"));
/// ```
#[must_use]
pub fn as_of(version: KubernetesVersion) -> Translator {
    Translator {
        version: Some(version),
    }
}

impl Translator {
    /// An in-tree PersistentVolume as a CSI one. With several in-tree sources, the first in the order of [`Plugin::ALL`]
    /// is translated; Kubernetes takes any of them.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::PersistentVolume;
    /// let foreign = PersistentVolume::default();
    /// assert!(csi_translation::newest().pv_to_csi(&foreign).is_err());
    /// ```
    pub fn pv_to_csi(self, pv: &PersistentVolume) -> Result<PersistentVolume, TranslateError> {
        let plugin = self
            .plugin_of_pv(pv)
            .ok_or_else(|| TranslateError::NotInTree {
                kind: "PersistentVolume",
                name: pv.metadata.name.clone().unwrap_or_default(),
            })?;
        plugin.pv_to_csi(pv.clone(), self.release(plugin))
    }

    /// As [`Self::pv_to_csi`], for those who need the in-tree form no more: nothing is copied. What cannot be translated is
    /// gone with the error.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::PersistentVolume;
    /// let pv: PersistentVolume = serde_json::from_str(r#"{"spec":{"cinder":{"volumeID":"c"}}}"#).unwrap();
    /// let csi = csi_translation::newest().pv_into_csi(pv).unwrap();
    /// assert_eq!(csi.spec.unwrap().csi.unwrap().volume_handle, "c");
    /// ```
    pub fn pv_into_csi(self, pv: PersistentVolume) -> Result<PersistentVolume, TranslateError> {
        let Some(plugin) = self.plugin_of_pv(&pv) else {
            return self.pv_to_csi(&pv);
        };
        plugin.pv_to_csi(pv, self.release(plugin))
    }

    /// A volume of a pod as the CSI PersistentVolume that stands for it; only its `spec.csi`, access modes, volume mode and
    /// name are set.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Volume;
    /// let volume: Volume = serde_json::from_str(r#"{"name":"v","cinder":{"volumeID":"c"}}"#).unwrap();
    /// let pv = csi_translation::newest().inline_to_csi(&volume, "default").unwrap();
    /// assert_eq!(pv.metadata.name.unwrap(), "cinder.csi.openstack.org-c");
    /// ```
    pub fn inline_to_csi(
        self,
        volume: &Volume,
        pod_namespace: &str,
    ) -> Result<PersistentVolume, TranslateError> {
        let plugin = self
            .plugin_of_volume(volume)
            .ok_or_else(|| TranslateError::NotInTree {
                kind: "volume",
                name: volume.name.clone(),
            })?;
        let mut pv = plugin.inline_to_csi(volume, pod_namespace, self.release(plugin))?;
        let spec = pv.spec.get_or_insert_default();
        spec.volume_mode
            .get_or_insert_with(|| "Filesystem".to_owned());
        Ok(pv)
    }

    /// A StorageClass for the in-tree plugin `in_tree_name` as one for its CSI driver. The class's own provisioner is not
    /// looked at, as in Kubernetes.
    ///
    /// ```
    /// # use k8s_openapi::api::storage::v1::StorageClass;
    /// let class: StorageClass = serde_json::from_str(r#"{"provisioner":"kubernetes.io/cinder","parameters":{"fstype":"xfs"}}"#).unwrap();
    /// let csi = csi_translation::newest().storage_class_to_csi("kubernetes.io/cinder", &class).unwrap();
    /// assert_eq!(csi.parameters.unwrap()["csi.storage.k8s.io/fstype"], "xfs");
    /// ```
    pub fn storage_class_to_csi(
        self,
        in_tree_name: &str,
        class: &StorageClass,
    ) -> Result<StorageClass, TranslateError> {
        let unknown = || TranslateError::UnknownPlugin(in_tree_name.to_owned());
        let plugin = self.plugin_named(in_tree_name).ok_or_else(unknown)?;
        plugin.storage_class_to_csi(class, self.release(plugin))
    }

    /// A CSI PersistentVolume as an in-tree one. What is lost on the way is in the table of each plugin.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::PersistentVolume;
    /// let pv: PersistentVolume = serde_json::from_str(r#"{"spec":{"csi":{"driver":"cinder.csi.openstack.org","volumeHandle":"c"}}}"#).unwrap();
    /// let in_tree = csi_translation::newest().pv_to_in_tree(&pv).unwrap();
    /// assert_eq!(in_tree.spec.unwrap().cinder.unwrap().volume_id, "c");
    /// ```
    pub fn pv_to_in_tree(self, pv: &PersistentVolume) -> Result<PersistentVolume, TranslateError> {
        let not_csi = || TranslateError::NotCsi(pv.metadata.name.clone().unwrap_or_default());
        let mut pv = pv.clone();
        let source = pv.spec.as_mut().and_then(|it| it.csi.take());
        let source = source.ok_or_else(not_csi)?;
        let unknown = || TranslateError::UnknownDriver(source.driver.clone());
        let plugin = self.plugin_of_driver(&source.driver).ok_or_else(unknown)?;
        plugin.pv_to_in_tree(pv, source, self.release(plugin))
    }

    /// The handle with what only the node knows filled in: for GCE PD project and zone, elsewhere the handle itself.
    ///
    /// ```
    /// let handle = "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d";
    /// let node = "projects/p/zones/us-east1-b/instances/i";
    /// let repaired = csi_translation::newest().repair_volume_handle("pd.csi.storage.gke.io", handle, node);
    /// assert_eq!(repaired.unwrap(), "projects/p/zones/us-east1-b/disks/d");
    /// ```
    pub fn repair_volume_handle(
        self,
        driver: &str,
        handle: &str,
        node_id: &str,
    ) -> Result<String, TranslateError> {
        let unknown = || TranslateError::UnknownDriver(driver.to_owned());
        let plugin = self.plugin_of_driver(driver).ok_or_else(unknown)?;
        plugin.repair_volume_handle(handle, node_id)
    }

    /// The CSI driver that stands for an in-tree plugin.
    ///
    /// ```
    /// let driver = csi_translation::newest().csi_name("kubernetes.io/cinder");
    /// assert_eq!(driver, Some("cinder.csi.openstack.org"));
    /// ```
    #[must_use]
    pub fn csi_name(self, in_tree_name: &str) -> Option<&'static str> {
        self.plugin_named(in_tree_name).map(Plugin::driver)
    }

    /// The in-tree plugin for which a CSI driver stands.
    ///
    /// ```
    /// let plugin = csi_translation::newest().in_tree_name("disk.csi.azure.com");
    /// assert_eq!(plugin, Some("kubernetes.io/azure-disk"));
    /// ```
    #[must_use]
    pub fn in_tree_name(self, driver: &str) -> Option<&'static str> {
        self.plugin_of_driver(driver).map(Plugin::in_tree_name)
    }

    /// Whether a plugin of this name is translated.
    ///
    /// ```
    /// assert!(!csi_translation::newest().is_migratable_plugin("kubernetes.io/cephfs"));
    /// ```
    #[must_use]
    pub fn is_migratable_plugin(self, in_tree_name: &str) -> bool {
        self.plugin_named(in_tree_name).is_some()
    }

    /// Whether a driver of this name stands for an in-tree plugin.
    ///
    /// ```
    /// assert!(csi_translation::newest().is_migrated_driver("pxd.portworx.com"));
    /// ```
    #[must_use]
    pub fn is_migrated_driver(self, driver: &str) -> bool {
        self.plugin_of_driver(driver).is_some()
    }

    /// The plugin of a PersistentVolume's in-tree source, if it is translated.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::PersistentVolume;
    /// assert_eq!(csi_translation::newest().plugin_of_pv(&PersistentVolume::default()), None);
    /// ```
    #[must_use]
    pub fn plugin_of_pv(self, pv: &PersistentVolume) -> Option<Plugin> {
        let spec = pv.spec.as_ref()?;
        let mut known = Plugin::ALL.into_iter().filter(|it| self.knows(*it));
        known.find(|plugin| plugin.is_in(spec))
    }

    /// The plugin of a pod's volume, if it is translated.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Volume;
    /// assert_eq!(csi_translation::newest().plugin_of_volume(&Volume::default()), None);
    /// ```
    #[must_use]
    pub fn plugin_of_volume(self, volume: &Volume) -> Option<Plugin> {
        let mut known = Plugin::ALL.into_iter().filter(|it| self.knows(*it));
        known.find(|plugin| plugin.is_in_volume(volume))
    }

    fn plugin_named(self, in_tree_name: &str) -> Option<Plugin> {
        let mut known = Plugin::ALL.into_iter().filter(|it| self.knows(*it));
        known.find(|plugin| plugin.in_tree_name() == in_tree_name)
    }

    fn plugin_of_driver(self, driver: &str) -> Option<Plugin> {
        let mut known = Plugin::ALL.into_iter().filter(|it| self.knows(*it));
        known.find(|plugin| plugin.driver() == driver)
    }

    fn knows(self, plugin: Plugin) -> bool {
        self.version
            .is_none_or(|version| plugin.versions().contains(&version))
    }

    /// The rules that hold for a plugin.
    fn release(self, plugin: Plugin) -> KubernetesVersion {
        self.version.unwrap_or(*plugin.versions().end())
    }
}
