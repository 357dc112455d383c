//! An operator's pages.

mod apis;
mod providers;
mod sheet;
mod sign_in;
mod strategies;
mod vendor;

use axum::{
    Router,
    routing::{get, post},
};

use crate::portal::Portal;

pub(in crate::portal::pages) fn routes() -> Router<Portal> {
    Router::new()
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
}
