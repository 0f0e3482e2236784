//! The target of a name, for the programs in `fuzz_targets/`. What the targets do stands in `offshoot::fuzzing`.

/// Defines a fuzzing program.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            let targets = offshoot::fuzzing::TARGETS.iter();
            let found = targets.filter(|(name, _)| *name == $name).next();
            found.expect("it is one of the targets").1(bytes);
        });
    };
}
