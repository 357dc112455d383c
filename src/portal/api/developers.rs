//! `/v2/developers`: who builds applications, and who of them may sign in.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    body::{Body, Form},
    my::account::address,
    path::Id,
    problem::Problem,
    query::{Asked, By, Filter, Meta},
    request::Asking,
    shape::{EmailAddress, Line, Time},
};
use crate::portal::{
    Caller, Created, Portal,
    accounts::{AccountPatch, Invitation, Invited},
    record::{self, AccountStatus, Developer, DeveloperFilter},
};

pub(super) const TAG: &str = "Developers";

/// Somebody who builds applications.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Developer, example = json!({
    "id": "b9d2b7b2-5a57-4d5f-8f0b-5f2f0f2f6a53",
    "name": "dana@example.com",
    "email": "dana@example.com",
    "full_name": "Dana Smith",
    "status": "approved",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// What identifies the developer to people and upstreams, often an e-mail address; unique.
    name: String,
    /// The account's, in lower case; null: an operator named the developer, who cannot sign in.
    email: Option<String>,
    /// The account's.
    full_name: Option<String>,
    /// The account's.
    status: Option<StatusWord>,
    /// When the first application came, or the account.
    created_at: Time,
    updated_at: Time,
}

/// A developer, and the invitation where one was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeveloperWithInvitation)]
pub struct Made<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    developer: &'a Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    invitation: Option<ToldInvitation<'a>>,
}

/// Lets the developer set a password, once: `POST /api/v2/developer/reset-password` of the portal's
/// address. To be sent to the developer's e-mail address and to nobody else.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub struct ToldInvitation<'a> {
    /// Shown this once.
    token: &'a str,
    expires_at: Time,
}

/// Whether an account is open.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeveloperStatus)]
pub enum StatusWord {
    /// The developer may sign in.
    Approved,
    /// It waits for the operator.
    Pending,
    /// The operator said no.
    Rejected,
    /// It was open, and is no longer. Applications go on.
    Revoked,
}

/// A developer to be invited.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewDeveloper, example = json!({
    "email": "dana@example.com", "full_name": "Dana Smith",
}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Kept in lower case. Applications whose developer it is, in whatever case, are the account's.
    #[schema(value_type = EmailAddress)]
    email: String,
    #[schema(value_type = Line)]
    full_name: String,
}

/// What of an account is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchDeveloper, example = json!({"status": "approved"}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[schema(value_type = Option<Line>, nullable = false)]
    full_name: Option<String>,
    /// `approved` opens the account; every other ends its sessions.
    #[schema(nullable = false)]
    status: Option<StatusWord>,
}

/// Developers, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Developers)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "NewDeveloper";
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchDeveloper";
    const FIXED: &'static [&'static str] = &["id", "name", "email"];
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::new("name", By::Exact),
    Filter::words("status", STATUSES),
];

const STATUSES: &[&str] = &["approved", "pending", "rejected", "revoked"];

/// Invites a developer: opens an account without a password.
#[utoipa::path(
    post,
    path = "/v2/developers",
    operation_id = "create-developer",
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
    let made = make(&portal, &caller, body.value).await?;
    let told = Told::from(made.value.developer.clone());
    let place = format!("/v2/developers/{}", told.id);
    let answer = Made::new(&told, &made.value);
    let revision = Some(revision(&made.value.developer));
    Ok(answer::created(&made, revision, &place, &told, &answer))
}

/// Invites a developer.
pub(in crate::portal) async fn make(
    portal: &Portal,
    caller: &Caller,
    new: New,
) -> Result<Created<Invited>, Problem> {
    let New { email, full_name } = new;
    let email = address(&email)?;
    Ok(portal.invite(caller, &email, &full_name).await?)
}

/// Lists who has applications or an account, by name.
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
    let filter = DeveloperFilter {
        name: asked.is("name"),
        status: asked.word("status", STATUSES).map(|word| match word {
            "approved" => AccountStatus::Approved,
            "pending" => AccountStatus::Pending,
            "rejected" => AccountStatus::Rejected,
            _ => AccountStatus::Revoked,
        }),
    };
    let page = asked.page();
    asked.end()?;
    let found = portal.developers(&filter, page).await?;
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one developer.
#[utoipa::path(
    get,
    path = "/v2/developers/{id}",
    operation_id = "get-developer",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(State(portal): State<Portal>, Id(id): Id) -> Result<Response, Problem> {
    let developer = portal.developer(id).await?;
    let revision = revision(&developer);
    Ok(answer::one(
        StatusCode::OK,
        revision,
        &Told::from(developer),
    ))
}

/// Changes an account: approves or rejects it, revokes it, opens it again. One that is opened and
/// has no password gets an invitation.
#[utoipa::path(
    patch,
    path = "/v2/developers/{id}",
    operation_id = "update-developer",
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
    let changed = portal.patch_account(&asking.caller(), id, patch).await?;
    let told = Told::from(changed.developer.clone());
    let answer = Made::new(&told, &changed);
    let revision = revision(&changed.developer);
    Ok(answer::changed(revision, &told, &answer))
}

/// Removes a developer who has no applications.
#[utoipa::path(
    delete,
    path = "/v2/developers/{id}",
    operation_id = "delete-developer",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    portal.delete_developer(&asking.caller(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invites a developer again, who has lost the invitation or the password. An earlier invitation is
/// over; a password holds until the new one is used.
#[utoipa::path(
    post,
    path = "/v2/developers/{id}/invitation",
    operation_id = "invite-developer",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "The invitation", body = Made)),
)]
pub(super) async fn invite(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<Response, Problem> {
    let invited = portal.invite_again(&asking.caller(), id).await?;
    let told = Told::from(invited.developer.clone());
    Ok(answer::plain(StatusCode::OK, &Made::new(&told, &invited)))
}

impl From<Patch> for AccountPatch {
    fn from(Patch { full_name, status }: Patch) -> Self {
        Self {
            full_name,
            status: status.map(|status| match status {
                StatusWord::Approved => AccountStatus::Approved,
                StatusWord::Pending => AccountStatus::Pending,
                StatusWord::Rejected => AccountStatus::Rejected,
                StatusWord::Revoked => AccountStatus::Revoked,
            }),
        }
    }
}

/// For `ETag`: changes of the account alone.
fn revision(developer: &Developer) -> i64 {
    let account = developer.account.as_ref();
    account.map_or(0, |account| account.revision)
}

impl<'a> Made<'a> {
    fn new(developer: &'a Told, invited: &'a Invited) -> Self {
        let told = |invitation: &'a Invitation| ToldInvitation {
            token: invitation.token.expose(),
            expires_at: invitation.until.into(),
        };
        Self {
            developer,
            invitation: invited.invitation.as_ref().map(told),
        }
    }
}

impl From<record::Developer> for Told {
    fn from(developer: record::Developer) -> Self {
        let account = developer.account;
        Self {
            id: developer.id,
            email: account.is_some().then(|| developer.name.clone()),
            name: developer.name,
            status: account.as_ref().map(|account| match account.status {
                AccountStatus::Approved => StatusWord::Approved,
                AccountStatus::Pending => StatusWord::Pending,
                AccountStatus::Rejected => StatusWord::Rejected,
                AccountStatus::Revoked => StatusWord::Revoked,
            }),
            created_at: developer.created_at.into(),
            updated_at: account
                .as_ref()
                .map_or(developer.created_at, |account| account.updated_at)
                .into(),
            full_name: account.map(|account| account.full_name),
        }
    }
}
