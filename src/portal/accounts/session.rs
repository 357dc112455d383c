//! Sessions of developers. The registry keeps a digest of each, so that every gateway knows them and
//! signing out ends them everywhere.

use std::net::IpAddr;

use aws_lc_rs::rand;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{audit, digest_of};
use crate::{
    clock,
    model::{credential::Secret, origin::Origin, time::Timestamp},
    portal::{
        Error, Portal,
        record::{Account, AccountStatus, Actor, Developer, DeveloperSession},
    },
};

/// A session that began just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// What the browser shows from now on.
    pub token: Secret,
    /// The session ends then at the latest.
    pub until: Timestamp,
}

impl Portal {
    /// Begins a session with an e-mail address and a password.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], and the same for an address without an account that is open, after
    /// as long a time; [`Error::TooManyAttempts`]; see [`Error`].
    pub async fn sign_in(
        &self,
        from: IpAddr,
        request_id: &str,
        email: &str,
        password: Secret,
    ) -> Result<SignedIn, Error> {
        let registry = self.registry()?;
        let (origin, email) = (Origin::from(from), email.to_ascii_lowercase());
        self.0.attempts.count(origin, &email)?;
        let found = registry.developer_with_password(&email).await?;
        let (developer, digest) = match found {
            Some((developer, digest)) => (Some(developer), digest),
            None => (None, None),
        };
        let is_right = self.0.passwords.verify(password, digest).await?;
        let developer = developer.filter(|known| is_right && is_open(known));
        let Some(developer) = developer else {
            tracing::warn!(client = %from, request_id, "a developer could not sign in");
            return Err(Error::WrongPassword);
        };
        self.0.attempts.succeeded(origin, &email);
        self.begin_session(request_id, &developer).await
    }

    /// Begins a session of a developer who has shown who they are.
    pub(super) async fn begin_session(
        &self,
        request_id: &str,
        developer: &Developer,
    ) -> Result<SignedIn, Error> {
        let token = new_token()?;
        let config = self.surroundings().accounts();
        let now = clock::now();
        let session = DeveloperSession {
            developer: developer.id,
            idle_until: now.plus(config.idle_timeout),
            until: now.plus(config.absolute_timeout),
        };
        let actor = Actor::Developer(developer.name.clone());
        let mut change = self.registry()?.change(&actor, Some(request_id)).await?;
        // What was verified is from before: it may have been revoked, or the password changed.
        let found = change.developer(developer.id).await?;
        if found.as_ref() != Some(developer) {
            return Err(Error::WrongPassword);
        }
        let digest = digest_of(&token);
        change.add_developer_session(&digest, &session).await?;
        let account = developer.account.as_ref();
        audit(
            &mut change,
            "developer.sign_in",
            developer.id,
            account,
            account,
        )
        .await?;
        self.commit(change).await?;
        let until = session.until;
        Ok(SignedIn { token, until })
    }

    /// Whose session this is; `None` where it has ended. Its idle time begins anew when a quarter of
    /// it has gone.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn signed_in(&self, token: &Secret) -> Result<Option<Developer>, Error> {
        let registry = self.registry()?;
        let digest = digest_of(token);
        let Some((session, developer)) = registry.developer_session(&digest).await? else {
            return Ok(None);
        };
        let now = clock::now();
        if now >= session.until || now >= session.idle_until || !is_open(&developer) {
            return Ok(None);
        }
        let idle = self.surroundings().accounts().idle_timeout;
        if session.idle_until.since(now) < idle / 4 * 3 {
            let actor = Actor::Developer(developer.name.clone());
            let mut change = registry.change(&actor, None).await?;
            change
                .prolong_developer_session(&digest, now.plus(idle))
                .await?;
            change.commit().await?;
        }
        Ok(Some(developer))
    }

    /// Ends a session, everywhere.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sign_out(&self, request_id: &str, token: &Secret) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut change = registry.change(&Actor::Gateway, Some(request_id)).await?;
        change.delete_developer_session(&digest_of(token)).await?;
        change.commit().await?;
        Ok(())
    }
}

/// A session's token: 256 bits, in base64url.
pub(super) fn new_token() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| Error::Overloaded)?;
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

fn is_open(developer: &Developer) -> bool {
    let status = |account: &Account| account.status == AccountStatus::Approved;
    developer.account.as_ref().is_some_and(status)
}
