//! Secrets at rest, sealed with AES-256-GCM-SIV (RFC 8452).
//!
//! Each value is bound to where it stands: moved to another row or column, it opens no more. A
//! value is base64 of: key hint (4 bytes), nonce (12), sealed text, tag (16).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::{Error, Key};
use crate::{model::credential::Secret, token::fingerprint};

const HINT_LEN: usize = 4;
const TAG_LEN: usize = 16;

/// Tells one key from others, and nothing of what it is.
type Hint = [u8; HINT_LEN];

/// Where a sealed value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The table.
    pub(super) table: &'a str,
    /// The row's id.
    pub(super) row: &'a str,
    /// The column.
    pub(super) column: &'a str,
}

impl Place<'_> {
    /// Its parts with their lengths, so that no two places are written alike.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        for part in [self.table, self.row, self.column] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// The keys: the first seals, all open.
pub(super) struct Ring(Vec<(Hint, RandomizedNonceKey)>);

impl Ring {
    /// Makes a ring, perhaps of no key.
    pub(super) fn new(keys: &[Key]) -> Self {
        let keyed = keys.iter().filter_map(|key| {
            let digest = fingerprint(&[b"dcr-gateway registry key", &key.bytes()[..]]);
            let [h0, h1, h2, h3, ..] = digest;
            // A key of 32 bytes is always taken.
            let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &key.bytes()[..]).ok()?;
            Some(([h0, h1, h2, h3], key))
        });
        Self(keyed.collect())
    }

    /// Seals a text for a place.
    ///
    /// # Errors
    /// [`Error::Keyless`] without a key.
    pub(super) fn seal(&self, text: &str, place: Place<'_>) -> Result<String, Error> {
        let (hint, key) = self.0.first().ok_or(Error::Keyless)?;
        // With room for the tag: what a vector that grows leaves behind is not cleared.
        let mut content = Zeroizing::new(Vec::with_capacity(text.len() + TAG_LEN));
        content.extend_from_slice(text.as_bytes());
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place.bytes()), &mut *content)
            .map_err(|_| Error::Unavailable("the system gives no random numbers".to_owned()))?;
        let sealed = [&hint[..], nonce.as_ref(), &content].concat();
        Ok(BASE64_STANDARD.encode(sealed))
    }

    /// How everything begins that the first key sealed; `None` without a key. Safe within a
    /// statement's text: base64.
    pub(super) fn beginning(&self) -> Option<String> {
        let (hint, _) = self.0.first()?;
        // Three bytes are four characters; the fourth byte would share one with the nonce.
        Some(BASE64_STANDARD.encode(&hint[..3]))
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`Error::Sealed`], whatever is wrong with it.
    pub(super) fn open(&self, sealed: &str, place: Place<'_>) -> Result<Secret, Error> {
        self.try_open(sealed, place).ok_or(Error::Sealed)
    }

    fn try_open(&self, sealed: &str, place: Place<'_>) -> Option<Secret> {
        let bytes = BASE64_STANDARD.decode(sealed).ok()?;
        let (hint, rest) = bytes.split_first_chunk::<HINT_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let aad = place.bytes();
        // Two keys with one hint are as good as impossible, but would be tried one by one.
        self.0
            .iter()
            .filter(|(known, _)| known == hint)
            .find_map(|(_, key)| {
                let mut content = Zeroizing::new(sealed.to_vec());
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let text = key
                    .open_in_place(nonce, Aad::from(&aad), &mut content)
                    .ok()?;
                std::str::from_utf8(text).ok().map(Secret::new)
            })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} keys, hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'_> = Place {
        table: "providers",
        row: "7",
        column: "secrets",
    };

    fn ring(keys: &[u8]) -> Ring {
        let keys = keys.iter().map(|byte| {
            let text = BASE64_STANDARD.encode([*byte; 32]);
            Key::from_base64(&text).unwrap()
        });
        Ring::new(&keys.collect::<Vec<_>>())
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let sealed = ring(&[1]).seal("geheim", PLACE).unwrap();
        assert!(!sealed.contains("geheim"));
        for keys in [&[1][..], &[2, 1], &[1, 2]] {
            let opened = ring(keys).open(&sealed, PLACE).unwrap();
            assert_eq!(opened.expose(), "geheim", "{keys:?}");
        }
        for keys in [&[][..], &[2]] {
            assert!(matches!(
                ring(keys).open(&sealed, PLACE),
                Err(Error::Sealed)
            ));
        }
        assert!(matches!(ring(&[]).seal("x", PLACE), Err(Error::Keyless)));
    }

    #[test]
    fn what_is_moved_opens_no_more() {
        let ring = ring(&[1]);
        let sealed = ring.seal("geheim", PLACE).unwrap();
        let moved = [
            Place {
                table: "intents",
                ..PLACE
            },
            Place { row: "8", ..PLACE },
            Place {
                column: "data",
                ..PLACE
            },
            Place {
                table: "provider",
                row: "s7",
                ..PLACE
            },
        ];
        for place in moved {
            assert!(matches!(ring.open(&sealed, place), Err(Error::Sealed)));
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>()) {
            let ring = ring(&[1]);
            let sealed = ring.seal(&text, PLACE).unwrap();
            let opened = ring.open(&sealed, PLACE).unwrap();
            prop_assert_eq!(opened.expose(), &text);
        }

        #[test]
        fn any_value_is_read_without_panic(value in any::<Vec<u8>>()) {
            let ring = ring(&[1]);
            let encoded = BASE64_STANDARD.encode(&value);
            prop_assert!(ring.open(&encoded, PLACE).is_err());
            prop_assert!(ring.open(&String::from_utf8_lossy(&value), PLACE).is_err());
        }
    }
}
