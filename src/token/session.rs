//! The session cookie's content, sealed.
//!
//! The gateway keeps no session: what it must know of one travels in the cookie, encrypted and
//! authenticated with AES-256-GCM-SIV (RFC 8452), whose random nonces hold for as many cookies as
//! a fleet of gateways can seal. No token and no secret is inside. The cookie's name is
//! authenticated with it, so a cookie that was set over plain http is none over https.
//!
//! A value is base64url without padding of: key hint (4 bytes), nonce (12), sealed content, tag
//! (16). The content is binary, little-endian, and begins with a version.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use zeroize::Zeroizing;

use super::{Error, fingerprint};
use crate::model::{credential::ClientId, scope::Scopes, time::Timestamp};

/// Longest cookie value, in bytes. Browsers keep 4,096 a cookie, but each request carries it.
pub const VALUE_LIMIT: usize = 1024;

/// What [`VALUE_LIMIT`] characters of base64 decode to.
const SEALED_LIMIT: usize = VALUE_LIMIT / 4 * 3;

const HINT_LEN: usize = 4;
const TAG_LEN: usize = 16;

/// Layout of the content. A new layout gets a new number, so old cookies end instead of being
/// misread.
const VERSION: u8 = 1;

/// One key of the ring: 32 bytes for AES-256-GCM-SIV. `Debug` hides it and its memory is cleared
/// when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Zeroizing<[u8; 32]>);

impl SessionKey {
    /// Reads a key from standard base64, padded or not; `None` unless it is exactly 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        const BASE64: GeneralPurpose = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// Makes a key that nobody else has.
    ///
    /// # Errors
    /// [`Error::Random`] where the system gives no random numbers.
    pub fn random() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(|_| Error::Random)?;
        Ok(Self(key))
    }

    /// Takes over a key.
    pub(crate) fn from_bytes(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself, for handing it to the process that takes this one's place.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Names one session, for revoking it at logout. Random, never taken over from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Makes a new id.
    ///
    /// # Errors
    /// [`Error::Random`] where the system gives no random numbers.
    pub fn random() -> Result<Self, Error> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| Error::Random)?;
        Ok(Self(id))
    }

    /// Takes over an id that was made elsewhere.
    pub(crate) fn from_bytes(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// The id.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

/// How the client authenticated when the session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a bearer token.
    Bearer,
    /// By client id and secret.
    ClientCredentials,
}

/// What a session cookie says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name of the strategy under which it began; valid under that one alone.
    pub strategy: Box<str>,
    /// [`binding`] of what the strategy asked for then. Another one now ends the session.
    pub binding: [u8; 16],
    /// The client.
    pub client_id: ClientId,
    /// The session's own id; renewals keep it.
    pub id: SessionId,
    /// How the client authenticated.
    pub method: Method,
    /// Scopes granted to it.
    pub scopes: Scopes,
    /// Values for the strategy's `claim_headers`, in that order.
    pub header_claims: Vec<Option<String>>,
    /// When the client authenticated. Credentials that changed later end the session.
    pub begun: Timestamp,
    /// When this cookie was sealed, at the beginning or at a renewal.
    pub sealed: Timestamp,
    /// The session's end unless it is renewed.
    pub idle_end: Timestamp,
    /// The session's end however often it is renewed.
    pub absolute_end: Timestamp,
}

impl Session {
    /// Judges whether the session still lasts.
    ///
    /// # Errors
    /// [`Error::SessionEnded`] from `absolute_end` on, [`Error::SessionIdle`] from `idle_end` on.
    pub fn judge(&self, now: Timestamp) -> Result<(), Error> {
        if now >= self.absolute_end {
            return Err(Error::SessionEnded);
        }
        if now >= self.idle_end {
            return Err(Error::SessionIdle);
        }
        Ok(())
    }

    /// Writes the content; `None` where a part has more bytes than its length field can say.
    fn encode(&self) -> Option<Vec<u8>> {
        let mut content = Vec::with_capacity(SEALED_LIMIT);
        let method = match self.method {
            Method::Bearer => 0,
            Method::ClientCredentials => 1,
        };
        content.extend([VERSION, method]);
        content.extend(self.binding);
        content.extend(self.id.0);
        for time in [self.begun, self.sealed, self.idle_end, self.absolute_end] {
            content.extend(time.millis().to_le_bytes());
        }
        for text in [
            &*self.strategy,
            self.client_id.as_str(),
            self.scopes.as_str(),
        ] {
            content.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
            content.extend(text.as_bytes());
        }
        content.push(u8::try_from(self.header_claims.len()).ok()?);
        for value in &self.header_claims {
            let length = value.as_ref().map_or(Some(ABSENT), |text| {
                u16::try_from(text.len())
                    .ok()
                    .filter(|length| *length != ABSENT)
            });
            content.extend(length?.to_le_bytes());
            content.extend(value.as_deref().unwrap_or_default().as_bytes());
        }
        Some(content)
    }

    /// Reads the content, which must be used up exactly.
    fn decode(content: &[u8]) -> Option<Self> {
        let mut reader = Reader(content);
        if reader.byte()? != VERSION {
            return None;
        }
        let method = match reader.byte()? {
            0 => Method::Bearer,
            1 => Method::ClientCredentials,
            _ => return None,
        };
        let session = Self {
            method,
            binding: reader.array()?,
            id: SessionId(reader.array()?),
            begun: reader.time()?,
            sealed: reader.time()?,
            idle_end: reader.time()?,
            absolute_end: reader.time()?,
            strategy: reader.text()??.into(),
            client_id: ClientId::new(reader.text()??)?,
            scopes: Scopes::parse(reader.text()??),
            header_claims: {
                let count = reader.byte()?;
                let mut values = Vec::with_capacity(usize::from(count));
                for _ in 0..count {
                    values.push(reader.text()?.map(str::to_owned));
                }
                values
            },
        };
        reader.0.is_empty().then_some(session)
    }
}

/// The length that says that a value is absent.
const ABSENT: u16 = u16::MAX;

/// What is left to read of a content.
struct Reader<'c>(&'c [u8]);

impl<'c> Reader<'c> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(i64::from_le_bytes(self.array()?)))
    }

    /// A text; inside, `None` where it is absent.
    fn text(&mut self) -> Option<Option<&'c str>> {
        let length = u16::from_le_bytes(self.array()?);
        if length == ABSENT {
            return Some(None);
        }
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Some)
    }
}

/// A digest of what a session must share with its strategy: issuers, credential claim, audience.
/// Parts keep their borders: no text that moves from one to the next leaves it unchanged.
pub fn binding(parts: &[&str]) -> [u8; 16] {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    fingerprint(&parts)
}

/// The keys that seal and open cookies. The first seals, all open, so that keys can be changed
/// without ending sessions, in any order over several gateways.
pub struct KeyRing(Vec<RingKey>);

/// Tells one key from others, and nothing of what it is.
pub type KeyHint = [u8; HINT_LEN];

struct RingKey {
    hint: KeyHint,
    key: RandomizedNonceKey,
}

impl KeyRing {
    /// Makes a ring; the first key is the one that seals.
    ///
    /// # Errors
    /// [`Error::SessionKey`] without any key.
    pub fn new(keys: Vec<SessionKey>) -> Result<Self, Error> {
        if keys.is_empty() {
            return Err(Error::SessionKey);
        }
        let ring = keys.iter().map(|SessionKey(bytes)| {
            let digest = fingerprint(&[b"dcr-gateway session key", &bytes[..]]);
            let [h0, h1, h2, h3, ..] = digest;
            let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &bytes[..]);
            Ok(RingKey {
                hint: [h0, h1, h2, h3],
                key: key.map_err(|_| Error::SessionKey)?,
            })
        });
        Ok(Self(ring.collect::<Result<_, _>>()?))
    }

    /// What tells its keys apart, in their order.
    pub fn hints(&self) -> impl Iterator<Item = KeyHint> {
        self.0.iter().map(|ring| ring.hint)
    }

    /// Seals a session as the value of a cookie of this name (prefix included).
    ///
    /// # Errors
    /// [`Error::SessionTooLarge`] where the value would exceed [`VALUE_LIMIT`]; [`Error::Random`]
    /// where the system gives no random numbers.
    pub fn seal(&self, session: &Session, cookie_name: &str) -> Result<String, Error> {
        let RingKey { hint, key } = self.0.first().ok_or(Error::SessionKey)?;
        let mut content = session.encode().ok_or(Error::SessionTooLarge)?;
        if HINT_LEN + NONCE_LEN + content.len() + TAG_LEN > SEALED_LIMIT {
            return Err(Error::SessionTooLarge);
        }
        let nonce = key
            .seal_in_place_append_tag(Aad::from(cookie_name), &mut content)
            .map_err(|_| Error::Random)?;
        let sealed = [&hint[..], nonce.as_ref(), &content].concat();
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens the value of a cookie of this name. Says nothing about whether the session still
    /// lasts ([`Session::judge`]).
    ///
    /// # Errors
    /// [`Error::SessionUnreadable`], whatever is wrong with it.
    pub fn open(&self, value: &str, cookie_name: &str) -> Result<Session, Error> {
        self.open_bytes(value.as_bytes(), cookie_name)
            .ok_or(Error::SessionUnreadable)
    }

    fn open_bytes(&self, value: &[u8], cookie_name: &str) -> Option<Session> {
        if value.len() > VALUE_LIMIT {
            return None;
        }
        let mut buffer = [0; SEALED_LIMIT];
        let length = BASE64_URL_SAFE_NO_PAD
            .decode_slice(value, &mut buffer)
            .ok()?;
        let (hint, rest) = buffer[..length].split_first_chunk::<HINT_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // Two keys with one hint are as good as impossible, but would be tried one by one.
        self.0
            .iter()
            .filter(|ring| ring.hint == *hint)
            .find_map(|ring| {
                let mut content = [0; SEALED_LIMIT];
                let content = &mut content[..sealed.len()];
                content.copy_from_slice(sealed);
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let content = ring
                    .key
                    .open_in_place(nonce, Aad::from(cookie_name), content)
                    .ok()?;
                Session::decode(content)
            })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys, hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
