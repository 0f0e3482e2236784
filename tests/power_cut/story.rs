//! What was asked of the driver and what it acknowledged, and what must therefore be there after a power cut.

use std::collections::BTreeMap;

use faultlab::Random;
use offshoot::csi;

use super::machine::calls::capability;

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Ext4,
    Xfs,
}

impl Kind {
    /// The size of a new volume, in bytes.
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Block => 4 << 20,
            Self::Ext4 => 32 << 20,
            Self::Xfs => 320 << 20,
        }
    }
}

impl Kind {
    /// What a workload asks for.
    pub(crate) fn capability(self) -> csi::VolumeCapability {
        capability(match self {
            Self::Block => None,
            Self::Ext4 => Some("ext4"),
            Self::Xfs => Some("xfs"),
        })
    }
}

/// Something that the driver or a workload is asked to do. Names are the CO's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Create {
        name: String,
        kind: Kind,
        thick: bool,
    },
    CloneVolume {
        name: String,
        of: String,
    },
    Restore {
        name: String,
        of: String,
    },
    DeleteVolume(String),
    Snapshot {
        name: String,
        of: String,
    },
    DeleteSnapshot(String),
    Group {
        name: String,
        of: Vec<String>,
    },
    DeleteGroup(String),
    Expand(String),
    Modify {
        name: String,
        kib: u32,
    },
    Publish(String),
    Unpublish(String),
    /// A workload writes and syncs.
    Write {
        name: String,
        token: u64,
    },
}

/// A change, and where in the disk's log it began and was acknowledged.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    pub(crate) began: usize,
    pub(crate) done: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) thick: bool,
    pub(crate) kib: Option<u32>,
    pub(crate) published: bool,
    pub(crate) tokens: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) of: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) tokens: Vec<u64>,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) groups: BTreeMap<String, BTreeMap<String, Snapshot>>,
}

impl State {
    /// The state after a change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Create { name, kind, thick } => {
                let volume = Volume {
                    kind,
                    size: kind.size(),
                    thick,
                    kib: None,
                    published: false,
                    tokens: Vec::new(),
                };
                self.volumes.insert(name, volume);
            }
            Change::CloneVolume { name, of } => {
                let source = self.cut(&of);
                self.volumes.insert(name, restored(source));
            }
            Change::Restore { name, of } => {
                let source = self.snapshots[&of].clone();
                self.volumes.insert(name, restored(source));
            }
            Change::DeleteVolume(name) => {
                self.volumes.remove(&name);
            }
            Change::Snapshot { name, of } => {
                let snapshot = self.cut(&of);
                self.snapshots.insert(name, snapshot);
            }
            Change::DeleteSnapshot(name) => {
                self.snapshots.remove(&name);
            }
            Change::Group { name, of } => {
                let members = of.iter().map(|it| (it.clone(), self.cut(it)));
                let members = members.collect();
                self.groups.insert(name, members);
            }
            Change::DeleteGroup(name) => {
                self.groups.remove(&name);
            }
            Change::Expand(name) => self.volume(&name).size += 4 << 20,
            Change::Modify { name, kib } => self.volume(&name).kib = Some(kib),
            Change::Publish(name) => self.volume(&name).published = true,
            Change::Unpublish(name) => self.volume(&name).published = false,
            Change::Write { name, token } => self.volume(&name).tokens.push(token),
        }
    }

    fn volume(&mut self, name: &str) -> &mut Volume {
        self.volumes.get_mut(name).expect("it is there")
    }

    fn cut(&self, of: &str) -> Snapshot {
        let source = &self.volumes[of];
        Snapshot {
            of: of.to_owned(),
            kind: source.kind,
            size: source.size,
            tokens: source.tokens.clone(),
        }
    }

    /// A change that can be made now; `number` makes its names unique.
    pub(crate) fn choose(&self, random: &mut Random, number: u64) -> Change {
        loop {
            if let Some(change) = self.try_change(random, number) {
                return change;
            }
        }
    }

    fn try_change(&self, random: &mut Random, number: u64) -> Option<Change> {
        let volumes: Vec<&String> = self.volumes.keys().collect();
        let published = |wanted| {
            let all = self.volumes.iter();
            let found = all.filter(move |(_, it)| it.published == wanted);
            found.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let pick = |random: &mut Random, from: &[String]| {
            (!from.is_empty()).then(|| random.choose(from).clone())
        };
        let any =
            |random: &mut Random| (!volumes.is_empty()).then(|| (*random.choose(&volumes)).clone());
        let room = volumes.len() < 7;
        let name = format!("v{number}");
        let snapshots: Vec<String> = self.snapshots.keys().cloned().collect();
        let groups: Vec<String> = self.groups.keys().cloned().collect();
        match random.below(26) {
            0..4 if room => Some(Change::Create {
                name,
                kind: self.new_kind(random),
                thick: random.below(3) == 0,
            }),
            4 if room => any(random).map(|of| Change::CloneVolume { name, of }),
            5 if room => pick(random, &snapshots).map(|of| Change::Restore { name, of }),
            6..8 => pick(random, &published(false)).map(Change::DeleteVolume),
            8..11 if snapshots.len() < 5 => any(random).map(|of| Change::Snapshot {
                name: format!("s{number}"),
                of,
            }),
            11 => pick(random, &snapshots).map(Change::DeleteSnapshot),
            12 if groups.len() < 2 => any(random).map(|first| Change::Group {
                name: format!("g{number}"),
                of: volumes
                    .iter()
                    .map(|it| (*it).clone())
                    .filter(|it| *it >= first)
                    .take(2)
                    .collect(),
            }),
            13 => pick(random, &groups).map(Change::DeleteGroup),
            14 => any(random).map(Change::Expand),
            15 => any(random).map(|name| Change::Modify {
                name,
                kib: u32::try_from(number).unwrap_or(0) * 4,
            }),
            16..19 => pick(random, &published(false)).map(Change::Publish),
            19 => pick(random, &published(true)).map(Change::Unpublish),
            20.. => pick(random, &published(true)).map(|name| Change::Write {
                name,
                token: number,
            }),
            _ => None,
        }
    }

    /// XFS volumes are large; one is enough.
    fn new_kind(&self, random: &mut Random) -> Kind {
        let has_xfs = self.volumes.values().any(|it| it.kind == Kind::Xfs);
        match random.below(6) {
            0..3 => Kind::Ext4,
            3 if !has_xfs => Kind::Xfs,
            _ => Kind::Block,
        }
    }
}

/// A volume made from a snapshot. Copies are thin.
fn restored(source: Snapshot) -> Volume {
    Volume {
        kind: source.kind,
        size: source.size,
        thick: false,
        kib: None,
        published: false,
        tokens: source.tokens,
    }
}

/// What must be there after a cut, and the change that may have been made or not.
pub(crate) fn expected(events: &[Event], cut: usize) -> (State, Option<&Change>) {
    let mut state = State::default();
    for event in events {
        if event.done > cut {
            return (state, (event.began <= cut).then_some(&event.change));
        }
        state.apply(&event.change);
    }
    (state, None)
}

/// The bytes that a token stands for.
pub(crate) fn bytes(token: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    Random::new(token).fill(&mut bytes);
    bytes
}
