//! How often the token may be guessed, how much may be asked.

use super::Portal;
use crate::harness::{client::Call, eventually, gateway::ADMIN_TOKEN};

#[tokio::test]
async fn a_stranger_guesses_ten_times_a_minute() {
    let portal = Portal::start().await;
    let call = Call::new(portal.world.gateway.admin, "GET", "/v2/apis");
    for _ in 0..20 {
        // Without a token nothing is guessed.
        call.send().await.assert_problem(401, "token_required");
    }
    for _ in 0..10 {
        let response = call.clone().bearer("wrong").send().await;
        response.assert_problem(401, "token_required");
    }
    let response = call.clone().bearer("wrong").send().await;
    response.assert_problem(429, "too_many_attempts");
    let gateway = &portal.world.gateway;
    eventually!(
        gateway.logged(&["a wrong admin token", "127.0.0.1"]),
        "the operator sees it"
    );
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    // Else guessing would have no limit.
    let response = call.clone().bearer(ADMIN_TOKEN).send().await;
    response.assert_problem(429, "too_many_attempts");
    call.send().await.assert_problem(401, "token_required");
    portal
        .world
        .gateway
        .status("/livez")
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_mistake_does_not_lock_the_operator_out() {
    let portal = Portal::start().await;
    portal.read("/v2/apis").await;
    let wrong = Call::new(portal.world.gateway.admin, "GET", "/v2/apis").bearer("old");
    let mut refused = 0;
    for _ in 0..15 {
        refused += u32::from(wrong.send().await.status == 429);
    }
    assert!(refused > 0, "wrong ones are counted here too");
    portal.read("/v2/apis").await;
}

#[tokio::test]
async fn more_than_the_burst_waits() {
    let portal = Portal::start().await;
    // On one connection: a new one for each would be slower than the limit.
    let mut connection = crate::harness::client::Connection::open(portal.world.gateway.admin).await;
    let call = portal.get("/v2/nothing");
    let mut bytes = Vec::new();
    for _ in 0..400 {
        bytes.extend_from_slice(&call.bytes());
    }
    connection.send(bytes).await;
    let mut refused = None;
    for _ in 0..400 {
        let response = connection.response().await.unwrap();
        if response.status == 429 {
            refused = Some(response);
        }
    }
    let refused = refused.expect("one that has to wait");
    refused.assert_problem(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    portal
        .world
        .gateway
        .status("/metrics")
        .await
        .assert_status(200);
}
