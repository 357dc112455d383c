//! The store: SQLite or PostgreSQL behind one set of statements.
//!
//! What is read comes as values of [`super::record`]; what is written goes through a [`Change`], a
//! transaction with the next revision. Secrets are sealed on the way in. A database that is away
//! costs its callers an error and nothing else: connecting goes on beside them.

mod accounts;
mod change;
mod config;
mod database;
mod follow;
mod keeper;
mod migrations;
mod neighbours;
mod operators;
mod read;
mod rotation;
mod row;
mod seal;
mod since;
mod transfer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use sqlx::{Any, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    sync::{Mutex, Semaphore, watch},
    task::AbortHandle,
};
use uuid::Uuid;

pub use change::Change;
pub use config::{Config, Key, Kind};
pub use rotation::Rotated;
pub use transfer::{Exported, Import, ImportError, Imported};

use super::record::{
    Answered, Api, Application, ApplicationFilter, Audit, AuditFilter, Credential, EndedSession,
    Intent, Listed, Page, Provider, Registration, RegistrationFilter, Strategy,
};
use crate::{
    clock,
    directory::Entry,
    model::credential::{ClientId, Secret},
};
use database::{Database, Dialect, unavailable, within};
use follow::Following;
use keeper::State;
use neighbours::Neighbours;
use seal::Ring;

/// A registry that did not answer, or refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// A secret was to be kept, and there is no key to seal it.
    #[error("the registry cannot keep a secret: expected a key in registry.keys")]
    Keyless,
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
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    /// What is wrong with the configured place, where it can be none.
    database: Result<Database, Error>,
    /// PostgreSQL's, for listening.
    url: Option<Secret>,
    ring: ArcSwap<Ring>,
    process: Uuid,
    neighbours: Arc<Neighbours>,
    state: watch::Receiver<State>,
    /// One writer of this process at a time: the others would only wait in the database.
    turns: Arc<Semaphore>,
    /// See [`Registry::followed`].
    seen: AtomicI64,
    following: Mutex<Following>,
    keeper: Option<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

impl Inner {
    fn dialect(&self) -> Option<Dialect> {
        self.database.as_ref().ok().map(|database| database.dialect)
    }

    fn seen(&self) -> i64 {
        self.seen.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("database", &self.0.database)
            .field("process", &self.0.process)
            .finish_non_exhaustive()
    }
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

impl Registry {
    /// Sets one up. It connects and goes on connecting on this runtime, which has to outlive it;
    /// while there is one, it tells others that this process lives.
    pub fn new(config: Config, runtime: Handle) -> Self {
        let _within = runtime.enter();
        let database = Database::new(&config);
        let process = Uuid::new_v4();
        let neighbours = Arc::new(Neighbours::new(process));
        let (sender, state) = watch::channel(State::Opening);
        let keeper = match &database {
            Ok(database) => {
                let kept = keeper::keep(database.clone(), neighbours.clone(), sender);
                Some(runtime.spawn(kept).abort_handle())
            }
            Err(error) => {
                sender.send_replace(State::Down(error.clone()));
                None
            }
        };
        Self(Arc::new(Inner {
            database,
            url: match config.kind {
                Kind::Postgres(url) => Some(url),
                Kind::Sqlite(_) => None,
            },
            ring: ArcSwap::from_pointee(Ring::new(&config.keys)),
            process,
            neighbours,
            state,
            turns: Arc::new(Semaphore::new(1)),
            seen: AtomicI64::new(0),
            following: Mutex::default(),
            keeper,
        }))
    }

    /// Other keys, first the one that seals: those of a configuration that was read anew.
    pub fn set_keys(&self, keys: &[Key]) {
        self.0.ring.store(Arc::new(Ring::new(keys)));
    }

    /// Says that what [`Registry::since`] told up to this revision is at work, so that
    /// [`Registry::changed`] waits for what comes after it.
    pub fn followed(&self, revision: i64) {
        self.0.seen.store(revision, Ordering::Release);
    }

    /// What keeps the database from answering, as this process saw it last, within about a second;
    /// `None` while it answers. Asks nothing.
    pub fn trouble(&self) -> Option<String> {
        match &*self.0.state.borrow() {
            State::Down(error) => Some(error.to_string()),
            State::Opening => Some("the registry has not answered yet".to_owned()),
            State::Ready => None,
        }
    }

    /// This process among those that share the registry; new at each start.
    pub fn process(&self) -> Uuid {
        self.0.process
    }

    /// The database, once it has been met; an error at once where it was down when met last.
    async fn database(&self) -> Result<&Database, Error> {
        let database = self.0.database.as_ref().map_err(Clone::clone)?;
        let mut state = self.0.state.clone();
        within(async {
            let met = state.wait_for(|state| !matches!(state, State::Opening));
            match &*met
                .await
                .map_err(|_| Error::Unavailable("it is closed".to_owned()))?
            {
                State::Down(error) => Err(error.clone()),
                State::Opening | State::Ready => Ok(()),
            }
        })
        .await?;
        Ok(database)
    }

    async fn connection(&self) -> Result<PoolConnection<Any>, Error> {
        let database = self.database().await?;
        database.pool.acquire().await.map_err(unavailable)
    }
}

/// Reading, each call by itself.
///
/// Every call fails with [`Error::Unavailable`] where the database does not answer within seconds,
/// [`Error::Newer`] where it is of a newer version, [`Error::Sealed`] and [`Error::Unreadable`]
/// where a row cannot be read.
impl Registry {
    /// The revision at the last change.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revision(&self) -> Result<i64, Error> {
        let mut connection = self.connection().await?;
        within(read::revision(&mut connection)).await
    }

    /// Every provider, by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn providers(&self) -> Result<Vec<Provider>, Error> {
        let mut connection = self.connection().await?;
        within(read::providers(&mut connection, &self.0.ring.load_full())).await
    }

    /// Every strategy, by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn strategies(&self) -> Result<Vec<Strategy>, Error> {
        let mut connection = self.connection().await?;
        within(read::strategies(&mut connection)).await
    }

    /// What is said of APIs, by name; those of which nothing is said are not there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apis(&self) -> Result<Vec<Api>, Error> {
        let mut connection = self.connection().await?;
        within(read::apis(&mut connection)).await
    }

    /// One application.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn application(&self, id: Uuid) -> Result<Option<Application>, Error> {
        let mut connection = self.connection().await?;
        let ring = self.0.ring.load_full();
        within(read::application(&mut connection, &ring, id)).await
    }

    /// Some applications, the latest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn applications(
        &self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        let mut connection = self.connection().await?;
        let ring = self.0.ring.load_full();
        within(read::applications(&mut connection, &ring, filter, page)).await
    }

    /// An application's credentials, in the order in which they were made.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn credentials(&self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let mut connection = self.connection().await?;
        within(read::credentials(&mut connection, application)).await
    }

    /// One registration.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registration(&self, id: Uuid) -> Result<Option<Registration>, Error> {
        let mut connection = self.connection().await?;
        within(read::registration(&mut connection, id)).await
    }

    /// Some registrations, the latest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registrations(
        &self,
        filter: &RegistrationFilter,
        page: Page,
    ) -> Result<Listed<Registration>, Error> {
        let mut connection = self.connection().await?;
        within(read::registrations(&mut connection, filter, page)).await
    }

    /// Some of the audit trail, the latest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn audit(&self, filter: &AuditFilter, page: Page) -> Result<Listed<Audit>, Error> {
        let mut connection = self.connection().await?;
        within(read::audit(&mut connection, filter, page)).await
    }

    /// Intents that nobody works at: of processes that no longer live, whose row is gone, or whose
    /// counter has stood still for five seconds since this process saw it first; of this process's
    /// own those that it does not hold.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn orphaned_intents(
        &self,
        is_held: impl Fn(Uuid) -> bool,
    ) -> Result<Vec<Intent>, Error> {
        let mut connection = self.connection().await?;
        let ring = self.0.ring.load_full();
        within(async {
            // In this order: an intent that is seen has its process's row there before.
            let sql = format!(
                "SELECT {} FROM intents ORDER BY created_at, id",
                row::INTENT
            );
            let read = |row: &_| row::intent(row, &ring);
            let intents = read::all(&mut connection, sql, Vec::new(), read).await?;
            let living = self.0.neighbours.living(&mut connection).await?;
            let own = self.0.process;
            // Asked after reading: what is no longer held then may be gone, but not new.
            let is_orphan = |intent: &Intent| match intent.process == own {
                true => !is_held(intent.id),
                false => !living.contains(&intent.process),
            };
            Ok(intents.into_iter().filter(is_orphan).collect())
        })
        .await
    }

    /// What was answered under an idempotency key within the last 24 hours.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn answered(&self, key: &str) -> Result<Option<Answered>, Error> {
        let mut connection = self.connection().await?;
        let after = clock::now().minus(change::ANSWERED_FOR);
        within(read::answered(&mut connection, key, after)).await
    }
}
