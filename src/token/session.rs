//! The session cookie's content, sealed.

/// One key of the ring: 32 bytes for AES-256-GCM-SIV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey(crate::model::credential::Secret);
