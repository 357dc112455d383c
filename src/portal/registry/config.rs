//! How the registry is set up: `registry.sqlite`, `registry.postgres`, `registry.keys`.

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

use crate::{model::credential::Secret, token::session::SessionKey};

/// A registry in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which database.
    pub kind: Kind,
    /// What seals secrets in it: the first seals, all open. Without any, a secret can be neither
    /// kept nor read.
    pub keys: Vec<Key>,
}

/// Which database holds the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL, by its URL (`postgres://user:password@host/database?sslmode=verify-full`):
    /// several gateways share one. TLS is as `sslmode` says (by default `prefer`, which checks
    /// nothing), against Mozilla's roots and those of `sslrootcert`. Each gateway keeps up to
    /// twelve connections.
    Postgres(Secret),
    /// A file of SQLite's, made where there is none, readable by its owner alone; its directory
    /// has to be there. Processes of one machine may share it.
    Sqlite(PathBuf),
}

/// A key for sealing: 32 bytes for AES-256-GCM-SIV. `Debug` hides it and its memory is cleared
/// when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Reads a key from standard base64, padded or not; `None` unless it is exactly 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        // Written like the keys of sessions, which know how.
        let key = SessionKey::from_base64(text)?;
        Some(Self(Zeroizing::new(*key.expose())))
    }

    /// The key itself, for who seals with it.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
