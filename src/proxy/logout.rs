//! `POST /-/logout`: where sessions end, on every listener and host.
//!
//! It belongs to no API, so it has no `cors` of its own. A page of another origin may end the
//! sessions that it may use: those of the strategies that some API lists which trusts the origin
//! with credentials. What it may not use it neither ends nor clears.

use std::sync::Arc;

use http::{HeaderValue, Method as HttpMethod, header};

use super::{
    api::Api,
    authenticate::{Method, Request},
    cors::{Fields, Preflight},
    denial::{Code, Denial},
    session::{is_cross_site, named},
    state::State,
    strategy::Strategy,
};

/// The path, exactly.
pub const PATH: &str = "/-/logout";

/// Ends the session, whatever the request brought; the head of the answer, 204.
///
/// # Errors
/// The [`Denial`] for a request of another site: it could log people out at will.
pub fn log_out(state: &State, request: &Request<'_>) -> Result<Fields, Denial> {
    let trusting = trusting(state, request);
    let own = !is_cross_site(request.headers, request.host);
    if !own && trusting.is_empty() {
        return Err(Denial::new(Code::CrossSiteRequest, "cross_site_request"));
    }
    let may_end = |strategy: &Arc<Strategy>| {
        let lists = |api: &&Arc<Api>| api.strategies.iter().any(|s| Arc::ptr_eq(s, strategy));
        own || trusting.iter().any(lists)
    };
    let mut fields: Fields = vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let mut seen: Vec<&str> = Vec::new();
    let with_session = state.strategies.values().filter(|s| s.config.session);
    for strategy in with_session.filter(|strategy| may_end(strategy)) {
        let name = strategy.cookies.name(request.secure);
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if end(state, request, name, may_end) == Ended::All {
            let clear = strategy.cookies.clear(request.secure);
            fields.extend(clear.map(|line| (header::SET_COOKIE, line)));
        }
    }
    if let Some(policy) = trusting.first().and_then(|api| api.cors.as_ref()) {
        fields.extend(policy.fields(request.headers));
        fields.push((header::VARY, super::cors::VARY));
    }
    Ok(fields)
}

/// Answers the preflight of a page that wants to log out with a request that is not a simple one.
///
/// # Errors
/// The [`Denial`] for a foreign origin's.
pub fn answer_preflight(
    state: &State,
    request: &Request<'_>,
    preflight: &Preflight<'_>,
) -> Result<Fields, Denial> {
    let post = HeaderValue::from_static(HttpMethod::POST.as_str());
    let trusting = trusting(state, request);
    let policy = trusting.first().and_then(|api| api.cors.as_ref());
    policy
        .and_then(|policy| policy.answer(preflight, &post))
        .ok_or(Denial::new(Code::CrossSiteRequest, "foreign_preflight"))
}

/// The APIs whose sessions a page of the request's origin may use.
fn trusting<'a>(state: &'a State, request: &Request<'_>) -> Vec<&'a Arc<Api>> {
    let trusts =
        |api: &&Arc<Api>| api.trusts_origin(request.headers) && api.accepts(Method::Session);
    state.apis.iter().filter(trusts).collect()
}

/// What became of the sessions in a request's cookies of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// None is left.
    All,
    /// One is of a strategy that the request may not touch.
    NotAll,
}

fn end(
    state: &State,
    request: &Request<'_>,
    name: &str,
    may_end: impl Fn(&Arc<Strategy>) -> bool,
) -> Ended {
    let mut ended = Ended::All;
    for value in named(request.headers, name) {
        let Ok(session) = state.sessions.keys.open(value, name) else {
            continue;
        };
        match state.strategies.get(&*session.strategy) {
            Some(strategy) if !may_end(strategy) => ended = Ended::NotAll,
            _ => state.revocations.revoke(&session, request.now),
        }
    }
    ended
}
