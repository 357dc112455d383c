//! The store: SQLite or PostgreSQL behind one set of statements.

use std::path::PathBuf;

use uuid::Uuid;

use super::record::{
    Actor, Answered, Api, Application, ApplicationFilter, Audit, AuditFilter, Credential,
    Developer, EndedSession, Intent, Listed, Page, Provider, Registration, RegistrationFilter,
    Strategy,
};
use crate::{
    directory::Entry,
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
};

/// `registry.sqlite` or `registry.postgres`, with `registry.keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which database.
    pub kind: Kind,
    /// Seal what providers and clients are managed with: the first one seals, all open. At least
    /// one.
    pub keys: Vec<Key>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At this URL, which may hold a password.
    Postgres(Secret),
    /// In this file.
    Sqlite(PathBuf),
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key;

impl Key {
    /// Reads.
    pub fn from_base64(_text: &str) -> Option<Self> {
        Some(Self)
    }
}

/// A registry that did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or gave up: nothing was changed.
    #[error("the registry cannot be reached: {0}")]
    Unavailable(String),
    /// Something with this key is there already.
    #[error("{0} is there already")]
    Taken(&'static str),
    /// An intent of this application is under way.
    #[error("another change of this application is under way")]
    Busy,
    /// What was sealed opens with none of the configured keys.
    #[error(
        "no configured key opens what the registry holds sealed: expected the key that sealed it in registry.keys"
    )]
    Sealed,
    /// What it holds cannot be read.
    #[error("the registry holds what this version cannot read: {0}")]
    Unreadable(String),
    /// The registry is of a newer version of this program.
    #[error(
        "the registry has migration {0}, which this version does not know: expected a newer dcr-gateway"
    )]
    Newer(i64),
}

/// The registry. Cheap to clone. Making one does no I/O, so that a gateway starts without it.
#[derive(Clone, Debug)]
pub struct Registry;

/// What has changed since a revision.
#[derive(Debug)]
pub struct Changes {
    /// The revision that the rest leads to.
    pub revision: i64,
    /// Whether the rest is everything there is, not what has changed.
    pub whole: bool,
    /// Applications in the directory's form: those that are [`super::record::Life::Ready`].
    pub entries: Vec<Entry>,
    /// Clients that are no longer there.
    pub removed: Vec<(String, ClientId)>,
    /// Whether providers, strategies or APIs have changed.
    pub configuration: bool,
    /// Sessions that have ended.
    pub sessions: Vec<EndedSession>,
}

/// A transaction. What it wrote is there for everybody when [`Change::commit`] returns, and not at
/// all if it is dropped. Writers take turns, so that revisions are seen in order.
#[derive(Debug)]
pub struct Change;

impl Registry {
    /// This process among those that share the registry; new at each start.
    pub fn process(&self) -> Uuid {
        todo!()
    }
    /// Begins a transaction for an actor.
    pub async fn change(&self, actor: &Actor, request_id: Option<&str>) -> Result<Change, Error> {
        let _ = (actor, request_id);
        todo!()
    }
    /// Everything that changed after a revision; with 0 everything.
    pub async fn since(&self, revision: i64) -> Result<Changes, Error> {
        let _ = revision;
        todo!()
    }
    /// Waits until the revision may have changed: a notification of PostgreSQL, a lost connection that is back, or a look at SQLite's file every 250 ms.
    pub async fn changed(&self) {
        todo!()
    }
    pub async fn providers(&self) -> Result<Vec<Provider>, Error> {
        todo!()
    }
    pub async fn strategies(&self) -> Result<Vec<Strategy>, Error> {
        todo!()
    }
    pub async fn apis(&self) -> Result<Vec<Api>, Error> {
        todo!()
    }
    pub async fn application(&self, id: Uuid) -> Result<Option<Application>, Error> {
        let _ = id;
        todo!()
    }
    pub async fn applications(
        &self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        let _ = (filter, page);
        todo!()
    }
    pub async fn credentials(&self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let _ = application;
        todo!()
    }
    pub async fn registration(&self, id: Uuid) -> Result<Option<Registration>, Error> {
        let _ = id;
        todo!()
    }
    pub async fn registrations(
        &self,
        filter: &RegistrationFilter,
        page: Page,
    ) -> Result<Listed<Registration>, Error> {
        let _ = (filter, page);
        todo!()
    }
    pub async fn developers(&self, page: Page) -> Result<Listed<Developer>, Error> {
        let _ = page;
        todo!()
    }
    pub async fn audit(&self, filter: &AuditFilter, page: Page) -> Result<Listed<Audit>, Error> {
        let _ = (filter, page);
        todo!()
    }
    /// Intents of processes that no longer live.
    pub async fn orphaned_intents(&self) -> Result<Vec<Intent>, Error> {
        todo!()
    }
    /// What was answered under an idempotency key.
    pub async fn answered(&self, key: &str) -> Result<Option<Answered>, Error> {
        let _ = key;
        todo!()
    }
}

impl Change {
    /// The revision that this transaction makes.
    pub fn revision(&self) -> i64 {
        todo!()
    }
    pub async fn put_provider(&mut self, provider: &Provider) -> Result<(), Error> {
        let _ = provider;
        todo!()
    }
    pub async fn delete_provider(&mut self, id: Uuid) -> Result<(), Error> {
        let _ = id;
        todo!()
    }
    pub async fn put_strategy(&mut self, strategy: &Strategy) -> Result<(), Error> {
        let _ = strategy;
        todo!()
    }
    pub async fn delete_strategy(&mut self, id: Uuid) -> Result<(), Error> {
        let _ = id;
        todo!()
    }
    pub async fn put_api(&mut self, api: &Api) -> Result<(), Error> {
        let _ = api;
        todo!()
    }
    /// Reads within the transaction: what is read stays so until it ends.
    pub async fn application(&mut self, id: Uuid) -> Result<Option<Application>, Error> {
        let _ = id;
        todo!()
    }
    /// Inserts or replaces; makes the developer where there is none.
    pub async fn put_application(&mut self, application: &Application) -> Result<(), Error> {
        let _ = application;
        todo!()
    }
    /// Removes an application with its registrations, credentials and intent.
    pub async fn delete_application(&mut self, id: Uuid) -> Result<(), Error> {
        let _ = id;
        todo!()
    }
    pub async fn put_credential(&mut self, credential: &Credential) -> Result<(), Error> {
        let _ = credential;
        todo!()
    }
    pub async fn delete_credential(&mut self, id: Uuid) -> Result<(), Error> {
        let _ = id;
        todo!()
    }
    /// Removes all credentials of an application.
    pub async fn delete_credentials(&mut self, application: Uuid) -> Result<(), Error> {
        let _ = application;
        todo!()
    }
    pub async fn registration(&mut self, id: Uuid) -> Result<Option<Registration>, Error> {
        let _ = id;
        todo!()
    }
    /// [`Error::Taken`] where the application has another one for this API.
    pub async fn put_registration(&mut self, registration: &Registration) -> Result<(), Error> {
        let _ = registration;
        todo!()
    }
    pub async fn delete_registration(&mut self, id: Uuid) -> Result<(), Error> {
        let _ = id;
        todo!()
    }
    /// [`Error::Busy`] where the application has one already.
    pub async fn put_intent(&mut self, intent: &Intent) -> Result<(), Error> {
        let _ = intent;
        todo!()
    }
    /// Whether the intent was still there, of this process: if not, another one has taken it over.
    pub async fn take_intent(&mut self, id: Uuid) -> Result<bool, Error> {
        let _ = id;
        todo!()
    }
    /// Makes an orphaned intent this process's own; false where another one was faster.
    pub async fn claim_intent(&mut self, id: Uuid) -> Result<bool, Error> {
        let _ = id;
        todo!()
    }
    /// [`Error::Taken`] where the key was used.
    pub async fn put_answered(
        &mut self,
        key: &str,
        answered: &Answered,
        now: Timestamp,
    ) -> Result<(), Error> {
        let _ = (key, answered, now);
        todo!()
    }
    pub async fn end_session(&mut self, ended: &EndedSession) -> Result<(), Error> {
        let _ = ended;
        todo!()
    }
    /// One line of the audit trail.
    pub async fn audit(
        &mut self,
        action: &str,
        subject_kind: &str,
        subject: &str,
        before: Option<serde_json::Value>,
        after: Option<serde_json::Value>,
    ) -> Result<(), Error> {
        let _ = (action, subject_kind, subject, before, after);
        todo!()
    }
    /// Makes it all visible, and tells other gateways.
    pub async fn commit(self) -> Result<i64, Error> {
        todo!()
    }
}
