//! The store: SQLite or PostgreSQL behind one set of statements.

mod config;

use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;

pub use config::{Config, Key, Kind};

use super::record::{
    Actor, Answered, Api, Application, ApplicationFilter, Audit, AuditFilter, Credential,
    Developer, EndedSession, Intent, Listed, Page, Provider, Registration, RegistrationFilter,
    Strategy,
};
use crate::{
    directory::Entry,
    model::{credential::ClientId, time::Timestamp},
};

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
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    runtime: Handle,
    process: Uuid,
}

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
    /// Sets one up. It connects when it is first asked something, on this runtime, which has to
    /// outlive it; while there is one, it tells others that this process lives.
    pub fn new(config: Config, runtime: Handle) -> Self {
        Self(Arc::new(Inner {
            config,
            runtime,
            process: Uuid::new_v4(),
        }))
    }

    /// Other keys, first the one that seals: those of a configuration that was read anew.
    pub fn set_keys(&self, keys: Vec<Key>) {
        let _ = (keys, &self.0.config, &self.0.runtime);
        todo!()
    }

    /// What keeps the database from answering, as this process saw it last, within about a second;
    /// `None` while it answers. Asks nothing.
    pub fn trouble(&self) -> Option<String> {
        todo!()
    }

    /// The revision at the last change.
    pub async fn revision(&self) -> Result<i64, Error> {
        todo!()
    }

    /// This process among those that share the registry; new at each start.
    pub fn process(&self) -> Uuid {
        self.0.process
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
    /// As [`Registry::providers`], within the transaction: what is read stays so until it ends.
    pub async fn providers(&mut self) -> Result<Vec<Provider>, Error> {
        todo!()
    }
    /// As [`Registry::strategies`], within the transaction.
    pub async fn strategies(&mut self) -> Result<Vec<Strategy>, Error> {
        todo!()
    }
    /// As [`Registry::apis`], within the transaction.
    pub async fn apis(&mut self) -> Result<Vec<Api>, Error> {
        todo!()
    }
    /// As [`Registry::applications`], within the transaction.
    pub async fn applications(
        &mut self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        let _ = (filter, page);
        todo!()
    }
    /// As [`Registry::credentials`], within the transaction.
    pub async fn credentials(&mut self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let _ = application;
        todo!()
    }
    /// As [`Registry::answered`], within the transaction.
    pub async fn answered(&mut self, key: &str) -> Result<Option<Answered>, Error> {
        let _ = key;
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
