//! `VolumeCapability`.

use super::fields::{MAX_MAP, optional};
use super::{InvalidRequest, Result};
use crate::csi;
use crate::csi::volume_capability::access_mode::Mode;
use crate::csi::volume_capability::{AccessType as Wire, MountVolume};
use crate::volume::{
    AccessMode, AccessType, Capability, FsType, MountCapability, MountFlags, Shown,
};

/// At least one capability.
pub(in crate::rpc) fn capabilities(list: &[csi::VolumeCapability]) -> Result<Vec<Capability>> {
    if list.is_empty() {
        return Err(InvalidRequest::Missing("volume_capabilities"));
    }
    list.iter().map(one).collect()
}

/// A capability that must be there.
pub(in crate::rpc) fn capability(capability: Option<&csi::VolumeCapability>) -> Result<Capability> {
    let missing = InvalidRequest::Missing("volume_capability");
    capability.ok_or(missing).and_then(one)
}

/// A capability that may be absent.
pub(in crate::rpc) fn optional_capability(
    capability: Option<&csi::VolumeCapability>,
) -> Result<Option<Capability>> {
    capability.map(one).transpose()
}

fn one(capability: &csi::VolumeCapability) -> Result<Capability> {
    let mode = capability.access_mode.as_ref().map(|it| it.mode);
    let access_type = match &capability.access_type {
        None => return Err(InvalidRequest::Missing("volume_capability.access_type")),
        Some(Wire::Block(_)) => AccessType::Block,
        Some(Wire::Mount(volume)) => AccessType::Mount(mount(volume)?),
    };
    Ok(Capability {
        access_mode: access_mode(mode)?,
        access_type,
    })
}

fn access_mode(mode: Option<i32>) -> Result<AccessMode> {
    let number = mode.ok_or(InvalidRequest::Missing("volume_capability.access_mode"))?;
    match Mode::try_from(number) {
        Ok(Mode::SingleNodeWriter) => Ok(AccessMode::SingleNodeWriter),
        Ok(Mode::SingleNodeReaderOnly) => Ok(AccessMode::SingleNodeReaderOnly),
        Ok(Mode::MultiNodeReaderOnly) => Ok(AccessMode::MultiNodeReaderOnly),
        Ok(Mode::MultiNodeSingleWriter) => Ok(AccessMode::MultiNodeSingleWriter),
        Ok(Mode::MultiNodeMultiWriter) => Ok(AccessMode::MultiNodeMultiWriter),
        Ok(Mode::SingleNodeSingleWriter) => Ok(AccessMode::SingleNodeSingleWriter),
        Ok(Mode::SingleNodeMultiWriter) => Ok(AccessMode::SingleNodeMultiWriter),
        Ok(Mode::Unknown) | Err(_) => Err(InvalidRequest::AccessMode(number)),
    }
}

fn mount(volume: &MountVolume) -> Result<MountCapability> {
    if !volume.volume_mount_group.is_empty() {
        return Err(InvalidRequest::MountGroup);
    }
    let bytes = volume.mount_flags.iter().map(String::len).sum();
    if bytes > MAX_MAP {
        return Err(InvalidRequest::TooLong {
            field: "mount_flags",
            bytes,
            limit: MAX_MAP,
        });
    }
    Ok(MountCapability {
        fs_type: fs_type(&volume.fs_type)?,
        flags: MountFlags::new(&volume.mount_flags),
    })
}

fn fs_type(name: &str) -> Result<Option<FsType>> {
    let name = optional("fs_type", name)?;
    if name.is_empty() {
        return Ok(None);
    }
    let known =
        FsType::parse(name).ok_or_else(|| InvalidRequest::FsType(Shown(name).to_string()))?;
    Ok(Some(known))
}
