//! Signing in at the operator's own identity provider.

use std::sync::Arc;

use url::Url;

use super::{Email, SignedIn, audit, is_room, put_new};
use crate::{
    clock,
    idp::{
        Provider,
        call::Unavailable,
        sign_in::{Answer, Client, Error as Refused, Pending},
    },
    portal::{
        Error, Portal,
        record::{Account, AccountStatus, Actor, Developer, Identity},
        registry::Change,
    },
    token::id_token::Person,
};

/// `portal.oidc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name of the identity provider.
    pub identity_provider: Arc<str>,
    /// The portal's own client there.
    pub client: Client,
    /// Who gets an account by signing in there.
    pub registration: Admission,
}

/// Who gets an account by signing in at the identity provider, which has verified the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whoever signs in there, once the operator agrees.
    Approval,
    /// Whom the operator has invited.
    Invited,
    /// Whoever signs in there, at once.
    Open,
}

/// Where and how people sign in.
#[derive(Clone, Debug)]
pub struct Place {
    /// The identity provider at work.
    pub provider: Provider,
    /// What is configured.
    pub config: Config,
}

impl Portal {
    /// Whether people can sign in at an identity provider.
    pub fn has_sign_in_elsewhere(&self) -> bool {
        self.surroundings().sign_in().is_some()
    }

    /// Begins a sign-in at the identity provider: where to send the browser, and what it keeps.
    ///
    /// # Errors
    /// There is none configured, or it does not answer.
    pub async fn begin_sign_in(&self) -> Result<(Url, Pending), Error> {
        let place = self.place()?;
        let begun = place.provider.begin_sign_in(&place.config.client).await;
        begun.map_err(|error| unavailable(&error))
    }

    /// Ends one, and begins a session.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with a code of its own where there is no open account for whom it is;
    /// see [`Error`].
    pub async fn end_sign_in(
        &self,
        request_id: &str,
        pending: Pending,
        answer: Answer,
    ) -> Result<SignedIn, Error> {
        let place = self.place()?;
        let client = &place.config.client;
        let ended = place.provider.end_sign_in(client, pending, answer).await;
        let person = ended.map_err(|error| {
            tracing::warn!(request_id, %error, "a sign-in at the identity provider failed");
            match error {
                Refused::Unavailable(error) => unavailable(&error),
                error => Error::Forbidden {
                    code: "sign_in_failed",
                    detail: error.to_string(),
                },
            }
        })?;
        let developer = self
            .known(request_id, person, place.config.registration)
            .await?;
        self.begin_session(request_id, &developer).await
    }

    fn place(&self) -> Result<Place, Error> {
        let place = self.surroundings().sign_in();
        place.ok_or(Error::NotFound("identity provider to sign in at"))
    }

    /// Whose account it is: by who the person is there, else by the verified address.
    async fn known(
        &self,
        request_id: &str,
        person: Person,
        registration: Admission,
    ) -> Result<Developer, Error> {
        let identity = Identity {
            issuer: person.issuer,
            subject: person.subject,
        };
        let registry = self.registry()?;
        let mut change = registry.change(&Actor::Gateway, Some(request_id)).await?;
        let found = change.developer_at_idp(&identity).await?;
        if let Some(developer) = found {
            return open(developer);
        }
        let email = person.email.as_deref().and_then(Email::new);
        let email = email.ok_or_else(|| Error::Forbidden {
            code: "email_not_verified",
            detail: "the identity provider tells no e-mail address that it has verified".to_owned(),
        })?;
        let named = change.developer_named(email.as_str()).await?;
        let known = named.as_ref().and_then(|known| known.account.clone());
        let account = match known {
            Some(account) if account.identity.is_some() => {
                return Err(Error::Forbidden {
                    code: "another_identity",
                    detail: "the account with this e-mail address is somebody else's at the \
                             identity provider"
                        .to_owned(),
                });
            }
            Some(account) => Account {
                identity: Some(identity),
                updated_at: clock::now(),
                ..account
            },
            None => {
                let status = admitted(&mut change, registration).await?;
                let name = person.name.as_deref().unwrap_or(email.as_str());
                Account {
                    identity: Some(identity),
                    ..Account::new(&shown(name), status)
                }
            }
        };
        let before = named.as_ref().and_then(|known| known.account.clone());
        let id = put_new(&mut change, named, &email, &account).await?;
        audit(
            &mut change,
            "developer.identify",
            id,
            before.as_ref(),
            Some(&account),
        )
        .await?;
        self.commit(change).await?;
        open(self.developer(id).await?)
    }
}

/// How a new account begins.
async fn admitted(change: &mut Change, registration: Admission) -> Result<AccountStatus, Error> {
    match registration {
        Admission::Approval => {
            is_room(change).await?;
            Ok(AccountStatus::Pending)
        }
        Admission::Invited => Err(Error::Forbidden {
            code: "registration_closed",
            detail: "accounts are by invitation: ask the operator for one".to_owned(),
        }),
        Admission::Open => Ok(AccountStatus::Approved),
    }
}

fn open(developer: Developer) -> Result<Developer, Error> {
    let status = developer.account.as_ref().map(|account| account.status);
    let (code, detail) = match status {
        Some(AccountStatus::Approved) => return Ok(developer),
        Some(AccountStatus::Pending) => ("account_pending", "the account waits for the operator"),
        _ => ("account_closed", "the account is not open"),
    };
    Err(Error::Forbidden {
        code,
        detail: detail.to_owned(),
    })
}

/// A name as people may see it: as long as any other, on one line.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(256).collect()
}

fn unavailable(error: &Unavailable) -> Error {
    Error::Idp(crate::idp::registration::Error::Untouched(error.clone()))
}
