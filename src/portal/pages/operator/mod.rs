//! An operator's pages.

mod apis;
mod app;
mod apps;
mod audit;
mod developers;
mod list;
mod overview;
mod providers;
mod registrations;
mod sheet;
mod sign_in;
mod strategies;
mod traffic;
mod vendor;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};

use super::{
    page::{Done, Frame},
    trouble::Trouble,
};
use crate::portal::{
    Portal,
    api::{problem::Problem, request::RequestId},
};

pub(in crate::portal::pages) fn routes() -> Router<Portal> {
    Router::new()
        .route("/operator", get(overview::show))
        .route("/operator/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/operator/sign-out", post(sign_in::leave))
        .route(
            "/operator/providers",
            get(providers::list).post(providers::create),
        )
        .route("/operator/providers/new", get(providers::new))
        .route("/operator/providers/{id}", get(providers::show))
        .route(
            "/operator/providers/{id}/edit",
            get(providers::edit).post(providers::change),
        )
        .route("/operator/providers/{id}/verify", post(providers::verify))
        .route(
            "/operator/providers/{id}/delete",
            get(providers::delete).post(providers::deleted),
        )
        .route(
            "/operator/strategies",
            get(strategies::list).post(strategies::create),
        )
        .route("/operator/strategies/new", get(strategies::new))
        .route("/operator/strategies/{id}", get(strategies::show))
        .route(
            "/operator/strategies/{id}/edit",
            get(strategies::edit).post(strategies::change),
        )
        .route(
            "/operator/strategies/{id}/delete",
            get(strategies::delete).post(strategies::deleted),
        )
        .route("/operator/apis", get(apis::list))
        .route(
            "/operator/apis/{name}/edit",
            get(apis::edit).post(apis::change),
        )
        .merge(of_registrations())
        .merge(of_applications())
        .merge(of_developers())
        .route("/operator/audit", get(audit::list))
}

fn of_registrations() -> Router<Portal> {
    Router::new()
        .route("/operator/registrations", get(registrations::list))
        .route("/operator/registrations/{id}", post(registrations::decide))
        .route(
            "/operator/registrations/{id}/revoke",
            get(registrations::revoke),
        )
}

fn of_applications() -> Router<Portal> {
    Router::new()
        .route("/operator/applications", get(apps::list).post(apps::create))
        .route("/operator/applications/new", get(apps::new))
        .route("/operator/applications/{id}", get(app::show))
        .route(
            "/operator/applications/{id}/edit",
            get(app::edit).post(app::change),
        )
        .route(
            "/operator/applications/{id}/suspend",
            get(app::suspend).post(app::suspended),
        )
        .route("/operator/applications/{id}/activate", post(app::activated))
        .route("/operator/applications/{id}/apis", post(app::register))
        .route(
            "/operator/applications/{id}/rotate",
            get(app::rotate).post(app::rotated),
        )
        .route(
            "/operator/applications/{id}/secrets",
            get(app::add_secret).post(app::secret_added),
        )
        .route(
            "/operator/applications/{id}/secrets/{secret}/delete",
            get(app::delete_secret).post(app::secret_deleted),
        )
        .route(
            "/operator/applications/{id}/delete",
            get(app::delete).post(app::deleted),
        )
}

fn of_developers() -> Router<Portal> {
    Router::new()
        .route(
            "/operator/developers",
            get(developers::list).post(developers::invite),
        )
        .route("/operator/developers/new", get(developers::new))
        .route(
            "/operator/developers/{id}",
            get(developers::show).post(developers::decide),
        )
        .route(
            "/operator/developers/{id}/invitation",
            post(developers::invite_again),
        )
        .route("/operator/developers/{id}/close", get(developers::close))
        .route(
            "/operator/developers/{id}/delete",
            get(developers::delete).post(developers::deleted),
        )
}

/// A page in place of one that was not done, with the way back.
#[derive(Template)]
#[template(path = "operator_not_done.html", config = ".askama.toml")]
struct NotDone {
    trouble: Trouble,
    back: (String, &'static str),
}

/// Says why something was not done.
fn not_done(
    frame: Frame,
    id: &RequestId,
    problem: Problem,
    back: (String, &'static str),
) -> Result<Response, Problem> {
    Ok(frame.answer(not_done_yet(id, problem, back)?))
}

/// The same where the page goes on.
fn not_done_yet(
    id: &RequestId,
    problem: Problem,
    back: (String, &'static str),
) -> Result<Done, Problem> {
    let trouble = Trouble::new(&problem, id.as_str()).told_to_operator(true);
    let page = NotDone { trouble, back };
    Done::refused("Not done", &page, problem)
}
