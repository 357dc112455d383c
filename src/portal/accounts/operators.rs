//! Operators at the developers' address: they sign in with the admin token, and their browser keeps a
//! session in its place. The registry keeps a digest of each session, as of those of developers.

use std::net::IpAddr;

use subtle::ConstantTimeEq as _;

use super::{SignedIn, attempts::OPERATOR, digest_of, session::new_token};
use crate::{
    clock,
    model::{credential::Secret, origin::Origin},
    portal::{
        Error, Portal,
        record::{Actor, OperatorSession},
    },
};

impl Portal {
    /// Whether operators can sign in at the developers' address: the configuration lets them, and
    /// there is an admin token.
    pub fn has_operators(&self) -> bool {
        self.surroundings().accounts().operators && self.surroundings().admin_token().is_some()
    }

    /// Begins an operator's session with the admin token.
    ///
    /// # Errors
    /// [`Error::WrongToken`]; [`Error::TooManyAttempts`]; see [`Error`].
    pub async fn sign_in_operator(
        &self,
        from: IpAddr,
        request_id: &str,
        presented: &Secret,
    ) -> Result<SignedIn, Error> {
        let registry = self.registry()?;
        let origin = Origin::from(from);
        self.0.attempts.count_operator(origin)?;
        let admin = self.surroundings().admin_token();
        let admin = admin.filter(|_| self.has_operators()).filter(|admin| {
            let (presented, admin) = (presented.expose().as_bytes(), admin.expose().as_bytes());
            presented.ct_eq(admin).into()
        });
        let Some(admin) = admin else {
            tracing::warn!(client = %from, request_id, "a wrong admin token");
            return Err(Error::WrongToken);
        };
        self.0.attempts.succeeded(origin, OPERATOR);
        let token = new_token()?;
        let config = self.surroundings().accounts();
        let now = clock::now();
        let session = OperatorSession {
            mark: mark(&token, &admin),
            idle_until: now.plus(config.idle_timeout),
            until: now.plus(config.absolute_timeout),
        };
        let mut change = registry.change(&Actor::Operator, Some(request_id)).await?;
        change
            .add_operator_session(&digest_of(&token), &session)
            .await?;
        change
            .audit("operator.sign_in", "operator", "operator", None, None)
            .await?;
        self.commit(change).await?;
        let until = session.until;
        Ok(SignedIn { token, until })
    }

    /// Whether this is an operator's session that has not ended. Another admin token ends it. Its
    /// idle time begins anew when a quarter of it has gone.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn is_operator(&self, token: &Secret) -> Result<bool, Error> {
        let registry = self.registry()?;
        let admin = self.surroundings().admin_token();
        let Some(admin) = admin.filter(|_| self.has_operators()) else {
            return Ok(false);
        };
        let digest = digest_of(token);
        let Some(session) = registry.operator_session(&digest).await? else {
            return Ok(false);
        };
        let now = clock::now();
        let is_of_token = session.mark == mark(token, &admin);
        if now >= session.until || now >= session.idle_until || !is_of_token {
            return Ok(false);
        }
        let idle = self.surroundings().accounts().idle_timeout;
        if session.idle_until.since(now) < idle / 4 * 3 {
            let mut change = registry.change(&Actor::Operator, None).await?;
            change
                .prolong_operator_session(&digest, now.plus(idle))
                .await?;
            change.commit().await?;
        }
        Ok(true)
    }

    /// Ends an operator's session, everywhere.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sign_out_operator(&self, request_id: &str, token: &Secret) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut change = registry.change(&Actor::Operator, Some(request_id)).await?;
        change.delete_operator_session(&digest_of(token)).await?;
        change.commit().await?;
        Ok(())
    }
}

/// Says with which admin token a session began, to those alone who have the session's own.
fn mark(session: &Secret, admin: &Secret) -> String {
    let both = format!("{}.{}", session.expose(), admin.expose());
    digest_of(&Secret::new(both))
}
