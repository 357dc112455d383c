//! Answers that say yes.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{problem::Kind, problem::Problem, request};
use crate::portal::Created;

/// Says that a creation was answered before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// One thing with its entity tag.
pub(super) fn one<T: Serialize>(status: StatusCode, revision: i64, thing: &T) -> Response {
    match serde_json::to_vec(thing) {
        Ok(body) => {
            let tag = [(header::ETAG, request::tag(revision, &body))];
            (status, tag, json(body)).into_response()
        }
        Err(_) => Problem::new(Kind::Internal).into_response(),
    }
}

/// Something that has no revision: a list, a verdict.
pub(super) fn plain<T: Serialize>(status: StatusCode, thing: &T) -> Response {
    match serde_json::to_vec(thing) {
        Ok(body) => (status, json(body)).into_response(),
        Err(_) => Problem::new(Kind::Internal).into_response(),
    }
}

/// What a creation gave: 201 and where it is, or 200 where the same request made it before.
/// `shown` is the thing as it is read later, whose tag this is; `told` what is told only now.
pub(super) fn created<T, U: Serialize, V: Serialize>(
    made: &Created<T>,
    revision: Option<i64>,
    place: &str,
    shown: &U,
    told: &V,
) -> Response {
    let status = match made.repeated {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let mut response = plain(status, told);
    let fields = response.headers_mut();
    if let Some(revision) = revision {
        tagged(fields, revision, shown);
    }
    mark(fields, made.repeated);
    if let Ok(place) = HeaderValue::from_str(place) {
        fields.insert(header::LOCATION, place);
    }
    response
}

/// What a change gave. `shown` is the thing as it is read later, whose tag this is; `told` what is
/// told only now.
pub(super) fn changed<T: Serialize, U: Serialize>(revision: i64, shown: &T, told: &U) -> Response {
    let mut response = plain(StatusCode::OK, told);
    tagged(response.headers_mut(), revision, shown);
    response
}

fn tagged<T: Serialize>(fields: &mut HeaderMap, revision: i64, shown: &T) {
    let shown = serde_json::to_vec(shown).unwrap_or_default();
    fields.insert(header::ETAG, request::tag(revision, &shown));
}

/// Says whether it was answered before.
pub(super) fn mark(fields: &mut HeaderMap, repeated: bool) {
    if repeated {
        fields.insert(REPLAYED, HeaderValue::from_static("true"));
    }
}

fn json(body: Vec<u8>) -> impl axum::response::IntoResponse {
    let form = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, form)], body)
}

/// A text in YAML.
pub(super) fn yaml(text: &'static str) -> Response {
    let form = HeaderValue::from_static("application/yaml");
    ([(header::CONTENT_TYPE, form)], text).into_response()
}
