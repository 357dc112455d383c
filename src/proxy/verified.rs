//! A credential that was verified, as it is remembered between requests.

use std::{
    hint::black_box,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use super::{identity::Identity, strategy::Strategy};
use crate::{
    model::{application::Application, claims::Facts, credential::Secret, time::Timestamp},
    token::jwk::KeyId,
};

/// What verification found, and for how long it may be believed. Believing it skips the signature
/// or the call only: time, audience, scopes, application and registration are judged each time.
#[derive(Debug)]
pub struct Verified {
    /// What the token says.
    pub facts: Facts,
    /// The key whose signature it bears; none where the IdP itself answered for it.
    pub key: Option<KeyId>,
    /// When verification began.
    pub made: Timestamp,
    /// When it must be verified anew.
    pub until: Timestamp,
    /// The access token, where an API forwards it.
    pub token: Option<Secret>,
    /// Headers for the application as it was first. It seldom changes while a credential is
    /// remembered, so these stand where the rest does.
    identity: OnceLock<Identity>,
    /// Headers for the application as it last was, where it has changed since.
    changed: RwLock<Option<Arc<Identity>>>,
}

impl Verified {
    /// Keeps what verification found.
    pub fn new(
        facts: Facts,
        key: Option<KeyId>,
        made: Timestamp,
        until: Timestamp,
        token: Option<Secret>,
    ) -> Self {
        Self {
            facts,
            key,
            made,
            until,
            token,
            identity: OnceLock::new(),
            changed: RwLock::new(None),
        }
    }

    /// Whether this may still be believed: it has not ended and its key still belongs to the IdP.
    pub fn holds(&self, strategy: &Strategy, now: Timestamp) -> bool {
        self.fetch();
        now < self.until
            && self
                .key
                .is_none_or(|key| strategy.provider.holds_key(key, now))
    }

    /// Reads a byte here and there of what the request will need. Of many credentials most are not in the
    /// processor's caches; what is read at once is waited for once, and not again at each count of users
    /// in between, which waits for all that was read before it.
    fn fetch(&self) {
        black_box(self.facts.client_id.as_str().as_bytes().first().copied());
        black_box(self.facts.scopes.as_str().as_bytes().first().copied());
        black_box(self.facts.expires);
        if let Some(identity) = self.identity.get() {
            identity.fetch();
        }
    }

    /// The headers that tell the upstream who calls, for the application as it was when they were first
    /// asked for.
    pub fn identity(
        &self,
        strategy: &Strategy,
        application: Option<&Arc<Application>>,
    ) -> &Identity {
        let make = || Identity::new(strategy, &self.facts, application);
        self.identity.get_or_init(make)
    }

    /// Those in their place where the application is another by now, made once for each state of it.
    pub fn changed(
        &self,
        strategy: &Strategy,
        application: Option<&Arc<Application>>,
    ) -> Option<Arc<Identity>> {
        if self.identity(strategy, application).is_of(application) {
            return None;
        }
        {
            let known = self.changed.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = &*known
                && known.is_of(application)
            {
                return Some(Arc::clone(known));
            }
        }
        let made = Arc::new(Identity::new(strategy, &self.facts, application));
        let mut known = (self.changed.write()).unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&made));
        Some(made)
    }
}
