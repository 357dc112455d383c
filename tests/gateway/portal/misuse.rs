//! What an operator, an identity provider or two at once could do to somebody else's application.

use serde_json::{Value, json};

use super::{Portal, application, id};
use crate::harness::{http1::Answer, idp::Endpoint};

#[tokio::test]
async fn a_client_that_comes_back_is_not_who_it_was() {
    let portal = Portal::start().await;
    let mut body = super::strategy("given", &portal.world.idp.issuer);
    body["configs"]["openid-connect"]["auth_methods"] =
        json!(["client_credentials", "bearer", "session"]);
    let made = portal.post("/v2/application-auth-strategies", &body).await;
    let strategy = id(made.assert_status(201));
    let accepted = json!({"auth_strategies": ["given"]});
    let api = portal.patch("/v2/apis/flights", &accepted).await;
    api.assert_status(200);
    portal.world.idp.client("shared", "its-secret");
    let mut cookies: Vec<String> = Vec::new();
    for developer in ["alice", "bob"] {
        let mut body = application("App", &strategy);
        body["owner"] = json!({"type": "developer", "id": developer});
        body["client_id"] = json!("shared");
        let made = portal.post("/v2/applications", &body).await;
        let application = id(made.assert_status(201));
        let registrations = format!("/v2/applications/{application}/registrations");
        let approved = json!({"api_id": "flights", "status": "approved"});
        portal
            .post(&registrations, &approved)
            .await
            .assert_status(201);
        for cookie in &cookies {
            let response = portal.world.flights().cookie(cookie).send().await;
            assert_eq!(response.status, 401, "{response:?}");
        }
        let response = portal
            .world
            .flights()
            .basic("shared", "its-secret")
            .send()
            .await;
        response.assert_status(200);
        cookies.extend(response.cookie());
        let gone = portal
            .delete(&format!("/v2/applications/{application}"))
            .await;
        gone.assert_status(204);
    }
    assert_eq!(cookies.len(), 2);
}

#[tokio::test]
async fn a_providers_secrets_do_not_follow_it_to_another_place() {
    let portal = Portal::start().await;
    let provider = portal.provider("stand-in").await;
    let target = format!("/v2/dcr-providers/{provider}");
    for change in [
        json!({"issuer": "http://127.0.0.1:9"}),
        json!({"dcr_config": {"endpoint": "http://127.0.0.1:9/reg"}}),
    ] {
        let response = portal.patch(&target, &change).await;
        let told = response.assert_status(400).json();
        let fault = &told["invalid_parameters"][0];
        assert_eq!(fault["field"], "dcr_config.initial_access_token", "{told}");
    }
    let change = json!({"dcr_config": {
        "endpoint": "http://127.0.0.1:9/reg", "initial_access_token": "of-the-other-place",
    }});
    portal.patch(&target, &change).await.assert_status(200);
}

#[tokio::test]
async fn of_two_changes_of_an_api_none_is_lost() {
    let portal = Portal::start().await;
    portal.ready().await;
    let apis = "/v2/apis/flights";
    let (narrow, open) = (
        json!({"auth_strategies": []}),
        json!({"auto_approve_registrations": true}),
    );
    for _ in 0..10 {
        let reset = json!({"auth_strategies": ["dcr"], "auto_approve_registrations": false});
        portal.patch(apis, &reset).await.assert_status(200);
        let (narrowed, opened) =
            tokio::join!(portal.patch(apis, &narrow), portal.patch(apis, &open));
        let now: Value = portal.read(apis).await;
        if narrowed.status == 200 {
            assert_eq!(now["auth_strategies"], json!([]), "{now}");
        }
        if opened.status == 200 {
            assert_eq!(now["auto_approve_registrations"], true, "{now}");
        }
        assert!(narrowed.status == 200 || opened.status == 200);
    }
}

#[tokio::test]
async fn a_client_of_another_application_is_not_adopted() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let made = portal
        .post("/v2/applications", &application("First", &strategy))
        .await;
    let client = made.assert_status(201).json()["client_id"].clone();
    let provider = portal.read("/v2/dcr-providers").await["data"][0]["id"].clone();
    let other = portal.strategy("other", provider.as_str().unwrap()).await;
    let mut body = application("Second", &other);
    body["dcr_client_id"] = client;
    let refused = portal.post("/v2/applications", &body).await;
    assert_eq!((refused.status, &*refused.code()), (409, "client_taken"));
}

/// What an identity provider answers is believed only as far as it is about a client of its own
/// making.
#[tokio::test]
async fn a_client_of_somebody_else_is_neither_taken_over_nor_deleted() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let made = portal
        .post("/v2/applications", &application("First", &strategy))
        .await;
    let client = made.assert_status(201).json()["client_id"].clone();
    let place = format!(
        "{}/reg/{}",
        portal.world.idp.issuer,
        client.as_str().unwrap()
    );
    for grants in [json!(["client_credentials"]), json!(["password"])] {
        let answer = json!({
            "client_id": client, "client_secret": "s", "client_secret_expires_at": 0,
            "grant_types": grants, "registration_client_uri": place,
            "registration_access_token": "t",
        });
        let answer = Answer::json(201, &answer);
        portal.world.idp.fault(Endpoint::Registration, answer);
        let before = portal.world.idp.hits(Endpoint::Registration);
        let refused = portal
            .post("/v2/applications", &application("Second", &strategy))
            .await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (502, "identity_provider_unusable"),
            "{refused:?}"
        );
        let after = portal.world.idp.hits(Endpoint::Registration);
        assert_eq!(
            after - before,
            1,
            "nothing but the registration is asked for"
        );
    }
}
