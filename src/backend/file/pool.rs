//! How much room there is. A thin volume whose pool is full takes its filesystem down, so a part of the pool is kept.

use super::Store;
use super::error::Context;
use crate::backend::{BackendError, Capacity, Result};
use crate::volume::{Bytes, Provisioning};

/// What the filesystem of the data directory shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    pub(super) total: Bytes,
    pub(super) free: Bytes,
    pub(super) reserve: Bytes,
}

impl Pool {
    /// What may be taken.
    pub(super) fn available(self) -> Bytes {
        Bytes(self.free.0.saturating_sub(self.reserve.0))
    }
}

impl Store {
    pub(super) fn pool(&self) -> Result<Pool> {
        let shown = self.layout.root.statvfs();
        let shown = shown.context(|| "measure the data directory".to_owned())?;
        let total = Bytes(shown.f_blocks * shown.f_frsize);
        Ok(Pool {
            total,
            free: Bytes(shown.f_bavail * shown.f_frsize),
            reserve: Bytes(total.0 / 100 * u64::from(self.config.reserve_percent)),
        })
    }

    /// Refuses what would eat into the reserve: `taken` at once, of a volume of `size` in the end.
    pub(super) fn require(&self, taken: Bytes, size: Bytes) -> Result<()> {
        let pool = self.pool()?;
        let largest = Bytes(pool.total.0.saturating_sub(pool.reserve.0));
        if size > largest {
            return Err(BackendError::NoSpace {
                needed: size,
                available: largest,
            });
        }
        let available = pool.available();
        if taken > available || available.0 == 0 {
            return Err(BackendError::NoSpace {
                needed: taken,
                available,
            });
        }
        Ok(())
    }

    pub(super) fn capacity(&self, provisioning: Provisioning) -> Result<Capacity> {
        let pool = self.pool()?;
        let available = pool.available();
        let maximum_volume_size = match provisioning {
            Provisioning::Thick => available,
            Provisioning::Thin if available.0 == 0 => Bytes(0),
            Provisioning::Thin => Bytes(pool.total.0.saturating_sub(pool.reserve.0)),
        };
        Ok(Capacity {
            available,
            maximum_volume_size,
        })
    }
}
