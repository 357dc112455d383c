//! Against real identity providers of two makers: a client registered over RFC 7591 passes in each
//! way, with JWTs and with opaque tokens, through rotations and outages; a deleted one does not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    add, application,
    client::{Call, Response},
    eventually,
    gateway::{Gateway, Setup},
    real_idp::{JWT, OPAQUE, Product, RealIdp, Registered},
    setup,
    upstream::Upstream,
};

/// Makes a test of each function for each product.
macro_rules! with_each_product {
    ($($name:ident,)+) => {
        mod django_oauth_toolkit {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Product::DjangoOauthToolkit).await;
            })+
        }
        mod oidc_provider {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Product::OidcProvider).await;
            })+
        }
    };
}

with_each_product![
    a_client_with_jwts_passes_in_each_way,
    a_client_with_opaque_tokens_passes_in_each_way,
    without_introspection_an_opaque_token_is_good_for_the_pair_alone,
    a_client_outside_the_directory_is_unknown,
    registration_needs_an_initial_access_token_unless_it_is_open,
    a_registration_access_token_does_not_pass,
    a_revoked_token_is_refused_once_the_answer_is_old,
    an_expired_token_is_refused,
    keys_rotate_under_load,
    a_provider_that_stops_takes_only_the_new_along,
    a_deleted_client_is_refused,
];

async fn a_client_with_jwts_passes_in_each_way(product: Product) {
    let real = Real::start(product, JWT, |_| {}).await;
    let Registered { id, secret, .. } = &real.client;
    let token = real.idp.token(&real.client, JWT).await;
    let sent_as_konnect_says = real.get().authorization(&format!("Basic {id}:{secret}"));
    real.pass("client_credentials", sent_as_konnect_says).await;
    let basic = real.get().basic(id, secret);
    let cookies = [
        real.pass("client_credentials", basic).await.cookie(),
        real.pass("bearer", real.get().bearer(&token))
            .await
            .cookie(),
    ];
    for cookie in cookies {
        let call = real.get().cookie(&cookie.expect("a session cookie"));
        real.pass("session", call).await;
    }
    let foreign = real.idp.token(&real.client, OPAQUE).await;
    let changed = format!("{}x", token);
    for (call, code, reason) in [
        (
            real.get().basic(id, "wrong"),
            "invalid_client",
            "wrong_secret",
        ),
        (real.get().bearer(&foreign), "invalid_token", "not_a_jwt"),
        (real.get().bearer(&changed), "invalid_token", "base64"),
    ] {
        real.refuse(call, 401, code, reason).await;
    }
}

/// Django OAuth Toolkit names its introspection endpoint where RFC 8414 wants it and nowhere else.
async fn a_client_with_opaque_tokens_passes_in_each_way(product: Product) {
    let real = Real::start(product, OPAQUE, |_| {}).await;
    let Registered { id, secret, .. } = &real.client;
    let token = real.idp.token(&real.client, OPAQUE).await;
    assert!(!token.contains('.'), "{token}");
    for _ in 0..3 {
        real.pass("bearer", real.get().bearer(&token)).await;
    }
    let asked = real.idp.hits("introspection_endpoint").await;
    assert_eq!(asked, 1, "the answer is kept");
    let basic = real.get().basic(id, secret);
    let cookies = [
        real.pass("client_credentials", basic).await.cookie(),
        real.pass("bearer", real.get().bearer(&token))
            .await
            .cookie(),
    ];
    for cookie in cookies {
        let call = real.get().cookie(&cookie.expect("a session cookie"));
        real.pass("session", call).await;
    }
    let for_others = real.idp.token(&real.client, JWT).await;
    for (call, code, reason) in [
        (
            real.get().basic(id, "wrong"),
            "invalid_client",
            "wrong_secret",
        ),
        (real.get().bearer("made-up"), "invalid_token", "inactive"),
        (real.get().bearer(&for_others), "invalid_token", "audience"),
    ] {
        real.refuse(call, 401, code, reason).await;
    }
    let stranger = real.idp.register().await;
    let theirs = real.idp.token(&stranger, OPAQUE).await;
    let call = real.get().bearer(&theirs);
    real.refuse(call, 403, "unknown_application", "unknown_application")
        .await;
}

async fn without_introspection_an_opaque_token_is_good_for_the_pair_alone(product: Product) {
    let real = Real::start(product, OPAQUE, |s| {
        s.config["identity_providers"][0]["client"] = Value::Null;
    })
    .await;
    let Registered { id, secret, .. } = &real.client;
    let basic = real
        .pass("client_credentials", real.get().basic(id, secret))
        .await;
    let cookie = basic.cookie().expect("a session cookie");
    real.pass("session", real.get().cookie(&cookie)).await;
    let token = real.idp.token(&real.client, OPAQUE).await;
    let call = real.get().bearer(&token);
    real.refuse(call, 401, "invalid_token", "not_a_jwt").await;
    assert_eq!(real.idp.hits("introspection_endpoint").await, 0);
}

async fn a_client_outside_the_directory_is_unknown(product: Product) {
    let real = Real::start(product, JWT, |_| {}).await;
    let stranger = real.idp.register().await;
    let token = real.idp.token(&stranger, JWT).await;
    let asked = real.idp.hits("token_endpoint").await;
    let call = real.get().bearer(&token);
    real.refuse(call, 403, "unknown_application", "unknown_application")
        .await;
    let call = real.get().basic(&stranger.id, &stranger.secret);
    real.refuse(call, 401, "invalid_client", "unknown_client")
        .await;
    assert_eq!(real.idp.hits("token_endpoint").await, asked);
}

async fn registration_needs_an_initial_access_token_unless_it_is_open(product: Product) {
    let real = Real::start(product, JWT, |_| {}).await;
    for token in [None, Some("made-up")] {
        let answer = real.idp.ask_to_register(token).await;
        let status = answer.status().as_u16();
        assert!(matches!(status, 400 | 401), "{token:?}: {status}");
    }
    real.idp.pull("/stop").await;
    real.idp.pull("/start?initial=").await;
    let answer = real.idp.ask_to_register(None).await;
    assert_eq!(answer.status(), 201);
    let facts: Value = answer.json().await.unwrap();
    let text = |name: &str| facts[name].as_str().unwrap();
    let (id, secret) = (text("client_id"), text("client_secret"));
    real.gateway.register(|a| add(a, application(id))).await;
    let call = real.get().basic(id, secret);
    real.pass("client_credentials", call).await;
}

/// Django OAuth Toolkit calls it active until the year 9999.
async fn a_registration_access_token_does_not_pass(product: Product) {
    let real = Real::start(product, OPAQUE, |s| {
        s.config["auth_strategies"][0]["audience"] = Value::Null;
        s.config["auth_strategies"][0]["scopes_required"] = json!(["read"]);
    })
    .await;
    let token = real.idp.token(&real.client, OPAQUE).await;
    real.pass("bearer", real.get().bearer(&token)).await;
    let introspected = real.idp.introspect(&real.own, &real.client.token).await;
    let reason = match product {
        Product::DjangoOauthToolkit => {
            assert_eq!(introspected["active"], true, "{introspected}");
            assert_eq!(introspected["client_id"], real.client.id, "{introspected}");
            assert_eq!(introspected["exp"], 253_402_300_799_i64, "{introspected}");
            "management_scope"
        }
        Product::OidcProvider => {
            assert_eq!(introspected["active"], false, "{introspected}");
            "inactive"
        }
    };
    for _ in 0..2 {
        let call = real.get().bearer(&real.client.token);
        real.refuse(call, 401, "invalid_token", reason).await;
    }
}

async fn a_revoked_token_is_refused_once_the_answer_is_old(product: Product) {
    let real = Real::start(product, OPAQUE, |s| {
        s.config["auth_strategies"][0]["bearer"] = json!({"introspection_time": "500ms"});
    })
    .await;
    let token = real.idp.token(&real.client, OPAQUE).await;
    real.pass("bearer", real.get().bearer(&token)).await;
    real.idp.revoke(&real.client, &token).await;
    let call = real.get().bearer(&token);
    eventually!(
        call.send().await.code() == "invalid_token",
        "the token is asked about again"
    );
    real.refuse(call, 401, "invalid_token", "inactive").await;
    let other = real.idp.token(&real.client, OPAQUE).await;
    real.pass("bearer", real.get().bearer(&other)).await;
}

async fn an_expired_token_is_refused(product: Product) {
    // Between the second that introspection names and the true end such a token is still active.
    for (audience, reasons) in [(JWT, ["expired"; 2]), (OPAQUE, ["expired", "inactive"])] {
        let real = Real::start(product, audience, |s| {
            s.config["auth_strategies"][0]["bearer"] =
                json!({"leeway": "0s", "introspection_time": "200ms"});
        })
        .await;
        let long = real.idp.token(&real.client, audience).await;
        real.idp.pull("/stop").await;
        real.idp.pull("/start?seconds=1").await;
        let short = real.idp.token(&real.client, audience).await;
        let call = real.get().bearer(&short);
        eventually!(
            call.send().await.code() == "invalid_token",
            "the token ends"
        );
        let line = real.gateway.line_of(&call.send().await).await;
        let reason = line["reason"].as_str().unwrap_or_default();
        assert!(reasons.contains(&reason), "{audience}: {line}");
        real.pass("bearer", real.get().bearer(&long)).await;
    }
}

async fn keys_rotate_under_load(product: Product) {
    let real = Real::start(product, JWT, |s| {
        s.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "100ms"});
    })
    .await;
    // Django OAuth Toolkit is stopped for it and publishes one old key; it signs with RSA alone.
    let levers = match product {
        Product::DjangoOauthToolkit => ["/rotate", "/rotate", "/rotate?drop=1"],
        Product::OidcProvider => [
            "/rotate?alg=ES256",
            "/rotate?alg=RS256",
            "/rotate?alg=ES256&drop=1",
        ],
    };
    for lever in levers {
        let before = real.idp.token(&real.client, JWT).await;
        real.pass("bearer", real.get().bearer(&before)).await;
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

async fn a_provider_that_stops_takes_only_the_new_along(product: Product) {
    let real = Real::start(product, JWT, |_| {}).await;
    let second = real.idp.register().await;
    real.gateway
        .register(|a| add(a, application(&second.id)))
        .await;
    let token = real.idp.token(&second, JWT).await;
    let first = real.get().basic(&real.client.id, &real.client.secret);
    let cookie = real
        .pass("client_credentials", first.clone())
        .await
        .cookie();
    real.idp.pull("/stop").await;
    real.pass("client_credentials", first).await;
    real.pass("bearer", real.get().bearer(&token)).await;
    let call = real.get().cookie(&cookie.expect("a session cookie"));
    real.pass("session", call).await;
    let fresh = real.get().basic(&second.id, &second.secret);
    let code = "identity_provider_unavailable";
    real.refuse(fresh.clone(), 503, code, "transport").await;
    real.idp.pull("/start").await;
    eventually!(
        fresh.send().await.status == 200,
        "the provider is asked again"
    );
}

async fn a_deleted_client_is_refused(product: Product) {
    let real = Real::start(product, JWT, |_| {}).await;
    let Registered { id, secret, .. } = &real.client;
    real.idp.delete(&real.client).await;
    let call = real.get().basic(id, secret);
    real.refuse(call, 401, "invalid_client", "wrong_secret")
        .await;
}

/// A gateway whose one strategy uses the real provider, and a client registered there.
struct Real {
    gateway: Gateway,
    idp: RealIdp,
    upstream: Upstream,
    client: Registered,
    /// The gateway's own, for introspection.
    own: Registered,
}

impl Real {
    async fn start(product: Product, audience: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let (idp, upstream) = (RealIdp::start(product).await, Upstream::start().await);
        let (client, own) = (idp.register().await, idp.register().await);
        let mut setup = setup(&idp.issuer, &upstream);
        let strategy = &mut setup.config["auth_strategies"][0];
        strategy["audience"] = json!([audience]);
        strategy["token_request"] = json!({"scope": "read", "parameters": {"resource": audience}});
        if audience == OPAQUE {
            setup.config["identity_providers"][0]["client"] =
                json!({"id": own.id, "secret": {"file": "secrets/own"}});
            setup
                .files
                .push(("secrets/own".to_owned(), own.secret.clone()));
        }
        setup.applications = json!({"applications": [application(&client.id)]});
        change(&mut setup);
        without_nulls(&mut setup.config);
        Self {
            gateway: Gateway::start(setup).await,
            idp,
            upstream,
            client,
            own,
        }
    }

    fn get(&self) -> Call {
        self.gateway.get("/flights")
    }

    /// The call reaches the upstream, as the registered client's by this method.
    #[track_caller]
    fn pass(&self, method: &'static str, call: Call) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            assert_eq!(response.status, 200, "at {place}: {response:?}");
            assert_eq!(self.upstream.hits(), before + 1, "at {place}");
            let seen = self.upstream.last();
            assert_eq!(seen.header("x-auth-method"), Some(method), "at {place}");
            assert!(seen.header("x-credential-identifier").is_some());
            response
        }
    }

    /// The call is refused for this reason, and the upstream sees nothing of it.
    #[track_caller]
    fn refuse(
        &self,
        call: Call,
        status: u16,
        code: &'static str,
        reason: &'static str,
    ) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            let line = self.gateway.line_of(&response).await;
            let got = (response.status, response.code(), &line["reason"]);
            let wanted = (status, code.to_owned(), &json!(reason));
            assert_eq!(got, wanted, "at {place}: {response:?}");
            response.assert_problem(status, code);
            assert_eq!(self.upstream.hits(), before, "at {place}");
        }
    }
}

/// Leaves out what a test has set to null.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        _ => {}
    }
}
