//! `offshoot serve` as a process: its settings, its socket, its end.

mod common;

use std::process::{Command, Output};

use common::{Driver, code};
use offshoot::csi;
use rustix::process::{Pid, Signal, kill_process};
use tonic::Code;

fn offshoot(arguments: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the binary under test")]
    let output = Command::new(env!("CARGO_BIN_EXE_offshoot"))
        .args(arguments)
        .env_clear()
        .output();
    output.expect("the binary runs")
}

fn refusal(arguments: &[&str]) -> String {
    let output = offshoot(&[&["serve"], arguments].concat());
    assert!(!output.status.success(), "{arguments:?} must be refused");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn wrong_settings_are_refused_in_one_clear_line() {
    let endpoint = ["--endpoint", "unix:///tmp/offshoot-test-never.sock"];
    let cases: [(&[&str], &str); 5] = [
        (&["--driver-name", "-"], "--driver-name"),
        (&["--data-dir", "relative"], "--data-dir"),
        (
            &["--backend", "memory", "--mode", "node"],
            "--backend memory",
        ),
        (&["--node-id", ""], "--node-id"),
        (&["--log-level", "a=b=c"], "--log-level"),
    ];
    for (flags, named) in cases {
        let said = refusal(&[&endpoint, flags].concat());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(named), "{said}");
    }
    let said = refusal(&["--endpoint", "tcp://[::]:1"]);
    assert!(said.contains("unix://"), "{said}");
}

#[test]
fn every_setting_is_an_environment_variable_too() {
    let help = String::from_utf8(offshoot(&["serve", "--help"]).stdout).expect("text");
    let flags = help
        .lines()
        .filter(|line| line.trim_start().starts_with("--") || line.contains(", --help"));
    let settings = flags.filter(|line| !line.contains("--help")).count();
    assert_eq!(settings, help.matches("[env: ").count(), "{help}");
    assert!(settings >= 12, "{help}");
}

#[tokio::test]
async fn sigterm_ends_it_well_and_leaves_no_socket() {
    let mut driver = Driver::start().await;
    let socket = driver.dir().join("csi.sock");
    assert!(socket.exists());
    let process = driver.process();
    kill_process(Pid::from_child(process), Signal::TERM).expect("it can be signalled");
    let status = process.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_second_driver_does_not_take_the_socket() {
    let mut driver = Driver::start().await;
    let endpoint = format!("unix://{}", driver.dir().join("csi.sock").display());
    let kubelet = driver.dir().join("kubelet").display().to_string();
    let said = refusal(&[
        "--endpoint",
        &endpoint,
        "--backend",
        "memory",
        "--kubelet-dir",
        &kubelet,
    ]);
    assert!(said.contains("another process answers"), "{said}");
    let probe = driver.identity.probe(csi::ProbeRequest {}).await;
    assert_eq!(code(&probe), Code::Ok);
}
