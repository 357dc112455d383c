//! What an introspection endpoint's answer (RFC 7662 section 2.2) says of a token.
//!
//! `active: true` alone is not enough: such endpoints also call refresh tokens, registration
//! tokens and tokens for others active. Asking the endpoint is not done here.

use super::{
    Error, json,
    rules::{self, Rules},
};
use crate::model::{
    claims::{ClaimPath, Claims, Facts, Value},
    time::Timestamp,
};

/// Longest answer that is read, in bytes: twice the longest token's claims.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// Scopes of tokens that register and manage clients: Django OAuth Toolkit's, Curity's, WSO2's by prefix.
const MANAGEMENT_SCOPES: [&str; 3] = ["oauth2_provider:registration", "dcr", "dcrm"];
const MANAGEMENT_PREFIX: &str = "internal_dcr_";

/// Reads an answer; `None` says that the token is not active. The provider that was asked vouches
/// for it, so `iss` may be absent; where present it must be one of `issuers`.
///
/// # Errors
/// [`Error::AnswerTooLarge`] and [`Error::AnswerUnreadable`] are the provider's fault and say
/// nothing of the token ([`Error::is_unreadable_answer`]); any other refuses the token.
pub fn facts(
    answer: &[u8],
    issuers: &[String],
    rules: &Rules<'_>,
    now: Timestamp,
) -> Result<Option<Facts>, Error> {
    if answer.len() > ANSWER_LIMIT {
        return Err(Error::AnswerTooLarge);
    }
    let claims = json::claims(answer).map_err(Error::AnswerUnreadable)?;
    match claims.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(None),
        _ => return Err(Error::AnswerWithoutActive),
    }
    if rules::text(&claims, "iss")?.is_some_and(|iss| !issuers.iter().any(|known| known == iss)) {
        return Err(Error::Issuer);
    }
    bearer(&claims)?;
    let facts = rules.read(&claims, rules.introspected_client_claims)?;
    manages_nothing(&claims, &facts)?;
    rules.judge(&facts, now)?;
    Ok(Some(facts))
}

/// Refuses what the answer's `token_type` says is no bearer token. Some endpoints name the kind
/// of token there instead of how it is presented.
fn bearer(claims: &Claims<'_>) -> Result<(), Error> {
    let Some(kind) = rules::text(claims, "token_type")? else {
        return Ok(());
    };
    let kind = kind
        .strip_prefix("urn:ietf:params:oauth:token-type:")
        .unwrap_or(kind);
    let is = |other: &str| kind.eq_ignore_ascii_case(other);
    if is("refresh_token") || is("id_token") {
        return Err(Error::NotAccessToken);
    }
    if is("dpop") || is("pop") || is("mac") {
        return Err(Error::SenderConstrained);
    }
    Ok(())
}

/// Looks in the usual scope claims too, wherever the strategy reads its scopes from.
fn manages_nothing(claims: &Claims<'_>, facts: &Facts) -> Result<(), Error> {
    let usual: Vec<ClaimPath> = ["scope", "scp"]
        .iter()
        .filter_map(|name| ClaimPath::new([(*name).to_owned()]))
        .collect();
    let usual = rules::scopes(claims, &usual)?;
    let mut scopes = usual
        .as_str()
        .split(' ')
        .chain(facts.scopes.as_str().split(' '));
    if scopes.any(is_for_management) {
        Err(Error::ManagementScope)
    } else {
        Ok(())
    }
}

/// Whether a scope is one to register and manage clients with, not to call an API with.
pub fn is_for_management(scope: &str) -> bool {
    MANAGEMENT_SCOPES.contains(&scope) || scope.starts_with(MANAGEMENT_PREFIX)
}

#[cfg(test)]
mod tests;
