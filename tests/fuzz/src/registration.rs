//! What an identity provider answers to a registration, to a refused one, and to WebFinger. The
//! input's first byte picks the status, the rest is the body.

use std::collections::BTreeSet;

use dcr_gateway::{
    idp::{
        call::Answer,
        registration::{returned::Returned, words},
        webfinger::{self, Plain},
    },
    model::{credential::Secret, time::Timestamp},
    token::introspection::is_for_management,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::token::Members;

const STATUS: [u16; 8] = [200, 201, 204, 302, 400, 401, 403, 404];
const SENT: &str = "initial-6f1ed002ab559585";

/// A client is used only where it is confidential, has the grant asked for and no other, and no
/// wider scope; what is told of an answer is short, plain and without what was sent in secret; an
/// issuer that WebFinger names could be one.
pub(super) fn run(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let answer = Answer {
        status: StatusCode::from_u16(STATUS[usize::from(*choice) % STATUS.len()]).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_vec(),
    };
    let told = words::told(&answer, &[Secret::new(SENT)]);
    assert!(told.chars().count() < 350, "{told}");
    assert!(!told.chars().any(char::is_control), "{told:?}");
    assert!(!told.contains(SENT), "{told}");
    finger(body);

    let asked = json!({"grant_types": ["client_credentials"], "scope": "read write"});
    let Ok(returned) = Returned::read(&answer) else {
        return;
    };
    let members: Members = serde_json::from_slice(body).unwrap();
    let now = Timestamp::from_secs(1_800_000_000);
    if let Some(id) = returned.client_id() {
        assert_eq!(members["client_id"], *id.as_str());
    }
    if let Ok(issued) = returned.check(asked.as_object().unwrap(), now) {
        usable(&members, &issued.secret);
        assert!(issued.expires_at.is_none_or(|end| end > now));
    }
    let shown: Map<String, Value> = returned.shown();
    for (name, value) in &shown {
        assert_ne!(name, "client_secret");
        assert_ne!(name, "registration_access_token");
        assert_eq!(members.get(name), Some(value));
    }
}

fn usable(members: &Members, secret: &Secret) {
    assert_eq!(members["client_secret"], *secret.expose());
    assert!(!secret.expose().is_empty() && !secret.expose().chars().any(char::is_control));
    assert_ne!(
        members.get("token_endpoint_auth_method"),
        Some(&json!("none"))
    );
    if let Some(Value::Array(grants)) = members.get("grant_types") {
        let texts: Option<BTreeSet<&str>> = grants.iter().map(Value::as_str).collect();
        assert!(texts.is_none_or(|texts| texts == BTreeSet::from(["client_credentials"])));
    }
    if let Some(Value::String(scope)) = members.get("scope") {
        for word in scope.split_ascii_whitespace() {
            assert!(
                ["read", "write"].contains(&word) && !is_for_management(word),
                "{word}"
            );
        }
    }
}

fn finger(body: &[u8]) {
    for plain in [Plain::Loopback, Plain::Never] {
        let Ok(issuer) = webfinger::answer(body, plain) else {
            continue;
        };
        let url = Url::parse(&issuer).unwrap();
        let plainly = plain == Plain::Loopback && webfinger::is_loopback(&url);
        assert!(
            url.scheme() == "https" || (plainly && url.scheme() == "http"),
            "{issuer}"
        );
        assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
    }
    // The resource is what an operator types; it is asked about on its own host alone.
    let Ok(resource) = std::str::from_utf8(body) else {
        return;
    };
    if let Ok(question) = webfinger::question(resource, Plain::Loopback) {
        assert_eq!(question.path(), "/.well-known/webfinger");
        let pairs: Vec<(String, String)> = question.query_pairs().into_owned().collect();
        assert_eq!(pairs.len(), 2);
        assert_eq!((&*pairs[0].0, &*pairs[0].1), ("resource", resource));
        assert!(question.scheme() == "https" || webfinger::is_loopback(&question));
    }
}
