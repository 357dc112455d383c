//! Keys and tokens for the benches: a 2,048-bit RSA key, a P-256 key or an Ed25519 key, made at
//! start, and access tokens as identity providers write them.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

/// The `iss` of every token.
pub(crate) const ISSUER: &str = "http://127.0.0.1/issuer";

/// The `aud` of every token.
pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// The `client_id` of every token.
pub(crate) const CLIENT: &str = "6f2c1e9e-3c1b-4b55-9d3a-0f1f6a1f7a11";

/// Length of an RS256 token in bytes: what Auth0 and Okta send to a machine, give or take.
pub(crate) const LENGTH: usize = 640;

/// A signing key.
pub(crate) enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// Makes a key that signs as `algorithm`: EdDSA, ES256 or RS256.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDSA => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            Algorithm::ES256 => {
                Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
            }
            Algorithm::RS256 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            other => panic!("no bench signs as {other:?}"),
        }
    }

    /// The algorithm's name in a JOSE header.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public half as a key set of three, of which only the second has the `kid` of our
    /// tokens: providers publish the next key and the last one too.
    pub(crate) fn set(&self) -> String {
        let kids = ["last", "this", "next"];
        json!({"keys": kids.map(|kid| self.jwk(kid))}).to_string()
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())})
            }
            Self::P256(pair) => {
                // An uncompressed point: one byte, x, y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": base64(n.big_endian_without_leading_zero()),
                    "e": base64(e.big_endian_without_leading_zero()),
                })
            }
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// An access token (RFC 9068) with as many bytes of claims as make an RS256 one [`LENGTH`]
    /// bytes long, good for an hour from `now` in seconds.
    pub(crate) fn token(&self, now: i64) -> String {
        self.numbered_token(now, 0)
    }

    /// As [`Key::token`], and another for each number.
    pub(crate) fn numbered_token(&self, now: i64, number: usize) -> String {
        let header = json!({"alg": self.algorithm(), "kid": "this", "typ": "at+jwt"}).to_string();
        let payload = |id: &str| {
            json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": CLIENT, "client_id": CLIENT,
                "iat": now, "exp": now + 3600, "scope": "flights:read flights:list", "jti": id,
            })
        };
        // Base64 of an RSA signature of 256 bytes, and the two dots.
        let others = base64(&header).len() + 342 + 2;
        let room = (LENGTH - others) / 4 * 3;
        let width = room.saturating_sub(payload("").to_string().len());
        let filler = format!("{number:0width$}");
        let message = format!(
            "{}.{}",
            base64(header),
            base64(payload(&filler).to_string())
        );
        format!("{message}.{}", base64(self.sign(message.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &random,
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
        }
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
