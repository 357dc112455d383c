//! What has changed since a revision, in the directory's form.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use ahash::RandomState;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe};
use uuid::Uuid;

use super::{
    Changes, Error,
    database::{DEADLINE, Dialect, unavailable, within},
    read,
    row::{self, Columns},
};
use crate::{
    clock,
    directory::Entry,
    model::{
        application::{Application, Registration},
        credential::ClientId,
        time::Timestamp,
    },
    portal::record::{EndedSession, Life},
};

/// The longest that reading all of it may take. A million applications take seconds.
const WHOLE: Duration = Duration::from_secs(60);

/// So many rows come at once: of SQLite each is handed over by another thread, which takes ten times
/// as long as reading it. What waits to be read is some megabytes.
const PAGE: u32 = 250;

/// So many changed applications of SQLite are read at once. Where cores are few a request waits for
/// that; more of them at once save little.
const CHANGES: usize = 100;

/// Where that would be more than so many times, more are read at once: each time this process and
/// the database's thread wait for one another, and where cores are busy for others too.
const TIMES: usize = 200;

/// Everything, what changed after a revision, or, of SQLite, the applications of the numbers of these
/// rows in a list of JSON.
#[derive(Clone, Copy)]
enum Asked<'a> {
    After(i64),
    Everything,
    Rows(&'a str),
}

impl super::Registry {
    /// Everything that changed after a revision; with 0 everything. Also everything where the
    /// revision is older than what is remembered of removed clients (a day), or newer than any:
    /// that of a database which was put back.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn since(&self, revision: i64) -> Result<Changes, Error> {
        let database = self.database().await?;
        let begun = within(async {
            let begun = database.pool.begin_with(database.dialect.begin_reading());
            begun.await.map_err(unavailable)
        });
        let mut transaction = begun.await?;
        let changes = tokio::time::timeout(
            WHOLE,
            changes((&mut transaction, database.dialect), revision),
        )
        .await;
        let changes = changes
            .map_err(|_| Error::Unavailable(format!("not read within {} s", WHOLE.as_secs())))??;
        // Nothing was written, so how it ends is of no account; unended it would be undone later.
        let _ = tokio::time::timeout(DEADLINE, transaction.commit()).await;
        Ok(changes)
    }
}

async fn changes(
    (connection, dialect): (&mut AnyConnection, Dialect),
    revision: i64,
) -> Result<Changes, Error> {
    let sql = "SELECT revision, configuration, gone_since FROM registry".to_owned();
    let now = read::one(connection, sql, Vec::new(), |row| {
        let mut columns = Columns::new(row);
        Ok((columns.number()?, columns.number()?, columns.number()?))
    });
    let Some((current, configuration, gone_since)) = now.await? else {
        return Err(Error::Unreadable("no row in the table registry".to_owned()));
    };
    let whole = revision <= 0 || revision < gone_since || revision > current;
    let mut read = Applications::new();
    let mut database = (&mut *connection, dialect);
    match (whole, dialect) {
        (true, _) => read.add(&mut database, Asked::Everything).await?,
        (false, Dialect::Postgres) => read.add(&mut database, Asked::After(revision)).await?,
        (false, Dialect::Sqlite) => {
            let rows = changed_rows(database.0, revision).await?;
            for rows in rows.chunks(CHANGES.max(rows.len() / TIMES)) {
                let rows = Value::from(rows).to_string();
                read.add(&mut database, Asked::Rows(&rows)).await?;
            }
        }
    }
    let Applications {
        entries,
        others: mut removed,
        ..
    } = read;
    if !whole {
        removed.extend(gone(connection, revision).await?);
        if !removed.is_empty() {
            // One application may have taken over another's client.
            let there: HashSet<(&str, &str)> = entries
                .iter()
                .map(|entry| (&*entry.strategy, entry.client_id.as_str()))
                .collect();
            removed.retain(|(strategy, client)| {
                !there.contains(&(strategy.as_str(), client.as_str()))
            });
        }
    }
    Ok(Changes {
        revision: current,
        whole,
        entries,
        removed,
        configuration: whole || configuration > revision,
        sessions: sessions(connection, if whole { 0 } else { revision }).await?,
    })
}

/// The rows of SQLite's applications that changed after a revision.
async fn changed_rows(connection: &mut AnyConnection, revision: i64) -> Result<Vec<i64>, Error> {
    let sql = "SELECT json_group_array(rowid) FROM applications WHERE revision > $1".to_owned();
    let values = vec![read::Value::Number(revision)];
    let found = read::one(connection, sql, values, |row| {
        rows(Columns::new(row).text()?)
    });
    Ok(found.await?.unwrap_or_default())
}

/// Where applications or registrations stand.
struct Place {
    columns: &'static str,
    table: &'static str,
    /// Which of all of them are asked for.
    condition: &'static str,
    /// Tables and condition for those that changed after `$1`.
    changed: &'static str,
    /// For those of the rows `$1`.
    rows: &'static str,
}

/// Columns as [`Listed`] reads them.
const APPLICATIONS: Place = Place {
    columns: "a.life, a.id, a.name, a.developer, a.strategy, a.client_id, a.status, \
              a.credentials_valid_from",
    table: "applications a",
    condition: "a.life = 'ready' AND a.client_id IS NOT NULL",
    changed: "applications a WHERE a.revision > $1 AND a.client_id IS NOT NULL",
    rows: "json_each($1) changed CROSS JOIN applications a ON a.rowid = changed.value \
           WHERE a.client_id IS NOT NULL",
};

/// Columns as [`Registered`] reads them.
const REGISTRATIONS: Place = Place {
    columns: "r.application, r.api, r.state",
    table: "registrations r",
    condition: "true",
    changed: "registrations r JOIN applications a ON a.id = r.application WHERE a.revision > $1",
    rows: "json_each($1) changed CROSS JOIN applications a ON a.rowid = changed.value \
           CROSS JOIN registrations r ON r.application = a.id",
};

impl Place {
    /// A statement whose every row is a text: a list of rows as JSON, [`PAGE`] of them where that
    /// costs no sorting of them all.
    fn statement(&self, dialect: Dialect, asked: Asked<'_>) -> String {
        let Self {
            columns,
            table,
            condition,
            changed,
            rows,
        } = self;
        let row = match dialect {
            Dialect::Postgres => format!("CAST(json_build_array({columns}) AS TEXT)"),
            Dialect::Sqlite => format!("json_array({columns})"),
        };
        match (dialect, asked) {
            (_, Asked::After(_)) => format!(
                "SELECT '[' || string_agg(changed, ',') || ']' FROM \
                 (SELECT {row} AS changed, (row_number() OVER () - 1) / {PAGE} AS page \
                 FROM {changed}) AS pages GROUP BY page"
            ),
            (_, Asked::Rows(_)) => {
                format!("SELECT '[' || string_agg({row}, ',') || ']' FROM {rows}")
            }
            (Dialect::Postgres, Asked::Everything) => {
                format!("SELECT '[' || {row} || ']' FROM {table} WHERE {condition}")
            }
            (Dialect::Sqlite, Asked::Everything) => format!(
                "WITH RECURSIVE page(first) AS (SELECT 0 UNION ALL SELECT first + {PAGE} FROM page \
                 WHERE first + {PAGE} <= (SELECT MAX(rowid) FROM {table})) \
                 SELECT '[' || (SELECT string_agg({row}, ',') FROM {table} \
                 WHERE rowid >= first AND rowid < first + {PAGE} AND {condition}) || ']' FROM page"
            ),
        }
    }

    /// Calls `read` with each text that the statement finds.
    async fn each(
        &self,
        (connection, dialect): &mut (&mut AnyConnection, Dialect),
        asked: Asked<'_>,
        mut read: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Put together from this module's own parts alone.
        let query = sqlx::query(AssertSqlSafe(self.statement(*dialect, asked)));
        let query = match asked {
            Asked::After(revision) => query.bind(revision),
            Asked::Everything => query,
            Asked::Rows(rows) => query.bind(rows),
        };
        let mut rows = query.fetch(&mut **connection);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            // A page of which all rows are gone has no text.
            if let Some(text) = Columns::new(&row).optional()? {
                read(text)?;
            }
        }
        Ok(())
    }
}

/// Rows of a text.
fn rows<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Vec<T>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unreadable(error.to_string()))
}

/// An application.
#[derive(Deserialize)]
struct Listed<'a> {
    life: &'a str,
    id: Uuid,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    developer: Cow<'a, str>,
    #[serde(borrow)]
    strategy: Cow<'a, str>,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    status: &'a str,
    credentials_valid_from: i64,
}

/// A registration.
#[derive(Deserialize)]
struct Registered<'a> {
    application: Uuid,
    #[serde(borrow)]
    api: Cow<'a, str>,
    state: &'a str,
}

/// What occurs again and again, each kept once.
struct Shared<T: ?Sized>(HashSet<Arc<T>, RandomState>);

impl<T: ?Sized + Hash + Eq> Shared<T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    fn new() -> Self {
        Self(HashSet::default())
    }

    fn of(&mut self, value: &T) -> Arc<T> {
        if let Some(known) = self.0.get(value) {
            return known.clone();
        }
        let value: Arc<T> = value.into();
        self.0.insert(value.clone());
        value
    }
}

type Registrations = HashMap<Uuid, Vec<(Arc<str>, Registration)>, RandomState>;

/// The applications that were read.
struct Applications {
    /// Those of the directory.
    entries: Vec<Entry>,
    /// The clients of the others.
    others: Vec<(String, ClientId)>,
    apis: Shared<str>,
    strategies: Shared<str>,
    sets: Shared<[(Arc<str>, Registration)]>,
}

impl Applications {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            others: Vec::new(),
            apis: Shared::new(),
            strategies: Shared::new(),
            sets: Shared::new(),
        }
    }

    /// Reads those that are asked for.
    async fn add(
        &mut self,
        database: &mut (&mut AnyConnection, Dialect),
        asked: Asked<'_>,
    ) -> Result<(), Error> {
        let mut registrations = self.registrations(database, asked).await?;
        // As many have registrations.
        self.entries.reserve(registrations.len());
        let read = |text: &str| {
            for row in rows::<Listed<'_>>(text)? {
                let client_id = row::client_id(&row.client_id)?;
                if row::word::<Life>(row.life)? != Life::Ready {
                    self.others.push((row.strategy.into_owned(), client_id));
                    continue;
                }
                let own = registrations.remove(&row.id).unwrap_or_default();
                self.entries.push(Entry {
                    strategy: self.strategies.of(&row.strategy),
                    client_id,
                    application: Application {
                        id: row.id,
                        name: row.name.into(),
                        developer: row.developer.into(),
                        status: row::word(row.status)?,
                        registrations: self.sets.of(&own),
                        credentials_valid_from: Timestamp::from_millis(row.credentials_valid_from),
                    },
                });
            }
            Ok(())
        };
        APPLICATIONS.each(database, asked, read).await
    }

    /// The registrations of the applications that are asked for, of each by API.
    async fn registrations(
        &mut self,
        database: &mut (&mut AnyConnection, Dialect),
        asked: Asked<'_>,
    ) -> Result<Registrations, Error> {
        let mut found = Registrations::default();
        let read = |text: &str| {
            for row in rows::<Registered<'_>>(text)? {
                let state = row::word(row.state)?;
                let of = found.entry(row.application);
                // Few have more, and there may be a million.
                let of = of.or_insert_with(|| Vec::with_capacity(2));
                of.push((self.apis.of(&row.api), state));
            }
            Ok(())
        };
        REGISTRATIONS.each(database, asked, read).await?;
        for of in found.values_mut() {
            of.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(found)
    }
}

async fn gone(
    connection: &mut AnyConnection,
    revision: i64,
) -> Result<Vec<(String, ClientId)>, Error> {
    let sql = "SELECT strategy, client_id FROM gone WHERE revision > $1".to_owned();
    let values = vec![read::Value::Number(revision)];
    read::all(connection, sql, values, |row| {
        let mut columns = Columns::new(row);
        Ok((columns.text()?.to_owned(), columns.client_id()?))
    })
    .await
}

/// Sessions that ended after a revision, without those that would be over by now anyway.
async fn sessions(
    connection: &mut AnyConnection,
    revision: i64,
) -> Result<Vec<EndedSession>, Error> {
    let sql = format!(
        "SELECT {} FROM ended_sessions WHERE revision > $1 AND (session_id = '' OR until > $2)",
        row::ENDED_SESSION
    );
    let values = vec![
        read::Value::Number(revision),
        read::Value::Number(clock::now().millis()),
    ];
    read::all(connection, sql, values, row::ended_session).await
}
