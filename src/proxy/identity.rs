//! The headers that tell the upstream who calls.

use std::{hint::black_box, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use smallvec::SmallVec;
use uuid::Uuid;

use super::{authenticate::Method, strategy::Strategy};
use crate::model::{application::Application, claims::Facts};

/// How many headers of [`IDENTITY`] there are.
const COUNT: usize = 7;

/// Headers that the gateway alone sets; `claim_headers` come on top. Without an application the
/// first three are missing.
pub static IDENTITY: [HeaderName; COUNT] = [
    HeaderName::from_static("x-application-id"),
    HeaderName::from_static("x-application-name"),
    HeaderName::from_static("x-developer-id"),
    HeaderName::from_static("x-credential-identifier"),
    HeaderName::from_static("x-auth-strategy"),
    HeaderName::from_static("x-authenticated-scope"),
    HeaderName::from_static("x-auth-method"),
];

/// What the last one says, by [`Method`].
static METHODS: [HeaderValue; 3] = [
    HeaderValue::from_static(Method::Bearer.name()),
    HeaderValue::from_static(Method::ClientCredentials.name()),
    HeaderValue::from_static(Method::Session.name()),
];

/// How many of them tell of an application.
const OF_APPLICATION: usize = 3;

/// What a header value cannot carry as it stands. `%` is encoded too, so that decoding gives the
/// original back.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

/// The texts of all values, in the piece of memory that counts who uses them. Nearly always room enough.
type Texts = SmallVec<[u8; 192]>;

/// Headers that tell the upstream who calls, for one credential and one state of its application:
/// what of them is not the same for all callers of a strategy.
#[derive(Debug)]
pub struct Identity {
    application: Option<Arc<Application>>,
    /// Of the application its id, name and developer, empty where there is none; client id; scopes.
    values: [HeaderValue; OF_APPLICATION + 2],
    /// Of `claim_headers`.
    claims: Box<[(HeaderName, HeaderValue)]>,
}

impl Identity {
    /// Makes the headers.
    pub fn new(strategy: &Strategy, facts: &Facts, application: Option<&Arc<Application>>) -> Self {
        let mut texts = Texts::new();
        let mut write = |text: &str| {
            let begin = texts.len();
            write(&mut texts, text);
            begin..texts.len()
        };
        let of_application = application.map(|application| {
            let mut digits = Uuid::encode_buffer();
            [
                write(application.id.hyphenated().encode_lower(&mut digits)),
                write(&application.name),
                write(&application.developer),
            ]
        });
        let client_id = write(facts.client_id.as_str());
        let scopes = write(facts.scopes.as_str());
        let claims: Vec<_> = (strategy.config.claim_headers.iter())
            .zip(&facts.header_claims)
            .filter_map(|((name, _), claim)| Some((name.clone(), write(claim.as_ref()?))))
            .collect();

        let texts = Bytes::from_owner(texts);
        let value = |place: Range<usize>| header_value(texts.slice(place));
        let missing = || [const { HeaderValue::from_static("") }; OF_APPLICATION];
        let [id, name, developer] = of_application.map_or_else(missing, |places| places.map(value));
        let claims = claims.into_iter();
        Self {
            application: application.cloned(),
            values: [id, name, developer, value(client_id), value(scopes)],
            claims: claims.map(|(name, place)| (name, value(place))).collect(),
        }
    }

    /// The headers themselves, of a caller who was judged by this strategy and method.
    pub fn fields<'a>(
        &'a self,
        strategy: &'a Strategy,
        method: Method,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let missing = match self.application {
            Some(_) => 0,
            None => OF_APPLICATION,
        };
        let [id, name, developer, client_id, scopes] = &self.values;
        let (strategy, method) = (&strategy.shown_name, &METHODS[method as usize]);
        let values = [id, name, developer, client_id, strategy, scopes, method];
        let claims = self.claims.iter().map(|(name, value)| (name, value));
        IDENTITY.iter().zip(values).skip(missing).chain(claims)
    }

    /// Reads a byte of each value (see [`Verified::fetch`](super::verified::Verified)).
    pub(super) fn fetch(&self) {
        for value in &self.values {
            black_box(value.as_bytes().first().copied());
        }
    }

    /// Whether these were made for this very state of the application.
    pub fn is_of(&self, application: Option<&Arc<Application>>) -> bool {
        match (&self.application, application) {
            (Some(mine), Some(now)) => Arc::ptr_eq(mine, now),
            (None, None) => true,
            _ => false,
        }
    }
}

/// A text as these headers show it.
pub fn shown(text: &str) -> HeaderValue {
    let mut value = Texts::new();
    write(&mut value, text);
    header_value(Bytes::from_owner(value))
}

/// What [`write`] has written, which is always legal.
fn header_value(written: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(written).unwrap_or(HeaderValue::from_static(""))
}

/// Writes a text as a header value, percent-encoded where a value could not carry it: what is not
/// plain ASCII, `%`, and a space at either end, which a reader would cut off.
fn write(buffer: &mut Texts, text: &str) {
    // Nearly always, and without a way out in the middle it is seen sixteen bytes at a time.
    let plain = |plain: bool, byte: u8| plain & matches!(byte, b' '..=b'~') & (byte != b'%');
    if text.bytes().fold(true, plain) && !text.starts_with(' ') && !text.ends_with(' ') {
        return buffer.extend_from_slice(text.as_bytes());
    }
    let inner = text.trim_matches(' ');
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - before - inner.len();
    let mut encode = |part: &str| buffer.extend_from_slice(part.as_bytes());
    std::iter::repeat_n("%20", before).for_each(&mut encode);
    utf8_percent_encode(inner, VALUE).for_each(&mut encode);
    if !inner.is_empty() {
        std::iter::repeat_n("%20", after).for_each(&mut encode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_any_text_and_decode_to_it() {
        for (text, expected) in [
            ("Trip Planner", "Trip Planner"),
            ("Zoë", "Zo%C3%AB"),
            ("100% sure", "100%25 sure"),
            ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
            (" padded ", "%20padded%20"),
            ("  ", "%20%20"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
