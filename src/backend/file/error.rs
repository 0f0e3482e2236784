//! From errors of the system to errors of a backend.

use std::io::{self, ErrorKind};

use crate::backend::{BackendError, Result};

/// Says what was being done when the system refused.
pub(super) trait Context<T> {
    /// `action` reads on after "failed to".
    fn context(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| failed(action(), error.into()))
    }
}

/// A full disk is the one error of the system that callers treat on its own.
pub(super) fn failed(action: String, error: io::Error) -> BackendError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            BackendError::Full(action)
        }
        _ => BackendError::other(action, error),
    }
}
