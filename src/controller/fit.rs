//! Whether capabilities can be met: by any volume of ours, and by one that exists.

use thiserror::Error;

use crate::backend::{NewContents, Traits};
use crate::volume::{
    AccessMode, AccessType, Capability, Contents, FsType, MountOptionError, MountOptions,
};

/// Why capabilities cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// No volume of this storage can be used in this mode.
    #[error(
        "access mode {0:?} is not possible on this storage{1}; use a single-node mode (ReadWriteOnce, ReadWriteOncePod)"
    )]
    Mode(AccessMode, &'static str),
    /// Capabilities that no single volume has.
    #[error("one volume cannot be both {0} and {1}; ask for one of them")]
    Contradiction(String, String),
    /// The volume holds something else.
    #[error("the volume holds {holds}, and cannot be used as {wanted}")]
    Contents {
        /// What the volume holds.
        holds: String,
        /// What was wanted.
        wanted: String,
    },
    /// A mount flag that is not allowed.
    #[error(transparent)]
    MountOption(#[from] MountOptionError),
}

/// What capabilities ask a volume to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Block,
    /// `None`: any filesystem will do.
    Filesystem(Option<FsType>),
}

impl Wanted {
    fn of(access_type: &AccessType) -> Self {
        match access_type {
            AccessType::Block => Self::Block,
            AccessType::Mount(mount) => Self::Filesystem(mount.fs_type),
        }
    }

    /// What meets both, if anything does.
    fn and(self, other: Self) -> Result<Self, Misfit> {
        match (self, other) {
            (Self::Filesystem(None), Self::Filesystem(fs))
            | (Self::Filesystem(fs), Self::Filesystem(None)) => Ok(Self::Filesystem(fs)),
            (one, other) if one == other => Ok(one),
            (one, other) => Err(Misfit::Contradiction(one.describe(), other.describe())),
        }
    }

    /// What to make when there is a choice.
    pub(super) fn or_default(self, default: FsType) -> NewContents {
        match self {
            Self::Block => NewContents::Block,
            Self::Filesystem(fs) => NewContents::Filesystem(fs.unwrap_or(default)),
        }
    }

    /// Whether a volume with `contents` meets it.
    pub(super) fn check(self, contents: &Contents) -> Result<(), Misfit> {
        let met = match (self, contents) {
            (Self::Block, Contents::Block) => true,
            (Self::Filesystem(wanted), Contents::Filesystem { fs, .. }) => {
                wanted.is_none_or(|wanted| wanted == *fs)
            }
            _ => false,
        };
        let misfit = || Misfit::Contents {
            holds: Self::from(contents).describe(),
            wanted: self.describe(),
        };
        met.then_some(()).ok_or_else(misfit)
    }

    fn describe(self) -> String {
        match self {
            Self::Block => "a raw block device".to_owned(),
            Self::Filesystem(Some(fs)) => format!("an {fs} filesystem"),
            Self::Filesystem(None) => "a filesystem".to_owned(),
        }
    }
}

impl From<&Contents> for Wanted {
    fn from(contents: &Contents) -> Self {
        match contents {
            Contents::Block => Self::Block,
            Contents::Filesystem { fs, .. } => Self::Filesystem(Some(*fs)),
        }
    }
}

/// What a volume must hold so that all capabilities can be met on storage with `traits`.
pub(super) fn wanted(capabilities: &[Capability], traits: &Traits) -> Result<Wanted, Misfit> {
    let mut wanted: Option<Wanted> = None;
    for capability in capabilities {
        check_mode(capability, traits)?;
        let this = Wanted::of(&capability.access_type);
        wanted = Some(wanted.map_or(Ok(this), |so_far| so_far.and(this))?);
    }
    Ok(wanted.unwrap_or(Wanted::Filesystem(None)))
}

/// Whether mount flags pass the allow-list of the filesystem `fs`.
pub(super) fn check_flags(capabilities: &[Capability], fs: FsType) -> Result<(), Misfit> {
    for capability in capabilities {
        if let AccessType::Mount(mount) = &capability.access_type {
            MountOptions::parse(fs, &mount.flags)?;
        }
    }
    Ok(())
}

/// Whether a volume with `contents` can be used in all these ways.
pub(super) fn check_all(
    capabilities: &[Capability],
    contents: &Contents,
    traits: &Traits,
) -> Result<(), Misfit> {
    wanted(capabilities, traits)?.check(contents)?;
    match contents {
        Contents::Block => Ok(()),
        Contents::Filesystem { fs, .. } => check_flags(capabilities, *fs),
    }
}

/// Writers on several nodes need storage that several nodes reach, and no filesystem, which would be torn.
fn check_mode(capability: &Capability, traits: &Traits) -> Result<(), Misfit> {
    let mode = capability.access_mode;
    if !mode.is_multi_node() || mode.is_read_only() {
        return Ok(());
    }
    if !traits.multi_node {
        return Err(Misfit::Mode(mode, ", which one node reaches"));
    }
    if !capability.access_type.is_block() {
        return Err(Misfit::Mode(mode, " with a filesystem"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::MountCapability;

    fn block(access_mode: AccessMode) -> Capability {
        Capability {
            access_mode,
            access_type: AccessType::Block,
        }
    }

    fn mount(fs_type: Option<FsType>) -> Capability {
        Capability {
            access_mode: AccessMode::SingleNodeWriter,
            access_type: AccessType::Mount(MountCapability {
                fs_type,
                ..MountCapability::default()
            }),
        }
    }

    #[test]
    fn capabilities_must_agree_on_what_the_volume_holds() {
        let local = Traits::default();
        let any = mount(None);
        let xfs = mount(Some(FsType::Xfs));
        let agreed = wanted(&[any.clone(), xfs.clone(), any.clone()], &local);
        assert_eq!(agreed, Ok(Wanted::Filesystem(Some(FsType::Xfs))));
        for other in [
            block(AccessMode::SingleNodeWriter),
            mount(Some(FsType::Ext4)),
        ] {
            let refused = wanted(&[xfs.clone(), other], &local);
            assert!(matches!(refused, Err(Misfit::Contradiction(..))));
        }
    }

    #[test]
    fn writers_on_several_nodes_need_raw_block_on_shared_storage() {
        let shared = Traits {
            multi_node: true,
            ..Traits::default()
        };
        let mode = AccessMode::MultiNodeMultiWriter;
        let mut filesystem = mount(None);
        filesystem.access_mode = mode;
        assert!(wanted(&[block(mode)], &Traits::default()).is_err());
        assert!(wanted(&[block(mode)], &shared).is_ok());
        assert!(wanted(&[filesystem], &shared).is_err());
    }

    #[test]
    fn an_existing_volume_is_judged_by_what_it_holds() {
        let traits = Traits::default();
        let ext4 = Contents::Filesystem {
            fs: FsType::Ext4,
            uuid: String::new(),
        };
        assert!(check_all(&[mount(None)], &ext4, &traits).is_ok());
        assert!(check_all(&[mount(Some(FsType::Xfs))], &ext4, &traits).is_err());
        assert!(check_all(&[block(AccessMode::SingleNodeWriter)], &ext4, &traits).is_err());
    }
}
