//! What a token says, check by check: before its signature was verified marked as unverified.
//!
//! The verdict is given before, by [`crate::token`]; this says which checks led to it. Those before
//! the one that failed were passed, since they are made in one order.

use super::away;
use crate::{
    model::{
        check::Check,
        claims::{ClaimPath, Claims, Facts, Value},
        credential::Token,
        time::Timestamp,
    },
    proxy::strategy::Strategy,
    telemetry::checks::{Checks, Outcome, listed, quoted},
    token::{self, json, jwk::KeySet, jwt},
};

/// Claims in which identity providers name the client.
const CLIENT_CLAIMS: [&str; 5] = ["client_id", "azp", "cid", "appid", "sub"];
/// Members that tell other things from access tokens.
const USES: [&str; 8] = [
    "nonce",
    "at_hash",
    "c_hash",
    "purpose",
    "typ",
    "token_use",
    "token_type",
    "cnf",
];

/// Tells what came of verifying a JWT by keys.
pub(in crate::proxy) fn signed<T>(
    checks: &Checks,
    strategy: &Strategy,
    token: Token<'_>,
    keys: &KeySet,
    result: &Result<T, token::Error>,
    now: Timestamp,
) {
    if !checks.is_on() {
        return;
    }
    let rules = strategy.rules();
    let [header, payload] = jwt::unverified(token.expose()).unwrap_or_default();
    let read = json::claims(&header).ok().zip(json::claims(&payload).ok());
    let (header, payload) = &read.unwrap_or_default();
    let of_header = |check| match check {
        Check::TokenForm => format!(
            "{} bytes; unverified: {}",
            token.expose().len(),
            summary(header, payload, now)
        ),
        Check::TokenHeader => format!("alg {}, kid {}", shown(header, "alg"), shown(header, "kid")),
        Check::TokenType => format!("typ {}; accepted: at+jwt, JWT, none", shown(header, "typ")),
        Check::Key => {
            let algorithms = &strategy.config.tokens.algorithms;
            let allowed = match algorithms.is_empty() {
                true => "what the key says".to_owned(),
                false => listed(algorithms.iter().map(|known| format!("{known:?}"))),
            };
            format!(
                "kid {}, alg {}; accepted: {allowed}; kid in the key set: {}",
                shown(header, "kid"),
                shown(header, "alg"),
                listed(keys.kids())
            )
        }
        Check::Signature => match header.contains_key("nonce") {
            true => "its header has a nonce, as those of Microsoft Graph's tokens".to_owned(),
            false => format!("by the key {}", shown(header, "kid")),
        },
        check => of_claims(check, strategy, rules.client_claims, payload, now),
    };
    tell(checks, &Check::OF_JWT, result.as_ref().err(), of_header);
}

/// Tells what came of asking an introspection endpoint.
pub(in crate::proxy) fn introspected(
    checks: &Checks,
    strategy: &Strategy,
    body: &[u8],
    result: &Result<Option<Facts>, token::Error>,
    now: Timestamp,
) {
    if !checks.is_on() {
        return;
    }
    if let Err(error) = result
        && error.check() == Some(Check::IntrospectionAnswer)
    {
        return checks.failed(Check::IntrospectionAnswer, || error.to_string());
    }
    if let Ok(None) = result {
        return checks.failed(Check::Active, || {
            "the identity provider says that the token is not active: expired, revoked, of \
             somebody else, or not for this gateway to ask about"
                .to_owned()
        });
    }
    let claims = json::claims(body).unwrap_or_default();
    // The answer itself was told where it came in.
    let order = &Check::OF_ANSWER[1..];
    let paths = strategy.rules().introspected_client_claims;
    tell(checks, order, result.as_ref().err(), |check| match check {
        Check::Active => "active: true".to_owned(),
        check => of_claims(check, strategy, paths, &claims, now),
    });
}

/// Tells that what is remembered of a token no longer passes.
pub(in crate::proxy) fn judged_again(checks: &Checks, error: token::Error) {
    let check = error.check().unwrap_or(Check::Claims);
    checks.failed(check, || error.to_string());
}

/// Tells the checks of an order up to the one that failed.
fn tell(
    checks: &Checks,
    order: &[Check],
    error: Option<&token::Error>,
    detail: impl Fn(Check) -> String,
) {
    let failed = error.and_then(token::Error::check);
    for check in order {
        if let Some(error) = error.filter(|_| failed == Some(*check)) {
            return checks.failed(*check, || format!("{error}: {}", detail(*check)));
        }
        checks.note(*check, Outcome::Passed, || detail(*check));
    }
}

/// What a check of the claims looks at.
fn of_claims(
    check: Check,
    strategy: &Strategy,
    client: &[ClaimPath],
    claims: &Claims<'_>,
    now: Timestamp,
) -> String {
    let rules = strategy.rules();
    match check {
        Check::Issuer => format!(
            "iss {}; accepted: {}",
            shown(claims, "iss"),
            listed(strategy.provider.issuers().iter())
        ),
        Check::TokenUse => match some(claims, &USES) {
            found if found.is_empty() => "nothing that an access token does not have".to_owned(),
            found => found,
        },
        Check::ClientClaim => {
            let told = client.iter().map(|path| {
                let found = path.find(claims).map_or("absent".to_owned(), value);
                format!("{path} {found}")
            });
            let told: Vec<String> = told.collect();
            let there = some(claims, &CLIENT_CLAIMS);
            format!(
                "credential_claim: {}; the usual claims: {there}",
                told.join(", ")
            )
        }
        Check::Claims => {
            let scopes: Vec<String> = rules.scope_claims.iter().map(ToString::to_string).collect();
            format!(
                "exp, nbf, iat, aud and {} have the right types",
                scopes.join(", ")
            )
        }
        Check::ManagementScope => format!("scope {}", shown(claims, "scope")),
        Check::Times => {
            let leeway = humantime::format_duration(rules.leeway);
            format!("{}; leeway {leeway}", times(claims, now))
        }
        Check::Audience => match rules.audience.is_empty() {
            true => format!("aud {}; the strategy asks for none", shown(claims, "aud")),
            false => format!(
                "aud {}; accepted: {}",
                shown(claims, "aud"),
                listed(rules.audience)
            ),
        },
        _ => "strict JSON".to_owned(),
    }
}

/// What a token says of itself, for those whose token fails before anything of it is believed.
fn summary(header: &Claims<'_>, payload: &Claims<'_>, now: Timestamp) -> String {
    if header.is_empty() {
        return "it cannot be read".to_owned();
    }
    format!(
        "{}; iss {}, aud {}, {}, scope {}, scp {}, {}",
        some(header, &["alg", "kid", "typ"]),
        shown(payload, "iss"),
        shown(payload, "aud"),
        times(payload, now),
        shown(payload, "scope"),
        shown(payload, "scp"),
        some(payload, &CLIENT_CLAIMS),
    )
}

/// The times of a token, as far as they can be read.
fn times(claims: &Claims<'_>, now: Timestamp) -> String {
    let told = |name: &str| {
        let number = claims.get(name)?.as_f64()?;
        // The cast saturates, and so does what is made of it.
        let time = Timestamp::from_secs(number as i64);
        Some(format!("{name} {}", away(time, now)))
    };
    let told: Vec<String> = ["exp", "nbf", "iat"].into_iter().filter_map(told).collect();
    match told.is_empty() {
        true => "no exp".to_owned(),
        false => told.join(", "),
    }
}

/// Those of some members that are there.
fn some(claims: &Claims<'_>, names: &[&str]) -> String {
    let there = names.iter().filter(|name| claims.contains_key(name));
    let told: Vec<String> = there
        .map(|name| format!("{name} {}", shown(claims, name)))
        .collect();
    told.join(", ")
}

/// The value of one member.
fn shown(claims: &Claims<'_>, name: &str) -> String {
    claims.get(name).map_or("absent".to_owned(), value)
}

fn value(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let texts = list.iter().map(|entry| match entry {
                Value::String(text) => &**text,
                _ => "(not a text)",
            });
            format!("[{}]", listed(texts))
        }
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests;
