//! What a strategy asks of a token, and what is read from one, however it was verified.
//!
//! Of the claims that are read, a wrong type refuses the token; claims that nobody asked for are
//! ignored (RFC 7519 section 4). Time and audience are judged apart, last and without allocating,
//! because they are judged again on each request.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::{Error, jwk::KeyIssuer};
use crate::model::{
    claims::{Audience, ClaimPath, Claims, Facts, Value},
    credential::{ClientId, ShortText},
    scope::Scopes,
    time::Timestamp,
};

/// Which of several claims hold a token's scopes, where more than one is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeReading {
    /// All together.
    Every,
    /// The first alone: what another one says is not the client's.
    First,
}

impl ScopeReading {
    fn pick<'p>(self, paths: &'p [ClaimPath], claims: &Claims<'_>) -> &'p [ClaimPath] {
        match self {
            Self::Every => paths,
            Self::First => {
                let first = paths.iter().find(|path| path.find(claims).is_some());
                first.map_or(&[], std::slice::from_ref)
            }
        }
    }
}

/// The rules of one strategy, borrowed from its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Algorithms accepted; empty: what each key says.
    pub algorithms: &'a [Algorithm],
    /// One of these must be in `aud`; empty: `aud` is not checked.
    pub audience: &'a [String],
    /// Difference between clocks that is forgiven.
    pub leeway: Duration,
    /// Where a JWT may name its client: the first that is present does, and all others that are
    /// present agree.
    pub client_claims: &'a [ClaimPath],
    /// Where an introspection answer may.
    pub introspected_client_claims: &'a [ClaimPath],
    /// What a key's `issuer` means.
    pub key_issuer: KeyIssuer,
    /// Where scopes are.
    pub scope_claims: &'a [ClaimPath],
    /// Which of those that are present count.
    pub scope_reading: ScopeReading,
    /// Values to keep for headers, [`Facts::header_claims`].
    pub header_claims: &'a [ClaimPath],
}

impl Rules<'_> {
    /// Judges time and audience, of a fresh token and of one that was read before. Audience comes
    /// last: [`Error::Audience`] means that nothing else was wrong.
    ///
    /// # Errors
    /// [`Error::Expired`], [`Error::NotYetValid`], [`Error::IssuedInFuture`] or
    /// [`Error::Audience`].
    pub fn judge(&self, facts: &Facts, now: Timestamp) -> Result<(), Error> {
        if now.minus(self.leeway) >= facts.expires {
            return Err(Error::Expired);
        }
        let latest = now.plus(self.leeway);
        if facts.not_before.is_some_and(|time| time > latest) {
            return Err(Error::NotYetValid);
        }
        if facts.issued.is_some_and(|time| time > latest) {
            return Err(Error::IssuedInFuture);
        }
        let named = self.audience.is_empty()
            || facts
                .audience
                .iter()
                .any(|named| self.audience.iter().any(|known| **known == **named));
        if named { Ok(()) } else { Err(Error::Audience) }
    }

    /// Reads the facts from claims that a signature or the provider's answer vouches for, and
    /// refuses what is no access token.
    pub(super) fn read(&self, claims: &Claims<'_>, client: &[ClaimPath]) -> Result<Facts, Error> {
        access_token(claims)?;
        let facts = Facts {
            client_id: client_id(claims, client)?,
            audience: audience(claims)?,
            scopes: scopes(claims, self.scope_reading.pick(self.scope_claims, claims))?,
            expires: time(claims, "exp")?.ok_or(Error::ExpiryMissing)?,
            not_before: time(claims, "nbf")?,
            issued: time(claims, "iat")?,
            header_claims: self
                .header_claims
                .iter()
                .map(|path| path.find(claims).and_then(header_value))
                .collect(),
        };
        Ok(facts)
    }
}

/// The one text at the configured path, or at the first of the vendor's that is present; never
/// another claim instead, and none of them may name somebody else. Where it is the subject, a user
/// must not become an application that happens to bear its name: what else names the client has
/// to agree.
fn client_id(claims: &Claims<'_>, paths: &[ClaimPath]) -> Result<ClientId, Error> {
    let mut found: Option<&str> = None;
    for value in paths.iter().filter_map(|path| path.find(claims)) {
        let id = value.as_str().ok_or(Error::ClaimType("credential_claim"))?;
        if *found.get_or_insert(id) != id {
            return Err(Error::ClientConflict);
        }
    }
    let id = found.ok_or(Error::ClientMissing)?;
    if paths.iter().any(|path| path.is("sub")) {
        for name in ["client_id", "azp", "cid", "appid"] {
            if text(claims, name)?.is_some_and(|other| other != id) {
                return Err(Error::ClientConflict);
            }
        }
    }
    ClientId::new(id).ok_or(Error::ClientMissing)
}

/// A claim that is text where it is present.
pub(super) fn text<'c>(
    claims: &'c Claims<'_>,
    name: &'static str,
) -> Result<Option<&'c str>, Error> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::ClaimType(name)),
    }
}

/// Scopes at all of the paths together: each is a space-separated text (RFC 8693 section 4.2) or
/// a list of texts.
pub(super) fn scopes(claims: &Claims<'_>, paths: &[ClaimPath]) -> Result<Scopes, Error> {
    let mut scopes: Vec<&str> = Vec::new();
    for value in paths.iter().filter_map(|path| path.find(claims)) {
        for text in texts(value).ok_or(Error::ClaimType("scope"))? {
            scopes.push(text.ok_or(Error::ClaimType("scope"))?);
        }
    }
    Ok(Scopes::from_list(scopes))
}

/// Claims that [`access_token`] looks at.
const USES: [&str; 7] = [
    "nonce",
    "at_hash",
    "c_hash",
    "purpose",
    "typ",
    "token_use",
    "cnf",
];

/// Refuses the other things that a provider signs or knows: ID tokens (OIDC Core section 2),
/// Curity's and Keycloak's refresh tokens, and tokens bound to a key (RFC 7800), which would
/// need a proof of possession.
fn access_token(claims: &Claims<'_>) -> Result<(), Error> {
    // To look through the names once is less than to look for each of these.
    if !claims.names().any(|name| USES.contains(&name)) {
        return Ok(());
    }
    if ["nonce", "at_hash", "c_hash"]
        .iter()
        .any(|name| claims.contains_key(name))
    {
        return Err(Error::NotAccessToken);
    }
    if text(claims, "purpose")?.is_some_and(|purpose| purpose != "access_token") {
        return Err(Error::NotAccessToken);
    }
    for (name, others) in [
        ("typ", &["id", "refresh"][..]),
        (
            "token_use",
            &["id", "id_token", "refresh", "refresh_token"][..],
        ),
    ] {
        let value = text(claims, name)?.unwrap_or_default();
        if others.iter().any(|other| value.eq_ignore_ascii_case(other)) {
            return Err(Error::NotAccessToken);
        }
    }
    if claims.contains_key("cnf") {
        return Err(Error::SenderConstrained);
    }
    Ok(())
}

/// RFC 7519 section 4.1.3: one text or a list of them.
pub(super) fn audience(claims: &Claims<'_>) -> Result<Audience, Error> {
    let Some(value) = claims.get("aud") else {
        return Ok(Audience::new());
    };
    let texts = texts(value).ok_or(Error::ClaimType("aud"))?;
    texts
        .map(|text| text.map(ShortText::from).ok_or(Error::ClaimType("aud")))
        .collect()
}

/// The texts of a text or of a list; inside, `None` for what is no text.
fn texts<'v>(value: &'v Value<'_>) -> Option<impl Iterator<Item = Option<&'v str>>> {
    let values = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(list) => list,
        _ => return None,
    };
    Some(values.iter().map(Value::as_str))
}

/// RFC 7519 section 2, NumericDate: seconds, fractions allowed. Dates too far to count saturate.
pub(super) fn time(claims: &Claims<'_>, name: &'static str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    if let Some(seconds) = value.as_i64() {
        return Ok(Some(Timestamp::from_secs(seconds)));
    }
    let seconds = value.as_f64().ok_or(Error::ClaimType(name))?;
    Ok(Some(Timestamp::from_millis(
        (seconds * 1000.0).floor() as i64
    )))
}

/// A claim as a header's text; `None` where it has no plain form.
fn header_value(value: &Value<'_>) -> Option<String> {
    let plain = |value: &Value<'_>| match value {
        Value::String(text) => Some(text.clone().into_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(list) => Some(
            list.iter()
                .map(plain)
                .collect::<Option<Vec<_>>>()?
                .join(","),
        ),
        _ => plain(value),
    }
}

#[cfg(test)]
mod tests;
