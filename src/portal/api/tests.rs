//! What the document says, and that bodies are held against it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    applications,
    body::{self, Body},
    credentials, document, my, providers, registrations, strategies,
};

fn operations() -> impl Iterator<Item = (String, String, &'static Value)> {
    let paths = document::json()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (path.clone(), method.clone(), operation))
    })
}

#[test]
fn every_schema_of_the_document_is_one() {
    let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
    for document in [document::json(), my::document::json()] {
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (name, schema) in schemas {
            let other = known.insert(name, schema);
            assert!(
                other.is_none_or(|other| other == schema),
                "{name} means two things"
            );
        }
    }
    let rules: BTreeSet<_> = body::rules().collect();
    let names: BTreeSet<_> = known.into_keys().collect();
    assert_eq!(rules, names, "a schema cannot be used");
}

#[test]
fn every_reference_of_the_documents_leads_somewhere() {
    fn walk(document: &Value, value: &Value, missing: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(place)) = members.get("$ref") {
                    let place = place.strip_prefix('#').unwrap();
                    if document.pointer(place).is_none() {
                        missing.push(place.to_owned());
                    }
                }
                for value in members.values() {
                    walk(document, value, missing);
                }
            }
            Value::Array(items) => {
                for value in items {
                    walk(document, value, missing);
                }
            }
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for document in [document::json(), my::document::json()] {
        walk(document, document, &mut missing);
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn operations_have_names_and_answers_of_their_own() {
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} comes twice");
        let answers = operation["responses"].as_object().unwrap();
        for status in ["400", "401", "429", "500", "503"] {
            assert!(answers.contains_key(status), "{method} {path}: {status}");
        }
        assert!(operation["summary"].is_string(), "{method} {path}");
    }
    assert_eq!(names.len(), 39, "{names:?}");
}

#[test]
fn examples_of_bodies_fit_their_schemas() {
    let schemas = document::json()["components"]["schemas"]
        .as_object()
        .unwrap();
    let mut tried = 0;
    for (name, schema) in schemas {
        let Some(example) = schema.get("example").filter(|example| example.is_object()) else {
            continue;
        };
        let faults = body::faults(name, example, &[]).unwrap();
        assert_eq!(faults, [], "{name}");
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

/// Field and rule of each fault; empty: the body is good.
fn refused<T: body::Form>(body: &Value) -> Vec<(String, String)> {
    let Err(problem) = body::understand::<T>(body.as_object().unwrap().clone()) else {
        return Vec::new();
    };
    let told = serde_json::to_value(problem.invalid_parameters()).unwrap();
    let each = told.as_array().unwrap().iter();
    each.map(|fault| {
        assert_eq!(fault["source"], "body");
        let text = |member: &str| fault[member].as_str().unwrap().to_owned();
        (text("field"), text("rule"))
    })
    .collect()
}

/// A body with one member set, or removed by null.
fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(member)),
        value => parent[member] = value,
    }
    body
}

fn one(field: &str, rule: &str) -> Vec<(String, String)> {
    vec![(field.to_owned(), rule.to_owned())]
}

#[test]
fn providers_are_held_against_the_schema_of_their_type() {
    let good = json!({
        "name": "auth0", "provider_type": "auth0", "issuer": "https://tenant.auth0.com",
        "dcr_config": {"initial_client_id": "a", "initial_client_secret": "b"},
    });
    assert_eq!(refused::<providers::New>(&good), []);
    for variant in providers::VARIANTS {
        assert_eq!(
            refused::<providers::New>(&variant.example()),
            [],
            "{variant:?}"
        );
    }
    let long = "x".repeat(101);
    for (pointer, value, faults) in [
        (
            "/provider_type",
            json!("Curity"),
            one("provider_type", "enum"),
        ),
        (
            "/provider_type",
            Value::Null,
            one("provider_type", "required"),
        ),
        ("/provider_type", json!(7), one("provider_type", "enum")),
        ("/name", Value::Null, one("name", "required")),
        ("/name", json!(long), one("name", "max_length")),
        ("/name", json!("a b"), one("name", "pattern")),
        ("/name", json!(7), one("name", "type")),
        ("/issuer", json!("ftp://idp"), one("issuer", "pattern")),
        (
            "/issuer",
            json!("http://idp.example.com"),
            one("issuer", "pattern"),
        ),
        ("/isuer", json!("x"), one("isuer", "unknown_property")),
        ("/dcr_config", json!("secret"), one("dcr_config", "type")),
        (
            "/dcr_config/initial_client_secret",
            Value::Null,
            one("dcr_config.initial_client_secret", "required"),
        ),
        (
            "/dcr_config/dcr_token",
            json!("x"),
            one("dcr_config.dcr_token", "unknown_property"),
        ),
        (
            "/dcr_config/deadline_seconds",
            json!(0),
            one("dcr_config.deadline_seconds", "minimum"),
        ),
        ("/labels", json!({"a": 1}), one("labels.a", "type")),
        (
            "/labels",
            json!({"a b": "c"}),
            one("labels", "property_names"),
        ),
        (
            "/display_name",
            json!("a\u{0}b"),
            one("display_name", "pattern"),
        ),
    ] {
        assert_eq!(
            refused::<providers::New>(&with(&good, pointer, value)),
            faults,
            "{pointer}"
        );
    }
    let several = json!({"provider_type": "okta", "nmae": 1});
    let faults = refused::<providers::New>(&several);
    assert!(faults.len() >= 4, "all at once: {faults:?}");
}

#[test]
fn what_never_changes_says_so() {
    for name in ["id", "name", "provider_type"] {
        let faults = refused::<providers::Patch>(&json!({name: "x"}));
        assert_eq!(faults, one(name, "immutable"));
    }
    assert_eq!(
        refused::<providers::Patch>(&json!({"nam": "x"})),
        one("nam", "unknown_property")
    );
    assert_eq!(
        refused::<applications::Patch>(&json!({"client_id": "x"})),
        one("client_id", "immutable")
    );
}

#[test]
fn strategies_know_the_options_of_the_file_and_of_konnect() {
    let good = json!({
        "name": "partners", "strategy_type": "openid_connect",
        "configs": {"openid-connect": {
            "issuer": "https://idp.example.com", "auth_methods": ["bearer", "client_credentials"],
            "credential_claim": ["azp"], "scopes": ["openid"],
            "bearer": {"leeway": "10s"}, "session": {"idle_timeout": "5m"}, "leeway": 30,
        }},
    });
    assert_eq!(refused::<strategies::New>(&good), []);
    let at = "/configs/openid-connect";
    let field = "configs.openid-connect";
    for (pointer, value, faults) in [
        (
            "/strategy_type".to_owned(),
            json!("key_auth"),
            one("strategy_type", "enum"),
        ),
        (
            format!("{at}/issuer"),
            Value::Null,
            one(&format!("{field}.issuer"), "required"),
        ),
        (
            format!("{at}/consumer_by"),
            json!([]),
            one(&format!("{field}.consumer_by"), "unknown_property"),
        ),
        (
            format!("{at}/auth_methods"),
            json!(["key"]),
            one(&format!("{field}.auth_methods.0"), "enum"),
        ),
        (
            format!("{at}/scopes"),
            json!(["a b"]),
            one(&format!("{field}.scopes.0"), "pattern"),
        ),
        (
            "/dcr_provider_id".to_owned(),
            json!("x"),
            one("dcr_provider_id", "format"),
        ),
    ] {
        assert_eq!(
            refused::<strategies::New>(&with(&good, &pointer, value)),
            faults,
            "{pointer}"
        );
    }
    let patch = json!({"configs": {"openid-connect": {"scopes": null}}, "dcr_provider_id": null});
    assert_eq!(refused::<strategies::Patch>(&patch), []);
    let Body { value, .. } =
        body::understand::<strategies::Patch>(patch.as_object().unwrap().clone())
            .unwrap_or_else(|problem| panic!("{problem:?}"));
    assert!(value.removes_provider(), "null is not the same as absent");
}

#[test]
fn applications_name_one_client_at_most() {
    let good = json!({
        "name": "Trip Planner", "owner": {"type": "developer", "id": "dana@example.com"},
        "auth_strategy_id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
    });
    assert_eq!(refused::<applications::New>(&good), []);
    let both = with(&good, "/client_id", json!("a"));
    assert_eq!(refused::<applications::New>(&both), []);
    let both = with(&both, "/dcr_client_id", json!("b"));
    assert_eq!(refused::<applications::New>(&both), one("", "exclusive"));
    let team = with(&good, "/owner/type", json!("team"));
    assert_eq!(
        refused::<applications::New>(&team),
        one("owner.type", "enum")
    );
    let scope = with(&good, "/scopes", json!(["a", "b\"c"]));
    assert_eq!(
        refused::<applications::New>(&scope),
        one("scopes.1", "pattern")
    );
}

#[test]
fn registrations_begin_undecided_or_approved() {
    let body = |status: &str| json!({"api_id": "flights", "status": status});
    for status in ["approved", "pending"] {
        assert_eq!(refused::<registrations::New>(&body(status)), []);
    }
    for status in ["rejected", "revoked", ""] {
        assert_eq!(
            refused::<registrations::New>(&body(status)),
            one("status", "enum")
        );
    }
    assert_eq!(
        refused::<registrations::Patch>(&json!({})),
        one("status", "required")
    );
    assert_eq!(refused::<credentials::New>(&json!({})), []);
}
