//! Kubernetes' own library and ours, asked the same random questions.
//!
//! `TRANSLATION_ORACLE_CASES` questions are asked (5,000 by default), from `TRANSLATION_ORACLE_SEED` on. Without Go there is
//! nobody to ask, and a line says so.

mod answer;
mod generate;

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use answer::{answer, untyped};
use csi_translation::{Translator, as_of};
use generate::{PLUGINS, Random};
use serde_json::{Value, json};

/// The program that asks the library of `module` (a file beside it).
#[expect(clippy::disallowed_methods, reason = "the library is a Go program")]
fn build(module: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{module}"));
    let built = Command::new("go")
        .args([
            "build",
            "-modfile",
            &format!("{module}.mod"),
            "-tags",
            module,
            "-o",
        ])
        .arg(&program)
        .arg(".")
        .current_dir(folder)
        .output();
    let Ok(built) = built else {
        eprintln!("skipped: the library of Kubernetes cannot be asked without go");
        return None;
    };
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Some(program)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(default)
}

/// Asks `count` questions about `plugins`, and compares the answers.
#[expect(clippy::disallowed_methods, reason = "the library is a Go program")]
fn compare(module: &str, plugins: &[(&str, &str, &str)], translator: Translator, count: u64) {
    let Some(program) = build(module) else { return };
    let seed = setting("TRANSLATION_ORACLE_SEED", 1);
    let mut random = Random::new(seed);
    let questions: Vec<Value> = (0..count)
        .map(|number| {
            random.question(plugins[usize::try_from(number).unwrap_or(0) % plugins.len()])
        })
        .collect();
    let mut oracle = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built");
    let mut input = BufWriter::new(oracle.stdin.take().expect("it has an input"));
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").expect("the oracle reads");
        }
    });
    let answers = BufReader::new(oracle.stdout.take().expect("it has an output"));
    let (mut agreed, mut errors, mut panics) = (0, 0, 0);
    let mut differed = Vec::new();
    for (question, line) in questions.iter().zip(answers.lines()) {
        let theirs: Value = serde_json::from_str(&line.expect("an answer")).expect("JSON");
        match (answer(question, translator), theirs.get("output")) {
            (Ok(ours), Some(theirs)) if untyped(&ours) == untyped(theirs) => agreed += 1,
            (Err(_), None) if theirs.get("error").is_some() => errors += 1,
            _ if theirs.get("panic").is_some() => panics += 1,
            (ours, _) => differed.push(
                json!({ "question": question, "ours": format!("{ours:?}"), "theirs": theirs })
                    .to_string(),
            ),
        }
    }
    writer.join().expect("everything was asked");
    oracle.wait().expect("it ends");
    eprintln!(
        "oracle ({module}, seed {seed}): {agreed} equal, {errors} both refused, {panics} panics of Go, {} differed",
        differed.len()
    );
    let shown: Vec<&String> = differed.iter().take(5).collect();
    assert!(differed.is_empty(), "{shown:#?}");
    assert_eq!(
        agreed + errors + panics,
        count,
        "every question has an answer"
    );
    assert!(agreed > count / 4, "too few questions could be answered");
}

#[test]
fn the_library_of_today_agrees() {
    let count = setting("TRANSLATION_ORACLE_CASES", 5_000);
    compare(
        "go",
        &PLUGINS[..7],
        as_of("1.37".parse().expect("a version")),
        count,
    );
}

#[test]
fn the_last_library_with_rbd_agrees() {
    let count = setting("TRANSLATION_ORACLE_CASES", 5_000) / 4;
    compare(
        "rbd",
        &PLUGINS,
        as_of("1.30".parse().expect("a version")),
        count,
    );
}
