//! Which targets are well: asked actively, and learnt from requests.

use std::time::Duration;

use serde_json::json;

use super::{before, nobody, targets};
use crate::harness::{
    World,
    backend::{Backend, Mood, Speaks},
    certificates::Authority,
    client::Connection,
    eventually, pass,
};

async fn healthy(world: &World, backend: &Backend) -> f64 {
    let target = backend.address.to_string();
    world
        .gateway
        .metric(
            "dcr_upstream_healthy",
            &[("api", "open"), ("target", &target)],
        )
        .await
}

/// Lines of the log that hold all of these texts.
fn told(world: &World, texts: &[&str]) -> usize {
    let lines = world.gateway.log();
    lines
        .iter()
        .filter(|line| texts.iter().all(|text| line.contains(text)))
        .count()
}

/// Lines reach the log a moment later.
async fn told_once(world: &World, texts: &[&str]) {
    eventually!(told(world, texts) > 0, "{texts:?} is told");
    assert_eq!(told(world, texts), 1, "{texts:?}");
    // A reader of JSON keeps one of two equal keys.
    for line in world.gateway.log() {
        assert!(line.matches("\"target\":").count() <= 1, "{line}");
    }
}

#[tokio::test]
async fn a_target_that_fails_its_checks_gets_nothing_until_it_is_well() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = before(json!({
        "targets": targets(&[&a, &b]),
        "health_check": {"path": "/healthz", "interval": "100ms"},
    }))
    .await;
    eventually!(
        !a.checks().is_empty() && !b.checks().is_empty(),
        "checked at once"
    );
    assert_eq!(
        (healthy(&world, &a).await, healthy(&world, &b).await),
        (1.0, 1.0)
    );
    a.health(500);
    eventually!(healthy(&world, &a).await == 0.0, "found sick");
    let hits = a.hits();
    for _ in 0..6 {
        let response = world.gateway.get("/open").send().await;
        assert_eq!(response.assert_status(200).text(), "b");
    }
    assert_eq!(a.hits(), hits);
    let told_well = world.gateway.status("/readyz").await;
    assert!(
        !told_well.text().contains("failing upstream"),
        "{told_well:?}"
    );
    b.health(404);
    eventually!(healthy(&world, &b).await == 0.0, "found sick");
    let mut connection = Connection::open(world.gateway.proxy).await;
    for _ in 0..2 {
        let response = world.gateway.get("/open").send_on(&mut connection).await;
        let response = response.expect("the connection is kept");
        response.assert_problem(503, "upstream_unavailable");
    }
    let ready = world.gateway.status("/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(
        ready
            .text()
            .contains("failing upstream open: no healthy target"),
        "{ready:?}"
    );
    a.health(204);
    eventually!(healthy(&world, &a).await == 1.0, "found well");
    let response = world.gateway.get("/open").send().await;
    assert_eq!(response.assert_status(200).text(), "a");
    // Many checks failed meanwhile; each change is told once.
    let checks = b.checks().len();
    eventually!(b.checks().len() > checks + 3, "still asked");
    let address = b.address.to_string();
    told_once(&world, &["is unhealthy", &address, "status_404"]).await;
    let address = a.address.to_string();
    told_once(&world, &["is unhealthy", &address, "status_500"]).await;
    told_once(&world, &["healthy again", &address]).await;
}

#[tokio::test]
async fn a_target_that_is_down_is_found_when_it_comes_back() {
    let mut backend = Backend::start("a").await;
    let world = before(json!({
        "targets": targets(&[&backend]),
        "health_check": {"path": "/healthz", "interval": "100ms"},
    }))
    .await;
    backend.down().await;
    eventually!(
        world.gateway.get("/open").send().await.code() == "upstream_unavailable",
        "found dead"
    );
    backend.up().await;
    eventually!(
        world.gateway.get("/open").send().await.status == 200,
        "found again"
    );
}

#[tokio::test]
async fn a_check_that_hangs_is_a_failed_one() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let world = before(json!({
        "targets": [{"address": address.to_string()}], "timeouts": {"read": "100ms"},
        "health_check": {"path": "/healthz", "interval": "100ms"},
    }))
    .await;
    eventually!(
        world.gateway.get("/open").send().await.code() == "upstream_unavailable",
        "found hanging"
    );
    told_once(&world, &["is unhealthy", "timed_out"]).await;
}

#[tokio::test]
async fn checks_connect_as_requests_do() {
    let authority = Authority::new();
    let pair = authority.issue(&["flights.internal"]);
    for (speaks, tls, protocol) in [
        (Speaks::Http1, false, "http1"),
        (Speaks::Http1, true, "http1"),
        (Speaks::Http2, true, "h2"),
        (Speaks::Http2, false, "h2c"),
    ] {
        let backend = Backend::speaking("a", speaks, tls.then_some(&pair)).await;
        let upstream = |host: serde_json::Value| {
            let mut upstream = json!({
                "targets": targets(&[&backend]), "protocol": protocol, "host": host,
                "health_check": {"path": "/healthz", "interval": "100ms"},
            });
            if tls {
                upstream["tls"] = json!({"sni": "flights.internal", "ca_file": "ca.pem"});
            }
            upstream
        };
        let world = World::with(|s| {
            s.files.push(("ca.pem".to_owned(), authority.pem()));
            s.config["apis"][1]["upstream"] = upstream(json!("flights.test"));
        })
        .await;
        eventually!(backend.checks().len() > 2, "{protocol} {tls}: checked");
        assert_eq!(healthy(&world, &backend).await, 1.0, "{protocol} {tls}");
        let check = backend.checks().pop().unwrap();
        world.gateway.get("/open").send().await.assert_status(200);
        let request = backend.seen().pop().unwrap();
        assert_eq!(check.host, "flights.test", "{check:?}");
        assert_eq!(
            (&check.host, check.protocol, &check.sni),
            (&request.host, request.protocol, &request.sni)
        );
        // With the client's own Host there is none to send, so it is the target's.
        world
            .gateway
            .reconfigure(|c| c["apis"][1]["upstream"] = upstream(json!("preserve")))
            .await;
        let own = backend.address.to_string();
        eventually!(
            backend.checks().pop().unwrap().host == own,
            "{protocol} {tls}: the target's own host"
        );
    }
}

#[tokio::test]
async fn failed_requests_eject_a_target_for_a_while() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = before(json!({
        "targets": targets(&[&a, &b]),
        "passive_health": {"failures": 3, "eject": "1s"},
    }))
    .await;
    let get = world.gateway.get("/open");
    // Any answer is a good one, but for those of a gateway with nothing behind it.
    a.mood(Mood::Answers(500));
    for _ in 0..20 {
        get.send().await;
    }
    assert_eq!(a.hits(), 10);
    a.mood(Mood::Answers(503));
    let mut failed = 0;
    while failed < 3 {
        failed += u32::from(get.send().await.status == 503);
    }
    let hits = a.hits();
    for _ in 0..5 {
        assert_eq!(get.send().await.assert_status(200).text(), "b");
    }
    assert_eq!(a.hits(), hits, "left alone");
    assert_eq!(healthy(&world, &a).await, 0.0);
    // One chance, which it does not use.
    eventually!(get.send().await.status == 503, "tried again");
    for _ in 0..5 {
        assert_eq!(get.send().await.assert_status(200).text(), "b");
    }
    // And another, which it does.
    a.mood(Mood::Answers(200));
    eventually!(get.send().await.text() == "a", "tried again");
    eventually!(healthy(&world, &a).await == 1.0, "back");
    let address = a.address.to_string();
    told_once(&world, &["left alone", &address, "status_503"]).await;
    told_once(&world, &["answers requests again", &address]).await;
}

#[tokio::test]
async fn every_kind_of_failure_counts() {
    for (mood, status) in [
        (Mood::HangsUp, 502),
        (Mood::Silent, 504),
        (Mood::Answers(502), 502),
        (Mood::Answers(504), 504),
    ] {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        let world = before(json!({
            "targets": targets(&[&a, &b]), "timeouts": {"read": "100ms"},
            "passive_health": {"failures": 2, "eject": "1h"},
        }))
        .await;
        a.mood(mood);
        let mut failed = 0;
        for _ in 0..10 {
            let response = world.gateway.get("/open").send().await;
            failed += u32::from(response.status == status);
        }
        assert_eq!(failed, 2, "{mood:?}");
    }
    // An answer that breaks off began well, and is none.
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = before(json!({
        "targets": targets(&[&a, &b]), "passive_health": {"failures": 2, "eject": "1h"},
    }))
    .await;
    a.mood(Mood::BreaksOff);
    for _ in 0..10 {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(world.gateway.get("/open").bytes()).await;
        connection.finish().await;
        connection.rest().await;
    }
    assert_eq!(a.hits(), 2);
    // Connects that fail, and are tried elsewhere, count as well.
    let dead = nobody().await;
    let world = before(json!({
        "targets": [{"address": dead.to_string()}, {"address": b.address.to_string()}],
        "passive_health": {"failures": 2, "eject": "1h"},
    }))
    .await;
    for _ in 0..10 {
        world.gateway.get("/open").send().await.assert_status(200);
    }
    let tries = |line: &serde_json::Value| line["upstream_tries"] == 2;
    eventually!(world.gateway.access_log().len() == 10, "logged");
    assert_eq!(
        world
            .gateway
            .access_log()
            .iter()
            .filter(|line| tries(line))
            .count(),
        2
    );
}

#[tokio::test]
async fn the_last_target_is_never_ejected_by_requests() {
    let backend = Backend::start("a").await;
    let world = before(json!({
        "targets": targets(&[&backend]), "passive_health": {"failures": 1, "eject": "1h"},
    }))
    .await;
    backend.mood(Mood::HangsUp);
    for _ in 0..3 {
        let response = world.gateway.get("/open").send().await;
        response.assert_problem(502, "upstream_failed");
    }
    let told = world.gateway.status("/readyz").await.text();
    assert!(
        told.contains("failing upstream open: every target fails requests"),
        "{told}"
    );
    backend.mood(Mood::Answers(200));
    world.gateway.get("/open").send().await.assert_status(200);
    let told = world.gateway.status("/readyz").await.text();
    assert!(!told.contains("failing upstream"), "{told}");
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_targets() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = before(json!({
        "targets": targets(&[&a, &b]), "passive_health": {"failures": 1, "eject": "1h"},
        "health_check": {"path": "/healthz", "interval": "200ms"},
    }))
    .await;
    a.mood(Mood::Answers(503));
    eventually!(
        world.gateway.get("/open").send().await.status == 503,
        "ejected"
    );
    let hits = a.hits();
    world
        .gateway
        .reconfigure(|c| c["limits"] = json!({"connections": 1000}))
        .await;
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"]["timeouts"] = json!({"read": "5s"}))
        .await;
    for _ in 0..6 {
        world.gateway.get("/open").send().await.assert_status(200);
    }
    assert_eq!(a.hits(), hits);
    b.health(500);
    eventually!(healthy(&world, &b).await == 0.0, "found sick");
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"]["timeouts"] = json!({"read": "6s"}))
        .await;
    assert_eq!(healthy(&world, &b).await, 0.0);
    world
        .gateway
        .reconfigure(|c| {
            let upstream = c["apis"][1]["upstream"].as_object_mut().unwrap();
            upstream.remove("health_check");
        })
        .await;
    // Who no longer asks no longer knows, and no more checks come, but for one under way.
    assert_eq!(healthy(&world, &b).await, 1.0);
    pass(Duration::from_millis(300)).await;
    let checks = b.checks().len();
    pass(Duration::from_millis(600)).await;
    assert_eq!(b.checks().len(), checks);
}
