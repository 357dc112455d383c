use serde_json::{Value, json};

use super::*;
use crate::token::json;

pub(in crate::token) fn path(names: &[&str]) -> ClaimPath {
    ClaimPath::new(names.iter().map(|name| (*name).to_owned())).unwrap()
}

/// The text of these members together.
fn members(base: Value, more: &Value) -> String {
    let mut all = base.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all).to_string()
}

fn claims(text: &str) -> Claims<'_> {
    json::claims(text.as_bytes()).unwrap()
}

/// Reads claims of which `exp` and `client_id` are good.
fn read(credential_claim: &[&str], more: Value) -> Result<Facts, Error> {
    let all = members(json!({"exp": 1000, "client_id": "app"}), &more);
    let rules = Rules {
        algorithms: &[],
        audience: &[],
        leeway: Duration::ZERO,
        client_claims: &[],
        introspected_client_claims: &[],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[path(&["scope"]), path(&["scp"]), path(&["realm", "roles"])],
        scope_reading: ScopeReading::Every,
        header_claims: &[path(&["tenant"]), path(&["user", "groups"])],
    };
    rules.read(&claims(&all), &[path(credential_claim)])
}

#[test]
fn only_the_configured_claim_names_the_client() {
    let table = [
        ("top level", &["client_id"][..], json!({}), Ok("app")),
        (
            "nested",
            &["app", "id"],
            json!({"app": {"id": "x"}}),
            Ok("x"),
        ),
        (
            "dots are no path",
            &["app.id"],
            json!({"app": {"id": "x"}}),
            Err(Error::ClientMissing),
        ),
        ("spaces stay", &["azp"], json!({"azp": " app"}), Ok(" app")),
        (
            "absent",
            &["azp"],
            json!({"sub": "app"}),
            Err(Error::ClientMissing),
        ),
        (
            "half a path",
            &["app", "id"],
            json!({"app": "x"}),
            Err(Error::ClientMissing),
        ),
        (
            "empty",
            &["azp"],
            json!({"azp": ""}),
            Err(Error::ClientMissing),
        ),
        (
            "control character",
            &["azp"],
            json!({"azp": "a\r\nX: 1"}),
            Err(Error::ClientMissing),
        ),
        (
            "number",
            &["azp"],
            json!({"azp": 1}),
            Err(Error::ClaimType("credential_claim")),
        ),
        (
            "list",
            &["azp"],
            json!({"azp": ["a"]}),
            Err(Error::ClaimType("credential_claim")),
        ),
        (
            "null",
            &["azp"],
            json!({"azp": null}),
            Err(Error::ClaimType("credential_claim")),
        ),
        (
            "sub, same client",
            &["sub"],
            json!({"sub": "app", "azp": "app"}),
            Ok("app"),
        ),
        (
            "sub, other client_id",
            &["sub"],
            json!({"sub": "dana"}),
            Err(Error::ClientConflict),
        ),
        (
            "sub, other azp",
            &["sub"],
            json!({"sub": "app", "azp": "b"}),
            Err(Error::ClientConflict),
        ),
        (
            "sub, other cid",
            &["sub"],
            json!({"sub": "app", "cid": "b"}),
            Err(Error::ClientConflict),
        ),
        (
            "sub, other appid",
            &["sub"],
            json!({"sub": "app", "appid": "b"}),
            Err(Error::ClientConflict),
        ),
        (
            "sub, odd azp",
            &["sub"],
            json!({"sub": "app", "azp": 1}),
            Err(Error::ClaimType("azp")),
        ),
        (
            "nested sub is another claim",
            &["x", "sub"],
            json!({"x": {"sub": "dana"}}),
            Ok("dana"),
        ),
        (
            "azp beside client_id",
            &["client_id"],
            json!({"azp": "b"}),
            Ok("app"),
        ),
    ];
    for (name, path, more, expected) in table {
        let read = read(path, more).map(|facts| facts.client_id.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{name}");
    }
}

#[test]
fn what_is_no_access_token_is_refused() {
    for (name, more, expected) in [
        ("nonce", json!({"nonce": "x"}), Some(Error::NotAccessToken)),
        (
            "nonce of any type",
            json!({"nonce": null}),
            Some(Error::NotAccessToken),
        ),
        (
            "at_hash",
            json!({"at_hash": "x"}),
            Some(Error::NotAccessToken),
        ),
        (
            "c_hash",
            json!({"c_hash": "x"}),
            Some(Error::NotAccessToken),
        ),
        (
            "purpose id",
            json!({"purpose": "id"}),
            Some(Error::NotAccessToken),
        ),
        (
            "purpose access_token",
            json!({"purpose": "access_token"}),
            None,
        ),
        (
            "odd purpose",
            json!({"purpose": 1}),
            Some(Error::ClaimType("purpose")),
        ),
        ("typ ID", json!({"typ": "ID"}), Some(Error::NotAccessToken)),
        (
            "typ Refresh",
            json!({"typ": "Refresh"}),
            Some(Error::NotAccessToken),
        ),
        ("typ Bearer", json!({"typ": "Bearer"}), None),
        (
            "token_use id",
            json!({"token_use": "id"}),
            Some(Error::NotAccessToken),
        ),
        (
            "token_use refresh",
            json!({"token_use": "refresh_token"}),
            Some(Error::NotAccessToken),
        ),
        ("token_use access", json!({"token_use": "access"}), None),
        (
            "odd token_use",
            json!({"token_use": []}),
            Some(Error::ClaimType("token_use")),
        ),
        (
            "bound by certificate",
            json!({"cnf": {"x5t#S256": "x"}}),
            Some(Error::SenderConstrained),
        ),
        (
            "bound by DPoP",
            json!({"cnf": {"jkt": "x"}}),
            Some(Error::SenderConstrained),
        ),
        (
            "bound by the unknown",
            json!({"cnf": null}),
            Some(Error::SenderConstrained),
        ),
        (
            "unknown claims",
            json!({"x": [{}], "act": {"sub": 1}}),
            None,
        ),
    ] {
        assert_eq!(read(&["client_id"], more).err(), expected, "{name}");
    }
}

#[test]
fn dates_are_finite_numbers_and_saturate() {
    let millis = Timestamp::from_millis;
    for (name, exp, expected) in [
        ("whole", json!(5), Ok(millis(5000))),
        ("fraction", json!(5.25), Ok(millis(5250))),
        ("fine fraction", json!(5.2509), Ok(millis(5250))),
        ("negative fraction", json!(-1.5), Ok(millis(-1500))),
        (
            "past 2038",
            json!(4_000_000_000_u64),
            Ok(millis(4_000_000_000_000)),
        ),
        ("past all", json!(u64::MAX), Ok(millis(i64::MAX))),
        ("past all, signed", json!(i64::MAX), Ok(millis(i64::MAX))),
        ("past all, as a double", json!(1e300), Ok(millis(i64::MAX))),
        ("before all", json!(-1e300), Ok(millis(i64::MIN))),
        ("text", json!("5"), Err(Error::ClaimType("exp"))),
        ("boolean", json!(true), Err(Error::ClaimType("exp"))),
        ("null", json!(null), Err(Error::ClaimType("exp"))),
        ("list", json!([5]), Err(Error::ClaimType("exp"))),
    ] {
        let facts = read(&["client_id"], json!({"exp": exp}));
        assert_eq!(facts.map(|facts| facts.expires), expected, "{name}");
    }
    for name in ["nbf", "iat"] {
        assert_eq!(
            read(&["client_id"], json!({name: "5"})).err(),
            Some(Error::ClaimType(name))
        );
    }
    let facts = read(&["client_id"], json!({"nbf": 1.5, "iat": 2})).unwrap();
    assert_eq!(
        facts.not_before.zip(facts.issued),
        Some((millis(1500), millis(2000)))
    );
    let without = claims(r#"{"client_id": "app"}"#);
    let rules = Rules {
        algorithms: &[],
        audience: &[],
        leeway: Duration::ZERO,
        client_claims: &[],
        introspected_client_claims: &[],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[],
        scope_reading: ScopeReading::Every,
        header_claims: &[],
    };
    let client = [path(&["client_id"])];
    let read = rules.read(&without, &client);
    assert_eq!(read.err(), Some(Error::ExpiryMissing));
}

#[test]
fn of_a_vendors_claims_the_first_present_names_the_client_and_none_may_differ() {
    let vendor = [path(&["appid"]), path(&["azp"])];
    let id = |more: Value| {
        let all = members(json!({"sub": "9c44", "client_id": "other"}), &more);
        client_id(&claims(&all), &vendor).map(|id| id.as_str().to_owned())
    };
    assert_eq!(id(json!({"appid": "app"})), Ok("app".to_owned()));
    assert_eq!(id(json!({"azp": "app"})), Ok("app".to_owned()));
    assert_eq!(
        id(json!({"azp": "app", "appid": "app"})),
        Ok("app".to_owned())
    );
    let conflict = Err(Error::ClientConflict);
    assert_eq!(id(json!({"azp": "app", "appid": "b"})), conflict);
    let wrong = Err(Error::ClaimType("credential_claim"));
    assert_eq!(id(json!({"azp": 1, "appid": "app"})), wrong);
    assert_eq!(id(json!({})), Err(Error::ClientMissing));
}

#[test]
fn where_the_first_scope_claim_counts_the_others_do_not() {
    let paths = [path(&["scp"]), path(&["roles"])];
    for (token, every, first) in [
        (
            json!({"scp": "read", "roles": ["admin"]}),
            "read admin",
            "read",
        ),
        (json!({"roles": ["admin"]}), "admin", "admin"),
        (json!({"scp": "", "roles": ["admin"]}), "admin", ""),
        (json!({}), "", ""),
    ] {
        let token = token.to_string();
        let token = claims(&token);
        let read = |reading: ScopeReading| scopes(&token, reading.pick(&paths, &token)).unwrap();
        assert_eq!(read(ScopeReading::Every).as_str(), every, "{token:?}");
        assert_eq!(read(ScopeReading::First).as_str(), first, "{token:?}");
    }
}

#[test]
fn scopes_and_audience_are_texts_or_lists_of_them() {
    for (name, more, scopes, audience) in [
        ("absent", json!({}), Ok(""), Ok(&[][..])),
        (
            "texts",
            json!({"scope": " a  b ", "aud": "x"}),
            Ok("a b"),
            Ok(&["x"]),
        ),
        (
            "lists",
            json!({"scp": ["a", "b"], "aud": ["x", "y"]}),
            Ok("a b"),
            Ok(&["x", "y"]),
        ),
        ("empty list", json!({"scp": [], "aud": []}), Ok(""), Ok(&[])),
        (
            "all places together",
            json!({"scope": "a", "scp": ["b"], "realm": {"roles": ["c"]}}),
            Ok("a b c"),
            Ok(&[]),
        ),
        (
            "odd scope",
            json!({"scope": 1}),
            Err(Error::ClaimType("scope")),
            Ok(&[]),
        ),
        (
            "odd scope in a list",
            json!({"scp": ["a", 1]}),
            Err(Error::ClaimType("scope")),
            Ok(&[]),
        ),
        (
            "null scope",
            json!({"scope": null}),
            Err(Error::ClaimType("scope")),
            Ok(&[]),
        ),
        (
            "odd aud",
            json!({"aud": {"x": 1}}),
            Ok(""),
            Err(Error::ClaimType("aud")),
        ),
        (
            "odd aud in a list",
            json!({"aud": ["x", null]}),
            Ok(""),
            Err(Error::ClaimType("aud")),
        ),
    ] {
        let facts = read(&["client_id"], more);
        match (scopes, audience) {
            (Ok(scopes), Ok(audience)) => {
                let facts = facts.unwrap();
                assert_eq!(facts.scopes.as_str(), scopes, "{name}");
                let found: Vec<&str> = facts.audience.iter().map(|text| &**text).collect();
                assert_eq!(found, audience, "{name}");
            }
            (Err(error), _) | (_, Err(error)) => assert_eq!(facts, Err(error), "{name}"),
        }
    }
}

#[test]
fn header_claims_are_plain_text_or_absent() {
    for (name, tenant, expected) in [
        ("text", json!("a"), Some("a")),
        ("number", json!(1.5), Some("1.5")),
        ("boolean", json!(true), Some("true")),
        ("list", json!(["a", 1, false]), Some("a,1,false")),
        ("nested list", json!([["a"]]), None),
        ("object", json!({"a": 1}), None),
        ("null", json!(null), None),
    ] {
        let facts = read(&["client_id"], json!({"tenant": tenant})).unwrap();
        assert_eq!(
            facts.header_claims,
            [expected.map(str::to_owned), None],
            "{name}"
        );
    }
    let facts = read(&["client_id"], json!({"user": {"groups": ["a", "b"]}})).unwrap();
    assert_eq!(facts.header_claims, [None, Some("a,b".to_owned())]);
}

#[test]
fn time_and_audience_are_judged_with_leeway() {
    let rules = |audience: &'static [String]| Rules {
        algorithms: &[],
        audience,
        leeway: Duration::from_secs(30),
        client_claims: &[],
        introspected_client_claims: &[],
        key_issuer: KeyIssuer::Ignored,
        scope_claims: &[],
        scope_reading: ScopeReading::Every,
        header_claims: &[],
    };
    let ours: &'static [String] = Box::leak(Box::new(["api".to_owned(), "b".to_owned()]));
    let base = json!({});
    for (name, more, audience, now, expected) in [
        ("before the end", &base, &[][..], 999_999, Ok(())),
        ("within the leeway", &base, &[], 1_029_999, Ok(())),
        (
            "at the end of it",
            &base,
            &[],
            1_030_000,
            Err(Error::Expired),
        ),
        ("far past", &base, &[], i64::MAX, Err(Error::Expired)),
        (
            "before nbf",
            &json!({"nbf": 500}),
            &[],
            469_999,
            Err(Error::NotYetValid),
        ),
        (
            "at nbf less leeway",
            &json!({"nbf": 500}),
            &[],
            470_000,
            Ok(()),
        ),
        (
            "before iat",
            &json!({"iat": 500}),
            &[],
            469_999,
            Err(Error::IssuedInFuture),
        ),
        (
            "at iat less leeway",
            &json!({"iat": 500}),
            &[],
            470_000,
            Ok(()),
        ),
        (
            "nbf past all",
            &json!({"nbf": 1e300}),
            &[],
            0,
            Err(Error::NotYetValid),
        ),
        ("named", &json!({"aud": "api"}), ours, 0, Ok(())),
        (
            "named among others",
            &json!({"aud": ["x", "b"]}),
            ours,
            0,
            Ok(()),
        ),
        ("absent", &base, ours, 0, Err(Error::Audience)),
        ("empty", &json!({"aud": []}), ours, 0, Err(Error::Audience)),
        (
            "longer",
            &json!({"aud": "api2"}),
            ours,
            0,
            Err(Error::Audience),
        ),
        (
            "shorter",
            &json!({"aud": "ap"}),
            ours,
            0,
            Err(Error::Audience),
        ),
        (
            "other case",
            &json!({"aud": "API"}),
            ours,
            0,
            Err(Error::Audience),
        ),
        (
            "slash",
            &json!({"aud": "api/"}),
            ours,
            0,
            Err(Error::Audience),
        ),
        (
            "expired, and not ours",
            &json!({"aud": "x"}),
            ours,
            2_000_000,
            Err(Error::Expired),
        ),
    ] {
        let facts = read(&["client_id"], more.clone()).unwrap();
        let verdict = rules(audience).judge(&facts, Timestamp::from_millis(now));
        assert_eq!(verdict, expected, "{name}");
    }
}
