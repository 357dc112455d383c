//! Clients that stop half-way: what they leave undone costs nobody else, and is put down to them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    harness::{
        World,
        backend::{Backend, Mood, Speaks},
        client::Connection,
        eventually,
        h2c::H2c,
        stage::Stage,
    },
    streaming::{pour, stuck},
};

/// An upstream of HTTP/2: `/open/big` is 64 MiB, everything else a word.
struct Library {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    poured: Arc<AtomicU64>,
}

impl Library {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let library = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            poured: Arc::default(),
        };
        let (connections, poured) = (
            Arc::clone(&library.connections),
            Arc::clone(&library.poured),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Relaxed);
                let poured = Arc::clone(&poured);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let poured = Arc::clone(&poured);
                        tokio::spawn(async move {
                            let head = Response::new(());
                            let mut body = answer.send_response(head, false).unwrap();
                            if request.uri().path() == "/open/big" {
                                pour(&mut body, 64 << 20, &poured).await;
                            } else {
                                body.send_data(Bytes::from_static(b"word"), true).unwrap();
                            }
                        });
                    }
                });
            }
        });
        library
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_no_other_answer_on_its_connection_upstream() {
    let library = Library::start().await;
    let world = World::with(|setup| {
        setup.config["apis"][1]["upstream"] =
            json!({"targets": [{"address": library.address.to_string()}], "protocol": "h2c"});
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::open(world.gateway.proxy).await;
        client
            .send("GET /open/big HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        stuck(&library.poured).await;
        idle.push(client);
        let response = world.gateway.get("/open/word").send().await;
        assert_eq!(response.assert_status(200).text(), "word");
    }
    assert_eq!(library.connections.load(Relaxed), 1);
}

/// A world whose public API has this upstream, which may be silent for a moment only; one failure
/// counts.
async fn impatient(address: SocketAddr, protocol: &str) -> World {
    World::with(|setup| {
        setup.config["apis"][1]["upstream"] = json!({
            "targets": [{"address": address.to_string()}], "protocol": protocol,
            "timeouts": {"read": "500ms"}, "passive_health": {"failures": 1, "eject": "1h"},
        });
    })
    .await
}

async fn blames_upstream(world: &World) -> bool {
    let ready = world.gateway.status("/readyz").await;
    ready.text().contains("failing upstream open")
}

async fn line(world: &World, count: usize) -> Value {
    eventually!(world.gateway.access_log().len() >= count, "{count} lines");
    world.gateway.access_log().pop().unwrap()
}

#[tokio::test]
async fn an_upload_that_stops_is_the_clients_fault() {
    for (speaks, protocol) in [(Speaks::Http1, "http1"), (Speaks::Http2, "h2c")] {
        let backend = Backend::speaking("a", speaks, None).await;
        backend.mood(Mood::Silent);
        let world = impatient(backend.address, protocol).await;
        for (n, stops) in [
            "Content-Length: 10\r\n\r\nab",
            "Content-Length: 10\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        ]
        .iter()
        .enumerate()
        {
            let mut client = Connection::open(world.gateway.proxy).await;
            client
                .send(format!("POST /open HTTP/1.1\r\nHost: a\r\n{stops}"))
                .await;
            let response = client.response().await.expect("an answer");
            response.assert_problem(408, "request_timeout");
            assert_eq!(line(&world, n + 1).await["reason"], "body_too_slow");
        }
        let mut client = H2c::open(world.gateway.proxy).await;
        let request = H2c::request("POST", "/open").body(()).unwrap();
        let (answer, mut body) = client.sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"ab"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 408, "{protocol}");
        assert!(!blames_upstream(&world).await, "{protocol}");
        // Whole, the same request shows the upstream's own silence.
        let whole = world.gateway.post("/open").body("abcdefghij").send().await;
        let line = world.gateway.line_of(&whole).await;
        assert_eq!(line["reason"], "read_timed_out", "{protocol}: {line}");
        whole.assert_problem(504, "upstream_timeout");
        assert!(blames_upstream(&world).await, "{protocol}");
    }
}

#[tokio::test]
async fn an_upload_that_the_upstream_does_not_take_is_the_upstreams_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(request) = connection.accept().await {
            held.push(request);
        }
    });
    let world = impatient(address, "h2c").await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/open").body(()).unwrap();
    let (answer, mut body) = client.sender.send_request(request, false).unwrap();
    body.send_data(Bytes::from(vec![0; 1 << 20]), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 504);
    assert!(blames_upstream(&world).await);
}

#[tokio::test]
async fn a_client_that_may_wait_is_not_to_blame() {
    for waits in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let stage = Stage::start().await;
        let world = impatient(stage.address, "http1").await;
        let mut client = Connection::open(world.gateway.proxy).await;
        client
            .send(format!("GET /open HTTP/1.1\r\nHost: a\r\n{waits}"))
            .await;
        let mut upstream = stage.accept().await;
        upstream.whole_head().await.unwrap();
        let response = client.response().await.expect("an answer");
        response.assert_problem(504, "upstream_timeout");
        assert!(blames_upstream(&world).await, "{waits}");
    }
    // Told to go on, a client that does not is.
    let stage = Stage::start().await;
    let world = impatient(stage.address, "http1").await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client
        .send("POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    let response = client.response().await.expect("an answer");
    response.assert_problem(408, "request_timeout");
    assert!(!blames_upstream(&world).await);
}

#[tokio::test]
async fn an_answer_that_has_begun_may_stop_while_the_request_goes_on() {
    let stage = Stage::start().await;
    let world = impatient(stage.address, "http1").await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client
        .send("POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        .await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.as_deref(), Some("HTTP/1.1 200 OK"));
    assert!(client.is_closed().await, "still open");
    assert_eq!(line(&world, 1).await["code"], "upstream_timeout");
}
