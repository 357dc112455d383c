//! How often a password may be guessed, and an account asked for. Each attempt counts before it is
//! looked at. Counted in this process alone: several gateways allow as many times more.

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use moka::sync::Cache;

use crate::{model::origin::Origin, portal::Error};

/// In a minute: from an address, whatever the account.
const PER_ADDRESS: NonZeroU32 = number(20);
/// For an account from one address.
const PER_PAIR: NonZeroU32 = number(5);
/// For an account from all addresses that had no success with it for [`PROVEN`]: strangers must not
/// lock its developer out.
const PER_ACCOUNT: NonZeroU32 = number(30);
/// Accounts asked for from an address.
const ASKED: NonZeroU32 = number(5);

/// How long a success marks an address.
const PROVEN: Duration = Duration::from_secs(24 * 3600);

/// Addresses and accounts remembered at most; old ones are forgotten first.
const REMEMBERED: u64 = 100_000;

/// The operator, in place of an account's e-mail address: no address is like that.
pub(super) const OPERATOR: &str = "operator";

const fn number(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// What was tried.
#[derive(Debug)]
pub struct Attempts {
    addresses: Limits<Origin>,
    pairs: Limits<(Origin, String)>,
    accounts: Limits<String>,
    asked: Limits<Origin>,
    proven: Cache<(Origin, String), ()>,
}

/// A limit for each of many.
#[derive(Debug)]
struct Limits<K: Eq + Hash + Send + Sync + 'static> {
    quota: NonZeroU32,
    known: Cache<K, Arc<DefaultDirectRateLimiter>>,
}

impl<K: Eq + Hash + Send + Sync + 'static> Limits<K> {
    fn new(quota: NonZeroU32) -> Self {
        let known = Cache::builder()
            .max_capacity(REMEMBERED)
            // Whoever has been silent for so long has all attempts again.
            .time_to_idle(Duration::from_secs(60))
            .build();
        Self { quota, known }
    }

    fn count(&self, key: K) -> Result<(), Error> {
        let fresh = || Arc::new(RateLimiter::direct(Quota::per_minute(self.quota)));
        let limiter = self.known.get_with(key, fresh);
        let checked = limiter.check();
        checked.map_err(|wait| {
            Error::TooManyAttempts(wait.wait_time_from(DefaultClock::default().now()))
        })
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            addresses: Limits::new(PER_ADDRESS),
            pairs: Limits::new(PER_PAIR),
            accounts: Limits::new(PER_ACCOUNT),
            asked: Limits::new(ASKED),
            proven: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(PROVEN)
                .build(),
        }
    }
}

impl Attempts {
    /// Counts an attempt at an account's password.
    pub(super) fn count(&self, from: Origin, account: &str) -> Result<(), Error> {
        let pair = (from, account.to_owned());
        self.count_address(from)?;
        self.pairs.count(pair.clone())?;
        match self.proven.contains_key(&pair) {
            true => Ok(()),
            false => self.accounts.count(account.to_owned()),
        }
    }

    /// Counts an attempt at the admin token: as one at an account's password, but apart from what
    /// developers try at the same address.
    pub(super) fn count_operator(&self, from: Origin) -> Result<(), Error> {
        let pair = (from, OPERATOR.to_owned());
        self.pairs.count(pair.clone())?;
        match self.proven.contains_key(&pair) {
            true => Ok(()),
            false => self.accounts.count(OPERATOR.to_owned()),
        }
    }

    /// Counts an attempt that is for no account.
    pub(super) fn count_address(&self, from: Origin) -> Result<(), Error> {
        self.addresses.count(from)
    }

    /// Counts an account that is asked for.
    pub(super) fn ask(&self, from: Origin) -> Result<(), Error> {
        self.asked.count(from)
    }

    /// What was counted last was right.
    pub(super) fn succeeded(&self, from: Origin, account: &str) {
        let pair = (from, account.to_owned());
        self.pairs.known.invalidate(&pair);
        self.proven.insert(pair, ());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn from(last: u8) -> Origin {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn an_address_has_five_guesses_and_all_together_thirty() {
        let attempts = Attempts::default();
        let attempts = &attempts;
        let tries = |last: u8| (0..6).map(move |_| attempts.count(from(last), "dana").is_ok());
        attempts.succeeded(from(99), "dana");
        for last in 1..=6 {
            assert_eq!(tries(last).filter(|ok| *ok).count(), 5, "{last}");
        }
        assert_eq!(tries(7).filter(|ok| *ok).count(), 0);
        assert_eq!(
            tries(99).filter(|ok| *ok).count(),
            5,
            "one that was right before"
        );
    }

    #[test]
    fn an_address_has_twenty_guesses_whatever_the_accounts() {
        let attempts = Attempts::default();
        let tries = (0..30).map(|n| attempts.count(from(1), &n.to_string()));
        assert_eq!(tries.filter(Result::is_ok).count(), 20);
    }
}
