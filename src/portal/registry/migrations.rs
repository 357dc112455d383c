//! The schema, in numbered steps that only go forward.
//!
//! All steps run in one transaction under a lock, so that of several gateways that start at once
//! one does the work and the others find it done.

use sqlx::{AnyConnection, Connection, Row};

use super::{
    Error,
    database::{Dialect, unavailable},
};
use crate::clock;

/// Every step, first to last; its number is its place, from 1.
const STEPS: [&str; 2] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
];

/// Names the lock of PostgreSQL under which a schema is changed: any number of our own.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4910226711935128)";

/// Does what has not been done yet.
///
/// # Errors
/// [`Error::Newer`] where the database knows a step that this version does not.
pub(super) async fn run(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), Error> {
    let begun = connection.begin_with(dialect.begin()).await;
    let mut transaction = begun.map_err(unavailable)?;
    if dialect == Dialect::Postgres {
        let locked = sqlx::raw_sql(LOCK).execute(&mut *transaction).await;
        locked.map_err(unavailable)?;
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, at BIGINT NOT NULL)",
    )
    .execute(&mut *transaction)
    .await
    .map_err(unavailable)?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM migrations")
        .fetch_one(&mut *transaction)
        .await;
    let done: i64 = row.and_then(|row| row.try_get(0)).map_err(unavailable)?;
    for (version, step) in (1..).zip(STEPS) {
        if version <= done {
            continue;
        }
        let changed = sqlx::raw_sql(step).execute(&mut *transaction).await;
        changed.map_err(unavailable)?;
        sqlx::query("INSERT INTO migrations (version, at) VALUES ($1, $2)")
            .bind(version)
            .bind(clock::now().millis())
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
    }
    if done > STEPS.len() as i64 {
        return Err(Error::Newer(done));
    }
    transaction.commit().await.map_err(unavailable)
}
