//! gRPC through the gateway: a real client and server, and what a proxy gets wrong on HTTP/2.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::harness::{
    APP, World,
    certificates::Authority,
    gateway::Setup,
    h2c::H2c,
    http1::{Answer, Manner},
    pass,
    peer::Peer,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A real client and server with the gateway between them.
struct Calls {
    world: World,
    client: Peer,
    server: Peer,
    token: String,
}

impl Calls {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let (server, address) = Peer::serve("grpc.mjs", &["server"]).await;
        let world = World::with(|setup| {
            behind(setup, &address.to_string());
            change(setup);
        })
        .await;
        let client = Peer::start("grpc.mjs", &["client", &world.gateway.proxy.to_string()]);
        let token = format!("Bearer {}", world.token());
        Self {
            world,
            client,
            server,
            token,
        }
    }

    /// Makes a call with a good token.
    async fn call(&mut self, id: u32, name: &str, mut more: Value) {
        more["id"] = json!(id);
        more["call"] = json!(name);
        more["metadata"]["authorization"] = json!(self.token);
        self.client.tell(more).await;
    }

    async fn tell(&mut self, id: u32, what: &str, value: Value) {
        self.client.tell(json!({"id": id, what: value})).await;
    }

    /// The next message, whichever call it is for.
    async fn message(&mut self) -> (u64, Value) {
        let told = self.client.hear("message").await;
        (told["id"].as_u64().unwrap(), told["message"].clone())
    }

    async fn text(&mut self) -> String {
        self.message().await.1["text"].as_str().unwrap().to_owned()
    }

    /// How the next call to end ended.
    async fn status(&mut self) -> Value {
        self.client.hear("status").await
    }
}

/// Puts an API `rpc.Echo`, which speaks HTTP/2 without TLS, at `/rpc.Echo`.
fn behind(setup: &mut Setup, address: &str) {
    let mut rpc = setup.config["apis"][0].clone();
    rpc["name"] = json!("rpc");
    rpc["routes"] = json!([{"paths": ["/rpc.Echo"]}]);
    rpc["upstream"] = json!({"targets": [{"address": address}], "protocol": "h2c"});
    setup.config["apis"].as_array_mut().unwrap().push(rpc);
    setup.applications["applications"][0]["registrations"]["rpc"] = json!("approved");
}

/// The trailers of a good answer came whole, bytes as bytes.
#[track_caller]
fn whole(status: &Value) {
    let trailers = &status["trailers"];
    assert_eq!(trailers["x-text"], "plain", "{status}");
    assert_eq!(trailers["x-data-bin"], "AP8KDYA=", "{status}");
}

#[tokio::test]
async fn a_unary_call_passes_with_its_metadata_and_trailers() {
    let mut calls = Calls::start().await;
    let metadata = json!({"x-trace": "abc", "x-blob-bin": "AAECA/8="});
    calls
        .call(1, "unary", json!({"text": "hello", "metadata": metadata}))
        .await;
    assert_eq!(
        calls.client.hear("initial").await["initial"]["x-initial"],
        "first"
    );
    assert_eq!(calls.text().await, "hello");
    let status = calls.status().await;
    assert_eq!(status["status"], 0, "{status}");
    whole(&status);
    let seen = calls.server.hear("called").await["metadata"].clone();
    assert_eq!(seen["x-trace"], "abc");
    assert_eq!(seen["x-blob-bin"], "AAECA/8=");
    assert_eq!(seen["x-credential-identifier"], APP);
    assert_eq!(seen["authorization"], Value::Null);
    assert_eq!(seen["x-auth-method"], "bearer");
}

#[tokio::test]
async fn calls_pass_over_tls_on_both_sides() {
    let authority = Authority::new();
    let (outer, inner) = (
        authority.issue(&["api.test"]),
        authority.issue(&["rpc.test"]),
    );
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let trusted = file("ca.crt", &authority.pem());
    let server = [
        file("inner.crt", &inner.certificate),
        file("inner.key", &inner.key),
    ];
    let (server, address) = Peer::serve("grpc.mjs", &["server", &server[0], &server[1]]).await;
    let shown = json!([{"certificate": file("outer.crt", &outer.certificate),
        "key": file("outer.key", &outer.key)}]);
    let world = World::with(|setup| {
        behind(setup, &address.to_string());
        setup.config["listeners"][0]["tls"] = json!({"certificates": shown});
        let upstream = &mut setup.config["apis"][2]["upstream"];
        upstream["protocol"] = json!("h2");
        upstream["tls"] = json!({"sni": "rpc.test", "ca_file": trusted});
    })
    .await;
    let proxy = world.gateway.proxy.to_string();
    let client = Peer::start("grpc.mjs", &["client", &proxy, &trusted]);
    let token = format!("Bearer {}", world.token());
    let mut calls = Calls {
        world,
        client,
        server,
        token,
    };
    calls.call(1, "unary", json!({"text": "hello"})).await;
    assert_eq!(calls.text().await, "hello");
    let status = calls.status().await;
    assert_eq!(status["status"], 0, "{status}");
    whole(&status);
    let seen = calls.server.hear("called").await["metadata"].clone();
    assert_eq!(seen["x-credential-identifier"], APP, "{seen}");
    assert_eq!(seen["x-forwarded-proto"], "https", "{seen}");
    calls.call(2, "count", json!({"text": "200"})).await;
    for n in 1..=200 {
        assert_eq!(calls.text().await, n.to_string());
    }
    assert_eq!(calls.status().await["status"], 0);
    calls.token = "Bearer no-token".to_owned();
    calls.call(3, "unary", json!({"text": "hello"})).await;
    // UNAUTHENTICATED, which gRPC makes of a 401.
    assert_eq!(calls.status().await["status"], 16);
}

#[tokio::test]
async fn an_error_of_the_service_comes_whole() {
    let mut calls = Calls::start().await;
    calls.call(1, "refuse", json!({"text": ""})).await;
    let status = calls.status().await;
    assert_eq!(status["status"], 9, "{status}");
    assert_eq!(status["details"], "not 100 % grün");
    whole(&status);
}

#[tokio::test]
async fn messages_stream_both_ways_at_once() {
    let mut calls = Calls::start().await;
    calls.call(1, "collect", json!({})).await;
    for n in 0..100 {
        calls.tell(1, "write", json!(format!("{n}"))).await;
    }
    calls.tell(1, "end", json!(true)).await;
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(calls.text().await, expected.join(","));
    assert_eq!(calls.status().await["status"], 0);

    calls.call(2, "count", json!({"text": "200"})).await;
    for n in 1..=200 {
        assert_eq!(calls.text().await, n.to_string());
    }
    let status = calls.status().await;
    assert_eq!(status["status"], 0, "{status}");
    whole(&status);

    // Each question is asked when the last one was answered: nothing waits for the end.
    calls.call(3, "chat", json!({})).await;
    calls.call(4, "chat", json!({})).await;
    for n in 0..20_u64 {
        for id in [3, 4] {
            calls.tell(id, "write", json!(format!("{id}-{n}"))).await;
            let (from, message) = calls.message().await;
            assert_eq!(
                (from, &message["text"]),
                (u64::from(id), &json!(format!("{id}-{n}")))
            );
        }
    }
    calls.tell(3, "end", json!(true)).await;
    let status = calls.status().await;
    assert_eq!((&status["id"], &status["status"]), (&json!(3), &json!(0)));
    whole(&status);
    // The end of one is not the end of the other.
    calls.tell(4, "write", json!("still here")).await;
    assert_eq!(calls.text().await, "still here");
}

#[tokio::test]
async fn large_messages_pass() {
    let mut calls = Calls::start().await;
    let bytes = 16_u64 << 20;
    calls.call(1, "unary", json!({"bytes": bytes})).await;
    let (_, message) = calls.message().await;
    assert_eq!(message, json!({"bytes": bytes, "sum": bytes * 7 % 65_521}));
    assert_eq!(calls.status().await["status"], 0);
}

#[tokio::test]
async fn many_calls_share_connections() {
    let mut calls = Calls::start().await;
    for id in 0..200 {
        calls
            .call(id, "unary", json!({"text": format!("{id}")}))
            .await;
    }
    let mut seen = Vec::new();
    for _ in 0..200 {
        let (id, message) = calls.message().await;
        assert_eq!(message["text"], id.to_string());
        seen.push(id);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deadline_reaches_the_server_and_ends_the_call() {
    let mut calls = Calls::start().await;
    calls
        .call(1, "hang", json!({"text": "", "deadline": 1500}))
        .await;
    let called = calls.server.hear("called").await;
    let left = called["left"]
        .as_f64()
        .expect("the server is told a deadline");
    assert!((0.0..=1500.0).contains(&left), "{left} ms");
    assert_eq!(calls.text().await, "waiting");
    // DEADLINE_EXCEEDED.
    assert_eq!(calls.status().await["status"], 4);
    assert_eq!(calls.server.hear("cancelled").await["cancelled"], "hang");
}

#[tokio::test]
async fn who_cancels_a_call_ends_it_at_the_server_and_no_other() {
    let mut calls = Calls::start().await;
    calls.call(1, "chat", json!({})).await;
    calls.tell(1, "write", json!("one")).await;
    assert_eq!(calls.text().await, "one");
    calls.call(2, "hang", json!({"text": ""})).await;
    assert_eq!(calls.text().await, "waiting");
    calls.tell(2, "cancel", json!(true)).await;
    assert_eq!(calls.status().await["status"], 1);
    assert_eq!(calls.server.hear("cancelled").await["cancelled"], "hang");
    calls.tell(1, "write", json!("two")).await;
    assert_eq!(calls.text().await, "two");
}

#[tokio::test]
async fn a_refusal_is_a_status_that_clients_know() {
    let mut calls = Calls::start().await;
    // UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED: how gRPC reads 401, 403 and 404.
    let stranger = format!("Bearer {}", calls.world.idp.token("stranger").build());
    for (metadata, status) in [
        (json!({}), 16),
        (json!({"authorization": "Bearer abc"}), 16),
        (json!({"authorization": stranger}), 7),
    ] {
        let command = json!({"id": 1, "call": "unary", "text": "x", "metadata": metadata});
        calls.client.tell(command).await;
        assert_eq!(calls.status().await["status"], status, "{metadata}");
    }
    // The server saw none of them: the first call that it is told of is this one.
    let metadata = json!({"x-nth": "first"});
    calls
        .call(2, "unary", json!({"text": "x", "metadata": metadata}))
        .await;
    let called = calls.server.hear("called").await;
    assert_eq!(called["metadata"]["x-nth"], "first");
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let calls = Calls::start().await;
    let Calls {
        world,
        mut client,
        server,
        token,
    } = calls;
    drop(server);
    let metadata = json!({"authorization": token});
    client
        .tell(json!({"id": 1, "call": "unary", "text": "x", "metadata": metadata}))
        .await;
    // UNAVAILABLE: how gRPC reads 502.
    assert_eq!(client.hear("status").await["status"], 14);
    drop(world);
}

/// A server of bare frames: it says what it saw, and answers as the path asks.
async fn frames() -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(converse(request, answer, tell.clone()));
                }
            });
        }
    });
    (address, told)
}

#[derive(Debug)]
enum Seen {
    Head(HeaderMap),
    Reset(Option<Reason>),
}

async fn converse(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    tell: mpsc::UnboundedSender<Seen>,
) {
    let head = || Response::builder().header("content-type", "application/grpc");
    let _ = tell.send(Seen::Head(request.headers().clone()));
    match request.uri().path() {
        "/rpc.Echo/TrailersOnly" => {
            let head = head()
                .header("grpc-status", "5")
                .header("grpc-message", "gone%21");
            answer.send_response(head.body(()).unwrap(), true).unwrap();
        }
        "/rpc.Echo/Reset" => answer.send_reset(Reason::ENHANCE_YOUR_CALM),
        "/rpc.Echo/Broken" => {
            let mut body = answer
                .send_response(head().body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            // The data goes out before the reset does.
            pass(Duration::from_millis(100)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        _ => {
            let mut body = answer
                .send_response(head().body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(b"open"), false).unwrap();
            let reason = poll_fn(|context| body.poll_reset(context)).await;
            let _ = tell.send(Seen::Reset(reason.ok()));
        }
    }
}

async fn raw() -> (World, H2c, mpsc::UnboundedReceiver<Seen>, String) {
    let (address, told) = frames().await;
    let world = World::with(|setup| behind(setup, &address.to_string())).await;
    let client = H2c::open(world.gateway.proxy).await;
    let token = format!("Bearer {}", world.token());
    (world, client, told, token)
}

fn request(method: &str, token: &str) -> http::request::Builder {
    H2c::request("POST", &format!("/rpc.Echo/{method}"))
        .header("authorization", token)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "1500m")
}

#[tokio::test]
async fn what_grpc_asks_of_a_proxy_reaches_the_server_and_trailers_only_stay_that() {
    let (_world, mut client, mut told, token) = raw().await;
    let request = request("TrailersOnly", &token).body(()).unwrap();
    let (answer, _) = client.sender.send_request(request, true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert_eq!(answer.headers()["grpc-message"], "gone%21");
    let mut body = answer.into_body();
    assert!(body.is_end_stream(), "the head ends the stream");
    assert!(body.data().await.is_none());
    let Some(Seen::Head(head)) = told.recv().await else {
        panic!("the server was not reached");
    };
    assert_eq!(head["te"], "trailers");
    assert_eq!(head["grpc-timeout"], "1500m");
    assert_eq!(head["content-type"], "application/grpc");
    assert!(!head.contains_key("authorization"));
}

#[tokio::test]
async fn a_reset_of_the_client_is_a_reset_at_the_server() {
    let (_world, mut client, mut told, token) = raw().await;
    let request = request("Open", &token).body(()).unwrap();
    let (answer, mut sending) = client.sender.send_request(request, false).unwrap();
    let mut body = timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
        .into_body();
    let first = timeout(PATIENCE, body.data())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(first, "open");
    sending.send_reset(Reason::CANCEL);
    let Some(Seen::Head(_)) = told.recv().await else {
        panic!("the server was not reached");
    };
    let seen = timeout(PATIENCE, told.recv())
        .await
        .expect("a reset in time");
    assert!(matches!(seen, Some(Seen::Reset(Some(_)))), "{seen:?}");
}

#[tokio::test]
async fn a_stream_that_fails_ends_no_other() {
    let (world, mut client, mut told, token) = raw().await;
    let open = request("Open", &token).body(()).unwrap();
    let (answer, mut held) = client.sender.send_request(open, false).unwrap();
    let mut body = timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
        .into_body();
    assert_eq!(
        timeout(PATIENCE, body.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap(),
        "open"
    );

    let response = client.send(request("Reset", &token), &[]).await.unwrap();
    assert_eq!(
        (response.status, response.code().as_str()),
        (502, "upstream_failed")
    );
    let broken = client.send(request("Broken", &token), &[]).await;
    let error = broken.expect_err("half an answer is no answer");
    assert!(error.is_reset(), "{error}");
    // A refusal of ours, and an upstream of HTTP/1.1 that hangs up.
    let refused = H2c::request("POST", "/rpc.Echo/Open");
    assert_eq!(client.send(refused, &[]).await.unwrap().status, 401);
    world
        .upstream
        .answer(Answer::new(200, "").manner(Manner::HangUp));
    let hung_up = client
        .send(H2c::request("GET", "/open"), &[])
        .await
        .unwrap();
    assert_eq!(hung_up.status, 502);
    world
        .upstream
        .answer(Answer::new(200, "half of this").manner(Manner::Truncated));
    let half = client.send(H2c::request("GET", "/open"), &[]).await;
    assert!(
        half.is_err_and(|error| error.is_reset()),
        "a cut answer looks whole"
    );
    world.upstream.echo();
    assert_eq!(
        client
            .send(H2c::request("GET", "/open"), &[])
            .await
            .unwrap()
            .status,
        200
    );

    // The one that was open all the while still is.
    held.send_reset(Reason::CANCEL);
    let reset = async {
        while let Some(seen) = told.recv().await {
            if let Seen::Reset(reason) = seen {
                return reason;
            }
        }
        None
    };
    let reason = timeout(PATIENCE, reset).await.expect("a reset in time");
    assert!(reason.is_some(), "the connection ended instead");
}
