//! `dcr_config`: which members each type of provider has, and what they say.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use url::Url;

use crate::{
    idp::registration::{Access, Config, Dialect},
    model::credential::{ClientId, Secret},
    portal::{Fault, record::Provider},
};

/// Konnect's `provider_type`s and ours, with the vendor whose ways the data plane takes for granted.
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

/// The vendor of a provider; behind a bridge there may be any.
pub fn vendor(provider: &Provider) -> &str {
    let found = TYPES
        .iter()
        .find(|(word, _, _)| *word == provider.provider_type);
    let usual = found.map_or("generic", |(_, _, vendor)| *vendor);
    let named = provider.settings.get("vendor");
    named.and_then(Value::as_str).unwrap_or(usual)
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

pub(super) fn required(field: &str) -> Fault {
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
    })
}

/// The name of the identity provider through which a provider is reached.
pub fn reached_through(provider: &Provider) -> &str {
    let named = provider.settings.get("identity_provider");
    named.and_then(Value::as_str).unwrap_or(&provider.name)
}
