//! What a request brings to say who calls.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    model::{
        check::Check,
        credential::{Credential, Malformed},
    },
    proxy::{session::cookies as all_cookies, strategy::Strategy},
    telemetry::checks::{Checks, listed, quoted},
    token::jwt,
};

/// Tells what an Authorization line holds.
pub(in crate::proxy) fn credential<'a>(
    checks: &Checks,
    parsed: Result<Credential<'a>, Malformed>,
) -> Result<Credential<'a>, Malformed> {
    match &parsed {
        Ok(Credential::Basic(id, _)) => checks.passed(Check::Credential, || {
            format!("Basic: client id {} and a secret", quoted(id.as_str()))
        }),
        Ok(Credential::Bearer(token)) => checks.passed(Check::Credential, || {
            let kind = match jwt::looks_like_jwt(token.expose()) {
                true => "a JWT",
                false => "a token that is no JWT",
            };
            format!("Bearer: {kind} of {} bytes", token.expose().len())
        }),
        Ok(Credential::Unknown) => checks.failed(Check::Credential, || {
            "an Authorization line of another scheme than Basic and Bearer".to_owned()
        }),
        Err(malformed) => checks.failed(Check::Credential, || malformed.to_string()),
    }
    parsed
}

/// Tells which cookies are looked for, where there is no Authorization line.
pub(in crate::proxy) fn cookies<'a>(
    checks: &Checks,
    headers: &HeaderMap,
    strategies: impl Iterator<Item = &'a Arc<Strategy>>,
    secure: bool,
) {
    if !checks.is_on() {
        return;
    }
    let mut wanted: Vec<&str> = strategies.map(|s| s.cookies.name(secure)).collect();
    wanted.dedup();
    let found: Vec<&str> = all_cookies(headers).map(|(name, _)| name).collect();
    let scheme = if secure { "https" } else { "http" };
    if wanted.is_empty() {
        checks.failed(Check::Credential, || {
            "no Authorization line, and no strategy of the API lists session".to_owned()
        });
    } else if found.iter().any(|name| wanted.contains(name)) {
        checks.passed(Check::Credential, || {
            format!(
                "no Authorization line; the session cookie {}",
                listed(&wanted)
            )
        });
    } else {
        checks.failed(Check::Credential, || {
            format!(
                "no Authorization line; over {scheme} the session cookie is {}, cookies sent: {}",
                listed(&wanted),
                listed(&found)
            )
        });
    }
}
