//! What the environment sets for a run of tests.

/// The number that the environment variable `name` holds, or `default`.
///
/// # Panics
///
/// When it holds something else: a run that was to be long must not be short without a word.
#[must_use]
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) => number,
            Err(error) => panic!("{name}={text:?} is no number: {error}"),
        },
        Err(_) => default,
    }
}
