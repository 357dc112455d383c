//! What one client may cost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    World,
    client::{Call, Connection},
    eventually,
    gateway::{footprint, sum},
    h2c::H2c,
};

#[tokio::test]
async fn a_head_that_is_too_slow_is_given_up() {
    let world = with_limits(json!({"header_timeout": "500ms"})).await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection.send("GET /open HTTP/1.1\r\nHost: a\r\n").await;
    let response = connection.response().await.expect("an answer");
    response.assert_problem(408, "request_timeout");
    assert!(connection.is_closed().await);
    // The deadline is for the whole head: a drip does not put it off.
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection.send("GET /open HTTP/1.1\r\nHost: a\r\n").await;
    let drip = async {
        for _ in 0..50 {
            crate::harness::pass(Duration::from_millis(100)).await;
            connection.send("X-Drip: 1\r\n").await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(1_500), drip).await;
    let text = String::from_utf8_lossy(&connection.rest().await).into_owned();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = with_limits(json!({"header_size": "4KiB"})).await;
    world
        .passes(
            world
                .gateway
                .get("/open")
                .header("X-Large", &"x".repeat(3_500)),
        )
        .await;
    let call = world
        .gateway
        .get("/open")
        .header("X-Large", &"x".repeat(4_100));
    world.refuses(call, 431, "header_too_large").await;
    let long = world.gateway.get(&format!("/open?{}", "x".repeat(5_000)));
    world.refuses(long, 431, "header_too_large").await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send("GET /open HTTP/1.1\r\nHost: a\r\nX-Endless: ")
        .await;
    connection.send("x".repeat(100_000)).await;
    let response = connection
        .response()
        .await
        .expect("an answer before the head ends");
    response.assert_problem(431, "header_too_large");
}

#[tokio::test]
async fn too_many_fields_are_refused_and_cookies_count_as_one() {
    let world = World::start().await;
    let fields = |count: usize| {
        (0..count).fold(world.gateway.get("/open"), |call, n| {
            call.header(&format!("X-{n}"), "1")
        })
    };
    world.passes(fields(99)).await;
    world.refuses(fields(100), 431, "header_too_large").await;
    let cookies = (0..150).fold(fields(98), |call, n| call.cookie(&format!("c{n}=1")));
    world.passes(cookies).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let world = with_limits(json!({"body_size": "1KiB"})).await;
    world
        .passes(world.gateway.post("/open").body(vec![b'x'; 1_024]))
        .await;
    world
        .refuses(
            world.gateway.post("/open").body(vec![b'x'; 1_025]),
            413,
            "body_too_large",
        )
        .await;
    // Without a length it shows only on the way.
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send("POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..4 {
        connection
            .send(format!("200\r\n{}\r\n", "x".repeat(512)))
            .await;
    }
    connection.send("0\r\n\r\n").await;
    let response = connection.response().await.expect("an answer");
    response.assert_problem(413, "body_too_large");
    assert_eq!(world.upstream.hits(), 1, "the upstream never saw it whole");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let world = World::with(|s| {
        s.config["limits"] = json!({"connections": 4});
        s.config["status"] = json!({"address": "127.0.0.1:0"});
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut connection = Connection::open(world.gateway.proxy).await;
        let response = world.gateway.get("/open").send_on(&mut connection).await;
        response.unwrap().assert_status(200);
        open.push(connection);
    }
    let before = world.upstream.hits();
    let mut fifth = Connection::open(world.gateway.proxy).await;
    fifth.send(world.gateway.get("/open").bytes()).await;
    let response = fifth.response().await.expect("an answer");
    response.assert_problem(503, "overloaded");
    assert_eq!(world.upstream.hits(), before);
    // The limit is for clients: operators have places of their own.
    let status = world.gateway.address("status").unwrap();
    for address in [world.gateway.admin, status] {
        let ready = Call::new(address, "GET", "/readyz").send().await;
        ready.assert_status(200);
        let text = Call::new(address, "GET", "/metrics").send().await.text();
        let refused = [("reason", "overloaded")];
        assert_eq!(sum(&text, "dcr_connection_refusals_total", &refused), 1.0);
        let counted = [("api", "none"), ("code", "overloaded")];
        assert_eq!(sum(&text, "dcr_requests_total", &counted), 1.0);
    }
    open.pop();
    eventually!(
        {
            let mut connection = Connection::open(world.gateway.proxy).await;
            let response = world.gateway.get("/open").send_on(&mut connection).await;
            response.is_some_and(|r| r.status == 200)
        },
        "a place is free again"
    );
}

#[tokio::test]
async fn no_huge_pages_are_taken_where_the_system_offers_them_to_all() {
    let world = with_limits(json!({})).await;
    let status = format!("/proc/{}/status", world.gateway.pid());
    let status = std::fs::read_to_string(status).unwrap();
    // Old systems do not tell.
    let told = status
        .lines()
        .find_map(|line| line.strip_prefix("THP_enabled:"));
    assert!(told.is_none_or(|enabled| enabled.trim() == "0"), "{told:?}");
}

#[tokio::test]
async fn freed_memory_is_kept_for_a_while_unless_somebody_has_chosen() {
    for (chosen, expected) in [(None, "60000"), (Some("5"), "5")] {
        let world = World::with(|setup| {
            let mut set = |name: &str, value: &str| {
                setup.environment.push((name.to_owned(), value.to_owned()));
            };
            set("MIMALLOC_VERBOSE", "1");
            if let Some(chosen) = chosen {
                set("MIMALLOC_PURGE_DELAY", chosen);
            }
        })
        .await;
        let setting = format!("'purge_delay': {expected}");
        eventually!(world.gateway.logged(&[&setting]), "mimalloc tells");
        // Tools find a program by this.
        let name = format!("/proc/{}/comm", world.gateway.pid());
        assert_eq!(std::fs::read_to_string(name).unwrap().trim(), "dcr-gateway");
    }
}

#[tokio::test]
async fn operators_are_answered_when_clients_have_taken_every_descriptor() {
    // Longer than an answer is waited for: silent clients keep what they have.
    let world = with_limits(json!({"header_timeout": "60s"})).await;
    let pid = i32::try_from(world.gateway.pid()).unwrap();
    // Pingora makes the last of its runtimes after it has begun to listen.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default()
    };
    eventually!(
        threads().any(|thread| name(thread).trim() == "Server"),
        "every runtime has its descriptors"
    );
    let limit = footprint(world.gateway.pid()).1 as u64 + 20;
    let limits = Some((limit, limit));
    rlimit::prlimit(pid, rlimit::Resource::NOFILE, limits, None).unwrap();
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(Connection::open(world.gateway.proxy).await);
    }
    eventually!(
        world.gateway.logged(&["Too many open files"]),
        "no descriptor is left"
    );
    for _ in 0..5 {
        world.gateway.status("/readyz").await.assert_status(200);
        world.gateway.status("/metrics").await.assert_status(200);
    }
    assert!(footprint(world.gateway.pid()).1 as u64 >= limit - 10);
    drop(clients);
    let mut connection = Connection::open(world.gateway.proxy).await;
    let response = world.gateway.get("/open").send_on(&mut connection).await;
    response
        .expect("clients are served again")
        .assert_status(200);
}

#[tokio::test]
async fn the_limits_hold_on_http2_too() {
    let world = with_limits(json!({"body_size": "1KiB"})).await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let many = (0..110).fold(H2c::request("GET", "/open"), |r, n| {
        r.header(format!("x-{n}"), "1")
    });
    let response = client.send(many, &[]).await.unwrap();
    assert_eq!(
        (response.status, response.code().as_str()),
        (431, "header_too_large")
    );
    let large = H2c::request("GET", "/open").header("x-large", "x".repeat(40_000));
    if let Ok(response) = client.send(large, &[]).await {
        assert_eq!(response.status, 431);
    }
    let mut client = H2c::open(world.gateway.proxy).await;
    let response = client
        .send(H2c::request("POST", "/open"), &[&[b'x'; 2_000]])
        .await;
    let response = response.expect("an answer");
    assert_eq!(
        (response.status, response.code().as_str()),
        (413, "body_too_large")
    );
    let fine = client
        .send(H2c::request("POST", "/open"), &[b"x"])
        .await
        .unwrap();
    assert_eq!(fine.status, 200);
}

#[tokio::test]
async fn silent_connections_do_not_stop_others() {
    let world = with_limits(json!({"header_timeout": "500ms"})).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(Connection::open(world.gateway.proxy).await);
    }
    Call::new(world.gateway.proxy, "GET", "/open")
        .send()
        .await
        .assert_status(200);
    // Shorter than the preface of HTTP/2, which must not be waited for.
    let mut short = Connection::open(world.gateway.proxy).await;
    short.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(short.response().await.is_some());
}

async fn with_limits(limits: Value) -> World {
    World::with(|s| s.config["limits"] = limits).await
}
