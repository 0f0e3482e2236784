//! The tools that make, check and grow filesystems. That a tool is known here lets nobody use it: `mkfs` does.

use super::command::Tool;
use crate::volume::FsType;

const E2FSPROGS: &str = "e2fsprogs";
pub(super) const MKFS_EXT4: Tool = Tool {
    name: "mkfs.ext4",
    package: E2FSPROGS,
};
pub(super) const E2FSCK: Tool = Tool {
    name: "e2fsck",
    package: E2FSPROGS,
};
pub(super) const RESIZE2FS: Tool = Tool {
    name: "resize2fs",
    package: E2FSPROGS,
};
pub(super) const MKFS_XFS: Tool = Tool {
    name: "mkfs.xfs",
    package: "xfsprogs",
};
pub(super) const MKFS_BTRFS: Tool = Tool {
    name: "mkfs.btrfs",
    package: "btrfs-progs",
};

/// All of them, with the filesystem that each is for, and the argument that makes it say its version.
pub(crate) const TOOLS: [(FsType, Tool, &str); 5] = [
    (FsType::Ext4, MKFS_EXT4, "-V"),
    (FsType::Ext4, E2FSCK, "-V"),
    // It has no such argument, and says its version before it complains.
    (FsType::Ext4, RESIZE2FS, "-h"),
    (FsType::Xfs, MKFS_XFS, "-V"),
    (FsType::Btrfs, MKFS_BTRFS, "--version"),
];
