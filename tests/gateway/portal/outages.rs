//! A registry that is down: traffic goes on with what was known last, the operator is told, and what
//! ends here stays ended.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    products::Product,
    site::{Site, Source},
};
use crate::harness::{
    eventually,
    gateway::Gateway,
    portal::Store,
    postgres::{self, Cluster},
};

/// The line of `/readyz` about the registry, which is down or not; `/readyz` itself stays 200.
async fn tells(gateway: &Gateway, start: &str) {
    let mut last = String::new();
    eventually!(
        {
            let response = gateway.status("/readyz").await;
            response.assert_status(200);
            last = response.text();
            last.lines().any(|line| line.starts_with(start))
        },
        "/readyz says {start:?}: {last}"
    );
}

#[tokio::test]
async fn traffic_goes_on_and_the_operator_is_told() {
    let mut cluster = Cluster::start().await;
    let store = Store::Postgres(cluster.database().await);
    let stage = Arc::new(Product::Bridge.start().await);
    let site = Site::start(&stage, Source::Registry, &store).await;
    let strategy = site.bring().await;
    let (good, bad) = (
        site.operator.application(&strategy).await,
        site.operator.application(&strategy).await,
    );
    for made in [&good, &bad] {
        site.operator.approve(made, "flights").await;
    }
    site.operator.set_status(&bad, "suspended").await;
    tells(&site.gateway, "ok registry").await;
    assert_eq!(site.gateway.metric("dcr_registry_up", &[]).await, 1.0);

    cluster.stop().await;
    tells(&site.gateway, "failing registry: ").await;
    assert_eq!(site.gateway.metric("dcr_registry_up", &[]).await, 0.0);
    site.passes_in_each_way(&good).await;
    let call = site.get().basic(&bad.client_id, &bad.secret);
    site.refuses(call, 403, "application_suspended").await;
    let call = site.get().basic("nobody", "nothing");
    site.refuses(call, 401, "invalid_client").await;
    let application = format!("/v2/applications/{}", good.id);
    let new = json!({
        "name": "Another", "owner": {"type": "developer", "id": "dana@example.com"},
        "auth_strategy_id": strategy,
    });
    for (method, path, body) in [
        ("GET", "/v2/applications", Value::Null),
        ("GET", &application, Value::Null),
        ("POST", "/v2/applications", new.clone()),
        ("PATCH", &application, json!({"status": "suspended"})),
        ("DELETE", &application, Value::Null),
        ("GET", "/v2/dcr-providers", Value::Null),
        ("GET", "/v2/audit", Value::Null),
        (
            "PATCH",
            "/v2/apis/flights",
            json!({"auto_approve_registrations": true}),
        ),
    ] {
        let response = site.operator.ask(method, path, body).await;
        let told = (response.status, response.code());
        let wanted = (503, "registry_unavailable".to_owned());
        assert_eq!(told, wanted, "{method} {path}: {}", response.text());
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "Retry-After: {wait}");
    }
    site.passes_in_each_way(&good).await;

    cluster.go_on().await;
    tells(&site.gateway, "ok registry").await;
    assert_eq!(site.gateway.metric("dcr_registry_up", &[]).await, 1.0);
    site.operator.done("POST", "/v2/applications", new).await;
    site.operator.delete(&application).await;
    let call = site.get().basic(&good.client_id, &good.secret);
    site.refuses(call, 401, "invalid_client").await;
}

#[tokio::test]
async fn a_start_without_it_serves_what_is_public_and_the_rest_once_it_is_there() {
    let mut cluster = Cluster::start().await;
    let store = Store::Postgres(cluster.database().await);
    let stage = Arc::new(Product::Bridge.start().await);
    let made = {
        let before = Site::start(&stage, Source::Registry, &store).await;
        let strategy = before.bring().await;
        let made = before.operator.application(&strategy).await;
        before.operator.approve(&made, "flights").await;
        made
    };
    cluster.stop().await;
    let site = Site::start(&stage, Source::Registry, &store).await;
    let call = site.get().basic(&made.client_id, &made.secret);
    site.refuses(call.clone(), 503, "not_ready").await;
    site.passes(site.gateway.get("/open")).await;
    let response = site
        .operator
        .ask("GET", "/v2/applications", Value::Null)
        .await;
    assert_eq!(response.code(), "registry_unavailable");

    cluster.go_on().await;
    eventually!(call.send().await.status == 200, "the registry is in force");
    site.passes_in_each_way(&made).await;
}

/// The same with a strategy of the file: an empty directory must not say that nobody is known.
#[tokio::test]
async fn a_start_without_it_knows_nobody_and_says_so() {
    let mut cluster = Cluster::start().await;
    let store = Store::Postgres(cluster.database().await);
    let stage = Arc::new(Product::Bridge.start().await);
    cluster.stop().await;
    let site = Site::with(&stage, Source::File, &store, |setup| {
        setup.wait = crate::harness::gateway::Wait::Listening;
    })
    .await;
    let call = site.get().basic("nobody", "nothing");
    site.refuses(call.clone(), 503, "not_ready").await;
    site.passes(site.gateway.get("/open")).await;
    cluster.go_on().await;
    eventually!(
        call.send().await.code() == "invalid_client",
        "the registry is in force"
    );
}

#[tokio::test]
async fn a_logout_meanwhile_holds_and_is_kept() {
    let mut cluster = Cluster::start().await;
    let store = Store::Postgres(cluster.database().await);
    let stage = Arc::new(Product::Bridge.start().await);
    let mut site = Site::start(&stage, Source::Registry, &store).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    let ended = site.passes_in_each_way(&made).await.cookie;
    let other = site.passes_in_each_way(&made).await.cookie;

    cluster.stop().await;
    tells(&site.gateway, "failing registry: ").await;
    let out = site.gateway.post("/-/logout").cookie(&ended).send().await;
    out.assert_status(204);
    site.refuses(site.get().cookie(&ended), 401, "invalid_session")
        .await;
    cluster.go_on().await;
    tells(&site.gateway, "ok registry").await;

    // It is kept as soon as the registry takes it, or before the process ends.
    site.restart().await;
    site.refuses(site.get().cookie(&ended), 401, "invalid_session")
        .await;
    site.passes(site.get().cookie(&other)).await;
}

#[tokio::test]
async fn ended_sessions_survive_a_restart_on_sqlite() {
    ended_sessions_survive_a_restart(Store::Sqlite).await;
}

#[tokio::test]
async fn ended_sessions_survive_a_restart_on_postgresql() {
    let store = Store::Postgres(postgres::database().await);
    ended_sessions_survive_a_restart(store).await;
}

async fn ended_sessions_survive_a_restart(store: Store) {
    let stage = Arc::new(Product::Bridge.start().await);
    let mut site = Site::start(&stage, Source::Registry, &store).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    let ended = site.passes_in_each_way(&made).await.cookie;
    let other = site.passes_in_each_way(&made).await.cookie;
    let out = site.gateway.post("/-/logout").cookie(&ended).send().await;
    out.assert_status(204);
    site.restart().await;
    site.refuses(site.get().cookie(&ended), 401, "invalid_session")
        .await;
    site.passes(site.get().cookie(&other)).await;
    // Everything else is there again too.
    site.passes_in_each_way(&made).await;
}
