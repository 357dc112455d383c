//! `/v2/applications/{id}/credentials`: an application's secrets, of which each is shown once.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    applications::issued,
    body::{Body, Form},
    path::{Id, Ids},
    problem::Problem,
    query::{Asked, Meta, page_of},
    request::Asking,
    shape::{Note, Time},
};
use crate::portal::{
    Portal,
    record::{self, Application},
};

pub(super) const TAG: &str = "Credentials";

/// A secret of an application's client. Never the secret itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential, example = json!({
    "id": "3b7f0b1c-5a2a-4a0e-a0a9-5b0a4a8d2f11",
    "display_name": "2026",
    "credential_type": "client_secret",
    "client_id": "abc123",
    "created_at": "2026-11-21T13:30:00.000Z",
    "expires_at": null,
}))]
pub struct Told {
    id: Uuid,
    /// For people, perhaps empty.
    display_name: String,
    credential_type: Kind,
    /// The client; null only while it is being made.
    client_id: Option<String>,
    created_at: Time,
    /// When the identity provider ends it; null: never.
    expires_at: Option<Time>,
}

/// What making a secret gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreatedCredential)]
pub struct Made<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    credential: &'a Told,
    /// The secret, shown this once; absent when the request is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<&'a str>,
}

/// What regenerating a secret gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegeneratedSecret, example = json!({
    "client_id": "abc123",
    "client_secret": "shown this once",
    "client_secret_expires_at": null,
}))]
pub struct Regenerated<'a> {
    /// The client; another one than before where the identity provider cannot give a client a new
    /// secret.
    client_id: Option<&'a str>,
    /// The secret, shown this once; absent when the request is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<&'a str>,
    /// When the secret ends; null: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<Option<Time>>,
}

/// Kinds of credential.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A client's secret.
    ClientSecret,
}

/// A secret to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewCredential, example = json!({"display_name": "2026"}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// For people.
    #[schema(value_type = Option<Note>, nullable = false)]
    display_name: Option<String>,
}

/// An application's secrets, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credentials)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "NewCredential";
    const OPTIONAL: bool = true;
}

/// Lists an application's secrets, as the identity provider tells them where it does.
#[utoipa::path(
    get,
    path = "/v2/applications/{id}/credentials",
    operation_id = "list-credentials",
    tag = TAG,
    params(("id" = Uuid, Path, description = "The application's id")),
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    Id(id): Id,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let page = asked.page();
    asked.end()?;
    let application = portal.application(id).await?;
    let found = page_of(portal.credentials(id).await?, page);
    let data = found.items.into_iter();
    let data = data.map(|one| Told::new(one, &application)).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Gives an application one more secret, where its identity provider can.
#[utoipa::path(
    post,
    path = "/v2/applications/{id}/credentials",
    operation_id = "create-credential",
    tag = TAG,
    params(("id" = Uuid, Path, description = "The application's id")),
    request_body = New,
    responses((status = 201, description = "It was made", body = Made)),
)]
pub(super) async fn create(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<New>,
) -> Result<Response, Problem> {
    let caller = asking.creator(&body.given);
    let name = body.value.display_name.unwrap_or_default();
    // Read before: once there is a secret, nothing may keep it from being shown.
    let application = portal.application(id).await?;
    let made = portal.add_credential(&caller, id, &name).await?;
    let told = Told::new(made.value.clone(), &application);
    let place = format!("/v2/applications/{id}/credentials/{}", told.id);
    let answer = Made {
        credential: &told,
        client_secret: issued(&made).map(|issued| issued.secret.expose()),
    };
    Ok(answer::created(&made, None, &place, &told, &answer))
}

/// Ends one of an application's several secrets.
#[utoipa::path(
    delete,
    path = "/v2/applications/{id}/credentials/{credential_id}",
    operation_id = "delete-credential",
    tag = TAG,
    params(
        ("id" = Uuid, Path, description = "The application's id"),
        ("credential_id" = Uuid, Path, description = "The secret's id"),
    ),
    responses((status = 204, description = "It is good no more")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    Ids(id, credential): Ids,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    let caller = asking.caller();
    portal.delete_credential(&caller, id, credential).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an application a new secret in place of its only one. With several there is no telling
/// which: one is added, and the old one deleted.
#[utoipa::path(
    post,
    path = "/v2/applications/{id}/regenerate-secret",
    operation_id = "regenerate-secret",
    tag = TAG,
    params(("id" = Uuid, Path, description = "The application's id")),
    responses((status = 200, description = "The new secret", body = Regenerated)),
)]
pub(super) async fn regenerate(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<Response, Problem> {
    let caller = asking.creator(&json!({}));
    let made = portal.rotate(&caller, id).await?;
    let issued = issued(&made);
    let answer = Regenerated {
        client_id: made.value.client_id.as_ref().map(|id| id.as_str()),
        client_secret: issued.map(|issued| issued.secret.expose()),
        client_secret_expires_at: issued.map(|issued| issued.expires_at.map(Time::from)),
    };
    let mut response = answer::plain(StatusCode::OK, &answer);
    answer::mark(response.headers_mut(), made.repeated);
    Ok(response)
}

impl Told {
    fn new(credential: record::Credential, application: &Application) -> Self {
        let client_id = application.client_id.as_ref();
        Self {
            id: credential.id,
            display_name: credential.name,
            credential_type: Kind::ClientSecret,
            client_id: client_id.map(|id| id.as_str().to_owned()),
            created_at: credential.created_at.into(),
            expires_at: credential.expires_at.map(Time::from),
        }
    }
}
