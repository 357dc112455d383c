//! The directory: every application in memory, as the data plane reads it.
//!
//! Reading takes no lock and copies nothing but one reference count. Changing one entry touches
//! only that entry. It knows applications by (strategy, client id); where they come from is the
//! registry's matter.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use ahash::RandomState;

use crate::model::{application::Application, credential::ClientId};

pub mod file;
pub mod schema;

/// One application with the key under which it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The strategy's name.
    pub strategy: Arc<str>,
    /// The id that the strategy's identity provider gave it.
    pub client_id: ClientId,
    /// The application.
    pub application: Application,
}

/// The applications of one strategy. Cheap to clone; all clones see the same entries.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<papaya::HashMap<ClientId, Arc<Application>, RandomState>>);

impl Table {
    /// The application to which the IdP gave this client id.
    pub fn find(&self, client_id: &str) -> Option<Arc<Application>> {
        self.0.pin().get(client_id).map(Arc::clone)
    }

    /// Whether some application has this client id.
    pub fn knows(&self, client_id: &str) -> bool {
        self.0.pin().contains_key(client_id)
    }
}

/// Every application, by strategy and client id. Cheap to clone; all clones see the same entries.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    loaded: AtomicBool,
    /// A strategy's table is found when the configuration is applied, never on a request.
    tables: RwLock<HashMap<Arc<str>, Table>>,
}

impl Directory {
    /// Whether the directory holds what a registry said at least once. Before that nobody can be
    /// judged.
    pub fn is_loaded(&self) -> bool {
        self.0.loaded.load(Ordering::Acquire)
    }

    /// The table of a strategy, made empty where there is none: a strategy may come before its
    /// applications and the other way round.
    pub fn table(&self, strategy: &str) -> Table {
        let tables = self
            .0
            .tables
            .read()
            .unwrap_or_else(|broken| broken.into_inner());
        if let Some(table) = tables.get(strategy) {
            return table.clone();
        }
        drop(tables);
        let mut tables = self
            .0
            .tables
            .write()
            .unwrap_or_else(|broken| broken.into_inner());
        tables.entry(strategy.into()).or_default().clone()
    }

    /// Makes the directory hold exactly these entries. Each one changes by itself and those that
    /// are equal stay untouched, so that reading goes on meanwhile; entries that are gone are
    /// removed first, so that no refusal waits for the rest.
    pub fn replace(&self, entries: Vec<Entry>) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for entry in &entries {
            *counts.entry(&entry.strategy).or_default() += 1;
        }
        self.keep_only(&entries);
        for (strategy, count) in counts {
            let table = self.table(strategy);
            // One that grows while it is filled holds up whoever reads it meanwhile.
            table.0.pin().reserve(count.saturating_sub(table.0.len()));
        }
        let mut last: Option<(Arc<str>, Table)> = None;
        for entry in entries {
            let table = match &last {
                Some((strategy, table)) if *strategy == entry.strategy => table.clone(),
                _ => self.table(&entry.strategy),
            };
            let pinned = table.0.pin();
            if pinned
                .get(&entry.client_id)
                .is_none_or(|known| **known != entry.application)
            {
                pinned.insert(entry.client_id, Arc::new(entry.application));
            }
            drop(pinned);
            last = Some((entry.strategy, table));
        }
        self.0.loaded.store(true, Ordering::Release);
    }

    /// Removes every entry whose key is not among these.
    fn keep_only(&self, entries: &[Entry]) {
        // At the start there is nothing to remove, and the most to look through.
        if self.is_empty() {
            return;
        }
        let mut kept: HashMap<&str, HashSet<&ClientId, RandomState>> = HashMap::new();
        for entry in entries {
            let ids = kept.entry(&entry.strategy).or_default();
            ids.insert(&entry.client_id);
        }
        let tables = self
            .0
            .tables
            .read()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone();
        for (strategy, table) in tables {
            let kept = kept.get(&*strategy);
            table
                .0
                .pin()
                .retain(|id, _| kept.is_some_and(|kept| kept.contains(id)));
        }
    }

    /// Makes the directory hold this entry, in place of one with its key.
    pub fn put(&self, entry: Entry) {
        let table = self.table(&entry.strategy);
        table
            .0
            .pin()
            .insert(entry.client_id, Arc::new(entry.application));
    }

    /// Removes the entry with this key, if there is one.
    pub fn remove(&self, strategy: &str, client_id: &str) {
        self.table(strategy).0.pin().remove(client_id);
    }

    /// Every entry. Copies them all: for people's lists, never for a request.
    pub fn entries(&self) -> Vec<Entry> {
        let tables = self
            .0
            .tables
            .read()
            .unwrap_or_else(|broken| broken.into_inner());
        let mut entries = Vec::new();
        for (strategy, table) in &*tables {
            let pinned = table.0.pin();
            entries.extend(pinned.iter().map(|(client_id, application)| Entry {
                strategy: Arc::clone(strategy),
                client_id: client_id.clone(),
                application: (**application).clone(),
            }));
        }
        entries
    }

    /// Whether an application of any strategy has this client.
    pub fn has_client(&self, client_id: &str) -> bool {
        let tables = self
            .0
            .tables
            .read()
            .unwrap_or_else(|broken| broken.into_inner());
        tables.values().any(|table| table.knows(client_id))
    }

    /// How many applications there are.
    pub fn len(&self) -> usize {
        let tables = self
            .0
            .tables
            .read()
            .unwrap_or_else(|broken| broken.into_inner());
        tables.values().map(|table| table.0.len()).sum()
    }

    /// Whether there is no application.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
