//! What developers and strangers try at the portal, and operators would not like.

use serde_json::json;
use tokio::net::TcpSocket;

use super::{Site, pages::made};
use crate::harness::{
    client::{Call, Connection},
    gateway::Setup,
    portal::text,
};

const EMAIL: &str = "dana@example.com";

#[tokio::test]
async fn a_registration_that_the_operator_has_ended_is_not_begun_anew() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let id = made(&site, &dana).await;
    let at_once = json!({"auto_approve_registrations": true});
    site.operator
        .done("PATCH", "/v2/apis/flights", at_once)
        .await;
    let csrf = dana.csrf("/account").await;
    let apis = format!("/apps/{id}/apis");
    let asked = dana.post(&apis, &csrf, &[("api", "flights")]).await;
    let to = asked.header("location").unwrap();
    assert!(to.ends_with("?done=registered"), "{to}");
    let all = format!("/v2/applications/{id}/registrations");
    let all = site.operator.read(&all).await;
    let registration = text(&all["data"][0], "id");
    let path = format!("/v2/application-registrations/{registration}");
    for (status, word) in [("revoked", "Revoked"), ("rejected", "Rejected")] {
        let decided = json!({"status": status});
        site.operator.done("PATCH", &path, decided).await;
        let page = dana.get(&format!("/apps/{id}")).await.text();
        assert!(
            page.contains(word) && !page.contains("Stop using"),
            "{page}"
        );
        let leave = format!("/apps/{id}/apis/{registration}/delete");
        let refused = dana.post(&leave, &csrf, &[]).await;
        refused.assert_status(409);
        let rest = format!("/api/v2/applications/{id}/registrations/{registration}");
        let refused = dana.ask("DELETE", &rest, serde_json::Value::Null).await;
        refused.assert_problem(409, "registration_decided");
        assert_eq!(site.operator.read(&path).await["status"], status);
    }
}

#[tokio::test]
async fn whose_client_it_is_nobody_can_just_say() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let new = json!({
        "name": "elsewhere", "strategy_type": "openid_connect",
        "configs": {"openid-connect": {
            "issuer": site.world.idp.issuer, "credential_claim": ["client_id"],
            "auth_methods": ["bearer"], "audience_required": [crate::harness::AUDIENCE],
        }},
    });
    let strategies = "/v2/application-auth-strategies";
    let strategy = site.operator.make(strategies, new).await;
    let accepted = json!({"auth_strategies": ["elsewhere"], "auto_approve_registrations": true});
    site.operator
        .done("PATCH", "/v2/apis/flights", accepted)
        .await;
    let new = json!({
        "name": "Mine", "auth_strategy_id": strategy, "reference_id": "somebody-elses",
    });
    let made = dana.ask("POST", "/api/v2/applications", new).await;
    made.assert_status(201);
    let id = text(&made.json(), "id");
    let csrf = dana.csrf("/account").await;
    let apis = format!("/apps/{id}/apis");
    dana.post(&apis, &csrf, &[("api", "flights")])
        .await
        .assert_status(303);
    let page = dana.get(&format!("/apps/{id}")).await.text();
    assert!(
        page.contains("until the operator of this portal activates"),
        "{page}"
    );
    let token = site.world.idp.token("somebody-elses").build();
    let call = Call::new(site.world.gateway.proxy, "GET", "/flights").bearer(&token);
    call.send()
        .await
        .assert_problem(403, "application_suspended");
    let active = json!({"status": "active"});
    let path = format!("/v2/applications/{id}");
    site.operator.done("PATCH", &path, active).await;
    call.send().await.assert_status(200);
}

/// A connection from an address of this machine.
async fn from(address: &str, site: &Site) -> Connection {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{address}:0").parse().unwrap())
        .unwrap();
    Connection::on(socket.connect(site.desk).await.unwrap())
}

const ASK: &str = "GET /sign-in HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let site = Site::start().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(from("127.0.0.2", &site).await);
    }
    assert!(held[299].is_closed().await);
    let mut other = from("127.0.0.3", &site).await;
    other.send(ASK).await;
    other.response().await.unwrap().assert_status(200);
    held[0].send(ASK).await;
    held[0].response().await.unwrap().assert_status(200);
}

#[tokio::test]
async fn a_proxy_in_front_has_all_that_it_needs() {
    let trust = |setup: &mut Setup| setup.config["trusted_proxies"] = json!(["127.0.0.2/32"]);
    let site = Site::with(trust).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(from("127.0.0.2", &site).await);
    }
    held[99].send(ASK).await;
    held[99].response().await.unwrap().assert_status(200);
}

#[tokio::test]
async fn where_an_identity_provider_stands_is_for_the_operator() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let strategy = site.strategy().await;
    let csrf = dana.csrf("/account").await;
    site.world.idp.down();
    let new = json!({"name": "Mine", "auth_strategy_id": strategy});
    let told = dana.ask("POST", "/api/v2/applications", new).await;
    told.assert_status(503);
    let fields = [("auth_strategy_id", &*strategy), ("name", "Mine")];
    let shown = dana.post("/apps", &csrf, &fields).await;
    let port = site.world.idp.issuer.rsplit(':').next().unwrap().to_owned();
    for said in [told.text(), shown.text()] {
        assert!(
            said.contains("The identity provider cannot be reached"),
            "{said}"
        );
        assert!(!said.contains(&port), "{said}");
    }
}
