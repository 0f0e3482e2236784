//! Errors in one line, and what their causes tell.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use rustix::io::Errno;

use crate::blocking::BlockingError;

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

/// What this machine has no more of, when that is why something failed.
#[must_use]
pub(crate) fn exhausted(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(BlockingError::NoThread) = error.downcast_ref() {
            return Some("threads");
        }
        let io = error.downcast_ref::<io::Error>();
        let of_system = io.and_then(io::Error::raw_os_error);
        let code = of_system
            .map(Errno::from_raw_os_error)
            .or_else(|| error.downcast_ref::<Errno>().copied());
        match code {
            Some(Errno::MFILE | Errno::NFILE) => return Some("file descriptors"),
            Some(Errno::NOMEM) => return Some("memory"),
            Some(Errno::NOSPC | Errno::DQUOT) => return Some("disk space"),
            Some(Errno::AGAIN) => return Some("threads or processes"),
            // What an `io::Error` was made from is not its source, but stands for it.
            _ => cause = io.and_then(made_from).or_else(|| error.source()),
        }
    }
    None
}

fn made_from(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    error.get_ref().map(|it| it as &(dyn Error + 'static))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exhausted_is_found_behind_other_causes() {
        let cause = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        assert_eq!(exhausted(&cause), Some("file descriptors"));
        assert_eq!(exhausted(&io::Error::other(Errno::NOMEM)), Some("memory"));
        assert_eq!(exhausted(&io::Error::other("disk on fire")), None);
    }
}
