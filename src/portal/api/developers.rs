//! `/v2/developers`: who builds applications.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    problem::Problem,
    query::{Asked, Meta},
    shape::Time,
};
use crate::portal::{Portal, record};

pub(super) const TAG: &str = "Developers";

/// Somebody who builds applications.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Developer, example = json!({
    "id": "b9d2b7b2-5a57-4d5f-8f0b-5f2f0f2f6a53",
    "name": "dana@example.com",
    "created_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// What identifies the developer to people and upstreams, often an e-mail address; unique.
    name: String,
    /// When the first application came.
    created_at: Time,
}

/// Developers, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Developers)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

/// Lists who has applications, by name.
#[utoipa::path(
    get,
    path = "/v2/developers",
    operation_id = "list-developers",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let page = asked.page();
    asked.end()?;
    let found = portal.developers(page).await?;
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

impl From<record::Developer> for Told {
    fn from(developer: record::Developer) -> Self {
        Self {
            id: developer.id,
            name: developer.name,
            created_at: developer.created_at.into(),
        }
    }
}
