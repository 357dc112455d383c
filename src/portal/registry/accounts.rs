//! Developers, with the accounts, sessions and invitations of those who sign in. Tokens come here as
//! digests only.

use uuid::Uuid;

use super::{Change, Error, Registry, database::within, read, row::Word as _};
use crate::{
    model::time::Timestamp,
    portal::record::{
        Account, Developer, DeveloperFilter, DeveloperSession, Identity, Listed, Page,
    },
};

/// Reading, each call by itself.
impl Registry {
    /// Who has, or had, applications or an account, by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developers(
        &self,
        filter: &DeveloperFilter,
        page: Page,
    ) -> Result<Listed<Developer>, Error> {
        let mut connection = self.connection().await?;
        within(read::developers(&mut connection, filter, page)).await
    }

    /// One developer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer(&self, id: Uuid) -> Result<Option<Developer>, Error> {
        let mut connection = self.connection().await?;
        within(read::developer(&mut connection, id)).await
    }

    /// One developer and the digest of the password, by the name exactly.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer_with_password(
        &self,
        name: &str,
    ) -> Result<Option<(Developer, Option<String>)>, Error> {
        let mut connection = self.connection().await?;
        within(async {
            let Some(found) = read::developer_named(&mut connection, name).await? else {
                return Ok(None);
            };
            let password = read::password(&mut connection, found.id).await?;
            Ok(Some((found, password)))
        })
        .await
    }

    /// A developer's session by its token, over or not, and whose it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer_session(
        &self,
        token: &str,
    ) -> Result<Option<(DeveloperSession, Developer)>, Error> {
        let mut connection = self.connection().await?;
        within(async {
            let session = read::developer_session(&mut connection, token).await?;
            let Some(session) = session else {
                return Ok(None);
            };
            let developer = read::developer(&mut connection, session.developer).await?;
            Ok(developer.map(|developer| (session, developer)))
        })
        .await
    }
}

/// What is read stays so until the transaction ends.
impl Change {
    /// As [`Registry::developer`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer(&mut self, id: Uuid) -> Result<Option<Developer>, Error> {
        let found = within(read::developer(self.connection(), id)).await;
        self.noted(found)
    }

    /// One developer, by the name exactly.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer_named(&mut self, name: &str) -> Result<Option<Developer>, Error> {
        let found = within(read::developer_named(self.connection(), name)).await;
        self.noted(found)
    }

    /// One developer, as an identity provider knows them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn developer_at_idp(
        &mut self,
        identity: &Identity,
    ) -> Result<Option<Developer>, Error> {
        let found = within(read::developer_at_idp(self.connection(), identity)).await;
        self.noted(found)
    }

    /// How many developers are asked for.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn count_developers(&mut self, filter: &DeveloperFilter) -> Result<u64, Error> {
        let one = Page { number: 1, size: 1 };
        let found = within(read::developers(self.connection(), filter, one)).await;
        Ok(self.noted(found)?.total)
    }

    /// Whose invitation this is, and until when.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn invitation(&mut self, token: &str) -> Result<Option<(Uuid, Timestamp)>, Error> {
        let found = within(read::invitation(self.connection(), token)).await;
        self.noted(found)
    }
}

/// Accounts and what belongs to them.
impl Change {
    /// Gives a developer an account, or changes it; the developer is made where there is none. The
    /// password stays as it is, and `revision` is that of the transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_account(
        &mut self,
        developer: &Developer,
        account: &Account,
    ) -> Result<(), Error> {
        self.run(
            "INSERT INTO developers (id, name, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
            [
                developer.id.into(),
                developer.name.as_str().into(),
                developer.created_at.into(),
            ],
        )
        .await?;
        let identity = account.identity.as_ref();
        let revision = self.revision();
        self.run(
            "UPDATE developers SET full_name = $1, status = $2, issuer = $3, subject = $4, \
             updated_at = $5, revision = $6 WHERE id = $7",
            [
                account.full_name.as_str().into(),
                account.status.word().into(),
                identity.map(|known| known.issuer.clone()).into(),
                identity.map(|known| known.subject.clone()).into(),
                account.updated_at.into(),
                revision.into(),
                developer.id.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Sets the digest of an account's password.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_password(&mut self, developer: Uuid, digest: String) -> Result<(), Error> {
        let id = developer.to_string();
        self.set("developers", "password", &id, digest).await
    }

    /// Removes a developer with account, sessions and invitation; the caller has seen that there is
    /// no application.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_developer(&mut self, id: Uuid) -> Result<(), Error> {
        self.run("DELETE FROM developers WHERE id = $1", [id.into()])
            .await?;
        Ok(())
    }

    /// Gives a developer an invitation in place of an earlier one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_invitation(
        &mut self,
        developer: Uuid,
        token: &str,
        until: Timestamp,
    ) -> Result<(), Error> {
        self.delete_invitation(developer).await?;
        self.run(
            "INSERT INTO invitations (token, developer, until) VALUES ($1, $2, $3)",
            [token.into(), developer.into(), until.into()],
        )
        .await?;
        Ok(())
    }

    /// Takes a developer's invitation away.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_invitation(&mut self, developer: Uuid) -> Result<(), Error> {
        self.run(
            "DELETE FROM invitations WHERE developer = $1",
            [developer.into()],
        )
        .await?;
        Ok(())
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn add_developer_session(
        &mut self,
        token: &str,
        session: &DeveloperSession,
    ) -> Result<(), Error> {
        self.run(
            "INSERT INTO developer_sessions (token, developer, idle_until, until) \
             VALUES ($1, $2, $3, $4)",
            [
                token.into(),
                session.developer.into(),
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
    pub async fn prolong_developer_session(
        &mut self,
        token: &str,
        idle_until: Timestamp,
    ) -> Result<(), Error> {
        self.run(
            "UPDATE developer_sessions SET idle_until = $1 WHERE token = $2",
            [idle_until.into(), token.into()],
        )
        .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_developer_session(&mut self, token: &str) -> Result<(), Error> {
        self.run(
            "DELETE FROM developer_sessions WHERE token = $1",
            [token.into()],
        )
        .await?;
        Ok(())
    }

    /// Ends every session of a developer.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_developer_sessions(&mut self, developer: Uuid) -> Result<(), Error> {
        self.run(
            "DELETE FROM developer_sessions WHERE developer = $1",
            [developer.into()],
        )
        .await?;
        Ok(())
    }
}
