use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{provider::split, strategy::check, *};
use crate::{
    idp::registration::{Access, Dialect},
    model::time::Timestamp,
    portal::record::Source,
};

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn a_provider(provider_type: &str, dcr_config: Value) -> Provider {
    let (settings, secrets) = split(provider_type, members(dcr_config)).unwrap();
    Provider {
        id: Uuid::from_u128(1),
        name: "idp".to_owned(),
        display_name: String::new(),
        provider_type: provider_type.to_owned(),
        issuer: "https://idp.test".to_owned(),
        settings,
        secrets,
        labels: BTreeMap::new(),
        source: Source::Registry,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 1,
    }
}

fn a_strategy(settings: Value) -> Strategy {
    Strategy {
        id: Uuid::from_u128(2),
        name: "partners".to_owned(),
        display_name: String::new(),
        settings: members(settings),
        provider: Some(Uuid::from_u128(1)),
        labels: BTreeMap::new(),
        source: Source::Registry,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 1,
    }
}

#[test]
fn secrets_are_kept_apart_from_what_is_shown() {
    for (provider_type, dcr_config, shown, hidden) in [
        (
            "auth0",
            json!({"initial_client_id": "a", "initial_client_secret": "s3cret",
                "initial_client_audience": "https://t.eu.auth0.com/api/v2/",
                "use_developer_managed_scopes": false}),
            json!({"initial_client_id": "a", "use_developer_managed_scopes": false,
                "initial_client_audience": "https://t.eu.auth0.com/api/v2/"}),
            "initial_client_secret",
        ),
        (
            "okta",
            json!({"dcr_token": "s3cret"}),
            json!({}),
            "dcr_token",
        ),
        (
            "http",
            json!({"dcr_base_url": "https://bridge.test", "api_key": "s3cret-s3cret"}),
            json!({"dcr_base_url": "https://bridge.test"}),
            "api_key",
        ),
        (
            "wso2",
            json!({"initial_access_token": "s3cret", "endpoint": "https://is.test/dcr"}),
            json!({"endpoint": "https://is.test/dcr"}),
            "initial_access_token",
        ),
    ] {
        let provider = a_provider(provider_type, dcr_config);
        assert_eq!(Value::Object(provider.settings.clone()), shown);
        assert_eq!(provider.secrets.keys().collect::<Vec<_>>(), [hidden]);
        assert!(!format!("{provider:?}").contains("s3cret"));
        provider::registration(&provider).unwrap();
    }
}

#[test]
fn what_a_provider_cannot_use_is_named() {
    for (provider_type, dcr_config, expected) in [
        ("kongIdentity", json!({}), &[("provider_type", "enum")][..]),
        ("okta", json!({}), &[("dcr_config.dcr_token", "required")]),
        (
            "curity",
            json!({"initial_client_id": "a"}),
            &[("dcr_config.initial_client_secret", "required")],
        ),
        (
            "curity",
            json!({"dcr_token": "t"}),
            &[("dcr_config.dcr_token", "unknown_property")],
        ),
        (
            "auth0",
            json!({"initial_client_id": 7, "initial_client_secret": "\n"}),
            &[
                ("dcr_config.initial_client_id", "type"),
                ("dcr_config.initial_client_secret", "length"),
            ],
        ),
        (
            "http",
            json!({"dcr_base_url": "http://bridge.test", "api_key": "long-enough-1"}),
            &[
                ("dcr_config.dcr_base_url", "url"),
                ("dcr_config.dcr_base_url", "required"),
            ],
        ),
        (
            "http",
            json!({"dcr_base_url": "https://bridge.test", "api_key": "short"}),
            &[("dcr_config.api_key", "length")],
        ),
        ("generic", json!({}), &[("dcr_config", "required")]),
        (
            "generic",
            json!({"open": true, "initial_access_token": "t"}),
            &[("dcr_config", "required")],
        ),
    ] {
        let faults = split(provider_type, members(dcr_config)).unwrap_err();
        let found: Vec<_> = faults.iter().map(|one| (&*one.field, one.rule)).collect();
        assert_eq!(found, expected, "{provider_type}");
    }
}

#[test]
fn a_provider_says_how_it_takes_registrations() {
    let bridge = a_provider(
        "http",
        json!({"dcr_base_url": "http://127.0.0.1:1", "api_key": "long-enough-1",
            "disable_event_hooks": true, "deadline_seconds": 5}),
    );
    let config = provider::registration(&bridge).unwrap();
    assert_eq!(config.dialect, Dialect::Http);
    assert!(matches!(config.access, Access::ApiKey(_)));
    assert_eq!(config.endpoint.unwrap().as_str(), "http://127.0.0.1:1/");
    assert_eq!((config.event_hooks, config.refresh_secret), (false, true));
    assert_eq!(config.deadline.as_secs(), 5);
}

#[test]
fn a_strategy_is_written_as_the_file_would_have_it() {
    let settings = json!({
        "issuer": "https://idp.test", "auth_methods": ["client_credentials", "session"],
        "credential_claim": ["azp"], "scopes": ["read", "write"], "audience": ["https://api.test"],
        "audience_required": ["https://api.test"], "scopes_claim": ["scp"], "leeway": 10,
        "scopes_required": ["read"], "cache_ttl_max": 60, "session_cookie_name": "s",
        "session_idling_timeout": 90, "session_cookie_same_site": "Strict",
        "token_post_args_names": ["resource"], "token_post_args_values": ["https://r.test"],
        "session": {"absolute_timeout": "1h"}, "hide_credentials": true,
    });
    assert_eq!(check(&members(settings.clone())), []);
    let provider = a_provider("okta", json!({"dcr_token": "t"}));
    let additions = additions(&[provider], &[a_strategy(settings)], &[]);
    assert_eq!(
        additions.identity_providers,
        [json!({"name": "idp", "vendor": "okta", "issuer": "https://idp.test"})]
    );
    assert_eq!(
        additions.auth_strategies,
        [json!({
            "name": "partners", "identity_provider": "idp",
            "auth_methods": ["client_credentials", "session"],
            "credential_claim": ["azp"], "scopes_required": ["read"],
            "audience": ["https://api.test"], "scope_claims": [["scp"]],
            "token_request": {"scope": "read write", "audience": "https://api.test",
                "parameters": {"resource": "https://r.test"}},
            "bearer": {"leeway": "10s"},
            "client_credentials": {"cache_time": "60s"},
            "session": {"absolute_timeout": "1h", "idle_timeout": "90s", "cookie_name": "s",
                "same_site": "strict"},
        })]
    );
}

#[test]
fn a_strategy_has_an_identity_provider_of_its_own_where_the_providers_does_not_fit() {
    let provider = a_provider(
        "azureAd",
        json!({"initial_client_id": "a", "initial_client_secret": "s"}),
    );
    let other = json!({"issuer": "https://other.test", "auth_methods": ["bearer"]});
    let own = json!({"issuer": "https://idp.test", "auth_methods": ["bearer"], "tenants": ["t"]});
    let named = json!({"issuer": "https://idp.test", "auth_methods": ["bearer"],
        "identity_provider": "of-file"});
    for (settings, name, further) in [
        (
            other,
            "partners.issuer",
            Some(
                json!({"name": "partners.issuer", "vendor": "azure", "issuer": "https://other.test"}),
            ),
        ),
        (
            own,
            "partners.issuer",
            Some(
                json!({"name": "partners.issuer", "vendor": "azure", "issuer": "https://idp.test",
                "tenants": ["t"]}),
            ),
        ),
        (named, "of-file", None),
    ] {
        let additions = additions(
            std::slice::from_ref(&provider),
            &[a_strategy(settings)],
            &[],
        );
        assert_eq!(additions.auth_strategies[0]["identity_provider"], name);
        assert_eq!(additions.identity_providers.get(1), further.as_ref());
    }
}

#[test]
fn what_a_strategy_cannot_keep_is_refused() {
    let good = json!({"issuer": "https://idp.test", "auth_methods": ["bearer"]});
    for (with, field, rule) in [
        (
            json!({"claims_forbidden": ["x"]}),
            "claims_forbidden",
            "unknown_property",
        ),
        (json!({"issuer": null}), "issuer", "required"),
        (json!({"auth_methods": null}), "auth_methods", "required"),
        (json!({"scopes": "read"}), "scopes", "type"),
        (json!({"audience": ["a", "b"]}), "audience", "type"),
        (
            json!({"audience_required": ["a b"]}),
            "audience_required",
            "format",
        ),
        (
            json!({"token_post_args_names": ["a"]}),
            "token_post_args_values",
            "length",
        ),
        (json!({"leeway": "10s"}), "leeway", "type"),
        (
            json!({"hide_credentials": false}),
            "hide_credentials",
            "enum",
        ),
        (
            json!({"identity_provider": "idp", "tenants": ["t"]}),
            "tenants",
            "forbidden",
        ),
    ] {
        let mut settings = members(good.clone());
        settings.extend(members(with));
        let faults = check(&settings);
        let found: Vec<_> = faults.iter().map(|one| (&*one.field, one.rule)).collect();
        let field = format!("configs.openid-connect.{field}");
        assert_eq!(found, [(&*field, rule)]);
    }
}
