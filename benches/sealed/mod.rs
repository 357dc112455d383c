//! A session for the benches: two scopes and one header claim, sealed by the first of two keys.

use std::time::Duration;

use dcr_gateway::{
    model::{credential::ClientId, scope::Scopes, time::Timestamp},
    token::session::{KeyRing, Method, Session, SessionId, SessionKey, binding},
};

use crate::mint::{AUDIENCE, CLIENT, ISSUER};

/// The cookie's name.
const NAME: &str = "__Host-dcr_session";

/// The session, and the keys that seal it.
pub(crate) struct Sealed {
    ring: KeyRing,
    session: Session,
}

impl Sealed {
    pub(crate) fn new(now: Timestamp) -> Self {
        let session = Session {
            strategy: "partners".into(),
            binding: binding(&[ISSUER, "claim", "[client_id]", "audience", AUDIENCE]),
            client_id: ClientId::new(CLIENT).unwrap(),
            id: SessionId::random().unwrap(),
            method: Method::Bearer,
            scopes: Scopes::parse("flights:read flights:list"),
            header_claims: vec![Some("tenant-1".to_owned())],
            begun: now,
            sealed: now,
            idle_end: now.plus(Duration::from_secs(900)),
            absolute_end: now.plus(Duration::from_secs(3600)),
        };
        let keys = [SessionKey::random().unwrap(), SessionKey::random().unwrap()];
        let ring = KeyRing::new(keys.to_vec()).unwrap();
        Self { ring, session }
    }

    /// The cookie's value.
    pub(crate) fn seal(&self) -> String {
        self.ring.seal(&self.session, NAME).unwrap()
    }

    /// What is in a cookie's value.
    pub(crate) fn open(&self, value: &str) -> Session {
        self.ring.open(value, NAME).unwrap()
    }
}
