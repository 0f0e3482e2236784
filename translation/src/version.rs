//! Kubernetes versions, as far as the translation depends on them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A minor version of Kubernetes, 1.17 or later: the translation of its last patch release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    minor: u32,
}

/// Why a text is no [`KubernetesVersion`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionError {
    /// Not of the form.
    #[error("{0:?} is not a Kubernetes version such as 1.24")]
    Malformed(String),
    /// Before there was a translation that we know.
    #[error("Kubernetes {0} is older than 1.17, from which on the translation is known")]
    TooOld(KubernetesVersion),
}

impl KubernetesVersion {
    /// The oldest version whose translation is known.
    pub const OLDEST: Self = Self { minor: 17 };

    /// Kubernetes 1.`minor`.
    ///
    /// ```
    /// use csi_translation::KubernetesVersion;
    /// assert_eq!(KubernetesVersion::new(24).unwrap().to_string(), "1.24");
    /// assert!(KubernetesVersion::new(16).is_err());
    /// ```
    pub fn new(minor: u32) -> Result<Self, VersionError> {
        let version = Self { minor };
        if version < Self::OLDEST {
            return Err(VersionError::TooOld(version));
        }
        Ok(version)
    }

    /// The part after `1.`.
    #[must_use]
    pub fn minor(self) -> u32 {
        self.minor
    }

    /// A version without checking it, for the tables of this crate.
    pub(crate) const fn of(minor: u32) -> Self {
        Self { minor }
    }
}

impl FromStr for KubernetesVersion {
    type Err = VersionError;

    /// Reads `1.24`, `v1.24` or `1.24.3`; the patch release is not looked at.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError::Malformed(text.chars().take(32).collect());
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        if parts.next() != Some("1") {
            return Err(malformed());
        }
        let minor = parts.next().and_then(|it| it.parse().ok());
        Self::new(minor.ok_or_else(malformed)?)
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_people_write_them() {
        for text in ["1.24", "v1.24", "1.24.17", "v1.24.0-rc.1"] {
            assert_eq!(text.parse(), Ok(KubernetesVersion::of(24)), "{text}");
        }
        for text in ["", "1", "2.1", "1.x", "1.16", "24"] {
            assert!(text.parse::<KubernetesVersion>().is_err(), "{text}");
        }
    }
}
