//! One private key of each kind, always the same ones, to sign what was mutated.

use std::sync::OnceLock;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Every algorithm that a signer signs with, and which of [`Signer::jwks`] verifies it.
pub(super) const ALGORITHMS: [(&str, usize); 9] = [
    ("EdDSA", 0),
    ("ES256", 1),
    ("ES384", 2),
    ("RS256", 3),
    ("RS384", 3),
    ("RS512", 3),
    ("PS256", 3),
    ("PS384", 3),
    ("PS512", 3),
];

/// The key pairs.
pub(super) struct Signer {
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    rsa: RsaKeyPair,
    random: SystemRandom,
}

/// base64url without padding.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// The one signer of the process.
    pub(super) fn get() -> &'static Self {
        static SIGNER: OnceLock<Signer> = OnceLock::new();
        SIGNER.get_or_init(|| Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
            p256: ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, &P256),
            p384: ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, &P384),
            // Made for these tests; it signs nothing else.
            rsa: RsaKeyPair::from_der(include_bytes!("rsa.der")).unwrap(),
            random: SystemRandom::new(),
        })
    }

    /// The public keys: Ed25519, P-256, P-384, RSA.
    pub(super) fn jwks(&self) -> [Value; 4] {
        let point = |curve: &str, pair: &EcdsaKeyPair| {
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
        };
        // An RSAPublicKey of 2,048 bits in DER: n is 256 bytes after nine, e the last three.
        let rsa = self.rsa.public_key().as_ref();
        [
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64(self.ed25519.public_key())}),
            point("P-256", &self.p256),
            point("P-384", &self.p384),
            json!({"kty": "RSA", "n": base64(&rsa[9..265]), "e": base64(&rsa[267..])}),
        ]
    }

    /// Signs with an algorithm of [`ALGORITHMS`].
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let ecdsa = |pair: &EcdsaKeyPair| {
            let signature = pair.sign(&self.random, message);
            signature.unwrap().as_ref().to_vec()
        };
        let padding: &'static dyn RsaEncoding = match algorithm {
            "EdDSA" => return self.ed25519.sign(message).as_ref().to_vec(),
            "ES256" => return ecdsa(&self.p256),
            "ES384" => return ecdsa(&self.p384),
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            other => panic!("{other} is not signed with"),
        };
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa
            .sign(padding, &self.random, message, &mut signature)
            .unwrap();
        signature
    }
}

/// Object identifiers of the curves, in DER (RFC 5480 section 2.1.1.1).
const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: [u8; 7] = [6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// The key whose private number is all sevens, by way of an ECPrivateKey (RFC 5915 section 3).
fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, length: u8, curve: &[u8]) -> EcdsaKeyPair {
    let number = vec![7; usize::from(length)];
    let curve = [&[0xa0, curve.len() as u8], curve].concat();
    let content = [&[2, 1, 1, 4, length], &number[..], &curve].concat();
    let der = [&[0x30, content.len() as u8], &content[..]].concat();
    EcdsaKeyPair::from_private_key_der(algorithm, &der).unwrap()
}
