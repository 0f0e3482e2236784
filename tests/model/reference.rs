//! The reference model: what each call must answer, and what must be there afterwards. Pure, and small enough to be right.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;

use crate::call::{Call, Object};

/// With what a volume began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Snapshot(u8),
    Volume(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) size: u64,
    pub(crate) block: bool,
    pub(crate) source: Option<Origin>,
    pub(crate) read_ahead: Option<u32>,
    /// Node to read-only.
    pub(crate) published: BTreeMap<u8, bool>,
    pub(crate) staged: bool,
    /// Target to read-only.
    pub(crate) targets: BTreeMap<u8, bool>,
    /// The read-ahead that it was created with: what a repeated creation must repeat.
    pub(crate) asked: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) source: u8,
    pub(crate) size: u64,
    pub(crate) block: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    pub(crate) volumes: BTreeMap<u8, Volume>,
    pub(crate) snapshots: BTreeMap<u8, Snapshot>,
    pub(crate) groups: BTreeMap<u8, BTreeSet<u8>>,
}

/// What a call answers: the size that it tells, or a code.
pub(crate) type Outcome = Result<Option<u64>, Code>;

impl Model {
    /// Plays one call.
    pub(crate) fn play(&mut self, call: &Call) -> Outcome {
        match call {
            Call::Create { .. } => self.create(call),
            Call::Delete { volume } => self.delete(*volume),
            Call::Publish {
                volume,
                node,
                read_only,
                block,
            } => self.publish(*volume, *node, *read_only, *block),
            Call::Unpublish { volume, node } => {
                if let Some(it) = self.volumes.get_mut(volume) {
                    it.published
                        .retain(|there, _| node.is_some_and(|node| node != *there));
                }
                Ok(None)
            }
            Call::Stage { volume, block } => {
                let it = self.volume(*volume)?;
                fits(it, *block)?;
                it.staged = true;
                Ok(None)
            }
            Call::Unstage { volume } => {
                if let Some(it) = self.volumes.get_mut(volume) {
                    if !it.targets.is_empty() {
                        return Err(Code::FailedPrecondition);
                    }
                    it.staged = false;
                }
                Ok(None)
            }
            Call::NodePublish {
                volume,
                target,
                read_only,
                block,
            } => self.node_publish(*volume, *target, *read_only, *block),
            Call::NodeUnpublish { volume, target } => {
                if let Some(it) = self.volumes.get_mut(volume) {
                    it.targets.remove(target);
                }
                Ok(None)
            }
            Call::Expand { volume, size } => {
                let it = self.volume(*volume)?;
                it.size = it.size.max(*size);
                Ok(Some(it.size))
            }
            Call::NodeExpand { volume } => {
                let it = self.volume(*volume)?;
                if it.staged {
                    Ok(Some(it.size))
                } else {
                    Err(Code::NotFound)
                }
            }
            Call::Modify { volume, read_ahead } => {
                self.volume(*volume)?.read_ahead = Some(*read_ahead);
                Ok(None)
            }
            Call::Snapshot { snapshot, volume } => self.snapshot(*snapshot, *volume),
            Call::DeleteSnapshot { snapshot } => {
                self.snapshots.remove(snapshot);
                Ok(None)
            }
            Call::Group { group, volumes } => self.group(*group, volumes),
            Call::DeleteGroup { group } => {
                self.groups.remove(group);
                Ok(None)
            }
        }
    }

    fn volume(&mut self, volume: u8) -> Result<&mut Volume, Code> {
        self.volumes.get_mut(&volume).ok_or(Code::NotFound)
    }

    fn create(&mut self, call: &Call) -> Outcome {
        let Call::Create {
            volume,
            size,
            block,
            read_ahead,
            source,
        } = call
        else {
            unreachable!("the caller chose");
        };
        if let Some(it) = self.volumes.get(volume) {
            let same = it.size == *size
                && it.block == *block
                && it.asked == *read_ahead
                && it.source == *source;
            return if same {
                Ok(Some(it.size))
            } else {
                Err(Code::AlreadyExists)
            };
        }
        let origin = match source {
            None => None,
            Some(Origin::Volume(it)) => {
                let it = self.volumes.get(it).ok_or(Code::NotFound)?;
                Some((it.size, it.block))
            }
            Some(Origin::Snapshot(it)) => {
                let it = self.snapshots.get(it).ok_or(Code::NotFound)?;
                Some((it.size, it.block))
            }
        };
        if let Some((least, is_block)) = origin {
            if is_block != *block {
                return Err(Code::InvalidArgument);
            }
            if least > *size {
                return Err(Code::OutOfRange);
            }
        }
        let new = Volume {
            size: *size,
            block: *block,
            source: *source,
            read_ahead: *read_ahead,
            published: BTreeMap::new(),
            staged: false,
            targets: BTreeMap::new(),
            asked: *read_ahead,
        };
        self.volumes.insert(*volume, new);
        Ok(Some(*size))
    }

    fn delete(&mut self, volume: u8) -> Outcome {
        match self.volumes.get(&volume) {
            Some(it) if it.staged || !it.published.is_empty() => Err(Code::FailedPrecondition),
            _ => {
                self.volumes.remove(&volume);
                Ok(None)
            }
        }
    }

    fn publish(&mut self, volume: u8, node: u8, read_only: bool, block: bool) -> Outcome {
        let it = self.volume(volume)?;
        fits(it, block)?;
        match it.published.get(&node) {
            Some(there) if *there == read_only => Ok(None),
            Some(_) => Err(Code::AlreadyExists),
            None if !it.published.is_empty() => Err(Code::FailedPrecondition),
            None => {
                it.published.insert(node, read_only);
                Ok(None)
            }
        }
    }

    fn node_publish(&mut self, volume: u8, target: u8, read_only: bool, block: bool) -> Outcome {
        let it = self.volume(volume)?;
        fits(it, block)?;
        if !it.staged {
            return Err(Code::FailedPrecondition);
        }
        match it.targets.get(&target) {
            Some(there) if *there == read_only => Ok(None),
            Some(_) => Err(Code::AlreadyExists),
            None => {
                it.targets.insert(target, read_only);
                Ok(None)
            }
        }
    }

    fn snapshot(&mut self, snapshot: u8, volume: u8) -> Outcome {
        if let Some(it) = self.snapshots.get(&snapshot) {
            return if it.source == volume {
                Ok(Some(it.size))
            } else {
                Err(Code::AlreadyExists)
            };
        }
        let Volume { size, block, .. } = *self.volume(volume)?;
        let new = Snapshot {
            source: volume,
            size,
            block,
        };
        self.snapshots.insert(snapshot, new);
        Ok(Some(size))
    }

    fn group(&mut self, group: u8, volumes: &BTreeSet<u8>) -> Outcome {
        if let Some(it) = self.groups.get(&group) {
            return if it == volumes {
                Ok(None)
            } else {
                Err(Code::AlreadyExists)
            };
        }
        if volumes.iter().any(|it| !self.volumes.contains_key(it)) {
            return Err(Code::NotFound);
        }
        self.groups.insert(group, volumes.clone());
        Ok(None)
    }

    /// The part that these objects are.
    pub(crate) fn only(&self, objects: &BTreeSet<Object>) -> Self {
        let mut part = Self::default();
        for object in objects {
            match object {
                Object::Volume(it) => {
                    part.volumes
                        .extend(self.volumes.get(it).map(|found| (*it, found.clone())));
                }
                Object::Snapshot(it) => {
                    part.snapshots
                        .extend(self.snapshots.get(it).map(|found| (*it, found.clone())));
                }
                Object::Group(it) => {
                    part.groups
                        .extend(self.groups.get(it).map(|found| (*it, found.clone())));
                }
            }
        }
        part
    }

    /// The same, but for what cannot be seen from outside.
    pub(crate) fn visible(mut self) -> Self {
        for volume in self.volumes.values_mut() {
            volume.asked = None;
        }
        self
    }
}

fn fits(volume: &Volume, block: bool) -> Result<(), Code> {
    if volume.block == block {
        Ok(())
    } else {
        Err(Code::FailedPrecondition)
    }
}
