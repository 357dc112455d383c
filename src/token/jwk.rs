//! The public keys of one identity provider (RFC 7517), ready to verify signatures.
//!
//! The key decides which algorithms it verifies, never the token alone (RFC 8725 section 3.1).
//! A member that cannot be used, for whatever reason, costs nobody the others. Keys are brought
//! into their working form once, when the set is read; fetching it is not done here.

use aws_lc_rs::{
    encoding::AsDer,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::{Error, fingerprint, json};
use crate::model::claims::{Claims, Value};

/// Largest key set that is read, in bytes: 1,000 RSA keys of 4,096 bits with certificates left
/// out fit.
pub const SET_LIMIT: usize = 1024 * 1024;

/// Keys of one set that are kept; those beyond are dropped. Providers publish two to ten.
pub const KEY_LIMIT: usize = 1000;

/// Which key verified a token: a digest of its material, `kid` and `alg`. The same in each fetch
/// for as long as the provider publishes that key under that name, so that a cached verdict can
/// ask whether its key is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

/// What the member `issuer` of a key means. Entra publishes keys of other tenants beside one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyIssuer {
    /// The key signs tokens of that issuer alone.
    Binds,
    /// Nothing.
    Ignored,
}

/// A provider's keys. The default is empty and verifies nothing.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// The keys' ids, sorted: asked on each request.
    ids: Box<[KeyId]>,
    skipped: usize,
}

impl KeySet {
    /// Reads a key set (RFC 7517 section 5). Skipped, one by one, are keys that are unreadable,
    /// symmetric, private, weak (RSA under 2,048 bits), of small order or off their curve, of an
    /// unknown type, curve or algorithm, or not for verifying, and those beyond [`KEY_LIMIT`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`SET_LIMIT`]; [`Error::KeySet`] where the text is no strict JSON
    /// object with an array `keys`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > SET_LIMIT {
            return Err(Error::TooLarge);
        }
        let set = json::claims(text).map_err(|_| Error::KeySet)?;
        let Some(Value::Array(members)) = set.get("keys") else {
            return Err(Error::KeySet);
        };
        let keys: Vec<Key> = members
            .iter()
            .filter_map(|member| Key::read(member.as_object()?))
            .take(KEY_LIMIT)
            .collect();
        let mut ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        ids.sort_unstable();
        Ok(Self {
            skipped: members.len() - keys.len(),
            keys,
            ids: ids.into(),
        })
    }

    /// How many keys can verify.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The `kid` of each key that can verify; empty for one that has none.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys
            .iter()
            .map(|key| key.kid.as_deref().unwrap_or_default())
    }

    /// How many members of the set were not used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a key is still in the set. Cheap enough for each request.
    pub fn holds(&self, id: KeyId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// Finds the key that made a signature: by `kid`, which several keys may share; without one,
    /// among all. `algorithm` is the token's `alg`; `allowed` is the strategy's list, where empty
    /// each key's own word counts.
    ///
    /// # Errors
    /// [`Error::Algorithm`], [`Error::Signature`] or [`Error::UnknownKey`].
    pub(super) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: &str,
        allowed: &[Algorithm],
        message: &[u8],
        signature: &[u8],
    ) -> Result<&Key, Error> {
        let name = Name::parse(algorithm).ok_or(Error::Algorithm)?;
        if !allowed.is_empty() && !allowed.contains(&name.algorithm()) {
            return Err(Error::Algorithm);
        }
        let mut failure = Error::UnknownKey;
        for key in &self.keys {
            if kid.is_some() && kid != key.kid.as_deref() {
                continue;
            }
            let verified = match key.verifier(name, allowed) {
                Some(verifier) => verifier.verify_sig(message, signature).is_ok(),
                None if kid.is_some() && failure == Error::UnknownKey => {
                    failure = Error::Algorithm;
                    continue;
                }
                None => continue,
            };
            if verified {
                return Ok(key);
            }
            if kid.is_some() {
                failure = Error::Signature;
            }
        }
        Err(failure)
    }
}

/// An algorithm by its registered name. `Ed25519` (RFC 9864) and `EdDSA` (RFC 8037) are one
/// operation here, but a key that does not say `Ed25519` is not asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Ed25519,
    Other(Algorithm),
}

impl Name {
    /// Compares exactly. Symmetric algorithms and `none` have no name here.
    fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::Ed25519);
        }
        let algorithm: Algorithm = name.parse().ok()?;
        (algorithm.family() != AlgorithmFamily::Hmac).then_some(Self::Other(algorithm))
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 => Algorithm::EdDSA,
            Self::Other(algorithm) => algorithm,
        }
    }
}

/// Whether an issuer of v1 tokens is of the tenant whose v2 issuer a key names: `https://A/TENANT/`
/// and `https://B/TENANT/v2.0`.
fn is_v1_of(v2: &str, v1: &str) -> bool {
    let tenant = |authority: Option<&str>| authority?.rsplit('/').next().map(str::to_owned);
    let named = tenant(v2.strip_suffix("/v2.0")).filter(|tenant| !tenant.is_empty());
    named.is_some() && named == tenant(v1.strip_suffix('/'))
}

/// One key of a set.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: KeyId,
    kid: Option<Box<str>>,
    /// The key's own `alg`.
    name: Option<Name>,
    /// `issuer`, which Entra's keys have: whose tokens this key signs.
    issuer: Option<Box<str>>,
    /// One for each algorithm that the key can do, or for the one that it names.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Key {
    /// Whether it signs tokens of this issuer, where keys are bound to one ([`KeyIssuer`]). A key of
    /// Entra's names its tenant's v2 issuer, and signs the v1 tokens of that tenant too.
    pub(super) fn signs_for(&self, issuer: &str, keys: KeyIssuer) -> bool {
        let own = self.issuer.as_deref().filter(|_| keys == KeyIssuer::Binds);
        // One that holds a placeholder stands for every tenant.
        own.is_none_or(|own| own.contains('{') || own == issuer || is_v1_of(own, issuer))
    }

    /// Reads one member of the set; `None` skips it.
    fn read(jwk: &Claims<'_>) -> Option<Self> {
        let text = |name: &str| {
            jwk.get(name)
                .map_or(Some(None), |value| value.as_str().map(Some))
        };
        let kid = text("kid")?;
        // Nobody has registered this member, so it may be anything elsewhere.
        let issuer = jwk.get("issuer").and_then(Value::as_str);
        let name = match text("alg")? {
            Some(alg) => Some(Name::parse(alg)?),
            None => None,
        };
        if text("use")?.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops") {
            operations
                .as_array()?
                .iter()
                .find(|operation| operation.as_str() == Some("verify"))?;
        }
        // Who publishes the private half has made the key anybody's.
        if jwk.contains_key("d") {
            return None;
        }
        let material = Material::read(jwk)?;
        let id = KeyId(fingerprint(&[
            &material.bytes,
            if kid.is_some() { b"kid" } else { b"" },
            kid.unwrap_or_default().as_bytes(),
            format!("{:?} {name:?}", material.kind).as_bytes(),
            issuer.unwrap_or_default().as_bytes(),
        ]));
        let verifiers = material
            .kind
            .algorithms()
            .iter()
            .filter(|(algorithm, _)| name.is_none_or(|name| name.algorithm() == *algorithm))
            .map(|(algorithm, verifier)| {
                Some((
                    *algorithm,
                    ParsedPublicKey::new(*verifier, &material.bytes).ok()?,
                ))
            })
            .collect::<Option<Vec<_>>>()?;
        (!verifiers.is_empty()).then(|| Self {
            id,
            kid: kid.map(Into::into),
            name,
            issuer: issuer.map(Into::into),
            verifiers,
        })
    }

    /// The key in its form for one algorithm, if it may be used for that. An RSA key that names
    /// no algorithm does RS256, and others only where the strategy lists them.
    fn verifier(&self, name: Name, allowed: &[Algorithm]) -> Option<&ParsedPublicKey> {
        let algorithm = name.algorithm();
        let fits = match (self.name, name) {
            (own, Name::Ed25519) => own == Some(Name::Ed25519),
            (Some(_), _) => true,
            (None, _) if algorithm.family() == AlgorithmFamily::Rsa && allowed.is_empty() => {
                algorithm == Algorithm::RS256
            }
            (None, _) => true,
        };
        let mut verifiers = self.verifiers.iter();
        verifiers
            .find(|(own, _)| fits && *own == algorithm)
            .map(|(_, verifier)| verifier)
    }
}

/// The kinds of key that are used.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Kind {
    /// What a key of this kind can do.
    fn algorithms(self) -> &'static [(Algorithm, &'static dyn VerificationAlgorithm)] {
        match self {
            Self::Ed25519 => &[(Algorithm::EdDSA, &signature::ED25519)],
            Self::P256 => &[(Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED)],
            Self::P384 => &[(Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED)],
            Self::Rsa => &[
                (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
                (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
                (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
                (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
                (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
                (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
            ],
        }
    }
}

/// A public key in the bytes that the library reads.
struct Material {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Material {
    fn read(jwk: &Claims<'_>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let number = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
        match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(&number("n")?, &number("e")?),
            ("EC", Some("P-256")) => point(Kind::P256, 32, &number("x")?, &number("y")?),
            ("EC", Some("P-384")) => point(Kind::P384, 48, &number("x")?, &number("y")?),
            ("OKP", Some("Ed25519")) => ed25519(number("x")?),
            _ => None,
        }
    }
}

/// RFC 7518 section 6.3.1. Some providers write a sign byte before the numbers; it is cut off.
fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let strip = |number: &'_ [u8]| {
        let start = number.iter().position(|byte| *byte != 0)?;
        Some(number[start..].to_vec())
    };
    let (n, e) = (strip(n)?, strip(e)?);
    let bits = n.len() * 8 - n[0].leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return None;
    }
    let bytes = RsaPublicKeyComponents { n, e }
        .as_der()
        .ok()?
        .as_ref()
        .to_vec();
    Some(Material {
        kind: Kind::Rsa,
        bytes,
    })
}

/// RFC 7518 section 6.2.1: coordinates have their full length. Whether the point is on the curve
/// is checked when the key is prepared.
fn point(kind: Kind, length: usize, x: &[u8], y: &[u8]) -> Option<Material> {
    let whole = x.len() == length && y.len() == length;
    whole.then(|| Material {
        kind,
        bytes: [&[4], x, y].concat(),
    })
}

/// RFC 8037 section 2. With a key of small order, signatures exist that fit any message; the
/// library takes such keys, so they are told apart here, the sign bit left aside.
fn ed25519(x: Vec<u8>) -> Option<Material> {
    let mut y: [u8; 32] = x.as_slice().try_into().ok()?;
    y[31] &= 0x7f;
    (!SMALL_ORDER.contains(&y)).then_some(Material {
        kind: Kind::Ed25519,
        bytes: x,
    })
}

/// The y coordinates of the points whose order divides 8, with the two that a sloppy encoding
/// adds: 0, 1, the two of order 8, p−1, p, p+1, little-endian, where p is 2²⁵⁵−19.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    near(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    near(0xec, 0xff, 0x7f),
    near(0xed, 0xff, 0x7f),
    near(0xee, 0xff, 0x7f),
];

/// A little-endian number given by its lowest byte, those between, and its highest.
const fn near(lowest: u8, between: u8, highest: u8) -> [u8; 32] {
    let mut number = [between; 32];
    number[0] = lowest;
    number[31] = highest;
    number
}

#[cfg(test)]
mod tests;
