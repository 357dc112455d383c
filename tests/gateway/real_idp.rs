//! Against a real identity provider: a client registered over RFC 7591 passes in each way, through
//! rotations and outages, and a deleted one does not.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{
    add, application, eventually,
    gateway::{Gateway, Setup},
    real_idp::{JWT, OPAQUE, RealIdp, Registered},
    setup,
    upstream::Upstream,
};

#[tokio::test]
async fn a_registered_client_passes_in_each_way() {
    let real = Real::start(JWT, |_| {}).await;
    let Registered { id, secret, .. } = &real.client;
    let basic = real.get().basic(id, secret).send().await;
    basic.assert_status(200);
    assert_eq!(
        real.upstream.last().header("x-credential-identifier"),
        Some(id.as_str())
    );
    real.get()
        .authorization(&format!("Basic {id}:{secret}"))
        .send()
        .await
        .assert_status(200);
    let token = real.idp.token(&real.client, JWT).await;
    real.get().bearer(&token).send().await.assert_status(200);
    let cookie = basic.cookie().expect("a session cookie");
    real.get().cookie(&cookie).send().await.assert_status(200);
    assert_eq!(
        real.upstream.last().header("x-auth-method"),
        Some("session")
    );
    let reached = real.upstream.hits();
    let wrong = real.get().basic(id, "wrong").send().await;
    wrong.assert_problem(401, "invalid_client");
    let foreign = real.idp.token(&real.client, OPAQUE).await;
    real.get()
        .bearer(&foreign)
        .send()
        .await
        .assert_problem(401, "invalid_token");
    real.get()
        .bearer(&format!("{token}x"))
        .send()
        .await
        .assert_problem(401, "invalid_token");
    assert_eq!(real.upstream.hits(), reached);
}

#[tokio::test]
async fn a_client_outside_the_directory_is_unknown() {
    let real = Real::start(JWT, |_| {}).await;
    let stranger = real.idp.register().await;
    let token = real.idp.token(&stranger, JWT).await;
    real.get()
        .bearer(&token)
        .send()
        .await
        .assert_problem(403, "unknown_application");
    let basic = real
        .get()
        .basic(&stranger.id, &stranger.secret)
        .send()
        .await;
    basic.assert_problem(401, "invalid_client");
    assert_eq!(real.upstream.hits(), 0);
}

#[tokio::test]
async fn opaque_tokens_are_introspected() {
    let real = Real::start(OPAQUE, |_| {}).await;
    let token = real.idp.token(&real.client, OPAQUE).await;
    for _ in 0..3 {
        real.get().bearer(&token).send().await.assert_status(200);
    }
    assert_eq!(
        real.idp.hits("/token/introspection").await,
        1,
        "the answer is kept"
    );
    let basic = real
        .get()
        .basic(&real.client.id, &real.client.secret)
        .send()
        .await;
    basic.assert_status(200);
    let reached = real.upstream.hits();
    real.get()
        .bearer("made-up")
        .send()
        .await
        .assert_problem(401, "invalid_token");
    let stranger = real.idp.register().await;
    let theirs = real.idp.token(&stranger, OPAQUE).await;
    let refused = real.get().bearer(&theirs).send().await;
    refused.assert_problem(403, "unknown_application");
    assert_eq!(real.upstream.hits(), reached);
}

#[tokio::test]
async fn keys_rotate_under_load() {
    let real = Real::start(JWT, |s| {
        s.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "100ms"});
    })
    .await;
    for lever in [
        "/rotate?alg=ES256",
        "/rotate?alg=RS256",
        "/rotate?alg=ES256&drop=1",
    ] {
        let before = real.idp.token(&real.client, JWT).await;
        real.get().bearer(&before).send().await.assert_status(200);
        real.idp.pull(lever).await;
        crate::harness::pass(Duration::from_millis(120)).await;
        let after = real.idp.token(&real.client, JWT).await;
        let mut calls = JoinSet::new();
        for n in 0..60 {
            let old = n % 2 == 0 && !lever.contains("drop");
            let call = real.get().bearer(if old { &before } else { &after });
            calls.spawn(async move { call.send().await });
        }
        while let Some(response) = calls.join_next().await {
            response.unwrap().assert_status(200);
        }
        let gone = real.get().bearer(&before).send().await;
        gone.assert_status(if lever.contains("drop") { 401 } else { 200 });
    }
}

#[tokio::test]
async fn a_provider_that_stops_takes_only_the_new_along() {
    let real = Real::start(JWT, |_| {}).await;
    let second = real.idp.register().await;
    real.gateway
        .register(|a| add(a, application(&second.id)))
        .await;
    let token = real.idp.token(&second, JWT).await;
    let first = real.get().basic(&real.client.id, &real.client.secret);
    first.send().await.assert_status(200);
    real.idp.pull("/stop").await;
    first.send().await.assert_status(200);
    real.get().bearer(&token).send().await.assert_status(200);
    let reached = real.upstream.hits();
    let fresh = real.get().basic(&second.id, &second.secret);
    fresh
        .send()
        .await
        .assert_problem(503, "identity_provider_unavailable");
    assert_eq!(real.upstream.hits(), reached);
    real.idp.pull("/start").await;
    eventually!(
        fresh.send().await.status == 200,
        "the provider is asked again"
    );
}

#[tokio::test]
async fn a_deleted_client_is_refused() {
    let real = Real::start(JWT, |_| {}).await;
    real.idp.delete(&real.client).await;
    let call = real.get().basic(&real.client.id, &real.client.secret);
    call.send().await.assert_problem(401, "invalid_client");
    assert_eq!(real.upstream.hits(), 0);
}

/// A gateway whose one strategy uses the real provider, and a client registered there.
struct Real {
    gateway: Gateway,
    idp: RealIdp,
    upstream: Upstream,
    client: Registered,
}

impl Real {
    async fn start(audience: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let (idp, upstream) = (RealIdp::start().await, Upstream::start().await);
        let (client, own) = (idp.register().await, idp.register().await);
        let mut setup = setup(&idp.issuer, &upstream);
        let strategy = &mut setup.config["auth_strategies"][0];
        strategy["audience"] = json!([audience]);
        strategy["token_request"] = json!({"scope": "read", "parameters": {"resource": audience}});
        if audience == OPAQUE {
            setup.config["identity_providers"][0]["client"] =
                json!({"id": own.id, "secret": {"file": "secrets/own"}});
            setup.files.push(("secrets/own".to_owned(), own.secret));
        }
        setup.applications = json!({"applications": [application(&client.id)]});
        change(&mut setup);
        Self {
            gateway: Gateway::start(setup).await,
            idp,
            upstream,
            client,
        }
    }

    fn get(&self) -> crate::harness::client::Call {
        self.gateway.get("/flights")
    }
}
