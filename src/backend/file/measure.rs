//! What the backend shows of itself: how full its filesystem is, how many volumes, snapshots and devices there are.

use std::fs;
use std::io;
use std::path::Path;

use super::Store;
use super::error::Context;
use super::layout::VOLUMES;
use crate::backend::{Inventory, Measured, PoolUsage, Result};
use crate::host::linux::loop_table;
use crate::volume::VolumeId;

impl Store {
    /// Looks at the filesystem and at the machine's loop devices.
    pub(super) fn measure(&self) -> Result<Measured> {
        let pool = self.pool()?;
        let devices = self.count_devices();
        Ok(Measured {
            pool: PoolUsage {
                capacity: pool.total,
                available: pool.available(),
                reserve: pool.reserve,
            },
            devices: devices.context(|| "count loop devices".to_owned())?,
        })
    }

    /// Counts what is in memory; the node half has nothing there.
    pub(super) fn inventory(&self) -> Option<Inventory> {
        Some(self.index().ok()?.inventory())
    }

    /// How many loop devices have a volume of ours behind them. The paths that the kernel shows depend on who put the file
    /// there, so the name of the file decides.
    fn count_devices(&self) -> io::Result<u64> {
        let backings = loop_table::backing_files()?;
        let ours = backings
            .iter()
            .filter(|it| self.is_volume(&it.path))
            .count();
        Ok(ours as u64)
    }

    fn is_volume(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(VolumeId::parse) else {
            return false;
        };
        match self.index() {
            Ok(index) => index.has_volume(&id),
            Err(_) => {
                fs::symlink_metadata(self.config.data_dir.join(VOLUMES).join(id.as_str())).is_ok()
            }
        }
    }
}
