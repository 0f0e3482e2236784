//! What stands at a path, seen from one volume.

use super::NodePlugin;
use crate::host::{HostError, Mount, Spot};
use crate::volume::{Device, TargetPath, VolumeId};

/// How many mounts of one volume may lie on one another. Each crash while mounting leaves one at most.
const MAX_STACKED: usize = 64;

/// What stands at a path, seen from one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Absent,
    /// A directory that is no mount point.
    Directory,
    /// Something else that is no mount point.
    File,
    /// The volume.
    Ours(Mount),
    /// A dead mount that the ledger knows as the volume's.
    OursBroken(String),
    /// A mount of something else, described for people.
    Foreign(String),
}

impl NodePlugin {
    /// Looks at `path`; `device` is what the volume is on this node, if it is attached.
    pub(super) async fn observe(
        &self,
        id: &VolumeId,
        device: Option<&Device>,
        path: &TargetPath,
    ) -> Result<Place, HostError> {
        let spot = self.host.look(path).await?;
        let place = match spot {
            Spot::Absent => Place::Absent,
            Spot::Directory => Place::Directory,
            Spot::File => Place::File,
            Spot::Mount(mount) if is_of(&mount, device) => Place::Ours(mount),
            Spot::Mount(mount) => match mount.device {
                Some(number) => Place::Foreign(format!("device {number}")),
                None => Place::Foreign("a mount without a device".to_owned()),
            },
            Spot::Broken(how) => {
                let targets = self.host.targets(id).await?;
                if targets.iter().any(|it| it.path == *path) {
                    Place::OursBroken(how)
                } else {
                    Place::Foreign(format!("a dead mount ({how})"))
                }
            }
        };
        Ok(place)
    }

    /// Unmounts everything of the volume at `path`, also when a crash made it mount twice; what is there then.
    pub(super) async fn clear(
        &self,
        id: &VolumeId,
        device: Option<&Device>,
        path: &TargetPath,
    ) -> Result<Place, HostError> {
        for _ in 0..MAX_STACKED {
            let place = self.observe(id, device, path).await?;
            match place {
                Place::Ours(_) | Place::OursBroken(_) => self.host.unmount(path).await?,
                _ => return Ok(place),
            }
        }
        // What cannot be looked at seems dead, also where nothing is mounted any more.
        let action = format!("clear {path}: there is still something after {MAX_STACKED} unmounts");
        Err(HostError::failed(
            action,
            "the kubelet's directory may have errors itself",
        ))
    }

    /// The ledger's targets where the volume still is, but for `except`.
    pub(super) async fn live_targets(
        &self,
        id: &VolumeId,
        device: Option<&Device>,
        except: &TargetPath,
    ) -> Result<Vec<TargetPath>, HostError> {
        let mut live = Vec::new();
        for target in self.host.targets(id).await? {
            if target.path == *except {
                continue;
            }
            match self.observe(id, device, &target.path).await {
                Ok(Place::Ours(_) | Place::OursBroken(_)) => live.push(target.path),
                Ok(_) | Err(HostError::UnsafePath(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(live)
    }
}

fn is_of(mount: &Mount, device: Option<&Device>) -> bool {
    mount.device.is_some() && mount.device == device.map(|it| it.number)
}
