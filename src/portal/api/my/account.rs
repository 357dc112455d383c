//! `/api/v2/developer`: asking for an account, signing in and out, the password.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        answer,
        body::{Body, Form},
        problem::{Problem, Source},
        request::RequestId,
        shape::{self, Line, Time},
    },
    visit::{Me, Visit},
};
use crate::{
    model::credential::Secret,
    portal::{Fault, Portal, accounts::Email},
};

pub(super) const TAG: &str = "Developer";

/// The developer who has signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeveloperMe, example = json!({
    "id": "b9d2b7b2-5a57-4d5f-8f0b-5f2f0f2f6a53",
    "email": "dana@example.com",
    "full_name": "Dana Smith",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// In lower case. Applications whose developer it is, in whatever case, are this one's own.
    email: String,
    full_name: String,
    created_at: Time,
    updated_at: Time,
}

/// An account to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RegisterPayload, example = json!({
    "email": "dana@example.com", "full_name": "Dana Smith",
}))]
#[serde(deny_unknown_fields)]
pub struct Register {
    #[schema(value_type = shape::EmailAddress)]
    pub(in crate::portal) email: String,
    #[schema(value_type = Line)]
    pub(in crate::portal) full_name: String,
}

/// An e-mail address and its password.
#[derive(Deserialize, ToSchema)]
#[schema(as = AuthenticatePayload, example = json!({
    "username": "dana@example.com", "password": "correct horse battery",
}))]
#[serde(deny_unknown_fields)]
pub struct Authenticate {
    /// The e-mail address.
    #[schema(value_type = Line)]
    pub(in crate::portal) username: String,
    #[schema(value_type = shape::OldPassword)]
    pub(in crate::portal) password: String,
}

/// A password, set with an invitation.
#[derive(Deserialize, ToSchema)]
#[schema(as = ResetPasswordPayload, example = json!({
    "token": "3b7f0b1c-5a2a-4a0e-a0a9-5b0a4a8d2f11", "password": "correct horse battery",
}))]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// The invitation's.
    pub(in crate::portal) token: Uuid,
    #[schema(value_type = shape::Password)]
    pub(in crate::portal) password: String,
}

/// A password in place of another.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangePasswordPayload, example = json!({
    "old_password": "the one of before", "password": "correct horse battery",
}))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    #[schema(value_type = shape::OldPassword)]
    pub(in crate::portal) old_password: String,
    #[schema(value_type = shape::Password)]
    pub(in crate::portal) password: String,
}

impl Form for Register {
    const SCHEMA: &'static str = "RegisterPayload";
}

impl Form for Authenticate {
    const SCHEMA: &'static str = "AuthenticatePayload";
}

impl Form for ResetPassword {
    const SCHEMA: &'static str = "ResetPasswordPayload";
}

impl Form for ChangePassword {
    const SCHEMA: &'static str = "ChangePasswordPayload";
}

/// Asks for an account. It waits for the operator, who then sends an invitation to the address; the
/// answer is the same where there is an account already.
#[utoipa::path(
    post,
    path = "/api/v2/developer",
    operation_id = "register",
    tag = TAG,
    security(()),
    request_body = Register,
    responses(
        (status = 201, description = "It is noted"),
        (status = 403, description = "Accounts are by invitation"),
    ),
)]
pub(super) async fn register(
    State(portal): State<Portal>,
    visit: Visit,
    id: RequestId,
    body: Body<Register>,
) -> Result<StatusCode, Problem> {
    let Register { email, full_name } = body.value;
    let email = address(&email)?;
    portal
        .ask_for_account(visit.address, id.as_str(), &email, &full_name)
        .await?;
    Ok(StatusCode::CREATED)
}

/// Signs in: sets the session's cookie.
#[utoipa::path(
    post,
    path = "/api/v2/developer/authenticate",
    operation_id = "authenticate",
    tag = TAG,
    security(()),
    request_body = Authenticate,
    responses(
        (status = 204, description = "Signed in"),
        (status = 401, description = "Wrong e-mail address or password, or no open account"),
    ),
)]
pub(super) async fn authenticate(
    State(portal): State<Portal>,
    visit: Visit,
    id: RequestId,
    body: Body<Authenticate>,
) -> Result<Response, Problem> {
    let Authenticate { username, password } = body.value;
    let password = Secret::new(password);
    let session = portal
        .sign_in(visit.address, id.as_str(), &username, password)
        .await?;
    Ok(visit.begin(&session))
}

/// Signs out: ends the session at every gateway, and clears the cookie.
#[utoipa::path(
    post,
    path = "/api/v2/developer/logout",
    operation_id = "logout",
    tag = TAG,
    security(()),
    responses((status = 204, description = "Signed out, whether or not there was a session")),
)]
pub(super) async fn logout(
    State(portal): State<Portal>,
    visit: Visit,
    id: RequestId,
) -> Result<Response, Problem> {
    if let Some(token) = &visit.session {
        portal.sign_out(id.as_str(), token).await?;
    }
    Ok(visit.end())
}

/// Says that the developer is still there. Every other request says it too.
#[utoipa::path(
    post,
    path = "/api/v2/developer/refresh",
    operation_id = "refresh",
    tag = TAG,
    responses((status = 204, description = "The session goes on")),
)]
pub(super) async fn refresh(_: Me) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Tells who has signed in.
#[utoipa::path(
    get,
    path = "/api/v2/developer/me",
    operation_id = "get-developer-me",
    tag = TAG,
    responses((status = 200, description = "The developer", body = Told)),
)]
pub(super) async fn me(me: Me) -> Response {
    let developer = me.developer;
    let account = developer.account;
    let told = Told {
        id: developer.id,
        email: developer.name,
        updated_at: account
            .as_ref()
            .map_or(developer.created_at, |account| account.updated_at)
            .into(),
        full_name: account.map(|account| account.full_name).unwrap_or_default(),
        created_at: developer.created_at.into(),
    };
    answer::plain(StatusCode::OK, &told)
}

/// Sets the password with an invitation, which is used up. Every session of the account ends.
#[utoipa::path(
    post,
    path = "/api/v2/developer/reset-password",
    operation_id = "reset-password",
    tag = TAG,
    security(()),
    request_body = ResetPassword,
    responses(
        (status = 204, description = "It is set"),
        (status = 410, description = "The invitation is over"),
    ),
)]
pub(super) async fn reset_password(
    State(portal): State<Portal>,
    visit: Visit,
    id: RequestId,
    body: Body<ResetPassword>,
) -> Result<StatusCode, Problem> {
    let ResetPassword { token, password } = body.value;
    let (token, password) = (Secret::new(token.to_string()), Secret::new(password));
    portal
        .set_password(visit.address, id.as_str(), &token, password)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the password. Every other session of the account ends.
#[utoipa::path(
    post,
    path = "/api/v2/developer/change-password",
    operation_id = "change-password",
    tag = TAG,
    request_body = ChangePassword,
    responses((status = 204, description = "It is changed, and this session goes on as a new one")),
)]
pub(super) async fn change_password(
    State(portal): State<Portal>,
    me: Me,
    body: Body<ChangePassword>,
) -> Result<Response, Problem> {
    let ChangePassword {
        old_password,
        password,
    } = body.value;
    let (old, new) = (Secret::new(old_password), Secret::new(password));
    let caller = me.asking.caller();
    let from = me.visit.address;
    let session = portal
        .change_password(&caller, from, &me.developer, old, new)
        .await?;
    Ok(me.visit.begin(&session))
}

/// The address of a form.
pub(in crate::portal) fn address(text: &str) -> Result<Email, Problem> {
    let fault = || Fault::new("email", "format", "expected an e-mail address");
    Email::new(text).ok_or_else(|| Problem::invalid(Source::Body, vec![fault()]))
}
