//! `offshoot translate` and `offshoot drift` as commands.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn offshoot(arguments: &[&str], input: &str) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the binary under test")]
    let mut child = Command::new(env!("CARGO_BIN_EXE_offshoot"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it has an input");
    let input = input.to_owned();
    // A command that refuses its arguments reads nothing.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the input is written");
    output
}

fn pv(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": format!("pv-{number}") },
        "spec": { "awsElasticBlockStore": { "volumeID": format!("vol-{number}") }, "capacity": { "storage": "1Gi" } },
    })
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn exit_codes_say_what_happened() {
    let good = pv(1).to_string();
    assert_eq!(code(&offshoot(&["translate"], &good)), Some(0));
    let bad = good.replace("vol-1", "aws://x/nothing");
    assert_eq!(code(&offshoot(&["translate"], &bad)), Some(1));
    assert_eq!(
        code(&offshoot(&["translate", "--as-of", "0.9"], &good)),
        Some(2)
    );
    assert_eq!(
        code(&offshoot(&["translate", "/does/not/exist"], "")),
        Some(2)
    );
    assert_eq!(code(&offshoot(&["translate"], "{\"kind\": ")), Some(2));
}

#[test]
fn a_volume_goes_there_and_back() {
    let there = offshoot(&["translate", "-o", "json"], &pv(7).to_string());
    let csi: Value = serde_json::from_slice(&there.stdout).expect("JSON");
    assert_eq!(csi["spec"]["csi"]["volumeHandle"], "vol-7");
    let back = offshoot(
        &["translate", "--to", "in-tree", "-o", "json"],
        &csi.to_string(),
    );
    let in_tree: Value = serde_json::from_slice(&back.stdout).expect("JSON");
    assert_eq!(in_tree, pv(7));
}

#[test]
fn warnings_are_lines_for_programs() {
    let volume = pv(1).to_string().replace("vol-1", "aws://z/vol-1");
    let output = offshoot(&["translate", "--report", "json"], &volume);
    let line: Value = serde_json::from_slice(&output.stderr).expect("one line of JSON");
    assert_eq!(
        (line["level"].as_str(), line["object"].as_str()),
        (Some("warning"), Some("persistentvolume/pv-1"))
    );
    assert_eq!(code(&output), Some(0));
}

#[test]
fn a_list_of_100_000_volumes_is_a_stream() {
    let volumes: Vec<String> = (0..100_000).map(|number| pv(number).to_string()).collect();
    let list = format!(
        "{{\"apiVersion\":\"v1\",\"items\":[{}],\"kind\":\"List\",\"metadata\":{{}}}}",
        volumes.join(",")
    );
    // Far less than the text itself, which has 15 MB: what is read is not kept.
    let limited = [
        "-c",
        "ulimit -v 400000; exec \"$0\" translate -o json",
        env!("CARGO_BIN_EXE_offshoot"),
    ];
    #[expect(clippy::disallowed_methods, reason = "a shell sets the limit")]
    let mut child = Command::new("sh")
        .args(limited)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let id = child.id();
    let mut stdin = child.stdin.take().expect("it has an input");
    let (first, rest) = list.split_at(list.len() / 2);
    let (first, rest) = (first.to_owned(), rest.to_owned());
    let (half, go_on) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let writer = std::thread::spawn(move || {
        stdin.write_all(first.as_bytes()).expect("it reads");
        half.0.send(()).expect("somebody waits");
        go_on.1.recv().expect("somebody says so");
        stdin.write_all(rest.as_bytes()).expect("it reads");
    });
    let reader = child.stdout.take().expect("it has an output");
    let output = std::thread::spawn(move || std::io::read_to_string(reader).expect("text"));
    half.1.recv().expect("half is written");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it lives");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    let kib: usize = resident
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    go_on.0.send(()).expect("it waits");
    writer.join().expect("all is written");
    let text = output.join().expect("all is read");
    assert!(child.wait().expect("it ends").success());
    let translated: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(translated["items"].as_array().map(Vec::len), Some(100_000));
    assert_eq!(
        translated["items"][99_999]["spec"]["csi"]["volumeHandle"],
        "vol-99999"
    );
    assert!(kib < 20_000, "{kib} KiB in the middle of the stream");
}

#[test]
fn drift_names_what_an_upgrade_changes() {
    let regional = json!({
        "kind": "PersistentVolume", "metadata": { "name": "p", "labels": { "topology.kubernetes.io/zone": "us-east1-b" } },
        "spec": { "gcePersistentDisk": { "pdName": "d" } },
    });
    let output = offshoot(
        &["drift", "--from", "1.20", "--to", "1.24"],
        &regional.to_string(),
    );
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    assert!(text.contains("volumeHandle: projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d -> projects/UNSPECIFIED/zones/us-east1-b/disks/d"), "{text}");
    assert_eq!(code(&output), Some(1));
    let steady = offshoot(
        &["drift", "--from", "1.24", "--to", "1.30"],
        &regional.to_string(),
    );
    assert_eq!((code(&steady), steady.stdout.len()), (Some(0), 0));
}
