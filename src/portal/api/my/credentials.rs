//! `/api/v2/applications/{id}/credentials`: an application's secrets, of which each is shown once.

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
        path::{Id, Ids},
        problem::{Kind, Problem},
        query::{Asked, Meta, page_of},
        shape::Note,
    },
    visit::Me,
};
use crate::portal::{Portal, record::Credential};

pub(super) const TAG: &str = "Credentials";

/// A secret of an application's client. Never the secret itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyCredential)]
pub struct Told {
    id: Uuid,
    /// For people, perhaps empty.
    display_name: String,
}

/// What making a secret gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyCredentialWithSecret)]
pub struct Made<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    told: &'a Told,
    /// The secret, shown this once; absent when the request is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential: Option<&'a str>,
}

/// What refreshing the secret gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefreshedSecret)]
pub struct Refreshed<'a> {
    /// Another one than before where the identity provider cannot give a client a new secret.
    client_id: &'a str,
    /// Shown this once.
    client_secret: &'a str,
}

/// A secret to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateCredentialPayload, example = json!({"display_name": "2026"}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// For people.
    #[schema(value_type = Option<Note>, nullable = false)]
    pub(in crate::portal) display_name: Option<String>,
}

/// Another name of a secret.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UpdateCredentialPayload, example = json!({"display_name": "2026"}))]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// For people.
    #[schema(value_type = Note)]
    display_name: String,
}

/// An application's secrets, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyCredentials)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "CreateCredentialPayload";
    const OPTIONAL: bool = true;
}

impl Form for Rename {
    const SCHEMA: &'static str = "UpdateCredentialPayload";
}

/// Lists an application's secrets, as the identity provider tells them where it does.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}/credentials",
    operation_id = "list-credentials",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "The application's id")),
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let page = asked.page();
    asked.end()?;
    portal.application_of(&me.developer, id).await?;
    let found = page_of(portal.credentials(id).await?, page);
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Gives an application one more secret, where its identity provider can.
#[utoipa::path(
    post,
    path = "/api/v2/applications/{applicationId}/credentials",
    operation_id = "create-credential",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "The application's id")),
    request_body = New,
    responses((status = 201, description = "It was made", body = Made)),
)]
pub(super) async fn create(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
    body: Body<New>,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    let caller = me.asking.creator(&body.given);
    let name = body.value.display_name.unwrap_or_default();
    let made = portal.add_credential(&caller, id, &name).await?;
    let told = Told::from(made.value.clone());
    let place = format!("/api/v2/applications/{id}/credentials/{}", told.id);
    let answer = Made {
        told: &told,
        credential: issued(&made).map(|issued| issued.secret.expose()),
    };
    Ok(answer::created(&made, None, &place, &told, &answer))
}

/// Renames a secret.
#[utoipa::path(
    put,
    path = "/api/v2/applications/{applicationId}/credentials/{credentialId}",
    operation_id = "update-credential",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("credentialId" = Uuid, Path, description = "The secret's id"),
    ),
    request_body = Rename,
    responses((status = 200, description = "It was renamed", body = Told)),
)]
pub(super) async fn put(
    State(portal): State<Portal>,
    me: Me,
    Ids(id, credential): Ids,
    body: Body<Rename>,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    let (caller, name) = (me.asking.caller(), body.value.display_name);
    let renamed = portal
        .rename_credential(&caller, id, credential, &name)
        .await?;
    Ok(answer::plain(StatusCode::OK, &Told::from(renamed)))
}

/// Ends one of an application's several secrets.
#[utoipa::path(
    delete,
    path = "/api/v2/applications/{applicationId}/credentials/{credentialId}",
    operation_id = "delete-credential",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("credentialId" = Uuid, Path, description = "The secret's id"),
    ),
    responses((status = 204, description = "It is good no more")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    me: Me,
    Ids(id, credential): Ids,
) -> Result<StatusCode, Problem> {
    portal.application_of(&me.developer, id).await?;
    let caller = me.asking.caller();
    portal.delete_credential(&caller, id, credential).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an application a new secret in place of its only one. With several there is no telling
/// which: one is added, and the old one deleted.
#[utoipa::path(
    post,
    path = "/api/v2/applications/{applicationId}/refresh-token",
    operation_id = "refresh-application-token",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "The application's id")),
    responses((status = 201, description = "The new secret", body = Refreshed)),
)]
pub(super) async fn refresh(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    let made = portal.rotate(&me.asking.caller(), id).await?;
    let (Some(client_id), Some(issued)) = (&made.value.client_id, issued(&made)) else {
        return Err(Problem::new(Kind::Internal));
    };
    let answer = Refreshed {
        client_id: client_id.as_str(),
        client_secret: issued.secret.expose(),
    };
    Ok(answer::plain(StatusCode::CREATED, &answer))
}

impl From<Credential> for Told {
    fn from(credential: Credential) -> Self {
        Self {
            id: credential.id,
            display_name: credential.name,
        }
    }
}
