//! Signing keys of the stand-in IdP, and of those who would forge.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

/// Making an RSA key takes long, so tests take turns with these; the `kid`s differ all the same.
static RSA: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let make = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    (0..3)
        .map(|_| {
            AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&make())
                .unwrap()
                .as_ref()
                .to_vec()
        })
        .collect()
});
static TURN: AtomicUsize = AtomicUsize::new(0);

/// A signature algorithm's name as in a JOSE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alg {
    EdDsa,
    Es256,
    Es384,
    Ps256,
    Rs256,
    Rs512,
}

impl Alg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
        }
    }
}

/// A private key with the name under which its public half is published.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) alg: Alg,
    private: Vec<u8>,
}

impl Key {
    /// Makes a key with a fresh `kid`.
    pub(crate) fn new(alg: Alg) -> Self {
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let private = match alg {
            Alg::EdDsa => Ed25519KeyPair::generate()
                .unwrap()
                .to_pkcs8()
                .unwrap()
                .as_ref()
                .to_vec(),
            Alg::Es256 => pkcs8(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Alg::Es384 => pkcs8(&EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Alg::Ps256 | Alg::Rs256 | Alg::Rs512 => RSA[turn % RSA.len()].clone(),
        };
        Self {
            kid: format!("{}-{turn}-{}", alg.name(), uuid::Uuid::new_v4()),
            alg,
            private,
        }
    }

    /// The same key under another's name.
    pub(crate) fn named(&self, kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            ..self.clone()
        }
    }

    /// Signs as the algorithm of the key says.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding| {
            let pair = RsaKeyPair::from_pkcs8(&self.private).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature)
                .unwrap();
            signature
        };
        match self.alg {
            Alg::EdDsa => self.ed25519().sign(message).as_ref().to_vec(),
            Alg::Es256 | Alg::Es384 => self
                .ecdsa()
                .sign(&random, message)
                .unwrap()
                .as_ref()
                .to_vec(),
            Alg::Ps256 => rsa(&signature::RSA_PSS_SHA256),
            Alg::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            Alg::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        }
    }

    /// The public half as a JWK, with `kid`, `use` and `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let b64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let public = self.public();
        let mut jwk = match self.alg {
            Alg::EdDsa => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&public)}),
            Alg::Es256 => {
                json!({"kty": "EC", "crv": "P-256", "x": b64(&public[1..33]), "y": b64(&public[33..])})
            }
            Alg::Es384 => {
                json!({"kty": "EC", "crv": "P-384", "x": b64(&public[1..49]), "y": b64(&public[49..])})
            }
            // RSAPublicKey of 2,048 bits: nine bytes of DER, 256 of modulus, five to the exponent.
            Alg::Ps256 | Alg::Rs256 | Alg::Rs512 => {
                json!({"kty": "RSA", "n": b64(&public[9..265]), "e": b64(&public[public.len() - 3..])})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg.name());
        jwk
    }

    /// The public half as raw bytes: a point, or PKCS#1 DER of an RSA key.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self.alg {
            Alg::EdDsa => self.ed25519().public_key().as_ref().to_vec(),
            Alg::Es256 | Alg::Es384 => self.ecdsa().public_key().as_ref().to_vec(),
            Alg::Ps256 | Alg::Rs256 | Alg::Rs512 => RsaKeyPair::from_pkcs8(&self.private)
                .unwrap()
                .public_key()
                .as_ref()
                .to_vec(),
        }
    }

    /// A certificate of its own for the public half, DER, as some providers publish in `x5c`.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        let private = PrivatePkcs8KeyDer::from(self.private.as_slice());
        let key = rcgen::KeyPair::try_from(&private).unwrap();
        let mut params = rcgen::CertificateParams::default();
        // The same bytes each time, and another thumbprint for the same key under another name.
        let unique = self.kid.len().saturating_sub(12);
        params.serial_number = Some(self.kid.as_bytes()[unique..].to_vec().into());
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn ed25519(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_pkcs8(&self.private).unwrap()
    }

    fn ecdsa(&self) -> EcdsaKeyPair {
        let algorithm = if self.alg == Alg::Es256 {
            &ECDSA_P256_SHA256_FIXED_SIGNING
        } else {
            &ECDSA_P384_SHA384_FIXED_SIGNING
        };
        EcdsaKeyPair::from_pkcs8(algorithm, &self.private).unwrap()
    }
}

/// HMAC-SHA-256, for tokens that pass a public key off as a shared secret.
pub(crate) fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

fn pkcs8(pair: &EcdsaKeyPair) -> Vec<u8> {
    pair.to_pkcs8v1().unwrap().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk::Jwk};

    use super::*;
    use crate::harness::{AUDIENCE, token::Token};

    #[test]
    fn what_the_stand_in_signs_others_verify() {
        for alg in [
            Alg::EdDsa,
            Alg::Es256,
            Alg::Es384,
            Alg::Ps256,
            Alg::Rs256,
            Alg::Rs512,
        ] {
            let key = Key::new(alg);
            let jwk: Jwk = serde_json::from_value(key.jwk()).unwrap();
            let mut validation = Validation::new(alg.name().parse().unwrap());
            validation.set_audience(&[AUDIENCE]);
            let token = Token::new(key, "https://issuer.test", "client").build();
            let verified =
                decode::<Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation);
            assert_eq!(verified.unwrap().claims["client_id"], "client", "{alg:?}");
        }
    }
}
