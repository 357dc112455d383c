use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::token::{json::Fault, jwk::KeyIssuer};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn judge_with(answer: &[u8], audience: &[&str], scope_claim: &str) -> Result<Option<Facts>, Error> {
    let path = |name: &str| ClaimPath::new([name.to_owned()]).unwrap();
    let audience: Vec<String> = audience.iter().map(|name| (*name).to_owned()).collect();
    let rules = Rules {
        algorithms: &[],
        audience: &audience,
        leeway: Duration::from_secs(30),
        client_claims: &[],
        introspected_client_claims: &[path("client_id")],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[path(scope_claim)],
        scope_reading: rules::ScopeReading::Every,
        header_claims: &[path("tenant")],
    };
    facts(answer, &["https://idp.example.com".to_owned()], &rules, NOW)
}

fn judge(answer: &[u8]) -> Result<Option<Facts>, Error> {
    judge_with(answer, &[], "scope")
}

/// An active answer with further members, or others in place of its own.
fn with(more: Value) -> Vec<u8> {
    let mut answer = json!({"active": true, "client_id": "app", "exp": 1_000_300});
    answer
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    answer.to_string().into_bytes()
}

#[test]
fn an_active_token_yields_its_facts() {
    let more = json!({"scope": "a b", "iat": 999_000, "nbf": 999_001, "aud": ["x"], "tenant": "t",
        "iss": "https://idp.example.com", "token_type": "Bearer", "username": 1});
    let facts = judge(&with(more)).unwrap().unwrap();
    assert_eq!(facts.client_id.as_str(), "app");
    assert_eq!(facts.scopes.as_str(), "a b");
    assert_eq!(facts.audience[..], ["x"]);
    assert_eq!(facts.expires, Timestamp::from_secs(1_000_300));
    assert_eq!(facts.not_before, Some(Timestamp::from_secs(999_001)));
    assert_eq!(facts.issued, Some(Timestamp::from_secs(999_000)));
    assert_eq!(facts.header_claims, [Some("t".to_owned())]);
}

#[test]
fn only_the_boolean_makes_a_token_active() {
    let deep = format!("{{\"a\":{}", "[".repeat(60_000));
    for (name, answer, expected) in [
        ("active", &with(json!({}))[..], Ok(true)),
        ("inactive", br#"{"active":false}"#, Ok(false)),
        (
            "inactive with claims",
            br#"{"active":false,"exp":"x","cnf":1}"#,
            Ok(false),
        ),
        (
            "text",
            &with(json!({"active": "true"})),
            Err(Error::AnswerWithoutActive),
        ),
        (
            "number",
            &with(json!({"active": 1})),
            Err(Error::AnswerWithoutActive),
        ),
        (
            "null",
            &with(json!({"active": null})),
            Err(Error::AnswerWithoutActive),
        ),
        (
            "missing",
            br#"{"client_id":"app","exp":1000300}"#,
            Err(Error::AnswerWithoutActive),
        ),
        (
            "other case",
            br#"{"Active":true}"#,
            Err(Error::AnswerWithoutActive),
        ),
        (
            "twice",
            br#"{"active":true,"client_id":"app","exp":1000300,"active":false}"#,
            Err(Error::AnswerUnreadable(Fault::Repeated)),
        ),
        (
            "HTML",
            b"<html>",
            Err(Error::AnswerUnreadable(Fault::Syntax)),
        ),
        ("empty", b"", Err(Error::AnswerUnreadable(Fault::Syntax))),
        (
            "list",
            br#"[{"active":true}]"#,
            Err(Error::AnswerUnreadable(Fault::NotObject)),
        ),
        (
            "deep",
            deep.as_bytes(),
            Err(Error::AnswerUnreadable(Fault::Depth)),
        ),
        (
            "large",
            &[b' '; ANSWER_LIMIT + 1],
            Err(Error::AnswerTooLarge),
        ),
    ] {
        let verdict = judge(answer).map(|facts| facts.is_some());
        assert_eq!(verdict, expected, "{name}");
        assert_eq!(
            verdict
                .err()
                .is_some_and(|error| error.is_unreadable_answer()),
            expected.is_err_and(|error| error != Error::AnswerWithoutActive),
            "{name}"
        );
    }
}

#[test]
fn an_active_token_is_judged_like_any_other() {
    for (name, more, expected) in [
        ("ours", json!({"aud": "api"}), None),
        ("for another", json!({"aud": "x"}), Some(Error::Audience)),
        ("for nobody", json!({}), Some(Error::Audience)),
        (
            "issuer of another",
            json!({"iss": "https://x"}),
            Some(Error::Issuer),
        ),
        ("issuer empty", json!({"iss": ""}), Some(Error::Issuer)),
        (
            "issuer odd",
            json!({"iss": 1}),
            Some(Error::ClaimType("iss")),
        ),
        ("expired", json!({"exp": 1}), Some(Error::Expired)),
        (
            "exp as text",
            json!({"exp": "1000300"}),
            Some(Error::ClaimType("exp")),
        ),
        (
            "not yet",
            json!({"nbf": 2_000_000}),
            Some(Error::NotYetValid),
        ),
        (
            "no client",
            json!({"client_id": ""}),
            Some(Error::ClientMissing),
        ),
        ("bound", json!({"cnf": {}}), Some(Error::SenderConstrained)),
        (
            "DPoP",
            json!({"token_type": "DPoP"}),
            Some(Error::SenderConstrained),
        ),
        (
            "refresh",
            json!({"token_type": "refresh_token"}),
            Some(Error::NotAccessToken),
        ),
        (
            "refresh by its long name",
            json!({"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}),
            Some(Error::NotAccessToken),
        ),
        (
            "refresh by use",
            json!({"token_use": "refresh_token"}),
            Some(Error::NotAccessToken),
        ),
        (
            "ID token",
            json!({"token_type": "id_token"}),
            Some(Error::NotAccessToken),
        ),
        (
            "odd type",
            json!({"token_type": 1}),
            Some(Error::ClaimType("token_type")),
        ),
        (
            "bearer",
            json!({"aud": "api", "token_type": "bearer"}),
            None,
        ),
        (
            "access_token",
            json!({"aud": "api", "token_type": "access_token"}),
            None,
        ),
    ] {
        let verdict = judge_with(&with(more), &["api"], "scope");
        assert_eq!(verdict.as_ref().err().copied(), expected, "{name}");
        assert!(
            verdict.is_err() || verdict.is_ok_and(|facts| facts.is_some()),
            "{name}"
        );
    }
    let without_exp = br#"{"active":true,"client_id":"app"}"#;
    assert_eq!(judge(without_exp), Err(Error::ExpiryMissing));
}

#[test]
fn tokens_that_manage_registrations_are_refused_wherever_scopes_are_read() {
    for (scope, refused) in [
        (json!("oauth2_provider:registration"), true),
        (json!("read dcr"), true),
        (json!("dcrm read"), true),
        (json!("internal_dcr_create"), true),
        (json!("internal_dcr_"), true),
        (json!(["read", "dcr"]), true),
        (json!("dcr2 read:dcr internal"), false),
        (json!("DCR"), false),
    ] {
        for (member, scope_claim) in [
            ("scope", "scope"),
            ("scope", "roles"),
            ("scp", "roles"),
            ("roles", "roles"),
        ] {
            let verdict = judge_with(&with(json!({member: scope})), &[], scope_claim);
            let expected = refused.then_some(Error::ManagementScope);
            assert_eq!(
                verdict.err(),
                expected,
                "{scope} in {member}, read from {scope_claim}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_answer_is_read_without_panic(answer in any::<Vec<u8>>()) {
        let _ = judge(&answer);
    }

    #[test]
    fn nothing_but_true_is_active(active in r#"null|false|0|1|"true"|"1"|\[true\]|\{\}|\[\]"#) {
        let answer = format!(r#"{{"active":{active},"client_id":"app","exp":1000300}}"#);
        prop_assert!(!matches!(judge(answer.as_bytes()), Ok(Some(_))));
    }
}
