//! The connections to the database, and what each is told when it is made.

use std::{
    fmt,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Connection as _, Row as _,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::log::LevelFilter;
use url::Url;
use uuid::Uuid;

use super::{Config, Error, Kind, migrations};
use crate::clock;

/// The longest that one statement, or waiting for a connection, may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// The longest that connecting may take: what waits for it answers within its own deadline.
const CONNECT: Duration = Duration::from_secs(3);

/// How soon it is tried again to give a file its write-ahead log.
const AGAIN: Duration = Duration::from_millis(10);

/// Writers take turns and readers are quick; PostgreSQL gives 100 by default to all gateways.
const CONNECTIONS: u32 = 10;

/// What a connection is told. A writer of SQLite waits for another process's; whatever is committed
/// is on the disk. At PostgreSQL a process that hangs in a transaction loses it, before those that
/// wait for it give up.
const SQLITE: &str = "PRAGMA busy_timeout = 4000; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON;";
const POSTGRES: &str = "SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '3s'; \
     SET synchronous_commit = on;";

/// A database, as far as its statements differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// Begins a transaction that writes.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN",
            // Else two that have read both want to write, and one of them fails.
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }

    /// Begins a transaction that reads one state of everything.
    pub(super) fn begin_reading(self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Sqlite => "BEGIN DEFERRED",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Postgres => POSTGRES,
            Self::Sqlite => SQLITE,
        }
    }
}

/// Where the database is, and connections to it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) dialect: Dialect,
    /// Connections for whoever asks.
    pub(super) pool: AnyPool,
    options: AnyConnectOptions,
    /// SQLite's file.
    file: Option<PathBuf>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        write!(f, "Database({:?})", self.dialect)
    }
}

impl Database {
    /// Connects to nothing yet. Must be called within a runtime.
    ///
    /// # Errors
    /// The URL or path cannot be one.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let (dialect, url, file) = match &config.kind {
            Kind::Postgres(url) => (Dialect::Postgres, postgres_url(url.expose())?, None),
            Kind::Sqlite(path) => {
                let path = std::path::absolute(path).map_err(|error| no_file(path, &error))?;
                (Dialect::Sqlite, sqlite_url(&path)?, Some(path))
            }
        };
        let options = AnyConnectOptions::from_url(&url)
            .map_err(unavailable)?
            .log_statements(LevelFilter::Trace);
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .after_connect(move |connection, _| {
                Box::pin(async move { set_up(connection, dialect).await })
            })
            .connect_lazy_with(options.clone());
        Ok(Self {
            dialect,
            pool,
            options,
            file,
        })
    }

    /// Makes a connection beside the pool, and says why where that fails.
    ///
    /// # Errors
    /// There is no database, or it does not answer.
    pub(super) async fn connect(&self) -> Result<AnyConnection, Error> {
        if let Some(file) = &self.file {
            create(file).await?;
        }
        within(async {
            let mut connection = self.options.connect().await.map_err(unavailable)?;
            set_up(&mut connection, self.dialect)
                .await
                .map_err(unavailable)?;
            Ok(connection)
        })
        .await
    }

    /// Brings the schema up to what this version needs.
    ///
    /// # Errors
    /// As [`Database::connect`]; [`Error::Newer`].
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let mut connection = self.connect().await?;
        migrations::run(&mut connection, self.dialect).await
    }
}

async fn set_up(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    let settings = sqlx::raw_sql(dialect.settings());
    settings.execute(&mut *connection).await?;
    match dialect {
        Dialect::Postgres => Ok(()),
        Dialect::Sqlite => write_ahead(connection).await,
    }
}

/// Has SQLite keep a write-ahead log, so that readers and a writer do not wait for each other. A new
/// file is changed to it once, and of several connections that try at that moment SQLite refuses all
/// but one, at once, or tells them that it stays as it was.
async fn write_ahead(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let begun = clock::instant();
    loop {
        let asked = sqlx::query("PRAGMA journal_mode = WAL");
        let answer = asked.fetch_one(&mut *connection).await;
        let mode = answer.and_then(|row| row.try_get::<String, _>(0));
        if mode.as_ref().is_ok_and(|mode| mode == "wal") {
            return Ok(());
        }
        if clock::instant().saturating_duration_since(begun) >= CONNECT / 2 {
            return mode.and_then(|mode| {
                let told = format!("SQLite cannot keep a write-ahead log here: it stays {mode}");
                Err(sqlx::Error::Protocol(told))
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Connections that listen: [`super::follow`] needs one of PostgreSQL's own kind.
///
/// # Errors
/// The URL cannot be one.
pub(super) fn listening(url: &str) -> Result<sqlx::PgPool, Error> {
    let options = PgConnectOptions::from_url(&postgres_url(url)?).map_err(unavailable)?;
    let options = options.log_statements(LevelFilter::Trace);
    // Without end: who listens must hear of every connection that is lost.
    Ok(PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options))
}

/// Reads the URL of a database of PostgreSQL; operators see this program's name beside its
/// connections.
pub(super) fn postgres_url(text: &str) -> Result<Url, Error> {
    // What is wrong with it is not told: it may hold a password.
    let wrong = || {
        Error::Unavailable(
            "registry.postgres is no URL of PostgreSQL: expected \
             postgres://user:password@host/database"
                .to_owned(),
        )
    };
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(wrong());
    }
    PgConnectOptions::from_str(text).map_err(|_| wrong())?;
    if !url.query_pairs().any(|(key, _)| key == "application_name") {
        url.query_pairs_mut()
            .append_pair("application_name", "dcr-gateway");
    }
    Ok(url)
}

fn sqlite_url(path: &Path) -> Result<Url, Error> {
    let text = path.to_str().ok_or_else(|| {
        Error::Unavailable("registry.sqlite: expected a path in UTF-8".to_owned())
    })?;
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
    Url::parse(&format!("sqlite://{text}?mode=rw"))
        .map_err(|error| Error::Unavailable(error.to_string()))
}

/// Makes the file where there is none, for its owner alone: SQLite would follow the umask. What it
/// puts beside the file takes over its rights. It gets its name only once it has a write-ahead log:
/// of two processes that found it without, one could go on so.
async fn create(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", Uuid::new_v4()));
    let new = PathBuf::from(new);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new);
    made.map_err(|error| no_file(path, &error))?;
    let written = prepare(&new).await;
    let named = written.and_then(|()| match std::fs::hard_link(&new, path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named.map_err(|error| no_file(path, &error)),
    });
    // It has its name, or is of no use.
    let _ = std::fs::remove_file(&new);
    named
}

/// Makes an empty file a database with a write-ahead log.
async fn prepare(path: &Path) -> Result<(), Error> {
    let prepared = async {
        let options = AnyConnectOptions::from_url(&sqlite_url(path)?).map_err(unavailable)?;
        let options = options.log_statements(LevelFilter::Trace);
        let mut connection = options.connect().await.map_err(unavailable)?;
        let changed = write_ahead(&mut connection).await;
        changed.map_err(unavailable)?;
        connection.close().await.map_err(unavailable)
    };
    within(prepared).await
}

fn no_file(path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{}: expected a file in a directory that is there",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })
}

/// Waits for an answer, but not for ever.
///
/// # Errors
/// That of what is waited for; [`Error::Unavailable`] where none came in time.
pub(super) async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Unavailable(format!(
            "no answer within {} s",
            DEADLINE.as_secs()
        ))),
    }
}

/// What a failure of the driver means to whoever asked.
pub(super) fn unavailable(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut => {
            Error::Unavailable(format!("no connection within {} s", CONNECT.as_secs()))
        }
        sqlx::Error::Database(error) => {
            if error.is_unique_violation() {
                return Error::Taken("something with this key");
            }
            Error::Unavailable(error.message().to_owned())
        }
        error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            Error::Unreadable(error.to_string())
        }
        error => Error::Unavailable(error.to_string()),
    }
}
