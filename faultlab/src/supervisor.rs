//! A program whose system calls this process answers (seccomp, "user notification"): refused, or said to be done without
//! being done. The program itself is the real one: no fault is compiled into it.
#![expect(unsafe_code, reason = "seccomp has no safe interface")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use crate::running::Running;

/// Where the listener is in the program, until this process has taken it from there.
const LISTENER: RawFd = 900;

/// A system call that is watched: its number, and its second argument where only one such call is meant.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// As in `libc::SYS_fsync`.
    pub number: libc::c_long,
    /// The command of an `ioctl`.
    pub second: Option<u32>,
}

/// A system call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its number.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
    thread: u32,
}

impl Call {
    /// Where the descriptor leads that is the first argument.
    #[must_use]
    pub fn descriptor(&self) -> PathBuf {
        let link = format!("/proc/{}/fd/{}", self.thread, self.arguments[0]);
        fs::read_link(link).unwrap_or_default()
    }

    /// That descriptor is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        let link = format!("/proc/{}/fd/{}", self.thread, self.arguments[0]);
        fs::metadata(link).is_ok_and(|it| it.is_dir())
    }
}

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The kernel carries it out.
    Real,
    /// It is not carried out, and returns 0.
    Pretend,
    /// It is not carried out, and fails.
    Fail(i32),
}

/// A program that runs.
pub struct Program {
    /// Its process.
    pub process: Running,
    answers: Option<JoinHandle<()>>,
}

impl Program {
    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.end();
        if let Some(answers) = self.answers.take() {
            let _ = answers.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts `command` and answers its `watched` system calls, and those of its children, by `decide`.
pub fn supervise(
    mut command: Command,
    watched: &[Watched],
    decide: impl FnMut(&Call) -> Answer + Send + 'static,
) -> io::Result<Program> {
    let mut filter = filter(watched);
    // SAFETY: between fork and exec only system calls are made; the filter was allocated before.
    unsafe {
        command.pre_exec(move || install(&mut filter));
    }
    let process = Running::start(&mut command)?;
    let mut program = Program {
        process,
        answers: None,
    };
    let listener = take_listener(program.process.id())?;
    program.answers = Some(thread::spawn(move || answer_all(&listener, decide)));
    Ok(program)
}

/// Calls that are watched wait for an answer; all others are carried out.
fn filter(watched: &[Watched]) -> Vec<libc::sock_filter> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let statement = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let unless_equal_skip = |k, jf| libc::sock_filter {
        code: JUMP_IF_EQUAL,
        jt: 0,
        jf,
        k,
    };
    let mut filter = Vec::new();
    for call in watched {
        let number = u32::try_from(call.number).unwrap_or(u32::MAX);
        // `struct seccomp_data`: the number is at 0, the low half of the second argument at 24.
        filter.push(statement(LOAD, 0));
        filter.push(unless_equal_skip(number, call.second.map_or(1, |_| 3)));
        if let Some(second) = call.second {
            filter.push(statement(LOAD, 24));
            filter.push(unless_equal_skip(second, 1));
        }
        filter.push(statement(RETURN, libc::SECCOMP_RET_USER_NOTIF));
    }
    filter.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    filter
}

/// In the new process: every watched call waits from here on.
fn install(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or(0),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program lives until the call returns; the kernel copies it.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let listener = RawFd::try_from(listener).unwrap_or(-1);
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are numbers; the new descriptor stays open in the program that begins.
    match unsafe { libc::dup2(listener, LISTENER) } {
        LISTENER => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn take_listener(process: u32) -> io::Result<OwnedFd> {
    let own = |result: libc::c_long| match RawFd::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(descriptor @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the arguments are numbers.
    let process = own(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // SAFETY: the arguments are numbers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), LISTENER, 0) })
}

fn answer_all(listener: &OwnedFd, mut decide: impl FnMut(&Call) -> Answer) {
    const CONTINUE: u32 = 1;
    loop {
        let mut waits = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut waits, None) {
            Ok(_) if waits[0].revents().contains(PollFlags::IN) => {}
            Err(rustix::io::Errno::INTR) => continue,
            // Every process with this filter has ended.
            _ => return,
        }
        // SAFETY: `seccomp_notif` consists of numbers, for which zeros are valid; the kernel demands zeros.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a `struct seccomp_notif`.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) } != 0 {
            continue;
        }
        let answer = decide(&Call {
            number: asked.data.nr,
            arguments: asked.data.args,
            thread: asked.pid,
        });
        let (error, flags) = match answer {
            Answer::Real => (0, CONTINUE),
            Answer::Pretend => (0, 0),
            Answer::Fail(error) => (-error, 0),
        };
        let mut response = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error,
            flags,
        };
        // SAFETY: the kernel reads a `struct seccomp_notif_resp`. An error means that the caller is dead.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
    }
}

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND` (linux/seccomp.h).
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_call_is_refused_pretended_or_real() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a filter needs root");
            return;
        }
        for (answer, succeeds) in [
            (Answer::Real, true),
            (Answer::Pretend, true),
            (Answer::Fail(libc::EIO), false),
        ] {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = asked.clone();
            #[expect(clippy::disallowed_methods, reason = "any program will do")]
            let mut command = Command::new("sync");
            command.arg("/").stderr(Stdio::null());
            let watched = [Watched {
                number: libc::SYS_fsync,
                second: None,
            }];
            let program = supervise(command, &watched, move |call| {
                assert!(call.is_directory() && call.descriptor().as_os_str() == "/");
                count.fetch_add(1, Ordering::Relaxed);
                answer
            });
            let mut program = program.expect("it starts");
            let status = program.process.wait().expect("it ends");
            assert_eq!(status.success(), succeeds, "{answer:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        }
    }
}
