//! One request stays one request: framing that could hide a second one.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{World, client::Connection, h2c::H2c};

#[tokio::test]
async fn an_http2_body_that_ends_in_an_empty_frame_is_ended_once() {
    let raw = RawUpstream::start().await;
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["targets"] = json!([{"address": raw.address}]);
    })
    .await;
    let mut client = H2c::open(world.gateway.proxy).await;
    for n in 1..=3 {
        let response = client
            .send(H2c::request("POST", "/open"), &[b"abc", b""])
            .await
            .unwrap();
        assert_eq!(response.status, 200, "{n}");
    }
    let bytes = raw.bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("POST /open").count(), 3, "{text}");
    assert_eq!(text.matches("\r\n0\r\n\r\n").count(), 3, "{text}");
    assert!(!text.contains("0\r\n\r\n0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_refused_post_does_not_hide_a_request() {
    let world = World::start().await;
    let token = world.token();
    let hidden =
        format!("GET /flights HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    for framing in [
        format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
        format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len() + 10),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection
            .send(format!("POST /flights HTTP/1.1\r\nHost: a\r\n{framing}"))
            .await;
        let response = connection.response().await.expect("an answer");
        response.assert_problem(401, "credentials_required");
        connection.finish().await;
        let rest = String::from_utf8_lossy(&connection.rest().await).into_owned();
        assert!(!rest.contains("HTTP/1.1 2"), "{rest}");
        assert_eq!(world.upstream.hits(), 0, "{framing}");
    }
}

#[tokio::test]
async fn conflicting_framing_never_makes_two_requests() {
    let world = World::start().await;
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for (case, head) in [
        (
            "length and chunks",
            "HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        ),
        (
            "two codings",
            "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ),
        (
            "chunked is not last",
            "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity",
        ),
        (
            "unknown coding",
            "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked",
        ),
        (
            "chunks in HTTP/1.0",
            "HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked",
        ),
        (
            "two lengths",
            "HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5",
        ),
        (
            "list of lengths",
            "HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 5",
        ),
        (
            "negative length",
            "HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
        ),
        (
            "space before the colon",
            "HTTP/1.1\r\nHost: a\r\nContent-Length : 5",
        ),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection
            .send(format!("POST /open {head}\r\n\r\n0\r\n\r\n{hidden}"))
            .await;
        connection.finish().await;
        connection.rest().await;
        let reached = world.upstream.requests();
        assert!(
            !reached.iter().any(|r| r.target.contains("hidden")),
            "{case}: {reached:?}"
        );
    }
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_is_not_granted_are_not_forwarded() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send(
            "GET /open HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
             GET /open/hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    connection.finish().await;
    connection.rest().await;
    let reached = world.upstream.requests();
    assert!(
        !reached.iter().any(|r| r.target.contains("hidden")),
        "{reached:?}"
    );
    for seen in &reached {
        assert!(seen.body.is_empty(), "{seen:?}");
    }
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_asked_for() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send("POST /flights HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let head = connection.head().await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert_eq!(world.upstream.hits(), 0);
}

/// An upstream that keeps every byte and answers each terminated chunked body.
struct RawUpstream {
    address: String,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl RawUpstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let (mut buffer, mut answered) = ([0; 4_096], 0);
                    let mut own = Vec::new();
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        own.extend_from_slice(&buffer[..read]);
                        shared.lock().unwrap().extend_from_slice(&buffer[..read]);
                        let ended = String::from_utf8_lossy(&own)
                            .matches("\r\n0\r\n\r\n")
                            .count();
                        while answered < ended {
                            answered += 1;
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                            if stream.write_all(answer).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, bytes }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}
