//! Pages for people: "My Apps" for developers, and what operators do, at the developers' address.
//!
//! A page is made here whole, and works without a script. What it does, the REST does too: a form
//! makes the JSON body that a program would send, which is held against the same schema.
//!
//! Always true: a page that changes something is reached by POST alone, with a form that a page of
//! the same session has shown (`who::Post`); a secret is in the one answer that made it, and in no
//! other page, path or cookie; nothing comes from elsewhere, nor goes there.

mod asset;
mod form;
mod my;
mod operator;
mod page;
mod progress;
mod trouble;
mod who;
mod words;

use axum::{Router, middleware, routing::get};

use super::{
    Portal,
    api::{
        self, Voice,
        problem::{Kind, Problem},
    },
};

/// The developers' whole address: pages, and the REST below `/api/v2/`. Before them somebody has to
/// say who visits ([`api::my::visit::Visit`]).
pub fn router(portal: Portal) -> Router {
    let rest = api::my::router(portal.clone());
    let pages = Router::new()
        .route("/assets/{version}/{name}", get(asset::get))
        .merge(my::routes())
        .merge(operator::routes());
    let voice = Voice {
        whose: "page",
        tell: page::tell,
    };
    let pages = pages.fallback(async || Problem::new(Kind::NotFound));
    let pages = api::finished(pages, portal, voice);
    rest.merge(pages.layer(middleware::map_response(page::harden)))
}
