//! Operations that take long: they outlive impatience and clients.

use std::time::Duration;

use super::{Portal, application, text};
use crate::harness::{client::Connection, eventually, idp::Endpoint, pass};

#[tokio::test]
async fn an_operation_may_take_longer_than_a_connection_may_be_silent() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    portal.world.idp.hold();
    // The stand-in's `timeout` is 2 s; each try ends, and another one follows.
    let call = portal.with_json("POST", "/v2/applications", &application("A", &strategy));
    let mut connection = Connection::open(portal.world.gateway.admin).await;
    connection.send(call.bytes()).await;
    eventually!(
        portal.world.idp.hits(Endpoint::Registration) > 0,
        "the stand-in is asked"
    );
    pass(Duration::from_millis(11_500)).await;
    portal.world.idp.release();
    let response = connection
        .response_to("POST")
        .await
        .expect("the connection is kept");
    assert!(matches!(response.status, 201 | 503 | 504), "{response:?}");
}

#[tokio::test]
async fn an_operation_outlives_its_client() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    portal.world.idp.hold();
    let call = portal.with_json(
        "POST",
        "/v2/applications",
        &application("Left behind", &strategy),
    );
    let mut connection = Connection::open(portal.world.gateway.admin).await;
    connection.send(call.bytes()).await;
    eventually!(
        portal.world.idp.hits(Endpoint::Registration) == 1,
        "the stand-in is asked"
    );
    drop(connection);
    pass(Duration::from_millis(200)).await;
    portal.world.idp.release();
    eventually!(
        portal.read("/v2/applications").await["data"][0]["life"] == "ready",
        "it is made"
    );
    let list = portal.read("/v2/applications").await;
    assert_eq!(text(&list["data"][0]["name"]), "Left behind");
    assert!(list["data"][0]["client_id"].is_string());
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let portal = Portal::start().await;
    let call = portal.call("POST", "/v2/dcr-providers");
    let call = call
        .header("Content-Type", "application/json")
        .header("Content-Length", "100");
    let mut connection = Connection::open(portal.world.gateway.admin).await;
    connection.send(call.bytes()).await;
    connection.send("{\"name\":").await;
    let response = connection.response_to("POST").await.expect("it is told");
    response.assert_problem(408, "request_timeout");
}
