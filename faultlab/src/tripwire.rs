//! Programs that must not be started: found out by starting something else in their place, for this thread alone.
#![expect(
    unsafe_code,
    reason = "a mount namespace for one thread has no safe interface"
)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

/// Gives this thread, and those that it starts, mounts of their own: nobody else sees what they mount, and it is gone when
/// the last of them ends.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: the call takes a number, and changes what this thread sees.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// Wires over programs.
pub struct Tripwire(PathBuf);

impl Tripwire {
    /// From now on, who starts one of `programs` in this mount namespace starts a script that notes it and fails.
    /// `directory` holds the script and the notes.
    pub fn over(programs: &[&str], directory: &Path) -> io::Result<Self> {
        let (script, notes) = (directory.join("wire"), directory.join("tripped"));
        let text = format!("#!/bin/sh\necho \"$0 $*\" >>{}\nexit 1\n", notes.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        fs::write(&notes, "")?;
        for program in programs {
            mount_bind(&script, fs::canonicalize(program)?)?;
        }
        Ok(Self(notes))
    }

    /// What was started, one program a line.
    #[must_use]
    pub fn tripped(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }
}
