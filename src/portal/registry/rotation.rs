//! Sealing anew what is sealed, so that an older key can be dropped.

use serde_json::json;
use sqlx::Row as _;

use super::{Change, Error, Registry, database::within, read, row, seal::Place};
use crate::portal::record::Actor;

/// Rows in one transaction: other writers wait no longer than for these.
const BATCH: i64 = 200;

/// Where sealed values stand.
type Column = (&'static str, &'static str, fn(&str) -> Place<'_>);

const COLUMNS: [Column; 3] = [
    ("applications", "management", row::application_management),
    ("intents", "data", row::intent_data),
    ("providers", "secrets", row::provider_secrets),
];

/// What a rotation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Values that were sealed anew with the first key.
    pub sealed: u64,
    /// Values that are sealed with another key all the same: somebody wrote them meanwhile, a
    /// gateway whose first key is an older one.
    pub older: u64,
}

impl Registry {
    /// Seals every secret anew with the first key. Then no other key is needed any more, unless
    /// somebody still seals with it. Meanwhile others may read and write.
    ///
    /// # Errors
    /// See [`Error`]; what was sealed anew until then stays so, and every key still opens its own.
    pub async fn rotate_keys(&self) -> Result<Rotated, Error> {
        let mut sealed = 0;
        for column in COLUMNS {
            let mut last = String::new();
            loop {
                let mut change = self.change(&Actor::Command("rotate-keys"), None).await?;
                let Some((id, count)) = change.seal_anew(column, &last).await? else {
                    break;
                };
                sealed += count;
                last = id;
                change.commit().await?;
            }
        }
        let older = self.older().await?;
        let mut change = self.change(&Actor::Command("rotate-keys"), None).await?;
        let done = json!({"sealed": sealed, "older": older});
        change
            .audit("registry.rotate_keys", "registry", "keys", None, Some(done))
            .await?;
        change.commit().await?;
        Ok(Rotated { sealed, older })
    }

    /// How many values are not sealed with the first key.
    async fn older(&self) -> Result<u64, Error> {
        let ring = self.0.ring.load_full();
        let Some(like) = ring.beginning() else {
            return Err(Error::Keyless);
        };
        let mut connection = self.connection().await?;
        let mut older = 0;
        for (table, column, _) in COLUMNS {
            let sql = format!(
                "SELECT COUNT(*) FROM {table} WHERE {column} IS NOT NULL \
                 AND SUBSTR({column}, 1, {}) <> '{like}'",
                like.len(),
            );
            let count = within(read::number(&mut connection, sql)).await?;
            older += u64::try_from(count).unwrap_or_default();
        }
        Ok(older)
    }
}

impl Change {
    /// Seals a batch of rows after an id anew: the last one's id, and how many there were; `None`
    /// where there is none left.
    async fn seal_anew(
        &mut self,
        (table, column, place): Column,
        after: &str,
    ) -> Result<Option<(String, u64)>, Error> {
        let ring = self.ring();
        let sql = format!(
            "SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL AND id > $1 \
             ORDER BY id LIMIT $2"
        );
        let values = vec![
            read::Value::Text(after.to_owned()),
            read::Value::Number(BATCH),
        ];
        let rows = self.rows(sql, values, |row| {
            let read = |error| Error::Unreadable(format!("{table}: {error}"));
            let id: String = row.try_get(0).map_err(read)?;
            let sealed: String = row.try_get(1).map_err(read)?;
            Ok((id, sealed))
        });
        let rows = rows.await?;
        let mut last = None;
        for (id, sealed) in rows {
            let text = ring.open(&sealed, place(&id))?;
            let anew = ring.seal(text.expose(), place(&id))?;
            self.set(table, column, &id, anew).await?;
            let count = last.map_or(0, |(_, count)| count);
            last = Some((id, count + 1));
        }
        Ok(last)
    }
}
