//! An introspection endpoint's answer. The input's first byte picks the rules.

use dcr_gateway::token::{introspection, rules::Rules};
use serde_json::Value;

use super::token::{Asked, ISSUERS, Members, issuers, judge, now};

/// Nothing passes but an active access token of the provider that meets the rules and manages no
/// registrations; what is said to be inactive is never called unreadable.
pub(super) fn run(input: &[u8]) {
    let Some((choice, answer)) = input.split_first() else {
        return;
    };
    let asked = &Asked::all()[usize::from(choice % 3)];
    let rules: Rules<'_> = asked.rules();
    let result = introspection::facts(answer, &issuers(), &rules, now());
    let Ok(verdict) = result else {
        return;
    };
    let claims: Members = serde_json::from_slice(answer).unwrap();
    assert_eq!(claims["active"], Value::Bool(verdict.is_some()));
    let Some(facts) = verdict else {
        return;
    };
    judge(&claims, &facts, asked);
    if let Some(issuer) = claims.get("iss") {
        assert!(ISSUERS.contains(&issuer.as_str().unwrap()));
    }
    let kind = claims.get("token_type").and_then(Value::as_str);
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    for word in ["refresh_token", "id_token", "dpop", "pop", "mac"] {
        assert!(kind != word, "token_type {kind}");
    }
    for scope in facts.scopes.as_str().split(' ') {
        let manages = matches!(scope, "oauth2_provider:registration" | "dcr" | "dcrm");
        assert!(!manages && !scope.starts_with("internal_dcr_"), "{scope}");
    }
}
