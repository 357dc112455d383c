//! Waiting for what others change.

use std::time::Duration;

use sqlx::postgres::PgListener;

use super::{
    Error, Registry, change,
    database::{self, unavailable, within},
};

/// How often SQLite's file is looked at: it tells nobody.
const LOOK: Duration = Duration::from_millis(250);

/// How often PostgreSQL is asked although it tells: a proxy between may have swallowed it.
const SAFETY: Duration = Duration::from_secs(3);

/// How soon a connection that was lost is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What [`Registry::changed`] keeps between two calls.
#[derive(Default)]
pub(super) struct Following {
    listener: Option<PgListener>,
    /// Whether the registry did not answer: changes may have been missed.
    lost: bool,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Following(lost: {})", self.lost)
    }
}

impl Registry {
    /// Waits until there may be something that [`Registry::since`] has not told yet: at
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
        // Asked only now, so that nothing falls between this and the listening.
        if self.revision().await? != self.0.seen() || following.lost {
            return Ok(true);
        }
        let Some(listener) = &mut following.listener else {
            tokio::time::sleep(LOOK).await;
            return Ok(false);
        };
        match tokio::time::timeout(SAFETY, listener.try_recv()).await {
            // Whether it is news is seen from the revision.
            Ok(Ok(Some(_))) | Err(_) => Ok(false),
            Ok(Ok(None)) => Err(Error::Unavailable("the connection was lost".to_owned())),
            Ok(Err(error)) => Err(unavailable(error)),
        }
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
