//! What the registry holds, as values. None of them holds a client's secret.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    idp::registration::Management,
    model::{
        application::{Registration as State, Status},
        credential::{ClientId, Secret},
        time::Timestamp,
    },
};

/// Where a provider or strategy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration file: read only here.
    File,
    /// In the registry.
    Registry,
}

/// A DCR provider: an IdP at which applications are registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Stable id.
    pub id: Uuid,
    /// Unique among providers of the registry and identity providers of the file; never changes.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// Konnect's word for what it speaks (`auth0`, `azureAd`, `curity`, `okta`, `http`) or ours
    /// (`generic`, `wso2`); never changes.
    pub provider_type: String,
    /// The issuer's URL.
    pub issuer: String,
    /// What of `dcr_config` may be shown.
    pub settings: Map<String, Value>,
    /// What may not, by its name in `dcr_config`. Sealed in the database.
    pub secrets: BTreeMap<String, Secret>,
    /// The operator's own marks.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub source: Source,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// The registry's revision at the last change; for `ETag`.
    pub revision: i64,
}

/// An application auth strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Stable id.
    pub id: Uuid,
    /// Unique among strategies of the registry and of the file; never changes.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// `configs.openid-connect` as it was given.
    pub settings: Map<String, Value>,
    /// The DCR provider; `None`: applications bring clients that were made elsewhere.
    pub provider: Option<Uuid>,
    /// The operator's own marks.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub source: Source,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// As [`Provider::revision`].
    pub revision: i64,
}

/// Who builds applications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Developer {
    /// Stable id.
    pub id: Uuid,
    /// What identifies the developer to people and upstreams, often an e-mail address; unique.
    pub name: String,
    /// When the first application came, or the account.
    pub created_at: Timestamp,
    /// How they sign in; `None`: they do not, an operator named them with an application.
    pub account: Option<Account>,
}

/// A developer who may sign in. The name is an e-mail address then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// For people.
    pub full_name: String,
    /// Whether it is open.
    pub status: AccountStatus,
    /// Whether there is a password.
    pub has_password: bool,
    /// Who they are at the operator's own identity provider, once they came from there.
    pub identity: Option<Identity>,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// As [`Provider::revision`].
    pub revision: i64,
}

/// Whether an account is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountStatus {
    /// Its developer may sign in.
    Approved,
    /// It waits for the operator.
    Pending,
    /// The operator said no.
    Rejected,
    /// It was open, and is no longer.
    Revoked,
}

/// Somebody as an identity provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `iss`.
    pub issuer: String,
    /// `sub`: never given to somebody else.
    pub subject: String,
}

/// A developer's session in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeveloperSession {
    /// The developer's id.
    pub developer: Uuid,
    /// It ends then unless it is used before.
    pub idle_until: Timestamp,
    /// It ends then at the latest.
    pub until: Timestamp,
}

/// An operator's session in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSession {
    /// Says with which admin token it began.
    pub mark: String,
    /// It ends then unless it is used before.
    pub idle_until: Timestamp,
    /// It ends then at the latest.
    pub until: Timestamp,
}

/// Where an application's client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It existed at the IdP and was taken over.
    Adopted,
    /// It came with an import, or its strategy has no DCR provider.
    Given,
    /// It was registered here.
    Registered,
}

/// How far an application's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its client is being made: not in the directory.
    Creating,
    /// Its client is being deleted: no longer in the directory.
    Deleting,
    /// In the directory.
    Ready,
}

/// A portal developer's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Stable id.
    pub id: Uuid,
    /// The name its developer gave it.
    pub name: String,
    /// What it is for, perhaps empty.
    pub description: String,
    /// The name of its [`Developer`].
    pub developer: String,
    /// The name of its strategy; never changes.
    pub strategy: String,
    /// Its client; `None` only while [`Life::Creating`]. Unique within a strategy.
    pub client_id: Option<ClientId>,
    /// Where the client comes from.
    pub origin: Origin,
    /// The name of the DCR provider that manages the client; `None`: nobody does.
    pub provider: Option<String>,
    /// For managing the client. Sealed in the database.
    pub management: Option<Management>,
    /// How far its life has come.
    pub life: Life,
    /// Active or suspended.
    pub status: Status,
    /// Scopes asked for, or granted where the IdP told.
    pub scopes: Vec<String>,
    /// The operator's or developer's own marks.
    pub labels: BTreeMap<String, String>,
    /// Credentials, cookies and tokens made before this are refused.
    pub credentials_valid_from: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// As [`Provider::revision`]; changes of its registrations count.
    pub revision: i64,
}

/// That a client has a secret. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Stable id.
    pub id: Uuid,
    /// The application's id.
    pub application: Uuid,
    /// The IdP's id of the secret, where a client may have several.
    pub at_idp: Option<String>,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the IdP ends it; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// An application's right to call one API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Stable id.
    pub id: Uuid,
    /// The application's id.
    pub application: Uuid,
    /// The API's name. One registration for each application and API.
    pub api: String,
    /// How far it has come.
    pub state: State,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// As [`Provider::revision`].
    pub revision: i64,
}

/// What the operator says of an API beside the configuration file. An API without one has the
/// defaults: no automatic approval, no further strategies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The API's name in the configuration.
    pub name: String,
    /// Whether registrations are approved at once.
    pub auto_approve: bool,
    /// Names of strategies that it accepts beside those of the file, after them.
    pub strategies: Vec<String>,
    /// As [`Provider::revision`].
    pub revision: i64,
}

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The command line, by the name of its command.
    Command(&'static str),
    /// A developer, by name.
    Developer(String),
    /// The gateway itself, finishing what was interrupted.
    Gateway,
    /// Whoever holds the admin token.
    Operator,
}

/// One line of the audit trail. Never holds a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Rises with time.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: `operator`, `developer NAME`, `gateway`, `command NAME`.
    pub actor: String,
    /// The request's id, where there was one.
    pub request_id: Option<String>,
    /// What was done: `application.create`, `credential.rotate`, `registration.approve`, …
    pub action: String,
    /// To what: `application`, `dcr_provider`, …
    pub subject_kind: String,
    /// The subject's id, or name where it has none.
    pub subject: String,
    /// How it was before; `None`: it was not there, or nothing of it changed.
    pub before: Option<Value>,
    /// How it is now.
    pub after: Option<Value>,
}

/// What is about to be done at an IdP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more secret.
    AddSecret,
    /// A new client.
    Create,
    /// The client's end.
    Delete,
    /// One secret's end.
    RemoveSecret,
    /// A new secret in place of the old.
    Rotate,
    /// New metadata.
    Update,
}

/// Written before an IdP is asked to change something, and taken away in the transaction that
/// keeps the outcome. One at a time for each application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its own id.
    pub id: Uuid,
    /// The application.
    pub application: Uuid,
    /// What is about to be done.
    pub step: Step,
    /// The process that does it ([`super::registry::Registry::process`]).
    pub process: Uuid,
    /// What finishing or undoing it needs, sealed in the database.
    pub data: Option<Secret>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The first answer to a request that carried an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Digest of the request; another one under the same key is a mistake.
    pub request: String,
    /// What kind of thing was made: `application`, `dcr_provider`, …
    pub subject_kind: String,
    /// Its id.
    pub subject: Uuid,
}

/// Sessions that ended before their time, as the registry keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedSession {
    /// Every session of a client that began before this.
    AllBefore {
        /// The strategy's name.
        strategy: String,
        /// The client.
        client_id: ClientId,
        /// When.
        time: Timestamp,
    },
    /// One session.
    Single {
        /// The session's id.
        id: [u8; 16],
        /// The strategy's name.
        strategy: String,
        /// The client.
        client_id: ClientId,
        /// How long it would have lived: forgotten then.
        until: Timestamp,
    },
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u64,
    /// Items on a page, 1 to 100.
    pub size: u64,
}

impl Page {
    /// This page of a whole list.
    pub fn of<T>(self, items: Vec<T>) -> Listed<T> {
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let total = items.len();
        let skipped = place(self.number.saturating_sub(1).saturating_mul(self.size));
        let items = items.into_iter().skip(skipped).take(place(self.size));
        Listed {
            items: items.collect(),
            total: u64::try_from(total).unwrap_or(u64::MAX),
        }
    }
}

/// A page of a list, and how long the whole is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The page.
    pub items: Vec<T>,
    /// Items in all.
    pub total: u64,
}

/// Which applications are asked for. Every field narrows; empty asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationFilter {
    /// The name, exactly.
    pub name: Option<String>,
    /// Part of the name, without case.
    pub name_contains: Option<String>,
    /// The developer's e-mail address in lower case, whatever the case of its letters.
    pub owner: Option<String>,
    /// The developer's name, exactly.
    pub developer: Option<String>,
    /// The strategy's name, exactly.
    pub strategy: Option<String>,
    /// The client id, exactly.
    pub client_id: Option<String>,
    /// The status.
    pub status: Option<Status>,
    /// How far its life has come.
    pub life: Option<Life>,
}

impl ApplicationFilter {
    /// Whether an application is asked for.
    pub fn fits(&self, application: &Application) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        let client_id = application.client_id.as_ref();
        let part = self.name_contains.as_ref().map(|part| part.to_lowercase());
        let owner = self.owner.as_ref();
        part.is_none_or(|part| application.name.to_lowercase().contains(&part))
            && owner.is_none_or(|owner| owner.eq_ignore_ascii_case(&application.developer))
            && is(&self.name, &application.name)
            && is(&self.developer, &application.developer)
            && is(&self.strategy, &application.strategy)
            && is(&self.client_id, client_id.map_or("", ClientId::as_str))
            && self
                .status
                .is_none_or(|status| status == application.status)
            && self.life.is_none_or(|life| life == application.life)
    }
}

/// Which developers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeveloperFilter {
    /// The name, exactly: an account's is its e-mail address in lower case.
    pub name: Option<String>,
    /// The status; those without an account have none.
    pub status: Option<AccountStatus>,
}

/// Which registrations are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationFilter {
    /// The application's id.
    pub application: Option<Uuid>,
    /// The e-mail address in lower case of the application's developer, whatever the case of its
    /// letters.
    pub owner: Option<String>,
    /// The API's name.
    pub api: Option<String>,
    /// The state.
    pub state: Option<State>,
}

/// Which lines of the audit trail are asked for; the latest come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The action, exactly.
    pub action: Option<String>,
    /// The actor, exactly.
    pub actor: Option<String>,
    /// The subject's id.
    pub subject: Option<String>,
}
