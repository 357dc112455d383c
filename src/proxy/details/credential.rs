//! What a request brings to say who calls.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    model::{
        check::Check,
        credential::{Credential, Malformed},
    },
    proxy::{session::cookies as all_cookies, strategy::Strategy},
    telemetry::checks::{Checks, listed},
    token::jwt,
};

/// Tells what an Authorization line holds.
pub(in crate::proxy) fn credential<'a>(
    checks: &Checks,
    parsed: Result<Credential<'a>, Malformed>,
) -> Result<Credential<'a>, Malformed> {
    match &parsed {
        // Which id is told when a strategy knows it: it may be the secret, in the wrong place.
        Ok(Credential::Basic(..)) => checks.passed(Check::Credential, || {
            "Basic: a client id and a secret".to_owned()
        }),
        Ok(Credential::Bearer(token)) => checks.passed(Check::Credential, || {
            let length = token.expose().len();
            match jwt::looks_like_jwt(token.expose()) {
                true => format!("Bearer: a JWT of {length} bytes"),
                false => format!("Bearer: a token of {length} bytes, no JWT"),
            }
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
