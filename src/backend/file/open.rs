//! Opening a data directory: identity, what its filesystem can do, and the index.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use thiserror::Error;
use tracing::{info, warn};

use super::identity::Identity;
use super::index::{GroupRecord, Index};
use super::layout::{Directory, Layout};
use super::record::{self, RecordError};
use super::templates::Templates;
use super::{FileBackendConfig, Role, Store};
use crate::host::linux::loop_device::LoopControl;
use crate::volume::{GroupSnapshotId, Snapshot, SnapshotId, Topology, Volume, VolumeId};

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("data directory {}: failed to {action}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Its filesystem cannot do what is needed.
    #[error(
        "data directory {}: its filesystem lacks {feature}; use ext4, xfs, btrfs or tmpfs of Linux 6.6 or newer", path.display()
    )]
    Lacks {
        /// The directory.
        path: PathBuf,
        /// What it lacks.
        feature: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "data directory {} holds {name:?} but no identity of ours; is its disk mounted? Choose an empty directory, or mount the right one", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        name: String,
    },
    /// Nobody made it ours yet.
    #[error("data directory {} has no identity yet; start the controller first, and mount its disk", .0.display())]
    NoIdentity(PathBuf),
    /// A newer driver made it.
    #[error("data directory {} has format {format}, made by a newer driver; use that one", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// Another controller uses it.
    #[error("data directory {} is used by another controller; end it first", .0.display())]
    Locked(PathBuf),
}

impl OpenError {
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }

    pub(super) fn lacks(path: &Path, feature: &'static str, source: io::Error) -> Self {
        Self::Lacks {
            path: path.to_owned(),
            feature,
            source,
        }
    }
}

impl Store {
    pub(super) fn open(config: FileBackendConfig) -> Result<Self, OpenError> {
        let path = &config.data_dir;
        let failed = |action| move |source| OpenError::io(path, action, source);
        std::fs::create_dir_all(path).map_err(failed("make it"))?;
        let root = Directory::open(path).map_err(failed("open it"))?;
        let identity = Identity::open(&root, path, config.role)?;
        let layout = Layout::open(root).map_err(failed("open its directories"))?;
        check_features(&layout, path)?;
        let index = match config.role {
            Role::Node => None,
            Role::Controller => {
                identity.lock(path)?;
                let index = read_index(&layout).map_err(failed("read its records"))?;
                Some(Mutex::new(index))
            }
        };
        let here = (config.topology_key.clone(), config.node_id.to_string());
        Ok(Self {
            topology: vec![Topology::from_iter([here])],
            config,
            layout,
            identity,
            index,
            loops: LoopControl::default(),
            templates: Templates::default(),
        })
    }
}

/// Tries on a nameless file what every volume needs.
fn check_features(layout: &Layout, path: &Path) -> Result<(), OpenError> {
    let file = layout
        .volumes
        .nameless()
        .map_err(|source| OpenError::lacks(path, "nameless files (O_TMPFILE)", source))?;
    record::write(&file, &"probe")
        .map_err(|source| OpenError::lacks(path, "extended attributes of users (user.*)", source))
}

fn read_index(layout: &Layout) -> io::Result<Index> {
    let mut index = Index::default();
    read_volumes(layout, &mut index)?;
    read_groups(layout, &mut index)?;
    read_snapshots(layout, &mut index)?;
    Ok(index)
}

fn read_volumes(layout: &Layout, index: &mut Index) -> io::Result<()> {
    for id in layout
        .volumes
        .names()?
        .iter()
        .filter_map(|it| VolumeId::parse(it))
    {
        let file = layout.volumes.file(id.as_str(), false)?;
        match record::read::<Volume>(&file).map_err(|error| error.to_string()) {
            Ok(volume) if volume.id == id => index.put_volume(volume),
            Ok(volume) => {
                let reason = format!("its record is that of volume {}", volume.id);
                quarantine(index, id, reason);
            }
            Err(reason) => quarantine(index, id, reason),
        }
    }
    Ok(())
}

fn quarantine(index: &mut Index, id: VolumeId, reason: String) {
    warn!(volume_id = %id, reason, "volume is quarantined; its bytes are untouched");
    index.put_damaged_volume(id, reason);
}

fn read_groups(layout: &Layout, index: &mut Index) -> io::Result<()> {
    for id in layout
        .groups
        .names()?
        .iter()
        .filter_map(|it| GroupSnapshotId::parse(it))
    {
        let file = layout.groups.file(id.as_str(), false)?;
        match record::read::<GroupRecord>(&file) {
            Ok(group) if group.id == id => index.put_group(group),
            Ok(_) | Err(_) => {
                warn!(group_snapshot_id = %id, "record of the group snapshot is damaged; its members stay");
            }
        }
    }
    Ok(())
}

/// Members of a group that was never finished, or whose deletion was not, are removed: the group's file is the commit.
fn read_snapshots(layout: &Layout, index: &mut Index) -> io::Result<()> {
    let groups: HashSet<String> = layout.groups.names()?.into_iter().collect();
    for id in layout
        .snapshots
        .names()?
        .iter()
        .filter_map(|it| SnapshotId::parse(it))
    {
        let file = layout.snapshots.file(id.as_str(), false)?;
        match record::read::<Snapshot>(&file) {
            Ok(snapshot) if snapshot.id != id => {
                let reason = format!("its record is that of snapshot {}", snapshot.id);
                index.put_damaged_snapshot(id, reason);
            }
            Ok(Snapshot {
                group: Some(group), ..
            }) if !groups.contains(group.as_str()) => {
                info!(snapshot_id = %id, "member of an unfinished group snapshot is removed");
                layout.snapshots.remove(id.as_str())?;
            }
            Ok(snapshot) => index.put_snapshot(snapshot),
            Err(error @ RecordError::Read(_)) => return Err(io::Error::other(error)),
            Err(error) => index.put_damaged_snapshot(id, error.to_string()),
        }
    }
    Ok(())
}
