//! How upstreams frame their answers: what a client could read in two ways does not reach it.

use crate::harness::{World, client::Connection, h2c::H2c, stage::Stage};

async fn staged() -> (World, Stage) {
    let stage = Stage::start().await;
    let world = World::with(|setup| stage.stand_behind(setup)).await;
    (world, stage)
}

/// Lets the upstream say something to one request; gives the client's connection, and the
/// upstream's, which stays open.
async fn speak(world: &World, stage: &Stage, bytes: &str) -> (Connection, Connection) {
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send(bytes).await;
    (client, upstream)
}

#[tokio::test]
async fn a_body_that_ends_in_two_ways_is_no_answer() {
    let (world, stage) = staged().await;
    let coding = |value: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n");
    for head in [
        coding("gzip"),
        coding("gzip, chunked"),
        coding("chunked, chunked"),
        coding("chunked, identity"),
        coding("identity"),
        coding("xchunked"),
        coding("chunked\r\nTransfer-Encoding: chunked"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n".to_owned(),
    ] {
        let bytes = format!("{head}Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let (mut client, mut upstream) = speak(&world, &stage, &bytes).await;
        upstream.finish().await;
        let response = client.response().await.expect("an answer");
        assert_eq!(response.status, 502, "{head}: {response:?}");
        response.assert_problem(502, "upstream_failed");
        let line = world.gateway.line_of(&response).await;
        assert_eq!(line["reason"], "malformed_answer", "{head}: {line}");
    }
    let bytes = format!("{}\r\n3\r\nabc\r\n0\r\n\r\n", coding("Chunked"));
    let (mut client, _upstream) = speak(&world, &stage, &bytes).await;
    assert_eq!(client.response().await.unwrap().text(), "abc");
}

#[tokio::test]
async fn an_answer_that_has_no_body_measures_none() {
    let (world, stage) = staged().await;
    for field in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let bytes = format!("HTTP/1.1 204 No Content\r\n{field}\r\nConnection: close\r\n\r\n");
        let (mut client, upstream) = speak(&world, &stage, &bytes).await;
        let response = client.response().await.expect("an answer");
        response.assert_status(204);
        assert_eq!(response.header("content-length"), None);
        assert_eq!(response.header("transfer-encoding"), None);
        drop(upstream);
        let mut client = H2c::open(world.gateway.proxy).await;
        let answering = async {
            let mut upstream = stage.accept().await;
            upstream.whole_head().await.unwrap();
            upstream.send(&bytes).await;
            upstream
        };
        let sent = client.send(H2c::request("GET", "/open"), &[]);
        let (response, _upstream) = tokio::join!(sent, answering);
        let response = response.expect("no broken stream");
        assert_eq!(response.status, 204);
        assert!(!response.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn an_answer_of_http_1_0_goes_out_as_1_1() {
    let (world, stage) = staged().await;
    for head in ["Content-Length: 3\r\n", ""] {
        let bytes = format!("HTTP/1.0 200 OK\r\n{head}\r\nabc");
        let (mut client, mut upstream) = speak(&world, &stage, &bytes).await;
        upstream.finish().await;
        let (first, _) = client.whole_head().await.expect("an answer");
        assert_eq!(first, "HTTP/1.1 200 OK", "{head}");
    }
}

#[tokio::test]
async fn interim_answers_have_an_end() {
    let (world, stage) = staged().await;
    let hints = |count: usize| "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
    let enough = hints(100) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (mut client, upstream) = speak(&world, &stage, &enough).await;
    client.response().await.unwrap().assert_status(200);
    drop(upstream);
    let (mut client, _upstream) = speak(&world, &stage, &hints(101)).await;
    let response = client.response().await.expect("an answer");
    response.assert_problem(502, "upstream_failed");
    let line = world.gateway.line_of(&response).await;
    assert_eq!(line["reason"], "too_many_interim_answers", "{line}");
}
