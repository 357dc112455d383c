//! `/api/v2/applications`: the developer's own programs.

use std::collections::HashMap;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        answer,
        applications::issued,
        body::{Body, Form},
        path::Id,
        problem::{Problem, Source},
        query::{Asked, By, Filter, Meta},
        shape::{HttpAddress, Line, Note, Scope, Time},
    },
    strategies::{self, offered},
    visit::Me,
};
use crate::{
    model::credential::ClientId,
    portal::{
        ApplicationPatch, Caller, Client, Created, Error, Fault, NewApplication, Portal,
        record::{self, Application, ApplicationFilter, Developer, Strategy},
    },
};

pub(super) const TAG: &str = "Applications";

/// Applications of one developer: Konnect's limit.
const MOST: u64 = 500;

/// An application of the developer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyApplication, example = json!({
    "id": "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7",
    "name": "Trip Planner",
    "reference_id": "abc123",
    "description": "Plans trips",
    "redirect_uri": null,
    "auth_strategy": {
        "id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
        "name": "Partners",
        "credential_type": "client_credentials",
        "auth_methods": ["client_credentials", "bearer"],
        "available_scopes": ["openid"],
    },
    "scopes": ["openid"],
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    name: String,
    /// The client's id; empty only while that is being made.
    reference_id: String,
    description: String,
    /// The identity provider's to keep, and not told here.
    redirect_uri: Option<String>,
    /// Null where the auth strategy is no longer there.
    auth_strategy: Option<strategies::Told>,
    /// Scopes that were asked for, or granted where the identity provider tells.
    scopes: Vec<String>,
    created_at: Time,
    updated_at: Time,
}

/// An application and its new credentials, where it got some.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyApplicationWithCredentials)]
pub struct Made<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    application: &'a Told,
    /// Shown this once: where the client is registered, and where the identity provider replaces
    /// the secret when it is told a new name. Absent when a creation is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credentials: Option<Credentials<'a>>,
}

/// What an application authenticates with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientCredentials)]
pub struct Credentials<'a> {
    client_id: &'a str,
    client_secret: &'a str,
}

/// An application to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateApplicationPayload, example = json!({
    "name": "Trip Planner",
    "description": "Plans trips",
    "auth_strategy_id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
}))]
#[serde(deny_unknown_fields)]
pub struct New {
    #[schema(value_type = Line)]
    name: String,
    #[schema(value_type = Option<Note>, nullable = false)]
    description: Option<String>,
    /// The auth strategy's id; null, and nothing at all: the only one there is.
    auth_strategy_id: Option<Uuid>,
    /// The id of a client that exists, with an auth strategy whose credentials are managed
    /// elsewhere.
    #[schema(value_type = Option<Line>, nullable = false)]
    reference_id: Option<String>,
    /// Sent to the identity provider; the gateway itself redirects nobody.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    redirect_uri: Option<String>,
    /// Of those that the auth strategy has; by default all of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Scope>>, nullable = false, max_items = 50)]
    scopes: Vec<String>,
}

/// What of an application is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UpdateApplicationPayload, example = json!({"name": "Trip Planner"}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[schema(value_type = Option<Line>, nullable = false)]
    name: Option<String>,
    #[schema(value_type = Option<Note>, nullable = false)]
    description: Option<String>,
}

/// Applications, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyApplications)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "CreateApplicationPayload";
}

impl Form for Patch {
    const SCHEMA: &'static str = "UpdateApplicationPayload";
    const FIXED: &'static [&'static str] = &[
        "id",
        "auth_strategy_id",
        "reference_id",
        "redirect_uri",
        "scopes",
    ];
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::text("name"),
    Filter::new("auth_strategy_id", By::Id),
];

/// Makes an application, and registers its client with the auth strategy's identity provider.
#[utoipa::path(
    post,
    path = "/api/v2/applications",
    operation_id = "create-application",
    tag = TAG,
    request_body = New,
    responses(
        (status = 201, description = "It was made", body = Made),
        (status = 403, description = "The developer has as many as one may have"),
    ),
)]
pub(super) async fn create(
    State(portal): State<Portal>,
    me: Me,
    body: Body<New>,
) -> Result<Response, Problem> {
    let caller = me.asking.creator(&body.given);
    // Read before: once there is a secret, nothing may keep it from being shown.
    let around = Around::read(&portal).await?;
    let made = make(&portal, me.developer, &caller, body.value).await?;
    let told = around.tell(made.value.clone());
    let place = format!("/api/v2/applications/{}", told.id);
    let answer = Made::new(&told, &made);
    Ok(answer::created(&made, None, &place, &told, &answer))
}

/// Makes an application of a developer.
pub(in crate::portal) async fn make(
    portal: &Portal,
    developer: Developer,
    caller: &Caller,
    new: New,
) -> Result<Created<Application>, Problem> {
    let New {
        name,
        description,
        auth_strategy_id,
        reference_id,
        redirect_uri,
        scopes,
    } = new;
    let strategy = chosen(portal, auth_strategy_id).await?;
    let client = client(&strategy, reference_id)?;
    is_offered(&strategy, &scopes)?;
    is_room(portal, &developer).await?;
    let new = NewApplication {
        name,
        description: description.unwrap_or_default(),
        developer: developer.name,
        strategy: strategy.id,
        client,
        scopes,
        redirect_uris: redirect_uri.into_iter().collect(),
        labels: Default::default(),
    };
    Ok(portal.create_application(caller, new).await?)
}

/// Lists the developer's applications, the latest first.
#[utoipa::path(
    get,
    path = "/api/v2/applications",
    operation_id = "list-applications",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    me: Me,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let (name, name_contains) = asked.text_filter("name");
    let strategy = asked.id("auth_strategy_id");
    let page = asked.page();
    asked.end()?;
    let around = Around::read(&portal).await?;
    let strategy = strategy.map(|id| around.name_of(id));
    let filter = ApplicationFilter {
        name,
        name_contains,
        // No strategy is called so.
        strategy: strategy.map(Option::unwrap_or_default),
        ..Portal::applications_of(&me.developer)
    };
    let found = portal.applications(&filter, page).await?;
    let total = found.total;
    let own = found.items.into_iter().filter(|one| filter.fits(one));
    let data = own.map(|one| around.tell(one)).collect();
    let meta = Meta::of(page, total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one application.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}",
    operation_id = "get-application",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let application = portal.application_of(&me.developer, id).await?;
    let told = Around::read(&portal).await?.tell(application);
    Ok(answer::plain(StatusCode::OK, &told))
}

/// Changes an application's name or description.
#[utoipa::path(
    patch,
    path = "/api/v2/applications/{applicationId}",
    operation_id = "update-application",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "Its id")),
    request_body = Patch,
    responses((status = 200, description = "It was changed", body = Made)),
)]
pub(super) async fn patch(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
    body: Body<Patch>,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    let patch = body.value.into();
    // As in a creation.
    let around = Around::read(&portal).await?;
    let caller = me.asking.caller();
    let changed = portal.patch_application(&caller, id, patch).await?;
    let told = around.tell(changed.value.clone());
    let answer = Made::new(&told, &changed);
    Ok(answer::plain(StatusCode::OK, &answer))
}

/// Deletes an application with its registrations and its client. Where the identity provider does
/// not delete the client within ten seconds, the answer is 503 `unfinished`: the gateway refuses the
/// application already, and goes on trying.
#[utoipa::path(
    delete,
    path = "/api/v2/applications/{applicationId}",
    operation_id = "delete-application",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    portal.application_of(&me.developer, id).await?;
    let caller = me.asking.caller();
    portal.delete_application(&caller, id, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The strategy that a new application names, or the only one.
async fn chosen(portal: &Portal, id: Option<Uuid>) -> Result<Strategy, Problem> {
    let mut all = offered(portal).await?;
    let found = match id {
        Some(id) => all.into_iter().find(|one| one.id == id),
        None if all.len() == 1 => all.pop(),
        None => None,
    };
    let expected = "expected the id of one of the auth strategies that are listed";
    found.ok_or_else(|| fault("auth_strategy_id", "reference", expected))
}

/// Where the client comes from: as the strategy says.
fn client(strategy: &Strategy, reference_id: Option<String>) -> Result<Client, Problem> {
    match (strategy.provider, reference_id) {
        (Some(_), None) => Ok(Client::Register),
        (Some(_), Some(_)) => Err(fault(
            "reference_id",
            "forbidden",
            "the client is made by the auth strategy's identity provider",
        )),
        (None, reference_id) => {
            let given = reference_id.and_then(ClientId::new).map(Client::Given);
            given.ok_or_else(|| {
                let expected = "expected the id of an existing client";
                fault("reference_id", "required", expected)
            })
        }
    }
}

/// Developers ask for what the operator has chosen, and nothing else.
fn is_offered(strategy: &Strategy, scopes: &[String]) -> Result<(), Problem> {
    let offered = strategies::Told::from(strategy).available_scopes;
    match scopes.iter().all(|scope| offered.contains(scope)) {
        true => Ok(()),
        false => Err(fault(
            "scopes",
            "enum",
            "expected scopes that the auth strategy has",
        )),
    }
}

async fn is_room(portal: &Portal, developer: &Developer) -> Result<(), Problem> {
    let one = record::Page { number: 1, size: 1 };
    let own = Portal::applications_of(developer);
    match portal.applications(&own, one).await?.total < MOST {
        true => Ok(()),
        false => Err(Error::Forbidden {
            code: "too_many_applications",
            detail: format!("a developer may have {MOST} applications: delete one first"),
        }
        .into()),
    }
}

pub(super) fn fault(field: &str, rule: &'static str, reason: &str) -> Problem {
    Problem::invalid(Source::Body, vec![Fault::new(field, rule, reason)])
}

impl From<Patch> for ApplicationPatch {
    fn from(Patch { name, description }: Patch) -> Self {
        Self {
            name,
            description,
            ..Self::default()
        }
    }
}

impl<'a> Made<'a> {
    fn new(application: &'a Told, made: &'a Created<Application>) -> Self {
        Self {
            credentials: issued(made).map(|issued| Credentials {
                client_id: &application.reference_id,
                client_secret: issued.secret.expose(),
            }),
            application,
        }
    }
}

/// What is told of an application beside itself.
struct Around(HashMap<String, strategies::Told>);

impl Around {
    async fn read(portal: &Portal) -> Result<Self, Problem> {
        let all = portal.strategies().await?;
        let told = |one: &Strategy| (one.name.clone(), strategies::Told::from(one));
        Ok(Self(all.iter().map(told).collect()))
    }

    /// The name by which applications know a strategy.
    fn name_of(&self, id: Uuid) -> Option<String> {
        let mut all = self.0.iter();
        all.find(|(_, one)| one.id == id)
            .map(|(name, _)| name.clone())
    }

    fn tell(&self, application: Application) -> Told {
        Told {
            id: application.id,
            name: application.name,
            reference_id: application
                .client_id
                .map(|id| id.as_str().to_owned())
                .unwrap_or_default(),
            description: application.description,
            redirect_uri: None,
            auth_strategy: self.0.get(&application.strategy).cloned(),
            scopes: application.scopes,
            created_at: application.created_at.into(),
            updated_at: application.updated_at.into(),
        }
    }
}
