//! `identity_providers`.

use std::time::Duration;

use url::Url;

use super::{
    registration,
    schema::Asked,
    secret,
    section::{At, Section},
    value::{self, Plain},
};
use crate::{
    idp::{
        AuthMethod, Config, JwksConfig,
        vendor::{IssuerForm, Vendor, is_for_many_tenants},
    },
    model::credential::{ClientId, Secret},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const AUTH_METHODS: [(&str, AuthMethod); 3] = [
    ("client_secret_post", AuthMethod::ClientSecretPost),
    ("client_secret_basic", AuthMethod::ClientSecretBasic),
    ("basic_raw", AuthMethod::BasicRaw),
];

/// A bundle of certificates is not larger.
const MOST_CA_BYTES: u64 = 4 * 1024 * 1024;

/// Reads one entry; `None` where it has no usable name or issuer.
pub(crate) fn read(at: At<'_>) -> Option<Config> {
    let mut section = at.section();
    let name = value::own_name(&mut section);
    let words = Vendor::ALL.map(|vendor| (vendor.preset().name, vendor));
    let vendor = value::choice(section.get("vendor"), Vendor::Generic, &words);
    let insecure_http = value::switch(section.get("insecure_http"), false);
    let plain = if insecure_http {
        Plain::Anyone
    } else {
        Plain::Loopback
    };

    let issuer_at = section.required("issuer", "the issuer's URL, as in https://idp.example.com");
    let issuer = issuer_at.as_ref().and_then(|at| issuer(at, plain));
    let issuer_is_discovery_url = issuer.as_deref().is_some_and(is_discovery_url);
    let discovery_at = section.get("discovery_url");
    if let (true, Some(at)) = (issuer_is_discovery_url, &discovery_at) {
        at.fault("the issuer is a discovery URL already: leave one of the two out");
    }
    let discovery_url = discovery_at.and_then(|at| endpoint(&at, plain));
    let mut endpoint_of = |key| section.get(key).and_then(|at| endpoint(&at, plain));
    let token_endpoint = endpoint_of("token_endpoint");
    let jwks_uri = endpoint_of("jwks_uri");
    let introspection_endpoint = endpoint_of("introspection_endpoint");

    let extra_issuers = value::texts(section.get("extra_issuers"), "an `iss` value");
    let tenants_at = section.get("tenants");
    let tenants = tenants(&section.at, tenants_at, vendor, issuer.as_deref());
    let mut auth_method = |key| section.get(key)?.choose(&AUTH_METHODS);
    let token_endpoint_auth_method = auth_method("token_endpoint_auth_method");
    let introspection_endpoint_auth_method = auth_method("introspection_endpoint_auth_method");
    let client = section.get("client").and_then(client);
    let registration = section
        .gateways("registration")
        .and_then(|at| registration::read(at, vendor, plain));
    let jwks = jwks(section.get("jwks"));
    let ca = section.get("ca_file").and_then(|at| certificates(&at));
    let timeout = value::duration(
        section.get("timeout"),
        Duration::from_secs(5),
        Duration::from_millis(10)..=Duration::from_secs(300),
    );
    let calls = value::number(section.get("calls"), 64, 1..=10_000);
    let proxy = section.get("proxy").and_then(|at| proxy(&at));
    section.end();

    Some(Config {
        name: name?,
        vendor,
        issuer: issuer?,
        issuer_is_discovery_url,
        discovery_url,
        token_endpoint,
        jwks_uri,
        introspection_endpoint,
        extra_issuers,
        tenants,
        token_endpoint_auth_method,
        introspection_endpoint_auth_method,
        client,
        registration,
        jwks,
        ca,
        timeout,
        calls: usize::try_from(calls).unwrap_or(usize::MAX),
        insecure_http,
        proxy,
    })
}

/// The tenants of an issuer for many, which has none of its own.
fn tenants(
    whole: &At<'_>,
    at: Option<At<'_>>,
    vendor: Vendor,
    issuer: Option<&str>,
) -> Vec<String> {
    const EXPECTED: &str = "a tenant's id, as in 5f0c2d4e-8a1b-4c3d-9e6f-7a8b9c0d1e2f";
    let for_tenants = vendor.preset().issuer == IssuerForm::Tenant;
    let for_many = issuer.is_some_and(is_for_many_tenants);
    let Some(at) = at.filter(|at| !at.is_empty_list()) else {
        if for_tenants && for_many {
            whole.fault(format_args!(
                "`tenants` is missing: the issuer is one for every tenant: expected a list of \
                 those whose tokens count, each {EXPECTED}"
            ));
        }
        return Vec::new();
    };
    if !for_tenants {
        at.fault("only Entra's issuers common and organizations need them: expected vendor: azure");
    }
    let legal = |text: &str| {
        let id = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (id && !text.is_empty()).then(|| text.to_owned())
    };
    let items = at.list("a list of tenants' ids");
    items
        .iter()
        .inspect(|item| item.ask(|| Asked::Characters("^[A-Za-z0-9-]+$")))
        .filter_map(|item| item.parse(legal, EXPECTED))
        .collect()
}

/// The issuer byte for byte, since that is how `iss` is compared.
fn issuer(at: &At<'_>, plain: Plain) -> Option<String> {
    let url = endpoint(at, plain)?;
    if url.query().is_some() {
        // OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2.
        at.expected("an issuer without \"?\"");
        return None;
    }
    at.as_text().map(str::to_owned)
}

/// Whether a URL is where metadata stands, by the well-known path in it (OpenID Connect
/// Discovery 1.0 section 4, RFC 8414 section 3.1: at its end, or before the issuer's own path).
fn is_discovery_url(issuer: &str) -> bool {
    [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ]
    .iter()
    .filter_map(|well_known| issuer.split_once(well_known))
    .any(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn endpoint(at: &At<'_>, plain: Plain) -> Option<Url> {
    at.ask(|| Asked::Pattern("^[Hh][Tt][Tt][Pp][Ss]?://"));
    let text = at.text("an absolute https URL")?;
    match value::url(text, plain) {
        Ok(url) => {
            if url.scheme() == "http" && !value::is_loopback(&url) {
                at.warn("plain http: whoever is on the way can read secrets and forge keys");
            }
            Some(url)
        }
        // What stands before an "@" may be a password.
        Err(expected) if text.contains('@') => {
            at.fault(format_args!("expected {expected}"));
            None
        }
        Err(expected) => {
            at.expected(expected);
            None
        }
    }
}

/// Reads a client id and its secret.
pub(super) fn client(at: At<'_>) -> Option<(ClientId, Secret)> {
    let mut section: Section<'_> = at.section();
    let id = section.required("id", "the gateway's own client id");
    let id = id.and_then(|at| at.parse(|text| ClientId::new(text), "a client id"));
    let secret = section.required("secret", "{env: NAME} or {file: PATH}");
    let secret = secret.and_then(|at| secret::read(&at));
    section.end();
    id.zip(secret)
}

fn jwks(at: Option<At<'_>>) -> JwksConfig {
    let mut config = JwksConfig {
        refresh: Duration::from_secs(600),
        unknown_kid_interval: Duration::from_secs(10),
        max_stale: DAY,
    };
    let Some(at) = at else { return config };
    let mut section = at.section();
    let second = Duration::from_secs(1);
    config.refresh = value::duration(section.get("refresh"), config.refresh, second..=DAY);
    config.unknown_kid_interval = value::duration(
        section.get("unknown_kid_interval"),
        config.unknown_kid_interval,
        Duration::from_millis(100)..=HOUR,
    );
    config.max_stale = value::duration(
        section.get("max_stale"),
        config.max_stale,
        Duration::ZERO..=30 * DAY,
    );
    section.end();
    config
}

fn certificates(at: &At<'_>) -> Option<Vec<u8>> {
    let path = at.report().resolve(at.text("the path of a file")?);
    at.report().note_file(&path);
    let pem = secret::contents(at, &path, MOST_CA_BYTES)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem);
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        return Some(pem);
    }
    at.expected("a file of PEM certificates");
    None
}

fn proxy(at: &At<'_>) -> Option<Url> {
    const EXPECTED: &str = "a proxy, as in http://proxy:3128, without user and password";
    let text = at.text(EXPECTED)?;
    let url = value::url(text, Plain::Anyone)
        .ok()
        .filter(|url| url.query().is_none() && url.path() == "/");
    if url.is_none() {
        // What stands before an "@" may be a password.
        if text.contains('@') {
            at.fault(format_args!("expected {EXPECTED}"));
        } else {
            at.expected(EXPECTED);
        }
    }
    url
}
