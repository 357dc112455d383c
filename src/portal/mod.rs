//! The portal: which applications there are, where they are registered, and what they may call.
//!
//! [`Portal`] is what operators (and later developers) can do, whatever the protocol in front of
//! it. It keeps the registry and the IdPs in step, and has every change in the directory before it
//! answers.

pub mod lifecycle;
pub mod record;
pub mod registry;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    idp::registration::{self, Issued},
    model::{application::Status, credential::ClientId},
};
use record::{
    Actor, Api, Application, ApplicationFilter, Audit, AuditFilter, Credential, Developer, Listed,
    Page, Provider, Registration, RegistrationFilter, Strategy,
};

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
    /// The thing has changed since it was read (`If-Match`).
    #[error("it has changed since it was read")]
    Changed,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
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
    /// See [`Provider`].
    pub name: String,
    /// See [`Provider`].
    pub display_name: String,
    /// See [`Provider`].
    pub provider_type: String,
    /// See [`Provider`].
    pub issuer: String,
    /// `dcr_config` as given, secrets included.
    pub dcr_config: Map<String, Value>,
    /// See [`Provider`].
    pub labels: BTreeMap<String, String>,
}

/// What of a DCR provider is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProviderPatch {
    /// See [`Provider`].
    pub display_name: Option<String>,
    /// See [`Provider`].
    pub issuer: Option<String>,
    /// Members of `dcr_config`; those that are absent stay.
    pub dcr_config: Option<Map<String, Value>>,
    /// Marks to set; `None` as value removes one.
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// An auth strategy to be.
#[derive(Clone, Debug)]
pub struct NewStrategy {
    /// See [`Strategy`].
    pub name: String,
    /// See [`Strategy`].
    pub display_name: String,
    /// `configs.openid-connect` as given.
    pub settings: Map<String, Value>,
    /// See [`Strategy`].
    pub provider: Option<Uuid>,
    /// See [`Strategy`].
    pub labels: BTreeMap<String, String>,
}

/// What of a strategy is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct StrategyPatch {
    /// See [`Strategy`].
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
    /// See [`Application`].
    pub name: String,
    /// See [`Application`].
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
    /// See [`Application`].
    pub labels: BTreeMap<String, String>,
}

/// What of an application is to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ApplicationPatch {
    /// See [`Application`].
    pub name: Option<String>,
    /// See [`Application`].
    pub description: Option<String>,
    /// See [`Application`].
    pub developer: Option<String>,
    /// See [`Application`].
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
pub struct Portal;

/// Operations on DCR providers, those of the file included, which can only be read.
impl Portal {
    /// All of them, by name.
    pub async fn providers(&self) -> Result<Vec<Provider>, Error> {
        todo!()
    }
    /// One.
    pub async fn provider(&self, id: Uuid) -> Result<Provider, Error> {
        let _ = id;
        todo!()
    }
    /// Makes one.
    pub async fn create_provider(
        &self,
        caller: &Caller,
        new: NewProvider,
    ) -> Result<Created<Provider>, Error> {
        let _ = (caller, new);
        todo!()
    }
    /// Changes one.
    pub async fn patch_provider(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: ProviderPatch,
    ) -> Result<Provider, Error> {
        let _ = (caller, id, patch);
        todo!()
    }
    /// Deletes one that no strategy uses and at which no application is registered.
    pub async fn delete_provider(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let _ = (caller, id);
        todo!()
    }
    /// Registers a client, gets a token, deletes it.
    pub async fn verify_provider(&self, caller: &Caller, id: Uuid) -> Result<Verified, Error> {
        let _ = (caller, id);
        todo!()
    }
}

/// Operations on auth strategies, those of the file included, which can only be read.
impl Portal {
    /// All of them, by name.
    pub async fn strategies(&self) -> Result<Vec<Strategy>, Error> {
        todo!()
    }
    /// One.
    pub async fn strategy(&self, id: Uuid) -> Result<Strategy, Error> {
        let _ = id;
        todo!()
    }
    /// Makes one.
    pub async fn create_strategy(
        &self,
        caller: &Caller,
        new: NewStrategy,
    ) -> Result<Created<Strategy>, Error> {
        let _ = (caller, new);
        todo!()
    }
    /// Changes one.
    pub async fn patch_strategy(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: StrategyPatch,
    ) -> Result<Strategy, Error> {
        let _ = (caller, id, patch);
        todo!()
    }
    /// Deletes one that no API lists and no application uses.
    pub async fn delete_strategy(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let _ = (caller, id);
        todo!()
    }
    /// Whether its applications may have several secrets at once.
    pub async fn has_several_secrets(&self, strategy: &Strategy) -> Result<bool, Error> {
        let _ = strategy;
        todo!()
    }
}

/// Operations on applications and their credentials.
impl Portal {
    /// Some of them, the latest first.
    pub async fn applications(
        &self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        let _ = (filter, page);
        todo!()
    }
    /// One.
    pub async fn application(&self, id: Uuid) -> Result<Application, Error> {
        let _ = id;
        todo!()
    }
    /// Makes one, and its client where it is to be registered.
    pub async fn create_application(
        &self,
        caller: &Caller,
        new: NewApplication,
    ) -> Result<Created<Application>, Error> {
        let _ = (caller, new);
        todo!()
    }
    /// Changes one; a name is told to the IdP where that leaves the secret alone.
    pub async fn patch_application(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: ApplicationPatch,
    ) -> Result<Application, Error> {
        let _ = (caller, id, patch);
        todo!()
    }
    /// Ends one: the gateway serves it no more, then the client is deleted at the IdP.
    pub async fn delete_application(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let _ = (caller, id);
        todo!()
    }
    /// What is known of its secrets; of an IdP that lists them, as it tells now.
    pub async fn credentials(&self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let _ = application;
        todo!()
    }
    /// A new secret in place of all others.
    pub async fn rotate(
        &self,
        caller: &Caller,
        application: Uuid,
    ) -> Result<Created<Application>, Error> {
        let _ = (caller, application);
        todo!()
    }
    /// One more secret, where the IdP can.
    pub async fn add_credential(
        &self,
        caller: &Caller,
        application: Uuid,
        name: &str,
    ) -> Result<Created<Credential>, Error> {
        let _ = (caller, application, name);
        todo!()
    }
    /// Ends one of several.
    pub async fn delete_credential(
        &self,
        caller: &Caller,
        application: Uuid,
        id: Uuid,
    ) -> Result<(), Error> {
        let _ = (caller, application, id);
        todo!()
    }
    /// Who has applications, by name.
    pub async fn developers(&self, page: Page) -> Result<Listed<Developer>, Error> {
        let _ = page;
        todo!()
    }
}

/// Operations on registrations, APIs and the audit trail.
impl Portal {
    /// Some of them, the latest first.
    pub async fn registrations(
        &self,
        filter: &RegistrationFilter,
        page: Page,
    ) -> Result<Listed<Registration>, Error> {
        let _ = (filter, page);
        todo!()
    }
    /// One.
    pub async fn registration(&self, id: Uuid) -> Result<Registration, Error> {
        let _ = id;
        todo!()
    }
    /// Asks for the right to call an API; approved at once where `approved`, or where the API says so.
    pub async fn register(
        &self,
        caller: &Caller,
        application: Uuid,
        api: &str,
        verdict: Option<Verdict>,
    ) -> Result<Created<Registration>, Error> {
        let _ = (caller, application, api, verdict);
        todo!()
    }
    /// Decides on one.
    pub async fn decide(
        &self,
        caller: &Caller,
        id: Uuid,
        verdict: Verdict,
    ) -> Result<Registration, Error> {
        let _ = (caller, id, verdict);
        todo!()
    }
    /// Removes one.
    pub async fn unregister(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let _ = (caller, id);
        todo!()
    }
    /// Every API of the configuration.
    pub async fn apis(&self) -> Result<Vec<ApiView>, Error> {
        todo!()
    }
    /// One, by name.
    pub async fn api(&self, name: &str) -> Result<ApiView, Error> {
        let _ = name;
        todo!()
    }
    /// Says whether its registrations are approved at once, and which further strategies it accepts.
    pub async fn patch_api(
        &self,
        caller: &Caller,
        name: &str,
        auto_approve: Option<bool>,
        strategies: Option<Vec<String>>,
    ) -> Result<ApiView, Error> {
        let _ = (caller, name, auto_approve, strategies);
        todo!()
    }
    /// What was done, the latest first.
    pub async fn audit(&self, filter: &AuditFilter, page: Page) -> Result<Listed<Audit>, Error> {
        let _ = (filter, page);
        todo!()
    }
}
