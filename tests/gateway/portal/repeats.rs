//! Requests that come twice under one key.

use futures_util::future::join_all;
use serde_json::json;

use super::{Portal, application, id};
use crate::harness::idp::Endpoint;

#[tokio::test]
async fn a_repeated_creation_makes_nothing_more_and_shows_no_secret() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let body = application("Trip Planner", &strategy);
    let call = || {
        let call = portal.with_json("POST", "/v2/applications", &body);
        call.header("Idempotency-Key", "first")
    };
    let first = call().send().await;
    first.assert_status(201);
    assert!(first.json()["client_secret"].is_string());
    assert_eq!(first.header("idempotency-replayed"), None);
    for _ in 0..2 {
        let again = call().send().await;
        again.assert_status(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(id(&again), id(&first));
        assert_eq!(again.json()["client_id"], first.json()["client_id"]);
        assert!(again.json().get("client_secret").is_none(), "{again:?}");
    }
    assert_eq!(portal.world.idp.hits(Endpoint::Registration), 1);
    // The members' order and white space say nothing.
    let spaced = format!(
        " {{ \"owner\" : {}, \"auth_strategy_id\":\"{strategy}\",\"name\" : \"Trip Planner\" }} ",
        body["owner"]
    );
    let call = portal
        .call("POST", "/v2/applications")
        .header("Content-Type", "application/json");
    let again = call
        .header("Idempotency-Key", "first")
        .body(spaced)
        .send()
        .await;
    again.assert_status(200);
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let portal = Portal::start().await;
    let body = super::provider("one", &portal.world.idp.issuer);
    let call = |target: &str, body| {
        let call = portal.with_json("POST", target, body);
        call.header("Idempotency-Key", "mine")
    };
    call("/v2/dcr-providers", &body)
        .send()
        .await
        .assert_status(201);
    let mut other = body.clone();
    other["labels"] = json!({"a": "b"});
    let response = call("/v2/dcr-providers", &other).send().await;
    response.assert_problem(422, "idempotency_key_reused");
    let mut strategy = super::strategy("one", &portal.world.idp.issuer);
    strategy["display_name"] = json!("x");
    let response = call("/v2/application-auth-strategies", &strategy)
        .send()
        .await;
    response.assert_problem(422, "idempotency_key_reused");
    let list = portal.read("/v2/dcr-providers").await;
    assert_eq!(list["meta"]["page"]["total"], 1);
}

#[tokio::test]
async fn a_key_is_one_printable_text() {
    let portal = Portal::start().await;
    let body = super::provider("one", &portal.world.idp.issuer);
    let long = "k".repeat(256);
    for keys in [
        &[""][..],
        &[&long],
        &["a\tb"],
        &["a", "b"],
        &["schl\u{fc}ssel"],
    ] {
        let mut call = portal.with_json("POST", "/v2/dcr-providers", &body);
        for key in keys {
            call = call.header("Idempotency-Key", key);
        }
        let response = call.send().await;
        let wanted = ("Idempotency-Key".to_owned(), "pattern".to_owned());
        assert_eq!(super::faults(&response), [wanted], "{keys:?}");
    }
}

#[tokio::test]
async fn of_many_at_once_one_makes_it() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let body = application("Trip Planner", &strategy);
    let calls = (0..12).map(|_| {
        let call = portal.with_json("POST", "/v2/applications", &body);
        async move { call.header("Idempotency-Key", "at once").send().await }
    });
    let answers = join_all(calls).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 201 | 409), "{answer:?}");
        if answer.status == 409 {
            assert_eq!(answer.code(), "operation_in_progress");
        }
    }
    let list = portal.read("/v2/applications").await;
    assert_eq!(list["meta"]["page"]["total"], 1, "{list}");
    let call = portal.with_json("POST", "/v2/applications", &body);
    let last = call.header("Idempotency-Key", "at once").send().await;
    assert_eq!(last.status, 200, "{last:?}");
}
