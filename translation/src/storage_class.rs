//! Parameters and allowed topologies of storage classes, which several plugins translate alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{TopologySelectorLabelRequirement, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::error::TranslateError;
use crate::go::lower;
use crate::topology::{BETA_ZONE, ZONE};

/// The parameter in which CSI's sidecars look for the filesystem.
pub(crate) const FS_TYPE: &str = "csi.storage.k8s.io/fstype";

/// What the parameters of a class become.
#[derive(Default)]
pub(crate) struct Translated {
    pub(crate) parameters: BTreeMap<String, String>,
    /// From the parameters zone and zones.
    pub(crate) topologies: Vec<TopologySelectorTerm>,
}

impl Translated {
    pub(crate) fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.parameters.insert(key.into(), value.into());
    }

    /// Takes the parameter zone or zones, whatever its spelling; `false` when it is another one.
    pub(crate) fn take_zones(&mut self, driver_key: &str, key: &str, value: &str) -> bool {
        let zones = match lower(key).as_str() {
            "zone" => vec![value.to_owned()],
            "zones" => value.split(',').map(str::to_owned).collect(),
            _ => return false,
        };
        self.topologies = vec![term(driver_key, zones)];
        true
    }

    /// Puts the result into a copy of the class.
    pub(crate) fn into_class(
        self,
        class: &StorageClass,
        driver_key: &str,
        foreign_keys: ForeignKeys,
    ) -> Result<StorageClass, TranslateError> {
        let mut class = class.clone();
        let allowed = class.allowed_topologies.as_deref().unwrap_or_default();
        if !self.topologies.is_empty() && !allowed.is_empty() {
            return Err(TranslateError::ZonesTwice);
        }
        if !self.topologies.is_empty() {
            class.allowed_topologies = Some(self.topologies);
        } else if !allowed.is_empty() {
            translate_topologies(&mut class, driver_key, foreign_keys)?;
        }
        class.parameters = Some(self.parameters);
        Ok(class)
    }
}

/// What becomes of keys in allowedTopologies that are not the zone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForeignKeys {
    /// They pass.
    Pass,
    /// They are errors (before 1.22).
    Refuse,
    /// They are errors, the general key of a zone too (before 1.21).
    RefuseGeneral,
}

/// Gives the driver's key to zones in allowedTopologies.
pub(crate) fn translate_topologies(
    class: &mut StorageClass,
    driver_key: &str,
    foreign_keys: ForeignKeys,
) -> Result<(), TranslateError> {
    for term in class.allowed_topologies.iter_mut().flatten() {
        for expression in term.match_label_expressions.iter_mut().flatten() {
            let general = expression.key == ZONE && foreign_keys != ForeignKeys::RefuseGeneral;
            if general || expression.key == BETA_ZONE {
                driver_key.clone_into(&mut expression.key);
            } else if foreign_keys != ForeignKeys::Pass && expression.key != driver_key {
                return Err(TranslateError::TopologyKey(expression.key.clone()));
            }
        }
    }
    Ok(())
}

/// The parameters of a class.
pub(crate) fn parameters(class: &StorageClass) -> impl Iterator<Item = (&String, &String)> {
    class.parameters.iter().flatten()
}

fn term(key: &str, values: Vec<String>) -> TopologySelectorTerm {
    TopologySelectorTerm {
        match_label_expressions: Some(vec![TopologySelectorLabelRequirement {
            key: key.to_owned(),
            values,
        }]),
    }
}
