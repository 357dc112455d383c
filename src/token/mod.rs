//! Tokens, keys and cookies: bytes, keys and `now` in, facts out.

pub mod session;
