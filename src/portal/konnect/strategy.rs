//! `configs.openid-connect`: which options a strategy has, and what they say in the words of the
//! configuration file.

use serde_json::{Map, Value, json};

use super::{
    given,
    provider::{reached_through, required, vendor},
};
use crate::portal::{
    Fault,
    record::{Provider, Strategy},
};

/// Options of `configs.openid-connect` that are the file's own, and stand there as they are.
pub(in crate::portal) const STRATEGY_KEYS: [&str; 9] = [
    "auth_methods",
    "bearer",
    "claim_headers",
    "client_credentials",
    "credential_claim",
    "scope_claims",
    "scopes_required",
    "session",
    "token_request",
];

/// Options that belong to the identity provider of the file's form.
pub(in crate::portal) const PROVIDER_KEYS: [&str; 8] = [
    "discovery_url",
    "extra_issuers",
    "introspection_endpoint",
    "jwks_uri",
    "tenants",
    "token_endpoint",
    "token_endpoint_auth_method",
    "vendor",
];

/// Options of Konnect that say something in other words here.
const KONNECT_KEYS: [&str; 15] = [
    "audience",
    "audience_required",
    "cache_ttl_max",
    "hide_credentials",
    "identity_provider",
    "issuer",
    "leeway",
    "scopes",
    "scopes_claim",
    "session_absolute_timeout",
    "session_cookie_name",
    "session_cookie_same_site",
    "session_idling_timeout",
    "token_post_args_names",
    "token_post_args_values",
];

/// Checks what the translation cannot keep: options that are not known, and those whose form in
/// Konnect says more than the file's.
pub fn check(settings: &Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let field = |name: &str| format!("configs.openid-connect.{name}");
    for name in settings.keys() {
        let known = STRATEGY_KEYS.contains(&&**name)
            || PROVIDER_KEYS.contains(&&**name)
            || KONNECT_KEYS.contains(&&**name);
        if !known {
            faults.push(Fault::new(
                field(name),
                "unknown_property",
                "not an option of this gateway: refused, since dropping it may let more through",
            ));
        }
    }
    for name in ["issuer", "auth_methods"] {
        if given(settings, name).is_none() {
            faults.push(required(&field(name)));
        }
    }
    if given(settings, "identity_provider").is_some() {
        for name in PROVIDER_KEYS {
            if given(settings, name).is_some() {
                let reason = "the identity provider that is named has its own in the \
                              configuration file";
                faults.push(Fault::new(field(name), "forbidden", reason));
            }
        }
    }
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        _ => false,
    };
    for (name, most) in [
        ("scopes", 50),
        ("audience", 1),
        ("token_post_args_names", 50),
    ] {
        let Some(value) = given(settings, name) else {
            continue;
        };
        let count = value.as_array().map_or(0, Vec::len);
        if !texts(value) || count > most {
            let reason = format!("expected a list of at most {most} texts");
            faults.push(Fault::new(field(name), "type", reason));
        }
    }
    let lengths = ["token_post_args_names", "token_post_args_values"].map(|name| {
        settings
            .get(name)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    });
    if lengths[0] != lengths[1] {
        faults.push(Fault::new(
            field("token_post_args_values"),
            "length",
            "expected a value for each of token_post_args_names",
        ));
    }
    for name in [
        "leeway",
        "cache_ttl_max",
        "session_absolute_timeout",
        "session_idling_timeout",
    ] {
        if settings
            .get(name)
            .is_some_and(|value| !value.is_null() && !value.is_u64())
        {
            faults.push(Fault::new(field(name), "type", "expected whole seconds"));
        }
    }
    if settings
        .get("hide_credentials")
        .is_some_and(|value| *value != Value::Bool(true))
    {
        faults.push(Fault::new(
            field("hide_credentials"),
            "enum",
            "credentials are always hidden from the upstream: expected true",
        ));
    }
    if let Some(Value::Array(audiences)) = settings.get("audience_required")
        && audiences
            .iter()
            .any(|one| one.as_str().is_some_and(|text| text.contains(' ')))
    {
        faults.push(Fault::new(
            field("audience_required"),
            "format",
            "one of the audiences must be in the token: expected one in each entry",
        ));
    }
    faults
}

/// The name of a strategy's own identity provider, where it has one.
pub fn own_issuer(strategy: &Strategy) -> String {
    format!("{}.issuer", strategy.name)
}

/// A strategy in the file's form, and its identity provider where it has one of its own.
pub(super) fn translate(
    strategy: &Strategy,
    provider: Option<&Provider>,
) -> (Option<Value>, Value) {
    let settings = &strategy.settings;
    let get = |name: &str| given(settings, name);
    let issuer = get("issuer").and_then(Value::as_str).unwrap_or_default();
    let named = get("identity_provider").and_then(Value::as_str);
    let own = PROVIDER_KEYS.iter().any(|name| get(name).is_some());
    let shared = provider.filter(|provider| provider.issuer == issuer && !own);
    let own_name = own_issuer(strategy);
    let name = named.or(shared.map(reached_through)).unwrap_or(&own_name);
    let identity_provider = (name == own_name).then(|| {
        let mut entry = Entry(Map::new());
        entry.set("name", json!(own_name));
        entry.set("issuer", json!(issuer));
        for name in PROVIDER_KEYS {
            if let Some(value) = get(name) {
                entry.set(name, value.clone());
            }
        }
        entry.set("vendor", json!(provider.map_or("generic", vendor)));
        Value::Object(entry.0)
    });

    let mut entry = Entry(Map::new());
    entry.set("name", json!(strategy.name));
    entry.set("identity_provider", json!(name));
    for name in STRATEGY_KEYS {
        if let Some(value) = get(name) {
            entry.set(name, value.clone());
        }
    }
    if let Some(audiences) = get("audience_required") {
        entry.set("audience", audiences.clone());
    }
    if let Some(claim) = get("scopes_claim") {
        entry.set("scope_claims", json!([claim]));
    }
    let list = |name: &str| {
        get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let scopes = list("scopes");
    let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    if !scopes.is_empty() {
        entry.set_in("token_request", "scope", json!(scopes.join(" ")));
    }
    if let Some(audience) = list("audience").first() {
        entry.set_in("token_request", "audience", audience.clone());
    }
    let mut parameters = Map::new();
    let values = list("token_post_args_values");
    for (name, value) in list("token_post_args_names").iter().zip(values) {
        match name.as_str() {
            Some(name @ ("audience" | "scope")) => entry.set_in("token_request", name, value),
            Some(name) => {
                parameters.insert(name.to_owned(), value);
            }
            None => {}
        }
    }
    if !parameters.is_empty() {
        entry.set_in("token_request", "parameters", Value::Object(parameters));
    }
    for (from, section, key) in [
        ("leeway", "bearer", "leeway"),
        ("cache_ttl_max", "client_credentials", "cache_time"),
        ("session_absolute_timeout", "session", "absolute_timeout"),
        ("session_idling_timeout", "session", "idle_timeout"),
    ] {
        if let Some(seconds) = get(from) {
            entry.set_in(section, key, json!(format!("{seconds}s")));
        }
    }
    if let Some(name) = get("session_cookie_name") {
        entry.set_in("session", "cookie_name", name.clone());
    }
    if let Some(same_site) = get("session_cookie_same_site").and_then(Value::as_str) {
        let same_site = same_site.to_ascii_lowercase();
        entry.set_in("session", "same_site", json!(same_site));
    }
    (identity_provider, Value::Object(entry.0))
}

/// An entry of the file in the making. What is set first stays.
struct Entry(Map<String, Value>);

impl Entry {
    fn set(&mut self, key: &str, value: Value) {
        self.0.entry(key).or_insert(value);
    }

    fn set_in(&mut self, section: &str, key: &str, value: Value) {
        let section = self.0.entry(section).or_insert_with(|| json!({}));
        if let Value::Object(section) = section {
            section.entry(key).or_insert(value);
        }
    }
}
