//! Sessions of operators in a browser. Tokens come here as digests only.

use super::{Change, Error, Registry, database::within, read};
use crate::{model::time::Timestamp, portal::record::OperatorSession};

impl Registry {
    /// An operator's session by its token, over or not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn operator_session(&self, token: &str) -> Result<Option<OperatorSession>, Error> {
        let mut connection = self.connection().await?;
        within(read::operator_session(&mut connection, token)).await
    }
}

impl Change {
    /// Keeps a new session.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn add_operator_session(
        &mut self,
        token: &str,
        session: &OperatorSession,
    ) -> Result<(), Error> {
        self.run(
            "INSERT INTO operator_sessions (token, mark, idle_until, until) VALUES ($1, $2, $3, $4)",
            [
                token.into(),
                session.mark.as_str().into(),
                session.idle_until.into(),
                session.until.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Notes that a session was used; one that ended meanwhile stays so.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn prolong_operator_session(
        &mut self,
        token: &str,
        idle_until: Timestamp,
    ) -> Result<(), Error> {
        self.run(
            "UPDATE operator_sessions SET idle_until = $1 WHERE token = $2",
            [idle_until.into(), token.into()],
        )
        .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_operator_session(&mut self, token: &str) -> Result<(), Error> {
        self.run(
            "DELETE FROM operator_sessions WHERE token = $1",
            [token.into()],
        )
        .await?;
        Ok(())
    }
}
