//! A secret is where it has to be, and nowhere else.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{Portal, application, provider, text};

/// A secret in every form in which it could leak.
fn forms(secret: &str) -> Vec<String> {
    let base64 = BASE64_STANDARD.encode(secret);
    let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let quoted = json!(secret).to_string();
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    // In base64 of something around it, it stands in one of three shifts.
    let inside = |padding: &str| {
        let text = BASE64_STANDARD.encode(format!("{padding}{secret}"));
        text[8..text.len() - 8].to_owned()
    };
    let mut forms = vec![secret.to_owned(), base64, encoded, hex];
    forms.push(quoted.trim_matches('"').to_owned());
    forms.extend(["", "x", "xx"].map(inside));
    forms
}

#[tokio::test]
async fn secrets_are_in_no_answer_log_trail_or_file() {
    let portal = Portal::start().await;
    let issuer = portal.world.idp.issuer.clone();
    let planted = [
        "initial+token/sesame=1 \"quoted\"",
        "client-secret~sesame:2%&",
        "dcr-token-sesame-3-abcdefgh",
        "bridge-key-sesame-4-abcdefgh",
        "changed-secret-sesame-5-abcd",
    ];
    let mut answers = Vec::new();
    let mut keep = |response: crate::harness::client::Response| {
        answers.push(format!("{:?} {}", response.lines, response.text()));
        response
    };
    let configs = [
        (
            "one",
            "wso2",
            json!({"initial_client_id": "a", "initial_client_secret": planted[0]}),
        ),
        (
            "two",
            "azureAd",
            json!({"initial_client_id": "a", "initial_client_secret": planted[1]}),
        ),
        ("three", "okta", json!({"dcr_token": planted[2]})),
        (
            "four",
            "http",
            json!({"dcr_base_url": "https://bridge.test", "api_key": planted[3]}),
        ),
    ];
    for (name, kind, config) in configs {
        let mut body = provider(name, &issuer);
        body["provider_type"] = json!(kind);
        body["dcr_config"] = config.clone();
        let call = portal.with_json("POST", "/v2/dcr-providers", &body);
        let made = keep(call.header("Idempotency-Key", name).send().await);
        let target = format!("/v2/dcr-providers/{}", super::id(made.assert_status(201)));
        keep(portal.get(&target).send().await);
        keep(portal.post("/v2/dcr-providers", &body).await);
        // A fault beside it, a member of the wrong type, and a broken text.
        body["nmae"] = json!(1);
        keep(portal.post("/v2/dcr-providers", &body).await);
        body["dcr_config"] = config.as_object().unwrap().values().cloned().collect();
        keep(portal.post("/v2/dcr-providers", &body).await);
        let broken = portal.call("POST", "/v2/dcr-providers");
        let broken = broken.header("Content-Type", "application/json");
        keep(broken.body(format!("{{{config}")).send().await);
        if name == "two" {
            let change = json!({"dcr_config": {"initial_client_secret": planted[4]}});
            keep(portal.patch(&target, &change).await);
        }
    }
    let strategy = portal.ready().await;
    let made = portal
        .post("/v2/applications", &application("Trip Planner", &strategy))
        .await;
    let secret = text(&made.assert_status(201).json()["client_secret"]);
    let target = format!("/v2/applications/{}", super::id(&made));
    for path in [
        "/v2/dcr-providers",
        "/v2/application-auth-strategies",
        "/v2/applications",
        "/v2/audit?page[size]=100",
        "/v2/openapi.json",
        "/explain",
        "/metrics",
        &target,
        &format!("{target}/credentials"),
    ] {
        keep(portal.get(path).send().await);
    }
    let directory = portal.world.gateway.directory.path();
    let database = fs::read_dir(directory).unwrap().flatten();
    let database =
        database.filter(|entry| entry.file_name().to_string_lossy().contains("registry.db"));
    let mut files = 0;
    for entry in database {
        files += 1;
        let bytes = fs::read(entry.path()).unwrap();
        answers.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    assert!(files > 0, "the database is there");
    answers.extend(portal.world.gateway.log());
    for secret in planted.into_iter().chain([super::INITIAL_TOKEN, &secret]) {
        for form in forms(secret) {
            for answer in &answers {
                assert!(!answer.contains(&form), "{form} is in {answer}");
            }
        }
    }
}
