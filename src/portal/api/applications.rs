//! `/v2/applications`: the programs of developers, each with its client at an identity provider.

use std::collections::HashMap;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    body::{Body, Form},
    path::Id,
    problem::Problem,
    query::{Asked, By, Filter, Meta},
    request::Asking,
    shape::{DcrProviderReference, Labels, LabelsPatch, Line, Note, Scope, Time},
};
use crate::{
    model::{application::Status, credential::ClientId},
    portal::{
        ApplicationPatch, Caller, Client, Created, NewApplication, Portal,
        record::{
            self, Application, ApplicationFilter, Life, Provider, RegistrationFilter, Strategy,
        },
    },
};

pub(super) const TAG: &str = "Applications";

/// An application: a developer's program, and its client at the identity provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Application, example = json!({
    "id": "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7",
    "name": "Trip Planner",
    "description": "Plans trips",
    "owner": {"type": "developer", "id": "dana@example.com"},
    "auth_strategy": {
        "id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
        "name": "partners",
        "display_name": "Partners",
        "credential_type": "client_credentials",
        "auth_methods": ["client_credentials", "bearer"],
        "available_scopes": ["openid"],
    },
    "client_id": "abc123",
    "granted_scopes": ["openid"],
    "dcr_provider": {
        "id": "6d0a6c0e-6f4e-4a53-a2fd-2a7e3a7c3b4f",
        "name": "auth0",
        "display_name": "Auth0, production",
        "provider_type": "auth0",
    },
    "registration_count": 1,
    "status": "active",
    "life": "ready",
    "labels": {},
    "credentials_valid_from": "1970-01-01T00:00:00.000Z",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// The name its developer gave it.
    name: String,
    /// What it is for, perhaps empty.
    description: String,
    owner: Owner,
    auth_strategy: StrategyReference,
    /// Its client; null only while that is being made.
    client_id: Option<String>,
    /// Scopes that were asked for, or granted where the identity provider tells; null where its
    /// client is managed elsewhere.
    granted_scopes: Option<Vec<String>>,
    /// The DCR provider that manages the client; null: nobody does.
    dcr_provider: Option<DcrProviderReference>,
    /// How many APIs it has asked for.
    #[schema(minimum = 0)]
    registration_count: u64,
    status: StatusWord,
    life: LifeWord,
    labels: Labels,
    /// Credentials, cookies and tokens made before this are refused.
    credentials_valid_from: Time,
    created_at: Time,
    updated_at: Time,
}

/// An application and its new secret, where it got one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApplicationWithSecret)]
pub struct Made<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    application: &'a Told,
    /// The client's new secret, shown this once: where the client is registered, and where the
    /// identity provider replaces the secret when it is told a new name. Absent when a creation is
    /// repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<&'a str>,
    /// When the secret ends; null: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<Option<Time>>,
}

/// Whose it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    r#type: OwnerType,
    /// The developer's name, often an e-mail address.
    #[schema(value_type = Line)]
    id: String,
}

/// Kinds of owner.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerType {
    /// One developer. There are no teams.
    Developer,
}

/// An auth strategy where an application names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StrategyReference {
    /// Its id; null where the strategy is no longer there.
    id: Option<Uuid>,
    name: String,
    /// Its name for people.
    display_name: String,
    credential_type: CredentialType,
    /// The ways to authenticate that it knows.
    auth_methods: Vec<String>,
    /// The scopes that its applications ask for.
    available_scopes: Vec<String>,
}

/// Where an application's credentials come from.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialType {
    /// They are registered here.
    ClientCredentials,
    /// The developer brings them.
    SelfManagedClientCredentials,
}

impl CredentialType {
    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::SelfManagedClientCredentials => "self_managed_client_credentials",
        }
    }
}

/// Whether an application may call anything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    /// Its calls are judged by its registrations.
    Active,
    /// Every call is refused.
    Suspended,
}

/// How far an application's life has come.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LifeWord {
    /// Its client is being made.
    Creating,
    /// Its client is being deleted.
    Deleting,
    /// The gateway serves it.
    Ready,
}

/// An application to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApplication, example = json!({
    "name": "Trip Planner",
    "description": "Plans trips",
    "owner": {"type": "developer", "id": "dana@example.com"},
    "auth_strategy_id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The name its developer gave it.
    #[schema(value_type = Line)]
    name: String,
    /// What it is for.
    #[schema(value_type = Option<Note>, nullable = false)]
    description: Option<String>,
    owner: Owner,
    /// The auth strategy's id.
    auth_strategy_id: Uuid,
    /// A client that exists at the identity provider of a strategy without DCR provider.
    #[schema(value_type = Option<Line>, nullable = false)]
    client_id: Option<String>,
    /// A client that exists at the strategy's DCR provider, to be managed from now on.
    #[schema(value_type = Option<Line>, nullable = false)]
    dcr_client_id: Option<String>,
    /// Scopes to ask for; by default the strategy's.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Scope>>, nullable = false, max_items = 50)]
    scopes: Vec<String>,
    /// Sent to the identity provider; the gateway itself redirects nobody.
    #[serde(default)]
    #[schema(value_type = Option<Vec<super::shape::HttpAddress>>, nullable = false, max_items = 20)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    #[schema(nullable = false)]
    labels: Labels,
}

/// What of an application is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchApplication, example = json!({"status": "suspended"}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// The name its developer gave it.
    #[schema(value_type = Option<Line>, nullable = false)]
    name: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<Note>, nullable = false)]
    description: Option<String>,
    /// Whose it is from now on.
    #[schema(nullable = false)]
    owner: Option<Owner>,
    /// `suspended` refuses every call until it is `active` again.
    #[schema(nullable = false)]
    status: Option<StatusWord>,
    /// Marks to set; null removes one.
    #[schema(nullable = false)]
    labels: Option<LabelsPatch>,
}

/// Applications, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Applications)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "NewApplication";
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchApplication";
    const FIXED: &'static [&'static str] =
        &["id", "auth_strategy_id", "client_id", "dcr_client_id"];
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::new("name", By::Contains),
    Filter::new("developer", By::Exact),
    Filter::new("auth_strategy", By::Exact),
    Filter::new("client_id", By::Exact),
    Filter::words("status", STATUSES),
];

const STATUSES: &[&str] = &["active", "suspended"];

/// Makes an application, and registers its client at the strategy's DCR provider.
#[utoipa::path(
    post,
    path = "/v2/applications",
    operation_id = "create-application",
    tag = TAG,
    request_body = New,
    responses((status = 201, description = "It was made", body = Made)),
)]
pub(super) async fn create(
    State(portal): State<Portal>,
    asking: Asking,
    body: Body<New>,
) -> Result<Response, Problem> {
    let caller = asking.creator(&body.given);
    // Read before: once there is a secret, nothing may keep it from being shown.
    let around = Around::read(&portal).await?;
    let made = make(&portal, &caller, body.value).await?;
    let count = match made.repeated {
        true => around.registrations(made.value.id).await?,
        false => 0,
    };
    let told = around.tell(made.value.clone(), count);
    let place = format!("/v2/applications/{}", told.id);
    let answer = Made::new(&told, &made);
    let revision = Some(made.value.revision);
    Ok(answer::created(&made, revision, &place, &told, &answer))
}

/// Makes an application in a developer's name.
pub(in crate::portal) async fn make(
    portal: &Portal,
    caller: &Caller,
    new: New,
) -> Result<Created<Application>, Problem> {
    let New {
        name,
        description,
        owner,
        auth_strategy_id,
        client_id,
        dcr_client_id,
        scopes,
        redirect_uris,
        labels,
    } = new;
    // The schema admits one of the two, and no text that is no client id.
    let client = |id: Option<String>| id.and_then(ClientId::new);
    let client = match (client(client_id), client(dcr_client_id)) {
        (Some(given), _) => Client::Given(given),
        (None, Some(adopted)) => Client::Adopt(adopted),
        (None, None) => Client::Register,
    };
    let new = NewApplication {
        name,
        description: description.unwrap_or_default(),
        developer: owner.id,
        strategy: auth_strategy_id,
        client,
        scopes,
        redirect_uris,
        labels: labels.0,
    };
    Ok(portal.create_application(caller, new).await?)
}

/// The secret that is shown once.
pub(in crate::portal) fn issued<T>(made: &Created<T>) -> Option<&crate::idp::registration::Issued> {
    made.issued.as_ref().filter(|_| !made.repeated)
}

/// Lists applications, the latest first.
#[utoipa::path(
    get,
    path = "/v2/applications",
    operation_id = "list-applications",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let filter = ApplicationFilter {
        name_contains: asked.contains("name"),
        developer: asked.is("developer"),
        strategy: asked.is("auth_strategy"),
        client_id: asked.is("client_id"),
        status: asked.word("status", STATUSES).map(|word| match word {
            "suspended" => Status::Suspended,
            _ => Status::Active,
        }),
        ..ApplicationFilter::default()
    };
    let page = asked.page();
    asked.end()?;
    let found = portal.applications(&filter, page).await?;
    let around = Around::read(&portal).await?;
    let mut data = Vec::with_capacity(found.items.len());
    for application in found.items {
        let count = around.registrations(application.id).await?;
        data.push(around.tell(application, count));
    }
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one application.
#[utoipa::path(
    get,
    path = "/v2/applications/{id}",
    operation_id = "get-application",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(State(portal): State<Portal>, Id(id): Id) -> Result<Response, Problem> {
    let application = portal.application(id).await?;
    tell(&portal, application).await
}

/// Changes an application; suspends it, or lets it be active again.
#[utoipa::path(
    patch,
    path = "/v2/applications/{id}",
    operation_id = "update-application",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Patch,
    responses((status = 200, description = "It was changed", body = Made)),
)]
pub(super) async fn patch(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<Patch>,
) -> Result<Response, Problem> {
    let patch = body.value.into();
    // Read before: once there is a secret, nothing may keep it from being shown.
    let around = Around::read(&portal).await?;
    let count = around.registrations(id).await?;
    let caller = asking.caller();
    let changed = portal.patch_application(&caller, id, patch).await?;
    let told = around.tell(changed.value.clone(), count);
    let answer = Made::new(&told, &changed);
    Ok(answer::changed(changed.value.revision, &told, &answer))
}

/// Deletes an application with its registrations and its client. Where the identity provider does
/// not delete the client within ten seconds, the answer is 503 `unfinished`: the gateway refuses the
/// application already, and goes on trying. `force` ends that: the application goes, and its client
/// may stay at the identity provider.
#[utoipa::path(
    delete,
    path = "/v2/applications/{id}",
    operation_id = "delete-application",
    tag = TAG,
    params(
        ("id" = Uuid, Path, description = "Its id"),
        ("force" = Option<bool>, Query, description = "Whether it goes though its client may stay"),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    Id(id): Id,
    mut asked: Asked,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    let force = asked.flag("force");
    asked.end()?;
    let caller = asking.caller();
    portal.delete_application(&caller, id, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tell(portal: &Portal, application: Application) -> Result<Response, Problem> {
    let revision = application.revision;
    let around = Around::read(portal).await?;
    let count = around.registrations(application.id).await?;
    let told = around.tell(application, count);
    Ok(answer::one(StatusCode::OK, revision, &told))
}

impl From<Patch> for ApplicationPatch {
    fn from(patch: Patch) -> Self {
        let Patch {
            name,
            description,
            owner,
            status,
            labels,
        } = patch;
        Self {
            name,
            description,
            developer: owner.map(|owner| owner.id),
            status: status.map(|status| match status {
                StatusWord::Active => Status::Active,
                StatusWord::Suspended => Status::Suspended,
            }),
            labels: labels.map(|labels| labels.0),
        }
    }
}

impl<'a> Made<'a> {
    fn new(application: &'a Told, made: &'a Created<Application>) -> Self {
        let issued = issued(made);
        Self {
            application,
            client_secret: issued.map(|issued| issued.secret.expose()),
            client_secret_expires_at: issued.map(|issued| issued.expires_at.map(Time::from)),
        }
    }
}

/// What is told of an application beside itself.
struct Around<'p> {
    portal: &'p Portal,
    strategies: HashMap<String, Strategy>,
    providers: HashMap<String, Provider>,
}

impl<'p> Around<'p> {
    async fn read(portal: &'p Portal) -> Result<Self, Problem> {
        let strategies = portal.strategies().await?.into_iter();
        let providers = portal.providers().await?.into_iter();
        Ok(Self {
            portal,
            strategies: strategies.map(|one| (one.name.clone(), one)).collect(),
            providers: providers.map(|one| (one.name.clone(), one)).collect(),
        })
    }

    async fn registrations(&self, application: Uuid) -> Result<u64, Problem> {
        let filter = RegistrationFilter {
            application: Some(application),
            ..RegistrationFilter::default()
        };
        let one = record::Page { number: 1, size: 1 };
        Ok(self.portal.registrations(&filter, one).await?.total)
    }

    fn tell(&self, application: Application, registration_count: u64) -> Told {
        let managed = application.provider.is_some();
        let provider = application.provider.as_ref();
        let provider = provider.and_then(|name| self.providers.get(name));
        Told {
            id: application.id,
            name: application.name,
            description: application.description,
            owner: Owner {
                r#type: OwnerType::Developer,
                id: application.developer,
            },
            auth_strategy: self.strategy(application.strategy),
            client_id: application.client_id.map(|id| id.as_str().to_owned()),
            granted_scopes: managed.then_some(application.scopes),
            dcr_provider: provider.map(DcrProviderReference::from),
            registration_count,
            status: match application.status {
                Status::Active => StatusWord::Active,
                Status::Suspended => StatusWord::Suspended,
            },
            life: match application.life {
                Life::Creating => LifeWord::Creating,
                Life::Deleting => LifeWord::Deleting,
                Life::Ready => LifeWord::Ready,
            },
            labels: Labels(application.labels),
            credentials_valid_from: application.credentials_valid_from.into(),
            created_at: application.created_at.into(),
            updated_at: application.updated_at.into(),
        }
    }

    fn strategy(&self, name: String) -> StrategyReference {
        let known = self.strategies.get(&name);
        let texts = |option: &str| {
            let list = known.and_then(|known| known.settings.get(option)?.as_array());
            let texts = list.into_iter().flatten().filter_map(|item| item.as_str());
            texts.map(str::to_owned).collect()
        };
        StrategyReference {
            id: known.map(|known| known.id),
            display_name: known.map_or_else(|| name.clone(), |known| known.display_name.clone()),
            credential_type: match known.and_then(|known| known.provider) {
                Some(_) => CredentialType::ClientCredentials,
                None => CredentialType::SelfManagedClientCredentials,
            },
            auth_methods: texts("auth_methods"),
            available_scopes: texts("scopes"),
            name,
        }
    }
}
