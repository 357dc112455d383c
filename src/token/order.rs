//! Proves that checks are made in the order in which they are told: a token with two faults is
//! refused for the earlier one.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Error, introspection,
    jwk::KeyIssuer,
    jwt,
    mint::{Mint, base64},
    rules::{Rules, ScopeReading},
};
use crate::model::{check::Check, claims::ClaimPath, time::Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const ISSUER: &str = "https://idp.example.com";

/// A token before it is signed.
struct Draft {
    header: Value,
    payload: String,
    claims: Value,
    forged: bool,
    suffix: &'static str,
}

type Fault<T> = (Check, &'static str, fn(&mut T));

const OF_JWT: &[Fault<Draft>] = &[
    (Check::TokenForm, "a fourth part", |d| d.suffix = ".x"),
    (Check::TokenForm, "padding", |d| d.suffix = "="),
    (Check::TokenHeader, "no alg", |d| {
        d.header.as_object_mut().unwrap().remove("alg");
    }),
    (Check::TokenHeader, "kid", |d| d.header["kid"] = json!(1)),
    (Check::TokenHeader, "typ", |d| d.header["typ"] = json!(1)),
    (Check::TokenHeader, "crit", |d| {
        d.header["crit"] = json!(["exp"])
    }),
    (Check::TokenType, "typ", |d| {
        d.header["typ"] = json!("dpop+jwt")
    }),
    (Check::Key, "alg", |d| d.header["alg"] = json!("HS256")),
    (Check::Key, "kid", |d| d.header["kid"] = json!("other")),
    (Check::Signature, "a stranger's", |d| d.forged = true),
    (Check::Payload, "not JSON", |d| d.payload.push('x')),
    (Check::Issuer, "iss", |d| d.claims["iss"] = json!("x")),
    (Check::Issuer, "iss's type", |d| d.claims["iss"] = json!(1)),
    (Check::TokenUse, "nonce", |d| d.claims["nonce"] = json!("x")),
    (Check::TokenUse, "purpose", |d| {
        d.claims["purpose"] = json!(1)
    }),
    (Check::TokenUse, "cnf", |d| d.claims["cnf"] = json!({})),
    (Check::ClientClaim, "no client", |d| {
        d.claims.as_object_mut().unwrap().remove("client_id");
    }),
    (Check::ClientClaim, "client's type", |d| {
        d.claims["client_id"] = json!(1);
    }),
    (Check::Claims, "aud's type", |d| d.claims["aud"] = json!(1)),
    (Check::Claims, "scope's type", |d| {
        d.claims["scope"] = json!(1)
    }),
    (Check::Claims, "no exp", |d| {
        d.claims.as_object_mut().unwrap().remove("exp");
    }),
    (Check::Claims, "nbf's type", |d| {
        d.claims["nbf"] = json!("x")
    }),
    (Check::Times, "expired", |d| d.claims["exp"] = json!(1)),
    (Check::Times, "nbf", |d| d.claims["nbf"] = json!(2_000_000)),
    (Check::Audience, "aud", |d| d.claims["aud"] = json!("other")),
];

const OF_ANSWER: &[Fault<Value>] = &[
    (Check::IntrospectionAnswer, "no active", |a| {
        a.as_object_mut().unwrap().remove("active");
    }),
    (Check::Active, "inactive", |a| a["active"] = json!(false)),
    (Check::Issuer, "iss", |a| a["iss"] = json!("x")),
    (Check::TokenUse, "refresh token", |a| {
        a["token_type"] = json!("refresh_token");
    }),
    (Check::TokenUse, "nonce", |a| a["nonce"] = json!("x")),
    (Check::ClientClaim, "no client", |a| {
        a.as_object_mut().unwrap().remove("client_id");
    }),
    (Check::Claims, "aud's type", |a| a["aud"] = json!(1)),
    (Check::Claims, "no exp", |a| {
        a.as_object_mut().unwrap().remove("exp");
    }),
    (Check::ManagementScope, "dcr", |a| a["scope"] = json!("dcr")),
    (Check::Times, "expired", |a| a["exp"] = json!(1)),
    (Check::Audience, "aud", |a| a["aud"] = json!("other")),
];

fn claims() -> Value {
    json!({"iss": ISSUER, "exp": 1_000_300, "iat": 999_999, "aud": "api", "client_id": "app",
        "scope": "read"})
}

fn judged<T>(judge: impl FnOnce(&Rules<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let path = |name: &str| ClaimPath::new([name.to_owned()]).unwrap();
    judge(&Rules {
        algorithms: &[],
        audience: &["api".to_owned()],
        leeway: Duration::from_secs(30),
        client_claims: &[path("client_id")],
        introspected_client_claims: &[path("client_id")],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[path("scope")],
        scope_reading: ScopeReading::Every,
        header_claims: &[],
    })
}

/// The check that a token with these faults fails.
fn of_jwt(mints: &(Mint, Mint), faults: &[&Fault<Draft>]) -> Option<Check> {
    let mut draft = Draft {
        header: json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k"}),
        payload: String::new(),
        claims: claims(),
        forged: false,
        suffix: "",
    };
    faults.iter().for_each(|(_, _, spoil)| spoil(&mut draft));
    let payload = format!("{}{}", draft.claims, draft.payload);
    let message = format!("{}.{}", base64(draft.header.to_string()), base64(&payload));
    let signer = if draft.forged { &mints.1 } else { &mints.0 };
    let signature = base64(signer.sign("EdDSA", message.as_bytes()));
    let token = format!("{message}.{signature}{}", draft.suffix);
    let keys = mints.0.keys(json!({"kid": "k"}));
    let issuers = [ISSUER.to_owned()];
    let result = judged(|rules| jwt::verify(&token, &keys, &issuers, rules, NOW));
    result.err().map(|error| error.check().unwrap())
}

/// The check that an answer with these faults fails.
fn of_answer(faults: &[&Fault<Value>]) -> Option<Check> {
    let mut answer = claims();
    answer["active"] = json!(true);
    faults.iter().for_each(|(_, _, spoil)| spoil(&mut answer));
    let (answer, issuers) = (answer.to_string(), [ISSUER.to_owned()]);
    match judged(|rules| introspection::facts(answer.as_bytes(), &issuers, rules, NOW)) {
        Ok(Some(_)) => None,
        Ok(None) => Some(Check::Active),
        Err(error) => Some(error.check().unwrap()),
    }
}

/// Tries each fault alone and each pair of faults of different checks.
fn assert_in_order<T>(
    order: &[Check],
    faults: &[Fault<T>],
    check: impl Fn(&[&Fault<T>]) -> Option<Check>,
) {
    assert_eq!(check(&[]), None, "without a fault");
    for expected in order {
        let known = faults.iter().any(|(of, _, _)| of == expected);
        assert!(known, "no fault of {expected:?} is tried");
    }
    let place = |check: Check| order.iter().position(|known| *known == check).unwrap();
    for one in faults {
        assert_eq!(check(&[one]), Some(one.0), "{}", one.1);
        for other in faults.iter().filter(|other| place(other.0) > place(one.0)) {
            // The earlier one is made last: two faults of one member leave that one.
            assert_eq!(check(&[other, one]), Some(one.0), "{}, {}", one.1, other.1);
        }
    }
}

#[test]
fn a_token_is_refused_for_the_first_check_that_it_fails() {
    let mints = (Mint::ed25519(), Mint::ed25519());
    assert_in_order(&Check::OF_JWT, OF_JWT, |faults| of_jwt(&mints, faults));
}

#[test]
fn an_answer_is_refused_for_the_first_check_that_it_fails() {
    assert_in_order(&Check::OF_ANSWER, OF_ANSWER, of_answer);
}
