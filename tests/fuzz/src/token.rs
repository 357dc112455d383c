//! A JWT: header and claims out of the input, signed here so that the signature is good.
//!
//! The input is one byte that picks algorithm and rules, a header, a line feed, and claims. With a
//! first byte of 255 the rest is the token as it stands.

use std::{sync::OnceLock, time::Duration};

use dcr_gateway::{
    model::{claims::ClaimPath, time::Timestamp},
    token::{
        jwk::{KeyIssuer, KeySet},
        jwt,
        rules::{Rules, ScopeReading},
    },
};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::signer::{ALGORITHMS, Signer, base64};

/// The members of a JSON object, read by another reader than the gateway's.
pub(super) type Members = Map<String, Value>;

/// What the provider of these tests is called, and the time at which all tokens are judged.
pub(super) const ISSUERS: [&str; 2] = ["https://idp.test", "https://idp.test/v2"];
pub(super) const NOW: i64 = 1_800_000_000;
const LEEWAY: i64 = 30;

/// The algorithms that one of the strategies lists: all but two.
const LISTED: [Algorithm; 7] = [
    Algorithm::ES256,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// Three strategies' worth of rules.
pub(super) struct Asked {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) audience: Vec<String>,
    pub(super) credential_claim: ClaimPath,
    scope_claims: Vec<ClaimPath>,
    header_claims: Vec<ClaimPath>,
}

fn claim(names: &[&str]) -> ClaimPath {
    ClaimPath::new(names.iter().map(|name| (*name).to_owned())).unwrap()
}

impl Asked {
    pub(super) fn all() -> &'static [Self; 3] {
        static ALL: OnceLock<[Asked; 3]> = OnceLock::new();
        ALL.get_or_init(|| {
            let asked = |algorithms: &[Algorithm], audience: &[&str], names: &[&str]| Self {
                algorithms: algorithms.to_vec(),
                audience: audience.iter().map(|text| (*text).to_owned()).collect(),
                credential_claim: claim(names),
                scope_claims: vec![claim(&["scope"]), claim(&["scp"])],
                header_claims: vec![claim(&["tenant"]), claim(&["user", "groups"])],
            };
            [
                asked(&[], &[], &["client_id"]),
                asked(&[], &["https://api.test", "b"], &["sub"]),
                asked(&LISTED, &["https://api.test"], &["user", "id"]),
            ]
        })
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            algorithms: &self.algorithms,
            audience: &self.audience,
            leeway: Duration::from_secs(LEEWAY as u64),
            client_claims: std::slice::from_ref(&self.credential_claim),
            introspected_client_claims: std::slice::from_ref(&self.credential_claim),
            key_issuer: KeyIssuer::Ignored,
            scope_claims: &self.scope_claims,
            scope_reading: ScopeReading::Every,
            header_claims: &self.header_claims,
        }
    }
}

/// The `iss` values of the provider.
pub(super) fn issuers() -> Vec<String> {
    ISSUERS.iter().map(|text| (*text).to_owned()).collect()
}

/// A set with the signer's keys, each under its position as `kid`; RSA without one too, Ed25519 by
/// that name too.
pub(super) fn keys() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut jwks = Signer::get().jwks().to_vec();
        for (index, jwk) in jwks.iter_mut().enumerate() {
            jwk["kid"] = json!(index.to_string());
        }
        jwks.push(Signer::get().jwks()[3].clone());
        let mut ed25519 = Signer::get().jwks()[0].clone();
        ed25519["kid"] = json!("4");
        ed25519["alg"] = json!("Ed25519");
        jwks.push(ed25519);
        KeySet::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap()
    })
}

/// Nothing is accepted that breaks a rule of [`Rules`] or of `jwt::verify`, and nothing that was
/// accepted stays so without its signature.
pub(super) fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    if *choice == 255 {
        if let Ok(token) = std::str::from_utf8(rest) {
            // Nobody but this target signs with these keys, and only what is below.
            assert!(verify(token, &Asked::all()[0]).is_err());
            is_told_alike(token);
        }
        return;
    }
    let asked = &Asked::all()[usize::from(choice / 9) % 3];
    let algorithm = ALGORITHMS[usize::from(choice % 9)].0;
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (header, claims) = rest.split_at(line.unwrap_or(rest.len()));
    let claims = claims.get(1..).unwrap_or_default();
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = Signer::get().sign(algorithm, message.as_bytes());
    let token = format!("{message}.{}", base64(&signature));
    let accepted = verify(&token, asked);
    let (looks_right, issuer) = is_told_alike(&token);
    let Ok(facts) = accepted else {
        return;
    };

    let header: Members = serde_json::from_slice(header).unwrap();
    // One operation by its two names (RFC 9864).
    let other_name = algorithm == "EdDSA" && header["alg"] == "Ed25519";
    assert!(other_name || header["alg"] == algorithm, "not as signed");
    assert!(!header.contains_key("crit") && header.get("b64").is_none_or(|b64| *b64 == true));
    if let Some(kind) = header.get("typ") {
        let kind = kind.as_str().unwrap().to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        assert!(matches!(kind, "at+jwt" | "jwt"), "typ {kind}");
    }
    if !asked.algorithms.is_empty() {
        assert!(!["EdDSA", "ES384"].contains(&algorithm), "not in the list");
    }
    let claims: Members = serde_json::from_slice(claims).unwrap();
    let claimed = claims["iss"].as_str().unwrap();
    assert!(ISSUERS.contains(&claimed), "another issuer");
    assert!(looks_right, "sent to introspection");
    assert_eq!(issuer.as_deref(), Some(claimed), "sought with another IdP");
    judge(&claims, &facts, asked);

    let other = &token[..token.rfind('.').unwrap() + 1];
    assert!(verify(other, asked).is_err(), "without a signature");
    let none = format!(
        "{}.{}.",
        base64(r#"{"alg":"none"}"#),
        base64(claims_text(&token))
    );
    assert!(verify(&none, asked).is_err(), "by none");
    let mut forged = signature;
    let at = usize::from(*choice) % forged.len();
    forged[at] ^= 1;
    let forged = format!("{message}.{}", base64(forged));
    assert!(verify(&forged, asked).is_err(), "with another signature");
    assert!(
        jwt::verify(
            &token,
            &KeySet::default(),
            &issuers(),
            &asked.rules(),
            now()
        )
        .is_err(),
        "without a key"
    );
}

/// What an unverified token says of itself: the same taken apart as read by itself.
fn is_told_alike(token: &str) -> (bool, Option<String>) {
    let decoded = jwt::Decoded::new(token);
    let taken = jwt::Jwt::new(&decoded);
    let told = (jwt::looks_like_jwt(token), jwt::issuer(token));
    assert_eq!(taken.looks_like_jwt(), told.0, "a JWT or none");
    assert_eq!(taken.issuer().as_deref(), told.1.as_deref(), "whose");
    told
}

fn claims_text(token: &str) -> Vec<u8> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let part = token.split('.').nth(1).unwrap();
    BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

fn verify(
    token: &str,
    asked: &Asked,
) -> Result<dcr_gateway::model::claims::Facts, dcr_gateway::token::Error> {
    let (facts, key) = jwt::verify(token, keys(), &issuers(), &asked.rules(), now())?;
    assert!(keys().holds(key));
    Ok(facts)
}

/// What is true of the claims of every token that was accepted, by signature or introspection.
pub(super) fn judge(claims: &Members, facts: &dcr_gateway::model::claims::Facts, asked: &Asked) {
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap());
    let expires = seconds("exp").expect("no exp");
    assert!(expires > (NOW - LEEWAY) as f64, "expired");
    for name in ["nbf", "iat"] {
        let time = seconds(name).unwrap_or_default();
        assert!(time < (NOW + LEEWAY + 1) as f64, "{name} in the future");
    }
    for name in ["nonce", "at_hash", "c_hash", "cnf"] {
        assert!(!claims.contains_key(name), "{name}");
    }
    let is = |name: &str, words: &[&str]| {
        let value = claims.get(name).and_then(Value::as_str).unwrap_or_default();
        words.iter().any(|word| value.eq_ignore_ascii_case(word))
    };
    assert!(!is("typ", &["id", "refresh"]), "typ");
    assert!(!is("token_use", &["id", "refresh"]), "token_use");
    assert!(is("purpose", &["access_token"]) || !claims.contains_key("purpose"));
    if !asked.audience.is_empty() {
        let named = match &claims["aud"] {
            Value::String(text) => asked.audience.contains(text),
            Value::Array(list) => list
                .iter()
                .any(|text| asked.audience.iter().any(|known| text == known)),
            other => panic!("aud {other}"),
        };
        assert!(named, "another audience");
    }
    let id = facts.client_id.as_str();
    let mut names = asked.credential_claim.names();
    let first = claims.get(names.next().unwrap());
    assert_eq!(
        names.fold(first, |value, name| value?.get(name)).unwrap(),
        id
    );
    assert!(
        !id.is_empty() && !id.chars().any(char::is_control),
        "{id:?}"
    );
    if asked.credential_claim.is("sub") {
        for name in ["client_id", "azp", "cid", "appid"] {
            let same = claims.get(name).is_none_or(|other| other == id);
            assert!(same, "{name} is somebody else");
        }
    }
    for scope in facts.scopes.as_str().split(' ') {
        let told = ["scope", "scp"].iter().any(|name| match claims.get(*name) {
            Some(Value::String(text)) => text.split(' ').any(|word| word == scope),
            Some(Value::Array(list)) => list
                .iter()
                .any(|text| text.as_str().unwrap().split(' ').any(|word| word == scope)),
            _ => false,
        });
        assert!(told || scope.is_empty(), "a scope that nobody granted");
    }
    assert_eq!(facts.header_claims.len(), 2);
}
