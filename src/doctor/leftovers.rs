//! What something left behind: devices of ours that nobody uses, targets that are no mounts any more, files half written.
//!
//! Devices are not opened: closing one again could free it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::DoctorArgs;
use super::finding::{Finding, Level};
use crate::backend::file::layout::{GROUPS, SNAPSHOTS, VOLUMES};
use crate::host::linux::loop_table::{self, Backing};
use crate::host::linux::mount_table::{self, MountLine};
use crate::host::linux::{LinuxHost, NotedTarget, STATE_DIR};
use crate::volume::{GroupSnapshotId, SnapshotId, VolumeId};

const CHECK: &str = "leftovers";
/// How many of a kind are named.
const NAMED: usize = 20;

/// What was seen.
struct Seen {
    /// Devices with a file of ours behind them.
    devices: Vec<Backing>,
    mounts: Vec<MountLine>,
    noted: Vec<NotedTarget>,
    /// Files in our directories whose names are none of ours.
    strangers: Vec<String>,
}

pub(super) async fn check(args: &DoctorArgs) -> Vec<Finding> {
    if !args.data_dir.join(VOLUMES).is_dir() {
        return vec![Finding::ok(CHECK, "no volumes yet, so nothing can be left")];
    }
    let noted = match LinuxHost::looking(&args.kubelet_dir, &args.data_dir.join(STATE_DIR)) {
        Ok(host) => host.noted_targets().await,
        Err(_) => Vec::new(),
    };
    judge(&Seen {
        devices: devices(&args.data_dir),
        mounts: mount_table::read().unwrap_or_default(),
        noted,
        strangers: strangers(&args.data_dir),
    })
}

/// Volumes that are behind loop devices: the kernel may show their paths as another container saw them, so the names of the files decide.
fn devices(data_dir: &Path) -> Vec<Backing> {
    let mut devices = loop_table::backing_files().unwrap_or_default();
    devices.retain(|it| {
        let known =
            volume_of(it).is_some_and(|id| data_dir.join(VOLUMES).join(id.as_str()).exists());
        known || it.path.starts_with(data_dir)
    });
    devices
}

fn volume_of(backing: &Backing) -> Option<VolumeId> {
    VolumeId::parse(backing.path.file_name()?.to_str()?)
}

/// Whether a name is one that the driver gives.
type IsOurs = fn(&str) -> bool;

fn strangers(data_dir: &Path) -> Vec<String> {
    let directories: [(&str, IsOurs); 4] = [
        (VOLUMES, |name| VolumeId::parse(name).is_some()),
        (SNAPSHOTS, |name| SnapshotId::parse(name).is_some()),
        (GROUPS, |name| GroupSnapshotId::parse(name).is_some()),
        (STATE_DIR, |name| VolumeId::parse(name).is_some()),
    ];
    let mut strangers = Vec::new();
    for (directory, is_ours) in directories {
        let entries = fs::read_dir(data_dir.join(directory))
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
        strangers.extend(
            names
                .filter(|it| !is_ours(it))
                .map(|it| format!("{directory}/{it}")),
        );
    }
    strangers.sort();
    strangers
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let used: HashSet<&VolumeId> = seen
        .noted
        .iter()
        .filter(|it| it.mounted)
        .map(|it| &it.id)
        .collect();
    let mut findings = Vec::new();
    for backing in &seen.devices {
        findings.extend(judge_device(backing, &seen.mounts, &used));
    }
    for NotedTarget { id, path, mounted } in &seen.noted {
        if !mounted {
            let found = format!("volume {id} was published at {path}, which is no mount point now");
            let advice = "after a restart of the node this is normal until the kubelet has unpublished it; otherwise somebody unmounted it: delete the pod";
            findings.push(Finding::new(CHECK, Level::Warning, found, advice));
        }
    }
    for name in &seen.strangers {
        let found = format!("{name} in the data directory is none of the driver's files");
        let advice = if Path::new(name).extension().is_some_and(|it| it == "new") {
            "a change of that file was cut short; it is written anew with the next one. Remove it while the driver is stopped"
        } else {
            "move it elsewhere if it is not needed there"
        };
        findings.push(Finding::new(CHECK, Level::Note, found, advice));
    }
    let more = findings.len().saturating_sub(NAMED);
    findings.truncate(NAMED);
    if more > 0 {
        findings.push(Finding::new(
            CHECK,
            Level::Warning,
            format!("and {more} more"),
            "",
        ));
    }
    if findings.is_empty() {
        let found = format!(
            "nothing is left behind; {} devices of volumes are in use",
            seen.devices.len()
        );
        findings.push(Finding::ok(CHECK, found));
    }
    findings
}

/// Something is wrong with a device when its file is gone, or when nothing is mounted from it.
fn judge_device(
    backing: &Backing,
    mounts: &[MountLine],
    used: &HashSet<&VolumeId>,
) -> Option<Finding> {
    let Backing {
        device,
        path,
        deleted,
    } = backing;
    let path = path.display();
    if *deleted {
        let found =
            format!("/dev/{device} holds {path}, which was deleted: its space is not given back");
        let advice = format!(
            "find who uses it (lsblk /dev/{device}; lsof /dev/{device}), then losetup -d /dev/{device}"
        );
        return Some(Finding::new(CHECK, Level::Warning, found, advice));
    }
    let minor = device.strip_prefix("loop").unwrap_or_default();
    let node = Path::new("/").join(device);
    // A filesystem shows the device's number; a raw volume shows its node in /dev, bound elsewhere.
    let is_mounted = mounts
        .iter()
        .any(|it| it.device == format!("7:{minor}") || it.root == node);
    let is_published = volume_of(backing).is_some_and(|id| used.contains(&id));
    if is_mounted || is_published {
        return None;
    }
    let found = format!("/dev/{device} holds {path}, and nothing is mounted from it here");
    let advice = format!(
        "if it stays so for minutes and no pod uses the volume: losetup -d /dev/{device}. In a container, mounts of other containers are not seen"
    );
    Some(Finding::new(CHECK, Level::Warning, found, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "v1-00000000000000000000000000000001";

    fn seen() -> Seen {
        Seen {
            devices: Vec::new(),
            mounts: Vec::new(),
            noted: Vec::new(),
            strangers: Vec::new(),
        }
    }

    fn device(deleted: bool) -> Backing {
        Backing {
            device: "loop3".to_owned(),
            path: format!("/data/volumes/{ID}").into(),
            deleted,
        }
    }

    fn noted(mounted: bool) -> NotedTarget {
        let id = VolumeId::parse(ID).unwrap();
        let path = "/k/pods/x/mount".to_owned();
        NotedTarget { id, path, mounted }
    }

    fn worst(seen: &Seen) -> Level {
        judge(seen).iter().map(|it| it.level).max().unwrap()
    }

    #[test]
    fn a_device_that_is_mounted_is_no_leftover() {
        let mounts = mount_table::parse(
            "1 0 7:3 / /k/a rw - ext4 /dev/loop3 rw\n2 0 0:6 /loop4 /k/b rw - devtmpfs dev rw\n",
        );
        let raw = Backing {
            device: "loop4".to_owned(),
            ..device(false)
        };
        let good = Seen {
            devices: vec![device(false), raw],
            mounts,
            ..seen()
        };
        assert_eq!(worst(&good), Level::Ok);
        let published = Seen {
            devices: vec![device(false)],
            noted: vec![noted(true)],
            ..seen()
        };
        assert_eq!(worst(&published), Level::Ok);
    }

    #[test]
    fn leftovers_are_named() {
        let unused = Seen {
            devices: vec![device(false)],
            ..seen()
        };
        assert_eq!(worst(&unused), Level::Warning);
        assert!(judge(&unused)[0].found.contains("/dev/loop3"));
        let deleted = Seen {
            devices: vec![device(true)],
            noted: vec![noted(true)],
            ..seen()
        };
        assert_eq!(worst(&deleted), Level::Warning);
        let stale = Seen {
            noted: vec![noted(false)],
            ..seen()
        };
        assert_eq!(worst(&stale), Level::Warning);
        let strange = Seen {
            strangers: vec![format!("node/{ID}.new")],
            ..seen()
        };
        assert_eq!(worst(&strange), Level::Note);
        assert_eq!(worst(&seen()), Level::Ok);
    }

    #[test]
    fn a_long_list_is_cut() {
        let many = Seen {
            strangers: (0..30).map(|it| format!("volumes/{it}")).collect(),
            ..seen()
        };
        let findings = judge(&many);
        assert_eq!(findings.len(), NAMED + 1);
        assert_eq!(findings[NAMED].found, "and 10 more");
    }
}
