//! The OpenAPI 3.1 document: what the routes say of themselves, and what holds for all of them.
//!
//! Bodies are held against the schemas in it ([`super::body`]), lists are narrowed by the filters in
//! it ([`super::query`]): so it cannot say anything else than the code does.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use super::{
    answer, apis, applications, audit, developers,
    problem::{self, Problem},
    providers,
    query::{self, Filter},
    registrations, strategies,
};
use crate::{config, portal::konnect};

pub(super) const TAG: &str = "OpenAPI";

/// Schemas that no route names by itself.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    problem::Told<'static>,
    providers::Auth0Config,
    providers::DcrConfigPatch,
    providers::GenericConfig,
    providers::HttpConfig,
    providers::InitialClientConfig,
    providers::OktaConfig,
    providers::Wso2Config,
    strategies::OpenIdConnect,
)))]
struct Base;

/// A list: its path, by what it is narrowed, by what it is sorted.
pub(super) type List = (&'static str, &'static [Filter], &'static [&'static str]);

/// Every list.
const LISTS: [List; 9] = [
    ("/v2/apis", apis::FILTERS, &[]),
    (
        "/v2/application-auth-strategies",
        strategies::FILTERS,
        strategies::ORDERS,
    ),
    ("/v2/application-registrations", registrations::FILTERS, &[]),
    ("/v2/applications", applications::FILTERS, &[]),
    ("/v2/applications/{id}/credentials", &[], &[]),
    (
        "/v2/applications/{id}/registrations",
        registrations::OWN_FILTERS,
        &[],
    ),
    ("/v2/audit", audit::FILTERS, &[]),
    ("/v2/dcr-providers", providers::FILTERS, providers::ORDERS),
    ("/v2/developers", developers::FILTERS, &[]),
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

/// This document as JSON.
#[utoipa::path(
    get,
    path = "/v2/openapi.json",
    operation_id = "get-openapi-json",
    tag = TAG,
    responses((status = 200, description = "This document", body = serde_json::Value)),
)]
pub(super) async fn as_json() -> Response {
    answer::plain(StatusCode::OK, json())
}

/// This document as YAML.
#[utoipa::path(
    get,
    path = "/v2/openapi.yaml",
    operation_id = "get-openapi-yaml",
    tag = TAG,
    responses((status = 200, description = "This document", body = serde_json::Value, content_type = "application/yaml")),
)]
pub(super) async fn as_yaml() -> Result<Response, Problem> {
    static TEXT: LazyLock<Option<String>> = LazyLock::new(|| serde_saphyr::to_string(json()).ok());
    match &*TEXT {
        Some(text) => Ok(answer::yaml(text)),
        None => Err(Problem::new(problem::Kind::Internal)),
    }
}

fn build() -> Value {
    let (_, described) = super::routes().split_for_parts();
    // Maps, texts and numbers always serialise.
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"] = json!({
        "title": "dcr-gateway, operator's API",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "DCR providers, auth strategies, applications, registrations: on the admin \
            address, with the admin token.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    let components = &mut document["components"];
    components["securitySchemes"] = json!({"adminToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "`admin.token` of the configuration.",
    }});
    components["headers"] = headers();
    if let Some(schemas) = components["schemas"].as_object_mut() {
        finish_schemas(schemas);
    }
    document["security"] = json!([{"adminToken": []}]);
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                finish_operation(path, method, operation);
            }
        }
    }
    document
}

/// Header fields of answers.
pub(super) fn headers() -> Value {
    let text =
        |about: &str| json!({"description": about, "required": true, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": text("The request's id: the client's own, or a new one."),
        "ETag": text("For `If-Match` and `If-None-Match`."),
        "Location": text("Where it can be read."),
        "Retry-After": {
            "description": "Seconds after which to try again.",
            "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "WWW-Authenticate": text("The challenge."),
        "Idempotency-Replayed": {
            "description": "The same request was answered before.",
            "required": true,
            "schema": {"type": "string", "enum": ["true"]},
        },
    })
}

/// What derived schemas cannot say.
fn finish_schemas(schemas: &mut Map<String, Value>) {
    for variant in providers::VARIANTS {
        if let Some(config) = schemas.get_mut(variant.config) {
            config["additionalProperties"] = json!(false);
        }
        let mut form = schemas["NewDcrProvider"].clone();
        form["properties"]["provider_type"] =
            json!({"type": "string", "enum": [variant.provider_type]});
        let config = format!("#/components/schemas/{}", variant.config);
        form["properties"]["dcr_config"] = json!({"$ref": config});
        if let Some(required) = form["required"].as_array_mut() {
            required.push(json!("dcr_config"));
        }
        form["example"] = variant.example();
        schemas.insert(variant.schema.to_owned(), form);
    }
    let place = |variant: &providers::Variant| format!("#/components/schemas/{}", variant.schema);
    let each = providers::VARIANTS.iter();
    let mapping: Map<_, _> = each
        .map(|variant| (variant.provider_type.to_owned(), json!(place(variant))))
        .collect();
    let places = providers::VARIANTS.iter().map(place);
    let places: Vec<_> = places.map(|place| json!({"$ref": place})).collect();
    schemas["NewDcrProvider"] = json!({
        "description": "A DCR provider to be.",
        "oneOf": places,
        "discriminator": {"propertyName": "provider_type", "mapping": mapping},
    });
    let patch = &mut schemas["DcrConfigPatch"];
    patch["additionalProperties"] = json!(false);
    make_nullable(patch);
    schemas["NewApplication"]["not"] = json!({"required": ["client_id", "dcr_client_id"]});
    exclude(&mut schemas["GenericConfig"]);
    exclude(&mut schemas["Wso2Config"]);
    schemas["OktaConfig"]["anyOf"] = json!([
        {"required": ["dcr_token"]},
        {"required": ["initial_client_id", "initial_client_secret"]},
    ]);
    finish_options(schemas);
}

/// Exactly one way in.
fn exclude(schema: &mut Value) {
    let client = ["initial_client_id", "initial_client_secret"];
    schema["oneOf"] = json!([
        {"required": ["initial_access_token"], "properties": {"open": {"const": false}},
            "not": {"anyOf": client.map(|name| json!({"required": [name]}))}},
        {"required": client, "properties": {"open": {"const": false}},
            "not": {"required": ["initial_access_token"]}},
        {"required": ["open"], "properties": {"open": {"const": true}},
            "not": {"anyOf": [
                {"required": ["initial_access_token"]},
                {"required": ["initial_client_id"]},
                {"required": ["initial_client_secret"]},
            ]}},
    ]);
}

/// Options of strategies that are the configuration file's own, as its schema has them.
fn finish_options(schemas: &mut Map<String, Value>) {
    let file = config::schema::json().ok();
    let file: Value = file
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let options = &mut schemas["OpenIdConnect"];
    for (section, names) in [
        ("auth_strategies", &konnect::strategy::STRATEGY_KEYS[..]),
        ("identity_providers", &konnect::strategy::PROVIDER_KEYS[..]),
    ] {
        let known = &file["properties"][section]["items"]["properties"];
        for name in names {
            options["properties"][*name] = known[*name].clone();
        }
    }
    options["additionalProperties"] = json!(false);
    if let Some(required) = options["required"].as_array_mut() {
        required.push(json!("auth_methods"));
    }
    let mut patch = options.clone();
    patch["description"] = json!("Options to set; null removes one.");
    patch["required"] = json!([]);
    make_nullable(&mut patch);
    schemas.insert("OpenIdConnectPatch".to_owned(), patch);
    schemas["ConfigsPatch"]["properties"]["openid-connect"]["$ref"] =
        json!("#/components/schemas/OpenIdConnectPatch");
}

/// Null takes a member away.
fn make_nullable(patch: &mut Value) {
    for (_, member) in patch["properties"].as_object_mut().into_iter().flatten() {
        *member = json!({"anyOf": [member.clone(), {"type": "null"}]});
    }
}

/// What holds for every operation of its kind.
fn finish_operation(path: &str, method: &str, operation: &mut Value) {
    let reads = method == "get";
    let list = LISTS.iter().find(|(of, ..)| reads && *of == path);
    let creates = operation["responses"].get("201").is_some() && method == "post";
    let regenerates = path.ends_with("/regenerate-secret");
    let in_place = matches!(method, "put" | "patch" | "delete");
    let has_tag = !path.ends_with("/credentials") && (creates || matches!(method, "put" | "patch"))
        || (reads && list.is_none() && path.contains('{'));

    let own = operation.get("parameters").and_then(Value::as_array);
    let mut parameters = own.cloned().unwrap_or_default();
    if let Some((_, filters, orders)) = list {
        parameters.extend(filters.iter().flat_map(Filter::parameters));
        if !orders.is_empty() {
            parameters.push(query::sorting(orders));
        }
        parameters.extend(query::paging());
    }
    if creates || regenerates {
        parameters.push(idempotency_key());
    }
    if in_place {
        parameters.push(
            json!({"name": "If-Match", "in": "header", "required": false,
            "description": "`ETag` as it was read: nothing is done where it has changed since.",
            "schema": {"type": "string", "pattern": "^(\"[0-9]{1,18}([.][0-9a-f]{8})?\"|[*])$"}}),
        );
    }
    if reads && has_tag {
        parameters.push(
            json!({"name": "If-None-Match", "in": "header", "required": false,
            "description": "`ETag` as it was read: the answer is 304 where it has not changed.",
            "schema": {"type": "string"}}),
        );
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }

    let has_body = operation.get("requestBody").is_some();
    if path.ends_with("/credentials") && has_body {
        operation["requestBody"]["required"] = json!(false);
    }
    let responses = &mut operation["responses"];
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        let mut names = vec!["X-Request-Id"];
        if has_tag && status.starts_with('2') {
            names.push("ETag");
        }
        if status == "201" && creates {
            names.push("Location");
        }
        response["headers"] = named(&names);
    }
    if creates {
        repeat(responses);
    }
    if reads && has_tag {
        responses["304"] = json!({
            "description": "It has not changed",
            "headers": named(&["X-Request-Id", "ETag"]),
        });
    }
    let mut refusals = vec![
        ("400", "The request cannot be used as it is"),
        ("401", "The admin token is missing or wrong"),
        ("408", "The request took too long to arrive"),
        ("413", "The request body is too large"),
        ("429", "Too many requests, or too many wrong tokens"),
        ("500", "The gateway failed"),
        (
            "503",
            "The registry or the identity provider cannot be reached",
        ),
    ];
    if path.contains('{') || has_body {
        refusals.push(("404", "There is no such thing"));
    }
    if has_body {
        refusals.push(("415", "The body is not application/json"));
    }
    if !reads {
        refusals.push(("409", "It cannot be done as things stand"));
        refusals.push((
            "502",
            "The identity provider refuses, or answers what cannot be used",
        ));
        refusals.push(("504", "The identity provider took too long"));
    }
    if in_place {
        refusals.push(("412", "It has changed since it was read"));
    }
    if creates || regenerates {
        refusals.push(("422", "The idempotency key was used for another request"));
    }
    for (status, about) in refusals {
        responses[status] = refusal(status, about);
    }
}

/// The parameter by which a creation may come twice.
pub(super) fn idempotency_key() -> Value {
    json!({"name": "Idempotency-Key", "in": "header", "required": false,
        "description": "With it the request can be repeated: it is carried out once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}})
}

/// What a creation that comes twice is answered.
pub(super) fn repeat(responses: &mut Value) {
    let mut repeated = responses["201"].clone();
    repeated["description"] = json!("It was made before, by the same request");
    repeated["headers"]["Idempotency-Replayed"] = header("Idempotency-Replayed");
    responses["200"] = repeated;
}

/// An answer that says no.
pub(super) fn refusal(status: &str, about: &str) -> Value {
    let mut names = vec!["X-Request-Id"];
    match status {
        "401" => names.push("WWW-Authenticate"),
        "429" | "503" | "504" => names.push("Retry-After"),
        _ => {}
    }
    json!({
        "description": about,
        "headers": named(&names),
        "content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
        }},
    })
}

pub(super) fn named(names: &[&str]) -> Value {
    let entries = names.iter().map(|name| ((*name).to_owned(), header(name)));
    Value::Object(entries.collect())
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}
