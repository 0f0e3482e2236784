//! Group snapshots: several volumes at one moment, all or none.
//!
//! Nothing is frozen: all volumes are flushed and cut, and the cuts are kept if none of the devices was written to
//! meanwhile; otherwise they are cut anew. The file of the group is the commit: members get their names before it, and
//! members without it are removed at start.

use std::fs::File;
use std::io;

use super::error::Context;
use super::index::GroupRecord;
use super::layout::Linked;
use super::snapshot::{Cut, flush, now};
use super::{Store, record};
use crate::backend::{BackendError, NewGroupSnapshot, NewSnapshot, Result};
use crate::host::linux::loop_device::LoopDevice;
use crate::volume::{GroupSnapshot, GroupSnapshotId, SnapshotId, VolumeId};

/// How often the volumes are cut before the caller is told that they are never quiet.
const ATTEMPTS: u32 = 10;

/// A volume that is to be cut: its file, and its device if it is attached.
struct Member {
    id: VolumeId,
    file: File,
    device: Option<LoopDevice>,
}

impl Store {
    pub(super) fn create_group(&self, new: &NewGroupSnapshot) -> Result<GroupSnapshot> {
        self.check_identity()?;
        if let Ok(existing) = self.index()?.group(&new.id) {
            return Err(BackendError::GroupExists(Box::new(existing)));
        }
        self.require_uncommitted(&new.id)?;
        for _ in 0..ATTEMPTS {
            if let Some(cuts) = self.cut_quietly(new)? {
                return self.commit(new, cuts);
            }
        }
        Err(BackendError::NotQuiet { attempts: ATTEMPTS })
    }

    /// One attempt: `None` when somebody wrote meanwhile.
    fn cut_quietly(&self, new: &NewGroupSnapshot) -> Result<Option<Vec<Cut>>> {
        let flushed = |id: &VolumeId| {
            let file = self.snapshot_source(id)?;
            let device = flush(id, &file)?;
            let id = id.clone();
            Ok(Member { id, file, device })
        };
        let members = new
            .sources
            .iter()
            .map(flushed)
            .collect::<Result<Vec<_>>>()?;
        let before = activity(&members)?;
        let cut = |member: &Member| {
            let snapshot = NewSnapshot {
                id: SnapshotId::of_member(&new.id, &member.id),
                name: new.name.clone(),
                source: member.id.clone(),
            };
            self.cut(&snapshot, &member.file, Some(new.id.clone()))
        };
        let cuts = members.iter().map(cut).collect::<Result<Vec<_>>>()?;
        let quiet = before.is_some() && before == activity(&members)?;
        Ok(quiet.then_some(cuts))
    }

    fn commit(&self, new: &NewGroupSnapshot, cuts: Vec<Cut>) -> Result<GroupSnapshot> {
        let record = GroupRecord {
            id: new.id.clone(),
            name: new.name.clone(),
            members: cuts.iter().map(|it| it.snapshot.id.clone()).collect(),
            created_at: now(),
        };
        if let Err(error) = self.link_group(&record, &cuts) {
            // Only members of a group that does not exist: what cannot be removed now is removed at start.
            if self.require_uncommitted(&new.id).is_ok() {
                for member in &record.members {
                    let _ = self.layout.snapshots.remove(member.as_str());
                }
            }
            return Err(error);
        }
        let mut index = self.index()?;
        for cut in cuts {
            index.put_snapshot(cut.snapshot);
        }
        index.put_group(record);
        index.group(&new.id)
    }

    fn link_group(&self, record: &GroupRecord, cuts: &[Cut]) -> Result<()> {
        let action = || format!("finish group snapshot {}", record.id);
        for cut in cuts {
            self.link_member(cut).context(action)?;
        }
        self.layout.snapshots.sync().context(action)?;
        let file = self.layout.groups.nameless().context(action)?;
        record::write(&file, record).context(action)?;
        match self
            .layout
            .groups
            .link(&file, record.id.as_str())
            .context(action)?
        {
            Linked::Yes => Ok(()),
            Linked::Exists => Err(BackendError::Damaged {
                object: format!("group snapshot {}", record.id),
                reason: "its file exists, but its record cannot be used".to_owned(),
            }),
        }
    }

    /// Gives a member its name. What has the name already is left from an attempt that was not committed: its cut is older.
    fn link_member(&self, cut: &Cut) -> io::Result<()> {
        let (snapshots, name) = (&self.layout.snapshots, cut.snapshot.id.as_str());
        if snapshots.link_unsynced(&cut.file, name)? == Linked::Yes {
            return Ok(());
        }
        snapshots.remove(name)?;
        match snapshots.link_unsynced(&cut.file, name)? {
            Linked::Yes => Ok(()),
            Linked::Exists => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Refuses a group whose file exists though the index cannot tell of it: its members are committed, and must neither
    /// be replaced nor be cleaned up.
    fn require_uncommitted(&self, id: &GroupSnapshotId) -> Result<()> {
        match self.layout.groups.file(id.as_str(), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context(|| format!("look for group snapshot {id}")),
            Ok(_) => Err(BackendError::Damaged {
                object: format!("group snapshot {id}"),
                reason: "its record or one of its members cannot be used; its members stay"
                    .to_owned(),
            }),
        }
    }

    /// The commit goes first: what a crash leaves has no group, and is removed at start.
    pub(super) fn delete_group(&self, id: &GroupSnapshotId) -> Result<()> {
        self.check_identity()?;
        let record = match self.index()?.group_record(id) {
            Err(BackendError::NotFound(_)) => return self.require_uncommitted(id),
            result => result?.clone(),
        };
        let removed = self.layout.groups.remove(id.as_str());
        removed.context(|| format!("remove the file of group snapshot {id}"))?;
        for member in &record.members {
            let removed = self.layout.snapshots.remove(member.as_str());
            removed.context(|| format!("remove the file of snapshot {member}"))?;
        }
        // All or nothing: a group that misses a member is not found any more, and the rest would stay.
        let mut index = self.index()?;
        for member in &record.members {
            index.forget_snapshot(member);
        }
        index.forget_group(id);
        Ok(())
    }
}

/// What was written so far to each attached member; `None` while a request is on its way.
fn activity(members: &[Member]) -> Result<Option<Vec<u64>>> {
    let mut written = Vec::with_capacity(members.len());
    for Member { id, device, .. } in members {
        let Some(device) = device else { continue };
        let shown = device.write_activity();
        let (sectors, in_flight) =
            shown.context(|| format!("look at the device of volume {id}"))?;
        if in_flight > 0 {
            return Ok(None);
        }
        written.push(sectors);
    }
    Ok(Some(written))
}
