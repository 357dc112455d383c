//! What a client presents to say who it is.

use std::fmt;

use zeroize::Zeroizing;

/// The id that an identity provider gave to a client: opaque, compared byte for byte.
/// Not empty, and free of control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Takes over a text that can be a client id; `None` where it is empty or holds a control
    /// character.
    pub fn new(text: impl Into<Box<str>>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && !text.chars().any(char::is_control)).then_some(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that must stay unseen: a client's secret or a token. `Debug` hides it, there is no
/// `Display`, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself. Each use is a place to look at twice.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The credential of one request's Authorization line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A client id and secret (RFC 7617).
    Basic(ClientId, Secret),
    /// A token (RFC 6750), a legal token68.
    Bearer(Secret),
    /// A scheme that the gateway does not know.
    Unknown,
}

/// Why an Authorization line is no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The value of `Basic` is neither base64 nor a raw pair.
    #[error("the Basic value is neither base64 nor id:secret")]
    Base64,
    /// Id or secret holds a control character (RFC 7617 section 2).
    #[error("id or secret holds a control character")]
    ControlCharacter,
    /// The line is empty, or the scheme stands alone.
    #[error("the Authorization line names no credential")]
    Empty,
    /// The id or the secret is empty.
    #[error("the client id or the secret is empty")]
    EmptyPart,
    /// The pair holds no colon.
    #[error("the Basic pair holds no colon")]
    NoColon,
    /// The token holds a character that no token68 has (RFC 9110 section 11.2).
    #[error("the token is not a token68")]
    NotToken68,
    /// The line or the decoded pair is not UTF-8.
    #[error("the credential is not UTF-8")]
    NotUtf8,
}
