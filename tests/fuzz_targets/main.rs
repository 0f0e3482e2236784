//! The fuzz targets on their seeds and on `FUZZ_INPUTS` (3,000) changes of them each, so that neither rots; `make fuzz-smoke`
//! searches on with coverage. `FUZZ_SEED` chooses the changes.

mod mutate;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use faultlab::setting;
use mutate::Mutator;
use offshoot::fuzzing::TARGETS;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder(target)).expect("each target has seeds");
    let mut paths: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("a seed");
    paths.iter().map(read).collect()
}

/// How many inputs were run; the first on which the target fails.
fn search(
    target: fn(&[u8]),
    corpus: &[Vec<u8>],
    changes: u64,
    seed: u64,
) -> (u64, Option<Vec<u8>>) {
    let mut mutator = Mutator::new(seed);
    let inputs = std::iter::repeat_with(|| mutator.change(corpus));
    let inputs = inputs.take(usize::try_from(changes).expect("a number of inputs"));
    let mut count = 0;
    for input in corpus.iter().cloned().chain(inputs) {
        count += 1;
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            return (count, Some(input));
        }
    }
    (count, None)
}

#[test]
fn no_input_makes_a_target_fail() {
    let (changes, seed) = (setting("FUZZ_INPUTS", 3_000), setting("FUZZ_SEED", 1));
    seeds::write_if_asked(folder);
    let mut inputs = 0;
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() > 1, "{name} needs seeds");
        let (count, failure) = search(target, &corpus, changes, seed);
        if let Some(input) = failure {
            let path = std::env::temp_dir().join(format!("offshoot-fuzz-{name}"));
            std::fs::write(&path, &input).expect("it is kept");
            let path = path.display();
            panic!(
                "{name} fails on {path}; again: cd fuzz && cargo fuzz run -s none {name} {path}"
            );
        }
        inputs += count;
    }
    eprintln!(
        "fuzz targets: {} targets, {inputs} inputs, 0 failures",
        TARGETS.len()
    );
}

/// The search finds a parser that is wrong about one byte in one place.
#[test]
fn a_planted_bug_is_found() {
    let planted = |bytes: &[u8]| assert!(!bytes.starts_with(b"ro,\0"), "planted");
    let (_, failure) = search(planted, &[b"ro,noexec".to_vec()], 100_000, 1);
    assert!(failure.is_some_and(|it| it.starts_with(b"ro,\0")));
}
