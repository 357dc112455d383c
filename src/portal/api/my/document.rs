//! The OpenAPI 3.1 document of the developers' REST, as [`super::super::document`] is the
//! operator's.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use utoipa::OpenApi as _;

use super::{
    super::{
        answer,
        document::{self, List},
        problem,
        query::{self, Filter},
    },
    applications, products, registrations, strategies,
    visit::CookieKind,
};

const TAG: &str = "OpenAPI";

/// Schemas that no route names by itself.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(problem::Told<'static>)))]
struct Base;

/// Every list.
const LISTS: [List; 6] = [
    ("/api/v2/applications", applications::FILTERS, &[]),
    (
        "/api/v2/applications/auth-strategies",
        strategies::FILTERS,
        &[],
    ),
    ("/api/v2/applications/{applicationId}/credentials", &[], &[]),
    (
        "/api/v2/applications/{applicationId}/registrations",
        registrations::FILTERS,
        &[],
    ),
    ("/api/v2/products", products::FILTERS, &[]),
    (
        "/api/v2/products/{productId}/versions",
        products::VERSION_FILTERS,
        &[],
    ),
];

/// What is made there can be asked for once.
const CREATE: [&str; 3] = [
    "create-application",
    "create-credential",
    "create-application-registration",
];

/// The document.
pub fn json() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

/// The base on which routes put what they say of themselves.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v2/openapi.json",
    operation_id = "get-openapi-json",
    tag = TAG,
    security(()),
    responses((status = 200, description = "This document", body = serde_json::Value)),
)]
pub(super) async fn as_json() -> Response {
    answer::plain(StatusCode::OK, json())
}

fn build() -> Value {
    let (_, described) = super::routes().split_for_parts();
    // Maps, texts and numbers always serialise.
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"] = json!({
        "title": "dcr-gateway, developers' API",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "A developer's own applications, with their credentials and registrations: \
            the portal API v2 of Konnect, as @kong/sdk-portal-js 2.16 calls it.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["components"]["securitySchemes"] = json!({"session": {
        "type": "apiKey",
        "in": "cookie",
        "name": CookieKind::Session.name(true),
        "description": format!(
            "The cookie that signing in sets; over plain http {}.",
            CookieKind::Session.name(false),
        ),
    }});
    document["components"]["headers"] = document::headers();
    document["security"] = json!([{"session": []}]);
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                finish(path, method, operation);
            }
        }
    }
    document
}

/// What holds for every operation of its kind.
fn finish(path: &str, method: &str, operation: &mut Value) {
    let reads = method == "get";
    let list = LISTS.iter().find(|(of, ..)| reads && *of == path);
    let creates = CREATE.iter().any(|name| operation["operationId"] == *name);
    let is_open = operation.get("security").is_some();
    let has_body = operation.get("requestBody").is_some();

    let own = operation.get("parameters").and_then(Value::as_array);
    let mut parameters = own.cloned().unwrap_or_default();
    if let Some((_, filters, _)) = list {
        parameters.extend(filters.iter().flat_map(Filter::parameters));
        parameters.extend(query::paging());
    }
    if creates {
        parameters.push(document::idempotency_key());
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if operation["operationId"] == "create-credential" {
        operation["requestBody"]["required"] = json!(false);
    }

    let responses = &mut operation["responses"];
    let mut refusals = vec![
        ("400", "The request cannot be used as it is"),
        ("408", "The request took too long to arrive"),
        ("413", "The request body is too large"),
        ("429", "Too many requests or attempts"),
        ("500", "The gateway failed"),
        (
            "503",
            "The registry or the identity provider cannot be reached",
        ),
    ];
    if !is_open {
        refusals.push(("401", "Nobody has signed in"));
    }
    if path.contains('{') || has_body {
        refusals.push(("404", "There is no such thing"));
    }
    if has_body {
        refusals.push(("415", "The body is not application/json"));
    }
    if !reads {
        refusals.push(("403", "A page of another site sent it"));
        refusals.push(("409", "It cannot be done as things stand"));
        refusals.push((
            "502",
            "The identity provider refuses, or answers what cannot be used",
        ));
        refusals.push(("504", "The identity provider took too long"));
    }
    if creates {
        refusals.push(("422", "The idempotency key was used for another request"));
    }
    let own = responses.as_object().cloned().unwrap_or_default();
    for (status, about) in refusals {
        // What a route says itself is closer to the matter.
        if !own.contains_key(status) {
            responses[status] = document::refusal(status, about);
        }
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        if status.starts_with(['2', '3']) {
            let mut names = vec!["X-Request-Id"];
            if (status == "201" && creates) || status.starts_with('3') {
                names.push("Location");
            }
            response["headers"] = document::named(&names);
        } else if response.get("content").is_none() {
            let about = response["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            *response = document::refusal(status, &about);
        }
    }
    if creates {
        document::repeat(responses);
    }
}
