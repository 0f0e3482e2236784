//! Errors in one line.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, each said once: "failed to attach volume v1-…: No space left on device".
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a String does not fail");
        cause = error.source();
    }
    text
}
