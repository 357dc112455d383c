//! Sessions that ended before their time.
//!
//! With the file registry they are known to this process only, and forgotten when it ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::{credential::ClientId, time::Timestamp},
    token::session::{Session, SessionId},
};

/// Single sessions remembered for one application. Above it all its sessions made before now end
/// instead: whoever logs in and out in a loop must not fill the memory.
const SINGLE: u32 = 10_000;

type Owner = (Box<str>, ClientId);

/// What was revoked. Looking up takes no lock.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Until when each id would have lived, and whose it is.
    single: papaya::HashMap<SessionId, (Timestamp, Arc<Owner>)>,
    /// Sessions of an application begun before this are over.
    all_before: papaya::HashMap<Owner, Timestamp>,
    /// How many single ones each application has.
    counts: Mutex<HashMap<Arc<Owner>, u32>>,
}

impl Revocations {
    /// Whether a session was revoked.
    pub fn covers(&self, session: &Session) -> bool {
        if self.single.pin().contains_key(&session.id) {
            return true;
        }
        let all_before = self.all_before.pin();
        !all_before.is_empty()
            && all_before
                .get(&owner(session))
                .is_some_and(|before| session.begun <= *before)
    }

    /// Ends a session.
    pub fn revoke(&self, session: &Session, now: Timestamp) {
        if session.absolute_end <= now || self.covers(session) {
            return;
        }
        let owner = owner(session);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (owner, count) = match counts.get_key_value(&owner) {
            Some((owner, count)) => (Arc::clone(owner), *count),
            None => (Arc::new(owner), 0),
        };
        if count >= SINGLE {
            self.all_before.pin().insert((*owner).clone(), now);
            return;
        }
        let ends = (session.absolute_end, Arc::clone(&owner));
        // Two requests may end one session at once.
        if self.single.pin().insert(session.id, ends).is_none() {
            counts.insert(owner, count + 1);
        }
    }

    /// Forgets what has ended by itself. Called once in a while.
    pub fn tidy(&self, now: Timestamp) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clear();
        self.single.pin().retain(|_, (until, owner)| {
            let lives = *until > now;
            if lives {
                *counts.entry(Arc::clone(owner)).or_default() += 1;
            }
            lives
        });
    }
}

fn owner(session: &Session) -> Owner {
    (session.strategy.clone(), session.client_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::scope::Scopes, token::session::Method};

    fn session(client: &str) -> Session {
        Session {
            strategy: "partners".into(),
            binding: [0; 16],
            client_id: ClientId::new(client).unwrap(),
            id: SessionId::random().unwrap(),
            method: Method::Bearer,
            scopes: Scopes::default(),
            header_claims: Vec::new(),
            begun: Timestamp::from_secs(100),
            sealed: Timestamp::from_secs(100),
            idle_end: Timestamp::from_secs(200),
            absolute_end: Timestamp::from_secs(200),
        }
    }

    #[test]
    fn one_session_ends_and_no_other() {
        let revocations = Revocations::default();
        let (ended, other) = (session("a"), session("a"));
        revocations.revoke(&ended, Timestamp::from_secs(110));
        assert!(revocations.covers(&ended));
        assert!(!revocations.covers(&other));
        revocations.tidy(Timestamp::from_secs(201));
        assert_eq!(revocations.single.len(), 0);
    }

    #[test]
    fn too_many_end_them_all_for_that_application() {
        let revocations = Revocations::default();
        for _ in 0..=SINGLE {
            revocations.revoke(&session("a"), Timestamp::from_secs(110));
        }
        assert!(revocations.covers(&session("a")));
        assert!(!revocations.covers(&session("b")));
        let later = Session {
            begun: Timestamp::from_secs(111),
            ..session("a")
        };
        assert!(!revocations.covers(&later));
        assert!(revocations.single.len() <= SINGLE as usize);
    }

    #[test]
    fn what_ends_by_itself_makes_room_for_no_more_than_itself() {
        let revocations = Revocations::default();
        for round in 0..3 {
            let now = Timestamp::from_secs(110 + round);
            // One that ends before the next tidying, and as many as there is room for.
            let brief = Session {
                absolute_end: Timestamp::from_secs(111 + round),
                ..session("a")
            };
            revocations.revoke(&brief, now);
            for _ in 0..SINGLE {
                revocations.revoke(&session("a"), now);
            }
            assert!(revocations.single.len() <= SINGLE as usize, "{round}");
            revocations.tidy(Timestamp::from_secs(111 + round));
        }
        revocations.tidy(Timestamp::from_secs(201));
        assert!(revocations.counts.lock().unwrap().is_empty());
    }
}
