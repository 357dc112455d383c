//! `/v2/apis`: what the configuration offers, and what the operator says of it here.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answer,
    body::{Body, Form},
    path::Name,
    problem::Problem,
    query::{Asked, Filter, Meta, page_of},
    request::Asking,
    shape::Line,
};
use crate::portal::{ApiView, Caller, Portal};

pub(super) const TAG: &str = "APIs";

/// An API of the configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Api, example = json!({
    "name": "flights",
    "access": "registered",
    "auto_approve_registrations": false,
    "auth_strategies": [],
    "file_auth_strategies": ["partners"],
}))]
pub struct Told {
    /// Its name in the configuration.
    name: String,
    access: Access,
    /// Whether registrations for it are approved at once.
    auto_approve_registrations: bool,
    /// Names of the strategies that it accepts beside those of the file, after them.
    auth_strategies: Vec<String>,
    /// Names of the strategies that it accepts by the file.
    file_auth_strategies: Vec<String>,
}

/// Who may call an API.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = AccessWord)]
pub struct Access(&'static str);

/// Who may call an API.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessWord {
    /// Any active application.
    Application,
    /// Any verified client.
    Client,
    /// Anybody.
    Public,
    /// Applications that are registered for it.
    Registered,
}

/// What of an API is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchApi, example = json!({"auto_approve_registrations": true}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Whether registrations for it are approved at once.
    #[schema(nullable = false)]
    auto_approve_registrations: Option<bool>,
    /// Names of all strategies that it accepts beside those of the file, after them.
    #[schema(value_type = Option<Vec<Line>>, nullable = false, max_items = 50)]
    auth_strategies: Option<Vec<String>>,
}

/// APIs, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Apis)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchApi";
    const FIXED: &'static [&'static str] = &["name", "access", "file_auth_strategies"];
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[Filter::text("name")];

/// Lists the APIs of the configuration, by name.
#[utoipa::path(
    get,
    path = "/v2/apis",
    operation_id = "list-apis",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let name = asked.matches("name");
    let page = asked.page();
    asked.end()?;
    let mut all = portal.apis().await?;
    all.retain(|one| name.pass(&one.name));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let found = page_of(all, page);
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one API.
#[utoipa::path(
    get,
    path = "/v2/apis/{name}",
    operation_id = "get-api",
    tag = TAG,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(
    State(portal): State<Portal>,
    Name(name): Name,
) -> Result<Response, Problem> {
    Ok(tell(portal.api(&name).await?))
}

/// Says whether an API's registrations are approved at once, and which further strategies it
/// accepts.
#[utoipa::path(
    patch,
    path = "/v2/apis/{name}",
    operation_id = "update-api",
    tag = TAG,
    params(("name" = String, Path, description = "Its name")),
    request_body = Patch,
    responses((status = 200, description = "It was changed", body = Told)),
)]
pub(super) async fn patch(
    State(portal): State<Portal>,
    Name(name): Name,
    asking: Asking,
    body: Body<Patch>,
) -> Result<Response, Problem> {
    let changed = change(&portal, &asking.caller(), &name, body.value).await?;
    Ok(tell(changed))
}

/// The same for whoever asks.
pub(in crate::portal) async fn change(
    portal: &Portal,
    caller: &Caller,
    name: &str,
    patch: Patch,
) -> Result<ApiView, Problem> {
    let Patch {
        auto_approve_registrations,
        auth_strategies,
    } = patch;
    let changed = portal.patch_api(caller, name, auto_approve_registrations, auth_strategies);
    Ok(changed.await?)
}

fn tell(api: ApiView) -> Response {
    let revision = api.kept.revision;
    answer::one(StatusCode::OK, revision, &Told::from(api))
}

impl From<ApiView> for Told {
    fn from(api: ApiView) -> Self {
        Self {
            name: api.name,
            access: Access(api.access),
            auto_approve_registrations: api.kept.auto_approve,
            auth_strategies: api.kept.strategies,
            file_auth_strategies: api.file_strategies,
        }
    }
}
