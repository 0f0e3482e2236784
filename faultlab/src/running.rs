//! Programs that a test starts.

use std::io::{self, Read as _};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output};

/// A program that is killed with what holds it, whatever becomes of the test: one that is left would hold the output of the
/// tests open, and whoever reads that would wait for ever.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Waits until it ends by itself. What it says is there where it was given a pipe for errors.
    pub fn output(mut self) -> io::Result<Output> {
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut stderr)?;
        }
        Ok(Output {
            status: self.0.wait()?,
            stdout: Vec::new(),
            stderr,
        })
    }

    /// Kills it, and waits until it is gone.
    pub fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
