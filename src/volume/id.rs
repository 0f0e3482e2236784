//! Identifiers: the CO's names, and the ids that we derive from them.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest name, id or token that CSI allows, in bytes (CSI 1.13, "Size Limits").
const MAX_STRING: usize = 128;

/// The name that the CO gives a volume, a snapshot or a group: its idempotency key. Never used as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a string is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name is missing.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than 128 bytes.
    #[error("the name has {0} bytes, CSI allows {MAX_STRING}")]
    TooLong(usize),
    /// The name contains a control character that CSI forbids.
    #[error("the name contains the control character U+{0:04X}")]
    Control(u32),
}

impl Name {
    /// Checks a name as CSI 1.13 "CreateVolume" demands: at most 128 bytes, no control characters but tab, LF and CR.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_STRING {
            return Err(NameError::TooLong(name.len()));
        }
        match name
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
        {
            Some(control) => Err(NameError::Control(control.into())),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name as the CO gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A record is no way round the parser.
impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares an id of our making: a version prefix and 32 hexadecimal digits, derived from the CO's name.
///
/// Deriving it makes creation idempotent without a table of names; its alphabet makes it safe as a file name, as a
/// device label and inside the kubelet's `driver^handle` keys.
macro_rules! derived_id {
    ($(#[$doc:meta])* $id:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $id(String);

        /// A record is no way round the parser.
        impl TryFrom<String> for $id {
            type Error = &'static str;

            fn try_from(id: String) -> Result<Self, Self::Error> {
                Self::parse(&id).ok_or("an id is not of our making")
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.0
            }
        }

        impl $id {
            /// The id that belongs to `name`: always the same one.
            #[must_use]
            pub fn for_name(name: &Name) -> Self {
                Self(derive($prefix, name))
            }

            /// Reads an id; `None` when it is not of our making, which means that no such object exists.
            #[must_use]
            pub fn parse(id: &str) -> Option<Self> {
                is_derived($prefix, id).then(|| Self(id.to_owned()))
            }

            /// The id as it goes over the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

derived_id! {
    /// Identifies a volume: `v1-` and 32 hexadecimal digits.
    VolumeId, "v1-"
}
derived_id! {
    /// Identifies a snapshot: `s1-` and 32 hexadecimal digits.
    SnapshotId, "s1-"
}
derived_id! {
    /// Identifies a group snapshot: `g1-` and 32 hexadecimal digits.
    GroupSnapshotId, "g1-"
}

impl SnapshotId {
    /// The id of the snapshot of `volume` inside the group `group`.
    #[must_use]
    pub fn of_member(group: &GroupSnapshotId, volume: &VolumeId) -> Self {
        Self(hashed("s1-", &[group.as_str(), volume.as_str()]))
    }
}

/// Identifies a node of the cluster, as its node plugin reports it: at most 128 bytes, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Name);

/// A record is no way round the parser.
impl TryFrom<String> for NodeId {
    type Error = NameError;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::parse(&id)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0.into()
    }
}

impl NodeId {
    /// Checks a node id.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        match id.chars().find(|c| c.is_control()) {
            Some(control) => Err(NameError::Control(control.into())),
            None => Name::parse(id).map(Self),
        }
    }

    /// The id as it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn derive(prefix: &str, name: &Name) -> String {
    hashed(prefix, &[name.as_str()])
}

/// The prefix and the first 128 bits of the SHA-256 of the parts, each ended by a zero byte.
pub(super) fn hashed(prefix: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new_with_prefix(prefix);
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hex(prefix, &hasher.finalize()[..16])
}

fn hex(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

fn is_derived(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|digits| {
        digits.len() == 32
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_for_the_same_name_and_reads_back() {
        let name = Name::parse("pvc-1").unwrap();
        let id = VolumeId::for_name(&name);
        assert_eq!(id, VolumeId::for_name(&name));
        assert_eq!(VolumeId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(SnapshotId::parse(id.as_str()), None);
    }

    #[test]
    fn ids_of_foreign_making_are_not_ids() {
        for id in [
            "",
            "fake-vol-id",
            "v1-",
            "v1-../../../../etc/passwd0123456789ab",
            "v1-0123456789ABCDEF0123456789abcdef",
        ] {
            assert_eq!(VolumeId::parse(id), None, "{id}");
        }
    }

    #[test]
    fn names_follow_the_specification() {
        assert!(Name::parse(&"n".repeat(128)).is_ok());
        assert_eq!(Name::parse(&"n".repeat(129)), Err(NameError::TooLong(129)));
        assert_eq!(Name::parse("a\u{7f}"), Err(NameError::Control(0x7f)));
        assert_eq!(Name::parse("a\0"), Err(NameError::Control(0)));
        assert!(Name::parse("\u{1F4BE} tab\tand\nline").is_ok());
    }
}
