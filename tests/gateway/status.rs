//! What an operator sees: liveness, readiness, metrics, the access log.

use std::process::Command;

use serde_json::json;

use crate::harness::{
    APP, SECRET, World,
    client::Call,
    eventually,
    gateway::{ADMIN_TOKEN, Wait},
    idp::Idp,
};

#[tokio::test]
async fn a_ready_gateway_says_so_part_by_part() {
    let world = World::start().await;
    world.gateway.status("/livez").await.assert_status(200);
    let ready = world.gateway.status("/readyz").await;
    ready.assert_status(200);
    let text = ready.text();
    for part in ["idp", "registry", "listener"] {
        assert!(
            text.lines().any(|line| line.contains(part)),
            "{part} in {text}"
        );
    }
}

#[tokio::test]
async fn a_part_that_is_not_ready_is_named() {
    let idp = Idp::start().await;
    idp.down();
    let world = World::around(idp, |s| {
        s.wait = Wait::Listening;
        s.applications = json!(null);
    })
    .await;
    world.gateway.status("/livez").await.assert_status(200);
    let unready = world.gateway.status("/readyz").await;
    unready.assert_status(503);
    assert!(unready.text().contains("registry"), "{}", unready.text());
    world
        .gateway
        .edit_applications(|a| *a = json!({"applications": []}));
    world.idp.up();
    world.gateway.wait_until_ready().await;
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world
        .refuses(world.flights().basic(APP, "wrong"), 401, "invalid_client")
        .await;
    world
        .refuses(world.flights(), 401, "credentials_required")
        .await;
    world.passes(world.gateway.get("/open")).await;
    for (name, labels, least) in [
        (
            "dcr_requests_total",
            &[("api", "flights"), ("code", "permit")][..],
            3.0,
        ),
        (
            "dcr_requests_total",
            &[("api", "flights"), ("code", "invalid_client")],
            1.0,
        ),
        (
            "dcr_requests_total",
            &[("api", "open"), ("code", "permit")],
            1.0,
        ),
        (
            "dcr_verdicts_total",
            &[
                ("strategy", "partners"),
                ("method", "bearer"),
                ("reason", "permit"),
            ],
            1.0,
        ),
        (
            "dcr_verdicts_total",
            &[
                ("strategy", "partners"),
                ("method", "client_credentials"),
                ("reason", "permit"),
            ],
            2.0,
        ),
        (
            "dcr_verdicts_total",
            &[
                ("method", "client_credentials"),
                ("reason", "invalid_client"),
            ],
            1.0,
        ),
        ("dcr_request_seconds_count", &[], 6.0),
        ("dcr_authentication_seconds_count", &[], 4.0),
        ("dcr_upstream_seconds_count", &[], 4.0),
        (
            "dcr_idp_calls_total",
            &[("identity_provider", "idp"), ("endpoint", "token")],
            2.0,
        ),
        (
            "dcr_idp_calls_total",
            &[("identity_provider", "idp"), ("endpoint", "jwks")],
            1.0,
        ),
        (
            "dcr_cache_hits_total",
            &[("strategy", "partners"), ("cache", "pairs")],
            1.0,
        ),
        (
            "dcr_cache_misses_total",
            &[("strategy", "partners"), ("cache", "pairs")],
            1.0,
        ),
        (
            "dcr_cache_entries",
            &[("strategy", "partners"), ("cache", "pairs")],
            1.0,
        ),
        ("dcr_applications", &[], 1.0),
        ("dcr_build_info", &[], 1.0),
    ] {
        eventually!(
            world.gateway.metric(name, labels).await >= least,
            "{name} {labels:?} is at least {least}"
        );
    }
    let text = world.gateway.status("/metrics").await.text();
    for name in [
        "dcr_cache_evictions_total",
        "dcr_connection_refusals_total",
        "dcr_connections",
        "dcr_key_set_age_seconds",
        "dcr_log_lines_dropped_total",
        "dcr_reloads_total",
        "dcr_session_too_large_total",
    ] {
        assert!(
            text.contains(&format!("# TYPE {name} ")),
            "{name} is missing"
        );
    }
    assert!(text.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let world = World::start().await;
    for n in 0..20 {
        world.gateway.get(&format!("/made-up-{n}")).send().await;
        world
            .gateway
            .call(&format!("VERB{n}"), "/flights")
            .send()
            .await;
        world
            .flights()
            .basic(&format!("client-{n}"), "x")
            .send()
            .await;
    }
    let text = world.gateway.status("/metrics").await.text();
    for made_up in ["made-up-", "VERB", "client-1"] {
        assert!(!text.contains(made_up), "{made_up} is a label");
    }
}

#[tokio::test]
async fn everything_else_on_the_admin_address_needs_its_token() {
    let world = World::start().await;
    let ask = |path: &str| Call::new(world.gateway.admin, "GET", path);
    let nothing = ask("/nothing-here").bearer(ADMIN_TOKEN);
    // Whoever has never known it could not go on after ten wrong ones.
    nothing.send().await.assert_status(404);
    for path in [
        "/",
        "/explain",
        "/v2/dcr-providers",
        "/metrics/x",
        "/livez/../explain",
    ] {
        for call in [
            ask(path),
            ask(path).bearer("wrong"),
            ask(path).bearer(&format!("{ADMIN_TOKEN}x")),
            ask(path).basic("admin", ADMIN_TOKEN),
        ] {
            assert_eq!(call.send().await.status, 401, "{path}");
        }
    }
    nothing.send().await.assert_status(404);
}

#[tokio::test]
async fn a_status_address_has_the_three_paths_and_nothing_else() {
    let world = World::with(|s| s.config["status"] = json!({"address": "127.0.0.1:0"})).await;
    let address = world
        .gateway
        .address("status")
        .expect("the status address is logged");
    for path in ["/livez", "/readyz", "/metrics"] {
        Call::new(address, "GET", path)
            .send()
            .await
            .assert_status(200);
    }
    for path in ["/", "/explain", "/flights"] {
        let call = Call::new(address, "GET", path).bearer(ADMIN_TOKEN);
        call.send().await.assert_status(404);
    }
}

#[tokio::test]
async fn each_request_is_logged_once() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    world
        .refuses(world.flights(), 401, "credentials_required")
        .await;
    world
        .refuses(world.gateway.get("/nowhere?secret=1"), 404, "no_route")
        .await;
    eventually!(world.gateway.access_log().len() == 3, "three lines");
    let lines = world.gateway.access_log();
    let text = |n: usize| lines[n].to_string();
    assert_eq!(lines[0]["status"], 200);
    for part in ["flights", "GET", APP] {
        assert!(text(0).contains(part), "{part} in {}", text(0));
    }
    assert_eq!(lines[1]["status"], 401);
    assert!(text(1).contains("credentials_required"), "{}", text(1));
    assert!(
        text(2).contains("no_route") && !text(2).contains("secret=1"),
        "{}",
        text(2)
    );
    let ids: std::collections::HashSet<_> =
        lines.iter().map(|l| l["request_id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn the_access_log_can_be_off() {
    let world = World::with(|s| s.config["log"] = json!({"access": "off"})).await;
    world.passes(world.gateway.get("/open")).await;
    world.passes(world.gateway.get("/open")).await;
    assert!(world.gateway.access_log().is_empty());
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted_and_nobody_waits_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("program");
    let world = World::with(|setup| {
        let begin = format!("exec '{}' \"$@\" >/dev/full", setup.program.display());
        // Written by another process: this one may be forking, and what is open for writing cannot run.
        let written = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod +x \"$0\"",
            ])
            .arg(&script)
            .arg(begin)
            .status();
        assert!(written.unwrap().success());
        setup.program.clone_from(&script);
    })
    .await;
    for _ in 0..3 {
        world.passes(world.flights().basic(APP, SECRET)).await;
    }
    eventually!(
        world
            .gateway
            .metric("dcr_log_lines_dropped_total", &[])
            .await
            >= 3.0,
        "three lines are counted"
    );
    world.passes(world.flights().basic(APP, SECRET)).await;
}
