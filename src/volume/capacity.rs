//! Sizes and capacity ranges.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A size in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// One MiB.
    pub const MIB: Self = Self(1 << 20);
    /// One GiB.
    pub const GIB: Self = Self(1 << 30);

    /// The size as CSI's `int64`; sizes beyond it do not exist.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Rounded up to a multiple of `unit`, which is a power of two; the largest multiple when that does not fit.
    #[must_use]
    pub fn round_up(self, unit: u64) -> Self {
        self.0
            .checked_next_multiple_of(unit)
            .map_or(Self(u64::MAX - (unit - 1)), Self)
    }
}

impl fmt::Display for Bytes {
    /// In the largest binary unit that divides the size: `1 GiB`, `1536 MiB`, `4097 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units
            .iter()
            .find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
        {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// What CreateVolume and ControllerExpandVolume ask for: at least `required`, at most `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRange {
    /// The least size; 0 when the caller has no wish.
    pub required: Bytes,
    /// The largest size, if there is one.
    pub limit: Option<Bytes>,
}

/// Why a capacity range cannot be met by any volume of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CapacityError {
    /// A size is negative.
    #[error("{field} is negative ({value})")]
    Negative {
        /// The field of `CapacityRange`.
        field: &'static str,
        /// What it held.
        value: i64,
    },
    /// The limit is below the requirement.
    #[error("limit_bytes ({limit}) is less than required_bytes ({required})")]
    Empty {
        /// The requirement.
        required: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// No size that we can make lies in the range.
    #[error(
        "no volume of a whole number of {unit}-byte sectors and at least {minimum} lies between {required} and {limit}"
    )]
    Impossible {
        /// The requirement.
        required: Bytes,
        /// The limit.
        limit: Bytes,
        /// The least size that we make for such a volume.
        minimum: Bytes,
        /// The granularity of sizes.
        unit: u64,
    },
}

impl CapacityRange {
    /// Sizes are multiples of this: the sector that every tool and kernel agrees on.
    pub const UNIT: u64 = 4096;

    /// Reads CSI's `CapacityRange`; zero means "not given".
    pub fn parse(required: i64, limit: i64) -> Result<Self, CapacityError> {
        let required = size("required_bytes", required)?;
        let limit = Some(size("limit_bytes", limit)?).filter(|limit| limit.0 > 0);
        match limit {
            Some(limit) if limit < required => Err(CapacityError::Empty { required, limit }),
            _ => Ok(Self { required, limit }),
        }
    }

    /// The size to make: what is required (or else `default`), at least `minimum`, in whole sectors, within the limit.
    pub fn choose(&self, default: Bytes, minimum: Bytes) -> Result<Bytes, CapacityError> {
        let ceiling = self.limit.unwrap_or(Bytes(u64::MAX));
        let wish = if self.required.0 > 0 {
            self.required
        } else {
            default.min(ceiling)
        };
        let size = wish.max(minimum).round_up(Self::UNIT);
        let down = Bytes(wish.0 - wish.0 % Self::UNIT);
        if size <= ceiling {
            Ok(size)
        } else if self.required.0 == 0 && down >= minimum && down.0 > 0 {
            Ok(down)
        } else {
            Err(CapacityError::Impossible {
                required: self.required,
                limit: ceiling,
                minimum,
                unit: Self::UNIT,
            })
        }
    }

    /// Whether a volume of this size is what was asked for.
    #[must_use]
    pub fn contains(&self, size: Bytes) -> bool {
        size >= self.required && self.limit.is_none_or(|limit| size <= limit)
    }
}

fn size(field: &'static str, value: i64) -> Result<Bytes, CapacityError> {
    u64::try_from(value)
        .map(Bytes)
        .map_err(|_| CapacityError::Negative { field, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(required: i64, limit: i64) -> CapacityRange {
        CapacityRange::parse(required, limit).unwrap()
    }

    #[test]
    fn exactly_what_was_asked_for_is_made() {
        assert_eq!(
            range(1 << 30, 1 << 30).choose(Bytes::GIB, Bytes::MIB),
            Ok(Bytes::GIB)
        );
        assert_eq!(range(0, 0).choose(Bytes::GIB, Bytes::MIB), Ok(Bytes::GIB));
        assert_eq!(
            range(4097, 0).choose(Bytes::GIB, Bytes(4096)),
            Ok(Bytes(8192))
        );
    }

    #[test]
    fn a_limit_below_the_default_is_honoured() {
        assert_eq!(
            range(0, 10_000_000).choose(Bytes::GIB, Bytes::MIB),
            Ok(Bytes(9_998_336))
        );
    }

    #[test]
    fn ranges_that_no_volume_meets_are_refused() {
        assert!(matches!(
            range(4097, 8000).choose(Bytes::GIB, Bytes(4096)),
            Err(CapacityError::Impossible { .. })
        ));
        assert!(matches!(
            range(0, 8192).choose(Bytes::GIB, Bytes::MIB),
            Err(CapacityError::Impossible { .. })
        ));
        assert!(matches!(
            CapacityRange::parse(-1, 0),
            Err(CapacityError::Negative { .. })
        ));
        assert!(matches!(
            CapacityRange::parse(2, 1),
            Err(CapacityError::Empty { .. })
        ));
    }

    #[test]
    fn sizes_near_the_end_of_the_number_line_do_not_overflow() {
        assert!(range(i64::MAX, 0).choose(Bytes::GIB, Bytes::MIB).is_ok());
        assert_eq!(Bytes(u64::MAX).round_up(4096), Bytes(u64::MAX - 4095));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(Bytes(3 << 29).to_string(), "1536 MiB");
        assert_eq!(Bytes(4097).to_string(), "4097 B");
        assert_eq!(Bytes(0).to_string(), "0 B");
    }
}
