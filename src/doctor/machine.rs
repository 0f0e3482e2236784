//! The kernel, its devices and filesystems, the tools, and what this process may do.

use std::fs;
use std::path::{Path, PathBuf};

use super::DoctorArgs;
use super::finding::{Finding, Level};
use crate::host::linux::command::{CommandError, Tool};
use crate::host::linux::{capability, loop_table, tools};
use crate::volume::FsType;

/// The oldest kernel with the system calls that the driver cannot do without (`mount_setattr`).
const OLDEST: (u32, u32) = (5, 12);
const FILESYSTEMS: [FsType; 3] = [FsType::Ext4, FsType::Xfs, FsType::Btrfs];

/// The kernel's version.
pub(super) fn kernel(_: &DoctorArgs) -> Vec<Finding> {
    let name = rustix::system::uname();
    vec![judge_kernel(&name.release().to_string_lossy())]
}

fn judge_kernel(release: &str) -> Finding {
    let found = format!("Linux {release}");
    let mut numbers = release
        .split(['.', '-', '+'])
        .map_while(|it| it.parse().ok());
    match numbers.next().zip(numbers.next()) {
        Some(version) if version >= OLDEST => Finding::ok("kernel", found),
        Some(_) => {
            let advice = format!("Linux {}.{} or newer is needed", OLDEST.0, OLDEST.1);
            Finding::new("kernel", Level::Error, found, advice)
        }
        None => Finding::new(
            "kernel",
            Level::Note,
            found,
            "its version is not understood",
        ),
    }
}

/// What this process may do; the driver's container should be given the same.
pub(super) fn capabilities(_: &DoctorArgs) -> Vec<Finding> {
    judge_capabilities(
        capability::has(capability::SYS_ADMIN),
        capability::has(capability::SYS_RESOURCE),
    )
}

fn judge_capabilities(admin: bool, resource: bool) -> Vec<Finding> {
    let check = "capabilities";
    let admin = if admin {
        Finding::ok(check, "CAP_SYS_ADMIN: mounts and loop devices")
    } else {
        let advice = "run the node container privileged (or this command as root)";
        Finding::new(
            check,
            Level::Error,
            "no CAP_SYS_ADMIN: neither mounts nor loop devices",
            advice,
        )
    };
    let resource = if resource {
        Finding::ok(check, "CAP_SYS_RESOURCE: mounted ext4 can grow")
    } else {
        let advice = "give it to the node container, or use xfs or btrfs for volumes that grow while they are mounted";
        Finding::new(
            check,
            Level::Warning,
            "no CAP_SYS_RESOURCE: a mounted ext4 cannot grow",
            advice,
        )
    };
    vec![admin, resource]
}

/// What was seen of loop devices.
#[derive(Debug, Default)]
struct Loops {
    /// Why `/dev/loop-control` cannot be opened.
    no_control: Option<String>,
    /// Devices that the kernel has.
    all: usize,
    /// Those with something behind them.
    used: usize,
    /// Those without a node in `/dev`.
    without_node: Vec<String>,
}

/// `/dev/loop-control`, and the devices that there are. None is opened: that alone could free one.
pub(super) fn loop_devices(_: &DoctorArgs) -> Vec<Finding> {
    let control = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control");
    let names = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("loop"))
        .collect();
    let has_node = |name: &String| Path::new("/dev").join(name).exists();
    judge_loops(&Loops {
        no_control: control.err().map(|error| error.to_string()),
        all: names.len(),
        used: loop_table::backing_files().map_or(0, |it| it.len()),
        without_node: names.into_iter().filter(|name| !has_node(name)).collect(),
    })
}

fn judge_loops(seen: &Loops) -> Vec<Finding> {
    let check = "loop devices";
    let mut findings = Vec::new();
    if let Some(why) = &seen.no_control {
        let found = format!("/dev/loop-control cannot be opened ({why})");
        let advice = "modprobe loop; in a container, mount the host's /dev and run it privileged";
        findings.push(Finding::new(check, Level::Error, found, advice));
    } else {
        let found = format!(
            "/dev/loop-control answers; {} devices, {} of them in use; the kernel makes more when they are needed",
            seen.all, seen.used
        );
        findings.push(Finding::ok(check, found));
    }
    if !seen.without_node.is_empty() {
        let some = seen.without_node.len();
        let found = format!(
            "{some} devices have no node in /dev, such as {}",
            seen.without_node[0]
        );
        let advice =
            "mount the host's /dev (devtmpfs) into the container, so that new devices appear there";
        findings.push(Finding::new(check, Level::Error, found, advice));
    }
    findings
}

/// How the kernel can have a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Support {
    Loaded,
    Module,
    Missing,
}

/// The filesystems that volumes can have.
pub(super) fn filesystems(args: &DoctorArgs) -> Vec<Finding> {
    let loaded = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let modules = PathBuf::from("/lib/modules")
        .join(release)
        .join("modules.dep");
    let modules = fs::read_to_string(modules).unwrap_or_default();
    let support = |fs| support(fs, &loaded, &modules);
    FILESYSTEMS
        .iter()
        .map(|fs| judge_filesystem(*fs, support(*fs), args.default_fs_type))
        .collect()
}

fn support(fs: FsType, loaded: &str, modules: &str) -> Support {
    let name = fs.to_string();
    if loaded
        .lines()
        .any(|line| line.split_whitespace().last() == Some(&name))
    {
        Support::Loaded
    } else if modules.contains(&format!("/{name}.ko")) {
        Support::Module
    } else {
        Support::Missing
    }
}

fn judge_filesystem(fs: FsType, support: Support, default: FsType) -> Finding {
    let check = "filesystems";
    match support {
        Support::Loaded => Finding::ok(check, format!("{fs} is there")),
        Support::Module => Finding::ok(
            check,
            format!("{fs} is a module; the kernel loads it with the first mount"),
        ),
        Support::Missing if fs == default => Finding::new(
            check,
            Level::Error,
            format!(
                "the kernel has no {fs}, the filesystem of volumes whose StorageClass names none"
            ),
            format!("modprobe {fs}, or choose another one with --default-fs-type"),
        ),
        Support::Missing => Finding::new(
            check,
            Level::Note,
            format!("the kernel has no {fs}, and no module of it that is seen from here"),
            format!("modprobe {fs} if volumes are to have it"),
        ),
    }
}

/// The tools that make and grow filesystems.
pub(super) fn tools(args: &DoctorArgs) -> Vec<Finding> {
    let versions = tools::TOOLS.iter().map(|(fs, tool, flag)| {
        let needed = *fs == args.default_fs_type;
        judge_tool(*tool, needed, tool.version(flag))
    });
    versions.collect()
}

fn judge_tool(tool: Tool, needed: bool, version: Result<String, CommandError>) -> Finding {
    let check = "tools";
    match version {
        Ok(version) => Finding::ok(check, format!("{}: {version}", tool.name)),
        Err(error) => {
            let level = if needed { Level::Error } else { Level::Warning };
            let advice = format!("install the package {}", tool.package);
            Finding::new(check, level, crate::error_chain(&error), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_told_apart() {
        assert_eq!(judge_kernel("5.11.0-49-generic").level, Level::Error);
        assert_eq!(judge_kernel("5.12.0").level, Level::Ok);
        assert_eq!(judge_kernel("6.1+").level, Level::Ok);
        assert_eq!(judge_kernel("odd").level, Level::Note);
    }

    #[test]
    fn missing_capabilities_are_found() {
        let levels = |admin, resource| {
            judge_capabilities(admin, resource)
                .iter()
                .map(|it| it.level)
                .max()
        };
        assert_eq!(levels(true, true), Some(Level::Ok));
        assert_eq!(levels(true, false), Some(Level::Warning));
        assert_eq!(levels(false, true), Some(Level::Error));
    }

    #[test]
    fn loop_devices_need_control_and_nodes() {
        let level = |seen: &Loops| judge_loops(seen).iter().map(|it| it.level).max();
        assert_eq!(level(&Loops::default()), Some(Level::Ok));
        let no_control = Loops {
            no_control: Some("No such file or directory".to_owned()),
            ..Loops::default()
        };
        assert_eq!(level(&no_control), Some(Level::Error));
        let without_node = Loops {
            without_node: vec!["loop9".to_owned()],
            ..Loops::default()
        };
        assert_eq!(level(&without_node), Some(Level::Error));
    }

    #[test]
    fn a_filesystem_is_loaded_or_a_module_or_missing() {
        let loaded = "nodev\tsysfs\n\text4\n";
        let modules = "kernel/fs/xfs/xfs.ko.zst: kernel/lib/libcrc32c.ko\n";
        assert_eq!(support(FsType::Ext4, loaded, modules), Support::Loaded);
        assert_eq!(support(FsType::Xfs, loaded, modules), Support::Module);
        assert_eq!(support(FsType::Btrfs, loaded, modules), Support::Missing);
        let level = |default| judge_filesystem(FsType::Btrfs, Support::Missing, default).level;
        assert_eq!(level(FsType::Btrfs), Level::Error);
        assert_eq!(level(FsType::Ext4), Level::Note);
    }

    #[test]
    fn a_missing_tool_matters_as_much_as_its_filesystem() {
        let tool = tools::TOOLS[0].1;
        let missing = || {
            Err(CommandError::Missing {
                tool: tool.name,
                package: tool.package,
            })
        };
        assert_eq!(judge_tool(tool, true, missing()).level, Level::Error);
        let finding = judge_tool(tool, false, missing());
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.advice.contains(tool.package));
    }
}
