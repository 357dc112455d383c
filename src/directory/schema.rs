//! The JSON Schema of the file registry (draft 2020-12), for editors: see [`super::file`].

use serde_json::{Value, json};

use super::file::{REGISTRATIONS, STATUSES};

/// The schema, as text.
///
/// # Errors
/// It cannot be written as JSON, which does not happen.
pub fn json() -> serde_json::Result<String> {
    // Whatever is neither list nor map is taken as it is written.
    let text = |doc: &str| json!({ "description": doc, "type": ["string", "number", "boolean"] });
    let states: Vec<&str> = REGISTRATIONS.iter().map(|(word, _)| *word).collect();
    let statuses: Vec<&str> = STATUSES.iter().map(|(word, _)| *word).collect();
    let application = json!({
        "type": "object",
        "required": ["name", "developer", "auth_strategy", "client_id"],
        "additionalProperties": false,
        "properties": {
            "name": text("What its developer calls it; upstreams see it as X-Application-Name."),
            "developer": text("Who answers for it, often an e-mail address; X-Developer-Id."),
            "auth_strategy": text("The name of one of auth_strategies. With an unknown one it may \
                                   call nothing."),
            "client_id": text("The id that the strategy's identity provider gave it; once for each \
                               strategy."),
            "status": {
                "description": "Whether it may call anything at all. Default: active.",
                "enum": statuses,
                "default": "active",
            },
            "registrations": {
                "description": "By the name of an API, how far its request to use that has come. \
                                Only an approved one may be called.",
                "type": "object",
                "additionalProperties": { "enum": states },
            },
            "id": {
                "description": "X-Application-Id. Default: made of strategy and client id.",
                "type": "string",
                "format": "uuid",
            },
            "credentials_valid_from": {
                "description": "Credentials, cookies and tokens made before this time are refused, \
                                as in 2026-11-21T09:30:00Z. Default: none are.",
                "type": "string",
                "pattern": TIME,
            },
        },
    });
    let schema: Value = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The applications of dcr-gateway",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "applications": {
                "description": "Who may call what.",
                "type": ["array", "null"],
                "items": application,
            },
        },
    });
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// RFC 3339.
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$";
