//! JSON Web Tokens in compact form (RFC 7519, RFC 7515), as access tokens.
//!
//! The signature is checked before any claim is judged. Of the header only `alg`, `kid`, `typ`,
//! `crit` and `b64` are read; a key or an address in it (`jwk`, `jku`, `x5u`, `x5c`) is never
//! used. Encrypted tokens and JSON serialisations are no JWTs here.
//!
//! A token that comes for the first time is asked several things: whether it is a JWT, whose, and
//! then whether it is good. It is decoded once for all of them ([`Decoded`]), and read once ([`Jwt`]).

use std::{borrow::Cow, cell::OnceCell};

use base64::{Engine, decoded_len_estimate, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, json,
    jwk::{Key, KeyId, KeySet},
    rules::{self, Rules},
};
use crate::model::{
    claims::{Audience, Claims, Facts, Value},
    credential::Token,
    time::Timestamp,
};

/// Longest token that is read, in bytes: no longer one fits in a request's head.
pub const TOKEN_LIMIT: usize = 32 * 1024;

/// Whether a token is meant as a JWT: three base64url parts, the first a JSON object, the last
/// perhaps empty. Says nothing about whether it is a good one; a bad one is refused as a JWT and
/// not sent to introspection.
pub fn looks_like_jwt(token: &str) -> bool {
    // Without a way out in the middle they are seen sixteen bytes at a time.
    let legal = |part: &str| {
        part.bytes().fold(true, |legal, byte| {
            legal & (byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_'))
        })
    };
    let Some((header, payload, signature)) = parts(token) else {
        return false;
    };
    token.len() <= TOKEN_LIMIT
        && legal(payload)
        && legal(signature)
        && BASE64_URL_SAFE_NO_PAD.decode(header).is_ok_and(|header| {
            header.trim_ascii_start().starts_with(b"{")
                && serde_json::from_slice::<IgnoredAny>(&header).is_ok()
        })
}

/// The token's unverified `iss`: good for choosing whose keys to try, and for nothing else.
/// `None` where there is not exactly one that is text.
pub fn issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload<'t> {
        #[serde(borrow)]
        iss: Cow<'t, str>,
    }
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    let (_, payload, _) = parts(token)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload)
        .ok()
        .map(|Payload { iss }| iss.into_owned())
}

/// Header and payload as they were presented, decoded and not yet read, whatever follows them: for
/// showing to people and for nothing else, since nothing of them is verified. `None` where they are
/// no base64url.
pub fn unverified(token: &str) -> Option<[Vec<u8>; 2]> {
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    let (header, payload, _) = parts(token)?;
    Some([decode(header).ok()?, decode(payload).ok()?])
}

/// What a token is for, its `aud`: for telling what one that failed with [`Error::Audience`] is, and
/// for nothing else. Nothing is checked here.
pub fn audience(token: &str) -> Audience {
    let payload = parts(token).and_then(|(_, payload, _)| decode(payload).ok());
    let payload = payload.unwrap_or_default();
    let claims = json::claims(&payload).ok();
    claims
        .and_then(|claims| rules::audience(&claims).ok())
        .unwrap_or_default()
}

/// Verifies an access token: [`Jwt::verify`] for who asks nothing else of it.
///
/// # Errors
/// As [`Jwt::verify`].
pub fn verify(
    token: &str,
    keys: &KeySet,
    issuers: &[String],
    rules: &Rules<'_>,
    now: Timestamp,
) -> Result<(Facts, KeyId), Error> {
    Jwt::new(&Decoded::new(token)).verify(keys, issuers, rules, now)
}

/// A text that may be a JWT, and its parts decoded. All of them before any is looked into: what is
/// told of a refusal names the first of the checks in [`Check::OF_JWT`] that fails.
///
/// [`Check::OF_JWT`]: crate::model::check::Check::OF_JWT
pub struct Decoded<'t> {
    token: &'t str,
    parts: Result<Parts<'t>, Error>,
}

/// The parts of a token, decoded into one piece of memory.
struct Parts<'t> {
    /// What is signed: header and payload as they were sent.
    message: &'t [u8],
    bytes: Vec<u8>,
    /// Where the header ends in them.
    header: usize,
    /// Where the payload ends, and the signature begins.
    payload: usize,
}

impl<'t> Decoded<'t> {
    /// Size and form. What is wrong with them is told when the token is verified.
    pub fn new(token: &'t str) -> Self {
        let parts = Parts::decode(token);
        Self { token, parts }
    }

    /// The claims of a JWT of any kind whose signature is one of these keys'. Nothing of them is
    /// judged.
    ///
    /// # Errors
    /// As [`verify`], up to the signature.
    pub(super) fn signed(&self, keys: &KeySet) -> Result<Claims<'_>, Error> {
        let taken = Taken::apart(self)?;
        taken.key(keys, &[])?;
        taken.payload.map_err(Error::Payload)
    }
}

impl<'t> Parts<'t> {
    fn decode(token: &'t str) -> Result<Self, Error> {
        if token.len() > TOKEN_LIMIT {
            return Err(Error::TooLarge);
        }
        let (header, payload, signature) = parts(token).ok_or(Error::NotJwt)?;
        let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let room = [header, payload, signature].map(|part| decoded_len_estimate(part.len()));
        let mut bytes = vec![0; room.iter().sum()];
        let mut end = 0;
        let mut decode = |part: &str| {
            let length = BASE64_URL_SAFE_NO_PAD.decode_slice(part, &mut bytes[end..]);
            end += length.map_err(|_| Error::Base64)?;
            Ok(end)
        };
        let (header, payload, end) = (decode(header)?, decode(payload)?, decode(signature)?);
        bytes.truncate(end);
        Ok(Self {
            message,
            bytes,
            header,
            payload,
        })
    }

    /// Header, payload and signature.
    fn split(&self) -> [&[u8]; 3] {
        let (header, rest) = self.bytes.split_at(self.header);
        let (payload, signature) = rest.split_at(self.payload - self.header);
        [header, payload, signature]
    }
}

/// A token that is read when it is first asked something. What is wrong with it is told when it is
/// verified, and nothing of it may be believed before.
pub struct Jwt<'t> {
    decoded: &'t Decoded<'t>,
    taken: OnceCell<Result<Taken<'t>, Error>>,
}

impl<'t> Jwt<'t> {
    /// A token of which nothing was asked yet.
    pub const fn new(decoded: &'t Decoded<'t>) -> Self {
        let taken = OnceCell::new();
        Self { decoded, taken }
    }

    /// The token as it was presented.
    pub const fn token(&self) -> Token<'t> {
        Token::new(self.decoded.token)
    }

    /// [`looks_like_jwt`] of it.
    pub fn looks_like_jwt(&self) -> bool {
        // What can be taken apart does; some of the rest does too, and is refused as a JWT.
        self.taken().is_ok() || looks_like_jwt(self.decoded.token)
    }

    /// Its unverified [`issuer`].
    pub fn issuer(&self) -> Option<Cow<'_, str>> {
        match self.taken() {
            Ok(Taken {
                payload: Ok(claims),
                ..
            }) => claims.get("iss")?.as_str().map(Cow::Borrowed),
            // It goes to the keys of its issuer all the same, to be refused for its first fault.
            _ => issuer(self.decoded.token).map(Cow::Owned),
        }
    }

    /// Forgets what was read until it is asked something again: for whoever has to wait. Of a token
    /// that is made to be so, its members take many times the room of their text.
    pub fn put_together(&mut self) {
        self.taken.take();
    }

    /// Verifies it as an access token with an identity provider's keys: size, form, header,
    /// signature, issuer, then all that [`Rules`] ask. `issuers` are the provider's `iss` values,
    /// compared byte for byte. The key that verified it is told so that a cached verdict can end
    /// with it.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where fetching the keys again may help; [`Error::Audience`] where
    /// nothing but the audience is wrong; otherwise the first rule that is broken.
    pub fn verify(
        &self,
        keys: &KeySet,
        issuers: &[String],
        rules: &Rules<'_>,
        now: Timestamp,
    ) -> Result<(Facts, KeyId), Error> {
        let taken = self.taken().as_ref().map_err(|error| *error)?;
        let key = taken.key(keys, rules.algorithms)?;
        let claims = taken.payload.as_ref();
        let claims = claims.map_err(|fault| Error::Payload(*fault))?;
        let issuer = rules::text(claims, "iss")?.ok_or(Error::Issuer)?;
        if !issuers.iter().any(|known| known == issuer) || !key.signs_for(issuer, rules.key_issuer)
        {
            return Err(Error::Issuer);
        }
        let facts = rules.read(claims, rules.client_claims)?;
        rules.judge(&facts, now)?;
        Ok((facts, key.id))
    }

    fn taken(&self) -> &Result<Taken<'t>, Error> {
        self.taken.get_or_init(|| Taken::apart(self.decoded))
    }
}

/// The parts of a token, read.
struct Taken<'t> {
    message: &'t [u8],
    header: Claims<'t>,
    /// Whether it can be read is told only once the signature has passed.
    payload: Result<Claims<'t>, json::Fault>,
    signature: &'t [u8],
}

impl<'t> Taken<'t> {
    /// Size, form, and whether the header is strict JSON.
    fn apart(decoded: &'t Decoded<'t>) -> Result<Self, Error> {
        let parts = decoded.parts.as_ref().map_err(|error| *error)?;
        let [header, payload, signature] = parts.split();
        Ok(Self {
            message: parts.message,
            header: json::claims(header).map_err(Error::Json)?,
            payload: json::claims(payload),
            signature,
        })
    }

    /// The key whose signature it bears, if its header asks for nothing that is not understood.
    fn key<'k>(&self, keys: &'k KeySet, algorithms: &[Algorithm]) -> Result<&'k Key, Error> {
        let header = Header::read(&self.header)?;
        keys.verify(
            header.kid,
            header.alg,
            algorithms,
            self.message,
            self.signature,
        )
        .map_err(|error| match error {
            // It is hashed before the signature is made, so nobody else can check that.
            Error::Signature if self.header.contains_key("nonce") => Error::GraphToken,
            error => error,
        })
    }
}

fn parts(token: &str) -> Option<(&str, &str, &str)> {
    let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
    let (first, second) = (dots.next()?, dots.next()?);
    let three = (
        &token[..first],
        &token[first + 1..second],
        &token[second + 1..],
    );
    dots.next().is_none().then_some(three)
}

/// Strict base64url (RFC 7515 section 2): no padding, no left-over bits, nothing else.
fn decode(part: &str) -> Result<Vec<u8>, Error> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Error::Base64)
}

/// What is read of a header.
struct Header<'h> {
    alg: &'h str,
    kid: Option<&'h str>,
}

impl<'h> Header<'h> {
    fn read(members: &'h Claims<'_>) -> Result<Self, Error> {
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(&**text)),
            Some(_) => Err(Error::Header),
        };
        let (alg, kid) = (text("alg")?.ok_or(Error::Header)?, text("kid")?);
        let kind = text("typ")?;
        // No extension is understood, so each that must be is one too many.
        let attached = matches!(members.get("b64"), None | Some(Value::Bool(true)));
        if members.contains_key("crit") || !attached {
            return Err(Error::Critical);
        }
        if let Some(kind) = kind {
            let prefix = kind
                .get(..12)
                .filter(|p| p.eq_ignore_ascii_case("application/"));
            let kind = &kind[prefix.map_or(0, str::len)..];
            if !["at+jwt", "jwt"]
                .iter()
                .any(|known| kind.eq_ignore_ascii_case(known))
            {
                return Err(Error::Type);
            }
        }
        Ok(Self { alg, kid })
    }
}

#[cfg(test)]
mod tests;
