//! Secrets that come with a request.

use std::collections::HashMap;
use std::fmt;

/// A map that CSI marks `csi_secret`. It cannot be printed, compared or stored.
///
/// No backend of ours needs a secret yet: they are accepted because a CO may send the same bundle to every call.
#[derive(Default)]
pub struct Secrets(HashMap<String, String>);

impl Secrets {
    /// Takes the secrets out of a request.
    #[must_use]
    pub fn new(secrets: HashMap<String, String>) -> Self {
        Self(secrets)
    }

    /// The secret of this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(<redacted>)")
    }
}
