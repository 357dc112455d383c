//! How many connections there are, what they are doing, and what was refused on them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::Refusal;

/// Clients beyond the limit that are being answered at once. The descriptors that the process
/// keeps free for other uses must do for them.
const REFUSING: usize = 500;

/// Counts of one front, for metrics and for the stop.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now. Those refused are not among them.
    pub open: AtomicUsize,
    /// Requests being read or answered now.
    pub in_flight: AtomicUsize,
    /// Heads with too many bytes or fields.
    pub head_too_large: AtomicU64,
    /// Heads that were not whole in time.
    pub head_timeouts: AtomicU64,
    /// Heads that were no request.
    pub malformed: AtomicU64,
    /// Connections beyond the limit.
    pub overloaded: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub tls_handshakes: AtomicU64,
    refusing: AtomicUsize,
}

/// One of the connections allowed. Gives itself back.
#[derive(Debug)]
pub(super) struct Permit(Arc<Counters>);

/// Counts one more for as long as it lives.
pub(super) struct Held<'c>(&'c AtomicUsize);

impl Counters {
    /// A request begins.
    pub(super) fn busy(&self) -> Held<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        Held(&self.in_flight)
    }

    /// A client is about to be refused; `None` if too many are, and this one gets no answer.
    pub(super) fn refusing(&self) -> Option<Held<'_>> {
        let before = self.refusing.fetch_add(1, Relaxed);
        let held = Held(&self.refusing);
        (before < REFUSING).then_some(held)
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::HeaderTooLarge => &self.head_too_large,
            Refusal::MalformedTarget => &self.malformed,
            Refusal::PlainHttp => &self.tls_handshakes,
            Refusal::Overloaded => &self.overloaded,
            Refusal::RequestTimeout => &self.head_timeouts,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Permit {
    /// Takes one of `limit`.
    pub(super) fn take(counters: &Arc<Counters>, limit: usize) -> Option<Self> {
        counters.accepted.fetch_add(1, Relaxed);
        let before = counters.open.fetch_add(1, Relaxed);
        let permit = Self(counters.clone());
        (before < limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
