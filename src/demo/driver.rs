//! The driver as a process: this very binary, with `serve`.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// The node of the demonstration.
pub(super) const NODE: &str = "demo-node";
/// How long the driver may take to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no driver.
#[derive(Debug, Error)]
pub enum DriverError {
    /// It could not be started.
    #[error("failed to start the driver")]
    Start(#[source] io::Error),
    /// It ended before it answered.
    #[error("the driver ended at once; see its log")]
    Ended,
    /// It does not answer, or does not end.
    #[error("the driver does not {what} within {} s", PATIENCE.as_secs())]
    Late {
        /// What.
        what: &'static str,
    },
    /// It did not end well.
    #[error("the driver ended with {0}")]
    Status(std::process::ExitStatus),
    /// It could not be signalled.
    #[error("failed to signal the driver")]
    Signal(#[source] io::Error),
}

pub(super) struct Driver {
    socket: PathBuf,
    log: PathBuf,
    data_dir: PathBuf,
    kubelet_dir: PathBuf,
    process: Option<Child>,
}

impl Driver {
    pub(super) fn new(dir: &Path, data_dir: &Path, kubelet_dir: &Path) -> Self {
        Self {
            socket: dir.join("csi.sock"),
            log: dir.join("driver.log"),
            data_dir: data_dir.to_owned(),
            kubelet_dir: kubelet_dir.to_owned(),
            process: None,
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the process is there now.
    pub(super) fn is_running(&mut self) -> bool {
        // What cannot be asked is started anew, and says why it cannot be.
        let _ = self.has_ended();
        self.process.is_some()
    }

    /// Starts the driver, and waits until its socket is there; its process id.
    pub(super) async fn start(&mut self) -> Result<u32, DriverError> {
        let program = std::env::current_exe().map_err(DriverError::Start)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(DriverError::Start)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the driver itself, which is no tool of a host"
        )]
        let child = Command::new(program)
            .arg("serve")
            .arg("--endpoint")
            .arg(format!("unix://{}", self.socket.display()))
            .args(["--backend", "file", "--mode", "all", "--node-id", NODE])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--kubelet-dir")
            .arg(&self.kubelet_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(DriverError::Start)?;
        let id = child.id();
        self.process = Some(child);
        self.wait_for_socket().await?;
        Ok(id)
    }

    async fn wait_for_socket(&mut self) -> Result<(), DriverError> {
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::UnixStream::connect(&self.socket).await.is_err() {
            if self.has_ended()?.is_some() {
                return Err(DriverError::Ended);
            }
            if Instant::now() > deadline {
                return Err(DriverError::Late { what: "answer" });
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Kills the driver, as a machine without memory does.
    pub(super) async fn kill(&mut self) -> Result<(), DriverError> {
        self.signal(Signal::KILL)?;
        self.wait().await.map(drop)
    }

    /// Ends the driver, as a kubelet does.
    pub(super) async fn stop(&mut self) -> Result<(), DriverError> {
        self.signal(Signal::TERM)?;
        match self.wait().await? {
            Some(status) if !status.success() => Err(DriverError::Status(status)),
            _ => Ok(()),
        }
    }

    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<(), DriverError> {
        let Some(child) = &self.process else {
            return Ok(());
        };
        let sent = kill_process(Pid::from_child(child), signal);
        sent.map_err(|error| DriverError::Signal(error.into()))
    }

    async fn wait(&mut self) -> Result<Option<std::process::ExitStatus>, DriverError> {
        let deadline = Instant::now() + PATIENCE;
        while self.process.is_some() {
            if let Some(status) = self.has_ended()? {
                return Ok(Some(status).filter(|status| status.signal() != Some(9)));
            }
            if Instant::now() > deadline {
                return Err(DriverError::Late { what: "end" });
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(None)
    }

    fn has_ended(&mut self) -> Result<Option<std::process::ExitStatus>, DriverError> {
        let Some(child) = &mut self.process else {
            return Ok(None);
        };
        let status = child.try_wait().map_err(DriverError::Signal)?;
        if status.is_some() {
            self.process = None;
        }
        Ok(status)
    }
}

impl Drop for Driver {
    /// No process outlives the demonstration.
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            // It may have ended in this moment.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
