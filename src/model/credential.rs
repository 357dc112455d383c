//! What a client presents to say who it is.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use smallstr::SmallString;
use zeroize::Zeroizing;

/// Longest Authorization value read, in bytes: what fits in the head with room for the rest.
const LINE_LIMIT: usize = 32 * 1024;

/// Longest value of `Basic`, in bytes. Ids and secrets take some tens of bytes, ids that are URLs
/// some hundreds; what is longer would only be hashed and sent to an identity provider in vain.
const BASIC_LIMIT: usize = 8 * 1024;

/// Standard base64; the padding may be missing, left-over bits may not be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A short text that stands where it is kept, and nearly never in a place of its own: each is a line
/// that the processor's cache may lack. There is room for a UUID and for what vendors issue.
pub type ShortText = SmallString<[u8; 39]>;

/// The id that an identity provider gave to a client: opaque, compared byte for byte.
/// Not empty, and free of control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(ShortText);

impl ClientId {
    /// Copies a text that can be a client id; `None` where it is empty or holds a control character.
    pub fn new(text: impl AsRef<str>) -> Option<Self> {
        let text = text.as_ref();
        (!text.is_empty() && !has_control(text)).then(|| Self(text.into()))
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

    /// Whether a token is this one. How long it takes tells nothing but their lengths.
    pub fn is(&self, token: Token<'_>) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), token.0.as_bytes()).is_ok()
    }

    /// The secret as a token that is only looked at.
    pub fn as_token(&self) -> Token<'_> {
        Token(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A token where it stands in a request: not copied as long as it is only looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a>(&'a str);

impl<'a> Token<'a> {
    /// Takes a text for a token.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The token itself. Each use is a place to look at twice.
    pub const fn expose(self) -> &'a str {
        self.0
    }

    /// A copy to keep.
    pub fn to_secret(self) -> Secret {
        Secret::new(self.0)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The credential of one request's Authorization line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A client id and secret (RFC 7617).
    Basic(ClientId, Secret),
    /// A token (RFC 6750), a legal token68.
    Bearer(Token<'a>),
    /// A scheme that the gateway does not know.
    Unknown,
}

impl<'a> Credential<'a> {
    /// Reads the value of one Authorization line (RFC 9110 section 11.4). White space around it
    /// does not count (section 5.5), the scheme is compared without case, and at least one space
    /// follows it.
    ///
    /// A `Basic` value that holds a colon cannot be base64 and is taken as the pair itself.
    /// A scheme other than `Basic` and `Bearer` is [`Credential::Unknown`], whatever follows it.
    ///
    /// # Errors
    /// One case for each variant of [`Malformed`].
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        if line.len() > LINE_LIMIT {
            return Err(Malformed::TooLong);
        }
        let line = line.trim_ascii();
        let end = line
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or(Malformed::Empty)?;
        let (scheme, value) = line.split_at(end);
        let value = value.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            bearer(value)
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            basic(value)
        } else {
            Ok(Self::Unknown)
        }
    }
}

/// RFC 6750 section 2.1: one token68 (RFC 9110 section 11.2).
fn bearer(value: &[u8]) -> Result<Credential<'_>, Malformed> {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let letters = &value[..value.len() - padding];
    // Without a way out in the middle, this is done sixteen bytes at a time.
    let legal = |legal: bool, byte: &u8| legal & is_token68(*byte);
    if letters.is_empty() || !letters.iter().fold(true, legal) {
        return Err(Malformed::NotToken68);
    }
    let token = std::str::from_utf8(value).map_err(|_| Malformed::NotToken68)?;
    Ok(Credential::Bearer(Token::new(token)))
}

/// Whether a token68 may hold this byte (RFC 9110 section 11.2), padding apart. `-`, `.`, `/` and
/// the digits are neighbours.
const fn is_token68(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let others = byte.wrapping_sub(b'-') <= b'9' - b'-';
    letter | others | (byte == b'+') | (byte == b'_') | (byte == b'~')
}

/// RFC 7617 section 2: the id ends at the first colon, the secret may hold further ones.
fn basic(value: &[u8]) -> Result<Credential<'static>, Malformed> {
    if value.len() > BASIC_LIMIT {
        return Err(Malformed::TooLong);
    }
    let pair = if value.contains(&b':') {
        value.to_vec()
    } else {
        BASE64.decode(value).map_err(|_| Malformed::Base64)?
    };
    let mut secret = match String::from_utf8(pair) {
        Ok(pair) => Secret::new(pair),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            return Err(Malformed::NotUtf8);
        }
    };
    let pair = secret.expose();
    let colon = memchr::memchr(b':', pair.as_bytes()).ok_or(Malformed::NoColon)?;
    if has_control(pair) {
        return Err(Malformed::ControlCharacter);
    }
    if colon + 1 == pair.len() {
        return Err(Malformed::EmptyPart);
    }
    let id = ClientId::new(&pair[..colon]).ok_or(Malformed::EmptyPart)?;
    // What is left behind it is cleared with the rest.
    secret.0.drain(..=colon);
    Ok(Credential::Basic(id, secret))
}

/// Whether a text holds a control character.
fn has_control(text: &str) -> bool {
    // Nearly all texts are plain ASCII, which is seen sixteen bytes at a time.
    let plain = |plain: bool, byte: u8| plain & matches!(byte, b' '..=b'~');
    !text.bytes().fold(true, plain) && text.chars().any(char::is_control)
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
    /// The pair is not UTF-8.
    #[error("the credential is not UTF-8")]
    NotUtf8,
    /// The line is over 32 KiB, or the value of `Basic` over 8 KiB.
    #[error("the credential is too long")]
    TooLong,
}

impl Malformed {
    /// The fixed word for logs and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Base64 => "basic_not_base64",
            Self::ControlCharacter => "control_character",
            Self::Empty => "authorization_empty",
            Self::EmptyPart => "empty_id_or_secret",
            Self::NoColon => "basic_without_colon",
            Self::NotToken68 => "not_token68",
            Self::NotUtf8 => "not_utf8",
            Self::TooLong => "credential_too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn pair(id: &str, secret: &str) -> Result<Credential<'static>, Malformed> {
        Ok(Credential::Basic(
            ClientId::new(id).unwrap(),
            Secret::new(secret),
        ))
    }

    fn token(text: &str) -> Result<Credential<'_>, Malformed> {
        Ok(Credential::Bearer(Token::new(text)))
    }

    #[test]
    fn a_token68_is_made_of_what_rfc_9110_lists() {
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token68(byte), listed, "{byte:#04x}");
        }
    }

    #[test]
    fn an_authorization_line_is_one_credential_or_none() {
        use Malformed::*;
        let table: &[(&str, &[u8], Result<Credential<'_>, Malformed>)] = &[
            ("padded base64", b"Basic YXBwOnB3", pair("app", "pw")),
            ("padding", b"Basic YXBwOnB3MQ==", pair("app", "pw1")),
            ("padding left out", b"Basic YXBwOnB3MQ", pair("app", "pw1")),
            (
                "padding half left out",
                b"Basic YXBwOnB3MQ=",
                pair("app", "pw1"),
            ),
            ("too much padding", b"Basic YXBwOnB3MQ===", Err(Base64)),
            ("left-over bits", b"Basic YXBwOnB3MR==", Err(Base64)),
            ("the url-safe alphabet", b"Basic YTrDv8O_w78", Err(Base64)),
            (
                "the standard alphabet",
                b"Basic YTrDv8O/w78",
                pair("a", "\u{ff}\u{ff}\u{ff}"),
            ),
            ("scheme in other case", b"bAsIc YXBwOnB3", pair("app", "pw")),
            ("several spaces", b"Basic    YXBwOnB3", pair("app", "pw")),
            (
                "spaces around the line",
                b" \tBasic YXBwOnB3\t ",
                pair("app", "pw"),
            ),
            ("secret with colons", b"Basic YTpiOmM6", pair("a", "b:c:")),
            ("raw pair", b"Basic app:pw", pair("app", "pw")),
            (
                "raw secret with colons",
                b"Basic app:p:w:",
                pair("app", "p:w:"),
            ),
            (
                "raw percent sign as it stands",
                b"Basic app:100%41",
                pair("app", "100%41"),
            ),
            ("raw pair, secret empty", b"Basic app:", Err(EmptyPart)),
            ("raw pair, id empty", b"Basic :pw", Err(EmptyPart)),
            ("raw pair, both empty", b"Basic :", Err(EmptyPart)),
            (
                "raw pair with tab",
                b"Basic app:p\tw",
                Err(ControlCharacter),
            ),
            ("raw pair, not UTF-8", b"Basic app:\xff", Err(NotUtf8)),
            (
                "raw pair in UTF-8",
                "Basic app:pä".as_bytes(),
                pair("app", "pä"),
            ),
            ("no colon inside", b"Basic YXBw", Err(NoColon)),
            ("secret empty", b"Basic YXBwOg==", Err(EmptyPart)),
            ("id empty", b"Basic OnB3", Err(EmptyPart)),
            ("NUL inside", b"Basic YXBwOnAAdw==", Err(ControlCharacter)),
            (
                "line feed in the id",
                b"Basic YQpiOnB3",
                Err(ControlCharacter),
            ),
            ("DEL inside", b"Basic YXBwOn8=", Err(ControlCharacter)),
            ("latin-1 inside", b"Basic YXBwOuQ=", Err(NotUtf8)),
            ("space inside base64", b"Basic YXBw OnB3", Err(Base64)),
            (
                "two credentials joined",
                b"Basic YXBwOnB3, Bearer abc",
                Err(Base64),
            ),
            ("token", b"Bearer aZ0-._~+/==", token("aZ0-._~+/==")),
            ("token, scheme in other case", b"bEaReR abc", token("abc")),
            ("token, several spaces", b"Bearer   abc", token("abc")),
            ("quoted token", b"Bearer \"abc\"", Err(NotToken68)),
            ("two tokens", b"Bearer abc def", Err(NotToken68)),
            ("joined tokens", b"Bearer abc,def", Err(NotToken68)),
            ("padding before the end", b"Bearer a=b", Err(NotToken68)),
            ("padding alone", b"Bearer ==", Err(NotToken68)),
            ("token not ASCII", b"Bearer a\xe4", Err(NotToken68)),
            ("empty", b"", Err(Empty)),
            ("white space", b"  \t ", Err(Empty)),
            ("scheme alone", b"Bearer", Err(Empty)),
            ("scheme and spaces", b"Basic   ", Err(Empty)),
            ("tab after the scheme", b"Bearer\tabc", Err(Empty)),
            ("unknown scheme alone", b"Negotiate", Err(Empty)),
            (
                "unknown scheme",
                b"Digest username=\"a\"",
                Ok(Credential::Unknown),
            ),
            ("longer scheme", b"BearerX abc", Ok(Credential::Unknown)),
            (
                "unknown scheme, odd bytes",
                b"X \xff",
                Ok(Credential::Unknown),
            ),
        ];
        for (name, line, expected) in table {
            assert_eq!(Credential::parse(line), *expected, "{name}");
        }
    }

    #[test]
    fn long_lines_are_refused() {
        let line = |scheme: &str, value: usize| format!("{scheme} {}", "a".repeat(value));
        let parse = |line: String| Credential::parse(line.as_bytes()).map(|_| ());
        assert_eq!(
            parse(line("Basic a:", BASIC_LIMIT)),
            Err(Malformed::TooLong)
        );
        assert!(parse(line("Bearer", LINE_LIMIT - 7)).is_ok());
        assert_eq!(parse(line("Bearer", LINE_LIMIT)), Err(Malformed::TooLong));
    }

    #[test]
    fn debug_hides_secrets() {
        let shown = format!(
            "{:?}",
            [Credential::parse(b"Basic a:geheim"), token("geheim")]
        );
        assert!(!shown.contains("geheim"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in any::<Vec<u8>>()) {
            let _ = Credential::parse(&line);
        }

        #[test]
        fn any_value_is_read_without_panic(scheme in "(?i)basic|bearer", value in any::<Vec<u8>>()) {
            let _ = Credential::parse(&[scheme.as_bytes(), b" ", &value].concat());
        }

        #[test]
        fn a_pair_survives_both_forms(id in "[^:\\pC]{1,40}", secret in "[^\\pC]{1,40}") {
            let text = format!("{id}:{secret}");
            let expected = pair(&id, &secret);
            for value in [BASE64_STANDARD.encode(&text), BASE64_STANDARD_NO_PAD.encode(&text)] {
                let line = format!("Basic {value}");
                prop_assert_eq!(&Credential::parse(line.as_bytes()), &expected);
            }
            // White space at the ends belongs to the field, not to the raw pair.
            if !id.starts_with(' ') && !secret.ends_with(' ') {
                let line = format!("Basic {text}");
                prop_assert_eq!(&Credential::parse(line.as_bytes()), &expected);
            }
        }
    }
}
