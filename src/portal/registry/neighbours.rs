//! Which processes that share the registry live.
//!
//! Clocks of machines differ, so no time is written down: each process raises a counter of its own
//! every second, and whoever sees one stand still for five seconds by its own steady clock takes
//! its process for dead. A process that was only held up is fenced: what it began is no longer its
//! own when it goes on ([`super::Change::take_intent`]).

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{Error, database::unavailable, read, row::Columns};
use crate::clock;

/// How often a process shows that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// A counter that stands still for so long is a dead process's: several beats, so that one slow
/// write is no death.
const SILENCE: Duration = Duration::from_secs(5);

/// The row of a process that is dead for so long is removed.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The processes, as this one has seen them.
#[derive(Debug)]
pub(super) struct Neighbours {
    own: Uuid,
    seen: Mutex<HashMap<Uuid, Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    counter: i64,
    since: Instant,
}

impl Neighbours {
    pub(super) fn new(own: Uuid) -> Self {
        Self {
            own,
            seen: Mutex::default(),
        }
    }

    /// Looks at the counters: the processes that live, this one among them.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn living(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<HashSet<Uuid>, Error> {
        let counters = counters(connection).await?;
        Ok(self.observe(&counters, clock::instant()))
    }

    /// Raises this process's counter, looks at the others, and forgets those long dead.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn beat(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO processes (id, counter) VALUES ($1, 1) \
             ON CONFLICT (id) DO UPDATE SET counter = processes.counter + 1",
        )
        .bind(self.own.to_string())
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
        let counters = counters(connection).await?;
        let now = clock::instant();
        self.observe(&counters, now);
        for (process, counter) in self.forgotten(now) {
            // Its counter may have moved meanwhile.
            sqlx::query("DELETE FROM processes WHERE id = $1 AND counter = $2")
                .bind(process.to_string())
                .bind(counter)
                .execute(&mut *connection)
                .await
                .map_err(unavailable)?;
        }
        Ok(())
    }

    fn observe(&self, counters: &[(Uuid, i64)], now: Instant) -> HashSet<Uuid> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let there: HashSet<Uuid> = counters.iter().map(|(process, _)| *process).collect();
        seen.retain(|process, _| there.contains(process));
        let mut living = HashSet::from([self.own]);
        for (process, counter) in counters {
            let new = Seen {
                counter: *counter,
                since: now,
            };
            let known = seen.entry(*process).or_insert(new);
            if known.counter != *counter {
                *known = new;
            }
            if now.saturating_duration_since(known.since) < SILENCE {
                living.insert(*process);
            }
        }
        living
    }

    fn forgotten(&self, now: Instant) -> Vec<(Uuid, i64)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let old = seen.iter().filter(|(process, seen)| {
            **process != self.own && now.saturating_duration_since(seen.since) >= FORGOTTEN
        });
        old.map(|(process, seen)| (*process, seen.counter))
            .collect()
    }
}

async fn counters(connection: &mut AnyConnection) -> Result<Vec<(Uuid, i64)>, Error> {
    let sql = "SELECT id, counter FROM processes".to_owned();
    read::all(connection, sql, Vec::new(), |row| {
        let mut columns = Columns::new(row);
        Ok((columns.id()?, columns.number()?))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_when_its_counter_stands_still() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let neighbours = Neighbours::new(own);
        let start = clock::instant();
        let living = |counter, secs| {
            let now = start + Duration::from_secs(secs);
            neighbours.observe(&[(own, 1), (other, counter)], now)
        };
        let both = HashSet::from([own, other]);
        assert_eq!(living(7, 0), both);
        assert_eq!(living(7, 4), both);
        assert_eq!(living(7, 5), HashSet::from([own]));
        assert_eq!(living(8, 6), both, "it was held up only");
        assert_eq!(living(8, 10), both);
        // A restart from zero is a sign of life as well.
        assert_eq!(living(0, 14), both);
        assert_eq!(living(0, 19), HashSet::from([own]));
        assert_eq!(neighbours.forgotten(start + Duration::from_secs(73)), []);
        let later = start + Duration::from_secs(74);
        assert_eq!(neighbours.forgotten(later), [(other, 0)]);
    }

    #[test]
    fn a_process_without_a_row_is_dead() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let neighbours = Neighbours::new(own);
        let now = clock::instant();
        assert_eq!(neighbours.observe(&[(other, 1)], now).len(), 2);
        assert_eq!(neighbours.observe(&[], now), HashSet::from([own]));
    }
}
