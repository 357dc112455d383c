//! The end of the program: nothing that was begun is lost.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};

use crate::harness::{
    World,
    client::{Call, Connection},
    eventually,
    h2c::H2c,
    http1::Answer,
};

#[tokio::test]
async fn a_termination_under_load_loses_no_request() {
    let mut world = World::start().await;
    let token = world.token();
    let barrier = Arc::new(Barrier::new(65));
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let (call, barrier) = (world.flights().bearer(&token), Arc::clone(&barrier));
        clients.spawn(async move {
            let mut connection = Connection::open(call.address).await;
            let mut barrier = Some(barrier);
            for sent in 0.. {
                let response = call.send_on(&mut connection).await;
                let response = response.unwrap_or_else(|| panic!("request {sent} was lost"));
                response.assert_status(200);
                if response
                    .header("connection")
                    .is_some_and(|c| c.eq_ignore_ascii_case("close"))
                {
                    return sent;
                }
                if let Some(barrier) = barrier.take_if(|_| sent == 3) {
                    barrier.wait().await;
                }
            }
            unreachable!("the gateway closes");
        });
    }
    barrier.wait().await;
    world.gateway.signal("TERM").await;
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let status = world.gateway.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let mut world = World::start().await;
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_millis(800)));
    let call = world.gateway.get("/open");
    let waiting = tokio::spawn(async move { call.send().await });
    eventually!(world.upstream.hits() == 1, "the request is in flight");
    world.gateway.signal("TERM").await;
    let response = waiting.await.unwrap();
    response.assert_status(200);
    assert_eq!(response.text(), "late");
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn readiness_fails_first_and_an_idle_program_ends_before_its_grace_period() {
    let mut world = World::with(|s| s.config["grace_period"] = serde_json::json!("30s")).await;
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_secs(1)));
    let call = world.gateway.get("/open");
    let waiting = tokio::spawn(async move { call.send().await });
    eventually!(world.upstream.hits() == 1, "the request is in flight");
    world.gateway.signal("TERM").await;
    let admin = world.gateway.admin;
    eventually!(
        Call::new(admin, "GET", "/readyz").send().await.status == 503,
        "readiness fails while a request is in flight"
    );
    // Until load balancers have looked, clients still come.
    world.upstream.echo();
    let mut late = Connection::open(world.gateway.proxy).await;
    let response = world.gateway.get("/open").send_on(&mut late).await.unwrap();
    response.assert_status(200);
    assert_eq!(response.header("connection"), Some("close"));
    waiting.await.unwrap().assert_status(200);
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn slow_uploads_and_downloads_end_whole() {
    const SIZE: usize = 8 << 20;
    let mut world = World::with(|s| s.config["grace_period"] = serde_json::json!("20s")).await;
    world.upstream.answer(Answer::new(200, vec![b'x'; SIZE]));
    let mut download = Connection::open(world.gateway.proxy).await;
    download.send(world.gateway.get("/open").bytes()).await;
    // More than a head, and far less than all: the rest waits in full buffers.
    let mut start = vec![0; 4_096];
    download.read_exact(&mut start).await;
    let mut upload = Connection::open(world.gateway.proxy).await;
    upload
        .send("POST /open HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10\r\n\r\nslow ")
        .await;
    world.gateway.signal("TERM").await;
    let admin = world.gateway.admin;
    eventually!(
        Call::new(admin, "GET", "/readyz").send().await.status == 503,
        "the stop has begun"
    );
    world.upstream.echo();
    upload.send("body!").await;
    let response = upload.response().await.expect("the answer to a slow body");
    assert_eq!(response.json()["body"], "slow body!");
    start.extend(download.rest().await);
    let head = start.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    assert_eq!(start.len() - head.unwrap() - 4, SIZE);
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn http2_clients_are_told_to_go() {
    let mut world = World::start().await;
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_millis(500)));
    let mut client = H2c::open(world.gateway.proxy).await;
    let late = client.send(H2c::request("GET", "/open"), &[]);
    let stop = async {
        eventually!(world.upstream.hits() == 1, "the request is in flight");
        world.gateway.signal("TERM").await;
    };
    let (late, ()) = tokio::join!(late, stop);
    assert_eq!(late.expect("the answer").status, 200);
    let next = client.send(H2c::request("GET", "/open"), &[]).await;
    assert!(next.is_err(), "the connection takes no new stream");
    assert_eq!(world.upstream.hits(), 1);
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_period_does_not_hold_the_program() {
    let mut world = World::with(|s| s.config["grace_period"] = serde_json::json!("1s")).await;
    world
        .upstream
        .answer(Answer::new(200, "never").after(Duration::from_secs(600)));
    let call = world.gateway.get("/open");
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection.send(call.bytes()).await;
    eventually!(world.upstream.hits() == 1, "the request is in flight");
    world.gateway.signal("TERM").await;
    world.gateway.ended().await;
}
