//! The operator's REST, and in [`my`] that of developers: Konnect's shapes over what a [`Portal`] can
//! do.
//!
//! A file for each resource. What they share: [`request`] reads the head, [`body`] and [`query`]
//! the rest; `answer` says yes, [`problem`] no; [`document`] tells it all as OpenAPI 3.1.
//!
//! Always true: whoever reaches a route was let in before, since this router knows no token; an
//! operation that has begun runs to its end, whoever goes away meanwhile; no answer may be stored.

mod answer;
pub mod apis;
pub mod applications;
pub mod audit;
pub mod body;
pub mod credentials;
pub mod developers;
pub mod document;
pub mod my;
pub(in crate::portal) mod path;
pub mod problem;
pub mod providers;
pub mod query;
pub mod registrations;
pub mod request;
pub mod shape;
pub mod strategies;

#[cfg(test)]
mod tests;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Portal;
use problem::{Kind, Problem};
use request::{Operation, RequestId};

/// The routes below `/v2/`, without any guard.
pub fn router(portal: Portal) -> Router {
    let (router, _) = routes().split_for_parts();
    let router = router.fallback(async || Problem::new(Kind::NotFound));
    finished(router, portal, Voice::of_rest("operator"))
}

/// How refusals are told, and to whom.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Voice {
    /// For the log.
    pub(in crate::portal) whose: &'static str,
    /// Makes the answer.
    pub(in crate::portal) tell: fn(&Problem, &Asked<'_>) -> Response,
}

/// Which request is refused.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Asked<'a> {
    /// Its id.
    pub(in crate::portal) id: &'a RequestId,
    /// Its method.
    pub(in crate::portal) method: &'a Method,
    /// Its path, without the query.
    pub(in crate::portal) path: &'a str,
}

/// Why a page that was shown refuses something: for the log alone.
#[derive(Clone, Debug)]
pub(in crate::portal) struct Refused(pub(in crate::portal) Problem);

impl Voice {
    /// As RFC 9457 has it.
    fn of_rest(whose: &'static str) -> Self {
        Self {
            whose,
            tell: |problem, asked| problem.answer(asked.id),
        }
    }
}

/// Routes with what all of them have.
pub(in crate::portal) fn finished(router: Router<Portal>, portal: Portal, voice: Voice) -> Router {
    router
        .method_not_allowed_fallback(async || Problem::new(Kind::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(body::LIMIT))
        .layer(middleware::from_fn_with_state(voice, around))
        .with_state(portal)
}

/// Every route, with what it says of itself.
fn routes() -> OpenApiRouter<Portal> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(providers::create, providers::list))
        .routes(routes!(providers::get, providers::patch, providers::delete))
        .routes(routes!(providers::verify))
        .routes(routes!(strategies::create, strategies::list))
        .routes(routes!(
            strategies::get,
            strategies::put,
            strategies::patch,
            strategies::delete
        ))
        .routes(routes!(applications::create, applications::list))
        .routes(routes!(
            applications::get,
            applications::patch,
            applications::delete
        ))
        .routes(routes!(credentials::create, credentials::list))
        .routes(routes!(credentials::delete))
        .routes(routes!(credentials::regenerate))
        .routes(routes!(registrations::create, registrations::list_own))
        .routes(routes!(registrations::list))
        .routes(routes!(
            registrations::get,
            registrations::patch,
            registrations::delete
        ))
        .routes(routes!(apis::list))
        .routes(routes!(apis::get, apis::patch))
        .routes(routes!(developers::create, developers::list))
        .routes(routes!(
            developers::get,
            developers::patch,
            developers::delete
        ))
        .routes(routes!(developers::invite))
        .routes(routes!(audit::list))
        .routes(routes!(document::as_json))
        .routes(routes!(document::as_yaml))
}

/// What is done for every request: it gets an id, runs to its end, and its answer its last form.
async fn around(State(voice): State<Voice>, mut request: Request, next: Next) -> Response {
    let whose = voice.whose;
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let head = request.headers().clone();
    request.extensions_mut().insert(id.clone());
    // A task of its own: a client that goes away takes its connection along, not the operation.
    let operation = request.extensions().get::<Operation>().cloned();
    let answered = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(operation);
        response
    });
    let answered = answered.await;
    let mut response = answered.unwrap_or_else(|error| {
        tracing::error!(%error, request_id = %id, whose, "an operation ended early");
        Problem::new(Kind::Internal).into_response()
    });
    let problem = response.extensions_mut().remove::<Problem>();
    let shown = response.extensions_mut().remove::<Refused>();
    let refusal = problem
        .as_ref()
        .or(shown.as_ref().map(|Refused(shown)| shown));
    let code = refusal.map(Problem::code);
    let reason = refusal.and_then(Problem::logged);
    let status = response.status();
    if status.is_server_error() {
        tracing::warn!(request_id = %id, whose, %method, path, status = status.as_u16(), code,
            reason, "a request failed");
    } else if !matches!(method, Method::GET | Method::HEAD) {
        tracing::info!(request_id = %id, whose, %method, path, status = status.as_u16(), code,
            "a request");
    }
    if let Some(problem) = problem {
        let asked = Asked {
            id: &id,
            method: &method,
            path: &path,
        };
        let mut told = (voice.tell)(&problem, &asked);
        if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
            told.headers_mut().insert(header::ALLOW, allow);
        }
        return told;
    }
    finish(&method, &head, &id, response)
}

/// Gives a good answer what all of them have, and says so where the client knows it already.
fn finish(method: &Method, head: &HeaderMap, id: &RequestId, response: Response) -> Response {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let tag = response.headers().get(header::ETAG);
    let known = tag.is_some_and(|tag| request::is_known(head, tag));
    let mut response = match reads && known && response.status() == StatusCode::OK {
        true => {
            let tag = response.headers().get(header::ETAG).cloned();
            let mut same = StatusCode::NOT_MODIFIED.into_response();
            if let Some(tag) = tag {
                same.headers_mut().insert(header::ETAG, tag);
            }
            same
        }
        false => response,
    };
    let fields = response.headers_mut();
    fields
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    fields.insert(request::REQUEST_ID, id.as_field());
    response
}
