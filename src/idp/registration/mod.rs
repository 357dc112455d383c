//! Clients at an identity provider: made, changed, given new secrets and deleted, in the IdP's own
//! dialect.
//!
//! A [`Registrar`] speaks for one IdP. What it needs later to manage a client comes back as an
//! opaque [`Management`], which the caller keeps sealed and hands over again; a call may replace
//! it. Nothing is kept here, and nothing that a client's metadata names is ever fetched.

mod asked;
mod asking;
mod management;
pub mod returned;
pub mod words;

mod auth0;
mod azure;
mod curity;
mod generic;
mod http;
mod okta;
mod wso2;

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::{Provider, call::Unavailable};
use crate::model::{
    credential::{ClientId, Secret},
    time::Timestamp,
};
use asking::Asking;

/// How an IdP takes registrations: `identity_providers[].registration`, or a DCR provider of the
/// registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is spoken.
    pub dialect: Dialect,
    /// Who the gateway is there.
    pub access: Access,
    /// Where registrations go, if not where metadata or vendor say: the registration endpoint of
    /// RFC 7591, the base of a management API, or of a bridge.
    pub endpoint: Option<Url>,
    /// Further client metadata sent at registration, as it stands (RFC 7591 section 2).
    pub client_metadata: Map<String, Value>,
    /// The longest that one operation may take, waiting for a throttled or replicating IdP
    /// included. Default 60 s.
    pub deadline: Duration,
    /// Of a bridge: tell it of registrations and changes (`POST /{id}/event-hook`). Default true.
    pub event_hooks: bool,
    /// Of a bridge: it can make new secrets (`POST /{id}/new-secret`). Default true.
    pub refresh_secret: bool,
}

/// What an IdP speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Auth0's Management API.
    Auth0,
    /// Microsoft Graph, for Entra.
    Azure,
    /// RFC 7591 and 7592 as Curity does them: initial access tokens are good once, and reading
    /// rotates the secret.
    Curity,
    /// RFC 7591 and 7592.
    Generic,
    /// Konnect's HTTP DCR bridge.
    Http,
    /// Okta's `/oauth2/v1/clients`.
    Okta,
    /// WSO2's DCR v1.1.
    Wso2,
}

impl Dialect {
    /// Whether the IdP's metadata names the endpoint (`registration_endpoint`).
    pub const fn is_discovered(self) -> bool {
        matches!(self, Self::Curity | Self::Generic | Self::Wso2)
    }
}

/// Who the gateway is at the IdP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A key in a field of its own (`X-API-KEY` of a bridge; `SSWS` of Okta).
    ApiKey(Secret),
    /// A token that is good for many registrations (RFC 7591 section 3).
    InitialAccessToken(Secret),
    /// A client that gets a token for each registration by client credentials, or at WSO2 an
    /// administrator's name and password for Basic.
    InitialClient {
        /// Its id.
        id: ClientId,
        /// Its secret.
        secret: Secret,
        /// What it asks for; by default what the vendor documents (`dcr` at Curity).
        scope: Option<String>,
        /// The audience that it asks for; by default the vendor's (Auth0: `/api/v2/` of the
        /// tenant).
        audience: Option<String>,
    },
    /// Nobody: the endpoint is open.
    Open,
}

/// A client to be made, or what it is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The application's id, by which an orphan is known again; in the client's name or metadata,
    /// where the dialect has a place for it.
    pub application: Uuid,
    /// The application's name as its developer wrote it.
    pub name: String,
    /// What it is for, perhaps empty.
    pub description: String,
    /// Its developer's id, often an e-mail address.
    pub developer: String,
    /// The strategy under which it will be known; told to bridges and kept in Auth0's metadata.
    pub strategy: String,
    /// Scopes that it may ask for. Empty: the IdP's default.
    pub scopes: Vec<String>,
    /// The API's identifier, where the IdP grants per API (Auth0's client grant).
    pub audience: Option<String>,
    /// Needed by few, used by none: a client of this gateway has no redirect.
    pub redirect_uris: Vec<String>,
}

/// A client that was made.
#[derive(Debug)]
pub struct Registered {
    /// Its id.
    pub client_id: ClientId,
    /// Its first secret.
    pub issued: Issued,
    /// For later calls.
    pub management: Management,
    /// The scopes that the IdP gave it, where it tells (RFC 7591 section 3.2.1).
    pub scopes: Option<Vec<String>>,
}

/// A secret, shown once.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The IdP's id of it, where a client may have several (Entra's `keyId`, Okta's `ocs…`).
    pub id: Option<String>,
    /// The secret.
    pub secret: Secret,
    /// When it ends; `None`: never (RFC 7591 section 3.2.1).
    pub expires_at: Option<Timestamp>,
}

/// What a rotation changed.
#[derive(Debug)]
pub struct Rotated {
    /// The client's id now: another one where the IdP has no rotation and a new client took the
    /// old one's place.
    pub client_id: ClientId,
    /// The new secret. Older ones are good no more, or end within the vendor's own overlap.
    pub issued: Issued,
    /// For later calls.
    pub management: Management,
}

/// What the IdP tells of a client.
#[derive(Debug)]
pub struct Told {
    /// Its metadata without any secret or token.
    pub metadata: Map<String, Value>,
    /// For later calls, where it was replaced.
    pub management: Option<Management>,
    /// Another secret, where the IdP gave one unasked: the old one is good no more.
    pub issued: Option<Issued>,
}

/// One of a client's secrets, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The IdP's id of it.
    pub id: String,
    /// What the IdP shows of it, perhaps its first letters.
    pub hint: Option<String>,
    /// When it was made, where told.
    pub created_at: Option<Timestamp>,
    /// When it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What a registrar must be told again to manage a client: RFC 7592's token and URI, or the ids of
/// a vendor's objects. A text that only the dialect reads; `Debug` hides it, since it may hold a
/// token, and it is kept sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management(pub Secret);

/// What became of a client whose making was interrupted.
#[derive(Debug)]
pub enum Trace {
    /// The dialect cannot look for it.
    Unknowable,
    /// There is none.
    Nothing,
    /// There are these, whole or not.
    Found(Vec<(ClientId, Management)>),
}

/// How a client gets another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The client keeps its id.
    InPlace,
    /// There is none at this IdP: a new client takes the old one's place, with another id.
    Replacement,
    /// Not even that (a bridge that may not).
    Never,
}

/// A registration that did not work. Each says what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dialect has no such operation.
    #[error("{0} is not possible at this identity provider")]
    Impossible(&'static str),
    /// There is no such client (any more).
    #[error("the identity provider does not know the client (any more)")]
    Gone,
    /// The IdP refuses the gateway: its initial token, client or key.
    #[error("the identity provider refuses the gateway's own access: {0}")]
    Access(String),
    /// The IdP refuses the request, and would again.
    #[error("the identity provider refuses: {0}")]
    Refused(String),
    /// What came back cannot be used: it is told, and the client was removed again.
    #[error("the identity provider made a client that cannot be used: {0}")]
    Unusable(String),
    /// The IdP gave no answer within the deadline.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The same, and nothing was asked that could have changed anything.
    #[error(transparent)]
    Untouched(Unavailable),
    /// A client was made, could not be finished, and could not be removed again: the caller has to
    /// remember it.
    #[error("{cause}; the half-made client {client_id} could not be removed")]
    LeftBehind {
        /// The client that is left.
        client_id: ClientId,
        /// With which it can be removed later.
        management: Management,
        /// What went wrong first.
        cause: Box<Self>,
    },
}

/// Registers and manages clients at one IdP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registrar(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    provider: Provider,
    /// The management token that was got last, where it is good more than once.
    token: tokio::sync::Mutex<Option<asking::Kept>>,
    others: Others,
}

/// Whether a client belongs to somebody already: one that an IdP's answer names then is neither
/// taken over nor deleted.
#[derive(Clone)]
struct Others(Arc<dyn Fn(&ClientId) -> bool + Send + Sync>);

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Others")
    }
}

impl Registrar {
    /// Speaks for this provider: its metadata, its HTTP client and its vendor's ways.
    pub fn new(provider: Provider, config: Config) -> Self {
        Self::sparing(provider, config, |_| false)
    }

    /// The same, which leaves clients alone that `belong` to somebody already, whatever the IdP
    /// answers: a mistaken or malicious one could name any.
    pub fn sparing(
        provider: Provider,
        config: Config,
        belong: impl Fn(&ClientId) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            provider,
            token: tokio::sync::Mutex::default(),
            others: Others(Arc::new(belong)),
        }))
    }

    /// Refuses an answer that names somebody else's client.
    fn own(&self, client_id: &ClientId) -> Result<(), Error> {
        match (self.0.others.0)(client_id) {
            true => Err(returned::of_somebody_else()),
            false => Ok(()),
        }
    }

    /// How it is set up.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The provider for which it speaks.
    pub fn provider(&self) -> &Provider {
        &self.0.provider
    }

    /// How a client gets another secret.
    pub fn rotation(&self) -> Rotation {
        match self.0.config.dialect {
            Dialect::Generic => Rotation::Replacement,
            Dialect::Wso2 => wso2::rotation(&self.0.config),
            Dialect::Http if !self.0.config.refresh_secret => Rotation::Never,
            Dialect::Auth0 | Dialect::Azure | Dialect::Curity | Dialect::Http | Dialect::Okta => {
                Rotation::InPlace
            }
        }
    }

    /// Whether a client may have several secrets at once.
    pub fn has_several_secrets(&self) -> bool {
        match self.0.config.dialect {
            Dialect::Azure | Dialect::Okta => true,
            // A bridge may keep several, but its interface has no call for one more.
            Dialect::Auth0 | Dialect::Curity | Dialect::Generic | Dialect::Http | Dialect::Wso2 => {
                false
            }
        }
    }

    /// Whether each client is managed with a token of its own, which a call may replace (RFC 7592
    /// section 3): whoever misses the answer cannot manage the client with what it has.
    pub fn has_tokens_of_clients(&self) -> bool {
        matches!(self.0.config.dialect, Dialect::Curity | Dialect::Generic)
    }

    /// Makes a client, whole or not at all: a step that fails undoes those before it.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::LeftBehind`] where not even undoing worked.
    /// [`Error::Unavailable`] leaves open whether a client was made: see [`Registrar::trace`].
    pub async fn create(&self, request: &Request) -> Result<Registered, Error> {
        let asking = Asking::begin(&self.0);
        let done = match self.0.config.dialect {
            Dialect::Auth0 => auth0::create(&asking, request).await,
            Dialect::Azure => azure::create(&asking, request).await,
            Dialect::Curity => curity::create(&asking, request).await,
            Dialect::Generic => generic::create(&asking, request).await,
            Dialect::Http => http::create(&asking, request).await,
            Dialect::Okta => okta::create(&asking, request).await,
            Dialect::Wso2 => wso2::create(&asking, request).await,
        };
        let registered = done.map_err(|error| asking.settled(error))?;
        self.own(&registered.client_id)?;
        Ok(registered)
    }

    /// Looks for what an interrupted [`Registrar::create`] for this application left. Reads
    /// nothing that changes by being read.
    ///
    /// # Errors
    /// The IdP cannot be asked.
    pub async fn trace(&self, request: &Request) -> Result<Trace, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Auth0 => auth0::trace(&asking, request).await,
            Dialect::Azure => azure::trace(&asking, request).await,
            Dialect::Okta => okta::trace(&asking, request).await,
            Dialect::Wso2 => wso2::trace(&asking, request).await,
            Dialect::Curity | Dialect::Generic | Dialect::Http => Ok(Trace::Unknowable),
        }
    }

    /// Asks for a client's metadata; [`Error::Impossible`] where that would change its secret.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read(&self, client_id: &ClientId, management: &Management) -> Result<Told, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Auth0 => auth0::read(&asking, client_id, management).await,
            Dialect::Azure => azure::read(&asking, client_id, management).await,
            Dialect::Generic => generic::read(&asking, client_id, management).await,
            Dialect::Okta => okta::read(&asking, client_id, management).await,
            Dialect::Wso2 => wso2::read(&asking, client_id, management).await,
            Dialect::Curity | Dialect::Http => Err(Error::Impossible(
                "reading a client without changing its secret",
            )),
        }
    }

    /// Tells the IdP a new name, description or set of scopes, the secret untouched;
    /// [`Error::Impossible`] where that would change it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn update(
        &self,
        client_id: &ClientId,
        management: &Management,
        request: &Request,
    ) -> Result<Told, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Auth0 => auth0::update(&asking, client_id, management, request).await,
            Dialect::Azure => azure::update(&asking, client_id, management, request).await,
            Dialect::Generic => generic::update(&asking, client_id, management, request).await,
            Dialect::Http => http::update(&asking, client_id, management, request).await,
            Dialect::Okta => okta::update(&asking, client_id, management, request).await,
            Dialect::Wso2 => wso2::update(&asking, client_id, management, request).await,
            Dialect::Curity => Err(Error::Impossible(
                "changing a client without changing its secret",
            )),
        }
    }

    /// Gives the client a new secret in place of all others.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Unavailable`] the old secret may be gone.
    pub async fn rotate(
        &self,
        client_id: &ClientId,
        management: &Management,
        request: &Request,
    ) -> Result<Rotated, Error> {
        let asking = Asking::begin(&self.0);
        let done = match self.0.config.dialect {
            Dialect::Auth0 => auth0::rotate(&asking, client_id, management, request).await,
            Dialect::Azure => azure::rotate(&asking, client_id, management, request).await,
            Dialect::Curity => curity::rotate(&asking, client_id, management, request).await,
            Dialect::Generic => generic::rotate(&asking, client_id, management, request).await,
            Dialect::Http => http::rotate(&asking, client_id, management, request).await,
            Dialect::Okta => okta::rotate(&asking, client_id, management, request).await,
            Dialect::Wso2 => wso2::rotate(&asking, client_id, management, request).await,
        };
        let rotated = done.map_err(|error| asking.settled(error))?;
        if rotated.client_id != *client_id {
            self.own(&rotated.client_id)?;
        }
        Ok(rotated)
    }

    /// Gives the client one more secret.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn add_secret(
        &self,
        client_id: &ClientId,
        management: &Management,
    ) -> Result<(Issued, Management), Error> {
        let asking = Asking::begin(&self.0);
        let done = match self.0.config.dialect {
            Dialect::Azure => azure::add_secret(&asking, client_id, management).await,
            Dialect::Http => http::add_secret(&asking, client_id, management).await,
            Dialect::Okta => okta::add_secret(&asking, client_id, management).await,
            Dialect::Auth0 | Dialect::Curity | Dialect::Generic | Dialect::Wso2 => {
                Err(Error::Impossible("a second secret"))
            }
        };
        done.map_err(|error| asking.settled(error))
    }

    /// The client's secrets, as the IdP lists them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secrets(
        &self,
        client_id: &ClientId,
        management: &Management,
    ) -> Result<Vec<Known>, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Azure => azure::secrets(&asking, client_id, management).await,
            Dialect::Okta => okta::secrets(&asking, client_id, management).await,
            Dialect::Auth0 | Dialect::Curity | Dialect::Generic | Dialect::Http | Dialect::Wso2 => {
                Err(Error::Impossible("listing secrets"))
            }
        }
    }

    /// Removes one of several secrets.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] for the last one.
    pub async fn remove_secret(
        &self,
        client_id: &ClientId,
        management: &Management,
        id: &str,
    ) -> Result<Management, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Azure => azure::remove_secret(&asking, client_id, management, id).await,
            Dialect::Okta => okta::remove_secret(&asking, client_id, management, id).await,
            Dialect::Auth0 | Dialect::Curity | Dialect::Generic | Dialect::Http | Dialect::Wso2 => {
                Err(Error::Impossible("removing one of several secrets"))
            }
        }
    }

    /// Deletes the client. One that is gone already is no error (RFC 7592 section 2.3).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, client_id: &ClientId, management: &Management) -> Result<(), Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Auth0 => auth0::delete(&asking, client_id, management).await,
            Dialect::Azure => azure::delete(&asking, client_id, management).await,
            Dialect::Curity => curity::delete(&asking, client_id, management).await,
            Dialect::Generic => generic::delete(&asking, client_id, management).await,
            Dialect::Http => http::delete(&asking, client_id, management).await,
            Dialect::Okta => okta::delete(&asking, client_id, management).await,
            Dialect::Wso2 => wso2::delete(&asking, client_id, management).await,
        }
    }

    /// What management an existing client needs, so that it can be adopted.
    ///
    /// # Errors
    /// [`Error::Gone`] where there is no such client, [`Error::Impossible`] where the dialect knows
    /// no way to one that it has not made (RFC 7592 without a registration access token): it can
    /// be adopted unmanaged.
    pub async fn adopt(&self, client_id: &ClientId) -> Result<Management, Error> {
        let asking = Asking::begin(&self.0);
        match self.0.config.dialect {
            Dialect::Auth0 => auth0::adopt(&asking, client_id).await,
            Dialect::Azure => azure::adopt(&asking, client_id).await,
            Dialect::Curity => curity::adopt(&asking, client_id).await,
            Dialect::Generic => generic::adopt(&asking, client_id).await,
            Dialect::Http => http::adopt(&asking, client_id).await,
            Dialect::Okta => okta::adopt(&asking, client_id).await,
            Dialect::Wso2 => wso2::adopt(&asking, client_id).await,
        }
    }

    /// Tells a bridge that an application may or may no longer call an API; silent elsewhere.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registration_changed(
        &self,
        client_id: &ClientId,
        management: &Management,
        request: &Request,
        api: &str,
        change: Change,
    ) -> Result<(), Error> {
        if self.0.config.dialect != Dialect::Http || !self.0.config.event_hooks {
            return Ok(());
        }
        let asking = Asking::begin(&self.0);
        http::registration_changed(&asking, client_id, management, request, api, change).await
    }
}

/// Deletes a client that was just made.
async fn remove(
    asking: Asking<'_>,
    client_id: ClientId,
    management: Management,
) -> Result<(), Error> {
    match asking.config().dialect {
        Dialect::Curity => curity::delete(&asking, &client_id, &management).await,
        _ => generic::delete(&asking, &client_id, &management).await,
    }
}

/// What became of an application's right to call an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may.
    Added,
    /// It may no longer.
    Removed,
}
