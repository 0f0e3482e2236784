//! The feature gates of the migration, per version.

use crate::version::KubernetesVersion;

/// How mature a feature gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Off unless switched on.
    Alpha,
    /// Can be switched.
    Beta,
    /// Always on.
    Ga,
    /// Will go away without ever having been on.
    Deprecated,
}

/// A feature gate at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGate {
    /// Its name.
    pub name: &'static str,
    /// How mature it is.
    pub stage: Stage,
    /// Whether it is on when nobody says anything.
    pub default: bool,
}

/// From when on a gate is alpha, beta and off, beta and on, GA; and the last version that has it.
struct History {
    name: &'static str,
    alpha: u32,
    beta_off: Option<u32>,
    beta_on: Option<u32>,
    ga: Option<u32>,
    deprecated: Option<u32>,
    last: u32,
}

const fn history(
    name: &'static str,
    alpha: u32,
    beta_off: Option<u32>,
    beta_on: Option<u32>,
    ga: Option<u32>,
    last: u32,
) -> History {
    History {
        name,
        alpha,
        beta_off,
        beta_on,
        ga,
        deprecated: None,
        last,
    }
}

const HISTORIES: [History; 9] = [
    history("CSIMigration", 14, None, Some(17), Some(25), 26),
    history("CSIMigrationAWS", 14, Some(17), Some(23), Some(25), 26),
    history("CSIMigrationGCE", 14, Some(17), Some(23), Some(25), 27),
    history(
        "CSIMigrationOpenStack",
        14,
        Some(18),
        Some(21),
        Some(24),
        25,
    ),
    history(
        "CSIMigrationAzureDisk",
        15,
        Some(19),
        Some(23),
        Some(24),
        26,
    ),
    history(
        "CSIMigrationAzureFile",
        15,
        Some(21),
        Some(24),
        Some(26),
        29,
    ),
    history("CSIMigrationvSphere", 18, Some(19), Some(25), Some(26), 28),
    history("CSIMigrationPortworx", 23, Some(25), Some(31), Some(33), 35),
    History {
        deprecated: Some(28),
        ..history("CSIMigrationRBD", 23, None, None, None, 30)
    },
];

impl History {
    fn at(&self, minor: u32) -> Option<FeatureGate> {
        let reached = |since: Option<u32>| since.is_some_and(|since| minor >= since);
        if minor < self.alpha || minor > self.last {
            return None;
        }
        let (stage, default) = if reached(self.deprecated) {
            (Stage::Deprecated, false)
        } else if reached(self.ga) {
            (Stage::Ga, true)
        } else if reached(self.beta_on) {
            (Stage::Beta, true)
        } else if reached(self.beta_off) {
            (Stage::Beta, false)
        } else {
            (Stage::Alpha, false)
        };
        let name = self.name;
        Some(FeatureGate {
            name,
            stage,
            default,
        })
    }
}

/// The gates that a version has, with their stage and default.
///
/// ```
/// let gates = csi_translation::feature_gates("1.23".parse().unwrap());
/// let aws = gates.iter().find(|it| it.name == "CSIMigrationAWS").unwrap();
/// assert!(aws.default);
/// assert!(csi_translation::feature_gates("1.36".parse().unwrap()).is_empty());
/// ```
#[must_use]
pub fn feature_gates(version: KubernetesVersion) -> Vec<FeatureGate> {
    HISTORIES
        .iter()
        .filter_map(|it| it.at(version.minor()))
        .collect()
}
