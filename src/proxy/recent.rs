//! The token that a connection brought last.
//!
//! Clients send one token again and again over one connection. To see that it is the same again takes
//! a twentieth of what its digest does.

use std::sync::{Mutex, PoisonError};

use super::cache::Key;
use crate::model::credential::{Secret, Token};

/// Longest token that is kept, in bytes: what nobody has judged yet may take no more of each connection.
const LIMIT: usize = 4096;

/// A token and its digest, of one connection. The token is kept once it has come twice in a row,
/// until another token comes or the connection is closed or becomes a tunnel, and is cleared then.
///
/// It says nothing about whether the token is good: that is judged each time.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    token: Option<Secret>,
    digest: Key,
}

impl Recent {
    /// The digest of a token, which `make` makes where it is not the one before.
    pub fn digest(&self, token: Token<'_>, make: impl FnOnce(Token<'_>) -> Key) -> Key {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.token.as_ref().is_some_and(|known| known.is(token)) {
            return last.digest;
        }
        let digest = make(token);
        // What comes once only, as through a proxy with many clients, is not worth a copy.
        let is_kept = last.digest == digest && token.expose().len() <= LIMIT;
        last.token = is_kept.then(|| token.to_secret());
        last.digest = digest;
        digest
    }

    /// Forgets the token.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Last::default();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn long_tokens_and_those_before_a_tunnel_are_not_kept() {
        let keeps = |length: usize, is_cleared: bool| {
            let recent = Recent::default();
            let text = "a".repeat(length);
            let made = Cell::new(0);
            for _ in 0..3 {
                recent.digest(Token::new(&text), |_| {
                    made.set(made.get() + 1);
                    [1; 32]
                });
            }
            if is_cleared {
                recent.clear();
            }
            recent.0.into_inner().unwrap().token.is_some() && made.get() == 2
        };
        assert!(keeps(LIMIT, false));
        assert!(!keeps(LIMIT + 1, false));
        assert!(!keeps(1, true));
    }

    #[test]
    fn the_digest_of_a_token_is_made_twice_at_most_in_a_row() {
        let recent = Recent::default();
        let made = Cell::new(0);
        let digest = |text: &str| {
            recent.digest(Token::new(text), |token| {
                made.set(made.get() + 1);
                Key::from(std::array::from_fn(|place| {
                    token.expose().as_bytes()[place % 2]
                }))
            })
        };
        for (text, first, makings) in [
            ("ab", b'a', 1),
            ("ab", b'a', 2),
            ("ab", b'a', 2),
            ("cb", b'c', 3),
            ("ab", b'a', 4),
            ("ab", b'a', 5),
            ("ab", b'a', 5),
            // Beginnings and longer ones are others.
            ("abc", b'a', 6),
            ("abc", b'a', 6),
            ("ab", b'a', 7),
        ] {
            assert_eq!((digest(text)[0], made.get()), (first, makings), "{text}");
        }
    }
}
