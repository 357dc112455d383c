//! Clients that stop half-way: what they leave undone costs nobody else, and is put down to them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
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
        pass,
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

/// A world whose two APIs have upstreams of the test's own: that of `/flights` may be silent for longer than
/// a test lasts, that of `/open` for so long.
async fn timed(read: &str) -> (World, Stage, Stage) {
    let (patient, impatient) = (Stage::start().await, Stage::start().await);
    let world = World::with(|setup| {
        patient.stand_behind(setup);
        setup.config["apis"][1]["upstream"] = json!({
            "targets": [{"address": impatient.address.to_string()}], "timeouts": {"read": read},
        });
    })
    .await;
    (world, patient, impatient)
}

const WORD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword";
const OPEN: &str = "GET /open HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_time() {
    let (world, patient, impatient) = timed("2s").await;
    let bearer = format!("Authorization: Bearer {}", world.token());
    let flights = format!("GET /flights HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n");
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send(OPEN).await;
    let mut upstream = impatient.accept().await;
    // Those of two seconds take longer together than one of them may.
    for _ in 0..3 {
        upstream.whole_head().await.unwrap();
        pass(Duration::from_millis(1_200)).await;
        upstream.send(WORD).await;
        client.response().await.unwrap().assert_status(200);
        client.send(OPEN).await;
    }
    upstream.whole_head().await.unwrap();
    upstream.send(WORD).await;
    client.response().await.unwrap().assert_status(200);

    client.send(&flights).await;
    let mut other = patient.accept().await;
    other.whole_head().await.unwrap();
    pass(Duration::from_millis(2_500)).await;
    other.send(WORD).await;
    client.response().await.unwrap().assert_status(200);

    client.send(OPEN).await;
    upstream.whole_head().await.unwrap();
    let response = client.response().await.expect("an answer");
    response.assert_problem(504, "upstream_timeout");
    assert!(client.is_closed().await, "still open");
    assert!(upstream.is_closed().await, "the upstream's is still open");
}

#[tokio::test]
async fn hints_before_an_answer_are_words_of_the_upstream() {
    let (world, _, impatient) = timed("2s").await;
    // An older client does not get them.
    for version in ["1.1", "1.0"] {
        let mut client = Connection::open(world.gateway.proxy).await;
        client
            .send(format!("GET /open HTTP/{version}\r\nHost: a\r\n\r\n"))
            .await;
        let mut upstream = impatient.accept().await;
        upstream.whole_head().await.unwrap();
        for _ in 0..3 {
            pass(Duration::from_millis(1_200)).await;
            upstream
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                .await;
        }
        upstream.send(WORD).await;
        drop(upstream);
        let mut answer = Vec::new();
        while !answer.ends_with(b"word") {
            let mut part = [0; 1024];
            let read = client.read_some(&mut part).await.expect("a whole answer");
            answer.extend_from_slice(&part[..read]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_its_time_is_not_the_upstreams_silence() {
    let (world, _, impatient) = timed("1s").await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send(OPEN).await;
    let mut upstream = impatient.accept().await;
    upstream.whole_head().await.unwrap();
    let piece = vec![b'a'; 1 << 20];
    let sending = tokio::spawn(async move {
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
            .await;
        for _ in 0..64 {
            upstream.send(&piece).await;
        }
        upstream
    });
    client.whole_head().await.unwrap();
    for _ in 0..2 {
        pass(Duration::from_millis(1_500)).await;
        client.read_exact(&mut vec![0; 32 << 20]).await;
    }
    let mut upstream = sending.await.unwrap();
    client.send(OPEN).await;
    upstream.whole_head().await.unwrap();
    upstream.send(WORD).await;
    client.response().await.unwrap().assert_status(200);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_is_told_that_there_is_none() {
    let (world, _, impatient) = timed("1s").await;
    // The second has closed its half, the third has sent its next requests, more than are kept.
    let further = OPEN.repeat(2_000);
    let cases = [("HEAD", Some("")), ("GET", None), ("GET", Some(&*further))];
    for (method, more) in cases {
        let mut client = Connection::open(world.gateway.proxy).await;
        let head = format!("{method} /open HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(head).await;
        let mut upstream = impatient.accept().await;
        upstream.whole_head().await.unwrap();
        match more {
            Some(more) => client.send(more).await,
            None => client.finish().await,
        }
        let response = client.response_to(method).await.expect("an answer");
        assert_eq!(
            response.status,
            504,
            "{method} and {:?} bytes",
            more.map(str::len)
        );
    }
}

#[tokio::test]
async fn an_answer_that_came_in_time_is_not_late_because_the_gateway_is() {
    let (world, _, impatient) = timed("4s").await;
    let mut waiting = Vec::new();
    for _ in 0..12 {
        let mut client = Connection::open(world.gateway.proxy).await;
        client.send(OPEN).await;
        let mut upstream = impatient.accept().await;
        upstream.whole_head().await.unwrap();
        waiting.push((client, upstream));
    }
    world.gateway.signal("STOP").await;
    for (_, upstream) in &mut waiting {
        upstream.send(WORD).await;
    }
    pass(Duration::from_millis(4_500)).await;
    world.gateway.signal("CONT").await;
    for (client, _) in &mut waiting {
        client.response().await.unwrap().assert_status(200);
    }
}
