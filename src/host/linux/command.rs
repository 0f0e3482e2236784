//! The only file that starts processes: tools that make and grow filesystems on files that have no name yet.
//!
//! A tool gets its file as its standard input, so no path of ours is in its arguments. It works on a file that nobody else
//! can reach and that vanishes with its last descriptor: a tool that outlives a killed driver harms nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use thiserror::Error;

/// Where Debian and its relatives keep such tools; the environment is not asked.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Why a tool did not do its work.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// Not installed.
    #[error("{tool} is not installed; install the package {package}")]
    Missing {
        /// The tool.
        tool: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// It could not be started.
    #[error("failed to start {tool}")]
    Start {
        /// The tool.
        tool: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{tool} failed ({status}): {output}")]
    Failed {
        /// The tool.
        tool: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
}

impl CommandError {
    /// mkfs.btrfs opens the device of each mount to see whether it is the one that it was given, and gives up when one of
    /// them goes away meanwhile.
    pub(crate) fn met_another_unmount(&self) -> bool {
        matches!(self, Self::Failed { output, .. } if output.contains("cannot check mount status"))
    }

    /// The tool failed because the disk is full. Tools have no exit code for that, but say it, and in English.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Failed { output, .. } => output.contains("No space left on device"),
            Self::Start { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Missing { .. } => false,
        }
    }
}

/// A tool, and the package that holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: &'static str,
    /// Debian's package.
    pub(crate) package: &'static str,
}

impl Tool {
    /// Runs the tool with `arguments` on `file`; exit codes up to `worst` count as success.
    pub(crate) fn run(
        self,
        arguments: &[&str],
        file: &File,
        worst: i32,
    ) -> Result<(), CommandError> {
        let tool = self.name;
        let program = self.program()?;
        let input = file
            .try_clone()
            .map_err(|source| CommandError::Start { tool, source })?;
        #[expect(clippy::disallowed_methods, reason = "this is the only place")]
        let output = Command::new(program)
            .args(arguments)
            .arg("/proc/self/fd/0")
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", DIRECTORIES.join(":"))
            .current_dir("/")
            .stdin(input)
            .output()
            .map_err(|source| CommandError::Start { tool, source })?;
        match output.status.code() {
            Some(code) if code <= worst => Ok(()),
            _ => Err(CommandError::Failed {
                tool,
                status: output.status,
                output: said(&output),
            }),
        }
    }

    /// The first line of what the tool says when it is asked for its version with `argument`, whatever its exit code.
    pub(crate) fn version(self, argument: &str) -> Result<String, CommandError> {
        let tool = self.name;
        #[expect(clippy::disallowed_methods, reason = "this is the only place")]
        let output = Command::new(self.program()?)
            .arg(argument)
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| CommandError::Start { tool, source })?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        Ok(first.unwrap_or("it does not say its version").to_owned())
    }

    fn program(self) -> Result<PathBuf, CommandError> {
        let missing = CommandError::Missing {
            tool: self.name,
            package: self.package,
        };
        let mut programs = DIRECTORIES.iter().map(|it| Path::new(it).join(self.name));
        programs.find(|it| it.is_file()).ok_or(missing)
    }
}

/// The end of what a tool said, in one line.
fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}
