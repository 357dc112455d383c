//! An operator's pages.

mod sign_in;

use axum::{
    Router,
    routing::{get, post},
};

use crate::portal::Portal;

pub(in crate::portal::pages) fn routes() -> Router<Portal> {
    Router::new()
        .route("/operator/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/operator/sign-out", post(sign_in::leave))
}
