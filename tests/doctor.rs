//! `offshoot doctor` on this machine, and on one where something was left behind.

mod machine;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use faultlab::Running;
use machine::calls::{Calls, capability};
use machine::{Machine, is_root, tool};
use serde_json::Value;

/// A driver that ends with the test, in the way that leaves most behind.
async fn start(machine: &Machine) -> (Running, Calls) {
    let running = Running::start(&mut machine.driver()).expect("it starts");
    (running, Calls::connect(machine).await)
}

fn doctor(arguments: &[String]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the binary under test")]
    let output = Command::new(env!("CARGO_BIN_EXE_offshoot"))
        .arg("doctor")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.expect("it runs")
}

/// What the doctor finds on a machine: the whole object.
fn examine(machine: &Machine, asks_driver: bool) -> Value {
    let mut arguments = vec![
        format!("--data-dir={}", machine.path("data/offshoot")),
        format!("--kubelet-dir={}", machine.path("kubelet")),
        "-ojson".to_owned(),
    ];
    if asks_driver {
        arguments.push(format!("--endpoint=unix://{}", machine.path("csi.sock")));
    }
    let output = doctor(&arguments);
    let object: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let count = |level: &str| object[level].as_u64().expect("a number");
    let expected = match (count("errors"), count("warnings")) {
        (0, 0) => 0,
        (0, _) => 1,
        _ => 2,
    };
    assert_eq!(output.status.code(), Some(expected), "{object:#}");
    assert_eq!(object["healthy"], expected == 0);
    object
}

/// The findings of a check: level and text.
fn findings(object: &Value, check: &str) -> Vec<(String, String)> {
    let all = object["findings"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let of_check = all.iter().filter(|it| it["check"] == check);
    of_check
        .map(|it| (text(&it["level"]), text(&it["found"])))
        .collect()
}

fn files(directory: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), into);
        }
        into.insert(entry.path());
    }
}

#[test]
fn the_help_documents_the_exit_codes() {
    let output = doctor(&["--help".to_owned()]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("0 healthy, 1 there are warnings, 2 there are errors"),
        "{text}"
    );
}

#[test]
fn a_node_without_a_kubelet_is_not_healthy() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("kubelet").display().to_string();
    let output = doctor(&[
        format!("--kubelet-dir={missing}"),
        format!("--data-dir={}", dir.path().join("data").display()),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains(&format!("error    kubelet directory: {missing}")),
        "{text}"
    );
    assert!(!dir.path().join("data").exists(), "nothing is made");
}

#[tokio::test]
async fn leftovers_are_found_and_nothing_is_changed() {
    if !is_root() {
        return;
    }
    let machine = Machine::on("xfs");
    let (running, calls) = start(&machine).await;
    for (name, fs) in [("mounted", Some("ext4")), ("raw", None)] {
        let created = calls.create(name, capability(fs), 64 << 20).await;
        created.expect("it is made");
        let brought = calls.bring(name, capability(fs)).await;
        brought.expect("it is published");
    }

    let mut before = BTreeSet::new();
    files(machine.dir.path(), &mut before);
    let object = examine(&machine, true);
    let mut after = BTreeSet::new();
    files(machine.dir.path(), &mut after);
    assert_eq!(before, after);
    let left = findings(&object, "leftovers");
    assert!(left.iter().all(|it| it.0 == "ok"), "{left:?}");
    let driver = findings(&object, "driver");
    assert_eq!(driver[0].0, "ok", "{driver:?}");
    let data_dir = findings(&object, "data directory");
    assert!(data_dir.iter().all(|it| it.0 == "ok"), "{data_dir:?}");
    assert!(
        data_dir.iter().any(|it| it.1.contains("reflinks")),
        "{data_dir:?}"
    );

    // The driver dies, and somebody unmounts the raw volume: its device is used by nobody, its target is no mount.
    drop(running);
    let target = calls.target("raw");
    assert!(tool("umount", &[&target]));
    let strange = machine.path("data/offshoot/volumes/notes.txt");
    std::fs::write(&strange, "x").expect("a file");
    let object = examine(&machine, true);
    let driver = findings(&object, "driver");
    assert_eq!(driver[0].0, "error", "{driver:?}");
    let left = findings(&object, "leftovers");
    let device = machine::calls::volume_id("raw").to_string();
    let finds = |level: &str, text: &str| {
        let found = |it: &&(String, String)| it.0 == level && it.1.contains(text);
        assert!(left.iter().any(|it| found(&it)), "{text}: {left:?}");
    };
    finds(
        "warning",
        &format!("{device}, and nothing is mounted from it"),
    );
    finds(
        "warning",
        &format!("was published at {target}, which is no mount point"),
    );
    finds("note", "volumes/notes.txt");
    assert_eq!(left.len(), 3, "the mounted volume is in order: {left:?}");

    // A new driver puts it in order.
    std::fs::remove_file(&strange).expect("it is removed");
    let (running, calls) = start(&machine).await;
    for name in ["mounted", "raw"] {
        calls.unpublish(name).await.expect("it is unpublished");
        calls.unstage(name).await.expect("it is unstaged");
    }
    let left = findings(&examine(&machine, true), "leftovers");
    assert!(left.iter().all(|it| it.0 == "ok"), "{left:?}");
    drop(running);
}
