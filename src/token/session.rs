//! The session cookie's content, sealed.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::model::credential::Secret;

/// One key of the ring: 32 bytes for AES-256-GCM-SIV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey(Secret);

impl SessionKey {
    /// Reads base64 of exactly 32 bytes; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
        (bytes.len() == 32).then(|| Self(Secret::new(text)))
    }
}
