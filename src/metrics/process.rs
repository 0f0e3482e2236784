//! What the kernel shows of this process.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What Prometheus' own clients show of a process, and its threads.
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident: u64,
    pub(super) virtual_size: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: Option<u64>,
    pub(super) threads: u64,
    /// Seconds since 1970.
    pub(super) started: f64,
}

impl Process {
    /// As it is now; `None` where there is no `/proc`.
    pub(super) fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/stat").ok()?;
        let booted = fs::read_to_string("/proc/stat").ok()?;
        let booted = booted
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        let fields = Fields::parse(&status)?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        Some(Self {
            cpu_seconds: (fields.get(14)? + fields.get(15)?) as f64 / ticks,
            resident: fields.get(24)? * page,
            virtual_size: fields.get(23)?,
            // The directory that is read is one of them.
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64 - 1,
            max_fds: getrlimit(Resource::Nofile).current,
            threads: fields.get(20)?,
            started: booted.trim().parse::<f64>().ok()? + fields.get(22)? as f64 / ticks,
        })
    }
}

/// The fields of `/proc/<pid>/stat` by their numbers in proc(5).
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    /// The second field is the name in brackets, with whatever is in it.
    fn parse(text: &'a str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        Some(Self(rest.split_whitespace().collect()))
    }

    fn get(&self, number: usize) -> Option<u64> {
        self.0.get(number - 3)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_shown() {
        let process = Process::now().expect("/proc is there");
        assert!(process.resident > 0 && process.resident < process.virtual_size);
        assert!(process.open_fds >= 3 && process.threads >= 1);
        assert!(process.started > 1e9);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let fields = Fields::parse("7 (a) b (c) S 1 2").unwrap();
        assert_eq!(fields.get(4), Some(1));
        assert_eq!(fields.get(6), None);
    }
}
