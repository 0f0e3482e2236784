//! Small changes to known inputs.

use faultlab::Random;

/// What parsers stumble over.
const TOKENS: [&[u8]; 20] = [
    b"../",
    b"/",
    b"\0",
    b",",
    b"=",
    b"\"",
    b"\n",
    b"v1-",
    b"s1-",
    b"-",
    b"{",
    b"}",
    b"[",
    b"]",
    b"&a ",
    b"*a",
    b": ",
    b"kind",
    b"\xff",
    b"\xe2\x80\xae",
];

pub(crate) struct Mutator(Random);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.index(limit)
    }

    /// An input of the corpus, changed in a few places.
    pub(crate) fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.step(&mut bytes, corpus);
        }
        bytes
    }

    fn step(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(16)).min(bytes.len());
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => {
                let extremes = [0, 1, 0x7f, 0x80, 0xff];
                bytes[at] = extremes[self.below(extremes.len())];
            }
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            5 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            6 => bytes.truncate(at),
            _ => {
                let byte = u8::try_from(self.below(256)).expect("a byte");
                bytes.insert(at, byte);
            }
        }
    }
}
