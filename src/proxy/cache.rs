//! Bounded memories of what became of credentials.
//!
//! A request with a known credential passes here, so a look-up takes no lock that another look-up
//! holds, allocates nothing and reads no clock; and the newest credential must always find room, or
//! each of its requests would cost a verification. That is the clock algorithm: what was not used
//! since the hand last passed goes first.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use ahash::RandomState;
use prometheus::{IntCounter, IntGauge};

use crate::{model::time::Timestamp, telemetry::metrics::Metrics};

/// What stands for a credential in memory: a digest, never the credential.
pub type Key = [u8; 32];

/// Entries that are worth a lock of their own.
const SHARE: usize = 1024;
/// Most locks, a power of two: more than cores that would wait for one another.
const SHARDS: usize = 64;
/// Entries that each new one looks at, so that what has ended does not stay until room is needed.
const SWEPT: usize = 2;

/// Values by [`Key`], each until its end, bounded by count.
#[derive(Debug)]
pub struct Memory<V> {
    /// By the last byte of the key, which is a digest and so spreads evenly.
    shards: Box<[RwLock<Shard<V>>]>,
}

#[derive(Debug)]
struct Shard<V> {
    /// The place of each key.
    places: HashMap<Key, usize, RandomState>,
    entries: Vec<Entry<V>>,
    /// Places of entries that were forgotten.
    free: Vec<usize>,
    /// The place that is looked at next when room is needed.
    hand: usize,
    /// The place that is looked at next for what has ended.
    broom: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    until: Timestamp,
    /// Since the hand last passed.
    used: AtomicBool,
    /// `None` in a free place.
    value: Option<V>,
}

impl<V: Clone> Memory<V> {
    /// An empty memory of at most `size` values, and of one at least.
    pub fn new(size: u64) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        let count = (size / SHARE).clamp(1, SHARDS);
        // Rounded down, so that a mask finds the shard.
        let count = 1 << count.ilog2();
        let shard = |index: usize| {
            RwLock::new(Shard {
                places: HashMap::default(),
                entries: Vec::new(),
                free: Vec::new(),
                hand: 0,
                broom: 0,
                limit: size / count + usize::from(index < size % count),
            })
        };
        Self {
            shards: (0..count).map(shard).collect(),
        }
    }

    /// The value of a key, if it has not ended.
    pub fn find(&self, key: &Key, now: Timestamp) -> Option<V> {
        let shard = read(self.shard(key));
        let entry = &shard.entries[*shard.places.get(key)?];
        if now >= entry.until {
            return None;
        }
        // Mostly it is set already, and to look does not take the line from other cores.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        entry.value.clone()
    }

    /// Keeps a value until its end, in place of one of the same key, or of another one where the
    /// memory is full. Says whether one that had not ended had to go.
    pub fn keep(&self, key: Key, value: V, until: Timestamp, now: Timestamp) -> bool {
        let entry = Entry {
            key,
            until,
            used: AtomicBool::new(false),
            value: Some(value),
        };
        let mut shard = write(self.shard(&key));
        let old = shard.keep(entry, now);
        // What goes is dropped when nobody waits for it.
        drop(shard);
        old.is_some_and(|old| old.key != key && now < old.until)
    }

    /// Forgets a value.
    pub fn forget(&self, key: &Key) {
        let forgotten = write(self.shard(key)).forget(key);
        drop(forgotten);
    }

    /// Forgets what has ended, and counts what has not.
    pub fn tidy(&self, now: Timestamp) -> usize {
        let tidy = |shard: &RwLock<Shard<V>>| {
            let mut shard = write(shard);
            for place in 0..shard.entries.len() {
                shard.sweep(place, now);
            }
            shard.places.len()
        };
        self.shards.iter().map(tidy).sum()
    }

    fn shard(&self, key: &Key) -> &RwLock<Shard<V>> {
        &self.shards[usize::from(key[31]) & (self.shards.len() - 1)]
    }
}

impl<V> Shard<V> {
    /// Puts an entry in its place; gives back what stood there.
    fn keep(&mut self, entry: Entry<V>, now: Timestamp) -> Option<Entry<V>> {
        if let Some(&place) = self.places.get(&entry.key) {
            return Some(std::mem::replace(&mut self.entries[place], entry));
        }
        for _ in 0..SWEPT.min(self.entries.len()) {
            self.sweep(self.broom, now);
            self.broom = self.after(self.broom);
        }
        if let Some(place) = self.free.pop() {
            self.places.insert(entry.key, place);
            self.entries[place] = entry;
            return None;
        }
        if self.entries.len() < self.limit {
            self.places.insert(entry.key, self.entries.len());
            self.entries.push(entry);
            return None;
        }
        // No place is free, so each holds a value, and after one round none of them counts as used.
        let place = loop {
            let place = self.hand;
            self.hand = self.after(place);
            let old = &mut self.entries[place];
            if now >= old.until || !std::mem::take(old.used.get_mut()) {
                break place;
            }
        };
        self.places.remove(&self.entries[place].key);
        self.places.insert(entry.key, place);
        Some(std::mem::replace(&mut self.entries[place], entry))
    }

    /// The next place, round and round.
    fn after(&self, place: usize) -> usize {
        let next = place + 1;
        if next < self.entries.len() { next } else { 0 }
    }

    /// Frees a place whose value has ended.
    fn sweep(&mut self, place: usize, now: Timestamp) {
        let entry = &self.entries[place];
        if entry.value.is_some() && now >= entry.until {
            let key = entry.key;
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) -> Option<V> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        self.entries[place].value.take()
    }
}

fn read<V>(shard: &RwLock<Shard<V>>) -> RwLockReadGuard<'_, Shard<V>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<V>(shard: &RwLock<Shard<V>>) -> RwLockWriteGuard<'_, Shard<V>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// A [`Memory`] whose work is counted.
#[derive(Debug)]
pub struct Cache<V> {
    memory: Memory<V>,
    hits: IntCounter,
    misses: IntCounter,
    evictions: IntCounter,
    entries: IntGauge,
}

impl<V: Clone> Cache<V> {
    /// An empty cache.
    pub fn new(metrics: &Metrics, strategy: &str, name: &str, size: u64) -> Self {
        let labels = [strategy, name];
        Self {
            memory: Memory::new(size),
            hits: metrics.cache_hits.with_label_values(&labels),
            misses: metrics.cache_misses.with_label_values(&labels),
            evictions: metrics.cache_evictions.with_label_values(&labels),
            entries: metrics.cache_entries.with_label_values(&labels),
        }
    }

    /// The value of a key for which `holds` is true; one for which it is not is forgotten.
    pub fn find(&self, key: &Key, now: Timestamp, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        let value = self.memory.find(key, now)?;
        if !holds(&value) {
            self.memory.forget(key);
            return None;
        }
        self.hits.inc();
        Some(value)
    }

    /// Counts a request that has to go beyond this memory. A request may look into it several
    /// times before it does.
    pub fn missed(&self) {
        self.misses.inc();
    }

    /// Keeps a value until its end.
    pub fn keep(&self, key: Key, value: V, until: Timestamp, now: Timestamp) {
        if self.memory.keep(key, value, until, now) {
            self.evictions.inc();
        }
    }

    /// Forgets a value.
    pub fn forget(&self, key: &Key) {
        self.memory.forget(key);
    }

    /// Brings the gauge of entries up to date.
    pub fn observe(&self, now: Timestamp) {
        let entries = self.memory.tidy(now);
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
