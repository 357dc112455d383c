//! The developers' document is true: schemathesis asks for everything in it, and for what it forbids.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::json;
use tokio::process::Command;

use super::Site;
use crate::harness::portal::text;

/// Which answers to a request that fits the schemas are right beside those that schemathesis expects
/// itself: 400 where a body names another thing, 409 and 422 depend on what was before.
const SETTINGS: &str = r#"
[auth.openapi.session]
api_key = "SESSION"

[parameters]
applicationId = "APPLICATION"
productId = "PRODUCT"
productVersionId = "VERSION"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "410", "422", "429", "5xx"]
"#;

#[tokio::test]
async fn schemathesis_finds_no_failure() {
    let site = Site::with(|setup| {
        setup.config["portal"]["accounts"] = json!({"registration": "approval"});
    })
    .await;
    let strategy = site.strategy().await;
    let dana = site.developer("dana@example.com").await;
    let new = json!({"name": "A", "auth_strategy_id": strategy});
    let made = dana.ask("POST", "/api/v2/applications", new).await;
    made.assert_status(201);
    let directory = site.world.gateway.directory.path();
    let settings = directory.join("schemathesis.toml");
    let (name, session) = dana.cookie.as_ref().unwrap().split_once('=').unwrap();
    let products = dana.get("/api/v2/products").await.json();
    let product = &products["data"][0];
    let text = SETTINGS
        .replace("SESSION", session)
        .replace("APPLICATION", &text(&made.json(), "id"))
        .replace("PRODUCT", &text(product, "id"))
        .replace("VERSION", &text(&product["latest_version"], "id"));
    std::fs::write(&settings, text).unwrap();
    // Over plain http the cookie has no prefix.
    let mut document = dana.get("/api/v2/openapi.json").await.json();
    document["components"]["securitySchemes"]["session"]["name"] = json!(name);
    let place = directory.join("openapi.json");
    std::fs::write(&place, document.to_string()).unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let run = Command::new(own)
        .arg("--config-file")
        .arg(&settings)
        .arg("run")
        .arg(&place)
        .args(["--url", &format!("http://{}", site.desk)])
        .args([
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "12",
            "--seed",
            "7",
        ])
        .args(["--continue-on-failure", "--no-color", "--workers", "1"])
        // Every route is tried without a session elsewhere, and these two would end what the others
        // need.
        .args(["--exclude-checks", "ignored_auth"])
        .args(["--exclude-operation-id", "logout"])
        .args(["--exclude-operation-id", "delete-application"])
        .args(["--request-timeout", "70"])
        .current_dir(directory)
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
    assert!(dana.is_signed_in().await, "it was signed in to the end");
}
