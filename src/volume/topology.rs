//! Where a volume can be reached from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// CSI's `Topology`: segments that all hold. Copies share them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topology(Arc<BTreeMap<String, String>>);

impl Topology {
    /// The segments by their keys.
    #[must_use]
    pub fn segments(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether a place described by `self` lies within `outer`: every segment of `outer` is one of ours.
    #[must_use]
    pub fn is_within(&self, outer: &Self) -> bool {
        outer
            .0
            .iter()
            .all(|(key, value)| self.0.get(key) == Some(value))
    }
}

impl FromIterator<(String, String)> for Topology {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(segments: I) -> Self {
        Self(Arc::new(segments.into_iter().collect()))
    }
}

/// CSI's `TopologyRequirement`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopologyRequirement {
    /// The volume must be reachable from one of these, if there are any.
    pub requisite: Vec<Topology>,
    /// Wishes among them, the best first.
    pub preferred: Vec<Topology>,
}

impl TopologyRequirement {
    /// Whether storage reachable from `accessible` meets the requirement; storage without constraints always does.
    #[must_use]
    pub fn admits(&self, accessible: &[Topology]) -> bool {
        let asked = if self.requisite.is_empty() {
            &self.preferred
        } else {
            &self.requisite
        };
        accessible.is_empty()
            || asked.is_empty()
            || asked
                .iter()
                .any(|outer| accessible.iter().any(|place| place.is_within(outer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(node: &str) -> Topology {
        Topology::from_iter([("topology.offshoot.dev/node".to_owned(), node.to_owned())])
    }

    #[test]
    fn a_requirement_admits_storage_in_one_of_its_places() {
        let requirement = TopologyRequirement {
            requisite: vec![topology("a"), topology("b")],
            preferred: vec![],
        };
        assert!(requirement.admits(&[topology("b")]));
        assert!(!requirement.admits(&[topology("c")]));
        assert!(requirement.admits(&[]));
        assert!(TopologyRequirement::default().admits(&[topology("c")]));
    }

    #[test]
    fn preferred_alone_is_a_set_to_choose_from() {
        let requirement = TopologyRequirement {
            requisite: vec![],
            preferred: vec![topology("a")],
        };
        assert!(!requirement.admits(&[topology("c")]));
    }
}
