//! `offshoot demo`: the whole life of a volume on this machine, played over the real socket.
//!
//! It starts the driver as a process of its own, does what Kubernetes would do, and proves at the end that nothing is left.

mod data;
mod driver;
mod leftovers;
mod orchestrator;
mod report;
mod story;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

use self::driver::{Driver, DriverError};
use self::report::Report;
use self::story::Story;
use crate::host::linux::capability;
use crate::volume::FsType;

/// Arguments of `offshoot demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// The filesystem of the volume [default: ext4, or xfs where this process may not grow a mounted ext4]
    #[arg(long, value_parser = crate::config::fs_type)]
    pub fs: Option<FsType>,
    /// Keep the volumes here, in a directory that is new, empty or ours [default: a temporary one]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Leave the volumes and the snapshot where they are when all is done
    #[arg(long)]
    pub keep: bool,
}

/// Why the demonstration ended early.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Devices and mounts are root's.
    #[error("the demo attaches real devices and mounts them: run it as root (sudo make run)")]
    NotRoot,
    /// No place to work in.
    #[error("failed to prepare {}", path.display())]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The driver did not start or did not end.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A call of the driver failed.
    #[error("{call}: {message}")]
    Call {
        /// Which.
        call: &'static str,
        /// What the driver said.
        message: String,
    },
    /// Reading or writing through a volume failed.
    #[error("failed to {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The volume holds other bytes than were written.
    #[error("{0} holds other bytes than were written")]
    OtherBytes(PathBuf),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Something is left of what was made.
    #[error("left behind: {0}")]
    LeftBehind(String),
}

/// Where the demonstration works.
struct Place {
    /// Removed at the end.
    dir: PathBuf,
    data_dir: PathBuf,
    /// What was in the data directory before.
    before: BTreeSet<PathBuf>,
}

impl Place {
    fn kubelet(&self) -> PathBuf {
        self.dir.join("kubelet")
    }
}

/// Plays the whole life of a volume.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DemoError::NotRoot);
    }
    let mut report = Report::new();
    let fs = choose(args.fs, &mut report);
    let place = prepare(&args)?;
    report.title(&format!(
        "the life of a volume with {fs}, in {}",
        place.data_dir.display()
    ));
    let driver = Driver::new(&place.dir, &place.data_dir, &place.kubelet());
    let mut story = Story::new(&place, driver, fs);
    let told = tokio::select! {
        told = story.tell(&mut report) => told,
        _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    };
    if told.is_err() {
        report.log(&story.log_tail());
    }
    let cleaned = story.clean_up(&mut report, args.keep).await;
    let proof = report.step("prove that nothing is left", async {
        leftovers::prove(&place, args.keep)
    });
    if let Err(error) = proof.await {
        report.title(&format!(
            "{} is left for you to look at",
            place.dir.display()
        ));
        return told.and(cleaned).and(Err(error));
    }
    remove(&place, &args)?;
    told.and(cleaned)?;
    if args.keep {
        report.title(&format!(
            "kept in {}; remove it with rm -r when you are done",
            place.data_dir.display()
        ));
    }
    Ok(())
}

fn choose(asked: Option<FsType>, report: &mut Report) -> FsType {
    match asked {
        Some(fs) => fs,
        None if may_grow_ext4() => FsType::Ext4,
        None => {
            report.title(
                "this process may not grow a mounted ext4 (CAP_SYS_RESOURCE): the volume gets xfs",
            );
            FsType::Xfs
        }
    }
}

/// Whether the kernel lets this process grow a mounted ext4.
fn may_grow_ext4() -> bool {
    capability::has(capability::SYS_RESOURCE)
}

fn prepare(args: &DemoArgs) -> Result<Place, DemoError> {
    let dir = std::env::temp_dir().join(format!("offshoot-demo-{}", std::process::id()));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::Prepare { path, source }
    };
    let data_dir = match &args.data_dir {
        Some(data_dir) => std::path::absolute(data_dir).map_err(failed(data_dir))?,
        None if args.keep => {
            std::env::temp_dir().join(format!("offshoot-demo-data-{}", std::process::id()))
        }
        None => dir.join("data"),
    };
    let made = std::fs::create_dir_all(dir.join("kubelet"))
        .and_then(|()| std::fs::create_dir_all(&data_dir));
    made.map_err(failed(&dir))?;
    // The kernel shows mounts and files by their real paths.
    let dir = dir.canonicalize().map_err(failed(&dir))?;
    let data_dir = data_dir.canonicalize().map_err(failed(&data_dir))?;
    Ok(Place {
        before: leftovers::files_of(&data_dir)?,
        dir,
        data_dir,
    })
}

fn remove(place: &Place, args: &DemoArgs) -> Result<(), DemoError> {
    let gone = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DemoError::Prepare {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    };
    gone(&place.dir)?;
    if args.data_dir.is_none() && !args.keep {
        gone(&place.data_dir)?;
    }
    Ok(())
}
