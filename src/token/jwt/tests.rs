use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    model::claims::ClaimPath,
    token::{
        json::Fault,
        jwk::KeyIssuer,
        mint::{Mint, base64},
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#;
const PAYLOAD: &str = r#"{"iss":"https://idp.example.com","exp":1000300,"iat":999999,"aud":"api","client_id":"app","scope":"read write"}"#;

fn verify_with(token: &str, keys: &KeySet) -> Result<Facts, Error> {
    verify_by(KeyIssuer::Ignored, token, keys)
}

fn verify_by(key_issuer: KeyIssuer, token: &str, keys: &KeySet) -> Result<Facts, Error> {
    let rules = Rules {
        algorithms: &[],
        audience: &["api".to_owned()],
        leeway: Duration::from_secs(30),
        client_claims: &[ClaimPath::new(["client_id".to_owned()]).unwrap()],
        introspected_client_claims: &[],
        key_issuer,
        scope_claims: &[ClaimPath::new(["scope".to_owned()]).unwrap()],
        scope_reading: rules::ScopeReading::Every,
        header_claims: &[],
    };
    let issuers = [
        "https://idp.example.com".to_owned(),
        "https://other.example.com/".to_owned(),
    ];
    verify(token, keys, &issuers, &rules, NOW).map(|(facts, key)| {
        assert!(keys.holds(key));
        facts
    })
}

/// Signs header and payload and verifies the token with the key.
fn judge(header: &str, payload: &str) -> Result<(), Error> {
    let mint = Mint::ed25519();
    verify_with(
        &mint.token("EdDSA", header, payload),
        &mint.keys(json!({"kid": "k"})),
    )
    .map(|_| ())
}

/// The payload with further members, or others in place of its own.
fn with(more: Value) -> String {
    let mut payload: Value = serde_json::from_str(PAYLOAD).unwrap();
    payload
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    payload.to_string()
}

#[test]
fn a_key_with_an_issuer_signs_for_that_alone_where_it_binds() {
    let mint = Mint::ed25519();
    let token = mint.token("EdDSA", HEADER, PAYLOAD);
    for (key, binds) in [
        (json!({"kid": "k"}), Ok(())),
        (
            json!({"kid": "k", "issuer": "https://idp.example.com"}),
            Ok(()),
        ),
        (
            json!({"kid": "k", "issuer": "https://idp/{tenantid}/v2.0"}),
            Ok(()),
        ),
        (json!({"kid": "k", "issuer": 1}), Ok(())),
        (
            json!({"kid": "k", "issuer": "https://other.example.com/"}),
            Err(Error::Issuer),
        ),
    ] {
        let keys = mint.keys(key.clone());
        let verdict = |way| verify_by(way, &token, &keys).map(|_| ());
        assert_eq!(verdict(KeyIssuer::Binds), binds, "{key}");
        assert_eq!(verdict(KeyIssuer::Ignored), Ok(()), "{key}");
    }
}

#[test]
fn a_nonce_in_the_header_tells_why_no_signature_can_fit() {
    let mint = Mint::ed25519();
    let hashed = r#"{"alg":"EdDSA","typ":"JWT","kid":"k","nonce":"hash of n"}"#;
    let sent = r#"{"alg":"EdDSA","typ":"JWT","kid":"k","nonce":"n"}"#;
    let token = mint.token("EdDSA", hashed, PAYLOAD);
    let (_, rest) = token.split_once('.').unwrap();
    let token = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(sent));
    let keys = mint.keys(json!({"kid": "k"}));
    assert_eq!(verify_with(&token, &keys).err(), Some(Error::GraphToken));
    // One that was not hashed is a signature like any other.
    let token = mint.token("EdDSA", sent, PAYLOAD);
    assert!(verify_with(&token, &keys).is_ok());
}

#[test]
fn a_good_token_yields_its_facts() {
    for (algorithm, mint) in [
        ("EdDSA", Mint::ed25519()),
        ("ES256", Mint::p256()),
        ("ES384", Mint::p384()),
        ("RS256", Mint::rsa()),
    ] {
        let token = mint.token(algorithm, &json!({"alg": algorithm}).to_string(), PAYLOAD);
        let facts = verify_with(&token, &mint.keys(json!({}))).unwrap();
        assert_eq!(facts.client_id.as_str(), "app");
        assert_eq!(facts.audience[..], ["api"]);
        assert_eq!(facts.scopes.as_str(), "read write");
        assert_eq!(facts.expires, Timestamp::from_secs(1_000_300));
        assert_eq!(facts.issued, Some(Timestamp::from_secs(999_999)));
        assert_eq!(facts.not_before, None);
    }
}

#[test]
fn the_header_is_judged() {
    for (name, header, expected) in [
        ("good", HEADER, Ok(())),
        ("no typ", r#"{"alg":"EdDSA","kid":"k"}"#, Ok(())),
        ("no kid", r#"{"alg":"EdDSA"}"#, Ok(())),
        (
            "typ JWT",
            r#"{"alg":"EdDSA","kid":"k","typ":"JWT"}"#,
            Ok(()),
        ),
        (
            "typ in other case",
            r#"{"alg":"EdDSA","kid":"k","typ":"AT+JwT"}"#,
            Ok(()),
        ),
        (
            "typ whole",
            r#"{"alg":"EdDSA","kid":"k","typ":"Application/at+jwt"}"#,
            Ok(()),
        ),
        (
            "typ logout",
            r#"{"alg":"EdDSA","kid":"k","typ":"logout+jwt"}"#,
            Err(Error::Type),
        ),
        (
            "typ DPoP",
            r#"{"alg":"EdDSA","kid":"k","typ":"dpop+jwt"}"#,
            Err(Error::Type),
        ),
        (
            "typ empty",
            r#"{"alg":"EdDSA","kid":"k","typ":""}"#,
            Err(Error::Type),
        ),
        (
            "typ prefix alone",
            r#"{"alg":"EdDSA","kid":"k","typ":"application/"}"#,
            Err(Error::Type),
        ),
        (
            "typ across a letter",
            r#"{"alg":"EdDSA","typ":"applicatioé/jwt"}"#,
            Err(Error::Type),
        ),
        (
            "typ number",
            r#"{"alg":"EdDSA","kid":"k","typ":1}"#,
            Err(Error::Header),
        ),
        (
            "unknown members",
            r#"{"alg":"EdDSA","kid":"k","x":[1],"zip":"DEF"}"#,
            Ok(()),
        ),
        ("white space", "\n{ \"alg\" : \"EdDSA\" } ", Ok(())),
        (
            "crit",
            r#"{"alg":"EdDSA","kid":"k","crit":["x"],"x":1}"#,
            Err(Error::Critical),
        ),
        (
            "crit empty",
            r#"{"alg":"EdDSA","kid":"k","crit":[]}"#,
            Err(Error::Critical),
        ),
        (
            "crit odd",
            r#"{"alg":"EdDSA","kid":"k","crit":null}"#,
            Err(Error::Critical),
        ),
        (
            "b64 demanded",
            r#"{"alg":"EdDSA","kid":"k","crit":["b64"],"b64":false}"#,
            Err(Error::Critical),
        ),
        (
            "b64 false",
            r#"{"alg":"EdDSA","kid":"k","b64":false}"#,
            Err(Error::Critical),
        ),
        (
            "b64 true",
            r#"{"alg":"EdDSA","kid":"k","b64":true}"#,
            Ok(()),
        ),
        ("no alg", r#"{"kid":"k"}"#, Err(Error::Header)),
        ("alg number", r#"{"alg":1,"kid":"k"}"#, Err(Error::Header)),
        (
            "alg none",
            r#"{"alg":"none","kid":"k"}"#,
            Err(Error::Algorithm),
        ),
        (
            "alg of another key",
            r#"{"alg":"RS256","kid":"k"}"#,
            Err(Error::Algorithm),
        ),
        (
            "alg HS256",
            r#"{"alg":"HS256","kid":"k"}"#,
            Err(Error::Algorithm),
        ),
        (
            "kid number",
            r#"{"alg":"EdDSA","kid":1}"#,
            Err(Error::Header),
        ),
        (
            "kid unknown",
            r#"{"alg":"EdDSA","kid":"../k"}"#,
            Err(Error::UnknownKey),
        ),
        (
            "alg twice",
            r#"{"alg":"EdDSA","alg":"none","kid":"k"}"#,
            Err(Error::Json(Fault::Repeated)),
        ),
        ("array", "[]", Err(Error::Json(Fault::NotObject))),
        ("not JSON", "alg=EdDSA", Err(Error::Json(Fault::Syntax))),
    ] {
        assert_eq!(judge(header, PAYLOAD), expected, "{name}");
    }
}

#[test]
fn keys_and_addresses_in_the_header_are_never_used() {
    let (mint, stranger) = (Mint::ed25519(), Mint::ed25519());
    let keys = mint.keys(json!({"kid": "k"}));
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let header = json!({"alg": "EdDSA", "kid": "k", name: stranger.jwk(json!({"kid": "k"}))});
        let forged = stranger.token("EdDSA", &header.to_string(), PAYLOAD);
        assert_eq!(verify_with(&forged, &keys), Err(Error::Signature), "{name}");
        let good = mint.token("EdDSA", &header.to_string(), PAYLOAD);
        assert!(verify_with(&good, &keys).is_ok(), "{name}");
    }
}

#[test]
fn the_public_key_is_no_shared_secret() {
    use aws_lc_rs::hmac;
    let mint = Mint::rsa();
    let Mint::Rsa(pair) = &mint else {
        unreachable!()
    };
    let der = aws_lc_rs::signature::KeyPair::public_key(pair).as_ref();
    let jwk = mint.jwk(json!({"kid": "k"}));
    for secret in [
        der.to_vec(),
        jwk.to_string().into_bytes(),
        base64(der).into_bytes(),
    ] {
        let message = format!(
            "{}.{}",
            base64(r#"{"alg":"HS256","kid":"k"}"#),
            base64(PAYLOAD)
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &secret),
            message.as_bytes(),
        );
        let token = format!("{message}.{}", base64(tag));
        let keys = mint.keys(json!({"kid": "k"}));
        assert_eq!(verify_with(&token, &keys), Err(Error::Algorithm));
    }
}

#[test]
fn the_payload_is_judged_after_the_signature() {
    let deep = format!("{{\"a\":{}", "[".repeat(10_000));
    for (name, payload, expected) in [
        ("good", PAYLOAD.to_owned(), Ok(())),
        ("pretty", PAYLOAD.replace(',', ",\n  "), Ok(())),
        ("unknown claims", with(json!({"x": {"y": [1]}})), Ok(())),
        (
            "second issuer",
            with(json!({"iss": "https://other.example.com/"})),
            Ok(()),
        ),
        (
            "slash at the issuer",
            with(json!({"iss": "https://idp.example.com/"})),
            Err(Error::Issuer),
        ),
        (
            "issuer in other case",
            with(json!({"iss": "https://IDP.example.com"})),
            Err(Error::Issuer),
        ),
        (
            "issuer in a list",
            with(json!({"iss": ["https://idp.example.com"]})),
            Err(Error::ClaimType("iss")),
        ),
        (
            "no issuer",
            r#"{"exp":1000300,"client_id":"app"}"#.to_owned(),
            Err(Error::Issuer),
        ),
        (
            "other audience",
            with(json!({"aud": "x"})),
            Err(Error::Audience),
        ),
        (
            "other audience, expired",
            with(json!({"aud": "x", "exp": 1})),
            Err(Error::Expired),
        ),
        (
            "other audience, ID token",
            with(json!({"aud": "x", "nonce": "n"})),
            Err(Error::NotAccessToken),
        ),
        (
            "expired",
            with(json!({"exp": 999_970})),
            Err(Error::Expired),
        ),
        ("within the leeway", with(json!({"exp": 999_971})), Ok(())),
        (
            "exp with fraction",
            with(json!({"exp": 1_000_300.5})),
            Ok(()),
        ),
        (
            "exp as text",
            with(json!({"exp": "1000300"})),
            Err(Error::ClaimType("exp")),
        ),
        (
            "nbf in an hour",
            with(json!({"nbf": 1_003_600})),
            Err(Error::NotYetValid),
        ),
        (
            "iat in an hour",
            with(json!({"iat": 1_003_600})),
            Err(Error::IssuedInFuture),
        ),
        (
            "no exp",
            PAYLOAD.replace("\"exp\":1000300,", ""),
            Err(Error::ExpiryMissing),
        ),
        (
            "infinite exp",
            PAYLOAD.replace("1000300", "1e400"),
            Err(Error::Payload(Fault::Syntax)),
        ),
        (
            "bound",
            with(json!({"cnf": {"jkt": "x"}})),
            Err(Error::SenderConstrained),
        ),
        (
            "client twice",
            PAYLOAD.replace("{", r#"{"client_id":"admin","#),
            Err(Error::Payload(Fault::Repeated)),
        ),
        ("too deep", deep, Err(Error::Payload(Fault::Depth))),
        (
            "nested JWT",
            "a.b.c".to_owned(),
            Err(Error::Payload(Fault::Syntax)),
        ),
        (
            "trailing byte",
            format!("{PAYLOAD}x"),
            Err(Error::Payload(Fault::Syntax)),
        ),
        ("empty", String::new(), Err(Error::Payload(Fault::Syntax))),
    ] {
        assert_eq!(judge(HEADER, &payload), expected, "{name}");
        // A stranger's signature hides what the claims would have been refused for.
        let forged = Mint::ed25519().token("EdDSA", HEADER, &payload);
        let keys = Mint::ed25519().keys(json!({"kid": "k"}));
        assert_eq!(verify_with(&forged, &keys), Err(Error::Signature), "{name}");
    }
}

#[test]
fn the_compact_form_is_strict() {
    let mint = Mint::p256();
    let keys = mint.keys(json!({"kid": "k"}));
    let token = mint.token("ES256", r#"{"alg":"ES256","kid":"k"}"#, PAYLOAD);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let resign = |message: &str| {
        format!(
            "{message}.{}",
            base64(mint.sign("ES256", message.as_bytes()))
        )
    };
    let mut loose = signature.to_owned();
    let last = if loose.pop() == Some('A') { 'B' } else { 'Z' };
    loose.push(last);
    for (name, token, expected) in [
        ("good", token.clone(), Ok(())),
        ("empty", String::new(), Err(Error::NotJwt)),
        ("one part", "abc".to_owned(), Err(Error::NotJwt)),
        ("two parts", message.to_owned(), Err(Error::NotJwt)),
        ("four parts", format!("{token}.x"), Err(Error::NotJwt)),
        ("five parts", "a.b.c.d.e".to_owned(), Err(Error::NotJwt)),
        (
            "JSON form",
            r#"{"payload":"x","signatures":[]}"#.to_owned(),
            Err(Error::NotJwt),
        ),
        ("no signature", format!("{message}."), Err(Error::Signature)),
        (
            "no payload",
            resign(&format!("{header}.")),
            Err(Error::Payload(Fault::Syntax)),
        ),
        (
            "no header",
            resign(&format!(".{payload}")),
            Err(Error::Json(Fault::Syntax)),
        ),
        (
            "padded header",
            resign(&format!("{header}=.{payload}")),
            Err(Error::Base64),
        ),
        (
            "padded payload",
            resign(&format!("{header}.{payload}=")),
            Err(Error::Base64),
        ),
        ("padded signature", format!("{token}=="), Err(Error::Base64)),
        (
            "left-over bits",
            format!("{message}.{loose}"),
            Err(Error::Base64),
        ),
        (
            "standard alphabet",
            resign(&format!("{header}.++//")),
            Err(Error::Base64),
        ),
        (
            "space",
            resign(&format!("{header}. {payload}")),
            Err(Error::Base64),
        ),
        (
            "length 1 mod 4",
            resign(&format!("{header}.abcde")),
            Err(Error::Base64),
        ),
        (
            "other payload",
            token.replace(payload, &base64("{}")),
            Err(Error::Signature),
        ),
        (
            "too large",
            format!("{message}.{}", "A".repeat(TOKEN_LIMIT)),
            Err(Error::TooLarge),
        ),
    ] {
        assert_eq!(verify_with(&token, &keys).map(|_| ()), expected, "{name}");
    }
}

#[test]
fn a_token_that_is_meant_as_a_jwt_is_told_from_others() {
    let header = base64(HEADER);
    let repeated = base64(r#"{"alg":"none","alg":"RS256"}"#);
    for (name, token, expected) in [
        ("good", format!("{header}.e30.c2ln"), true),
        ("signature empty", format!("{header}.e30."), true),
        ("payload empty", format!("{header}..c2ln"), true),
        (
            "white space in the header",
            format!("{}.e30.x", base64(" {}")),
            true,
        ),
        ("names repeated", format!("{repeated}.e30.x"), true),
        ("opaque", "2YotnFZFEjr1zCsicMWpAA".to_owned(), false),
        ("dots", "a.b.c".to_owned(), false),
        ("two parts", format!("{header}.e30"), false),
        ("encrypted", format!("{header}.a.b.c.d"), false),
        ("header no object", format!("{}.e30.x", base64("[]")), false),
        ("header not JSON", format!("{}.e30.x", base64("{x")), false),
        ("other characters", format!("{header}.e~0.x"), false),
        (
            "deep header",
            format!("{}.e30.x", base64("[".repeat(20_000))),
            false,
        ),
        ("empty", String::new(), false),
        (
            "too large",
            format!("{header}.{}.x", "A".repeat(TOKEN_LIMIT)),
            false,
        ),
    ] {
        assert_eq!(looks_like_jwt(&token), expected, "{name}");
    }
}

#[test]
fn the_unverified_issuer_is_one_text() {
    for (name, payload, expected) in [
        ("good", PAYLOAD, Some("https://idp.example.com")),
        ("escaped", r#"{"iss":"a\u002fb"}"#, Some("a/b")),
        ("absent", "{}", None),
        ("twice", r#"{"iss":"a","iss":"b"}"#, None),
        ("list", r#"{"iss":["a"]}"#, None),
        ("null", r#"{"iss":null}"#, None),
        ("not JSON", "iss=a", None),
        ("trailing byte", r#"{"iss":"a"}x"#, None),
    ] {
        let token = format!("e30.{}.x", base64(payload));
        assert_eq!(issuer(&token).as_deref(), expected, "{name}");
    }
    assert_eq!(issuer("e30.e30"), None);
    let deep = format!(
        "{{\"a\":{}{},\"iss\":\"x\"}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(
        issuer(&format!("e30.{}.x", base64(deep))).as_deref(),
        Some("x")
    );
}

/// Whether [`Jwt`] says the same as who looks into the text.
fn is_told_alike(token: &str) -> bool {
    let decoded = Decoded::new(token);
    let mut jwt = Jwt::new(&decoded);
    let told = |jwt: &Jwt<'_>| (jwt.looks_like_jwt(), jwt.issuer().map(Cow::into_owned));
    let first = told(&jwt);
    jwt.put_together();
    first == told(&jwt) && first == (looks_like_jwt(token), issuer(token))
}

#[test]
fn a_token_says_the_same_however_often_it_is_taken_apart() {
    let header = base64(HEADER);
    let of_payload = |payload: &str| format!("{header}.{}.c2ln", base64(payload));
    for (name, token) in [
        ("good", of_payload(PAYLOAD)),
        ("no JWT", "2YotnFZFEjr1zCsicMWpAA".to_owned()),
        ("no issuer", of_payload("{}")),
        ("issuer twice", of_payload(r#"{"iss":"a","iss":"b"}"#)),
        ("issuer a number", of_payload(r#"{"iss":1}"#)),
        (
            "another name twice",
            of_payload(r#"{"iss":"a","x":1,"x":2}"#),
        ),
        ("a number too large", of_payload(r#"{"iss":"a","x":1e999}"#)),
        (
            "deep",
            of_payload(&format!(
                r#"{{"iss":"a","x":{}0{}}}"#,
                "[".repeat(40),
                "]".repeat(40)
            )),
        ),
        ("a list", of_payload(r#"["a"]"#)),
        ("not JSON", of_payload("iss=a")),
        ("no base64", format!("{header}.e30A1.c2ln")),
        (
            "the signature no base64",
            format!("{header}.{}.c2lnA", base64(PAYLOAD)),
        ),
        (
            "names repeated in the header",
            format!("{}.{}.x", base64(r#"{"a":1,"a":1}"#), base64(PAYLOAD)),
        ),
        (
            "too large",
            of_payload(&format!(r#"{{"iss":"{}"}}"#, "a".repeat(TOKEN_LIMIT))),
        ),
    ] {
        assert!(is_told_alike(&token), "{name}");
    }
}

#[test]
fn errors_never_repeat_the_token() {
    let marked = r#"{"alg":"EdDSA","kid":"k","typ":"canary"}"#;
    let error = judge(marked, PAYLOAD).unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.reason()).contains("canary"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
        prop_assert!(is_told_alike(&text));
        prop_assert!(verify_with(&text, &KeySet::default()).is_err());
    }

    #[test]
    fn any_parts_are_judged_without_panic(
        header in any::<Vec<u8>>(),
        payload in any::<Vec<u8>>(),
        signature in any::<Vec<u8>>(),
    ) {
        let token = format!("{}.{}.{}", base64(header), base64(payload), base64(signature));
        prop_assert!(is_told_alike(&token));
        prop_assert!(verify_with(&token, &KeySet::default()).is_err());
    }

    #[test]
    fn any_json_says_the_same_however_often_it_is_taken_apart(
        members in prop::collection::vec("\"(iss|x|\\\\u0069ss)\":(\"[a-z]{0,2}\"|[0-9]|\\[\\{\\}\\]|null)", 0..4),
        ends in "\\}?",
    ) {
        let json = format!("{{{}{ends}", members.join(","));
        let token = format!("{}.{}.x", base64(HEADER), base64(&json));
        prop_assert!(is_told_alike(&token), "{json}");
        let token = format!("{}.{}.x", base64(&json), base64(&json));
        prop_assert!(is_told_alike(&token), "{json}");
    }

    #[test]
    fn signed_payloads_of_any_shape_are_judged_without_panic(
        name in "exp|nbf|iat|iss|aud|scope|client_id|typ|purpose|token_use|cnf|nonce",
        value in r#"null|true|-?[0-9]{1,25}(\.[0-9]{1,9})?(e[0-9]{1,3})?|"[a-z]{0,5}"|\[("a",)*1\]|\{\}"#,
    ) {
        let payload: Value = serde_json::from_str(PAYLOAD).unwrap();
        let mut members = payload.as_object().unwrap().clone();
        members.remove(&name);
        let rest = Value::Object(members).to_string();
        let _ = judge(HEADER, &rest.replacen('{', &format!("{{\"{name}\":{value},"), 1));
    }

    #[test]
    fn no_letter_of_a_token_can_change(index in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_-]") {
        let mint = Mint::ed25519();
        let mut token = mint.token("EdDSA", HEADER, PAYLOAD);
        let index = index.index(token.len());
        prop_assume!(token[index..=index] != letter && &token[index..=index] != ".");
        token.replace_range(index..=index, &letter);
        let keys = mint.keys(json!({"kid": "k"}));
        prop_assert!(verify_with(&token, &keys).is_err());
    }
}

#[test]
fn what_stands_before_a_signature_is_shown_whatever_that_is() {
    for (token, shown) in [
        ("e30.e30.c2ln", true),
        ("e30.e30.", true),
        ("e30.e30.no base64", true),
        ("e30.no base64.c2ln", false),
        ("e30.e30", false),
    ] {
        assert_eq!(unverified(token).is_some(), shown, "{token}");
    }
}
