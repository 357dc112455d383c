//! The end of the program: nothing that was begun is lost.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};

use crate::harness::{
    World,
    client::{Call, Connection},
    eventually,
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
    waiting.await.unwrap().assert_status(200);
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
