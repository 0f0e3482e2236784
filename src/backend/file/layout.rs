//! The directories, by handle. Names in them are ids of ours, and nothing is looked up through a symlink.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, fsync, linkat, mkdirat, openat, openat2,
    unlinkat,
};
use rustix::io::Errno;

/// A directory of ours.
pub(super) struct Directory(OwnedFd);

/// All of them.
pub(super) struct Layout {
    pub(super) root: Directory,
    pub(super) volumes: Directory,
    pub(super) snapshots: Directory,
    pub(super) groups: Directory,
    pub(super) nodes: Directory,
}

/// The directory of volumes below the data directory.
pub(crate) const VOLUMES: &str = "volumes";
/// That of snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// That of group snapshots.
pub(crate) const GROUPS: &str = "groups";

/// Whether a new file got its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linked {
    Yes,
    /// Somebody else was first.
    Exists,
}

impl Layout {
    /// Opens the directories below `root`, and makes those that are missing.
    pub(super) fn open(root: Directory) -> io::Result<Self> {
        let layout = Self {
            volumes: root.subdirectory(VOLUMES)?,
            snapshots: root.subdirectory(SNAPSHOTS)?,
            groups: root.subdirectory(GROUPS)?,
            nodes: root.subdirectory("nodes")?,
            root,
        };
        layout.root.sync()?;
        Ok(layout)
    }
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    fn subdirectory(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// An existing file.
    pub(super) fn file(&self, name: &str, writable: bool) -> io::Result<File> {
        let access = if writable {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = File::from(openat2(&self.0, name, flags, Mode::empty(), resolve)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{name} is no regular file")));
        }
        Ok(file)
    }

    /// A new file without a name, which vanishes unless it gets one.
    pub(super) fn nameless(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(File::from(openat(
            &self.0,
            ".",
            flags,
            Mode::from_raw_mode(0o600),
        )?))
    }

    /// Syncs a nameless file, gives it its name, and syncs the directory: after that it survives everything.
    pub(super) fn link(&self, file: &File, name: &str) -> io::Result<Linked> {
        let linked = self.link_unsynced(file, name)?;
        let synced = self.sync();
        if synced.is_err() && linked == Linked::Yes {
            // Its caller is told that it failed, and may never ask for it again: it must not seem to exist.
            let _ = unlinkat(&self.0, name, AtFlags::empty());
        }
        synced.map(|()| linked)
    }

    /// As [`Self::link`], for several files that share one sync of the directory.
    pub(super) fn link_unsynced(&self, file: &File, name: &str) -> io::Result<Linked> {
        fsync(file)?;
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        match linkat(CWD, source, &self.0, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(Linked::Yes),
            Err(Errno::EXIST) => Ok(Linked::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name, durably; absent is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.remove_unsynced(name)?;
        self.sync()
    }

    fn remove_unsynced(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a nameless file in place of what may have its name.
    pub(super) fn replace(&self, file: &File, name: &str) -> io::Result<()> {
        let new = format!("{name}.new");
        // What an earlier attempt left; should a power cut bring it back, the next one removes it again.
        self.remove_unsynced(&new)?;
        self.link_unsynced(file, &new)?;
        rustix::fs::renameat(&self.0, &new, &self.0, name)?;
        self.sync()
    }

    /// All names.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }

    /// What `statvfs` shows of the filesystem.
    pub(super) fn statvfs(&self) -> io::Result<rustix::fs::StatVfs> {
        Ok(rustix::fs::fstatvfs(&self.0)?)
    }
}
