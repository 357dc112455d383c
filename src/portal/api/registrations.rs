//! `/v2/application-registrations`, and those of one application: the right to call an API.

use std::collections::{HashMap, hash_map::Entry};

use axum::{extract, response::Response};
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
    shape::{Line, Time},
};
use crate::{
    model::application::Registration as State,
    portal::{
        Caller, Created, Error, Portal, Verdict,
        record::{self, Listed, Registration, RegistrationFilter},
    },
};

pub(super) const TAG: &str = "Registrations";

/// An application's right to call one API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Registration, example = json!({
    "id": "9d3d5f3e-7a43-4f51-8f38-0d1a6a2c7c10",
    "application": {"id": "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7", "name": "Trip Planner"},
    "api": {"id": "flights", "name": "flights"},
    "status": "approved",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    application: ApplicationReference,
    api: ApiReference,
    status: StateWord,
    created_at: Time,
    updated_at: Time,
}

/// An application where a registration names it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApplicationReference {
    id: Uuid,
    name: String,
}

/// An API where a registration names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiReference {
    /// Its name, by which it is known everywhere.
    id: String,
    name: String,
}

/// How far a registration has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// It may call the API.
    Approved,
    /// It waits for the operator.
    Pending,
    /// The operator said no.
    Rejected,
    /// It may no longer call the API.
    Revoked,
}

impl From<State> for StateWord {
    fn from(state: State) -> Self {
        match state {
            State::Approved => Self::Approved,
            State::Pending => Self::Pending,
            State::Rejected => Self::Rejected,
            State::Revoked => Self::Revoked,
        }
    }
}

/// How a registration begins.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstStateWord {
    /// It may call the API at once.
    Approved,
    /// It waits for the operator.
    Pending,
}

/// A registration to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRegistration, example = json!({"api_id": "flights", "status": "approved"}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The API's name.
    #[schema(value_type = Line)]
    api_id: String,
    /// How it begins; by default as the API says.
    #[schema(nullable = false)]
    status: Option<FirstStateWord>,
}

/// What becomes of a registration.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchRegistration, example = json!({"status": "approved"}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    status: StateWord,
}

/// Registrations, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Registrations)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Patch {
    /// What it says.
    pub(in crate::portal) const fn verdict(&self) -> Verdict {
        match self.status {
            StateWord::Approved => Verdict::Approve,
            StateWord::Pending => Verdict::Defer,
            StateWord::Rejected => Verdict::Reject,
            StateWord::Revoked => Verdict::Revoke,
        }
    }
}

impl Form for New {
    const SCHEMA: &'static str = "NewRegistration";
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchRegistration";
    const FIXED: &'static [&'static str] = &["id", "application_id", "api_id"];
}

/// By what the list of all is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::new("application_id", By::Id),
    Filter::new("api_id", By::Exact),
    Filter::words("status", STATES),
];

/// By what the list of one application's is narrowed.
pub(super) const OWN_FILTERS: &[Filter] = &[
    Filter::new("api_id", By::Exact),
    Filter::words("status", STATES),
];

pub(super) const STATES: &[&str] = &["approved", "pending", "rejected", "revoked"];

/// Asks for an application's right to call an API.
#[utoipa::path(
    post,
    path = "/v2/applications/{id}/registrations",
    operation_id = "create-registration",
    tag = TAG,
    params(("id" = Uuid, Path, description = "The application's id")),
    request_body = New,
    responses((status = 201, description = "It was made", body = Told)),
)]
pub(super) async fn create(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<New>,
) -> Result<Response, Problem> {
    let caller = asking.creator(&body.given);
    let made = make(&portal, &caller, id, body.value).await?;
    let revision = made.value.revision;
    let told = Told::read(&portal, made.value.clone()).await?;
    let place = format!("/v2/application-registrations/{}", told.id);
    Ok(answer::created(&made, Some(revision), &place, &told, &told))
}

/// Asks for an application's right to call an API.
pub(in crate::portal) async fn make(
    portal: &Portal,
    caller: &Caller,
    application: Uuid,
    new: New,
) -> Result<Created<Registration>, Problem> {
    let New { api_id, status } = new;
    let verdict = status.map(|status| match status {
        FirstStateWord::Approved => Verdict::Approve,
        FirstStateWord::Pending => Verdict::Defer,
    });
    let made = portal.register(caller, application, &api_id, verdict);
    Ok(made.await?)
}

/// Lists one application's registrations, the latest first.
#[utoipa::path(
    get,
    path = "/v2/applications/{id}/registrations",
    operation_id = "list-registrations-of-application",
    tag = TAG,
    params(("id" = Uuid, Path, description = "The application's id")),
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list_own(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let filter = RegistrationFilter {
        owner: None,
        application: Some(id),
        api: asked.is("api_id"),
        state: state_of(&mut asked),
    };
    let page = asked.page();
    asked.end()?;
    let application = portal.application(id).await?;
    let found = portal.registrations(&filter, page).await?;
    let names = HashMap::from([(id, application.name)]);
    Ok(told(page, found, &names))
}

/// Lists registrations, the latest first.
#[utoipa::path(
    get,
    path = "/v2/application-registrations",
    operation_id = "list-registrations",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    extract::State(portal): extract::State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let filter = RegistrationFilter {
        owner: None,
        application: asked.id("application_id"),
        api: asked.is("api_id"),
        state: state_of(&mut asked),
    };
    let page = asked.page();
    asked.end()?;
    let found = portal.registrations(&filter, page).await?;
    let mut names = HashMap::new();
    for registration in &found.items {
        if let Entry::Vacant(entry) = names.entry(registration.application) {
            let name = name_of(&portal, registration.application).await?;
            entry.insert(name);
        }
    }
    Ok(told(page, found, &names))
}

/// Reads one registration.
#[utoipa::path(
    get,
    path = "/v2/application-registrations/{id}",
    operation_id = "get-registration",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
) -> Result<Response, Problem> {
    let registration = portal.registration(id).await?;
    tell(&portal, registration).await
}

/// Decides on a registration.
#[utoipa::path(
    patch,
    path = "/v2/application-registrations/{id}",
    operation_id = "update-registration",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Patch,
    responses((status = 200, description = "It was decided", body = Told)),
)]
pub(super) async fn patch(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<Patch>,
) -> Result<Response, Problem> {
    let verdict = body.value.verdict();
    let decided = portal.decide(&asking.caller(), id, verdict).await?;
    tell(&portal, decided).await
}

/// Removes a registration.
#[utoipa::path(
    delete,
    path = "/v2/application-registrations/{id}",
    operation_id = "delete-registration",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    portal.unregister(&asking.caller(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn state_of(asked: &mut Asked) -> Option<State> {
    asked.word("status", STATES).map(|word| match word {
        "approved" => State::Approved,
        "pending" => State::Pending,
        "rejected" => State::Rejected,
        _ => State::Revoked,
    })
}

/// The name of an application; none where it went away a moment ago.
async fn name_of(portal: &Portal, id: Uuid) -> Result<String, Problem> {
    match portal.application(id).await {
        Ok(application) => Ok(application.name),
        Err(Error::NotFound(_)) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

fn told(
    page: record::Page,
    found: Listed<Registration>,
    names: &HashMap<Uuid, String>,
) -> Response {
    let tell = |registration: Registration| {
        let name = names.get(&registration.application).cloned();
        Told::new(registration, name.unwrap_or_default())
    };
    let data = found.items.into_iter().map(tell).collect();
    let meta = Meta::of(page, found.total);
    answer::plain(StatusCode::OK, &Page { data, meta })
}

async fn tell(portal: &Portal, registration: Registration) -> Result<Response, Problem> {
    let revision = registration.revision;
    let told = Told::read(portal, registration).await?;
    Ok(answer::one(StatusCode::OK, revision, &told))
}

impl Told {
    async fn read(portal: &Portal, registration: Registration) -> Result<Self, Problem> {
        let name = name_of(portal, registration.application).await?;
        Ok(Self::new(registration, name))
    }

    fn new(registration: Registration, name: String) -> Self {
        Self {
            id: registration.id,
            application: ApplicationReference {
                id: registration.application,
                name,
            },
            api: ApiReference {
                id: registration.api.clone(),
                name: registration.api,
            },
            status: registration.state.into(),
            created_at: registration.created_at.into(),
            updated_at: registration.updated_at.into(),
        }
    }
}
