//! How many wrong credentials an address may try.
//!
//! A guess is a pair that the IdP refused, or is being asked about. Distinct pairs count, not
//! requests: a program that repeats one wrong secret, or a thousand first requests with one good
//! secret, is one guess.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache as Store;

use super::cache::Key;
use crate::model::{credential::ClientId, origin::Origin, time::Timestamp};

/// The window of the limits.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a success marks an address, and a pair, as proven.
const PROVEN: Duration = Duration::from_secs(24 * 3600);
/// Addresses, clients and pairs remembered at most. Old ones are forgotten first, which errs
/// towards letting a request ask the IdP.
const REMEMBERED: u64 = 100_000;

#[derive(Debug, Default)]
struct Window {
    began: Timestamp,
    tried: HashSet<Key>,
}

impl Window {
    /// The window of this time, begun anew where the last has passed. Requests come here out of
    /// order, and one that began a little before the window must not empty it; one from long
    /// before it means that the clock was set back.
    fn at(&mut self, now: Timestamp) -> &mut Self {
        if now.since(self.began) >= WINDOW || self.began.since(now) >= WINDOW {
            *self = Self {
                began: now,
                tried: HashSet::new(),
            };
        }
        self
    }

    fn left(&self, now: Timestamp) -> Duration {
        WINDOW.saturating_sub(now.since(self.began))
    }
}

/// A client id in one state of its credentials: changed credentials begin a new count.
type Subject = (ClientId, Timestamp);
type Windows<K> = Store<K, Arc<Mutex<Window>>>;

fn windows<K: Eq + Hash + Send + Sync + 'static>() -> Windows<K> {
    Store::builder()
        .max_capacity(REMEMBERED)
        .time_to_idle(2 * WINDOW)
        .build()
}

fn proven<K: Eq + Hash + Send + Sync + 'static>() -> Store<K, ()> {
    Store::builder()
        .max_capacity(REMEMBERED)
        .time_to_live(PROVEN)
        .build()
}

/// The counts of one strategy.
#[derive(Debug)]
pub struct Guesses {
    per_address: u32,
    per_client: u32,
    addresses: Windows<(Subject, Origin)>,
    clients: Windows<Subject>,
    proven_addresses: Store<(ClientId, Origin), ()>,
    proven_pairs: Store<Key, ()>,
}

impl Guesses {
    /// No guesses yet; limits for each minute.
    pub fn new(per_address: u32, per_client: u32) -> Self {
        Self {
            per_address,
            per_client,
            addresses: windows(),
            clients: windows(),
            proven_addresses: proven(),
            proven_pairs: proven(),
        }
    }

    /// Counts a pair as a guess before the IdP is asked about it.
    ///
    /// # Errors
    /// How long to wait, where the limit is reached.
    pub fn count(
        &self,
        subject: &Subject,
        origin: Origin,
        pair: &Key,
        now: Timestamp,
    ) -> Result<(), Duration> {
        if self.proven_pairs.contains_key(pair) {
            return Ok(());
        }
        let address = self
            .addresses
            .get_with((subject.clone(), origin), Arc::default);
        let mut address = lock(&address);
        let address = address.at(now);
        if !address.tried.contains(pair) && address.tried.len() >= self.per_address as usize {
            return Err(address.left(now));
        }
        let client = self.clients.get_with(subject.clone(), Arc::default);
        let mut client = lock(&client);
        let client = client.at(now);
        if !client.tried.contains(pair) && client.tried.len() >= self.per_client as usize {
            if !self
                .proven_addresses
                .contains_key(&(subject.0.clone(), origin))
            {
                return Err(client.left(now));
            }
        } else {
            client.tried.insert(*pair);
        }
        address.tried.insert(*pair);
        Ok(())
    }

    /// Takes a pair off the counts: the IdP said nothing against it.
    pub fn forgive(&self, subject: &Subject, origin: Origin, pair: &Key) {
        if let Some(address) = self.addresses.get(&(subject.clone(), origin)) {
            lock(&address).tried.remove(pair);
        }
        if let Some(client) = self.clients.get(subject) {
            lock(&client).tried.remove(pair);
        }
    }

    /// Remembers that a pair was right.
    pub fn prove(&self, client_id: &ClientId, origin: Origin, pair: &Key) {
        self.proven_addresses
            .insert((client_id.clone(), origin), ());
        self.proven_pairs.insert(*pair, ());
    }
}

fn lock(window: &Mutex<Window>) -> std::sync::MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many tokens that turned out inactive an address sent in this minute.
#[derive(Debug)]
pub struct Inactive {
    limit: u32,
    addresses: Windows<Origin>,
}

impl Inactive {
    /// No tokens yet; a limit for each minute.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            addresses: windows(),
        }
    }

    /// Whether the address may have another unknown token looked at.
    ///
    /// # Errors
    /// How long to wait, where the limit is reached.
    pub fn check(&self, origin: Origin, now: Timestamp) -> Result<(), Duration> {
        let Some(window) = self.addresses.get(&origin) else {
            return Ok(());
        };
        let mut window = lock(&window);
        let window = window.at(now);
        if window.tried.len() >= self.limit as usize {
            Err(window.left(now))
        } else {
            Ok(())
        }
    }

    /// Counts an inactive token.
    pub fn count(&self, origin: Origin, token: &Key, now: Timestamp) {
        let window = self.addresses.get_with(origin, Arc::default);
        let mut window = lock(&window);
        let window = window.at(now);
        if window.tried.len() < self.limit as usize {
            window.tried.insert(*token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn subject() -> Subject {
        (ClientId::new("app").unwrap(), Timestamp::default())
    }

    fn origin(last: u8) -> Origin {
        IpAddr::from([192, 0, 2, last]).into()
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn five_distinct_pairs_a_minute_then_a_wait() {
        let guesses = Guesses::new(5, 30);
        for pair in 0..5 {
            assert_eq!(
                guesses.count(&subject(), origin(1), &[pair; 32], NOW),
                Ok(())
            );
            assert_eq!(
                guesses.count(&subject(), origin(1), &[pair; 32], NOW),
                Ok(()),
                "again"
            );
        }
        assert_eq!(
            guesses.count(&subject(), origin(1), &[9; 32], NOW),
            Err(WINDOW)
        );
        assert_eq!(
            guesses.count(&subject(), origin(2), &[9; 32], NOW),
            Ok(()),
            "elsewhere"
        );
        assert_eq!(
            guesses.count(&subject(), origin(1), &[9; 32], NOW.plus(WINDOW)),
            Ok(())
        );
    }

    #[test]
    fn a_proven_address_is_not_locked_out_by_others() {
        let guesses = Guesses::new(5, 30);
        guesses.prove(&subject().0, origin(200), &[200; 32]);
        for pair in 0..30 {
            assert_eq!(
                guesses.count(&subject(), origin(pair / 5), &[pair; 32], NOW),
                Ok(())
            );
        }
        assert!(
            guesses
                .count(&subject(), origin(100), &[100; 32], NOW)
                .is_err()
        );
        assert_eq!(
            guesses.count(&subject(), origin(200), &[101; 32], NOW),
            Ok(())
        );
        assert_eq!(
            guesses.count(&subject(), origin(100), &[200; 32], NOW),
            Ok(()),
            "proven pair"
        );
        let changed = (subject().0, NOW);
        assert_eq!(
            guesses.count(&changed, origin(100), &[100; 32], NOW),
            Ok(()),
            "new count"
        );
    }

    #[test]
    fn a_forgiven_pair_was_no_guess() {
        let guesses = Guesses::new(1, 1);
        for pair in 0..9 {
            assert_eq!(
                guesses.count(&subject(), origin(1), &[pair; 32], NOW),
                Ok(())
            );
            guesses.forgive(&subject(), origin(1), &[pair; 32]);
        }
    }

    #[test]
    fn answers_that_come_out_of_order_all_count() {
        let inactive = Inactive::new(30);
        for token in 0..30_u8 {
            let began = NOW.minus(Duration::from_millis(u64::from(token)));
            assert_eq!(inactive.check(origin(1), began), Ok(()), "{token}");
            inactive.count(origin(1), &[token; 32], began);
        }
        assert!(inactive.check(origin(1), NOW).is_err());
        let set_back = NOW.minus(WINDOW);
        assert_eq!(
            inactive.check(origin(1), set_back),
            Ok(()),
            "clock set back"
        );
    }

    #[test]
    fn ipv6_counts_by_its_network_and_mapped_ipv4_as_ipv4() {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
    }
}
