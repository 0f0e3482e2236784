//! The data directory: whose it is, what its filesystem can do, how full it is, and whether it keeps what it was given.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::DoctorArgs;
use super::finding::{Finding, Level};
use super::trial::Trial;
use crate::backend::file::identity::{FORMAT, NAME as IDENTITY};
use crate::backend::file::layout::VOLUMES;
use crate::host::linux::mount_table::{self, MountLine};

const CHECK: &str = "data directory";
/// Filesystems that are gone after a restart of the machine.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// Filesystems that are shared with other machines; none of them has files without a name and loop devices that work.
const REMOTE: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"];
/// Mount options that let a disk forget what it acknowledged.
const NO_BARRIERS: [&str; 3] = ["nobarrier", "barrier=0", "nobarriers"];
/// Below this share of free inodes there will be no new volumes soon, in percent.
const FEW_INODES: u64 = 5;

/// What was seen of the directory.
struct Seen {
    identity: Identity,
    mount: Option<MountLine>,
    /// It is on the same filesystem as `/`.
    on_root: bool,
    trial: Trial,
    space: Space,
}

/// Whose the directory is.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Ours,
    Newer(u64),
    Unreadable(String),
    Empty,
    /// It holds this, and no identity.
    Foreign(String),
}

/// How full its filesystem is.
#[derive(Debug, Clone, Copy, Default)]
struct Space {
    total: u64,
    available: u64,
    inodes: u64,
    free_inodes: u64,
}

pub(super) fn check(args: &DoctorArgs) -> Vec<Finding> {
    let path = &args.data_dir;
    match look(path) {
        Ok(seen) => judge(path, &seen, args.pool_reserve),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{} does not exist", path.display());
            let advice = "mount a disk there before the driver starts, or let it make the directory on the filesystem above";
            vec![Finding::new(CHECK, Level::Warning, found, advice)]
        }
        Err(error) => {
            let found = format!("{} cannot be looked at: {error}", path.display());
            vec![Finding::new(
                CHECK,
                Level::Error,
                found,
                "run this command as root, on the node or in the node container",
            )]
        }
    }
}

fn look(path: &Path) -> io::Result<Seen> {
    let identity = identity(path)?;
    let table = mount_table::read()?;
    let shown = rustix::fs::statvfs(path)?;
    let root = rustix::fs::stat("/")?.st_dev;
    let names = path.join(VOLUMES);
    let names = (identity == Identity::Ours && names.is_dir()).then_some(names);
    Ok(Seen {
        mount: mount_table::mount_of(&table, &fs::canonicalize(path)?).cloned(),
        on_root: rustix::fs::stat(path)?.st_dev == root,
        trial: Trial::run(path, names),
        space: Space {
            total: shown.f_blocks * shown.f_frsize,
            available: shown.f_bavail * shown.f_frsize,
            inodes: shown.f_files,
            free_inodes: shown.f_favail,
        },
        identity,
    })
}

fn identity(path: &Path) -> io::Result<Identity> {
    match fs::read_to_string(path.join(IDENTITY)) {
        Ok(text) => Ok(read_identity(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let names = fs::read_dir(path)?.flatten().map(|it| it.file_name());
            let foreign = names.map(|it| it.to_string_lossy().into_owned());
            Ok(match foreign.filter(|name| name != "lost+found").min() {
                Some(name) => Identity::Foreign(name),
                None => Identity::Empty,
            })
        }
        Err(error) => Err(error),
    }
}

fn read_identity(text: &str) -> Identity {
    let content: Option<Value> = serde_json::from_str(text).ok();
    match content.and_then(|it| it.get("format")?.as_u64()) {
        Some(format) if format <= FORMAT.into() => Identity::Ours,
        Some(format) => Identity::Newer(format),
        None => Identity::Unreadable("it is damaged".to_owned()),
    }
}

fn judge(path: &Path, seen: &Seen, reserve_percent: u8) -> Vec<Finding> {
    let mut findings = vec![judge_identity(path, &seen.identity)];
    findings.extend(judge_mount(seen.mount.as_ref(), seen.on_root));
    findings.extend(judge_trial(&seen.trial));
    findings.extend(judge_space(seen.space, reserve_percent));
    findings
}

fn judge_identity(path: &Path, identity: &Identity) -> Finding {
    let path = path.display();
    match identity {
        Identity::Ours => Finding::ok(CHECK, format!("{path} is a data directory of the driver")),
        Identity::Empty => Finding::new(
            CHECK,
            Level::Note,
            format!("{path} is empty; the driver makes it its own when it starts"),
            "if it held volumes before, its disk is not mounted: mount it first",
        ),
        Identity::Foreign(name) => Finding::new(
            CHECK,
            Level::Error,
            format!("{path} holds {name:?} and no identity of the driver"),
            "choose an empty directory, or mount the right disk there",
        ),
        Identity::Newer(format) => Finding::new(
            CHECK,
            Level::Error,
            format!("{path} has format {format}, made by a newer driver"),
            "use that version of the driver",
        ),
        Identity::Unreadable(why) => Finding::new(
            CHECK,
            Level::Error,
            format!("the identity of {path}, its file {IDENTITY}, cannot be read: {why}"),
            "restore it from a backup; the volumes beside it are untouched",
        ),
    }
}

fn judge_mount(mount: Option<&MountLine>, on_root: bool) -> Vec<Finding> {
    let Some(mount) = mount else {
        return Vec::new();
    };
    let kind = mount.fs_type.as_str();
    let at = mount.point.display();
    let mut findings = vec![if IN_MEMORY.contains(&kind) {
        let found = format!(
            "its filesystem at {at} is {kind}: every volume is lost when the machine restarts"
        );
        Finding::new(
            CHECK,
            Level::Warning,
            found,
            "use a disk with xfs, btrfs or ext4",
        )
    } else if REMOTE.contains(&kind) {
        let found = format!("its filesystem at {at} is {kind}, shared with other machines");
        Finding::new(
            CHECK,
            Level::Error,
            found,
            "use a disk of this node with xfs, btrfs or ext4",
        )
    } else {
        Finding::ok(CHECK, format!("its filesystem at {at} is {kind}"))
    }];
    let barriers = mount
        .options
        .iter()
        .find(|it| NO_BARRIERS.contains(&it.as_str()));
    if let Some(option) = barriers {
        let found =
            format!("{at} is mounted with {option}: a power cut loses what was acknowledged");
        findings.push(Finding::new(
            CHECK,
            Level::Warning,
            found,
            "mount it without that option",
        ));
    }
    if mount.options.iter().any(|it| it == "ro") {
        let found = format!("{at} is read-only");
        let advice =
            "mount it for writing; if the kernel made it read-only, look at its log (dmesg)";
        findings.push(Finding::new(CHECK, Level::Error, found, advice));
    }
    if on_root {
        let advice =
            "give it a filesystem of its own: full volumes take the space of the whole node";
        findings.push(Finding::new(
            CHECK,
            Level::Note,
            "it is on the filesystem of /",
            advice,
        ));
    }
    findings
}

fn judge_trial(trial: &Trial) -> Vec<Finding> {
    let needed = "use xfs, btrfs or ext4 (or tmpfs of Linux 6.6 or newer)";
    if let Some(why) = &trial.nameless {
        let found = format!("it lacks files without a name (O_TMPFILE): {why}");
        return vec![Finding::new(CHECK, Level::Error, found, needed)];
    }
    let tried = [
        (
            "files without a name (O_TMPFILE)",
            &None,
            Level::Error,
            needed,
        ),
        (
            "names for such files (linkat)",
            &trial.link,
            Level::Error,
            needed,
        ),
        (
            "extended attributes of users",
            &trial.xattr,
            Level::Error,
            needed,
        ),
        (
            "reflinks (FICLONE)",
            &trial.reflink,
            Level::Note,
            "snapshots and clones are copied byte by byte; use xfs (made with reflink=1, the default) or btrfs",
        ),
        (
            "direct IO",
            &trial.direct_io,
            Level::Warning,
            "volumes go through the page cache twice; use a filesystem with direct IO",
        ),
    ];
    tried
        .into_iter()
        .map(|(what, failed, level, advice)| match failed {
            None => Finding::ok(CHECK, format!("it has {what}")),
            Some(why) => Finding::new(CHECK, level, format!("it lacks {what}: {why}"), advice),
        })
        .collect()
}

fn judge_space(space: Space, reserve_percent: u8) -> Vec<Finding> {
    let reserve = space.total / 100 * u64::from(reserve_percent);
    let found = format!(
        "{} MiB free of {} MiB; {} MiB stay free (--pool-reserve {reserve_percent})",
        space.available >> 20,
        space.total >> 20,
        reserve >> 20
    );
    let mut findings = vec![if space.available <= reserve {
        let advice = "delete volumes or snapshots, or enlarge the disk: nothing new can be made";
        Finding::new(CHECK, Level::Error, found, advice)
    } else if space.available < reserve.saturating_mul(2) {
        Finding::new(
            CHECK,
            Level::Warning,
            found,
            "the reserve is near: delete volumes or snapshots, or enlarge the disk",
        )
    } else {
        Finding::ok(CHECK, found)
    }];
    // btrfs has no table of inodes, and shows none.
    if space.inodes > 0 && space.free_inodes < space.inodes / 100 * FEW_INODES {
        let found = format!(
            "only {} of {} inodes are free",
            space.free_inodes, space.inodes
        );
        findings.push(Finding::new(
            CHECK,
            Level::Warning,
            found,
            "remove files that are not the driver's",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|it| it.level).max().unwrap()
    }

    fn mount(kind: &str, options: &[&str]) -> MountLine {
        MountLine {
            device: "254:1".to_owned(),
            root: "/".into(),
            point: "/data".into(),
            shared: false,
            fs_type: kind.to_owned(),
            options: options.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn an_identity_is_judged() {
        let level = |identity| judge_identity(Path::new("/data"), &identity).level;
        assert_eq!(
            level(read_identity(r#"{"format":1,"uuid":"x"}"#)),
            Level::Ok
        );
        assert_eq!(level(read_identity(r#"{"format":2}"#)), Level::Error);
        assert_eq!(level(read_identity("")), Level::Error);
        assert_eq!(level(Identity::Empty), Level::Note);
        assert_eq!(level(Identity::Foreign("photos".to_owned())), Level::Error);
    }

    #[test]
    fn what_forgets_is_not_durable() {
        let level = |mount: MountLine| worst(&judge_mount(Some(&mount), false));
        assert_eq!(level(mount("xfs", &["rw"])), Level::Ok);
        assert_eq!(level(mount("tmpfs", &["rw"])), Level::Warning);
        assert_eq!(level(mount("ext4", &["rw", "nobarrier"])), Level::Warning);
        assert_eq!(level(mount("ext4", &["rw", "barrier=0"])), Level::Warning);
        assert_eq!(level(mount("nfs4", &["rw"])), Level::Error);
        assert_eq!(level(mount("xfs", &["ro"])), Level::Error);
        assert_eq!(
            worst(&judge_mount(Some(&mount("xfs", &[])), true)),
            Level::Note
        );
    }

    #[test]
    fn what_every_volume_needs_is_an_error_and_the_rest_is_not() {
        assert_eq!(worst(&judge_trial(&Trial::default())), Level::Ok);
        let failed = || Some("Operation not supported".to_owned());
        let level = |trial: &Trial| worst(&judge_trial(trial));
        assert_eq!(
            level(&Trial {
                nameless: failed(),
                ..Trial::default()
            }),
            Level::Error
        );
        assert_eq!(
            level(&Trial {
                xattr: failed(),
                ..Trial::default()
            }),
            Level::Error
        );
        assert_eq!(
            level(&Trial {
                link: failed(),
                ..Trial::default()
            }),
            Level::Error
        );
        assert_eq!(
            level(&Trial {
                direct_io: failed(),
                ..Trial::default()
            }),
            Level::Warning
        );
        assert_eq!(
            level(&Trial {
                reflink: failed(),
                ..Trial::default()
            }),
            Level::Note
        );
    }

    #[test]
    fn space_is_compared_with_the_reserve() {
        let level = |available: u64, free_inodes| {
            let space = Space {
                total: 1000 << 20,
                available: available << 20,
                inodes: 1000,
                free_inodes,
            };
            worst(&judge_space(space, 5))
        };
        assert_eq!(level(500, 500), Level::Ok);
        assert_eq!(level(90, 500), Level::Warning);
        assert_eq!(level(50, 500), Level::Error);
        assert_eq!(level(500, 10), Level::Warning);
    }
}
