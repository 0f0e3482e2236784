//! A host that pretends: mounts are entries of a table, devices are what a backend says.
//!
//! Directories and files at the paths are real, because callers look at them; so it needs no root and leaves behind
//! only what it was not asked to remove.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Host, HostError, Mount, Probed, Result, Spot, Target, Usage};
use crate::volume::{Bytes, Device, DeviceNumber, FsType, MountOptions, TargetPath, VolumeId};

/// See the module's documentation.
#[derive(Default)]
pub struct FakeHost(Mutex<State>);

#[derive(Default)]
struct State {
    mounts: HashMap<PathBuf, Vec<Mount>>,
    filesystems: HashMap<DeviceNumber, Bytes>,
    targets: HashMap<VolumeId, Vec<Target>>,
}

impl FakeHost {
    /// A host without mounts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, path: &TargetPath, mount: Mount) {
        let mut state = self.lock();
        state
            .mounts
            .entry(path.to_path_buf())
            .or_default()
            .push(mount);
    }
}

#[async_trait]
impl Host for FakeHost {
    async fn look(&self, path: &TargetPath) -> Result<Spot> {
        let path = path.to_path_buf();
        if let Some(mount) = self.lock().mounts.get(&path).and_then(|it| it.last()) {
            return Ok(Spot::Mount(*mount));
        }
        match fs::symlink_metadata(&path) {
            Ok(it) if it.is_dir() => Ok(Spot::Directory),
            Ok(_) => Ok(Spot::File),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Spot::Absent),
            Err(error) => Err(HostError::failed(
                format!("look at {}", path.display()),
                error,
            )),
        }
    }

    async fn make_directory(&self, path: &TargetPath) -> Result<()> {
        match fs::create_dir(path.to_path_buf()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(HostError::failed(format!("make directory {path}"), error))
            }
            _ => Ok(()),
        }
    }

    async fn remove(&self, path: &TargetPath) -> Result<()> {
        let file = path.to_path_buf();
        let removed = if file.is_dir() {
            fs::remove_dir(&file)
        } else {
            fs::remove_file(&file)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(HostError::failed(format!("remove {path}"), error))
            }
            _ => Ok(()),
        }
    }

    /// The backend knows what its volumes hold; there are no bytes that could contradict it.
    async fn probe(&self, _: &Device) -> Result<Probed> {
        Ok(Probed::Pretended)
    }

    async fn mount(
        &self,
        device: &Device,
        _: FsType,
        options: &MountOptions,
        path: &TargetPath,
    ) -> Result<()> {
        self.lock()
            .filesystems
            .entry(device.number)
            .or_insert(device.size);
        self.add(
            path,
            Mount {
                device: Some(device.number),
                block: false,
                read_only: options.read_only,
                no_exec: options.no_exec,
                no_atime: options.no_atime,
            },
        );
        Ok(())
    }

    async fn bind(&self, from: &TargetPath, to: &TargetPath, read_only: bool) -> Result<()> {
        let mounts = self.lock().mounts.get(&from.to_path_buf()).cloned();
        let Some(mount) = mounts.unwrap_or_default().pop() else {
            return Err(HostError::NoSuchPath(from.clone()));
        };
        let read_only = mount.read_only || read_only;
        self.add(to, Mount { read_only, ..mount });
        Ok(())
    }

    async fn bind_device(&self, device: &Device, to: &TargetPath, read_only: bool) -> Result<()> {
        fs::write(to.to_path_buf(), "")
            .map_err(|error| HostError::failed(format!("make file {to}"), error))?;
        self.add(
            to,
            Mount {
                device: Some(device.number),
                block: true,
                read_only,
                no_exec: false,
                no_atime: false,
            },
        );
        Ok(())
    }

    async fn unmount(&self, path: &TargetPath) -> Result<()> {
        let mut state = self.lock();
        let path = path.to_path_buf();
        if let Some(mounts) = state.mounts.get_mut(&path) {
            mounts.pop();
            if mounts.is_empty() {
                state.mounts.remove(&path);
            }
        }
        Ok(())
    }

    async fn is_free(&self, device: &Device) -> Result<bool> {
        let state = self.lock();
        let mut mounts = state.mounts.values().flatten();
        Ok(!mounts.any(|it| it.device == Some(device.number)))
    }

    async fn usage(&self, path: &TargetPath) -> Result<(Usage, Option<Usage>)> {
        let state = self.lock();
        let mount = state
            .mounts
            .get(&path.to_path_buf())
            .and_then(|it| it.last());
        let device = mount.and_then(|it| it.device);
        let size = device.and_then(|it| state.filesystems.get(&it)).copied();
        let empty = |total| Usage {
            total,
            used: 0,
            available: total,
        };
        let bytes = empty(size.unwrap_or_default().0);
        Ok((bytes, Some(empty(bytes.total / 16384))))
    }

    async fn grow(&self, device: &Device, _: FsType, _: &TargetPath) -> Result<()> {
        self.lock().filesystems.insert(device.number, device.size);
        Ok(())
    }

    async fn error_count(&self, _: &Device, _: FsType) -> Result<u64> {
        Ok(0)
    }

    async fn targets(&self, id: &VolumeId) -> Result<Vec<Target>> {
        Ok(self.lock().targets.get(id).cloned().unwrap_or_default())
    }

    async fn note_target(&self, id: &VolumeId, target: &Target) -> Result<()> {
        let mut state = self.lock();
        let targets = state.targets.entry(id.clone()).or_default();
        targets.retain(|it| it.path != target.path);
        targets.push(target.clone());
        Ok(())
    }

    async fn forget_target(&self, id: &VolumeId, path: &TargetPath) -> Result<()> {
        let mut state = self.lock();
        if let Some(targets) = state.targets.get_mut(id) {
            targets.retain(|it| it.path != *path);
        }
        Ok(())
    }
}
