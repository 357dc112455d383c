//! A developer's pages.

mod account;
pub(super) mod app;
mod apps;
pub(super) mod secret;
mod sign_in;

use axum::{
    Router,
    routing::{get, post},
};

use crate::portal::Portal;

pub(super) fn routes() -> Router<Portal> {
    Router::new()
        .route("/", get(sign_in::home))
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/register", get(account::ask).post(account::asked))
        .route("/invitation", get(account::invited).post(account::accept))
        .route("/account", get(account::show).post(account::change))
        .route("/apps", get(apps::list).post(apps::create))
        .route("/apps/new", get(apps::new))
        .route("/apps/{id}", get(app::show))
        .route("/apps/{id}/edit", get(app::edit).post(app::change))
        .route("/apps/{id}/delete", get(app::delete).post(app::deleted))
        .route(
            "/apps/{id}/rotate",
            get(secret::rotate).post(secret::rotated),
        )
        .route("/apps/{id}/secrets", get(secret::add).post(secret::added))
        .route(
            "/apps/{id}/secrets/{secret}/delete",
            get(secret::delete).post(secret::deleted),
        )
        .route("/apps/{id}/apis", post(app::ask))
        .route(
            "/apps/{id}/apis/{registration}/delete",
            get(app::leave).post(app::left),
        )
}
