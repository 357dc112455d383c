//! What is told of an identity provider to whoever asks why a request was refused.
//!
//! Always true: of what is sent, the fields named here are shown and no others; of what comes back,
//! the members named here. Neither is a secret or a token, and a text that repeats one is left out.

pub(super) mod repeated;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use url::{Url, form_urlencoded};

use repeated::repeats;

use super::{
    AuthMethod, Provider,
    call::{Answer, Endpoint, Unavailable},
    discovery::Metadata,
    grant,
    keys::{Keys, Newer},
    vendor::Field,
};
use crate::{
    clock,
    model::{
        check::Check,
        claims::{Claims, Value},
    },
    telemetry::checks::{Checks, Outcome, listed, quoted},
    token::{json, jwt},
};

/// Fields of a request whose values may be shown.
const FIELDS: [&str; 6] = [
    "audience",
    "ext_token_type",
    "grant_type",
    "resource",
    "scope",
    "token_type_hint",
];

/// Stands where a secret stood.
const HIDDEN: &str = "(hidden)";

impl Provider {
    /// Tells where the keys come from and which there are.
    pub(crate) fn tell_keys(&self, checks: &Checks, keys: Result<&Keys, &Unavailable>) {
        if !checks.is_on() {
            return;
        }
        let metadata = self.0.metadata.load();
        if let (Err(unavailable), None) = (keys, &*metadata) {
            return self.tell_metadata(checks, Endpoint::Jwks, Err(unavailable));
        }
        if let Some((known, uri)) = (metadata.as_ref()).and_then(|m| Some((m, m.jwks_uri.clone()?)))
        {
            let found = (std::sync::Arc::clone(known), uri);
            self.tell_metadata(checks, Endpoint::Jwks, Ok(&found));
        }
        checks.note(Check::Keys, outcome(&keys), || match keys {
            Ok(keys) => self.told_keys(keys),
            Err(unavailable) => {
                format!("{}: no keys: {unavailable}", self.config().name)
            }
        });
    }

    /// Tells what came of asking for newer keys.
    pub(crate) fn tell_newer_keys(&self, checks: &Checks, newer: Result<&Newer, &Unavailable>) {
        match newer {
            Ok(Newer::Keys(keys)) => self.tell_keys(checks, Ok(keys)),
            Ok(Newer::NotYet(wait)) => checks.skipped(Check::Keys, || {
                let wait = wait.as_secs();
                format!("asked again just now, and not before {wait} s have passed")
            }),
            Err(unavailable) => self.tell_keys(checks, Err(unavailable)),
        }
    }

    fn told_keys(&self, keys: &Keys) -> String {
        let (name, set) = (&self.config().name, &keys.set);
        let age = clock::now().since(keys.fetched).as_secs();
        format!(
            "{name}: {} that can verify, {} skipped, fetched {age} s ago; kid: {}",
            counted(set.len()),
            set.skipped(),
            listed(set.kids()),
        )
    }

    /// Tells where an endpoint is, or why that is not known.
    pub(super) fn tell_metadata<'a>(
        &self,
        checks: &Checks,
        endpoint: Endpoint,
        found: Result<&'a (std::sync::Arc<Metadata>, Url), &'a Unavailable>,
    ) {
        checks.note(Check::Metadata, outcome(&found), || {
            let config = self.config();
            let said = match (&config.discovery_url, config.issuer.as_str()) {
                (Some(url), _) => format!("the document at {url}"),
                (None, issuer) => format!("what is published for the issuer {}", quoted(issuer)),
            };
            let name = &config.name;
            match found {
                Ok((metadata, url)) if metadata.issuer.is_empty() => {
                    format!(
                        "{name}: the configuration: {} endpoint {url}",
                        endpoint.name()
                    )
                }
                Ok((_, url)) => format!("{name}: {said}: {} endpoint {url}", endpoint.name()),
                Err(unavailable) => format!("{name}: {said}: {unavailable}"),
            }
        });
    }
}

/// Tells what an endpoint is asked.
pub(super) fn request(
    checks: &Checks,
    check: Check,
    url: &Url,
    method: AuthMethod,
    fields: &[Field<'_>],
) {
    checks.passed(check, || {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| match FIELDS.contains(name) {
                true => format!("{name}={}", quoted(value)),
                false => format!("{name}=(not shown)"),
            })
            .collect();
        let method = match method {
            AuthMethod::BasicRaw => "basic_raw",
            AuthMethod::ClientSecretBasic => "client_secret_basic",
            AuthMethod::ClientSecretPost => "client_secret_post",
        };
        format!("POST {url}, {method}, {}", fields.join(" "))
    });
}

/// Tells what the token endpoint answered, and what was read into it.
pub(super) fn granted(
    checks: &Checks,
    found: Result<&Answer, &Unavailable>,
    error: Option<&grant::Error>,
    hidden: impl FnOnce() -> Vec<String>,
) {
    let problem = error.map(|error| match error {
        grant::Error::GrantRefused(_) => "it denies this client the grant".to_owned(),
        grant::Error::Misconfigured(_) => "it refuses what the gateway asks for".to_owned(),
        grant::Error::Unavailable(unavailable) => unavailable.to_string(),
        grant::Error::WrongSecret(_) => "it refuses the client id and secret".to_owned(),
    });
    answer(
        checks,
        Check::TokenAnswer,
        found,
        problem.as_deref(),
        hidden,
    );
}

/// Tells what an endpoint answered, and what is wrong with that. What is `hidden` is taken out
/// of a text that repeats it.
pub(super) fn answer(
    checks: &Checks,
    check: Check,
    answer: Result<&Answer, &Unavailable>,
    problem: Option<&str>,
    hidden: impl FnOnce() -> Vec<String>,
) {
    let outcome = match (&answer, &problem) {
        (Ok(_), None) => Outcome::Passed,
        _ => Outcome::Failed,
    };
    checks.note(check, outcome, || match answer {
        Err(unavailable) => unavailable.to_string(),
        Ok(answer) => {
            let mut parts: Vec<String> = problem.map(str::to_owned).into_iter().collect();
            parts.push(format!("status {}", answer.status.as_u16()));
            parts.extend(members(answer, &hidden()));
            parts.join("; ")
        }
    });
}

/// What may be shown of an answer's body.
fn members(answer: &Answer, hidden: &[String]) -> Vec<String> {
    let Ok(claims) = json::claims(&answer.body) else {
        let kind = match answer.body.len() {
            0 => "no body".to_owned(),
            length => format!("a body of {length} bytes that is no JSON object"),
        };
        return vec![kind];
    };
    let text = |text: &str| quoted(&without(text, hidden));
    let mut parts = Vec::new();
    for name in [
        "error",
        "error_description",
        "active",
        "token_type",
        "expires_in",
        "scope",
    ] {
        match claims.get(name) {
            None => {}
            Some(Value::String(value)) => parts.push(format!("{name} {}", text(value))),
            Some(Value::Bool(value)) => parts.push(format!("{name} {value}")),
            Some(Value::Number(value)) => parts.push(format!("{name} {value}")),
            Some(_) => parts.push(format!("{name} of a strange type")),
        }
    }
    if let Some(Value::String(token)) = claims.get("access_token") {
        let kind = match jwt::looks_like_jwt(token) {
            true => "a JWT",
            false => "an opaque token",
        };
        parts.push(format!("access_token is {kind}"));
    } else if answer.status == StatusCode::OK && check_is_token(&claims) {
        parts.push("no access_token".to_owned());
    }
    parts
}

/// Whether an answer is one that ought to hold a token.
fn check_is_token(claims: &Claims<'_>) -> bool {
    !claims.contains_key("active") && !claims.contains_key("error")
}

/// A text in which what is hidden does not stand any more: what repeats it as it is or in a usual
/// encoding is taken out, and nothing is left where it still shows.
fn without(text: &str, hidden: &[String]) -> String {
    let mut text = text.to_owned();
    for hidden in hidden {
        let encoded: String = form_urlencoded::byte_serialize(hidden.as_bytes()).collect();
        let base64 = STANDARD.encode(hidden);
        for form in [hidden, &encoded, base64.trim_end_matches('=')] {
            if !form.is_empty() {
                text = text.replace(form, HIDDEN);
            }
        }
    }
    match hidden.iter().any(|hidden| repeats(&text, hidden)) {
        true => HIDDEN.to_owned(),
        false => text,
    }
}

pub(super) fn counted(keys: usize) -> String {
    match keys {
        1 => "1 key".to_owned(),
        _ => format!("{keys} keys"),
    }
}

fn outcome<T, E>(result: &Result<T, E>) -> Outcome {
    match result {
        Ok(_) => Outcome::Passed,
        Err(_) => Outcome::Failed,
    }
}
