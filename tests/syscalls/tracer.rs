//! Stops the driver at one of its system calls, and kills it there, or answers in the kernel's place.
//!
//! The tracer joins a running driver for the length of one call (ptrace), counts the system calls of all its threads and
//! of the tools that it starts, and lets go when the call is over. It is a thread of its own: the kernel ties what is
//! traced to the thread that traces.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};

use crate::table::{self, Class};

/// Told to the driver to make its tracer look up; the driver itself ignores it.
const NUDGE: Signal = Signal::SIGWINCH;

/// Which system call.
#[derive(Debug, Clone)]
pub(crate) enum Select {
    /// None: only count.
    Nothing,
    /// The n-th that counts, from 0 on.
    Nth(usize),
    /// The n-th of this name, from 0 on.
    Named(&'static str, usize),
}

/// What becomes of it.
pub(crate) enum Action {
    /// The driver gets SIGKILL before it is done.
    Kill,
    /// Who makes it gets SIGKILL: the driver, or the tool that it started.
    KillTask,
    /// It fails, without being done; if it is a tool's or not, as is said.
    Fail { errno: Errno, in_tool: bool },
    /// It succeeds with 0, without being done.
    Pretend,
    /// It is done, but first something else happens.
    Before(Box<dyn FnOnce() + Send>),
}

/// A fault, for the length of one call.
pub(crate) struct Fault {
    pub(crate) select: Select,
    pub(crate) action: Action,
    /// All later ones of that name fare the same.
    pub(crate) lasting: bool,
}

impl Fault {
    pub(crate) fn none() -> Self {
        Self::once(Select::Nothing, Action::Kill)
    }

    pub(crate) fn once(select: Select, action: Action) -> Self {
        Self {
            select,
            action,
            lasting: false,
        }
    }
}

/// A system call that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// A tool made it, not the driver.
    pub(crate) in_tool: bool,
}

impl Point {
    /// Nothing but want of memory keeps a process from being made, and nothing from being waited for. That a sync fails in
    /// a tool, and not in the driver's own sync of the same file, does not happen; mkfs.btrfs succeeds all the same.
    fn can_fail_with(self, errno: Errno) -> bool {
        match self.name {
            "fsync" | "fdatasync" => !self.in_tool,
            "clone" | "clone3" | "vfork" => errno == Errno::ENOMEM,
            "wait4" | "waitid" => errno == Errno::EINTR,
            _ => true,
        }
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The system calls that count, up to the fault if that was a kill.
    pub(crate) points: Vec<Point>,
    /// Where the fault was, if it was reached.
    pub(crate) hit: Option<Point>,
    /// Not the driver was killed, but its tool.
    pub(crate) killed_tool: bool,
    /// The tools that the driver started.
    pub(crate) tools: Vec<Pid>,
}

/// A tracer at work.
pub(crate) struct Trace {
    driver: Pid,
    over: Arc<AtomicBool>,
    thread: JoinHandle<(Report, Pid)>,
}

impl Trace {
    /// Joins the driver; returns when every system call is seen.
    pub(crate) fn begin(driver: u32, fault: Fault) -> Self {
        let driver = Pid::from_raw(i32::try_from(driver).expect("a process id"));
        let over = Arc::new(AtomicBool::new(false));
        let (joined, wait) = mpsc::channel();
        let tracer = Tracer {
            driver,
            fault,
            over: over.clone(),
            tasks: HashMap::new(),
            named: 0,
            striking: None,
            report: Report::default(),
        };
        let thread = thread::spawn(move || {
            let mut tracer = tracer;
            tracer.join();
            joined.send(()).expect("somebody waits");
            tracer.watch();
            (tracer.report, gettid())
        });
        wait.recv().expect("the tracer joins");
        Self {
            driver,
            over,
            thread,
        }
    }

    /// Lets go of the driver, if it lives.
    pub(crate) fn end(self) -> Report {
        self.over.store(true, Ordering::SeqCst);
        let _ = kill(self.driver, NUDGE);
        let (report, tracer) = self.thread.join().expect("the tracer ends");
        wait_until_gone(tracer);
        report
    }
}

struct Tracer {
    driver: Pid,
    fault: Fault,
    over: Arc<AtomicBool>,
    /// Every traced task, and whether it belongs to a tool.
    tasks: HashMap<Pid, bool>,
    /// How many of the selected name were seen.
    named: usize,
    /// The name whose system calls fail from now on.
    striking: Option<&'static str>,
    report: Report,
}

impl Report {
    /// What was hit, for people.
    pub(crate) fn place(&self) -> String {
        match self.hit {
            None => "after the answer".to_owned(),
            Some(Point { name, in_tool, .. }) if in_tool => format!("at {name} of a tool"),
            Some(Point { name, .. }) => format!("at {name}"),
        }
    }
}

impl Tracer {
    /// Seizes every thread, also those that appear meanwhile, and sees each stop once.
    fn join(&mut self) {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK;
        loop {
            let before = self.tasks.len();
            for task in threads(self.driver) {
                if !self.tasks.contains_key(&task) && seize(task, options) {
                    self.tasks.insert(task, false);
                }
            }
            if self.tasks.len() == before {
                break;
            }
        }
        let mut moving: Vec<Pid> = self.tasks.keys().copied().collect();
        for task in &moving {
            let _ = ptrace::interrupt(*task);
        }
        while !moving.is_empty() {
            let Some(status) = next() else { return };
            moving.retain(|it| Some(*it) != status.pid());
            self.handle(status);
        }
    }

    /// Until the call is over, or the driver is dead. The kernel resumes what is stopped when this thread ends.
    fn watch(&mut self) {
        while let Some(status) = next() {
            if !self.handle(status) {
                return;
            }
        }
    }

    /// Whether to go on.
    fn handle(&mut self, status: WaitStatus) -> bool {
        match status {
            WaitStatus::PtraceSyscall(task) => {
                let entry = ptrace::syscall_info(task)
                    .is_ok_and(|it| it.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
                if entry && !self.enter(task) {
                    return false;
                }
                resume(task, None);
            }
            WaitStatus::PtraceEvent(task, _, _) => {
                self.belongs_to_tool(task);
                resume(task, None);
            }
            WaitStatus::Stopped(task, signal) => {
                if signal == NUDGE && self.over.load(Ordering::SeqCst) {
                    return false;
                }
                resume(task, Some(signal));
            }
            WaitStatus::Exited(task, _) | WaitStatus::Signaled(task, _, _) => {
                self.tasks.remove(&task);
                return task != self.driver;
            }
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
        true
    }

    fn belongs_to_tool(&mut self, task: Pid) -> bool {
        if let Some(known) = self.tasks.get(&task) {
            return *known;
        }
        let group = thread_group(task).unwrap_or(task);
        let of_tool = group != self.driver;
        self.tasks.insert(task, of_tool);
        if of_tool && !self.report.tools.contains(&group) {
            self.report.tools.push(group);
        }
        of_tool
    }

    /// A system call begins; whether to go on.
    fn enter(&mut self, task: Pid) -> bool {
        let in_tool = self.belongs_to_tool(task);
        let Ok(registers) = ptrace::getregs(task) else {
            return true;
        };
        let number = libc::c_long::try_from(registers.orig_rax).unwrap_or(-1);
        let Some((name, class)) = table::find(number, in_tool) else {
            return true;
        };
        let aside = match name {
            "openat" => is_aside(&path_at(task, registers.rsi)),
            // A library asks whether the system call exists: an answer other than EFAULT means no, for ever.
            "statx" if registers.rsi == 0 => true,
            name if table::takes_descriptor(name) => is_aside(&path_of(task, registers.rdi)),
            _ => false,
        };
        if aside {
            return true;
        }
        let point = Point {
            name,
            class,
            in_tool,
        };
        let selected = self.selects(point);
        self.report.points.push(point);
        if !selected {
            return true;
        }
        self.report.hit.get_or_insert(point);
        self.strike(task, point)
    }

    fn selects(&mut self, point: Point) -> bool {
        if self.striking.is_some() {
            return self.striking == Some(point.name);
        }
        if self.report.hit.is_some() {
            return false;
        }
        let selected = match self.fault.select {
            Select::Nothing => false,
            Select::Nth(n) => self.report.points.len() == n,
            Select::Named(name, n) => {
                self.named += usize::from(name == point.name);
                name == point.name && self.named == n + 1
            }
        };
        if selected && self.fault.lasting {
            self.striking = Some(point.name);
        }
        selected
    }

    fn strike(&mut self, task: Pid, point: Point) -> bool {
        match &mut self.fault.action {
            Action::Kill => {
                let _ = kill(self.driver, Signal::SIGKILL);
                return false;
            }
            Action::KillTask => {
                let group = thread_group(task).unwrap_or(task);
                let _ = kill(group, Signal::SIGKILL);
                self.report.killed_tool = group != self.driver;
                return self.report.killed_tool;
            }
            Action::Fail { errno, in_tool } => {
                if point.in_tool == *in_tool && point.can_fail_with(*errno) {
                    answer(task, -i64::from(*errno as i32));
                }
            }
            Action::Pretend => answer(task, 0),
            Action::Before(what) => std::mem::replace(what, Box::new(|| {}))(),
        }
        true
    }
}

/// Lets the kernel skip the system call that begins, and answer this.
fn answer(task: Pid, result: i64) {
    if let Ok(mut registers) = ptrace::getregs(task) {
        registers.orig_rax = u64::MAX;
        registers.rax = result.cast_unsigned();
        let _ = ptrace::setregs(task, registers);
    }
}

/// Fails when the task was killed meanwhile, which its next status tells.
fn resume(task: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(task, signal);
}

/// The next news of what this very thread traces; `None` when it traces nothing any more.
fn next() -> Option<WaitStatus> {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(status) => return Some(status),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// The kernel lets go of what a thread traces while it ends, which is after it can be joined. Until then a stopped driver
/// would be told to its parent, who asks whether it ended, as one that did.
fn wait_until_gone(thread: Pid) {
    let path = format!("/proc/self/task/{thread}");
    for _ in 0..100_000 {
        if !Path::new(&path).exists() {
            return;
        }
        thread::sleep(Duration::from_micros(100));
    }
    panic!("thread {thread} does not end");
}

/// `false`: the thread is gone. One that was made meanwhile is ours already; an earlier tracer may need a moment to let go.
fn seize(task: Pid, options: Options) -> bool {
    for _ in 0..10_000 {
        match ptrace::seize(task, options) {
            Ok(()) => return true,
            Err(Errno::EPERM) => {}
            Err(_) => return false,
        }
        if told(task, "TracerPid:") == Some(gettid()) {
            return true;
        }
        if is_dead(task) {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("thread {task} is traced by somebody else");
}

fn is_dead(task: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
    let state = status.lines().find_map(|it| it.strip_prefix("State:"));
    state.is_none_or(|it| it.trim_start().starts_with(['Z', 'X']))
}

fn threads(process: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter();
    let names = entries.flatten().flatten().map(|it| it.file_name());
    names
        .filter_map(|it| it.to_str()?.parse().ok().map(Pid::from_raw))
        .collect()
}

fn thread_group(task: Pid) -> Option<Pid> {
    told(task, "Tgid:")
}

/// A process id that the status of a task tells.
fn told(task: Pid, field: &str) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix(field))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// What an open descriptor is.
fn path_of(task: Pid, descriptor: u64) -> String {
    let link = fs::read_link(format!("/proc/{task}/fd/{descriptor}"));
    link.map_or_else(|_| String::new(), |it| it.display().to_string())
}

/// The path that begins at an address of the task.
fn path_at(task: Pid, address: u64) -> String {
    let mut bytes = [0; 64];
    let memory = File::open(format!("/proc/{task}/mem"));
    let length = memory.and_then(|it| it.read_at(&mut bytes, address));
    let text = String::from_utf8_lossy(&bytes[..length.unwrap_or(0)]).into_owned();
    text.split('\0').next().unwrap_or_default().to_owned()
}

/// What serves no call: sockets, wakers, the log, and the look at all loop devices that is taken now and then.
fn is_aside(path: &str) -> bool {
    let kinds = ["socket:", "pipe:", "anon_inode:[event", "/dev/null"];
    kinds.iter().any(|it| path.starts_with(it))
        || path.ends_with("/driver.log")
        || path == "/sys/block"
        || path.ends_with("/loop/backing_file")
}
