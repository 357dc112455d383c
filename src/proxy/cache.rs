//! A bounded memory of verified credentials.

use std::{sync::Arc, time::Duration};

use ahash::RandomState;
use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache as Store};
use prometheus::{IntCounter, IntGauge};

use crate::telemetry::metrics::Metrics;

/// What stands for a credential in memory: a digest, never the credential.
pub type Key = [u8; 32];

/// Values by [`Key`], bounded by count. When it is full, what was not used for longest goes: the
/// newest credential must always find room, or each of its requests would cost a verification.
#[derive(Debug)]
pub struct Cache<V: Clone + Send + Sync + 'static> {
    store: Store<Key, V, RandomState>,
    hits: IntCounter,
    misses: IntCounter,
    entries: IntGauge,
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// An empty cache. `longest` bounds how long anything stays, whatever its own end is.
    pub fn new(
        metrics: &Metrics,
        strategy: &str,
        name: &str,
        size: u64,
        longest: Duration,
    ) -> Self {
        let labels = [strategy, name];
        let evictions = metrics.cache_evictions.with_label_values(&labels);
        let store = Store::builder()
            .max_capacity(size)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(longest)
            .eviction_listener(move |_: Arc<Key>, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.inc();
                }
            })
            .build_with_hasher(RandomState::new());
        Self {
            store,
            hits: metrics.cache_hits.with_label_values(&labels),
            misses: metrics.cache_misses.with_label_values(&labels),
            entries: metrics.cache_entries.with_label_values(&labels),
        }
    }

    /// The value of a key for which `holds` is true; one for which it is not is forgotten.
    pub fn find(&self, key: &Key, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        match self.store.get(key) {
            Some(value) if holds(&value) => {
                self.hits.inc();
                return Some(value);
            }
            Some(_) => self.store.invalidate(key),
            None => {}
        }
        None
    }

    /// Counts a request that has to go beyond this memory. A request may look into it several
    /// times before it does.
    pub fn missed(&self) {
        self.misses.inc();
    }

    /// Keeps a value.
    pub fn keep(&self, key: Key, value: V) {
        self.store.insert(key, value);
    }

    /// Forgets a value.
    pub fn forget(&self, key: &Key) {
        self.store.invalidate(key);
    }

    /// Brings the gauge of entries up to date.
    pub fn observe(&self) {
        self.store.run_pending_tasks();
        self.entries
            .set(i64::try_from(self.store.entry_count()).unwrap_or(i64::MAX));
    }
}
