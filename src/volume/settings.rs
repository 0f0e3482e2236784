//! What StorageClass parameters and VolumeAttributesClass parameters set.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Shown;

/// How the space of a volume is provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provisioning {
    /// Space is taken when it is written.
    #[default]
    Thin,
    /// All space is taken at once, and stays taken: the device offers no discard.
    Thick,
}

/// The settings of a volume, each of which can be changed later (ControllerModifyVolume).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// How space is provided.
    pub provisioning: Provisioning,
    /// Read-ahead of the device in KiB; `None` leaves the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ahead_kib: Option<u32>,
    /// The device passes IO by the host's page cache.
    pub direct_io: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            provisioning: Provisioning::Thin,
            read_ahead_kib: None,
            direct_io: true,
        }
    }
}

/// Settings that a request names. Absence never means "reset".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsPatch {
    provisioning: Option<Provisioning>,
    read_ahead_kib: Option<u32>,
    direct_io: Option<bool>,
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A key that we do not know.
    #[error("unknown parameter {0}; known are provisioning, readAheadKiB and directIo")]
    UnknownKey(String),
    /// A value that the key does not take.
    #[error("parameter {key} does not take {value:?}, but {takes}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
}

/// The largest read-ahead that we set, in KiB.
const MAX_READ_AHEAD_KIB: u32 = 65_536;

impl SettingsPatch {
    /// Reads parameters. Keys below `csi.storage.k8s.io/` belong to the sidecars and are passed over.
    pub fn parse(parameters: &HashMap<String, String>) -> Result<Self, SettingsError> {
        let mut patch = Self::default();
        for (key, value) in parameters {
            match key.as_str() {
                "provisioning" => patch.provisioning = Some(provisioning(value)?),
                "readAheadKiB" => patch.read_ahead_kib = Some(read_ahead(value)?),
                "directIo" => patch.direct_io = Some(direct_io(value)?),
                key if key.starts_with("csi.storage.k8s.io/") => {}
                key => return Err(SettingsError::UnknownKey(Shown(key).to_string())),
            }
        }
        Ok(patch)
    }

    /// Nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What either names; `over` has precedence.
    #[must_use]
    pub fn overlaid_by(&self, over: &Self) -> Self {
        Self {
            provisioning: over.provisioning.or(self.provisioning),
            read_ahead_kib: over.read_ahead_kib.or(self.read_ahead_kib),
            direct_io: over.direct_io.or(self.direct_io),
        }
    }

    /// `settings` with what is named here in its place.
    #[must_use]
    pub fn apply(&self, settings: &Settings) -> Settings {
        Settings {
            provisioning: self.provisioning.unwrap_or(settings.provisioning),
            read_ahead_kib: self.read_ahead_kib.or(settings.read_ahead_kib),
            direct_io: self.direct_io.unwrap_or(settings.direct_io),
        }
    }
}

fn provisioning(value: &str) -> Result<Provisioning, SettingsError> {
    match value {
        "thin" => Ok(Provisioning::Thin),
        "thick" => Ok(Provisioning::Thick),
        _ => Err(bad("provisioning", value, "thin or thick")),
    }
}

fn read_ahead(value: &str) -> Result<u32, SettingsError> {
    let kib = value.parse().ok().filter(|kib| *kib <= MAX_READ_AHEAD_KIB);
    kib.ok_or_else(|| bad("readAheadKiB", value, "a whole number from 0 to 65536"))
}

fn direct_io(value: &str) -> Result<bool, SettingsError> {
    value
        .parse()
        .map_err(|_| bad("directIo", value, "true or false"))
}

fn bad(key: &'static str, value: &str, takes: &'static str) -> SettingsError {
    SettingsError::BadValue {
        key,
        value: value.chars().take(64).collect(),
        takes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(pairs: &[(&str, &str)]) -> Result<SettingsPatch, SettingsError> {
        SettingsPatch::parse(
            &pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn only_what_is_named_changes() {
        let settings = patch(&[("readAheadKiB", "512")])
            .unwrap()
            .apply(&Settings::default());
        assert_eq!(
            settings,
            Settings {
                read_ahead_kib: Some(512),
                ..Settings::default()
            }
        );
    }

    #[test]
    fn unknown_keys_and_values_are_refused() {
        assert!(matches!(
            patch(&[("XXX_FakeKey", "1")]),
            Err(SettingsError::UnknownKey(_))
        ));
        for (key, value) in [
            ("provisioning", "Thin"),
            ("directIo", "yes"),
            ("readAheadKiB", "-1"),
            ("readAheadKiB", "65537"),
        ] {
            assert!(
                matches!(patch(&[(key, value)]), Err(SettingsError::BadValue { .. })),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn keys_of_the_sidecars_are_passed_over() {
        assert!(
            patch(&[("csi.storage.k8s.io/pvc/name", "claim")])
                .unwrap()
                .is_empty()
        );
    }
}
