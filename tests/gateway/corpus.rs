//! The corpora of the fuzz targets, run again: what broke something once must not do so again.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library to the fuzzer, a module here")]
mod targets;

use std::{collections::BTreeSet, fs, panic, path::Path};

/// The entries of a directory of `tests/fuzz` by name, without their endings.
fn names(directory: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(directory);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{directory}: {error}"));
    entries
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.trim_end_matches(".rs").to_owned()
        })
        .collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

#[test]
fn no_input_of_a_corpus_breaks_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut broken = Vec::new();
    for (target, _) in targets::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(target)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            if panic::catch_unwind(|| targets::run(target, &input)).is_err() {
                broken.push(path);
            }
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
