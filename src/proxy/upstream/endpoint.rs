//! One address of a target, and how well it is.
//!
//! Two judges work side by side: active checks say whether it is healthy at all, and failed
//! requests eject it for a while. Requests only read and write atomics.

use std::{
    net::SocketAddr,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use super::config::PassiveHealth;

/// Failed checks in a row that make an endpoint unhealthy: one may be an accident.
const UNHEALTHY_AFTER: u32 = 2;

/// An address. It outlives look-ups that find it again, and reloads that do not concern it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Since when times are counted here.
    made: Instant,
    /// Whether it was ever checked actively.
    checked: AtomicBool,
    failed_checks: AtomicU32,
    /// What active checks say.
    unhealthy: AtomicBool,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// In milliseconds since `made`; 0: not ejected.
    ejected_until: AtomicU64,
}

/// Whether requests may go to an endpoint, as far as failed requests tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its time is over: one request may try it.
    Due,
    Ejected,
    Free,
}

impl Endpoint {
    /// An endpoint counts as healthy until checks or requests tell otherwise: nothing is known
    /// against it, and a gateway that just starts must not refuse everything.
    pub(crate) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            made: now,
            checked: AtomicBool::new(false),
            failed_checks: AtomicU32::new(0),
            unhealthy: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
        }
    }

    /// Whether active checks leave it in use.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Relaxed)
    }

    /// Whether it is in use without reserve.
    pub(crate) fn is_free(&self) -> bool {
        self.is_healthy() && self.ejected_until.load(Relaxed) == 0
    }

    /// Whether an active check has ever judged it.
    pub(crate) fn was_checked(&self) -> bool {
        self.checked.load(Relaxed)
    }

    /// Whether a request whose turn it is may go here. Of the requests that come when an ejection
    /// is over, one may; it alone is the chance.
    pub(crate) fn admits(&self, rule: PassiveHealth, now: Instant) -> bool {
        if !self.is_healthy() {
            return false;
        }
        let until = self.ejected_until.load(Acquire);
        match self.standing(until, now) {
            Standing::Free => true,
            Standing::Ejected => false,
            Standing::Due => {
                let next = self.millis(now + rule.eject);
                let claim = self
                    .ejected_until
                    .compare_exchange(until, next, AcqRel, Relaxed);
                claim.is_ok()
            }
        }
    }

    /// Learns that a request got an answer. Tells how many failures in a row that ended, and
    /// whether it ended an ejection.
    pub(crate) fn answered(&self) -> (u32, bool) {
        // Read first: in good times nobody writes here.
        let before = match self.failures.load(Relaxed) {
            0 => 0,
            _ => self.failures.swap(0, AcqRel),
        };
        let ejected =
            self.ejected_until.load(Relaxed) != 0 && self.ejected_until.swap(0, AcqRel) != 0;
        (before, ejected)
    }

    /// Learns of so many failures of requests. Tells whether that ejected it.
    pub(crate) fn failed(&self, failures: u32, rule: PassiveHealth, now: Instant) -> bool {
        let before = self.failures.fetch_add(failures, AcqRel);
        if rule.failures == 0 || before.saturating_add(failures) < rule.failures {
            return false;
        }
        let until = self.millis(now + rule.eject);
        let ejected = self
            .ejected_until
            .compare_exchange(0, until, AcqRel, Relaxed);
        ejected.is_ok()
    }

    /// Learns how an active check ended. Tells whether that changed its health.
    pub(crate) fn checked(&self, healthy: bool) -> bool {
        self.checked.store(true, Relaxed);
        if healthy {
            self.failed_checks.store(0, Relaxed);
            return self.unhealthy.swap(false, Release);
        }
        let failed = self.failed_checks.fetch_add(1, Relaxed).saturating_add(1);
        failed >= UNHEALTHY_AFTER && !self.unhealthy.swap(true, Release)
    }

    fn standing(&self, until: u64, now: Instant) -> Standing {
        match until {
            0 => Standing::Free,
            until if until <= self.millis(now) => Standing::Due,
            _ => Standing::Ejected,
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since: Duration = at.saturating_duration_since(self.made);
        // Never 0, which means something else.
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const RULE: PassiveHealth = PassiveHealth {
        failures: 3,
        eject: Duration::from_secs(10),
    };

    fn endpoint() -> (Endpoint, Instant) {
        let now = clock::instant();
        (
            Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 1)), now),
            now,
        )
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while_and_then_one_request_tries() {
        let (endpoint, now) = endpoint();
        assert!(!endpoint.failed(1, RULE, now));
        assert!(!endpoint.failed(1, RULE, now));
        assert_eq!(endpoint.answered(), (2, false), "an answer in between");
        assert!(!endpoint.failed(1, RULE, now));
        assert!(!endpoint.failed(1, RULE, now));
        assert!(endpoint.admits(RULE, now));
        assert!(endpoint.failed(1, RULE, now), "the third ejects");
        assert!(!endpoint.failed(1, RULE, now), "once");
        assert!(!endpoint.admits(RULE, now));
        assert!(!endpoint.is_free());
        let later = now + RULE.eject;
        assert!(endpoint.admits(RULE, later), "one tries");
        assert!(!endpoint.admits(RULE, later), "the others wait");
        assert!(!endpoint.failed(1, RULE, later), "which is no news");
        assert!(!endpoint.admits(RULE, later + RULE.eject / 2));
        let again = later + RULE.eject;
        assert!(endpoint.admits(RULE, again));
        assert_eq!(endpoint.answered(), (5, true), "it is back");
        assert!(endpoint.admits(RULE, again) && endpoint.admits(RULE, again));
    }

    #[test]
    fn answers_that_all_break_off_eject_too() {
        let (endpoint, now) = endpoint();
        let mut ejected = false;
        for _ in 0..3 {
            let (before, _) = endpoint.answered();
            ejected = endpoint.failed(before + 1, RULE, now);
        }
        assert!(ejected);
    }

    #[test]
    fn no_number_of_failures_ejects_where_that_is_off() {
        let (endpoint, now) = endpoint();
        let rule = PassiveHealth {
            failures: 0,
            ..RULE
        };
        for _ in 0..100 {
            assert!(!endpoint.failed(1, rule, now));
        }
        assert!(endpoint.admits(rule, now));
    }

    #[test]
    fn two_failed_checks_make_it_unhealthy_and_one_good_one_heals() {
        let (endpoint, now) = endpoint();
        assert!(!endpoint.checked(false));
        assert!(!endpoint.checked(true));
        assert!(!endpoint.checked(false));
        assert!(endpoint.is_healthy());
        assert!(endpoint.checked(false));
        assert!(!endpoint.checked(false), "no news");
        assert!(!endpoint.is_healthy() && !endpoint.admits(RULE, now));
        assert!(endpoint.checked(true));
        assert!(endpoint.admits(RULE, now));
    }
}
