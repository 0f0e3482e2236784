//! The ledger of targets: a file for each volume, with the places to which it was brought.
//!
//! A place is noted before anything is mounted there, and forgotten after nothing is: so it holds at least what is true.
//! It is not synced: a power cut takes the mounts too. A file that a power cut tore therefore says nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LinuxHostError;
use crate::host::{HostError, Result, Target};
use crate::volume::{TargetPath, VolumeId};

/// How the name of a file ends that is still being written.
const UNFINISHED: &str = ".new";

pub(super) struct Ledger {
    kubelet_dir: PathBuf,
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    read_only: bool,
}

impl Ledger {
    pub(super) fn open(
        kubelet_dir: &Path,
        directory: &Path,
    ) -> std::result::Result<Self, LinuxHostError> {
        fs::create_dir_all(directory).map_err(|source| LinuxHostError::StateDir {
            path: directory.to_owned(),
            source,
        })?;
        remove_unfinished(directory).map_err(|source| LinuxHostError::StateDir {
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self::at(kubelet_dir, directory))
    }

    /// The ledger in `directory`, which is not made.
    pub(super) fn at(kubelet_dir: &Path, directory: &Path) -> Self {
        Self {
            kubelet_dir: kubelet_dir.to_owned(),
            directory: directory.to_owned(),
        }
    }

    pub(super) fn read(&self, id: &VolumeId) -> Result<Vec<Target>> {
        let bytes = match fs::read(self.file(id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read", id, error)),
        };
        let entries: Vec<Entry> = serde_json::from_slice(&bytes).unwrap_or_default();
        let targets = entries.into_iter().filter_map(|entry| {
            // Places below another kubelet's directory cannot be looked at from here.
            let path = TargetPath::parse(&self.kubelet_dir, &entry.path).ok()?;
            let read_only = entry.read_only;
            Some(Target { path, read_only })
        });
        Ok(targets.collect())
    }

    /// The places of all volumes, sorted by volume. A file that cannot be read is that of a volume that is being changed.
    pub(super) fn all(&self) -> Result<Vec<(VolumeId, Target)>> {
        let failed = |error| {
            let action = format!("list the ledger of targets {}", self.directory.display());
            HostError::failed(action, error)
        };
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(id) = name.to_str().and_then(VolumeId::parse) else {
                continue;
            };
            let targets = self.read(&id).unwrap_or_default();
            all.extend(targets.into_iter().map(|target| (id.clone(), target)));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    pub(super) fn note(&self, id: &VolumeId, target: Target) -> Result<()> {
        let mut targets = self.read(id)?;
        if targets.contains(&target) {
            return Ok(());
        }
        targets.retain(|it| it.path != target.path);
        targets.push(target);
        self.write(id, &targets)
    }

    pub(super) fn forget(&self, id: &VolumeId, path: &TargetPath) -> Result<()> {
        let mut targets = self.read(id)?;
        let before = targets.len();
        targets.retain(|it| it.path != *path);
        match targets.len() {
            0 => self.remove(id),
            after if after == before => Ok(()),
            // A full disk must not keep a pod: the ledger then holds more than is true, which whoever reads it finds out.
            _ => match self.write(id, &targets) {
                Err(HostError::Exhausted { .. }) => Ok(()),
                written => written,
            },
        }
    }

    fn write(&self, id: &VolumeId, targets: &[Target]) -> Result<()> {
        let entries: Vec<Entry> = targets
            .iter()
            .map(|it| Entry {
                path: it.path.to_string(),
                read_only: it.read_only,
            })
            .collect();
        let bytes = serde_json::to_vec(&entries)
            .map_err(|error| self.failed("write", id, io::Error::other(error)))?;
        let new = self.directory.join(format!("{id}{UNFINISHED}"));
        let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, self.file(id)));
        written.map_err(|error| {
            // What cannot be removed now is removed at start.
            let _ = fs::remove_file(&new);
            self.failed("write", id, error)
        })
    }

    fn remove(&self, id: &VolumeId) -> Result<()> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", id, error))
            }
            _ => Ok(()),
        }
    }

    fn file(&self, id: &VolumeId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    fn failed(&self, what: &str, id: &VolumeId, error: io::Error) -> HostError {
        let file = self.file(id);
        HostError::failed(
            format!("{what} the ledger of targets {}", file.display()),
            error,
        )
    }
}

/// A crash may have left a file that was being written; its caller may never come again.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
