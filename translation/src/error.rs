//! Why something cannot be translated.

use thiserror::Error;

/// Why something cannot be translated. The input is untouched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// No in-tree source that is translated.
    #[error("{kind} {name:?} has no in-tree source that is translated to CSI")]
    NotInTree {
        /// `PersistentVolume` or `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No such in-tree plugin, or none at this version.
    #[error("{0:?} is not the name of an in-tree plugin that is translated to CSI")]
    UnknownPlugin(String),
    /// No driver that stands for an in-tree plugin, or none at this version.
    #[error("{0:?} is not the name of a CSI driver that stands for an in-tree plugin")]
    UnknownDriver(String),
    /// A PersistentVolume without a CSI source.
    #[error("PersistentVolume {0:?} has no CSI source")]
    NotCsi(String),
    /// An AWS volume id that is none.
    #[error("AWS volume id {id:?} cannot be used: {reason}")]
    AwsVolumeId {
        /// The id.
        id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A partition that is no number.
    #[error("volume attribute partition {0:?} is not a number")]
    Partition(String),
    /// A handle that does not have the form of its plugin.
    #[error("volume handle {handle:?} is not of the form {form}")]
    Handle {
        /// The handle.
        handle: String,
        /// The form.
        form: &'static str,
    },
    /// Zones of which no region can be derived.
    #[error("no region can be derived from the zones {zones:?}: {reason}")]
    Region {
        /// The zones.
        zones: Vec<String>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A zone label without a zone.
    #[error("the zone label {0:?} names no zone")]
    NoZones(String),
    /// An Azure disk that is not managed.
    #[error("an Azure disk of kind {0:?} cannot be translated: only managed disks can")]
    AzureDiskKind(String),
    /// An Azure file share without a namespace for its secret.
    #[error("neither secretNamespace nor claimRef names the namespace of the secret")]
    SecretNamespace,
    /// Zones said twice.
    #[error("both allowedTopologies and the parameter zone or zones are set; keep one of them")]
    ZonesTwice,
    /// A topology key that the version does not know.
    #[error("topology key {0:?} is not known to this version")]
    TopologyKey(String),
    /// A parameter without which nothing works.
    #[error("parameter {0} is missing")]
    MissingParameter(&'static str),
    /// The node id does not have the form of its plugin.
    #[error("node id {0:?} is not of the form projects/PROJECT/zones/ZONE/instances/NAME")]
    NodeId(String),
}
