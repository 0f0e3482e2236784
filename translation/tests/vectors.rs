//! Every recorded answer of Kubernetes' own translation library, at every version.
//!
//! Beside `tests/data`, the folders named in `TRANSLATION_VECTORS` (separated by `:`) are read too.

mod answer;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use answer::{answer, text, untyped};
use csi_translation::{KubernetesVersion, Translator, as_of, newest};
use serde_json::{Value, json};

/// Where an answer is not compared: an operation at versions other than the newest, and why.
const NOT_ASKED: [(&str, &str); 3] = [
    (
        "IsMigratableIntreePluginByName",
        "older versions were not asked; the set has today's answer",
    ),
    (
        "IsMigratedCSIDriverByName",
        "older versions were not asked; the set has today's answer",
    ),
    (
        "GetInTreePluginNameFromSpec",
        "older versions were not asked; the set has today's answer",
    ),
];

/// Where we differ on purpose: the end of a vector's id with its version, and why.
const EXCUSED: [(&str, &str); 2] = [
    (
        "gce-pv2csi-067 at 1.17",
        "1.17 lists the zones of a label in the order of a Go map",
    ),
    (
        "aws-pv2csi-0603 at 1.17",
        "1.17 lists the zones of a label in the order of a Go map",
    ),
];

/// The versions that were asked.
const VERSIONS: [u32; 15] = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31, 32];
#[derive(Default)]
struct Count {
    agreed: usize,
    differed: Vec<String>,
    excused: usize,
}

#[test]
fn kubernetes_gives_the_same_answers() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let others = std::env::var("TRANSLATION_VECTORS").unwrap_or_default();
    let others = others
        .split(':')
        .filter(|it| !it.is_empty())
        .map(PathBuf::from);
    let mut count = Count::default();
    for folder in std::iter::once(own).chain(others) {
        compare_folder(&folder, &mut count);
    }
    eprintln!(
        "vectors: {} agreed, {} differed, {} excused",
        count.agreed,
        count.differed.len(),
        count.excused
    );
    assert!(count.agreed > 40_000, "only {} were compared", count.agreed);
    if let Ok(path) = std::env::var("VECTORS_DIFFERED") {
        fs::write(path, count.differed.join("\n")).expect("it can be written");
    }
    let shown: Vec<&String> = count.differed.iter().take(20).collect();
    assert!(count.differed.is_empty(), "{shown:#?}");
}

fn compare_folder(folder: &Path, count: &mut Count) {
    let current = lines(&folder.join("vectors.jsonl"));
    let rbd = lines(&folder.join("vectors-rbd.jsonl"));
    let mut older: HashMap<(String, String), Value> = HashMap::new();
    for line in lines(&folder.join("vectors-by-version.jsonl")) {
        for version in line["as_of"].as_array().into_iter().flatten() {
            let key = (text(&line["id"]), text(version));
            older.insert(key, line.clone());
        }
    }
    let now = as_of(KubernetesVersion::new(37).expect("a version"));
    for vector in &current {
        compare(vector, vector, "1.37", now, count);
    }
    for vector in &rbd {
        compare(vector, vector, "newest", newest(), count);
    }
    for (vectors, gone) in [(&current, false), (&rbd, true)] {
        for vector in vectors {
            for minor in VERSIONS {
                let name = format!("1.{minor}");
                let translator = as_of(KubernetesVersion::new(minor).expect("a version"));
                let key = (text(&vector["id"]), name.clone());
                // RBD is answered here as in 1.30, and unknown before 1.23 and after that.
                let unknown = gone && !(23..=30).contains(&minor);
                let without_line = if unknown {
                    unknown_to(vector)
                } else {
                    vector.clone()
                };
                let expected = older.get(&key).unwrap_or(&without_line);
                compare(vector, expected, &name, translator, count);
            }
        }
    }
}

/// What a version answers that does not know the plugin.
fn unknown_to(vector: &Value) -> Value {
    if vector["output"].is_boolean() {
        json!({ "output": false })
    } else {
        json!({ "error": "unknown" })
    }
}

fn compare(
    vector: &Value,
    expected: &Value,
    version: &str,
    translator: Translator,
    count: &mut Count,
) {
    if expected["skip"] == json!(true) {
        return;
    }
    let id = text(&vector["id"]);
    let got = answer(vector, translator);
    let agrees = match (&got, expected.get("output")) {
        (Ok(got), Some(expected)) => untyped(got) == untyped(expected),
        (Err(_), None) => true,
        _ => false,
    };
    // Kubernetes panics there; the bug is not ours to repeat.
    let named = format!("{id} at {version}");
    let on_purpose = EXCUSED.iter().any(|(end, _)| named.ends_with(end));
    // A missing class, which Azure File and old versions pass through, cannot be said with our types.
    let no_class = vector["input"]
        .get("storageClass")
        .is_some_and(Value::is_null);
    let panics = expected.get("panic").is_some() || expected["error"] == json!("PANIC");
    if agrees {
        count.agreed += 1;
    } else if panics || no_class || on_purpose || not_asked(vector, version) {
        count.excused += 1;
    } else {
        let got = got.map_or_else(|error| format!("error {error}"), |it| it.to_string());
        count
            .differed
            .push(format!("{id} at {version}: {got} instead of {expected}"));
    }
}

fn not_asked(vector: &Value, version: &str) -> bool {
    let operation = |(operation, _): &(&str, &str)| vector["op"] == **operation;
    version != "1.37" && version != "newest" && NOT_ASKED.iter().any(operation)
}

fn lines(path: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
