//! Waiting for what others change.

use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;

use super::{
    Error, Registry, change,
    database::{self, unavailable, within},
};
use crate::clock;

/// How often SQLite's file is looked at: it tells nobody.
const LOOK: Duration = Duration::from_millis(250);

/// How often PostgreSQL is asked although it tells: a proxy between may have swallowed it.
const SAFETY: Duration = Duration::from_secs(3);

/// How long what others change is gathered, so that many changes are read at once.
const TOGETHER: Duration = Duration::from_millis(50);

/// How soon a connection that was lost is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What [`Registry::changed`] keeps between two calls.
#[derive(Default)]
pub(super) struct Following {
    listener: Option<PgListener>,
    /// Whether the registry did not answer: changes may have been missed.
    lost: bool,
    /// When it was asked for its revision, through this listener.
    asked: Option<Instant>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Following(lost: {})", self.lost)
    }
}

impl Registry {
    /// Waits until there may be something that [`Registry::followed`] does not count yet: at
    /// PostgreSQL for a notification, at SQLite by looking every 250 ms. Also returns
    /// once when the registry stops answering, and when it is back. For one follower: of two, each
    /// hears of a part.
    pub async fn changed(&self) {
        let mut following = self.0.following.lock().await;
        loop {
            match self.look(&mut following).await {
                Ok(true) => {
                    following.lost = false;
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    following.listener = None;
                    following.asked = None;
                    if !std::mem::replace(&mut following.lost, true) {
                        tracing::debug!(%error, "the registry cannot be followed");
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits a while for a change; whether there may be one.
    async fn look(&self, following: &mut Following) -> Result<bool, Error> {
        if let Some(url) = &self.0.url
            && following.listener.is_none()
        {
            self.database().await?;
            following.listener = Some(within(listen(url.expose())).await?);
        }
        // Asked only now, so that nothing falls between this and the listening; then now and again,
        // whatever is told.
        let now = clock::instant();
        if following
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= SAFETY)
        {
            let news = self.revision().await? != self.0.seen();
            following.asked = Some(now);
            if news || following.lost {
                return Ok(true);
            }
        }
        let Some(listener) = &mut following.listener else {
            tokio::time::sleep(LOOK).await;
            following.asked = None;
            return Ok(false);
        };
        match tokio::time::timeout(SAFETY, listener.try_recv()).await {
            Ok(Ok(Some(told))) if self.is_in_force(told.payload()) => Ok(false),
            Ok(Ok(Some(told))) => {
                tokio::time::sleep(TOGETHER).await;
                // A change of this process may have brought it along.
                Ok(!self.is_in_force(told.payload()))
            }
            Err(_) => Ok(false),
            Ok(Ok(None)) => Err(Error::Unavailable("the connection was lost".to_owned())),
            Ok(Err(error)) => Err(unavailable(error)),
        }
    }

    /// Whether the revision that a notification tells has been read: that of this process's own
    /// change has, or what came after it.
    fn is_in_force(&self, told: &str) -> bool {
        told.parse::<i64>()
            .is_ok_and(|revision| revision <= self.0.seen())
    }
}

async fn listen(url: &str) -> Result<PgListener, Error> {
    let pool = database::listening(url)?;
    let mut listener = PgListener::connect_with(&pool).await.map_err(unavailable)?;
    // Listening again is done here, where it is seen.
    listener.eager_reconnect(false);
    listener
        .listen(change::CHANNEL)
        .await
        .map_err(unavailable)?;
    Ok(listener)
}
