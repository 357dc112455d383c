//! The developers' REST: the portal API v2 of Konnect, as its published client
//! `@kong/sdk-portal-js` 2.16 calls it, over what a [`Portal`] can do.
//!
//! Always true: every route that says nothing else wants a session (`visit::Me`), and asks the
//! portal for the developer's own alone, so that what is somebody else's looks as if it were not
//! there. An API of the configuration is a product with one version.

pub mod account;
pub mod applications;
pub mod credentials;
pub mod document;
pub mod products;
pub mod registrations;
pub mod sign_in;
pub mod strategies;
pub mod visit;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Portal;

/// The routes below `/api/v2/`, without an answer to other paths; before them somebody has to say who
/// visits ([`visit::Visit`]).
pub fn router(portal: Portal) -> Router {
    let (router, _) = routes().split_for_parts();
    super::finished(
        router,
        portal,
        super::Voice {
            whose: "developer",
            tell: |problem, asked| problem.clone().for_developers().answer(asked.id),
        },
    )
}

/// Every route, with what it says of itself.
fn routes() -> OpenApiRouter<Portal> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(account::register))
        .routes(routes!(account::authenticate))
        .routes(routes!(sign_in::begin))
        .routes(routes!(sign_in::end))
        .routes(routes!(account::logout))
        .routes(routes!(account::refresh))
        .routes(routes!(account::me))
        .routes(routes!(account::reset_password))
        .routes(routes!(account::change_password))
        .routes(routes!(strategies::list))
        .routes(routes!(applications::create, applications::list))
        .routes(routes!(
            applications::get,
            applications::patch,
            applications::delete
        ))
        .routes(routes!(credentials::create, credentials::list))
        .routes(routes!(credentials::put, credentials::delete))
        .routes(routes!(credentials::refresh))
        .routes(routes!(registrations::create, registrations::list))
        .routes(routes!(registrations::get, registrations::delete))
        .routes(routes!(registrations::granted_scopes))
        .routes(routes!(registrations::granted_scopes_of_version))
        .routes(routes!(products::list))
        .routes(routes!(products::get))
        .routes(routes!(products::list_versions))
        .routes(routes!(products::get_version))
        .routes(routes!(document::as_json))
}
