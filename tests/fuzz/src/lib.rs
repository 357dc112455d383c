//! Fuzz targets: one for each kind of input that comes from the network or from a file.
//!
//! A target takes any bytes and panics where a rule is broken that the code under it documents;
//! that nothing panics by itself is only the first of them. Where a signature or a seal would
//! keep a mutated input out, the target signs or seals it itself, so that what lies behind is
//! reached too.
//!
//! `tests/fuzz/run.sh [TARGET [SECONDS]]` installs cargo-fuzz, builds with the address sanitiser
//! and runs one target, or all in turn, for 300 seconds each, on stable Rust. What it finds new
//! goes to `tests/fuzz/found/TARGET`, a crash to `tests/fuzz/artifacts/TARGET`. From there
//! `tests/fuzz/run.sh keep [TARGET]` adds to `tests/fuzz/corpus/TARGET` the few inputs that count
//! most. An input that breaks something is put there by hand, under a name that says what.
//!
//! The corpora are run again by `cargo test` (`tests/gateway/corpus.rs`, which includes this
//! file), so that no fuzzer is needed to find out that an old fault is back. A new target needs a
//! line in [`TARGETS`], a program in `fuzz_targets`, a corpus, and a dictionary.

mod applications;
mod authorization;
mod configuration;
mod cookie;
mod cors;
mod discovery;
mod forwarding;
mod head;
mod id_token;
mod introspection;
mod key_set;
mod path;
mod registration;
mod signer;
mod token;
mod token_answer;

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("applications", applications::run),
    ("authorization", authorization::run),
    ("configuration", configuration::run),
    ("cookie", cookie::run),
    ("cors", cors::run),
    ("discovery", discovery::run),
    ("forwarding", forwarding::run),
    ("head", head::run),
    ("id_token", id_token::run),
    ("introspection", introspection::run),
    ("key_set", key_set::run),
    ("path", path::run),
    ("registration", registration::run),
    ("token", token::run),
    ("token_answer", token_answer::run),
];

/// Runs one input through the target of a name.
///
/// # Panics
/// Where the input breaks a rule, or no target has the name.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, body) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    body(input);
}
