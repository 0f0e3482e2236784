//! A disk of this process: a file that records what is written to it, fails when it is told to, and hangs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::fuse::{Connection, Request};
use crate::image::Image;
use crate::log::{Log, Op};

/// How often it is tried to unmount: the loop device above lets go a moment after its own unmount.
const ATTEMPTS: u32 = 400;
const INTERVAL: Duration = Duration::from_millis(5);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reads fail.
    Read(Errno),
    /// Writes and discards fail.
    Write(Errno),
    /// Flushes fail.
    Flush(Errno),
}

/// A file over which a disk of this process is mounted, until this is dropped.
pub struct Disk {
    path: PathBuf,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    goes_on: Condvar,
}

struct State {
    image: Image,
    log: Option<Log>,
    faults: Vec<Fault>,
    hangs: bool,
    /// Requests that came while it hung.
    waiting: usize,
}

impl Disk {
    /// A disk with these bytes at `path`, where a file must be.
    pub fn mount(image: Image, path: &Path) -> io::Result<Self> {
        let connection = Connection::mount(path, image.size())?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                image,
                log: None,
                faults: Vec::new(),
                hangs: false,
                waiting: 0,
            }),
            goes_on: Condvar::new(),
        });
        let answers = shared.clone();
        let server = thread::spawn(move || connection.serve(|request| answers.answer(&request)));
        Ok(Self {
            path: path.to_owned(),
            shared,
            server: Some(server),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records from now on.
    pub fn record(&self) {
        let mut state = self.shared.lock();
        state.log = Some(Log {
            before: state.image.clone(),
            ops: Vec::new(),
        });
    }

    /// How much is recorded. What was answered before this call is below this position.
    #[must_use]
    pub fn position(&self) -> usize {
        self.shared.lock().log.as_ref().map_or(0, Log::len)
    }

    /// Ends the recording.
    ///
    /// # Panics
    /// When nothing was recorded.
    #[must_use]
    pub fn finish(&self) -> Log {
        self.shared.lock().log.take().expect("it was recorded")
    }

    /// Lets something fail, from now on.
    pub fn fail(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// Answers nothing from now on.
    pub fn hang(&self) {
        self.shared.lock().hangs = true;
    }

    /// Whether somebody waits for an answer of a disk that hangs.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.shared.lock().waiting > 0
    }

    /// Answers again.
    pub fn resume(&self) {
        let mut state = self.shared.lock();
        state.hangs = false;
        self.shared.goes_on.notify_all();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.resume();
        for _ in 0..ATTEMPTS {
            match unmount(&self.path, UnmountFlags::NOFOLLOW) {
                Err(Errno::BUSY) => thread::sleep(INTERVAL),
                Ok(()) => {
                    if let Some(server) = self.server.take() {
                        let _ = server.join();
                    }
                    return;
                }
                Err(_) => return,
            }
        }
        // A test that failed left something on it: the disk goes when that goes.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let mut state = self.lock();
        while state.hangs {
            state.waiting += 1;
            state = self
                .goes_on
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.check(request)?;
        Ok(state.carry_out(request))
    }
}

impl State {
    fn check(&self, request: &Request<'_>) -> Result<(), Errno> {
        let failing = self.faults.iter().find_map(|fault| match (fault, request) {
            (Fault::Read(error), Request::Read { .. })
            | (Fault::Write(error), Request::Write { .. } | Request::Discard { .. })
            | (Fault::Flush(error), Request::Sync) => Some(*error),
            _ => None,
        });
        failing.map_or(Ok(()), Err)
    }

    fn carry_out(&mut self, request: &Request<'_>) -> Vec<u8> {
        match *request {
            Request::Read { offset, length } => return self.image.read(offset, length),
            Request::Write { offset, bytes } => {
                self.image.write(offset, bytes);
                self.note(|| Op::write(offset, bytes));
            }
            Request::Discard { offset, length } => {
                self.image.clear(offset, length);
                self.note(|| Op::Clear { offset, length });
            }
            Request::Sync => self.note(|| Op::Flush),
        }
        Vec::new()
    }

    fn note(&mut self, op: impl FnOnce() -> Op) {
        if let Some(log) = &mut self.log {
            log.ops.push(op());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::fs::FileExt;

    fn on_disk(work: impl FnOnce(&Disk, &File)) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let path = std::env::temp_dir().join(format!("faultlab-{:?}", thread::current().id()));
        fs::write(&path, "").expect("a file");
        let disk = Disk::mount(Image::new(1 << 20), &path).expect("it is mounted");
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.expect("it opens");
        work(&disk, &file);
        drop(file);
        drop(disk);
        assert_eq!(fs::metadata(&path).expect("the file below").len(), 0);
        fs::remove_file(&path).expect("it is removed");
    }

    #[test]
    fn writes_are_kept_recorded_and_can_fail() {
        on_disk(|disk, file| {
            disk.record();
            file.write_all_at(b"bytes", 4096).expect("it is written");
            assert_eq!(disk.position(), 1);
            file.sync_all().expect("it is synced");
            let mut read = [0; 5];
            file.read_exact_at(&mut read, 4096).expect("it is read");
            assert_eq!(&read, b"bytes");
            disk.fail(Fault::Write(Errno::NOSPC));
            let refused = file.write_all_at(b"more", 0).expect_err("it is full");
            assert_eq!(refused.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
            disk.heal();
            file.write_all_at(b"more", 0).expect("there is room again");
            assert_eq!(disk.finish().len(), 3);
        });
    }

    #[test]
    fn who_asks_a_disk_that_hangs_waits() {
        on_disk(|disk, file| {
            disk.hang();
            thread::scope(|scope| {
                let write = scope.spawn(|| file.write_all_at(b"late", 0));
                while !disk.is_waited_for() {
                    thread::sleep(Duration::from_millis(1));
                }
                assert!(!write.is_finished());
                disk.resume();
                write.join().expect("it ends").expect("it is written");
            });
        });
    }
}
