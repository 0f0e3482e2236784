//! The kubelet's directory: mounts made there must be seen by pods.

use std::path::Path;

use super::DoctorArgs;
use super::finding::{Finding, Level};
use crate::host::linux::mount_table::{self, MountLine};

const CHECK: &str = "kubelet directory";

pub(super) fn check(args: &DoctorArgs) -> Vec<Finding> {
    let path = &args.kubelet_dir;
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            let advice = "name the kubelet's --root-dir with --kubelet-dir; in a container, mount it at the same path";
            return vec![Finding::new(CHECK, Level::Error, found, advice)];
        }
    };
    let table = mount_table::read().unwrap_or_default();
    let mut findings = vec![judge_propagation(
        path,
        mount_table::mount_of(&table, &real),
    )];
    if real != *path {
        let found = format!("{} is a symlink to {}", path.display(), real.display());
        let advice = "name the real directory with --kubelet-dir and as the kubelet's --root-dir";
        findings.push(Finding::new(CHECK, Level::Warning, found, advice));
    }
    let plugins = path.join("plugins_registry");
    findings.push(judge_plugins(&plugins, plugins.is_dir()));
    findings
}

fn judge_propagation(path: &Path, mount: Option<&MountLine>) -> Finding {
    let path = path.display();
    match mount {
        Some(mount) if mount.shared => {
            let found = format!(
                "mounts below {path} are seen by pods (the mount {} is shared)",
                mount.point.display()
            );
            Finding::ok(CHECK, found)
        }
        Some(mount) => {
            let found = format!(
                "mounts below {path} are not seen by pods: the mount {} is not shared",
                mount.point.display()
            );
            let advice = "in a container: mountPropagation: Bidirectional; on the node: mount --make-rshared /";
            Finding::new(CHECK, Level::Error, found, advice)
        }
        None => {
            let found = format!("no mount is known that {path} is on");
            Finding::new(
                CHECK,
                Level::Warning,
                found,
                "run this command where /proc is mounted",
            )
        }
    }
}

fn judge_plugins(path: &Path, is_there: bool) -> Finding {
    if is_there {
        return Finding::ok(CHECK, format!("{} is there", path.display()));
    }
    let found = format!("there is no {}", path.display());
    let advice = "the kubelet makes it when it starts; in a container, mount it at the same path for --registration-dir";
    Finding::new(CHECK, Level::Note, found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_mount_is_seen_by_pods() {
        let table = |optional: &str| {
            let line = format!("29 1 254:1 / /k rw {optional}- ext4 /dev/vda1 rw\n");
            mount_table::parse(&line)
        };
        let level = |table: &[MountLine]| judge_propagation(Path::new("/k"), table.first()).level;
        assert_eq!(level(&table("shared:7 ")), Level::Ok);
        assert_eq!(level(&table("master:7 ")), Level::Error);
        assert_eq!(level(&table("")), Level::Error);
        assert_eq!(level(&[]), Level::Warning);
    }
}
