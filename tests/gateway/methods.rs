//! What methods, interim answers and old clients ask of a proxy (RFC 9110, RFC 9112).

use std::{process::Stdio, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use tokio::{process::Command, time::timeout};

use crate::harness::{
    World,
    client::Connection,
    eventually,
    h2c::H2c,
    http1::{Answer, Manner, all},
    stage::Stage,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A world whose upstream the test speaks.
async fn staged() -> (World, Stage) {
    let stage = Stage::start().await;
    let world = World::with(|setup| stage.stand_behind(setup)).await;
    (world, stage)
}

const EXPECTING: &str = "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
    Expect: 100-continue\r\n\r\n";

#[tokio::test]
async fn a_client_that_waits_for_100_gets_the_upstream_s() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send(EXPECTING).await;
    let mut upstream = stage.accept().await;
    let (first, lines) = upstream.whole_head().await.unwrap();
    assert_eq!(first, "POST /open HTTP/1.1");
    assert_eq!(all(&lines, "expect"), ["100-continue"]);
    assert!(client.is_silent().await, "a 100 that nobody said");
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 100"));
    client.send("hello").await;
    let mut body = [0; 5];
    upstream.read_exact(&mut body).await;
    assert_eq!(&body, b"hello");
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let response = client.response().await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    // Both connections are as good as before.
    client.send(EXPECTING).await;
    assert_eq!(upstream.whole_head().await.unwrap().0, first);
}

#[tokio::test]
async fn an_upstream_may_answer_without_a_100_and_the_body_is_never_asked_for() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send(EXPECTING).await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream
        .send("HTTP/1.1 413 Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 413"));
    // Whatever the client does now, what it sends is not the head of a request.
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.finish().await;
    let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(!rest.contains("HTTP/1.1 2"), "{rest}");
    assert!(stage.is_untouched().await);
}

#[tokio::test]
async fn a_refused_client_is_not_told_to_continue() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send(EXPECTING.replace("/open", "/flights")).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 401"));
    assert!(stage.is_untouched().await);
}

#[tokio::test]
async fn an_http_2_client_need_not_wait() {
    let (world, stage) = staged().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/open")
        .header("expect", "100-continue")
        .body(())
        .unwrap();
    let (answer, mut body) = client.sender.send_request(request, false).unwrap();
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    upstream
        .read_exact(&mut [0; "5\r\nhello\r\n0\r\n\r\n".len()])
        .await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 204);
}

/// Runs curl, and gives back what it wrote: head and body, then the bytes that it sent.
async fn curl(arguments: &[&str]) -> (String, u64) {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--include",
            "--noproxy",
            "*",
            "--max-time",
            "30",
        ])
        .args(["--write-out", "\n%{size_upload}"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl starts: run tests/run.sh");
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let (text, sent) = text.rsplit_once('\n').unwrap();
    assert!(errors.is_empty(), "{errors}: {text}");
    (text.to_owned(), sent.trim().parse().unwrap())
}

#[tokio::test]
async fn curl_uploads_after_100_and_not_after_401() {
    let world = World::start().await;
    let file = world.gateway.directory.path().join("upload");
    let size = 3 << 20;
    std::fs::write(&file, vec![b'u'; size]).unwrap();
    let file = file.to_str().unwrap();
    let url = format!("http://{}/flights/upload", world.gateway.proxy);
    // Large enough that curl asks, and willing to wait for longer than any machine is slow.
    let common = ["--upload-file", file, "--expect100-timeout", "20", &url];

    let (answer, sent) = curl(&common).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
    assert!(answer.contains("credentials_required"), "{answer}");
    assert_eq!(sent, 0, "the body was sent");
    assert_eq!(world.upstream.hits(), 0);

    let bearer = format!("Authorization: Bearer {}", world.token());
    let (answer, sent) = curl(&[&["--header", &bearer][..], &common].concat()).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"),
        "{answer:.200}"
    );
    assert_eq!(sent, size as u64);
    let seen = world.upstream.last();
    assert_eq!((seen.method.as_str(), seen.body.len()), ("PUT", size));
    assert_eq!(seen.header("expect"), Some("100-continue"));

    // Over HTTP/2 curl does not wait.
    let more = ["--http2-prior-knowledge", "--header", &bearer];
    let (answer, sent) = curl(&[&more[..], &common].concat()).await;
    assert!(answer.starts_with("HTTP/2 200"), "{answer:.200}");
    assert_eq!(
        (sent, world.upstream.last().body.len()),
        (size as u64, size)
    );
}

#[tokio::test]
async fn head_tells_what_get_would_and_sends_no_body() {
    let world = World::start().await;
    for (manner, length) in [(Manner::Whole, Some("12")), (Manner::Chunked, None)] {
        world
            .upstream
            .answer(Answer::new(200, "twelve bytes").manner(manner));
        let mut connection = Connection::open(world.gateway.proxy).await;
        if manner == Manner::Whole {
            for _ in 0..2 {
                let head = world.gateway.call("HEAD", "/open");
                let response = head.send_on(&mut connection).await.expect("it is kept");
                response.assert_status(200);
                assert_eq!(response.header("content-length"), length);
            }
            assert_eq!(world.upstream.last().method, "HEAD");
        }
        let get = world.gateway.get("/open").send_on(&mut connection).await;
        assert_eq!(
            get.expect("it is kept").text(),
            "twelve bytes",
            "{manner:?}"
        );
    }
    world.upstream.answer(Answer::new(200, "twelve bytes"));
    let mut client = H2c::open(world.gateway.proxy).await;
    let head = client
        .send(H2c::request("HEAD", "/open"), &[])
        .await
        .unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "12");
    let refused = client
        .send(H2c::request("HEAD", "/flights"), &[])
        .await
        .unwrap();
    assert_eq!((refused.status, refused.body.len()), (401, 0));
}

#[tokio::test]
async fn trace_and_connect_are_refused_on_every_version() {
    let world = World::start().await;
    let token = world.token();
    for path in ["/open", "/flights"] {
        let trace = world.gateway.call("TRACE", path).bearer(&token);
        let response = world.refuses(trace, 405, "method_not_allowed").await;
        let allowed = response.header("allow").unwrap();
        assert!(
            allowed.contains("GET") && !allowed.contains("TRACE"),
            "{allowed}"
        );
    }
    let mut client = H2c::open(world.gateway.proxy).await;
    let trace =
        H2c::request("TRACE", "/flights").header("authorization", format!("Bearer {token}"));
    let response = client.send(trace, &[]).await.unwrap();
    assert_eq!(
        (response.status, response.code().as_str()),
        (405, "method_not_allowed")
    );
    assert!(response.headers.contains_key("allow"));

    for target in ["api.test:443", "api.test:80/open"] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        connection.send(head).await;
        connection
            .send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let answer = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let refused = answer.starts_with("HTTP/1.1 405") || answer.starts_with("HTTP/1.1 400");
        assert!(refused, "{target}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{target}: {answer}");
    }
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("api.test:443");
    let (answer, mut tunnel) = client
        .sender
        .send_request(connect.body(()).unwrap(), false)
        .unwrap();
    let _ = tunnel.send_data(Bytes::from_static(b"GET /open HTTP/1.1\r\n\r\n"), false);
    let answer = timeout(PATIENCE, answer).await.unwrap();
    assert!(answer.is_ok_and(|answer| answer.status() == 405));
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn early_hints_come_before_the_answer_or_not_at_all() {
    let (world, stage) = staged().await;
    let speak = async |upstream: &mut Connection| {
        upstream.whole_head().await.unwrap();
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
        upstream.send(hints.repeat(2)).await;
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            .await;
    };
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    speak(&mut upstream).await;
    for _ in 0..2 {
        let (first, lines) = client.whole_head().await.unwrap();
        assert!(first.starts_with("HTTP/1.1 103"), "{first}");
        assert_eq!(all(&lines, "link"), ["</style.css>"]);
        assert!(all(&lines, "set-cookie").is_empty());
    }
    assert_eq!(client.response().await.unwrap().text(), "done");
    // HTTP/2 clients see the answer alone; nobody is hurt.
    let mut client = H2c::open(world.gateway.proxy).await;
    let (_, response) = tokio::join!(
        speak(&mut upstream),
        client.send(H2c::request("GET", "/open"), &[])
    );
    let response = response.unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"done"[..])
    );
    // An HTTP/1.0 client does not know interim answers (RFC 9110 section 15.2).
    let mut old = Connection::open(world.gateway.proxy).await;
    old.send("GET /open HTTP/1.0\r\nHost: a\r\n\r\n").await;
    speak(&mut upstream).await;
    let text = String::from_utf8(old.rest().await).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn an_http_1_0_client_gets_whole_answers() {
    let world = World::start().await;
    for manner in [Manner::Whole, Manner::Chunked] {
        world
            .upstream
            .answer(Answer::new(200, "no chunks in here").manner(manner));
        let mut client = Connection::open(world.gateway.proxy).await;
        client.send("GET /open HTTP/1.0\r\nHost: a\r\n\r\n").await;
        let text = String::from_utf8(client.rest().await).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert_eq!(body, "no chunks in here", "{manner:?}");
    }
    assert_eq!(world.upstream.last().header("host"), Some("a"));
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_keep_the_connections() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    let mut over_h2 = H2c::open(world.gateway.proxy).await;
    let mut upstream: Option<Connection> = None;
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1000\r\n\r\n",
            304,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            304,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
        if upstream.is_none() {
            upstream = Some(stage.accept().await);
        }
        let spoken = upstream.as_mut().unwrap();
        spoken.whole_head().await.expect("the connection is kept");
        spoken.send(answer).await;
        let response = client.response().await.expect("the connection is kept");
        assert_eq!(
            (response.status, response.body.len()),
            (status, 0),
            "{answer}"
        );
        assert!(client.is_silent().await, "{answer}");
        let speak = async {
            spoken.whole_head().await.expect("the connection is kept");
            spoken.send(answer).await;
        };
        let (_, response) = tokio::join!(speak, over_h2.send(H2c::request("GET", "/open"), &[]));
        let response = response.unwrap();
        assert_eq!(
            (response.status, response.body.len()),
            (status, 0),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_the_upstream_s_connection() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    drop(upstream);
    let response = client.response().await.unwrap();
    assert_eq!(response.text(), "until the end");
}

#[tokio::test]
async fn an_upstream_that_switches_protocols_unasked_is_refused() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    upstream
        .send(format!("{switch}\r\nbytes of a tunnel"))
        .await;
    drop(upstream);
    client.finish().await;
    let text = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(!text.contains("bytes of a tunnel"), "{text}");
    eventually!(!world.gateway.access_log().is_empty(), "a line is written");
    // The gateway itself is as good as before.
    let next = world.gateway.status("/livez").await;
    assert_eq!(next.status, 200);
    assert_eq!(json!(world.gateway.access_log().len()), json!(1));
}

/// Runs nghttp, and gives back the frames that it tells of.
async fn nghttp(arguments: &[&str]) -> String {
    let output = Command::new("nghttp")
        .args(["--null-out", "--verbose", "--no-dep"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("nghttp starts: run tests/run.sh");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nghttp_is_told_bounds_and_an_early_refusal_is_no_error() {
    let world = World::start().await;
    let file = world.gateway.directory.path().join("upload");
    std::fs::write(&file, vec![b'u'; 3 << 20]).unwrap();
    let url = format!("http://{}/flights/upload", world.gateway.proxy);
    let frames = nghttp(&["--data", file.to_str().unwrap(), &url]).await;
    let told = frames.split_once("recv SETTINGS").unwrap().1;
    let setting = |name: &str| {
        let value = told
            .split_once(name)
            .and_then(|(_, rest)| rest.split_once(':'));
        let digits = |text: &str| {
            text.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        };
        value.map_or(u64::MAX, |(_, value)| digits(value).parse().unwrap())
    };
    assert!(
        setting("SETTINGS_MAX_CONCURRENT_STREAMS") <= 100,
        "{frames}"
    );
    assert!(
        setting("SETTINGS_MAX_HEADER_LIST_SIZE") <= 64 << 10,
        "{frames}"
    );
    // RFC 9113 section 8.1: a whole answer, and only then the stream is reset without an error.
    assert!(frames.contains(":status: 401"), "{frames}");
    let (_, after) = frames.rsplit_once("; END_STREAM").unwrap();
    assert!(after.contains("recv RST_STREAM"), "{frames}");
    assert!(after.contains("(error_code=NO_ERROR(0x00))"), "{frames}");
    assert_eq!(world.upstream.hits(), 0);
}
