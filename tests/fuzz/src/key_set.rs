//! A key set. In the input, `@0@` to `@3@` stand for the members of the signer's keys, so that
//! mutations meet keys that can really verify.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use dcr_gateway::token::{
    Error,
    jwk::{KEY_LIMIT, KeySet},
    jwt,
};
use serde_json::{Map, Value};

use super::{
    signer::{ALGORITHMS, Signer, base64},
    token::{Asked, issuers, now},
};

/// No key is used that is symmetric, private, for encryption, for another operation or of an
/// unknown kind, and a token verifies only with a key that stands in the set for its algorithm.
pub(super) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        assert!(KeySet::parse(input).is_err(), "not UTF-8");
        return;
    };
    let mut text = text.to_owned();
    for (index, jwk) in Signer::get().jwks().iter().enumerate() {
        let place = format!("@{index}@");
        if text.contains(&place) {
            let members = jwk.to_string();
            text = text.replace(&place, members.trim_matches(['{', '}']));
        }
    }
    let Ok(set) = KeySet::parse(text.as_bytes()) else {
        return;
    };
    let document: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let members = document["keys"].as_array().unwrap();
    let usable: Vec<&Map<String, Value>> = members
        .iter()
        .filter_map(Value::as_object)
        .filter(|jwk| is_usable(jwk))
        .collect();
    assert!(set.len() <= usable.len().min(KEY_LIMIT), "a key too many");
    assert_eq!(set.len() + set.skipped(), members.len());
    if set.is_empty() {
        return;
    }
    for (algorithm, index) in ALGORITHMS {
        let material = &Signer::get().jwks()[index];
        let number = if index == 3 { "n" } else { "x" };
        // Signing takes time, and without the number in it a set cannot verify.
        if !usable
            .iter()
            .any(|jwk| same(jwk.get(number), &material[number]))
        {
            continue;
        }
        let message = message(algorithm);
        let signature = Signer::get().sign(algorithm, message.as_bytes());
        if verify(&set, &message, &signature) == Err(Error::UnknownKey) {
            continue;
        }
        let named = usable.iter().any(|jwk| {
            let alg = jwk.get("alg").and_then(Value::as_str);
            let fits = match alg {
                // One operation by its two names (RFC 9864).
                Some("Ed25519") => algorithm == "EdDSA",
                Some(alg) => alg == algorithm,
                None => index != 3 || algorithm == "RS256",
            };
            fits && same(jwk.get(number), &material[number])
        });
        assert!(named, "{algorithm} verified by a key that is for another");
    }
    // A public key is no secret that two share (RFC 8725 section 2.1).
    for jwk in members.iter().filter_map(Value::as_object).take(4) {
        for number in ["k", "n", "x"] {
            let Some(shared) = jwk.get(number).and_then(Value::as_str) else {
                continue;
            };
            let shared = BASE64_URL_SAFE_NO_PAD
                .decode(shared)
                .unwrap_or_else(|_| shared.into());
            let message = message("HS256");
            let key = hmac::Key::new(hmac::HMAC_SHA256, &shared);
            let tag = hmac::sign(&key, message.as_bytes());
            assert_eq!(verify(&set, &message, tag.as_ref()), Err(Error::Algorithm));
        }
    }
    assert_eq!(verify(&set, &message("none"), b""), Err(Error::Algorithm));
}

/// Header and claims, in which nothing is wrong but perhaps the signature and the expiry.
fn message(algorithm: &str) -> String {
    let header = format!(r#"{{"alg":"{algorithm}"}}"#);
    format!(
        "{}.{}",
        base64(header),
        base64(r#"{"iss":"https://idp.test"}"#)
    )
}

fn verify(set: &KeySet, message: &str, signature: &[u8]) -> Result<(), Error> {
    let token = format!("{message}.{}", base64(signature));
    let rules = Asked::all()[0].rules();
    let verified = jwt::verify(&token, set, &issuers(), &rules, now());
    verified.map(|_| ())
}

/// Two numbers in base64url, leading zeros apart.
fn same(one: Option<&Value>, other: &Value) -> bool {
    let number = |value: &Value| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?;
        let start = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes[start..].to_vec())
    };
    one.and_then(number)
        .is_some_and(|one| number(other) == Some(one))
}

/// What a key must at least be to verify signatures.
fn is_usable(jwk: &Map<String, Value>) -> bool {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let kind = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => jwk.contains_key("n") && jwk.contains_key("e"),
        (Some("EC"), Some("P-256" | "P-384")) => jwk.contains_key("x") && jwk.contains_key("y"),
        (Some("OKP"), Some("Ed25519")) => jwk.contains_key("x"),
        _ => false,
    };
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        let list = operations.as_array();
        list.is_some_and(|list| list.iter().any(|operation| operation == "verify"))
    });
    kind && operations
        && !jwk.contains_key("d")
        && jwk.get("use").is_none_or(|purpose| purpose == "sig")
        && jwk.get("alg").is_none_or(|alg| {
            let known = |alg: &str| alg == "Ed25519" || ALGORITHMS.iter().any(|(a, _)| *a == alg);
            alg.as_str().is_some_and(known)
        })
}
