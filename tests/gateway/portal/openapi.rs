//! The document is true: schemathesis asks for everything in it, and for what it forbids.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::json;
use tokio::process::Command;

use super::{Portal, application};
use crate::harness::gateway::ADMIN_TOKEN;

/// Which answers to a request that fits the schemas are right beside those that schemathesis
/// expects itself: 412 and 422 depend on what was before, and 400 on what else there is where a
/// body names another thing.
const SETTINGS: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429", "5xx"]

[[operations]]
include-operation-id = [
    "create-application", "create-auth-strategy", "create-registration", "replace-auth-strategy",
    "update-api", "update-auth-strategy", "update-dcr-provider",
]
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "400", "401", "403", "404", "409", "412", "422", "429", "5xx",
]
"#;

#[tokio::test]
async fn schemathesis_finds_no_failure() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let made = portal
        .post("/v2/applications", &application("A", &strategy))
        .await;
    made.assert_status(201);
    let settings = portal
        .world
        .gateway
        .directory
        .path()
        .join("schemathesis.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let document = format!("http://{}/v2/openapi.json", portal.world.gateway.admin);
    let run = Command::new(own)
        .arg("--config-file")
        .arg(&settings)
        .args(["run", &document, "--header"])
        .arg(format!("Authorization: Bearer {ADMIN_TOKEN}"))
        .args([
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "12",
            "--seed",
            "7",
        ])
        .args(["--continue-on-failure", "--no-color", "--workers", "1"])
        // Wrong tokens are counted, and soon get 429: every route is tried with one elsewhere.
        .args(["--exclude-checks", "ignored_auth"])
        // It registers at whatever host a made-up provider names, and waits for that.
        .args(["--exclude-operation-id", "verify-dcr-provider"])
        .args(["--request-timeout", "70"])
        .current_dir(portal.world.gateway.directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(Duration::from_secs(240), run).await;
    let run = run
        .expect("in time")
        .expect("tests/run.sh installs schemathesis");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}");
    assert!(
        text.contains("test cases") || text.contains("Test cases"),
        "{text}"
    );
}

#[tokio::test]
async fn the_document_is_served_in_both_forms() {
    let portal = Portal::start().await;
    let document = portal.read("/v2/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["security"], json!([{"adminToken": []}]));
    let yaml = portal.get("/v2/openapi.yaml").send().await;
    assert_eq!(yaml.header("content-type"), Some("application/yaml"));
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml.text()).unwrap();
    assert_eq!(yaml, document);
}
