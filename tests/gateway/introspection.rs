//! Opaque tokens, asked about at the IdP (RFC 7662): when a question is put, what answers count,
//! how long they do.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    APP, World, add, eventually,
    gateway::Setup,
    http1::{Answer, Manner},
    idp::{Endpoint, Idp},
    now,
};

#[tokio::test]
async fn an_active_token_passes_and_its_answer_is_kept() {
    let world = World::with(introspecting).await;
    let token = world.idp.opaque(APP, |t| t);
    for _ in 0..5 {
        world.passes(world.flights().bearer(&token)).await;
    }
    let asked = world.idp.requests(Endpoint::Introspection);
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].target.as_str()),
        ("POST", "/introspect")
    );
    assert_eq!(asked[0].field("token").as_deref(), Some(token.as_str()));
    let posted = asked[0].field("client_id").is_some();
    assert_ne!(
        posted,
        asked[0].header("authorization").is_some(),
        "authenticated in one way"
    );
    assert_eq!(
        world.upstream.last().header("x-auth-method"),
        Some("bearer")
    );
}

#[tokio::test]
async fn the_gateway_introduces_itself_as_the_configuration_says() {
    for (token_endpoint, introspection_endpoint, in_the_line) in [
        (None, None, false),
        (Some("client_secret_basic"), None, true),
        (None, Some("client_secret_basic"), true),
        (
            Some("client_secret_basic"),
            Some("client_secret_post"),
            false,
        ),
    ] {
        let world = World::with(|setup| {
            introspecting(setup);
            let provider = &mut setup.config["identity_providers"][0];
            provider["token_endpoint_auth_method"] = json!(token_endpoint);
            provider["introspection_endpoint_auth_method"] = json!(introspection_endpoint);
        })
        .await;
        let token = world.idp.opaque(APP, |t| t);
        world.passes(world.flights().bearer(&token)).await;
        let asked = world.idp.requests(Endpoint::Introspection);
        let case = format!("{token_endpoint:?} {introspection_endpoint:?}");
        assert_eq!(
            asked[0].header("authorization").is_some(),
            in_the_line,
            "{case}"
        );
        assert_ne!(
            asked[0].field("client_secret").is_some(),
            in_the_line,
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_jwt_is_not_introspected_unless_the_strategy_says_so() {
    let world = World::with(introspecting).await;
    world.passes(world.flights().bearer(&world.token())).await;
    assert_eq!(world.idp.hits(Endpoint::Introspection), 0);
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["bearer"] = json!({"verify": "introspection"}))
        .await;
    let token = world.token();
    world
        .refuses(world.flights().bearer(&token), 401, "invalid_token")
        .await;
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
    let fresh = world.token();
    let facts = json!({
        "active": true, "client_id": APP, "aud": "https://api.test", "exp": now() + 60,
    });
    world
        .idp
        .turn(|k| k.introspections.insert(fresh.clone(), facts));
    world.passes(world.flights().bearer(&fresh)).await;
}

#[tokio::test]
async fn one_question_serves_many_requests() {
    let world = World::with(introspecting).await;
    let token = world.idp.opaque(APP, |t| t);
    world.idp.hold();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let call = world.flights().bearer(&token);
        calls.spawn(async move { call.send().await });
    }
    eventually!(
        world.idp.hits(Endpoint::Introspection) > 0,
        "the token is asked about"
    );
    world.idp.release();
    while let Some(response) = calls.join_next().await {
        response.unwrap().assert_status(200);
    }
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
}

#[tokio::test]
async fn each_token_costs_one_question() {
    let world = World::with(introspecting).await;
    let tokens: Vec<String> = (0..20)
        .map(|n| world.idp.opaque(APP, |t| t.claim("jti", n)))
        .collect();
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        for n in 0..400 {
            let call = world.flights().bearer(&tokens[n % tokens.len()]);
            calls.spawn(async move { call.send().await });
        }
        while let Some(response) = calls.join_next().await {
            response.unwrap().assert_status(200);
        }
        assert_eq!(world.idp.hits(Endpoint::Introspection), tokens.len());
    }
}

#[tokio::test]
async fn active_alone_is_not_enough() {
    let world = World::with(introspecting).await;
    let good = json!({
        "active": true, "client_id": APP, "aud": "https://api.test", "exp": now() + 300,
    });
    let with = |name: &str, value: Value| {
        let mut facts = good.clone();
        facts[name] = value;
        facts
    };
    let mut bad = vec![
        ("inactive", json!({"active": false})),
        ("active as text", with("active", json!("true"))),
        ("active as number", with("active", json!(1))),
        ("another issuer", with("iss", json!("https://evil.test"))),
        ("another audience", with("aud", json!("https://other.test"))),
        ("expired", with("exp", json!(now() - 60))),
        ("exp as text", with("exp", json!("soon"))),
        ("not yet", with("nbf", json!(now() + 600))),
        ("client as number", with("client_id", json!(7))),
        (
            "registration scope",
            with("scope", json!("read oauth2_provider:registration")),
        ),
        ("dcr", with("scope", json!("dcr"))),
        ("dcrm", with("scope", json!("dcrm read"))),
        ("WSO2's own", with("scope", json!("internal_dcr_create"))),
    ];
    for name in ["active", "aud", "exp", "client_id"] {
        let mut facts = good.clone();
        facts.as_object_mut().unwrap().remove(name);
        bad.push((name, facts));
    }
    for (n, (case, facts)) in bad.into_iter().enumerate() {
        let token = format!("bad-{n}");
        world
            .idp
            .turn(|k| k.introspections.insert(token.clone(), facts));
        world
            .refuses_case(case, world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
    let issuer = json!(world.idp.issuer);
    for (n, facts) in [good.clone(), with("iss", issuer)].into_iter().enumerate() {
        let token = format!("good-{n}");
        world
            .idp
            .turn(|k| k.introspections.insert(token.clone(), facts));
        world.passes(world.flights().bearer(&token)).await;
    }
}

#[tokio::test]
async fn an_answer_with_repeated_members_is_not_trusted() {
    let world = World::with(introspecting).await;
    let text = format!(
        r#"{{"active":false,"client_id":"{APP}","aud":"https://api.test","exp":{},"active":true}}"#,
        now() + 60
    );
    world
        .idp
        .fault(Endpoint::Introspection, Answer::new(200, text));
    let response = world.flights().bearer("abc").send().await;
    assert!([401, 503].contains(&response.status), "{response:?}");
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn an_inactive_answer_is_kept_for_a_while() {
    let world = World::with(introspecting).await;
    for _ in 0..5 {
        world
            .refuses(world.flights().bearer("made-up"), 401, "invalid_token")
            .await;
    }
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
}

#[tokio::test]
async fn a_kept_answer_ends_with_the_token_and_with_its_time() {
    let world = World::with(|s| {
        introspecting(s);
        s.config["auth_strategies"][0]["bearer"] =
            json!({"leeway": "0s", "introspection_time": "500ms"});
    })
    .await;
    let short = world.idp.opaque(APP, |t| t.claim("exp", now() + 2));
    world.passes(world.flights().bearer(&short)).await;
    eventually!(
        world.flights().bearer(&short).send().await.code() == "invalid_token",
        "the token ends"
    );
    let token = world.idp.opaque(APP, |t| t);
    world.passes(world.flights().bearer(&token)).await;
    world.idp.turn(|k| k.introspections.remove(&token));
    eventually!(
        world.flights().bearer(&token).send().await.code() == "invalid_token",
        "the revoked token is asked about again"
    );
}

#[tokio::test]
async fn trouble_at_the_endpoint_is_not_the_clients_fault() {
    for (case, answer, status, code) in [
        (
            "500",
            Answer::new(500, "x"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "401",
            Answer::new(401, "x"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "403",
            Answer::new(403, "x"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "404",
            Answer::new(404, "x"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "429",
            Answer::new(429, "x").header("Retry-After", "3"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "hang-up",
            Answer::new(200, "").manner(Manner::HangUp),
            503,
            "identity_provider_unavailable",
        ),
        (
            "page",
            Answer::new(200, "<html>"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "list",
            Answer::new(200, "[true]"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "huge",
            Answer::new(200, vec![b' '; 8 << 20]),
            503,
            "identity_provider_unavailable",
        ),
        (
            "Curity's inactive",
            Answer::new(204, ""),
            401,
            "invalid_token",
        ),
        (
            "unsupported token type",
            Answer::json(400, &json!({"error": "unsupported_token_type"})),
            401,
            "invalid_token",
        ),
    ] {
        let world = World::with(introspecting).await;
        world.idp.fault(Endpoint::Introspection, answer);
        let call = world.flights().bearer("abcdef");
        let response = world.refuses_case(case, call, status, code).await;
        assert_eq!(
            response.header("retry-after").is_some(),
            status == 503,
            "{case}"
        );
    }
}

#[tokio::test]
async fn an_address_with_thirty_bad_tokens_a_minute_is_stopped() {
    let world = World::with(introspecting).await;
    let good = world.idp.opaque(APP, |t| t);
    world.passes(world.flights().bearer(&good)).await;
    for n in 0..30 {
        let call = world.flights().bearer(&format!("made-up-{n}"));
        world.refuses(call, 401, "invalid_token").await;
    }
    let asked = world.idp.hits(Endpoint::Introspection);
    let response = world
        .refuses(
            world.flights().bearer("made-up-x"),
            429,
            "too_many_attempts",
        )
        .await;
    assert!(response.header("retry-after").is_some());
    assert_eq!(world.idp.hits(Endpoint::Introspection), asked);
    world.passes(world.flights().bearer(&good)).await;
}

#[tokio::test]
async fn an_exchanged_opaque_token_is_introspected_too() {
    let world = World::with(introspecting).await;
    world
        .idp
        .turn(|k| k.format = crate::harness::idp::Format::Opaque);
    world
        .passes(world.flights().basic(APP, crate::harness::SECRET))
        .await;
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
    world
        .idp
        .turn(|k| drop(k.claims.insert("aud".into(), json!("https://other.test"))));
    world
        .gateway
        .register(|a| add(a, crate::harness::application("app-2")))
        .await;
    world.idp.client("app-2", "two");
    let call = world.flights().basic("app-2", "two");
    world
        .refuses(call, 502, "identity_provider_misconfigured")
        .await;
}

#[tokio::test]
async fn a_token_goes_to_one_idp_only() {
    let other = Idp::start().await;
    let issuer = other.issuer.clone();
    let world = World::with(|s| {
        introspecting(s);
        let list = s.config["identity_providers"].as_array_mut().unwrap();
        list.push(json!({"name": "other", "issuer": issuer}));
        let mut strategy = s.config["auth_strategies"][0].clone();
        strategy["name"] = json!("others");
        strategy["identity_provider"] = json!("other");
        s.config["auth_strategies"]
            .as_array_mut()
            .unwrap()
            .push(strategy);
        s.config["apis"][0]["auth_strategies"] = json!(["others", "partners"]);
    })
    .await;
    let token = world.idp.opaque(APP, |t| t);
    world.passes(world.flights().bearer(&token)).await;
    assert_eq!(other.hits(Endpoint::Introspection), 0);
}

/// Gives the gateway credentials of its own, and so introspection.
fn introspecting(setup: &mut Setup) {
    setup.config["identity_providers"][0]["client"] =
        json!({"id": "gateway", "secret": {"file": "secrets/own"}});
    setup.files.push((
        "secrets/own".to_owned(),
        "the-gateways-own-secret".to_owned(),
    ));
}
