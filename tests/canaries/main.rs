//! Canaries in every secret field, in mount flags and in contexts, of every call, good and bad, at the lowest log level: none
//! may be found in a log line, in the message of an error, or in a file of the data directory.

#[path = "../common/mod.rs"]
mod common;
#[path = "../machine/mod.rs"]
mod machine;

mod calls;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use calls::{Plant, Variant};
use faultlab::Running;
use machine::{Machine, is_root, tool};
use tonic::transport::Channel;

/// What no secret may have in common with anything else.
const CANARY: &str = "CaNaRy";

/// A driver that logs everything.
struct Talkative {
    _process: Running,
    log: String,
    channel: Channel,
}

impl Talkative {
    async fn start(machine: &Machine, backend: &str, format: &str) -> Self {
        let log = machine.path("log");
        let file = fs::File::create(&log).expect("a log");
        let socket = machine.path("csi.sock");
        #[expect(clippy::disallowed_methods, reason = "the binary under test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_offshoot"));
        command
            .args(["serve", "--node-id", "n", "--backend", backend])
            .args(["--log-level", "trace,h2=trace", "--log-format", format])
            .args(["--endpoint", &format!("unix://{socket}")])
            .args(["--data-dir", &machine.path("data/offshoot")])
            .args(["--kubelet-dir", &machine.path("kubelet")])
            .stdin(Stdio::null())
            .stderr(file);
        let process = Running::start(&mut command).expect("the driver starts");
        let channel = common::connect(socket.as_ref()).await;
        Self {
            _process: process,
            log,
            channel,
        }
    }
}

/// Where a canary is found: log, errors, or files and their attributes.
fn found(log: &str, errors: &[String], data: &str) -> Vec<String> {
    let mut found = Vec::new();
    let text = fs::read_to_string(log).expect("a log");
    let lines = text.lines().filter(|it| it.contains(CANARY));
    found.extend(lines.map(|it| format!("log: {it}")));
    let errors = errors.iter().filter(|it| it.contains(CANARY));
    found.extend(errors.map(|it| format!("error: {it}")));
    if Path::new(data).exists() {
        if tool("grep", &["-rqaF", CANARY, data]) {
            found.push(format!("file: a byte of {data}"));
        }
        look_at_names(data.as_ref(), &mut found);
    }
    found
}

fn look_at_names(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.display().to_string().contains(CANARY) {
            found.push(format!("file: the name {}", path.display()));
        }
        let mut names = [0_u8; 4096];
        let length = rustix::fs::llistxattr(&path, &mut names).unwrap_or(0);
        for name in names[..length]
            .split(|it| *it == 0)
            .filter(|it| !it.is_empty())
        {
            let mut value = vec![0_u8; 1 << 16];
            let length = rustix::fs::lgetxattr(&path, name, &mut value).unwrap_or(0);
            if String::from_utf8_lossy(&value[..length]).contains(CANARY) {
                found.push(format!("file: an attribute of {}", path.display()));
            }
        }
        if path.is_dir() && !path.is_symlink() {
            look_at_names(&path, found);
        }
    }
}

/// Every call in every variant, on one driver; how many canaries, calls and log lines there were.
async fn release(backend: &str, format: &str) -> (u32, usize, usize) {
    let machine = Machine::new();
    let driver = Talkative::start(&machine, backend, format).await;
    let mut plant = Plant::new(machine.path("kubelet"));
    for variant in Variant::all() {
        plant.play(&driver.channel, variant).await;
    }
    let found = found(&driver.log, &plant.errors, &machine.path("data"));
    assert!(found.is_empty(), "{backend}, {format}: {found:#?}");
    let lines = fs::read_to_string(&driver.log)
        .expect("a log")
        .lines()
        .count();
    assert!(lines > 1000, "only {lines} log lines at level trace");
    assert!(
        plant.succeeded > 20,
        "only {} calls succeeded",
        plant.succeeded
    );
    assert!(
        plant.errors.len() > 50,
        "only {} calls failed",
        plant.errors.len()
    );
    (plant.planted, plant.errors.len() + plant.succeeded, lines)
}

#[tokio::test]
async fn no_secret_gets_out() {
    let mut backends = vec!["memory"];
    if is_root() {
        backends.push("file");
    }
    for backend in backends {
        for format in ["text", "json"] {
            let (planted, calls, lines) = release(backend, format).await;
            eprintln!(
                "canaries: {planted} in {calls} calls over {backend}, {lines} log lines in {format}, 0 found"
            );
        }
    }
}

/// A name is no secret: it is in the log, in an error and in a record. The check finds it in each.
#[tokio::test]
async fn a_planted_leak_is_found() {
    if !is_root() {
        return;
    }
    for format in ["text", "json"] {
        let machine = Machine::new();
        let driver = Talkative::start(&machine, "file", format).await;
        let errors = calls::leak(&driver.channel, CANARY).await;
        let found = found(&driver.log, &errors, &machine.path("data"));
        for place in ["log: ", "error: ", "file: an attribute"] {
            let is_there = found.iter().any(|it| it.starts_with(place));
            assert!(is_there, "{place} in {format}: {found:#?}");
        }
    }
    let machine = Machine::new();
    fs::write(machine.path("data/file"), format!("x{CANARY}")).expect("a file");
    fs::write(machine.path(&format!("data/{CANARY}")), "").expect("a file");
    fs::write(machine.path("log"), "").expect("a file");
    assert_eq!(
        found(&machine.path("log"), &[], &machine.path("data")).len(),
        2
    );
}
