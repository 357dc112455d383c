//! The last refusals, so that a running gateway can say by a request's id why it was refused.
//!
//! Always true: no credential, no query and no field of a request is kept, and of what a client
//! chose a cut piece; names are kept, never what bears them, so nothing that a reload has replaced
//! lives on here. A full memory takes the place of the oldest. Nobody waits: a slot that is being
//! read is left out.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::denial::{Code, Denial};
use crate::model::time::Timestamp;

/// Refusals kept: some minutes of a busy gateway with a broken client, weeks of a quiet one.
pub const KEPT: usize = 4_096;

/// Bytes kept of a method, a host, a path and a client id. With them all refusals together take
/// less than 8 MiB, however long the heads were.
const METHOD: usize = 32;
const HOST: usize = 128;
const PATH: usize = 256;
const CLIENT_ID: usize = 128;
/// Bytes of what a credential holds, and of what it would have to hold.
const MISMATCH: usize = 256;
/// Bytes of a trace id.
const TRACE_ID: usize = 32;

/// One refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How many were kept before it.
    number: u64,
    /// When the request came.
    pub time: Timestamp,
    /// The request's id.
    pub request_id: Uuid,
    /// Where it came from, as trusted proxies tell.
    pub client: Option<IpAddr>,
    /// Its method; empty where the head was not whole.
    pub method: String,
    /// The host that it asked for.
    pub host: String,
    /// The path that it asked for, without the query.
    pub path: String,
    /// The API that takes it.
    pub api: Option<Arc<str>>,
    /// The strategy that judged.
    pub strategy: Option<Arc<str>>,
    /// The method that was tried.
    pub auth_method: Option<&'static str>,
    /// The client, where the credential proved it or the directory knows it; else empty.
    pub client_id: String,
    /// What everybody may know.
    pub code: Code,
    /// The status that was answered.
    pub status: u16,
    /// The detail.
    pub reason: &'static str,
    /// What can be done about it, where that was known better than by the reason alone.
    pub cure: Option<&'static str>,
    /// What the verified credential holds where something else is needed; else empty.
    pub found: String,
    /// What is needed; else empty.
    pub needed: String,
    /// The trace that it is part of; else empty.
    pub trace_id: String,
}

/// What is to be kept of a refusal beside the [`Denial`] itself.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// When the request came.
    pub time: Timestamp,
    /// The request's id.
    pub request_id: &'a str,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: &'a str,
    /// The host.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// The API's name.
    pub api: Option<&'a Arc<str>>,
    /// The client's id, where the denial itself does not say it.
    pub client_id: Option<&'a str>,
    /// The status that was answered.
    pub status: u16,
    /// The trace.
    pub trace_id: Option<&'a str>,
}

/// The last [`KEPT`] refusals.
#[derive(Debug)]
pub struct Refusals {
    /// Filled from the first on, so that a gateway that refuses nobody keeps nothing.
    slots: Box<[Mutex<Option<Box<Refusal>>>]>,
    next: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            slots: (0..KEPT).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(0),
        }
    }
}

impl Refusals {
    /// Keeps a refusal in the place of the oldest.
    pub fn keep(&self, denial: &Denial, subject: &Subject<'_>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // The remainder is smaller than the number of slots.
        let place = (number % self.slots.len().max(1) as u64) as usize;
        let mut slot = match self.slots[place].try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        slot.get_or_insert_default().fill(number, denial, subject);
    }

    /// The refusal of a request.
    pub fn find(&self, request_id: Uuid) -> Option<Refusal> {
        self.slots.iter().find_map(|slot| {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = slot.as_deref()?;
            (kept.request_id == request_id).then(|| kept.clone())
        })
    }

    /// The last refusals, the newest first.
    pub fn latest(&self, most: usize) -> Vec<Refusal> {
        let next = self.next.load(Ordering::Relaxed);
        let length = self.slots.len() as u64;
        let numbers = (next.saturating_sub(length)..next).rev();
        let kept = numbers.filter_map(|number| {
            let place = (number % length.max(1)) as usize;
            let slot = self.slots[place]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            slot.as_deref()
                .filter(|kept| kept.number == number)
                .cloned()
        });
        kept.take(most).collect()
    }
}

impl Default for Refusal {
    fn default() -> Self {
        Self {
            number: 0,
            time: Timestamp::default(),
            request_id: Uuid::nil(),
            client: None,
            method: String::new(),
            host: String::new(),
            path: String::new(),
            api: None,
            strategy: None,
            auth_method: None,
            client_id: String::new(),
            code: Code::Internal,
            status: 0,
            reason: "",
            cure: None,
            found: String::new(),
            needed: String::new(),
            trace_id: String::new(),
        }
    }
}

impl Refusal {
    /// Takes over a refusal, in the memory of the one that was here before.
    fn fill(&mut self, number: u64, denial: &Denial, subject: &Subject<'_>) {
        let client_id = denial.client_id.as_ref().map(|id| id.as_str());
        put(&mut self.method, subject.method, METHOD);
        put(&mut self.host, subject.host, HOST);
        put(&mut self.path, subject.path, PATH);
        let client_id = client_id.or(subject.client_id);
        put(
            &mut self.client_id,
            client_id.unwrap_or_default(),
            CLIENT_ID,
        );
        let mismatch = denial.mismatch.as_deref();
        let found = mismatch.map_or("", |mismatch| &mismatch.found);
        let needed = mismatch.map_or("", |mismatch| &mismatch.needed);
        put(&mut self.found, found, MISMATCH);
        put(&mut self.needed, needed, MISMATCH);
        let trace_id = subject.trace_id.unwrap_or_default();
        put(&mut self.trace_id, trace_id, TRACE_ID);
        self.number = number;
        self.time = subject.time;
        self.request_id = Uuid::try_parse(subject.request_id).unwrap_or_default();
        self.client = subject.client;
        self.api = subject.api.cloned();
        self.strategy = (denial.strategy.as_ref()).map(|judge| Arc::clone(&judge.config.name));
        self.auth_method = denial.method.map(|method| method.name());
        self.code = denial.code;
        self.status = subject.status;
        self.reason = denial.reason;
        self.cure = denial.cure;
    }
}

/// Puts the first bytes of a text in the place of another.
fn put(place: &mut String, text: &str, most: usize) {
    place.clear();
    place.push_str(&text[..text.floor_char_boundary(most)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(refusals: &Refusals, n: u128, path: &str) -> Uuid {
        let id = Uuid::from_u128(n);
        let subject = Subject {
            time: Timestamp::from_secs(1),
            request_id: &id.to_string(),
            client: None,
            method: "GET",
            host: "api.test",
            path,
            api: None,
            client_id: None,
            status: 404,
            trace_id: None,
        };
        refusals.keep(&Denial::new(Code::NoRoute, "no_route"), &subject);
        id
    }

    #[test]
    fn the_oldest_goes_first_and_the_newest_is_listed_first() {
        let refusals = Refusals::default();
        assert!(refusals.latest(10).is_empty());
        let first = keep(&refusals, 1, "/first");
        let second = keep(&refusals, 2, "/second");
        assert_eq!(refusals.find(first).unwrap().path, "/first");
        let paths = |most| {
            let latest = refusals.latest(most).into_iter();
            latest.map(|kept| kept.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(10), ["/second", "/first"]);
        assert_eq!(paths(1), ["/second"]);
        for n in 0..KEPT as u128 - 1 {
            keep(&refusals, 100 + n, "/later");
        }
        assert!(refusals.find(first).is_none());
        assert!(refusals.find(second).is_some());
        assert_eq!(refusals.latest(usize::MAX).len(), KEPT);
        keep(&refusals, 9, "/last");
        assert!(refusals.find(second).is_none());
        assert_eq!(paths(1), ["/last"]);
    }

    #[test]
    fn what_a_client_chose_is_cut() {
        let refusals = Refusals::default();
        let id = keep(&refusals, 1, &"/ä".repeat(20_000));
        let path = refusals.find(id).unwrap().path;
        assert!(
            path.len() <= PATH && path.len() > PATH - 4,
            "{}",
            path.len()
        );
        // The memory of a slot is used again and does not grow.
        for n in 0..2 * KEPT as u128 {
            keep(&refusals, n, &"/".repeat(30_000));
        }
        for kept in &refusals.slots {
            let kept = kept.lock().unwrap();
            assert!(kept.as_ref().unwrap().path.capacity() < 2 * PATH);
        }
    }

    #[test]
    fn a_slot_that_is_read_holds_up_nobody() {
        let refusals = Refusals::default();
        let reading = refusals.slots[0].lock().unwrap();
        let left_out = keep(&refusals, 1, "/left-out");
        let kept = keep(&refusals, 2, "/kept");
        drop(reading);
        assert!(refusals.find(left_out).is_none());
        assert!(refusals.find(kept).is_some());
    }
}
