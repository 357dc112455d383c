//! The file registry: `applications.yaml`.
//!
//! What grants or takes away rights wrongly (syntax, types, the same client twice) keeps the whole
//! file from being used; a name that the configuration does not know is a warning and grants
//! nothing, so that one stale line never blocks a suspension.

mod writing;

use std::{
    collections::{HashMap, HashSet, hash_map},
    fmt,
    path::Path,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer, de,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};
use uuid::Uuid;

pub use writing::write;

use super::Entry;
use crate::{
    model::{
        application::{Application, Registration, Status},
        credential::ClientId,
        fault::{Fault, Place, Warning},
        time::Timestamp,
    },
    yaml,
};

/// More faults or warnings than this say nothing new, and each may be a line in a log.
const MOST_MESSAGES: usize = 100;

/// The names that applications may refer to. Cheap to share: the entries hold the same texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether every name is known.
    all: bool,
    strategies: HashSet<Arc<str>>,
    apis: HashSet<Arc<str>>,
    /// For each strategy the others that some API lists beside it.
    beside: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Known {
    /// Takes the names of all strategies, and of all APIs with the strategies that each lists.
    pub fn new(
        strategies: impl IntoIterator<Item = Arc<str>>,
        apis: impl IntoIterator<Item = (Arc<str>, Vec<Arc<str>>)>,
    ) -> Self {
        let mut known = Self {
            strategies: strategies.into_iter().collect(),
            ..Self::default()
        };
        for (api, listed) in apis {
            known.apis.insert(api);
            for one in &listed {
                let beside = known.beside.entry(one.clone()).or_default();
                for other in listed.iter().filter(|other| *other != one) {
                    if !beside.contains(other) {
                        beside.push(other.clone());
                    }
                }
            }
        }
        known
    }

    /// Knows whatever name there is: for who takes over the whole file, names for later included.
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    fn strategy(&self, name: &str) -> Option<Arc<str>> {
        self.find(&self.strategies, name)
    }

    fn api(&self, name: &str) -> Option<Arc<str>> {
        self.find(&self.apis, name)
    }

    fn find(&self, names: &HashSet<Arc<str>>, name: &str) -> Option<Arc<str>> {
        let known = names.get(name).cloned();
        known.or_else(|| self.all.then(|| name.into()))
    }
}

/// Reads a file of applications. Blocks while it reads.
///
/// # Errors
/// The file cannot be read, or holds a fault of syntax or type (the first one), or values that
/// cannot be used and clients that are there twice (up to 100 of them).
pub fn load(path: &Path, known: &Known) -> Result<(Vec<Entry>, Vec<Warning>), Vec<Fault>> {
    let file: Arc<Path> = path.into();
    let content = yaml::read(&file).map_err(|fault| vec![fault])?;
    parse(&file, &content, known)
}

/// Reads the content of a file of applications as [`load`] does; `file` is its name in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(
    file: &Arc<Path>,
    content: &[u8],
    known: &Known,
) -> Result<(Vec<Entry>, Vec<Warning>), Vec<Fault>> {
    let text = yaml::text(file, content).map_err(|fault| vec![fault])?;
    let mut reader = Reader {
        file,
        known,
        entries: Vec::new(),
        lines: HashMap::new(),
        faults: Messages::default(),
        warnings: Messages::default(),
    };
    yaml::parse_into(file, text, Document(&mut reader)).map_err(|fault| vec![fault])?;
    if reader.faults.count > 0 {
        let more = reader.faults.more(file, "faults");
        let more = more.map(|(place, message)| Fault { place, message });
        let faults = reader.faults.list.into_iter();
        return Err(faults
            .map(|(place, message)| Fault { place, message })
            .chain(more)
            .collect());
    }
    let more = reader.warnings.more(file, "warnings");
    let warnings = reader.warnings.list.into_iter().chain(more);
    let warnings = warnings
        .map(|(place, message)| Warning { place, message })
        .collect();
    Ok((reader.entries, warnings))
}

/// The whole file, read into the reader row by row: rows with their places take several times
/// the memory of the entries that they become.
struct Document<'r, 'a>(&'r mut Reader<'a>);

/// The keys of the file.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Applications,
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with the key applications")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key::Applications) = map.next_key()? {
            map.next_value_seed(Rows(&mut *self.0))?;
        }
        Ok(())
    }
}

/// The list of applications, perhaps left empty.
struct Rows<'r, 'a>(&'r mut Reader<'a>);

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of applications")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            self.0.row(row);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Box<str>,
    developer: Box<str>,
    auth_strategy: Spanned<String>,
    client_id: Spanned<String>,
    #[serde(default, deserialize_with = "status")]
    status: Status,
    #[serde(default)]
    registrations: Registrations,
    id: Option<Spanned<String>>,
    credentials_valid_from: Option<Spanned<String>>,
}

/// What `status` may say.
pub(super) const STATUSES: [(&str, Status); 2] =
    [("active", Status::Active), ("suspended", Status::Suspended)];

/// What a registration may be.
pub(super) const REGISTRATIONS: [(&str, Registration); 4] = [
    ("approved", Registration::Approved),
    ("pending", Registration::Pending),
    ("rejected", Registration::Rejected),
    ("revoked", Registration::Revoked),
];

/// The value of a word.
fn meaning<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value)
}

/// Reads a status by hand, so that a wrong one is told with its key and what was expected.
fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let text = String::deserialize(deserializer)?;
    meaning(&STATUSES, &text).ok_or_else(|| {
        de::Error::custom(format_args!(
            "status: {text:?}: expected active or suspended"
        ))
    })
}

/// The state of a registration, read like [`status`].
struct State(Registration);

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let state = meaning(&REGISTRATIONS, &text).ok_or_else(|| {
            de::Error::custom(format_args!(
                "registrations: {text:?}: expected approved, pending, rejected or revoked"
            ))
        });
        state.map(Self)
    }
}

/// The registrations in the file's order, each name with its place.
#[derive(Default)]
struct Registrations(Vec<(Spanned<String>, Registration)>);

impl<'de> Deserialize<'de> for Registrations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RegistrationsVisitor)
    }
}

struct RegistrationsVisitor;

impl<'de> Visitor<'de> for RegistrationsVisitor {
    type Value = Registrations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the name of an API to the state of the registration")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Registrations, A::Error> {
        let mut list = Vec::new();
        while let Some((api, State(state))) = entries.next_entry()? {
            list.push((api, state));
        }
        Ok(Registrations(list))
    }
}

struct Reader<'a> {
    file: &'a Arc<Path>,
    known: &'a Known,
    entries: Vec<Entry>,
    /// Where each client was first seen.
    lines: HashMap<(Arc<str>, ClientId), u64>,
    faults: Messages,
    warnings: Messages,
}

impl Reader<'_> {
    fn row(&mut self, row: Row) {
        let client_at = row.client_id.referenced;
        let Some(client_id) = ClientId::new(row.client_id.value) else {
            self.fault(
                client_at,
                "client_id: expected a client id, not empty".to_owned(),
            );
            return;
        };
        let id = row
            .id
            .as_ref()
            .map(|id| (id.referenced, Uuid::parse_str(&id.value)));
        if let Some((at, Err(_))) = id {
            self.fault(at, "id: expected a UUID".to_owned());
        }
        let from = row.credentials_valid_from.as_ref();
        let from = from.map(|time| (time.referenced, Timestamp::of_rfc3339(&time.value)));
        if let Some((at, None)) = from {
            self.fault(
                at,
                "credentials_valid_from: expected a time as in 2026-11-21T09:30:00Z".to_owned(),
            );
        }

        let name: &str = &row.auth_strategy.value;
        let Some(strategy) = self.known.strategy(name) else {
            let message = format!(
                "auth_strategy: {name:?}: no such strategy, so client {:?} is let through nowhere",
                client_id.as_str(),
            );
            self.warn(row.auth_strategy.referenced, message);
            // The double is a fault all the same: which of the two is meant is not known.
            self.first_seen(&name.into(), &client_id, client_at);
            return;
        };
        if !self.first_seen(&strategy, &client_id, client_at) {
            return;
        }
        self.warn_of_neighbours(&strategy, &client_id, client_at);

        let mut registrations = Vec::with_capacity(row.registrations.0.len());
        for (api, state) in row.registrations.0 {
            match self.known.api(&api.value) {
                Some(api) => registrations.push((api, state)),
                None => {
                    let message = format!("registrations: {:?}: no such API", api.value);
                    self.warn(api.referenced, message);
                }
            }
        }
        let default_id = || Application::default_id(&strategy, client_id.as_str());
        let application = Application {
            id: id.and_then(|(_, id)| id.ok()).unwrap_or_else(default_id),
            name: row.name,
            developer: row.developer,
            status: row.status,
            registrations: registrations.into(),
            credentials_valid_from: from.and_then(|(_, from)| from).unwrap_or_default(),
        };
        self.entries.push(Entry {
            strategy,
            client_id,
            application,
        });
    }

    /// Notes a client; a fault where it is there twice.
    fn first_seen(&mut self, strategy: &Arc<str>, client_id: &ClientId, at: Location) -> bool {
        match self.lines.entry((strategy.clone(), client_id.clone())) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(at.line());
                true
            }
            hash_map::Entry::Occupied(entry) => {
                let message = format!(
                    "client_id: {:?}: expected each client of a strategy once; line {} has this \
                     one of {strategy:?} already",
                    client_id.as_str(),
                    entry.get(),
                );
                self.fault(at, message);
                false
            }
        }
    }

    /// Basic credentials name no strategy, so of two under one API the first would always win.
    fn warn_of_neighbours(&mut self, strategy: &Arc<str>, client_id: &ClientId, at: Location) {
        let known = self.known;
        for other in known.beside.get(strategy).into_iter().flatten() {
            if let Some(line) = self.lines.get(&(other.clone(), client_id.clone())) {
                let message = format!(
                    "client_id: {:?}: strategy {other:?} has this id too (line {line}), and an API \
                     lists both: its first one gets the client's secret",
                    client_id.as_str(),
                );
                self.warn(at, message);
            }
        }
    }

    fn fault(&mut self, at: Location, message: String) {
        self.faults.push(yaml::place(self.file, at), message);
    }

    fn warn(&mut self, at: Location, message: String) {
        self.warnings.push(yaml::place(self.file, at), message);
    }
}

/// The first messages, and how many there were.
#[derive(Default)]
struct Messages {
    list: Vec<(Place, String)>,
    count: usize,
}

impl Messages {
    fn push(&mut self, place: Place, message: String) {
        self.count += 1;
        if self.list.len() < MOST_MESSAGES {
            self.list.push((place, message));
        }
    }

    /// What stands for the ones that were left out.
    fn more(&self, file: &Arc<Path>, what: &str) -> Option<(Place, String)> {
        let more = self.count - self.list.len();
        (more > 0).then(|| (Place::whole(file), format!("{more} more {what}")))
    }
}

#[cfg(test)]
mod tests;
