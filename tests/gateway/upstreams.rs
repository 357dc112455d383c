//! Several targets behind an API: whose turn it is, what is tried again, how much at once.

mod health;
mod tls;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::{
    World,
    backend::{Backend, Mood},
    client::Connection,
    eventually,
};

/// A world whose public API `open` has this upstream.
async fn before(upstream: Value) -> World {
    World::with(|s| s.config["apis"][1]["upstream"] = upstream).await
}

fn targets(backends: &[&Backend]) -> Value {
    let target = |backend: &&Backend| json!({"address": backend.address.to_string()});
    backends.iter().map(target).collect()
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The last line of the access log, once there are so many.
async fn line(world: &World, count: usize) -> Value {
    eventually!(world.gateway.access_log().len() >= count, "{count} lines");
    world.gateway.access_log().pop().unwrap()
}

#[tokio::test]
async fn each_target_gets_its_share() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = before(json!({"targets": [
        {"address": a.address.to_string(), "weight": 3},
        {"address": b.address.to_string()},
    ]}))
    .await;
    for _ in 0..20 {
        world.gateway.get("/open").send().await.assert_status(200);
    }
    assert_eq!((a.hits(), b.hits()), (15, 5));
}

#[tokio::test]
async fn a_name_is_looked_up_and_an_unknown_one_is_waited_for() {
    let backend = Backend::start("a").await;
    let port = backend.address.port();
    let world = before(json!({"targets": [{"address": format!("localhost:{port}")}]})).await;
    eventually!(
        world.gateway.get("/open").send().await.status == 200,
        "the name is looked up"
    );
    let unknown = json!({"targets": [{"address": "nowhere.invalid:80"}]});
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"] = unknown)
        .await;
    let response = world.gateway.get("/open").send().await;
    response.assert_problem(503, "upstream_unavailable");
    eventually!(
        world
            .gateway
            .logged(&["nowhere.invalid", "cannot be looked up"]),
        "that is told"
    );
    let told = world.gateway.status("/readyz").await.text();
    assert!(
        told.contains("failing upstream open: no healthy target"),
        "{told}"
    );
}

#[tokio::test]
async fn a_failed_connect_is_tried_elsewhere_for_idempotent_requests_only() {
    let backend = Backend::start("a").await;
    let world = before(json!({
        "targets": [{"address": nobody().await.to_string()}, {"address": backend.address.to_string()}],
        "passive_health": {"failures": 0},
    }))
    .await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "GET", "HEAD"] {
        let response = world.gateway.call(method, "/open").send().await;
        // What OPTIONS means to CORS is another matter.
        assert!(
            response.status == 200 || method == "OPTIONS",
            "{method}: {response:?}"
        );
    }
    eventually!(
        world
            .gateway
            .access_log()
            .iter()
            .any(|line| line["upstream_tries"] == 2),
        "the log tells of two tries"
    );
    let mut outcomes = Vec::new();
    for n in 0..4 {
        let before = backend.hits();
        let call = world.gateway.post("/open").body(format!("post {n}"));
        let response = call.send().await;
        if response.status == 502 {
            response.assert_problem(502, "upstream_failed");
            assert_eq!(backend.hits(), before, "not sent elsewhere");
        } else {
            response.assert_status(200);
            assert_eq!(backend.hits(), before + 1);
        }
        outcomes.push(response.status);
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [200, 200, 502, 502]);
}

#[tokio::test]
async fn retries_end_and_can_be_off() {
    let (one, two, three) = (nobody().await, nobody().await, nobody().await);
    let upstream = |retries: usize| {
        json!({
            "targets": [{"address": one.to_string()}, {"address": two.to_string()}, {"address": three.to_string()}],
            "retries": retries, "passive_health": {"failures": 0},
        })
    };
    let world = before(upstream(0)).await;
    for (count, retries) in [0, 1, 2, 5].into_iter().enumerate() {
        if retries > 0 {
            world
                .gateway
                .reconfigure(|c| c["apis"][1]["upstream"] = upstream(retries))
                .await;
        }
        let response = world.gateway.get("/open").send().await;
        response.assert_problem(502, "upstream_failed");
        let line = line(&world, count + 1).await;
        assert_eq!(line["upstream_tries"], retries + 1, "{line}");
        assert_eq!(line["reason"], "connect_refused", "{line}");
        let detail = line["upstream_detail"].as_str().unwrap();
        assert!(detail.starts_with("Connection refused"), "{line}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_closed_is_replaced_for_idempotent_requests_only() {
    let backend = Backend::start("a").await;
    backend.mood(Mood::HangsUpLater);
    let world =
        before(json!({"targets": targets(&[&backend]), "passive_health": {"failures": 1}})).await;
    let get = world.gateway.get("/open");
    get.send().await.assert_status(200);
    let hits = backend.hits();
    // Sent on the kept connection, which closes, and again on a new one.
    get.send().await.assert_status(200);
    assert_eq!(backend.hits(), hits + 2);
    let response = world.gateway.post("/open").body("once").send().await;
    response.assert_problem(502, "upstream_failed");
    let posts = backend
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST");
    assert_eq!(posts.count(), 1, "never sent twice");
    // Nor is an exchange tried again that broke on a fresh connection.
    backend.mood(Mood::HangsUp);
    let hits = backend.hits();
    get.send().await.assert_problem(502, "upstream_failed");
    assert_eq!(backend.hits(), hits + 1);
    // And without retries not even an idempotent one.
    backend.mood(Mood::HangsUpLater);
    let upstream = json!({"targets": targets(&[&backend]), "retries": 0});
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"] = upstream)
        .await;
    get.send().await.assert_status(200);
    get.send().await.assert_problem(502, "upstream_failed");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_places_come_back() {
    let backend = Backend::start("a").await;
    let upstream = json!({"targets": targets(&[&backend]), "connections": 2});
    let world = before(upstream.clone()).await;
    backend.mood(Mood::Silent);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(world.gateway.get("/open").bytes()).await;
        waiting.push(connection);
    }
    eventually!(backend.hits() == 2, "two requests are in flight");
    let mut third = Connection::open(world.gateway.proxy).await;
    for _ in 0..2 {
        let response = world.gateway.get("/open").send_on(&mut third).await;
        let response = response.expect("the connection is kept");
        response.assert_problem(503, "overloaded");
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(backend.hits(), 2);
    assert_eq!(
        world
            .gateway
            .metric("dcr_upstream_in_flight", &[("api", "open")])
            .await,
        2.0
    );
    // Another API's upstream has places of its own.
    world
        .flights()
        .bearer(&world.token())
        .send()
        .await
        .assert_status(200);
    // A reload, even of this upstream, does not forget who is there.
    let more = json!({"targets": targets(&[&backend]), "connections": 2, "retries": 0});
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"] = more)
        .await;
    world
        .gateway
        .get("/open")
        .send()
        .await
        .assert_problem(503, "overloaded");
    // Nobody waits for these answers any more.
    backend.mood(Mood::Answers(200));
    drop(waiting);
    eventually!(
        world.gateway.get("/open").send().await.status == 200,
        "a place is free"
    );
    eventually!(
        world
            .gateway
            .metric("dcr_upstream_in_flight", &[("api", "open")])
            .await
            == 0.0,
        "all places are free"
    );
}

#[tokio::test]
async fn every_way_out_gives_the_place_back() {
    let backend = Backend::start("a").await;
    let world = before(json!({
        "targets": targets(&[&backend]), "connections": 1,
        "timeouts": {"read": "200ms"}, "passive_health": {"failures": 0},
    }))
    .await;
    for (mood, status) in [
        (Mood::Answers(200), 200),
        (Mood::Answers(500), 500),
        (Mood::HangsUp, 502),
        (Mood::Silent, 504),
        (Mood::Answers(204), 204),
    ] {
        backend.mood(mood);
        for _ in 0..2 {
            let status = |response: Option<u16>| response == Some(status);
            let sent = world.gateway.get("/open").send().await.status;
            assert!(status(Some(sent)), "{mood:?}: {sent}");
        }
    }
    // A tunnel counts for as long as it lasts.
    backend.mood(Mood::Upgrades);
    let mut tunnel = Connection::open(world.gateway.proxy).await;
    let call = world.gateway.get("/open").header("Connection", "Upgrade");
    let call = call
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13");
    let call = call.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    tunnel.send(call.bytes()).await;
    assert_eq!(
        tunnel.head().await.unwrap(),
        "HTTP/1.1 101 Switching Protocols"
    );
    world
        .gateway
        .get("/open")
        .send()
        .await
        .assert_problem(503, "overloaded");
    drop(tunnel);
    backend.mood(Mood::Answers(200));
    eventually!(
        world.gateway.get("/open").send().await.status == 200,
        "the tunnel's place is free"
    );
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_a_timeout() {
    // A queue of one that is full: the system drops whoever comes next.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        TcpStream::connect(address),
    )
    .await
    {
        queue.push(stream);
    }
    let world = before(json!({
        "targets": [{"address": address.to_string()}], "timeouts": {"connect": "300ms"},
    }))
    .await;
    let response = world.gateway.get("/open").send().await;
    response.assert_problem(504, "upstream_timeout");
    let line = line(&world, 1).await;
    assert_eq!(
        (&line["reason"], &line["upstream_tries"]),
        (&json!("connect_timed_out"), &json!(2))
    );
}

#[tokio::test]
async fn kept_connections_are_reused_and_closed_when_idle() {
    let backend = Backend::start("a").await;
    let world =
        before(json!({"targets": targets(&[&backend]), "timeouts": {"idle": "500ms"}})).await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    for _ in 0..3 {
        let response = world.gateway.get("/open").send_on(&mut connection).await;
        response.unwrap().assert_status(200);
    }
    assert_eq!(backend.opened(), 1);
    let line = line(&world, 3).await;
    assert_eq!(line["upstream"], backend.address.to_string());
    assert_eq!(
        (&line["upstream_tries"], &line["upstream_reused"]),
        (&json!(1), &json!(true))
    );
    eventually!(backend.open() == 0, "the idle connection is closed");
}
