//! Konnect's shapes of providers and strategies, read into what this gateway is configured with.
//!
//! A DCR provider becomes an identity provider and the gateway's access to its registration; an auth
//! strategy becomes a strategy, in the words of the configuration file, so that the same code checks
//! both. Option names are those of Konnect's `openid-connect` where it has one, else the file's own.
//! What this gateway does not know is refused: an option that restricts must not be dropped.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Fault,
    record::{Api, Provider, Strategy},
};
use crate::{
    config::Additions,
    idp::registration::{Access, Config, Dialect},
    model::credential::{ClientId, Secret},
};

/// Konnect's `provider_type`s, those of ours marked by a vendor that it has none for.
const TYPES: [(&str, Dialect, &str); 7] = [
    ("auth0", Dialect::Auth0, "auth0"),
    ("azureAd", Dialect::Azure, "azure"),
    ("curity", Dialect::Curity, "curity"),
    ("generic", Dialect::Generic, "generic"),
    ("http", Dialect::Http, "generic"),
    ("okta", Dialect::Okta, "okta"),
    ("wso2", Dialect::Wso2, "wso2"),
];

/// Every word for `provider_type`.
pub fn provider_types() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(word, _, _)| *word)
}

/// The word for a dialect.
pub fn provider_type(dialect: Dialect) -> &'static str {
    let found = TYPES.iter().find(|(_, known, _)| *known == dialect);
    found.map_or("generic", |(word, _, _)| word)
}

/// What a member of `dcr_config` may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `true` or `false`.
    Flag,
    /// An object.
    Object,
    /// Whole seconds, 1 to 600.
    Seconds,
    /// A text that is never shown.
    Secret,
    /// A text.
    Text,
    /// An absolute URL.
    Url,
}

/// The members of `dcr_config` that a dialect knows.
fn members(dialect: Dialect) -> Vec<(&'static str, Kind)> {
    let mut members = vec![
        ("client_metadata", Kind::Object),
        ("deadline_seconds", Kind::Seconds),
        ("identity_provider", Kind::Text),
    ];
    if dialect != Dialect::Http {
        members.push(("endpoint", Kind::Url));
    }
    let initial_client = [
        ("initial_client_id", Kind::Text),
        ("initial_client_secret", Kind::Secret),
        ("initial_client_scope", Kind::Text),
        ("initial_client_audience", Kind::Text),
    ];
    match dialect {
        Dialect::Auth0 => {
            members.extend(initial_client);
            members.push(("use_developer_managed_scopes", Kind::Flag));
        }
        Dialect::Azure | Dialect::Curity => members.extend(initial_client),
        Dialect::Generic | Dialect::Wso2 => {
            members.extend(initial_client);
            members.push(("initial_access_token", Kind::Secret));
            members.push(("open", Kind::Flag));
        }
        Dialect::Http => members.extend([
            ("api_key", Kind::Secret),
            ("allow_multiple_credentials", Kind::Flag),
            ("dcr_base_url", Kind::Url),
            ("disable_event_hooks", Kind::Flag),
            ("disable_refresh_secret", Kind::Flag),
            ("vendor", Kind::Text),
        ]),
        Dialect::Okta => {
            members.extend(initial_client);
            members.push(("dcr_token", Kind::Secret));
        }
    }
    members
}

/// What of a `dcr_config` may be shown, and what may not.
pub type Split = (Map<String, Value>, BTreeMap<String, Secret>);

/// Reads a whole `dcr_config`.
///
/// # Errors
/// Every member that cannot be used.
pub fn split(provider_type: &str, dcr_config: Map<String, Value>) -> Result<Split, Vec<Fault>> {
    let Some((_, dialect, _)) = TYPES.iter().find(|(word, _, _)| *word == provider_type) else {
        let words: Vec<_> = provider_types().collect();
        return Err(vec![Fault::new(
            "provider_type",
            "enum",
            format!("expected one of {}", words.join(", ")),
        )]);
    };
    let known = members(*dialect);
    let mut faults = Vec::new();
    let mut settings = Map::new();
    let mut secrets = BTreeMap::new();
    for (name, value) in dcr_config {
        let field = format!("dcr_config.{name}");
        let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            let reason = format!(
                "a provider of type {provider_type} has {}",
                names.join(", ")
            );
            faults.push(Fault::new(field, "unknown_property", reason));
            continue;
        };
        if value.is_null() {
            continue;
        }
        match reads(*kind, &value) {
            Err((rule, reason)) => faults.push(Fault::new(field, rule, reason)),
            Ok(()) if *kind == Kind::Secret => {
                let text = value.as_str().unwrap_or_default();
                secrets.insert(name, Secret::new(text));
            }
            Ok(()) => {
                settings.insert(name, value);
            }
        }
    }
    if faults.is_empty()
        && let Err(fault) = access(*dialect, &settings, &secrets)
    {
        faults.push(fault);
    }
    if *dialect == Dialect::Http && !settings.contains_key("dcr_base_url") {
        faults.push(required("dcr_config.dcr_base_url"));
    }
    match faults.is_empty() {
        true => Ok((settings, secrets)),
        false => Err(faults),
    }
}

/// Longest text of a member, in bytes.
const TEXT_LIMIT: usize = 4096;

fn reads(kind: Kind, value: &Value) -> Result<(), (&'static str, String)> {
    let wrong = |expected: &str| Err(("type", format!("expected {expected}")));
    match (kind, value) {
        (Kind::Flag, Value::Bool(_)) | (Kind::Object, Value::Object(_)) => Ok(()),
        (Kind::Flag, _) => wrong("true or false"),
        (Kind::Object, _) => wrong("an object"),
        (Kind::Seconds, value) => match value.as_u64() {
            Some(1..=600) => Ok(()),
            _ => wrong("whole seconds, 1 to 600"),
        },
        (Kind::Secret | Kind::Text, Value::String(text)) => {
            if text.is_empty() || text.len() > TEXT_LIMIT || text.chars().any(char::is_control) {
                let reason = format!("expected 1 to {TEXT_LIMIT} bytes without control characters");
                return Err(("length", reason));
            }
            Ok(())
        }
        (Kind::Url, Value::String(text)) => match Url::parse(text) {
            Ok(url) if is_usable(&url) => Ok(()),
            _ => Err((
                "url",
                "expected an absolute https URL (http for this machine only), without user, \
                 password and fragment"
                    .to_owned(),
            )),
        },
        (_, _) => wrong("a text"),
    }
}

/// Whether a URL may be called: https, or plain http within this machine.
pub fn is_usable(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

fn required(field: &str) -> Fault {
    Fault::new(field, "required", "expected a value")
}

/// Who the gateway is at a provider.
fn access(
    dialect: Dialect,
    settings: &Map<String, Value>,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Access, Fault> {
    let text = |name: &str| settings.get(name).and_then(Value::as_str);
    let secret = |name: &str| secrets.get(name).cloned();
    let client = || {
        let Some(id) = text("initial_client_id").and_then(ClientId::new) else {
            return Err(required("dcr_config.initial_client_id"));
        };
        let Some(secret) = secret("initial_client_secret") else {
            return Err(required("dcr_config.initial_client_secret"));
        };
        Ok(Access::InitialClient {
            id,
            secret,
            scope: text("initial_client_scope").map(str::to_owned),
            audience: text("initial_client_audience").map(str::to_owned),
        })
    };
    let has_client =
        settings.contains_key("initial_client_id") || secrets.contains_key("initial_client_secret");
    match dialect {
        Dialect::Auth0 | Dialect::Azure | Dialect::Curity => client(),
        Dialect::Okta => match secret("dcr_token") {
            Some(token) => Ok(Access::ApiKey(token)),
            None if has_client => client(),
            None => Err(required("dcr_config.dcr_token")),
        },
        Dialect::Http => match secret("api_key") {
            Some(key) if (12..=256).contains(&key.expose().len()) => Ok(Access::ApiKey(key)),
            Some(_) => Err(Fault::new(
                "dcr_config.api_key",
                "length",
                "expected 12 to 256 bytes",
            )),
            None => Err(required("dcr_config.api_key")),
        },
        Dialect::Generic | Dialect::Wso2 => {
            let open = settings.get("open") == Some(&Value::Bool(true));
            match (secret("initial_access_token"), has_client, open) {
                (Some(token), false, false) => Ok(Access::InitialAccessToken(token)),
                (None, true, false) => client(),
                (None, false, true) => Ok(Access::Open),
                _ => Err(Fault::new(
                    "dcr_config",
                    "required",
                    "expected one of initial_access_token, initial_client_id with \
                     initial_client_secret, and open: true",
                )),
            }
        }
    }
}

/// How a provider takes registrations.
///
/// # Errors
/// What is missing: only in a registry that somebody else wrote.
pub fn registration(provider: &Provider) -> Result<Config, Fault> {
    let found = TYPES
        .iter()
        .find(|(word, _, _)| *word == provider.provider_type);
    let Some((_, dialect, _)) = found else {
        return Err(Fault::new(
            "provider_type",
            "enum",
            "expected a type that this version knows",
        ));
    };
    let settings = &provider.settings;
    let flag = |name: &str| settings.get(name) == Some(&Value::Bool(true));
    let url = |name: &str| Url::parse(settings.get(name)?.as_str()?).ok();
    let seconds = settings.get("deadline_seconds").and_then(Value::as_u64);
    Ok(Config {
        dialect: *dialect,
        access: access(*dialect, settings, &provider.secrets)?,
        endpoint: url("endpoint").or_else(|| url("dcr_base_url")),
        client_metadata: match settings.get("client_metadata") {
            Some(Value::Object(members)) => members.clone(),
            _ => Map::new(),
        },
        deadline: Duration::from_secs(seconds.unwrap_or(60)),
        event_hooks: !flag("disable_event_hooks"),
        refresh_secret: !flag("disable_refresh_secret"),
        several_secrets: flag("allow_multiple_credentials"),
    })
}

/// The name of the identity provider through which a provider is reached.
pub fn reached_through(provider: &Provider) -> &str {
    let named = provider.settings.get("identity_provider");
    named.and_then(Value::as_str).unwrap_or(&provider.name)
}

/// What the registry's providers, strategies and APIs add to the configuration.
pub fn additions(providers: &[Provider], strategies: &[Strategy], apis: &[Api]) -> Additions {
    let mut additions = Additions::default();
    for provider in providers {
        if reached_through(provider) != provider.name {
            continue;
        }
        let vendor = provider.settings.get("vendor").cloned();
        let vendor = vendor.unwrap_or_else(|| json!(vendor_of(&provider.provider_type)));
        additions.identity_providers.push(json!({
            "name": provider.name, "vendor": vendor, "issuer": provider.issuer,
        }));
    }
    for strategy in strategies {
        let provider = strategy.provider;
        let provider = provider.and_then(|id| providers.iter().find(|known| known.id == id));
        let (identity_provider, entry) = translate(strategy, provider);
        additions.identity_providers.extend(identity_provider);
        additions.auth_strategies.push(entry);
    }
    for api in apis.iter().filter(|api| !api.strategies.is_empty()) {
        additions
            .apis
            .push((api.name.clone(), api.strategies.clone()));
    }
    additions
}

fn vendor_of(provider_type: &str) -> &'static str {
    let found = TYPES.iter().find(|(word, _, _)| *word == provider_type);
    found.map_or("generic", |(_, _, vendor)| vendor)
}

/// Options of `configs.openid-connect` that are the file's own, and stand there as they are.
pub(super) const STRATEGY_KEYS: [&str; 9] = [
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
pub(super) const PROVIDER_KEYS: [&str; 8] = [
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
        if settings.get(name).is_none_or(Value::is_null) {
            faults.push(required(&field(name)));
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
        let Some(value) = settings.get(name).filter(|value| !value.is_null()) else {
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
fn translate(strategy: &Strategy, provider: Option<&Provider>) -> (Option<Value>, Value) {
    let settings = &strategy.settings;
    let get = |name: &str| settings.get(name).filter(|value| !value.is_null());
    let issuer = get("issuer").and_then(Value::as_str).unwrap_or_default();
    let named = get("identity_provider").and_then(Value::as_str);
    let own = PROVIDER_KEYS.iter().any(|name| get(name).is_some());
    let shared = provider.filter(|provider| provider.issuer == issuer && !own);
    let own_name = own_issuer(strategy);
    let name = named.or(shared.map(reached_through)).unwrap_or(&own_name);
    let identity_provider = (name == own_name).then(|| {
        let vendor = provider.map_or("generic", |provider| vendor_of(&provider.provider_type));
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(own_name));
        entry.insert("issuer".to_owned(), json!(issuer));
        entry.insert("vendor".to_owned(), json!(vendor));
        for name in PROVIDER_KEYS {
            if let Some(value) = get(name) {
                entry.insert(name.to_owned(), value.clone());
            }
        }
        Value::Object(entry)
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
