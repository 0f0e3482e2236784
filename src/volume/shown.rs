//! Text from outside, made fit for a log line or a message.

use std::fmt::{self, Write as _};

/// How much of a text is shown: more than any path of a kubelet that is in order.
const LIMIT: usize = 256;

/// Shows the beginning of a text, with everything escaped that could be taken for the end of a line or for another text.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.chars();
        for c in rest.by_ref().take(LIMIT) {
            // What `Debug` leaves alone is printable; quotes are harmless here.
            if matches!(c, '"' | '\'') {
                f.write_char(c)?;
            } else {
                c.escape_debug().fmt(f)?;
            }
        }
        match rest.next() {
            None => Ok(()),
            Some(_) => write!(f, "... ({} bytes)", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_short() {
        let id = "v1-0123456789abcdef0123456789abcdef";
        assert_eq!(Shown(id).to_string(), id);
        assert_eq!(
            Shown("a\nINFO b\u{202e}").to_string(),
            "a\\nINFO b\\u{202e}"
        );
        let long = Shown(&"x".repeat(5000)).to_string();
        assert!(long.len() < 300 && long.ends_with("(5000 bytes)"), "{long}");
    }
}
