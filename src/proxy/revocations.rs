//! Sessions that ended before their time.
//!
//! With the file registry they are known to this process only, and forgotten when it ends, unless
//! another process takes its place: then the two tell each other for as long as both answer. With
//! another registry they are kept there too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use crate::{
    model::{credential::ClientId, time::Timestamp},
    token::session::{Session, SessionId},
};

/// Single sessions remembered for one application. Above it all its sessions made before now end
/// instead: whoever logs in and out in a loop must not fill the memory.
const SINGLE: u32 = 10_000;

/// Single sessions told to a follower. Above it all sessions of every application that has some
/// end instead, which takes a thousand times less to tell.
const TOLD: usize = 200_000;

/// Strategy and client id.
pub(crate) type Owner = (Box<str>, ClientId);

/// What ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every session of an application that began before this.
    AllBefore { owner: Owner, time: Timestamp },
    /// One session, which would have lived so long.
    Single {
        id: SessionId,
        until: Timestamp,
        owner: Arc<Owner>,
    },
}

/// What was revoked. Looking up takes no lock.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Until when each id would have lived, and whose it is.
    single: papaya::HashMap<SessionId, (Timestamp, Arc<Owner>)>,
    /// Sessions of an application begun before this are over.
    all_before: papaya::HashMap<Owner, Timestamp>,
    writing: Mutex<Writing>,
}

/// What only those who write need.
#[derive(Debug, Default)]
struct Writing {
    /// How many single ones each application has.
    counts: HashMap<Arc<Owner>, u32>,
    /// Who is told.
    follower: Option<mpsc::Sender<Ended>>,
    /// Who keeps it beyond this process.
    keeper: Option<Keeper>,
}

/// Takes down what has ended, in order.
type Keeper = tokio::sync::mpsc::UnboundedSender<Word>;

/// What the keeper is told.
#[derive(Debug)]
pub(crate) enum Word {
    /// Keep this.
    Ended(Ended),
    /// Say when all before this is kept.
    Kept(tokio::sync::oneshot::Sender<()>),
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
        let mut writing = self.writing();
        let (owner, count) = match writing.counts.get_key_value(&owner) {
            Some((owner, count)) => (Arc::clone(owner), *count),
            None => (Arc::new(owner), 0),
        };
        let ended = if count >= SINGLE {
            let owner = (*owner).clone();
            Ended::AllBefore { owner, time: now }
        } else {
            let (id, until) = (session.id, session.absolute_end);
            Ended::Single { id, until, owner }
        };
        // One that has gone is nobody to tell.
        if let Some(follower) = &writing.follower {
            let _ = follower.send(ended.clone());
        }
        if let Some(keeper) = &writing.keeper {
            let _ = keeper.send(Word::Ended(ended.clone()));
        }
        self.apply(&mut writing, ended);
    }

    /// From now on somebody keeps what ends here beyond this process.
    pub(crate) fn keep(&self) -> tokio::sync::mpsc::UnboundedReceiver<Word> {
        let (keeper, words) = tokio::sync::mpsc::unbounded_channel();
        self.writing().keeper = Some(keeper);
        words
    }

    /// Waits until all that has ended so far is kept, where somebody keeps it, but not longer than
    /// this: it is in force here anyway.
    pub(crate) async fn kept(&self, patience: Duration) {
        let (said, kept) = tokio::sync::oneshot::channel();
        let asked = match &self.writing().keeper {
            Some(keeper) => keeper.send(Word::Kept(said)).is_ok(),
            None => false,
        };
        if asked {
            let _ = tokio::time::timeout(patience, kept).await;
        }
    }

    /// Forgets what has ended by itself. Called once in a while.
    pub fn tidy(&self, now: Timestamp) {
        let counts = &mut self.writing().counts;
        counts.clear();
        self.single.pin().retain(|_, (until, owner)| {
            let lives = *until > now;
            if lives {
                *counts.entry(Arc::clone(owner)).or_default() += 1;
            }
            lives
        });
    }

    /// Takes over what another process has ended. It is told to no follower.
    pub(crate) fn take_over(&self, ended: Ended) {
        self.apply(&mut self.writing(), ended);
    }

    /// Everything that has ended so far, and from then on each that ends here. There is one
    /// follower at most; a new one takes the place of the old.
    pub(crate) fn follow(&self, now: Timestamp) -> (Vec<Ended>, mpsc::Receiver<Ended>) {
        let (sender, receiver) = mpsc::channel();
        let mut writing = self.writing();
        writing.follower = Some(sender);
        let all_before = self.all_before.pin();
        let mut ended: Vec<_> = all_before
            .iter()
            .map(|(owner, time)| (owner.clone(), *time))
            .map(|(owner, time)| Ended::AllBefore { owner, time })
            .collect();
        if self.single.len() > TOLD {
            let owners = writing.counts.keys().map(|owner| (**owner).clone());
            ended.extend(owners.map(|owner| Ended::AllBefore { owner, time: now }));
        } else {
            let single = self.single.pin();
            ended.extend(single.iter().map(|(id, (until, owner))| Ended::Single {
                id: *id,
                until: *until,
                owner: Arc::clone(owner),
            }));
        }
        (ended, receiver)
    }

    /// Tells nobody any more.
    pub(crate) fn unfollow(&self) {
        self.writing().follower = None;
    }

    fn apply(&self, writing: &mut Writing, ended: Ended) {
        match ended {
            Ended::AllBefore { owner, time } => {
                let latest = |before: &Timestamp| time.max(*before);
                self.all_before.pin().update_or_insert(owner, latest, time);
            }
            Ended::Single { id, until, owner } => {
                let ends = (until, Arc::clone(&owner));
                // Two requests may end one session at once.
                if self.single.pin().insert(id, ends).is_none() {
                    *writing.counts.entry(owner).or_default() += 1;
                }
            }
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(revocations.writing().counts.is_empty());
    }

    #[test]
    fn a_follower_learns_what_was_and_what_comes() {
        let old = Revocations::default();
        let now = Timestamp::from_secs(110);
        let (before, after) = (session("a"), session("b"));
        old.revoke(&before, now);
        let (ended, later) = old.follow(now);
        let new = Revocations::default();
        ended.into_iter().for_each(|ended| new.take_over(ended));
        assert!(new.covers(&before));
        old.revoke(&after, now);
        // What came from there is not told there again.
        old.take_over(Ended::AllBefore {
            owner: owner(&session("c")),
            time: now,
        });
        old.unfollow();
        old.revoke(&session("d"), now);
        let told: Vec<_> = later.into_iter().collect();
        assert_eq!(told.len(), 1);
        told.into_iter().for_each(|ended| new.take_over(ended));
        assert!(new.covers(&after));
        assert!(!new.covers(&session("c")));
        assert!(old.covers(&session("c")));
    }

    #[test]
    fn more_than_can_be_told_ends_with_its_applications() {
        let old = Revocations::default();
        let now = Timestamp::from_secs(110);
        for client in 0..=TOLD / SINGLE as usize {
            for _ in 0..SINGLE {
                old.revoke(&session(&format!("a{client}")), now);
            }
        }
        let (ended, _later) = old.follow(now);
        assert_eq!(ended.len(), TOLD / SINGLE as usize + 1);
        let new = Revocations::default();
        ended.into_iter().for_each(|ended| new.take_over(ended));
        assert!(new.covers(&session("a0")));
        assert!(!new.covers(&session("b")));
    }
}
