//! The calls that are played, drawn at random, and the objects that they need.

use std::collections::BTreeSet;

use faultlab::Random;

use crate::reference::{Model, Origin};

pub(crate) const VOLUMES: u8 = 5;
pub(crate) const SNAPSHOTS: u8 = 3;
pub(crate) const GROUPS: u8 = 2;
pub(crate) const NODES: u8 = 2;
pub(crate) const TARGETS: u8 = 3;
const MIB: u64 = 1 << 20;
const SIZES: [u64; 2] = [16 * MIB, 32 * MIB];
const READ_AHEADS: [u32; 2] = [128, 256];

/// What is drawn besides numbers.
trait Draw {
    fn number(&mut self, limit: u8) -> u8;
    fn one_in(&mut self, count: u64) -> bool;
}

impl Draw for Random {
    fn number(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(limit.into())).expect("it is below a u8")
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A call that changes something; objects are told by small numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Create {
        volume: u8,
        size: u64,
        block: bool,
        read_ahead: Option<u32>,
        source: Option<Origin>,
    },
    Delete {
        volume: u8,
    },
    Publish {
        volume: u8,
        node: u8,
        read_only: bool,
        block: bool,
    },
    Unpublish {
        volume: u8,
        node: Option<u8>,
    },
    Stage {
        volume: u8,
        block: bool,
    },
    Unstage {
        volume: u8,
    },
    NodePublish {
        volume: u8,
        target: u8,
        read_only: bool,
        block: bool,
    },
    NodeUnpublish {
        volume: u8,
        target: u8,
    },
    Expand {
        volume: u8,
        size: u64,
    },
    NodeExpand {
        volume: u8,
    },
    Modify {
        volume: u8,
        read_ahead: u32,
    },
    Snapshot {
        snapshot: u8,
        volume: u8,
    },
    DeleteSnapshot {
        snapshot: u8,
    },
    Group {
        group: u8,
        volumes: BTreeSet<u8>,
    },
    DeleteGroup {
        group: u8,
    },
}

impl Call {
    /// Any call; most of them fit what is there.
    pub(crate) fn random(random: &mut Random, model: &Model) -> Self {
        let volume = random.number(VOLUMES);
        let known = model.volumes.get(&volume);
        let block = known.map_or(random.one_in(2), |it| it.block) != random.one_in(12);
        match random.below(20) {
            0..=2 => Self::create(random, volume, block),
            3 => Self::Delete { volume },
            4 | 5 => Self::Publish {
                volume,
                node: u8::from(random.one_in(4)),
                read_only: random.one_in(4),
                block,
            },
            6 => Self::Unpublish {
                volume,
                node: (!random.one_in(3)).then(|| random.number(NODES)),
            },
            7..=9 => Self::Stage { volume, block },
            10 => Self::Unstage { volume },
            11 | 12 => Self::NodePublish {
                volume,
                target: random.number(TARGETS),
                read_only: random.one_in(4),
                block,
            },
            13 | 14 => Self::NodeUnpublish {
                volume,
                target: random.number(TARGETS),
            },
            15 => Self::Expand {
                volume,
                size: *random.choose(&SIZES),
            },
            16 => Self::NodeExpand { volume },
            17 => Self::Modify {
                volume,
                read_ahead: *random.choose(&READ_AHEADS),
            },
            18 => Self::snapshot(random, volume),
            _ => Self::group(random, volume),
        }
    }

    fn create(random: &mut Random, volume: u8, block: bool) -> Self {
        Self::Create {
            volume,
            size: *random.choose(&SIZES),
            block,
            read_ahead: random.one_in(4).then(|| *random.choose(&READ_AHEADS)),
            source: match random.below(6) {
                0 => Some(Origin::Volume(random.number(VOLUMES))),
                1 => Some(Origin::Snapshot(random.number(SNAPSHOTS))),
                _ => None,
            },
        }
    }

    fn snapshot(random: &mut Random, volume: u8) -> Self {
        let snapshot = random.number(SNAPSHOTS);
        if random.one_in(3) {
            return Self::DeleteSnapshot { snapshot };
        }
        Self::Snapshot { snapshot, volume }
    }

    fn group(random: &mut Random, volume: u8) -> Self {
        let group = random.number(GROUPS);
        if random.one_in(3) {
            return Self::DeleteGroup { group };
        }
        let volumes = BTreeSet::from([volume, random.number(VOLUMES)]);
        Self::Group { group, volumes }
    }

    /// Whether the two calls may not run at the same time.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.needs(), other.needs());
        ours.iter().any(|(object, alone)| {
            theirs
                .iter()
                .any(|(it, too)| it == object && (*alone || *too))
        })
    }

    /// The objects that it needs, and whether alone.
    pub(crate) fn needs(&self) -> Vec<(Object, bool)> {
        match self {
            Self::Create { volume, source, .. } => {
                let mut needs = vec![(Object::Volume(*volume), true)];
                needs.extend(source.map(|it| (it.object(), false)));
                needs
            }
            Self::Snapshot { snapshot, volume } => vec![
                (Object::Snapshot(*snapshot), true),
                (Object::Volume(*volume), false),
            ],
            Self::DeleteSnapshot { snapshot } => vec![(Object::Snapshot(*snapshot), true)],
            Self::Group { group, volumes } => {
                let sources = volumes.iter().map(|it| (Object::Volume(*it), false));
                sources.chain([(Object::Group(*group), true)]).collect()
            }
            Self::DeleteGroup { group } => vec![(Object::Group(*group), true)],
            Self::Delete { volume }
            | Self::Publish { volume, .. }
            | Self::Unpublish { volume, .. }
            | Self::Stage { volume, .. }
            | Self::Unstage { volume }
            | Self::NodePublish { volume, .. }
            | Self::NodeUnpublish { volume, .. }
            | Self::Expand { volume, .. }
            | Self::NodeExpand { volume }
            | Self::Modify { volume, .. } => vec![(Object::Volume(*volume), true)],
        }
    }
}

/// Something that calls claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Volume(u8),
    Snapshot(u8),
    Group(u8),
}

impl Origin {
    fn object(self) -> Object {
        match self {
            Self::Volume(it) => Object::Volume(it),
            Self::Snapshot(it) => Object::Snapshot(it),
        }
    }
}
