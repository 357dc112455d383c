//! What goes on beside the calls: opening the database, showing that this process lives, noticing
//! that the database is down or back, removing what is out of date.

use std::{sync::Arc, time::Duration};

use sqlx::{AnyConnection, Connection};
use tokio::sync::watch;

use super::{
    Error,
    change::ANSWERED_FOR,
    database::{Database, Dialect, unavailable, within},
    neighbours::{BEAT, Neighbours},
    read,
};
use crate::{clock, model::time::Timestamp};

/// How soon a database that does not answer is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How often what is out of date is removed.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// How long removed clients are remembered: for as long as a session of theirs may last. A gateway
/// that was away for longer reads everything.
const REMEMBERED: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// How the database was met last.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It does not answer, or cannot be used.
    Down(Error),
    /// It has not been met yet.
    Opening,
    /// It answers.
    Ready,
}

/// Goes on until it is aborted.
pub(super) async fn keep(
    database: Database,
    neighbours: Arc<Neighbours>,
    state: watch::Sender<State>,
) {
    let mut migrated = false;
    let mut kept: Option<AnyConnection> = None;
    let mut swept = None;
    loop {
        let met = match kept.take() {
            Some(connection) => Ok(connection),
            None => open(&database, &mut migrated).await,
        };
        let met = match met {
            Ok(connection) => beat(connection, &neighbours).await,
            Err(error) => Err(error),
        };
        let pause = match met {
            Ok(mut connection) => {
                let now = clock::instant();
                if swept.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP) {
                    swept = Some(now);
                    let done = sweep(&mut connection, database.dialect, clock::now()).await;
                    if let Err(error) = done {
                        tracing::warn!(%error, "what is out of date stays in the registry for now");
                    }
                }
                if !matches!(*state.borrow(), State::Ready) {
                    tracing::info!("the registry answers");
                }
                state.send_replace(State::Ready);
                kept = Some(connection);
                BEAT
            }
            Err(error) => {
                if !matches!(&*state.borrow(), State::Down(last) if *last == error) {
                    tracing::error!(%error, "the registry does not answer");
                }
                state.send_replace(State::Down(error));
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn open(database: &Database, migrated: &mut bool) -> Result<AnyConnection, Error> {
    if !*migrated {
        database.migrate().await?;
        *migrated = true;
    }
    let mut connection = database.connect().await?;
    if database.dialect == Dialect::Sqlite {
        // A sign of life need not outlast a power failure, so it costs no flush of the disk.
        let eased = sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&mut connection);
        eased.await.map_err(unavailable)?;
    }
    Ok(connection)
}

async fn beat(
    mut connection: AnyConnection,
    neighbours: &Neighbours,
) -> Result<AnyConnection, Error> {
    if let Err(error) = within(neighbours.beat(&mut connection)).await {
        // Another process may write for long, or the disk be full: the rest may work all the same.
        within(read::revision(&mut connection)).await?;
        tracing::warn!(%error, "this process cannot show in the registry that it lives");
    }
    Ok(connection)
}

/// Removes what is over by now: ended sessions, those of developers, invitations; answers and removed
/// clients of yesterday.
async fn sweep(
    connection: &mut AnyConnection,
    dialect: Dialect,
    now: Timestamp,
) -> Result<(), Error> {
    within(async {
        let begun = connection.begin_with(dialect.begin()).await;
        let mut transaction = begun.map_err(unavailable)?;
        // First, since it waits for writers and they must not miss what is forgotten.
        sqlx::query(
            "UPDATE registry SET gone_since = COALESCE((SELECT MAX(gone.revision) FROM gone \
             WHERE gone.at <= $1 AND gone.revision > registry.gone_since), gone_since) \
             WHERE id = 1",
        )
        .bind(now.minus(REMEMBERED).millis())
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
        for (sql, before) in [
            ("DELETE FROM gone WHERE at <= $1", now.minus(REMEMBERED)),
            (
                "DELETE FROM answered WHERE at <= $1",
                now.minus(ANSWERED_FOR),
            ),
            (
                "DELETE FROM ended_sessions WHERE session_id <> '' AND until <= $1",
                now,
            ),
            (
                "DELETE FROM developer_sessions WHERE until <= $1 OR idle_until <= $1",
                now,
            ),
            (
                "DELETE FROM operator_sessions WHERE until <= $1 OR idle_until <= $1",
                now,
            ),
            ("DELETE FROM invitations WHERE until <= $1", now),
        ] {
            let done = sqlx::query(sql).bind(before.millis());
            let done = done.execute(&mut *transaction).await;
            done.map_err(unavailable)?;
        }
        transaction.commit().await.map_err(unavailable)
    })
    .await
}
