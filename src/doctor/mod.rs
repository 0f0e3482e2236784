//! `offshoot doctor`: looks at a node and says what the driver will miss there, and what to do about it.
//!
//! Each check looks (the only part with effects, and none that stays) and then judges what was seen, in a pure function. A
//! check that gets no answer in time, because a disk hangs, is a finding too; the others go on.

mod data_dir;
mod driver;
mod finding;
mod kubelet;
mod leftovers;
mod machine;
mod report;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use self::finding::{Finding, Level};
use crate::volume::FsType;

/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(15);

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
}

/// Arguments of `offshoot doctor`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 healthy, 1 there are warnings, 2 there are errors.\n\
    Nothing is changed: what is tried on the data directory is tried on a file without a name."
)]
pub struct DoctorArgs {
    /// The directory that holds the volumes, as the driver sees it
    #[arg(long, env = "OFFSHOOT_DATA_DIR", default_value = "/var/lib/offshoot")]
    pub data_dir: PathBuf,
    /// The kubelet's directory
    #[arg(long, env = "OFFSHOOT_KUBELET_DIR", default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,
    /// Where a running driver answers [default: it is not asked]
    #[arg(long, env = "CSI_ENDPOINT")]
    pub endpoint: Option<String>,
    /// The filesystem of volumes whose StorageClass names none
    #[arg(long, env = "OFFSHOOT_DEFAULT_FS_TYPE", default_value = "ext4", value_parser = crate::config::fs_type)]
    pub default_fs_type: FsType,
    /// The share of the data directory's filesystem that stays free, in percent
    #[arg(long, env = "OFFSHOOT_POOL_RESERVE", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub pool_reserve: u8,
    /// How findings are written
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Format,
}

type Check = fn(&DoctorArgs) -> Vec<Finding>;

/// The checks of this machine, in the order in which they are reported.
const CHECKS: [(&str, Check); 7] = [
    ("kernel", machine::kernel),
    ("capabilities", machine::capabilities),
    ("loop devices", machine::loop_devices),
    ("filesystems", machine::filesystems),
    ("tools", machine::tools),
    ("data directory", data_dir::check),
    ("kubelet directory", kubelet::check),
];

/// Looks at everything, writes what was found to standard output, and says how bad it is.
pub async fn examine(args: DoctorArgs) -> ExitCode {
    let args = Arc::new(args);
    let mut findings = Vec::new();
    for (name, check) in CHECKS {
        let args = args.clone();
        let done = timeout(LIMIT, spawn_blocking(move || check(&args))).await;
        findings.extend(in_time(
            name,
            done.map_err(|_| ()).and_then(|it| it.map_err(|_| ())),
        ));
    }
    let left = timeout(LIMIT, leftovers::check(&args)).await;
    findings.extend(in_time("leftovers", left.map_err(|_| ())));
    findings.extend(driver::check(args.endpoint.as_deref()).await);
    report::write(&findings, args.output);
    let worst = findings.iter().map(|it| it.level).max();
    worst.unwrap_or(Level::Ok).exit_code()
}

/// What a check found, or that it found nothing out.
fn in_time(name: &'static str, findings: Result<Vec<Finding>, ()>) -> Vec<Finding> {
    findings.unwrap_or_else(|()| {
        let found = format!("no answer within {} s", LIMIT.as_secs());
        let advice = "a disk or a mount hangs; look at the kernel's log (dmesg)";
        vec![Finding::new(name, Level::Error, found, advice)]
    })
}
