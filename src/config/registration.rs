//! `identity_providers[].registration`.

use std::time::Duration;

use super::{
    idp::endpoint,
    secret,
    section::{At, Section},
    value::{self, Plain},
};
use crate::{
    idp::{
        registration::{Access, Config, Dialect},
        vendor::Vendor,
    },
    model::credential::ClientId,
};

const DIALECTS: [(&str, Dialect); 7] = [
    ("auth0", Dialect::Auth0),
    ("azure", Dialect::Azure),
    ("curity", Dialect::Curity),
    ("generic", Dialect::Generic),
    ("http", Dialect::Http),
    ("okta", Dialect::Okta),
    ("wso2", Dialect::Wso2),
];

/// What a server alone sets, or what would be a secret in this file.
const NOT_METADATA: [&str; 6] = [
    "client_id",
    "client_id_issued_at",
    "client_secret",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];

/// The longest wait that an operator would sit through.
const LONGEST: Duration = Duration::from_secs(600);

/// Reads the section; `None` where it names no usable access.
pub(super) fn read(at: At<'_>, vendor: Vendor, plain: Plain) -> Option<Config> {
    let mut section = at.section();
    let usual = match vendor {
        Vendor::Auth0 => Dialect::Auth0,
        Vendor::Azure => Dialect::Azure,
        Vendor::Curity => Dialect::Curity,
        Vendor::Generic => Dialect::Generic,
        Vendor::Okta => Dialect::Okta,
        Vendor::Wso2 => Dialect::Wso2,
    };
    let dialect = section.get("dialect").and_then(|at| at.choose(&DIALECTS));
    let dialect = dialect.unwrap_or(usual);
    let access = access(&mut section, dialect);
    let endpoint_at = section.get("endpoint");
    if dialect == Dialect::Http && endpoint_at.is_none() && section.at.is_map() {
        section
            .at
            .fault("`endpoint` is missing: expected the bridge's URL");
    }
    let endpoint = endpoint_at.and_then(|at| endpoint(&at, plain));
    let client_metadata = section.get("client_metadata").map(metadata);
    let deadline = value::duration(
        section.get("deadline"),
        Duration::from_secs(60),
        Duration::from_secs(1)..=LONGEST,
    );
    let mut bridges = |key, default| {
        let at = section.get(key);
        if let Some(at) = at.as_ref().filter(|_| dialect != Dialect::Http) {
            at.fault("has a meaning for a bridge only: expected dialect: http");
        }
        value::switch(at, default)
    };
    let event_hooks = bridges("event_hooks", true);
    let refresh_secret = bridges("refresh_secret", true);
    section.end();
    Some(Config {
        dialect,
        access: access?,
        endpoint,
        client_metadata: client_metadata.unwrap_or_default(),
        deadline,
        event_hooks,
        refresh_secret,
    })
}

/// Who the gateway is there, in exactly one way, and one that the dialect knows.
fn access(section: &mut Section<'_>, dialect: Dialect) -> Option<Access> {
    let open_at = section.get("open");
    let open = open_at.clone().filter(|_| value::switch(open_at, false));
    let given = [
        ("api_key", section.get("api_key")),
        ("initial_access_token", section.get("initial_access_token")),
        ("initial_client", section.get("initial_client")),
        ("open", open),
    ];
    let usable: &[&str] = match dialect {
        Dialect::Auth0 => &["initial_client", "initial_access_token"],
        Dialect::Azure | Dialect::Curity => &["initial_client"],
        Dialect::Generic => &["initial_access_token", "initial_client", "open"],
        Dialect::Http => &["api_key"],
        Dialect::Okta => &["api_key", "initial_access_token"],
        Dialect::Wso2 => &["initial_client", "initial_access_token", "open"],
    };
    let word = DIALECTS.iter().find(|(_, known)| *known == dialect);
    let word = word.map_or("", |(word, _)| word);
    let mut ways = given.into_iter().filter_map(|(key, at)| Some((key, at?)));
    let Some((key, at)) = ways.next() else {
        if section.at.is_map() {
            let expected = usable.join(" or ");
            section.at.fault(format_args!("expected {expected}"));
        }
        return None;
    };
    let mut alone = true;
    for (other, at) in ways {
        at.fault(format_args!(
            "{key} says already who the gateway is there: leave {key} or {other} out"
        ));
        alone = false;
    }
    if !usable.contains(&key) {
        let expected = usable.join(" or ");
        at.fault(format_args!(
            "no way to register in the dialect {word}: expected {expected}"
        ));
        alone = false;
    }
    let access = match key {
        "api_key" => secret::read(&at).map(Access::ApiKey),
        "initial_access_token" => secret::read(&at).map(Access::InitialAccessToken),
        "initial_client" => initial_client(at),
        _ => Some(Access::Open),
    };
    access.filter(|_| alone)
}

fn initial_client(at: At<'_>) -> Option<Access> {
    let mut section = at.section();
    let id = section.required("id", "the id of a client that may register others");
    let id = id.and_then(|at| at.parse(|text| ClientId::new(text), "a client id"));
    let secret = section.required("secret", "{env: NAME} or {file: PATH}");
    let secret = secret.and_then(|at| secret::read(&at));
    let mut text = |key, expected: &str| {
        let at = section.get(key)?;
        at.parse(value::plain_text, expected)
    };
    let scope = text("scope", "scopes, separated by spaces");
    let audience = text("audience", "an audience");
    section.end();
    Some(Access::InitialClient {
        id: id?,
        secret: secret?,
        scope,
        audience,
    })
}

/// Client metadata as it is sent.
fn metadata(at: At<'_>) -> serde_json::Map<String, serde_json::Value> {
    let mut metadata = serde_json::Map::new();
    for (name, value) in at.entries("a map of client metadata (RFC 7591 section 2)") {
        if NOT_METADATA.contains(&name) {
            value.fault("the identity provider alone sets this");
        }
        metadata.insert(name.to_owned(), value.json());
    }
    metadata
}
