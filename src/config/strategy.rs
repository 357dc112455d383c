//! `auth_strategies`.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use jsonwebtoken::Algorithm;

use super::{schema::Asked, section::At, value};
use crate::{
    model::{claims::ClaimPath, scope::ScopeRule},
    proxy::{
        authenticate::Method,
        strategy::{
            BearerConfig, Config, ExchangeConfig, SameSite, Secure, SessionConfig, TokenRequest,
            Verify,
        },
    },
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// More entries than this would be gigabytes.
const MOST_CACHED: u64 = 10_000_000;

/// Reads one entry; `None` where it has no usable name or identity provider.
pub(crate) fn read(at: At<'_>) -> Option<Config> {
    let mut section = at.section();
    let name = value::own_name(&mut section);
    let expected = "the name of one of identity_providers";
    let identity_provider = section.required("identity_provider", expected);
    let identity_provider = identity_provider
        .and_then(|at| at.text(expected))
        .map(Arc::from);
    let methods = Methods::read(section.required("auth_methods", Methods::EXPECTED));
    let credential_claim_at = section.get("credential_claim");
    let credential_claim = credential_claim_at.and_then(|at| value::claim_path(&at));
    let audience = value::texts(section.get("audience"), "a value of `aud`");
    let scopes_required = scope_rule(section.get("scopes_required"));
    let scope_claims = section.get("scope_claims").map(scope_claims);
    let token_request = token_request(section.get("token_request"));
    let exchange = exchange(section.get("client_credentials"));
    let tokens = bearer(section.get("bearer"));
    let cookie = session(section.get("session"));
    let claim_headers = claim_headers(section.get("claim_headers"));
    section.end();

    Some(Config {
        name: name?,
        identity_provider: identity_provider?,
        client_credentials: methods.client_credentials,
        bearer: methods.bearer,
        session: methods.session,
        credential_claim,
        audience,
        scopes_required,
        scope_claims,
        token_request,
        exchange,
        tokens,
        cookie,
        claim_headers,
    })
}

/// Whether an opaque token of this strategy goes to the introspection endpoint.
pub(crate) fn introspects(strategy: &Config, provider_has_client: bool) -> bool {
    match strategy.tokens.verify {
        Verify::Auto => provider_has_client,
        Verify::Introspection => true,
        Verify::Jwt => false,
    }
}

/// A list of scope entries in Kong's grammar.
pub(crate) fn scope_rule(at: Option<At<'_>>) -> ScopeRule {
    const EXPECTED: &str = "scopes separated by spaces";
    let Some(at) = at else {
        return ScopeRule::default();
    };
    let legal = |text: &str| {
        ScopeRule::new([text.to_owned()])
            .ok()
            .map(|_| text.to_owned())
    };
    let items = at.list("a list, as in [\"read write\", admin]: a space is AND, entries are OR");
    let entries = items.iter().filter_map(|item| item.parse(legal, EXPECTED));
    ScopeRule::new(entries).unwrap_or_default()
}

#[derive(Default)]
struct Methods {
    client_credentials: bool,
    bearer: bool,
    session: bool,
}

impl Methods {
    const EXPECTED: &str = "a list of client_credentials, bearer, session";

    fn read(at: Option<At<'_>>) -> Self {
        let mut methods = Self::default();
        let Some(at) = at else { return methods };
        let words = [Method::ClientCredentials, Method::Bearer, Method::Session]
            .map(|method| (method.name(), method));
        let items = at.list(Self::EXPECTED);
        for item in &items {
            let method = match item.choose(&words) {
                Some(Method::Bearer) => &mut methods.bearer,
                Some(Method::ClientCredentials) => &mut methods.client_credentials,
                Some(Method::Session) => &mut methods.session,
                None => continue,
            };
            if *method {
                item.fault("is listed twice");
            }
            *method = true;
        }
        at.fill(Self::EXPECTED);
        if methods.session && items.len() == 1 {
            at.fault(
                "session alone: nothing would ever start one; add client_credentials or bearer",
            );
        }
        methods
    }
}

fn scope_claims(at: At<'_>) -> Vec<ClaimPath> {
    let items = at.list("a list of claims, as in [scope, scp]");
    at.fill("at least one claim, as in [scope, scp]");
    let read = |item: &At<'_>| match item.as_text() {
        Some(_) => item.parse(|text| ClaimPath::new([value::plain_text(text)?]), "a claim"),
        None => value::claim_path(item),
    };
    items.iter().filter_map(read).collect()
}

fn token_request(at: Option<At<'_>>) -> TokenRequest {
    let Some(at) = at else {
        return TokenRequest::default();
    };
    let mut section = at.section();
    let scope = section.get("scope").and_then(|at| {
        let legal = |text: &str| {
            ScopeRule::new([text.to_owned()])
                .ok()
                .map(|_| text.to_owned())
        };
        at.parse(legal, "scopes separated by spaces")
    });
    let audience = section
        .get("audience")
        .and_then(|at| at.parse(value::plain_text, "a text"));
    let mut parameters = Vec::new();
    for (name, at) in section.get("parameters").map_or_else(Vec::new, |at| {
        at.entries("further fields of the token request, as in {resource: …}")
    }) {
        match name {
            "grant_type"
            | "client_id"
            | "client_secret"
            | "client_assertion"
            | "client_assertion_type" => at.fault("the gateway sets this field itself"),
            "scope" | "audience" => at.fault(format_args!("write it as token_request.{name}")),
            _ => {
                at.ask(|| Asked::Text("a text".to_owned()));
                // Not shown where it is wrong: some servers take a key in such a field.
                match at.as_text().and_then(value::plain_text) {
                    Some(value) => parameters.push((name.to_owned(), value)),
                    None => at.fault("expected a text"),
                }
            }
        }
    }
    section.end();
    TokenRequest {
        scope,
        audience,
        parameters,
    }
}

fn exchange(at: Option<At<'_>>) -> ExchangeConfig {
    let mut config = ExchangeConfig {
        cache_size: 100_000,
        cache_time: HOUR,
        wrong_secret_time: Duration::from_secs(10),
        guesses_per_address: 5,
        guesses_per_client: 30,
    };
    let Some(at) = at else { return config };
    let mut section = at.section();
    config.cache_size = value::number(
        section.get("cache_size"),
        config.cache_size,
        1..=MOST_CACHED,
    );
    config.cache_time = value::duration(section.get("cache_time"), config.cache_time, SECOND..=DAY);
    config.wrong_secret_time = value::duration(
        section.get("wrong_secret_time"),
        config.wrong_secret_time,
        Duration::ZERO..=10 * MINUTE,
    );
    let mut guesses = |key, default: u32| {
        let number = value::number(section.get(key), u64::from(default), 1..=1_000_000);
        u32::try_from(number).unwrap_or(default)
    };
    config.guesses_per_address = guesses("guesses_per_address", config.guesses_per_address);
    config.guesses_per_client = guesses("guesses_per_client", config.guesses_per_client);
    section.end();
    config
}

fn bearer(at: Option<At<'_>>) -> BearerConfig {
    let mut config = BearerConfig {
        verify: Verify::Auto,
        algorithms: Vec::new(),
        leeway: Duration::from_secs(30),
        cache_size: 100_000,
        introspection_time: MINUTE,
    };
    let Some(at) = at else { return config };
    let mut section = at.section();
    let words = [
        ("auto", Verify::Auto),
        ("jwt", Verify::Jwt),
        ("introspection", Verify::Introspection),
    ];
    config.verify = value::choice(section.get("verify"), config.verify, &words);
    if let Some(at) = section.get("algorithms") {
        let items = at.list("a list, as in [RS256, ES256]");
        config.algorithms = items.iter().filter_map(algorithm).collect();
    }
    // More would let a token outlive a revocation that relies on its end.
    config.leeway = value::duration(
        section.get("leeway"),
        config.leeway,
        Duration::ZERO..=5 * MINUTE,
    );
    config.cache_size = value::number(
        section.get("cache_size"),
        config.cache_size,
        1..=MOST_CACHED,
    );
    config.introspection_time = value::duration(
        section.get("introspection_time"),
        config.introspection_time,
        Duration::ZERO..=HOUR,
    );
    section.end();
    config
}

fn algorithm(at: &At<'_>) -> Option<Algorithm> {
    match at.as_text() {
        Some("HS256" | "HS384" | "HS512") => {
            at.expected(
                "an algorithm with a public key: whoever can verify an HS* token can also make one",
            );
            None
        }
        Some("none") => {
            at.expected("an algorithm: a token without a signature proves nothing");
            None
        }
        _ => at.choose(&[
            ("RS256", Algorithm::RS256),
            ("RS384", Algorithm::RS384),
            ("RS512", Algorithm::RS512),
            ("PS256", Algorithm::PS256),
            ("PS384", Algorithm::PS384),
            ("PS512", Algorithm::PS512),
            ("ES256", Algorithm::ES256),
            ("ES384", Algorithm::ES384),
            ("EdDSA", Algorithm::EdDSA),
        ]),
    }
}

fn session(at: Option<At<'_>>) -> SessionConfig {
    let mut config = SessionConfig {
        cookie_name: "dcr_session".to_owned(),
        idle_timeout: 15 * MINUTE,
        absolute_timeout: DAY,
        same_site: SameSite::Lax,
        secure: Secure::Auto,
    };
    let Some(at) = at else { return config };
    let mut section = at.section();
    if let Some(at) = section.get("cookie_name") {
        let expected = "the name of a cookie, without prefix";
        at.ask(|| Asked::Default(config.cookie_name.clone()));
        config.cookie_name = at
            .parse(cookie_name, expected)
            .unwrap_or(config.cookie_name);
    }
    config.idle_timeout = value::duration(
        section.get("idle_timeout"),
        config.idle_timeout,
        SECOND..=30 * DAY,
    );
    config.absolute_timeout = value::duration(
        section.get("absolute_timeout"),
        config.absolute_timeout,
        SECOND..=365 * DAY,
    );
    match section.get("same_site") {
        Some(at) if at.as_text() == Some("none") => at.expected(
            "lax or strict: with none every site's requests would carry the cookie; for a page of \
             another site let it send the token",
        ),
        at => {
            let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict)];
            config.same_site = value::choice(at, config.same_site, &words);
        }
    }
    let words = [("auto", Secure::Auto), ("always", Secure::Always)];
    config.secure = value::choice(section.get("secure"), config.secure, &words);
    section.end();
    config
}

/// A token (RFC 6265 section 4.1.1) that does not look like a prefixed name, since the gateway
/// puts the prefix itself.
fn cookie_name(text: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let legal = !text.is_empty() && text.len() <= 100 && text.chars().all(legal);
    let prefixed = text.to_ascii_lowercase();
    let prefixed = prefixed.starts_with("__host-") || prefixed.starts_with("__secure-");
    (legal && !prefixed).then(|| text.to_owned())
}

fn claim_headers(at: Option<At<'_>>) -> Vec<(HeaderName, ClaimPath)> {
    let Some(at) = at else { return Vec::new() };
    let mut headers: Vec<(HeaderName, ClaimPath)> = Vec::new();
    for (name, at) in at.entries("headers and their claims, as in {X-Tenant: [tenant]}") {
        let path = value::claim_path(&at);
        let header = match value::claim_header(name) {
            Ok(header) => header,
            Err(expected) => {
                at.fault(format_args!("expected {expected}"));
                continue;
            }
        };
        let same = |other: &HeaderName| {
            other.as_str().replace('_', "-") == header.as_str().replace('_', "-")
        };
        if headers.iter().any(|(other, _)| same(other)) {
            at.fault("this header is listed twice");
        } else if let Some(path) = path {
            headers.push((header, path));
        }
    }
    headers
}
