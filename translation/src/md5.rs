//! MD5 (RFC 1321), which names Ceph clusters in migrated handles. Not for anything that must be safe.

use std::fmt::Write as _;

const SHIFTS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The digest in lower-case hexadecimal digits.
pub(crate) fn hex_digest(text: &str) -> String {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let constants = constants();
    for block in padded(text.as_bytes()).chunks_exact(64) {
        add_block(&mut state, block, &constants);
    }
    let bytes = state.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

/// The integer part of 2^32 times the sine of each step.
fn constants() -> Vec<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^32 and not negative"
    )]
    let constant = |step: u32| (f64::from(step).sin().abs() * 4_294_967_296.0) as u32;
    (1..=64).map(constant).collect()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.push(0x80);
    while all.len() % 64 != 56 {
        all.push(0);
    }
    let bits = (bytes.len() as u64).wrapping_mul(8);
    all.extend(bits.to_le_bytes());
    all
}

fn add_block(state: &mut [u32; 4], block: &[u8], constants: &[u32]) {
    let word = |index: usize| {
        let bytes = &block[4 * index..4 * index + 4];
        bytes
            .iter()
            .rev()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
    };
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, constant) in constants.iter().enumerate() {
        let round = step / 16;
        let (mix, index) = match round {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), 7 * step % 16),
        };
        let sum = a
            .wrapping_add(mix)
            .wrapping_add(*constant)
            .wrapping_add(word(index));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(SHIFTS[round][step % 4]));
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::hex_digest;

    /// The examples of RFC 1321, appendix A.5.
    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(hex_digest(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            hex_digest("message digest"),
            "f96b697d7cb7938d525a2f31aaf161d0"
        );
        let long =
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex_digest(long), "57edf4a22be3c955ac49da2e2107b67a");
    }
}
