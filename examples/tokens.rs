//! Tokens to measure with, and what verifies them, as files in a directory. For
//! `benches/compare.sh`.
//!
//! ```text
//! mkdir /tmp/tokens
//! cargo run --release --example tokens -- mint /tmp/tokens "$(date +%s)" 20000
//! cargo run --release --example tokens -- check /tmp/tokens
//! ```
//!
//! `mint` makes an RSA key of 2,048 bits and writes its public half as `keys.json` (RFC 7517),
//! `public.pem` and, for `check`, `public.der`. `valid` has as many tokens as were asked for, one a
//! line, each another, good for an hour. `expired` is one of two hours ago, `forged` one whose
//! signature is another's.
//!
//! `check` does nothing but aws-lc's check of each signature in `valid`, with a key that was parsed
//! before, and prints the microseconds of CPU that one takes.

#![expect(
    clippy::unwrap_used,
    reason = "measuring cannot go on without its tokens"
)]

#[path = "../benches/mint/mod.rs"]
mod mint;

use std::{env, fs, path::Path, process::ExitCode, thread};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::Algorithm;
use mint::Key;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mint", directory, now, count] => {
            mint(
                Path::new(directory),
                now.parse().unwrap(),
                count.parse().unwrap(),
            );
        }
        ["check", directory] => check(Path::new(directory)),
        _ => {
            eprintln!("usage: tokens mint DIRECTORY NOW COUNT\n       tokens check DIRECTORY");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn mint(directory: &Path, now: i64, count: usize) {
    let key = Key::new(Algorithm::RS256);
    let Key::Rsa(pair) = &key else { return };
    let write = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).unwrap();
    write("keys.json", key.set().as_bytes());
    write("public.der", pair.public_key().as_ref());
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        BASE64_STANDARD.encode(spki.as_ref())
    );
    write("public.pem", pem.as_bytes());

    // Half a millisecond each: every core helps.
    let threads = thread::available_parallelism().unwrap().get();
    let key = &key;
    let sign = &|first: usize| -> Vec<String> {
        let numbers = (first..count).step_by(threads);
        numbers.map(|number| key.token(now, number)).collect()
    };
    let tokens: Vec<String> = thread::scope(|scope| {
        let start = |first| scope.spawn(move || sign(first));
        let parts: Vec<_> = (0..threads).map(start).collect();
        let parts = parts.into_iter();
        parts.flat_map(|part| part.join().unwrap()).collect()
    });
    write("valid", (tokens.join("\n") + "\n").as_bytes());
    write("expired", key.token(now - 7_200, 0).as_bytes());
    let (message, _) = tokens[0].rsplit_once('.').unwrap();
    let other = key.token(now, count);
    let (_, signature) = other.rsplit_once('.').unwrap();
    write("forged", format!("{message}.{signature}").as_bytes());
}

fn check(directory: &Path) {
    let public = fs::read(directory.join("public.der")).unwrap();
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).unwrap();
    let tokens = fs::read_to_string(directory.join("valid")).unwrap();
    let signed: Vec<(&str, Vec<u8>)> = tokens
        .lines()
        .map(|token| {
            let (message, signature) = token.rsplit_once('.').unwrap();
            (message, BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();
    let before = cpu();
    for (message, signature) in &signed {
        public.verify_sig(message.as_bytes(), signature).unwrap();
    }
    let nanoseconds = cpu() - before;
    println!("{:.2}", nanoseconds / 1e3 / signed.len() as f64);
}

/// Nanoseconds of CPU that this thread has had: the wall clock would count others' work too.
fn cpu() -> f64 {
    // The scheduler brings the account up to date when a thread gives way.
    thread::yield_now();
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    account.split(' ').next().unwrap().parse().unwrap()
}
