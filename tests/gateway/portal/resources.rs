//! What can be made, read, changed and deleted; and what an entity tag guards.

use serde_json::{Value, json};

use super::{Portal, application, faults, id, provider, strategy, text};
use crate::harness::eventually;

#[tokio::test]
async fn a_provider_lives_in_konnects_shape() {
    let portal = Portal::start().await;
    let issuer = &portal.world.idp.issuer;
    let mut body = provider("stand-in", issuer);
    body["display_name"] = json!("Stand-in, ours");
    body["labels"] = json!({"team": "platform", "tier": "one"});
    let made = portal.post("/v2/dcr-providers", &body).await;
    let told = made.assert_status(201).json();
    let target = format!("/v2/dcr-providers/{}", id(&made));
    assert_eq!(made.header("location"), Some(&*target));
    for (member, value) in [
        ("name", json!("stand-in")),
        ("display_name", json!("Stand-in, ours")),
        ("provider_type", json!("generic")),
        ("issuer", json!(issuer)),
        ("dcr_config", json!({"deadline_seconds": 20})),
        ("active", json!(false)),
        ("labels", json!({"team": "platform", "tier": "one"})),
        ("source", json!("registry")),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    for member in ["created_at", "updated_at"] {
        let time = text(&told[member]);
        assert!(humantime::parse_rfc3339(&time).is_ok(), "{time}");
    }
    let read = portal.get(&target).send().await;
    assert_eq!(read.json(), told);
    assert_eq!(read.header("etag"), made.header("etag"));

    let again = portal.post("/v2/dcr-providers", &body).await;
    assert_eq!(again.status, 409, "{again:?}");
    assert!(again.code() == "name_taken", "{again:?}");

    let change = json!({"display_name": "Ours", "labels": {"tier": null, "x": "y"}});
    let changed = portal.patch(&target, &change).await;
    let told = changed.assert_status(200).json();
    assert_eq!(told["display_name"], "Ours");
    assert_eq!(told["labels"], json!({"team": "platform", "x": "y"}));
    assert_eq!(told["dcr_config"], json!({"deadline_seconds": 20}));
    assert_ne!(changed.header("etag"), made.header("etag"));
    for fixed in ["name", "provider_type", "id"] {
        let response = portal.patch(&target, &json!({fixed: "x"})).await;
        assert_eq!(
            faults(&response),
            [(fixed.to_owned(), "immutable".to_owned())]
        );
    }

    portal.strategy("dcr", &id(&made)).await;
    assert_eq!(portal.read(&target).await["active"], true);
    let kept = portal.delete(&target).await;
    assert_eq!((kept.status, &*kept.code()), (409, "provider_in_use"));
}

#[tokio::test]
async fn a_strategy_lives_in_konnects_shape() {
    let portal = Portal::start().await;
    let issuer = portal.world.idp.issuer.clone();
    let provider = portal.provider("stand-in").await;
    let mut body = strategy("dcr", &issuer);
    body["dcr_provider_id"] = json!(provider);
    body["labels"] = json!({"a": "b"});
    let all = "/v2/application-auth-strategies";
    let made = portal.post(all, &body).await;
    let told = made.assert_status(201).json();
    let target = format!("{all}/{}", id(&made));
    assert_eq!(told["strategy_type"], "openid_connect");
    assert_eq!(told["configs"], body["configs"]);
    assert_eq!(told["active"], false);
    assert_eq!(told["supports_multiple_credentials"], false);
    assert_eq!(
        told["dcr_provider"],
        json!({
            "id": provider, "name": "stand-in", "display_name": "stand-in", "provider_type": "generic",
        })
    );
    assert_eq!(portal.read(&target).await, told);

    portal
        .patch("/v2/apis/flights", &json!({"auth_strategies": ["dcr"]}))
        .await
        .assert_status(200);
    let read = portal.get(&target).send().await;
    assert_eq!(read.json()["active"], true);
    assert_ne!(
        read.header("etag"),
        made.header("etag"),
        "what is told has changed"
    );

    body["display_name"] = json!("Another");
    body["labels"] = json!({"c": "d"});
    body["configs"]["openid-connect"]["leeway"] = json!(10);
    let put = portal.with_json("PUT", &target, &body).send().await;
    let told = put.assert_status(201).json();
    assert_eq!(told["labels"], json!({"c": "d"}));
    assert_eq!(told["display_name"], "Another");
    assert_eq!(told["configs"]["openid-connect"]["leeway"], 10);
    body["name"] = json!("other");
    let put = portal.with_json("PUT", &target, &body).send().await;
    assert_eq!(faults(&put), [("name".to_owned(), "immutable".to_owned())]);

    let change = json!({"configs": {"openid-connect": {"leeway": null}}});
    let told = portal
        .patch(&target, &change)
        .await
        .assert_status(200)
        .json();
    assert!(told["configs"]["openid-connect"].get("leeway").is_none());

    body["name"] = json!("keys");
    body["strategy_type"] = json!("key_auth");
    let refused = portal.post(all, &body).await;
    assert_eq!(
        faults(&refused),
        [("strategy_type".to_owned(), "enum".to_owned())]
    );

    let used = portal.delete(&target).await;
    assert_eq!((used.status, &*used.code()), (409, "strategy_in_use"));
    portal
        .patch("/v2/apis/flights", &json!({"auth_strategies": []}))
        .await
        .assert_status(200);
    portal.delete(&target).await.assert_status(204);
    portal
        .get(&target)
        .send()
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn what_stands_in_the_file_can_only_be_read() {
    let portal = Portal::start().await;
    let list = portal.read("/v2/application-auth-strategies").await;
    let strategy = &list["data"][0];
    assert_eq!(
        (&strategy["name"], &strategy["source"]),
        (&json!("partners"), &json!("file"))
    );
    let target = format!("/v2/application-auth-strategies/{}", text(&strategy["id"]));
    for response in [
        portal.patch(&target, &json!({"display_name": "x"})).await,
        portal.delete(&target).await,
    ] {
        assert_eq!(
            (response.status, &*response.code()),
            (409, "read_only"),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn an_application_passes_the_gateway_at_once() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let made = portal
        .post("/v2/applications", &application("Trip Planner", &strategy))
        .await;
    let told = made.assert_status(201).json();
    let target = format!("/v2/applications/{}", id(&made));
    let (client, secret) = (text(&told["client_id"]), text(&told["client_secret"]));
    assert_eq!(told["client_secret_expires_at"], Value::Null);
    assert_eq!(
        told["owner"],
        json!({"type": "developer", "id": "dana@example.com"})
    );
    assert_eq!(told["status"], "active");
    assert_eq!(told["registration_count"], 0);
    assert_eq!(told["auth_strategy"]["id"], strategy);
    assert_eq!(
        told["auth_strategy"]["credential_type"],
        "client_credentials"
    );
    assert_eq!(told["dcr_provider"]["name"], "stand-in");
    let read = portal.get(&target).send().await;
    assert_eq!(read.header("etag"), made.header("etag"));
    assert!(read.json().get("client_secret").is_none());

    let flights = || portal.world.flights().basic(&client, &secret);
    portal
        .world
        .refuses(flights(), 403, "registration_required")
        .await;
    let all = format!("{target}/registrations");
    let asked = portal.post(&all, &json!({"api_id": "flights"})).await;
    assert_eq!(asked.assert_status(201).json()["status"], "pending");
    let registration = format!("/v2/application-registrations/{}", id(&asked));
    assert_eq!(asked.header("location"), Some(&*registration));
    portal
        .world
        .refuses(flights(), 403, "registration_pending")
        .await;
    let again = portal.post(&all, &json!({"api_id": "flights"})).await;
    assert_eq!((again.status, &*again.code()), (409, "already_registered"));
    let approved = portal
        .patch(&registration, &json!({"status": "approved"}))
        .await;
    let approved = approved.assert_status(200).json();
    assert_eq!(approved["application"]["name"], "Trip Planner");
    assert_eq!(approved["api"], json!({"id": "flights", "name": "flights"}));
    portal.world.passes(flights()).await;
    for (status, code) in [
        ("revoked", "registration_revoked"),
        ("rejected", "registration_rejected"),
    ] {
        portal
            .patch(&registration, &json!({"status": status}))
            .await
            .assert_status(200);
        portal.world.refuses(flights(), 403, code).await;
    }
    portal
        .patch(&registration, &json!({"status": "approved"}))
        .await
        .assert_status(200);
    portal
        .patch(&target, &json!({"status": "suspended"}))
        .await
        .assert_status(200);
    portal
        .world
        .refuses(flights(), 403, "application_suspended")
        .await;
    portal
        .patch(&target, &json!({"status": "active"}))
        .await
        .assert_status(200);
    portal.world.passes(flights()).await;
    assert_eq!(portal.read(&target).await["registration_count"], 1);

    let credentials = portal.read(&format!("{target}/credentials")).await;
    assert_eq!(credentials["data"][0]["client_id"], client);
    assert_eq!(credentials["data"][0]["credential_type"], "client_secret");
    let more = portal
        .call("POST", &format!("{target}/credentials"))
        .send()
        .await;
    assert_eq!(more.status, 409, "the stand-in knows one secret: {more:?}");

    portal.delete(&registration).await.assert_status(204);
    portal
        .world
        .refuses(flights(), 403, "registration_required")
        .await;
}

#[tokio::test]
async fn an_api_approves_by_itself_where_it_says_so() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let api = json!({"auto_approve_registrations": true});
    let told = portal
        .patch("/v2/apis/flights", &api)
        .await
        .assert_status(200)
        .json();
    assert_eq!(
        told["auth_strategies"],
        json!(["dcr"]),
        "what is left out stays"
    );
    assert_eq!(told["file_auth_strategies"], json!(["partners"]));
    assert_eq!(portal.read("/v2/apis/flights").await, told);
    let made = portal
        .post("/v2/applications", &application("A", &strategy))
        .await;
    let all = format!("/v2/applications/{}/registrations", id(&made));
    let asked = portal.post(&all, &json!({"api_id": "flights"})).await;
    assert_eq!(asked.assert_status(201).json()["status"], "approved");
    let unknown = portal
        .patch("/v2/apis/flights", &json!({"auth_strategies": ["nobody"]}))
        .await;
    assert_eq!(faults(&unknown)[0].0, "auth_strategies");
}

#[tokio::test]
async fn a_client_can_be_brought_along() {
    let portal = Portal::start().await;
    let list = portal.read("/v2/application-auth-strategies").await;
    let strategy = text(&list["data"][0]["id"]);
    let mut body = application("Brought along", &strategy);
    body["client_id"] = json!(crate::harness::APP);
    let made = portal.post("/v2/applications", &body).await;
    let told = made.assert_status(201).json();
    assert!(told.get("client_secret").is_none());
    assert_eq!(told["granted_scopes"], Value::Null);
    assert_eq!(
        told["auth_strategy"]["credential_type"],
        "self_managed_client_credentials"
    );
    let again = portal.post("/v2/applications", &body).await;
    assert_eq!((again.status, &*again.code()), (409, "client_taken"));
    let target = format!("/v2/applications/{}", id(&made));
    portal.delete(&target).await.assert_status(204);
    portal
        .delete(&target)
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_tag_guards_what_was_read() {
    let portal = Portal::start().await;
    let provider = portal.provider("stand-in").await;
    let target = format!("/v2/dcr-providers/{provider}");
    let read = portal.get(&target).send().await;
    let tag = read.header("etag").unwrap().to_owned();
    for (condition, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"1\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"1\"".to_owned(), 200),
    ] {
        let call = portal.get(&target).header("If-None-Match", &condition);
        let response = call.send().await;
        assert_eq!(response.status, status, "{condition}");
        assert_eq!(response.header("etag"), Some(&*tag));
        assert_eq!(response.body.is_empty(), status == 304);
    }
    let change = json!({"display_name": "First"});
    let patch = |tag: &str| {
        portal
            .with_json("PATCH", &target, &change)
            .header("If-Match", tag)
    };
    patch(&tag).send().await.assert_status(200);
    patch(&tag).send().await.assert_problem(412, "changed");
    patch("\"nonsense\"")
        .send()
        .await
        .assert_problem(412, "changed");
    let bare = patch("7").send().await;
    assert_eq!(
        faults(&bare),
        [("If-Match".to_owned(), "pattern".to_owned())]
    );
    patch("*").send().await.assert_status(200);
    let gone = portal.call("DELETE", &target).header("If-Match", &tag);
    gone.send().await.assert_problem(412, "changed");
    let read = portal.get(&target).send().await;
    let gone = portal.call("DELETE", &target);
    let gone = gone.header("If-Match", read.header("etag").unwrap());
    gone.send().await.assert_status(204);
}

#[tokio::test]
async fn trouble_at_the_identity_provider_is_told_as_such() {
    let portal = Portal::start().await;
    let strategy = portal.ready().await;
    let answer = |status, error: &str| {
        crate::harness::http1::Answer::json(
            status,
            &json!({
                "error": error, "error_description": "the quota is used up",
            }),
        )
    };
    let endpoint = crate::harness::idp::Endpoint::Registration;
    for (status, error, wanted, code) in [
        (401, "invalid_token", 502, "identity_provider_access"),
        (
            400,
            "invalid_client_metadata",
            502,
            "identity_provider_refused",
        ),
    ] {
        portal.world.idp.fault(endpoint, answer(status, error));
        let made = portal
            .post("/v2/applications", &application("A", &strategy))
            .await;
        made.assert_problem(wanted, code);
        assert!(!made.text().contains(super::INITIAL_TOKEN));
    }
    portal.world.idp.heal(endpoint);
    let none = portal.read("/v2/applications").await;
    assert_eq!(none["meta"]["page"]["total"], 0, "{none}");
    eventually!(
        portal
            .post("/v2/applications", &application("A", &strategy))
            .await
            .status
            == 201,
        "it recovers"
    );
}
