//! `/v2/audit`: what was done, by whom, when.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    answer,
    problem::Problem,
    query::{Asked, By, Filter, Meta},
    shape::Time,
};
use crate::portal::{
    Portal,
    record::{self, AuditFilter},
};

pub(super) const TAG: &str = "Audit";

/// One line of the audit trail. Never holds a secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLine, example = json!({
    "id": 7,
    "at": "2026-11-21T13:30:00.000Z",
    "actor": "operator",
    "request_id": "6f4f3b0e-6b0c-4f3e-9b43-0d7b8a3a9c55",
    "action": "application.create",
    "subject": {"type": "application", "id": "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7"},
    "before": null,
    "after": {"name": "Trip Planner"},
}))]
pub struct Told {
    /// Rises with time.
    id: i64,
    /// When.
    at: Time,
    /// Who: `operator`, `developer NAME`, `gateway`, `command NAME`.
    actor: String,
    /// The request's id, where there was one.
    request_id: Option<String>,
    /// What was done: `application.create`, `credential.rotate`, …
    action: String,
    subject: Subject,
    /// How it was; null: it was not there, or nothing of it changed.
    before: Option<Value>,
    /// How it is since then.
    after: Option<Value>,
}

/// To what it was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditSubject)]
pub struct Subject {
    /// `application`, `dcr_provider`, …
    r#type: String,
    /// Its id, or name where it has none.
    id: String,
}

/// Lines of the audit trail, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLines)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

/// By what the list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::new("action", By::Exact),
    Filter::new("actor", By::Exact),
    Filter::new("subject", By::Exact),
];

/// Lists what was done, the latest first.
#[utoipa::path(
    get,
    path = "/v2/audit",
    operation_id = "list-audit",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let filter = AuditFilter {
        action: asked.is("action"),
        actor: asked.is("actor"),
        subject: asked.is("subject"),
    };
    let page = asked.page();
    asked.end()?;
    let found = portal.audit(&filter, page).await?;
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

impl From<record::Audit> for Told {
    fn from(line: record::Audit) -> Self {
        Self {
            id: line.id,
            at: line.at.into(),
            actor: line.actor,
            request_id: line.request_id,
            action: line.action,
            subject: Subject {
                r#type: line.subject_kind,
                id: line.subject,
            },
            before: line.before,
            after: line.after,
        }
    }
}
