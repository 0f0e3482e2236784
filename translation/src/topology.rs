//! Node affinity and zone labels, which most plugins translate alike.
//!
//! "Expressions" are the match expressions of every required node selector term, in order; operators and match fields
//! are never looked at, as in Kubernetes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume};

use crate::error::TranslateError;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const REGION: &str = "topology.kubernetes.io/region";
pub(crate) const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
pub(crate) const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";

/// Separates zones in a label.
const SEPARATOR: &str = "__";

/// Derives the region of zones, or says why it cannot.
pub(crate) type RegionParser = fn(&[String]) -> Result<String, TranslateError>;

/// Which generation of labels a volume uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) zone: &'static str,
    pub(crate) region: &'static str,
}

const GENERAL: Keys = Keys {
    zone: ZONE,
    region: REGION,
};
const BETA: Keys = Keys {
    zone: BETA_ZONE,
    region: BETA_REGION,
};

/// The keys that a volume uses: its affinity decides before its labels.
pub(crate) fn keys(pv: &PersistentVolume) -> Keys {
    let has = |key: &str| {
        terms(pv)
            .iter()
            .flat_map(expressions)
            .any(|it| it.key == key)
    };
    if has(ZONE) {
        GENERAL
    } else if has(BETA_ZONE) {
        BETA
    } else if label(pv, ZONE).is_some() {
        GENERAL
    } else if label(pv, BETA_ZONE).is_some() {
        BETA
    } else {
        GENERAL
    }
}

/// A label of the volume.
pub(crate) fn label<'a>(pv: &'a PersistentVolume, key: &str) -> Option<&'a str> {
    pv.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether the affinity has any value of a key.
pub(crate) fn has_values(pv: &PersistentVolume, key: &str) -> bool {
    let mut with_key = terms(pv)
        .iter()
        .flat_map(expressions)
        .filter(|it| it.key == key);
    with_key.any(|it| it.values.as_ref().is_some_and(|values| !values.is_empty()))
}

/// All values of a key in the affinity, sorted and once each.
pub(crate) fn values(pv: &PersistentVolume, key: &str) -> Vec<String> {
    let with_key = terms(pv)
        .iter()
        .flat_map(expressions)
        .filter(|it| it.key == key);
    let all: BTreeSet<&String> = with_key.flat_map(|it| it.values.iter().flatten()).collect();
    all.into_iter().cloned().collect()
}

/// Renames a key in the affinity.
pub(crate) fn replace(pv: &mut PersistentVolume, old: &str, new: &str) {
    for term in terms_mut(pv) {
        for expression in term.match_expressions.iter_mut().flatten() {
            if expression.key == old {
                new.clone_into(&mut expression.key);
            }
        }
    }
}

/// Requires one of `zones` under `key`, in every term; nothing when all are blank.
pub(crate) fn add<'a>(pv: &mut PersistentVolume, key: &str, zones: impl Iterator<Item = &'a str>) {
    let zones: BTreeSet<&str> = zones
        .map(str::trim)
        .filter(|zone| !zone.is_empty())
        .collect();
    if zones.is_empty() {
        return;
    }
    let expression = NodeSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(zones.into_iter().map(str::to_owned).collect()),
    };
    let spec = pv.spec.get_or_insert_default();
    let required = spec
        .node_affinity
        .get_or_insert_default()
        .required
        .get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required
            .node_selector_terms
            .push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_expressions
            .get_or_insert_default()
            .push(expression.clone());
    }
}

/// From in-tree to CSI: the zone gets the driver's key, from the affinity or else from the label.
pub(crate) fn to_csi(pv: &mut PersistentVolume, key: &str) {
    let Keys { zone, region } = keys(pv);
    if has_values(pv, zone) {
        replace(pv, zone, key);
    } else if let Some(label) = label(pv, zone).map(str::to_owned) {
        add(pv, key, label.split(SEPARATOR));
    }
    if region == BETA_REGION && has_values(pv, BETA_REGION) {
        replace(pv, BETA_REGION, REGION);
    }
}

/// As [`to_csi`], before 1.21: only the beta keys were known, and zones of a label took the place of the whole affinity.
pub(crate) fn beta_to_csi(pv: &mut PersistentVolume, key: &str) -> Result<(), TranslateError> {
    if has_values(pv, key) {
        return Ok(());
    }
    if has_values(pv, BETA_ZONE) {
        replace(pv, BETA_ZONE, key);
    } else if let Some(label) = label(pv, BETA_ZONE).map(str::to_owned) {
        pv.spec.get_or_insert_default().node_affinity = None;
        add(pv, key, label.split(SEPARATOR));
        if !has_values(pv, key) {
            return Err(TranslateError::NoZones(label));
        }
    }
    Ok(())
}

/// From CSI to in-tree: the driver's key becomes the zone's, the region is derived, and both become labels.
pub(crate) fn to_in_tree(
    pv: &mut PersistentVolume,
    key: &str,
    region: Option<RegionParser>,
) -> Result<(), TranslateError> {
    let zone = keys(pv).zone;
    replace(pv, key, zone);
    if let Some(parse) = region {
        add_regions(pv, parse)?;
    }
    let zones = values(pv, zone);
    if !zones.is_empty() {
        set_label(pv, zone, zones.join(SEPARATOR));
    }
    Ok(())
}

fn add_regions(pv: &mut PersistentVolume, parse: RegionParser) -> Result<(), TranslateError> {
    if terms(pv).is_empty() {
        return Ok(());
    }
    let Keys { zone, region } = keys(pv);
    for term in terms_mut(pv) {
        let mut zones = Vec::new();
        let mut has_region = false;
        for expression in term.match_expressions.iter().flatten() {
            if expression.key == region {
                has_region = true;
                break;
            }
            if expression.key == zone {
                zones.extend(expression.values.iter().flatten().cloned());
            }
        }
        if has_region {
            continue;
        }
        let expression = NodeSelectorRequirement {
            key: region.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![parse(&zones)?]),
        };
        term.match_expressions
            .get_or_insert_default()
            .push(expression);
    }
    if let [only] = values(pv, region).as_slice() {
        set_label(pv, region, only.clone());
    }
    Ok(())
}

/// Sets a label that is not there; labels are never overwritten.
pub(crate) fn set_label(pv: &mut PersistentVolume, key: &str, value: String) {
    let labels = pv.metadata.labels.get_or_insert_default();
    labels.entry(key.to_owned()).or_insert(value);
}

/// The one region of several zones, each parsed by `parse`.
pub(crate) fn one_region(
    zones: &[String],
    parse: fn(&str) -> Option<String>,
) -> Result<String, TranslateError> {
    let failed = |reason| TranslateError::Region {
        zones: zones.to_vec(),
        reason,
    };
    if zones.is_empty() {
        return Err(failed("there are none"));
    }
    let mut regions = BTreeSet::new();
    for zone in zones {
        regions.insert(parse(zone).ok_or_else(|| failed("one has another form"))?);
    }
    match (regions.pop_first(), regions.is_empty()) {
        (Some(region), true) => Ok(region),
        _ => Err(failed("they lie in several regions")),
    }
}

fn terms(pv: &PersistentVolume) -> &[NodeSelectorTerm] {
    let required = pv
        .spec
        .as_ref()
        .and_then(|it| it.node_affinity.as_ref()?.required.as_ref());
    required.map_or(&[], |it| &it.node_selector_terms)
}

fn terms_mut(pv: &mut PersistentVolume) -> impl Iterator<Item = &mut NodeSelectorTerm> {
    pv.spec
        .iter_mut()
        .filter_map(|spec| spec.node_affinity.as_mut()?.required.as_mut())
        .flat_map(|required| required.node_selector_terms.iter_mut())
}

fn expressions(term: &NodeSelectorTerm) -> impl Iterator<Item = &NodeSelectorRequirement> {
    term.match_expressions.iter().flatten()
}
