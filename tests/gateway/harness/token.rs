//! JSON Web Tokens, good and forged.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::keys::Key;

/// A token in the making. It starts as a good one; each call spoils or changes one thing.
#[derive(Clone)]
pub(crate) struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: Key,
}

impl Token {
    /// A good token of an issuer for a client: five minutes, audience [`super::AUDIENCE`].
    pub(crate) fn new(key: Key, issuer: &str, client_id: &str) -> Self {
        let now = super::now();
        let header = json!({"alg": key.alg.name(), "kid": key.kid, "typ": "at+jwt"});
        let claims = json!({
            "iss": issuer, "aud": super::AUDIENCE, "client_id": client_id, "sub": client_id,
            "iat": now, "exp": now + 300, "jti": uuid::Uuid::new_v4().to_string(), "scope": "read",
        });
        Self::of(key, header, claims)
    }

    /// A token with this header and these claims and no other.
    pub(crate) fn of(key: Key, header: Value, claims: Value) -> Self {
        let (Value::Object(header), Value::Object(claims)) = (header, claims) else {
            panic!("a header and claims are objects")
        };
        Self {
            header,
            claims,
            key,
        }
    }

    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signs with another key and leaves the header as it is.
    pub(crate) fn key(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Header and payload as they are signed.
    pub(crate) fn signing_input(&self) -> String {
        input(
            &Value::from(self.header.clone()).to_string(),
            &self.payload(),
        )
    }

    /// The payload's JSON.
    pub(crate) fn payload(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }

    /// The header's JSON.
    pub(crate) fn head(&self) -> String {
        Value::from(self.header.clone()).to_string()
    }

    /// Signed over texts that need not be JSON.
    pub(crate) fn sign_texts(&self, header: &str, payload: &str) -> String {
        let input = input(header, payload);
        let signature = self.key.sign(input.as_bytes());
        assemble(&input, &signature)
    }

    /// The whole token.
    pub(crate) fn build(&self) -> String {
        self.sign_texts(&self.head(), &self.payload())
    }
}

/// A signing input of texts that need not be JSON.
pub(crate) fn input(header: &str, payload: &str) -> String {
    let b64 = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}", b64(header), b64(payload))
}

/// A token of a signing input and a signature.
pub(crate) fn assemble(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
