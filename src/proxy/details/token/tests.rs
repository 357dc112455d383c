use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Check, Checks, Claims, Timestamp, USES, json, some, summary};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn claims(text: &str) -> Claims<'_> {
    json::claims(text.as_bytes()).unwrap()
}

#[test]
fn a_summary_says_what_matters() {
    let header = json!({"alg": "RS256", "kid": "k", "x5c": ["x"]}).to_string();
    let payload = json!({
        "iss": "https://idp.test", "aud": ["a", 1], "exp": 1_000_060, "iat": 999_940.5,
        "azp": "app", "scp": {"a": 1}, "jti": "not shown",
    })
    .to_string();
    let payload = claims(&payload);
    assert_eq!(
        summary(&claims(&header), &payload, NOW),
        "alg \"RS256\", kid \"k\"; iss \"https://idp.test\", aud [\"a\", \"(not a text)\"], \
         exp in 1m, iat 1m ago, scope absent, scp an object, azp \"app\""
    );
    assert_eq!(
        summary(&Claims::default(), &payload, NOW),
        "it cannot be read"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}]{0,400}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 32, 16, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..16).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    // Each value is a tree of its own.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_hostile_token_is_shown_plain_and_short(
        values in prop::collection::vec(any_value(), 16),
    ) {
        let names = ["alg", "kid", "typ", "iss", "aud", "exp", "nbf", "iat", "scope", "scp",
            "client_id", "azp", "cid", "appid", "sub", "nonce"];
        let all: Map<String, Value> =
            names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        let all = Value::Object(all).to_string();
        let all = claims(&all);
        let checks = Checks::recording();
        checks.passed(Check::TokenForm, || summary(&all, &all, NOW));
        checks.passed(Check::Claims, || some(&all, &USES));
        for step in checks.steps() {
            prop_assert!(!step.detail.chars().any(char::is_control));
            let turns = |c| ('\u{202a}'..='\u{202e}').contains(&c);
            prop_assert!(!step.detail.chars().any(turns));
            prop_assert!(step.detail.chars().count() <= 2_001);
        }
    }
}
