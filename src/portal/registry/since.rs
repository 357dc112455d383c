//! What has changed since a revision, in the directory's form.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{AnyConnection, query::Query};
use uuid::Uuid;

use super::{
    Changes, Error,
    database::{DEADLINE, unavailable, within},
    read,
    row::{self, Columns},
};
use crate::{
    clock,
    directory::Entry,
    model::{
        application::{Application, Registration},
        credential::ClientId,
    },
    portal::record::{EndedSession, Life},
};

/// The longest that reading all of it may take. A million applications take seconds.
const WHOLE: Duration = Duration::from_secs(60);

/// Everything, or what changed after a revision.
#[derive(Clone, Copy)]
enum Asked {
    After(i64),
    Everything,
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
        let changes = tokio::time::timeout(WHOLE, changes(&mut transaction, revision)).await;
        let changes = changes
            .map_err(|_| Error::Unavailable(format!("not read within {} s", WHOLE.as_secs())))??;
        // Nothing was written, so how it ends is of no account; unended it would be undone later.
        let _ = tokio::time::timeout(DEADLINE, transaction.commit()).await;
        Ok(changes)
    }
}

async fn changes(connection: &mut AnyConnection, revision: i64) -> Result<Changes, Error> {
    let sql = "SELECT revision, configuration, gone_since FROM registry".to_owned();
    let now = read::one(connection, sql, Vec::new(), |row| {
        let mut columns = Columns::new(row);
        Ok((columns.number()?, columns.number()?, columns.number()?))
    });
    let Some((current, configuration, gone_since)) = now.await? else {
        return Err(Error::Unreadable("no row in the table registry".to_owned()));
    };
    let whole = revision <= 0 || revision < gone_since || revision > current;
    let asked = match whole {
        true => Asked::Everything,
        false => Asked::After(revision),
    };
    let registrations = registrations(connection, asked).await?;
    let (entries, mut removed) = applications(connection, asked, registrations).await?;
    if let Asked::After(revision) = asked {
        removed.extend(gone(connection, revision).await?);
        // One application may have taken over another's client.
        let there: HashSet<(&str, &str)> = entries
            .iter()
            .map(|entry| (&*entry.strategy, entry.client_id.as_str()))
            .collect();
        removed.retain(|(strategy, client)| !there.contains(&(strategy.as_str(), client.as_str())));
    }
    Ok(Changes {
        revision: current,
        whole,
        entries,
        removed,
        configuration: whole || configuration > revision,
        sessions: sessions(connection, asked).await?,
    })
}

/// A statement of two: one for everything, one with `$1` for the revision.
fn statement(
    asked: Asked,
    everything: &'static str,
    after: &'static str,
) -> Query<'static, sqlx::Any, sqlx::any::AnyArguments> {
    match asked {
        Asked::Everything => sqlx::query(everything),
        Asked::After(revision) => sqlx::query(after).bind(revision),
    }
}

/// The names that occur again and again, each kept once.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

type Registrations = HashMap<Uuid, Vec<(Arc<str>, Registration)>>;

/// The registrations of the applications that are asked for, of each by API.
async fn registrations(
    connection: &mut AnyConnection,
    asked: Asked,
) -> Result<Registrations, Error> {
    let query = statement(
        asked,
        "SELECT application, api, state FROM registrations",
        "SELECT r.application, r.api, r.state FROM registrations r \
         JOIN applications a ON a.id = r.application WHERE a.revision > $1",
    );
    let (mut found, mut names) = (Registrations::new(), Names::default());
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let mut columns = Columns::new(&row);
        let of = found.entry(columns.id()?).or_default();
        of.push((names.shared(columns.text()?), columns.word()?));
    }
    drop(rows);
    for of in found.values_mut() {
        of.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    Ok(found)
}

/// The applications that are asked for: those of the directory, and the clients of the others.
async fn applications(
    connection: &mut AnyConnection,
    asked: Asked,
    mut registrations: Registrations,
) -> Result<(Vec<Entry>, Vec<(String, ClientId)>), Error> {
    let query = statement(
        asked,
        "SELECT life, id, name, developer, strategy, client_id, status, credentials_valid_from \
         FROM applications WHERE life = 'ready' AND client_id IS NOT NULL",
        "SELECT life, id, name, developer, strategy, client_id, status, credentials_valid_from \
         FROM applications WHERE revision > $1 AND client_id IS NOT NULL",
    );
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    let mut names = Names::default();
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let mut columns = Columns::new(&row);
        let life: Life = columns.word()?;
        let (id, name, developer) = (columns.id()?, columns.text()?, columns.text()?);
        let (strategy, client_id) = (columns.text()?, columns.client_id()?);
        if life != Life::Ready {
            others.push((strategy.to_owned(), client_id));
            continue;
        }
        entries.push(Entry {
            strategy: names.shared(strategy),
            client_id,
            application: Application {
                id,
                name: name.into(),
                developer: developer.into(),
                status: columns.word()?,
                registrations: registrations.remove(&id).unwrap_or_default().into(),
                credentials_valid_from: columns.time()?,
            },
        });
    }
    Ok((entries, others))
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

/// Sessions that ended, without those that would be over by now anyway.
async fn sessions(
    connection: &mut AnyConnection,
    asked: Asked,
) -> Result<Vec<EndedSession>, Error> {
    let revision = match asked {
        Asked::Everything => 0,
        Asked::After(revision) => revision,
    };
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
