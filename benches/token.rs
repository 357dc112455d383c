//! What does a credential cost that is not remembered?
//!
//! `verify` is the first sight of a token: decoding, signature, claims, rules, and nothing of
//! caches or network. `issuer` is the look into a token that chooses whose keys to try. `session`
//! is what each request with a cookie costs, and each answer that sets one.
//!
//! Fixed: `now`; one key of each kind (RSA 2,048 bits, P-256, Ed25519), made at start; a key set
//! of three; claims that make an RS256 token 640 bytes long; a session with two scopes and one
//! header claim, sealed by the first of two keys.
//!
//! How to read it: nearly all of `verify` is the signature, so `verify/RS256` beside
//! `signature/RS256` says what our own checks cost; the rest depends on the machine. Everything
//! here is paid once for each token and strategy, but `session/open`, which every request with a
//! cookie pays.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod mint;
mod sealed;

use std::{hint::black_box, time::Duration};

use aws_lc_rs::signature::{KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use criterion::Criterion;
use dcr_gateway::{
    model::{claims::ClaimPath, time::Timestamp},
    token::{
        jwk::{KeyIssuer, KeySet},
        jwt,
        rules::{Rules, ScopeReading},
    },
};
use jsonwebtoken::Algorithm;
use mint::{AUDIENCE, ISSUER, Key};
use sealed::Sealed;

const NOW: i64 = 1_795_000_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    verify(&mut criterion);
    session(&mut criterion);
    criterion.final_summary();
}

fn verify(criterion: &mut Criterion) {
    let path = |name: &str| ClaimPath::new([name.to_owned()]).unwrap();
    let (client, scope, tenant) = (path("client_id"), path("scope"), path("tenant"));
    let audience = [AUDIENCE.to_owned()];
    let rules = Rules {
        algorithms: &[],
        audience: &audience,
        leeway: Duration::from_secs(30),
        client_claims: &[client],
        introspected_client_claims: &[],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[scope],
        scope_reading: ScopeReading::Every,
        header_claims: &[tenant],
    };
    let issuers = [ISSUER.to_owned()];
    let now = Timestamp::from_secs(NOW);

    let keys = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256].map(Key::new);
    for key in &keys {
        let token = key.token(NOW, 0);
        let set = KeySet::parse(key.set().as_bytes()).unwrap();
        criterion.bench_function(&format!("verify/{}", key.algorithm()), |bencher| {
            bencher.iter(|| jwt::verify(black_box(&token), &set, &issuers, &rules, now).unwrap());
        });
    }
    let [.., rsa] = &keys;
    let token = rsa.token(NOW, 0);
    signature_alone(criterion, rsa, &token);
    criterion.bench_function("issuer", |bencher| {
        bencher.iter(|| jwt::issuer(black_box(&token)).unwrap());
    });
}

/// The bare check that `verify/RS256` is measured against.
fn signature_alone(criterion: &mut Criterion, key: &Key, token: &str) {
    let Key::Rsa(pair) = key else { return };
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = pair.public_key().as_ref();
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).unwrap();
    criterion.bench_function("signature/RS256", |bencher| {
        bencher.iter(|| {
            public
                .verify_sig(black_box(message.as_bytes()), &signature)
                .unwrap();
        });
    });
}

fn session(criterion: &mut Criterion) {
    let sealed = Sealed::new(Timestamp::from_secs(NOW));
    let value = sealed.seal();
    criterion.bench_function("session/open", |bencher| {
        bencher.iter(|| sealed.open(black_box(&value)));
    });
    criterion.bench_function("session/seal", |bencher| {
        bencher.iter(|| black_box(&sealed).seal());
    });
}
