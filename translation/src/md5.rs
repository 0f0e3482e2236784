//! MD5 (RFC 1321), which names Ceph clusters in migrated handles. Not for anything that must be safe.

use std::fmt::Write as _;

const SHIFTS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The integer part of 2^32 times the sine of each step. As numbers, because the sine alone would bring the C library's
/// mathematics into every process of the driver.
#[rustfmt::skip]
const CONSTANTS: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee,
    0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa,
    0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed,
    0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05,
    0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039,
    0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The digest in lower-case hexadecimal digits.
pub(crate) fn hex_digest(text: &str) -> String {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded(text.as_bytes()).chunks_exact(64) {
        add_block(&mut state, block);
    }
    let bytes = state.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
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

fn add_block(state: &mut [u32; 4], block: &[u8]) {
    let word = |index: usize| {
        let bytes = &block[4 * index..4 * index + 4];
        bytes
            .iter()
            .rev()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
    };
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, constant) in CONSTANTS.iter().enumerate() {
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
    use super::{CONSTANTS, hex_digest};

    #[test]
    fn the_constants_are_sines() {
        for (step, constant) in (1..=64_u32).zip(CONSTANTS) {
            let sine = f64::from(step).sin().abs() * 4_294_967_296.0;
            assert!((sine.floor() - f64::from(constant)).abs() < 0.5, "{step}");
        }
    }

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
