//! Bounded memories of what became of credentials.
//!
//! A request with a known credential passes here, so look-ups share their lock, and allocate nothing
//! and read no clock; and the newest credential must always find room, or each of its requests would
//! cost a verification. That is the clock algorithm: what was not used since the hand last passed
//! goes first. The hand goes by hash, not by age, so of credentials that are used once the newest
//! third is there for certain, and older ones by chance.

use std::{
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ahash::RandomState;
use prometheus::{IntCounter, IntGauge};

use crate::{model::time::Timestamp, telemetry::metrics::Metrics};

/// What stands for a credential in memory: its digest, or of a sealed one its end.
pub type Key = [u8; 32];

/// Entries that are worth a lock of their own.
const SHARE: usize = 1024;
/// Most locks, a power of two: more than cores that would wait for one another.
const SHARDS: usize = 64;
/// Slots that each new entry looks at, so that what has ended does not stay until room is needed.
const SWEPT: usize = 4;
/// Slots that are tidied before others get their turn.
const TIDIED: usize = 1024;
/// A request may be so much older than what another one has found meanwhile. What is from further
/// ahead was found before somebody set the clock back, and would stay for as long as that was.
const SLACK: Duration = Duration::from_secs(60);

/// Values by [`Key`], each until its end, bounded by count.
#[derive(Debug)]
pub struct Memory<V> {
    /// By the upper half of the key's hash; the lower one finds the slot.
    shards: Box<[RwLock<Shard<V>>]>,
    hasher: RandomState,
}

/// One part of a memory: a hash table with open addressing and linear probing, so that a look-up
/// mostly touches one line of the processor's cache.
#[derive(Debug)]
struct Shard<V> {
    /// A power of two of them, an eighth free at least.
    slots: Box<[Slot<V>]>,
    length: usize,
    limit: usize,
    /// The slot before those that are looked at next, for what has ended and when room is needed.
    hand: usize,
}

#[derive(Debug)]
#[repr(align(64))]
struct Slot<V>(Option<Entry<V>>);

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    hash: u32,
    /// Since the hand last passed. New ones are, so that none goes before the hand has come round.
    used: AtomicBool,
    kept: Timestamp,
    until: Timestamp,
    value: V,
}

impl<V> Entry<V> {
    fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.until || self.kept.since(now) > SLACK
    }
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
                slots: empty(4),
                length: 0,
                limit: size / count + usize::from(index < size % count),
                hand: 0,
            })
        };
        Self {
            shards: (0..count).map(shard).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The value of a key, if it has not ended.
    pub fn find(&self, key: &Key, now: Timestamp) -> Option<V> {
        self.look(key, now, V::clone)
    }

    /// What is read of the value of a key, if it has not ended. Nothing that blocks may be done in
    /// there: writers have to wait for it.
    fn look<R>(&self, key: &Key, now: Timestamp, read_value: impl FnOnce(&V) -> R) -> Option<R> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let place = shard.find(key, hash as u32)?;
        let entry = shard.slots[place].0.as_ref()?;
        if entry.has_ended(now) {
            return None;
        }
        // Mostly it is set already, and to look does not take the line from other cores.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(read_value(&entry.value))
    }

    /// Keeps a value until its end, in place of one of the same key, or of another one where the
    /// memory is full. Says whether one that had not ended had to go. What has ended already only
    /// ends what was kept before.
    pub fn keep(&self, key: Key, value: V, until: Timestamp, now: Timestamp) -> bool {
        if now >= until {
            self.forget(&key);
            return false;
        }
        let hash = self.hash(&key);
        let entry = Entry {
            key,
            hash: hash as u32,
            used: AtomicBool::new(true),
            kept: now,
            until,
            value,
        };
        let mut shard = write(self.shard(hash));
        let old = shard.keep(entry, now);
        // What goes is dropped when nobody waits for it.
        drop(shard);
        old.is_some_and(|old| old.key != key && !old.has_ended(now))
    }

    /// Forgets a value.
    pub fn forget(&self, key: &Key) {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let place = shard.find(key, hash as u32);
        let forgotten = place.and_then(|place| shard.remove(place));
        drop(shard);
        drop(forgotten);
    }

    /// Forgets what has ended, and counts what has not.
    pub fn tidy(&self, now: Timestamp) -> usize {
        let tidy = |shard: &RwLock<Shard<V>>| {
            let mut begin = 0;
            loop {
                let mut ended = Vec::new();
                let mut part = write(shard);
                let count = part.slots.len();
                for place in begin..count.min(begin + TIDIED) {
                    part.sweep(place, now, |entry| ended.push(entry));
                }
                let length = part.length;
                // What has ended is dropped when nobody waits for it.
                drop(part);
                begin += TIDIED;
                if begin >= count {
                    return length;
                }
            }
        };
        self.shards.iter().map(tidy).sum()
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard<V>> {
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }

    /// What tells shards and slots apart. Credentials are chosen by others, hashes are not.
    fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<V> Shard<V> {
    /// The slot of a key.
    fn find(&self, key: &Key, hash: u32) -> Option<usize> {
        let mut place = self.home(hash);
        while let Some(entry) = &self.slots[place].0 {
            if entry.hash == hash && entry.key == *key {
                return Some(place);
            }
            place = self.after(place);
        }
        None
    }

    /// Puts an entry in its place; gives back the one that had to go.
    fn keep(&mut self, entry: Entry<V>, now: Timestamp) -> Option<Entry<V>> {
        if let Some(place) = self.find(&entry.key, entry.hash) {
            return self.slots[place].0.replace(entry);
        }
        let mut place = self.hand;
        for _ in 0..SWEPT {
            place = self.after(place);
            self.sweep(place, now, drop);
        }
        let old = if self.length >= self.limit {
            self.evict(now)
        } else {
            self.hand = place;
            None
        };
        if (self.length + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        self.put(entry);
        old
    }

    /// Takes out what has ended or was not used since the hand last passed.
    fn evict(&mut self, now: Timestamp) -> Option<Entry<V>> {
        // In the first round each that is used loses its mark, so the second finds one.
        for _ in 0..=2 * self.slots.len() {
            self.hand = self.after(self.hand);
            if let Some(entry) = &mut self.slots[self.hand].0
                && (entry.has_ended(now) || !std::mem::take(entry.used.get_mut()))
            {
                return self.remove(self.hand);
            }
        }
        None
    }

    /// Makes room for twice as many.
    fn grow(&mut self) {
        let slots = empty(2 * self.slots.len());
        let old = std::mem::replace(&mut self.slots, slots);
        self.length = 0;
        for Slot(entry) in old {
            entry.into_iter().for_each(|entry| self.put(entry));
        }
    }

    /// Puts in an entry whose key is not there.
    fn put(&mut self, entry: Entry<V>) {
        let mut place = self.home(entry.hash);
        while self.slots[place].0.is_some() {
            place = self.after(place);
        }
        self.slots[place].0 = Some(entry);
        self.length += 1;
    }

    /// Frees a slot, and moves up what stands behind only because it was taken.
    fn remove(&mut self, place: usize) -> Option<Entry<V>> {
        let removed = self.slots[place].0.take()?;
        self.length -= 1;
        let mask = self.slots.len() - 1;
        let (mut free, mut next) = (place, self.after(place));
        while let Some(entry) = &self.slots[next].0 {
            let distance = next.wrapping_sub(self.home(entry.hash)) & mask;
            if distance >= next.wrapping_sub(free) & mask {
                self.slots.swap(free, next);
                free = next;
            }
            next = self.after(next);
        }
        Some(removed)
    }

    /// Frees a slot whose value has ended, and again where what moves up has ended too.
    fn sweep(&mut self, place: usize, now: Timestamp, mut ended: impl FnMut(Entry<V>)) {
        let has_ended = |entry: &Entry<V>| entry.has_ended(now);
        while self.slots[place].0.as_ref().is_some_and(has_ended) {
            self.remove(place).into_iter().for_each(&mut ended);
        }
    }

    /// Where a key of this hash would stand if the table were empty.
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// The next slot, round and round.
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

fn empty<V>(count: usize) -> Box<[Slot<V>]> {
    (0..count).map(|_| Slot(None)).collect()
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
        let held = |value: &V| holds(value).then(|| value.clone());
        let value = self.memory.look(key, now, held)?;
        match value {
            Some(_) => self.hits.inc(),
            None => self.memory.forget(key),
        }
        value
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
