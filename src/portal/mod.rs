//! The portal: which applications there are, where they are registered, and what they may call.
//!
//! [`Portal`] is what operators and developers can do, whatever the protocol in front of
//! it. It keeps the registry and the IdPs in step, and has every change in the directory before it
//! answers.

pub mod accounts;
pub mod api;
mod applications;
mod credentials;
pub mod konnect;
mod lifecycle;
pub mod live;
pub mod pages;
mod providers;
pub mod record;
mod registrations;
pub mod registry;
mod strategies;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    clock,
    directory::Directory,
    idp::registration::{self, Issued, Registrar},
    model::{application::Status, credential::ClientId},
    telemetry::metrics::Metrics,
};
use lifecycle::AtWork;
use live::{Live, Surroundings};
use record::{Actor, Answered, Api};
use registry::{Change, Registry};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing; which kind.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It cannot be done as things stand; a stable code, and why.
    #[error("{detail}")]
    Conflict {
        /// For programs: `name_taken`, `provider_in_use`, `strategy_in_use`, `client_taken`,
        /// `already_registered`, `several_credentials`, `operation_in_progress`, `read_only`, …
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// Values that cannot be used.
    #[error("{} of the request cannot be used", .0.len())]
    Invalid(Vec<Fault>),
    /// Who asks may not; a stable code, and why.
    #[error("{detail}")]
    Forbidden {
        /// For programs: `registration_closed`, `too_many_applications`.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// The invitation can no longer be used.
    #[error("the invitation is over")]
    InvitationOver,
    /// More passwords are to be checked than there is room for.
    #[error("too much is asked at once")]
    Overloaded,
    /// Too many were tried; how long to wait.
    #[error("too many attempts")]
    TooManyAttempts(std::time::Duration),
    /// Not the admin token.
    #[error("wrong admin token")]
    WrongToken,
    /// Password and account do not go together, or there is no open account.
    #[error("wrong e-mail address or password")]
    WrongPassword,
    /// The thing has changed since it was read (`If-Match`).
    #[error("it has changed since it was read")]
    Changed,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// It is begun and holds from now on; what is left at the IdP is done as soon as that answers.
    #[error(
        "the application is refused from now on; its client is deleted as soon as the identity provider answers"
    )]
    Unfinished,
    /// Applications come from a file.
    #[error("applications come from a file: edit that")]
    ReadOnly,
    /// The registry does not answer; nothing was changed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The IdP did not do it.
    #[error(transparent)]
    Idp(#[from] registration::Error),
}

/// One value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the body: `dcr_config.initial_client_id`.
    pub field: String,
    /// Which rule: `required`, `enum`, `max_length`, `unknown_property`, `type`, …
    pub rule: &'static str,
    /// For people: what was expected.
    pub reason: String,
}

impl Fault {
    /// A fault of a field.
    pub fn new(field: impl Into<String>, rule: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule,
            reason: reason.into(),
        }
    }
}

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// The request's id, for audit and log.
    pub request_id: String,
    /// `Idempotency-Key` and a digest of the request, where there is one.
    pub idempotency: Option<Idempotency>,
    /// The revision of `If-Match`, where there is one.
    pub expected: Option<i64>,
}

/// A request that may come twice.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The key, scoped to who sent it.
    pub key: String,
    /// Digest of method, path and body.
    pub digest: String,
}

/// What a creation gave.
#[derive(Debug)]
pub struct Created<T> {
    /// What was made.
    pub value: T,
    /// Its secret, where it has one: shown once, so absent when `repeated`.
    pub issued: Option<Issued>,
    /// Whether the request was answered before, under the same idempotency key.
    pub repeated: bool,
}

/// A DCR provider to be.
#[derive(Clone, Debug)]
pub struct NewProvider {
    /// See [`record::Provider`].
    pub name: String,
    /// See [`record::Provider`].
    pub display_name: String,
    /// See [`record::Provider`].
    pub provider_type: String,
    /// See [`record::Provider`].
    pub issuer: String,
    /// `dcr_config` as given, secrets included.
    pub dcr_config: Map<String, Value>,
    /// See [`record::Provider`].
    pub labels: BTreeMap<String, String>,
}

/// What of a DCR provider is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProviderPatch {
    /// See [`record::Provider`].
    pub display_name: Option<String>,
    /// See [`record::Provider`].
    pub issuer: Option<String>,
    /// Members of `dcr_config`; those that are absent stay.
    pub dcr_config: Option<Map<String, Value>>,
    /// Marks to set; `None` as value removes one.
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// An auth strategy to be.
#[derive(Clone, Debug)]
pub struct NewStrategy {
    /// See [`record::Strategy`].
    pub name: String,
    /// See [`record::Strategy`].
    pub display_name: String,
    /// `configs.openid-connect` as given.
    pub settings: Map<String, Value>,
    /// See [`record::Strategy`].
    pub provider: Option<Uuid>,
    /// See [`record::Strategy`].
    pub labels: BTreeMap<String, String>,
}

/// What of a strategy is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct StrategyPatch {
    /// See [`record::Strategy`].
    pub display_name: Option<String>,
    /// Members of `configs.openid-connect`; those that are absent stay, null removes one.
    pub settings: Option<Map<String, Value>>,
    /// Whether `settings` takes the place of all there are (PUT).
    pub whole: bool,
    /// `Some(None)` removes the DCR provider.
    pub provider: Option<Option<Uuid>>,
    /// As [`ProviderPatch::labels`].
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// Where a new application's client comes from.
#[derive(Clone, Debug)]
pub enum Client {
    /// It exists at the strategy's DCR provider and is adopted (Konnect's `dcr_client_id`).
    Adopt(ClientId),
    /// It exists at the IdP; the strategy has no DCR provider.
    Given(ClientId),
    /// It is registered now.
    Register,
}

/// An application to be.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// See [`record::Application`].
    pub name: String,
    /// See [`record::Application`].
    pub description: String,
    /// The developer's name.
    pub developer: String,
    /// The strategy's id.
    pub strategy: Uuid,
    /// Where the client comes from.
    pub client: Client,
    /// Scopes to ask for; empty: the strategy's.
    pub scopes: Vec<String>,
    /// Sent to the IdP; used by none.
    pub redirect_uris: Vec<String>,
    /// See [`record::Application`].
    pub labels: BTreeMap<String, String>,
}

/// What of an application is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ApplicationPatch {
    /// See [`record::Application`].
    pub name: Option<String>,
    /// See [`record::Application`].
    pub description: Option<String>,
    /// See [`record::Application`].
    pub developer: Option<String>,
    /// See [`record::Application`].
    pub status: Option<Status>,
    /// As [`ProviderPatch::labels`].
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// What becomes of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may call the API.
    Approve,
    /// It waits again.
    Defer,
    /// It may not.
    Reject,
    /// It may no longer.
    Revoke,
}

/// An API as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiView {
    /// Its name in the configuration.
    pub name: String,
    /// `registered`, `application`, `client` or `public`.
    pub access: &'static str,
    /// Names of the strategies that it accepts by the file.
    pub file_strategies: Vec<String>,
    /// Where clients call it, as far as the configuration tells.
    pub url: Option<String>,
    /// What the registry says of it.
    pub kept: Api,
}

/// What `verify` found.
#[derive(Debug)]
pub struct Verified {
    /// Empty: a client was registered, got a token and was deleted. Else what is wrong, in words
    /// that an operator can act on, the first step that failed first.
    pub errors: Vec<String>,
}

/// What can be done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Portal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kept: Kept,
    metrics: Arc<Metrics>,
    /// Those that were asked for, each with its provider's revision: they remember tokens.
    registrars: Mutex<HashMap<Uuid, Registrar>>,
    at_work: AtWork,
    attempts: accounts::Attempts,
    passwords: accounts::Passwords,
}

/// Where applications are kept.
#[derive(Debug)]
enum Kept {
    /// In a file, which is read into the directory and never written.
    File {
        directory: Directory,
        surroundings: Arc<dyn Surroundings>,
    },
    /// In a registry.
    Registry(Live),
}

impl Portal {
    /// Over a registry.
    pub fn new(live: Live, metrics: Arc<Metrics>) -> Self {
        Self::of(Kept::Registry(live), metrics)
    }

    /// Over a file of applications: nothing can be changed.
    pub fn read_only(
        directory: Directory,
        surroundings: Arc<dyn Surroundings>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.registry_up.set(1);
        Self::of(
            Kept::File {
                directory,
                surroundings,
            },
            metrics,
        )
    }

    fn of(kept: Kept, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            kept,
            metrics,
            registrars: Mutex::default(),
            at_work: AtWork::default(),
            attempts: accounts::Attempts::default(),
            passwords: accounts::Passwords::default(),
        }))
    }

    /// The registry at work; `None`: applications come from a file.
    pub fn live(&self) -> Option<&Live> {
        match &self.0.kept {
            Kept::File { .. } => None,
            Kept::Registry(live) => Some(live),
        }
    }

    /// The registry, to be changed.
    fn registry(&self) -> Result<&Registry, Error> {
        self.live().map(Live::registry).ok_or(Error::ReadOnly)
    }

    /// What the data plane goes by.
    fn directory(&self) -> &Directory {
        match &self.0.kept {
            Kept::File { directory, .. } => directory,
            Kept::Registry(live) => live.directory(),
        }
    }

    fn surroundings(&self) -> &dyn Surroundings {
        match &self.0.kept {
            Kept::File { surroundings, .. } => &**surroundings,
            Kept::Registry(live) => live.surroundings(),
        }
    }

    /// Makes a transaction visible, and puts it to work here before anybody is answered.
    async fn commit(&self, change: Change) -> Result<(), Error> {
        let revision = change.commit().await?;
        match self.live() {
            Some(live) => Ok(live.reach(revision).await?),
            None => Ok(()),
        }
    }

    /// What was made under this idempotency key, if anything was.
    async fn repeated(&self, caller: &Caller, kind: &str) -> Result<Option<Uuid>, Error> {
        let Some(idempotency) = &caller.idempotency else {
            return Ok(None);
        };
        let Some(answered) = self.registry()?.answered(&idempotency.key).await? else {
            return Ok(None);
        };
        if answered.request != idempotency.digest || answered.subject_kind != kind {
            return Err(Error::KeyReused);
        }
        Ok(Some(answered.subject))
    }
}

impl Caller {
    /// Begins a transaction in the caller's name.
    async fn change(&self, registry: &Registry) -> Result<Change, Error> {
        Ok(registry.change(&self.actor, Some(&self.request_id)).await?)
    }

    /// Notes what was made under the caller's idempotency key.
    async fn answered(&self, change: &mut Change, kind: &str, id: Uuid) -> Result<(), Error> {
        let Some(idempotency) = &self.idempotency else {
            return Ok(());
        };
        let answered = Answered {
            request: idempotency.digest.clone(),
            subject_kind: kind.to_owned(),
            subject: id,
        };
        let noted = change.put_answered(&idempotency.key, &answered, clock::now());
        match noted.await {
            // Two came at once; the other one is not done yet.
            Err(registry::Error::Taken(_)) => Err(Error::Conflict {
                code: "operation_in_progress",
                detail: "a request with this idempotency key is under way".to_owned(),
            }),
            other => Ok(other?),
        }
    }

    /// Whether what is there is what the caller has read (`If-Match`).
    fn expects(&self, revision: i64) -> Result<(), Error> {
        match self.expected {
            Some(expected) if expected != revision => Err(Error::Changed),
            _ => Ok(()),
        }
    }
}

impl<T> Created<T> {
    fn now(value: T, issued: Option<Issued>) -> Self {
        Self {
            value,
            issued,
            repeated: false,
        }
    }

    fn before(value: T) -> Self {
        Self {
            value,
            issued: None,
            repeated: true,
        }
    }
}

/// Marks set and removed.
fn label(labels: &mut BTreeMap<String, String>, patch: Option<BTreeMap<String, Option<String>>>) {
    for (name, value) in patch.into_iter().flatten() {
        match value {
            Some(value) => {
                labels.insert(name, value);
            }
            None => {
                labels.remove(&name);
            }
        }
    }
}

/// The id of something that stands in the file.
fn file_id(kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}:{name}").as_bytes())
}
