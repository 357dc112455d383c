//! An identity provider that is down, slow, or talks rubbish, at every moment.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    APP, SECRET, World, eventually,
    gateway::Wait,
    http1::{Answer, Manner},
    idp::{Endpoint, Idp},
    pass,
    stage::Stage,
};

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_found_later() {
    let idp = Idp::start().await;
    idp.down();
    let world = World::around(idp, |s| s.wait = Wait::Listening).await;
    eventually!(
        world.idp.hits(Endpoint::Discovery) > 0,
        "the provider is asked"
    );
    let refused = |code: String| code == "identity_provider_unavailable";
    eventually!(
        refused(world.flights().bearer(&world.token()).send().await.code()),
        "the applications are loaded"
    );
    let call = world.flights().basic(APP, SECRET);
    world
        .refuses(call, 503, "identity_provider_unavailable")
        .await;
    world.passes(world.gateway.get("/open")).await;
    world.idp.up();
    eventually!(
        world.flights().bearer(&world.token()).send().await.status == 200,
        "the provider is found"
    );
    eventually!(
        world.flights().basic(APP, SECRET).send().await.status == 200,
        "exchanges work"
    );
}

#[tokio::test]
async fn every_kind_of_broken_key_set_is_got_over() {
    let many: Vec<Value> = (0..20_000)
        .map(|n| json!({"kty": "EC", "crv": "P-256", "kid": format!("k{n}"), "x": "A".repeat(300), "y": "B".repeat(200)}))
        .collect();
    let huge = json!({"keys": many}).to_string();
    assert!(huge.len() > 10_000_000);
    for (case, answer) in [
        ("500", Answer::new(500, "x")),
        ("429", Answer::new(429, "x").header("Retry-After", "1")),
        ("hang-up", Answer::new(200, "").manner(Manner::HangUp)),
        ("silence", Answer::new(200, "").manner(Manner::Silent)),
        ("page", Answer::new(200, "<html>")),
        (
            "truncated",
            Answer::new(200, "{\"keys\": []}").manner(Manner::Truncated),
        ),
        ("no list", Answer::new(200, "{\"keys\": 7}")),
        ("deep", Answer::new(200, "[".repeat(100_000))),
        ("ten megabytes", Answer::new(200, huge)),
        (
            "ten megabytes of space",
            Answer::new(200, vec![b' '; 10 << 20]).manner(Manner::Chunked),
        ),
    ] {
        let idp = Idp::start().await;
        idp.fault(Endpoint::Jwks, answer);
        let world = World::around(idp, |s| {
            s.wait = Wait::Listening;
            s.config["identity_providers"][0]["timeout"] = json!("500ms");
        })
        .await;
        eventually!(
            world.idp.hits(Endpoint::Jwks) > 0,
            "{case}: the keys are asked for"
        );
        let response = world.flights().bearer(&world.token()).send().await;
        assert_eq!(response.status, 503, "{case}: {response:?}");
        assert_eq!(world.upstream.hits(), 0, "{case}");
        world.idp.up();
        eventually!(
            world.flights().bearer(&world.token()).send().await.status == 200,
            "{case}: the keys are loaded"
        );
    }
}

#[tokio::test]
async fn a_large_key_set_keeps_its_first_thousand_keys() {
    let idp = Idp::start().await;
    idp.turn(|k| {
        k.extra_keys = (0..1_500)
            .map(|n| json!({"kty": "XYZ", "kid": format!("unknown-{n}")}))
            .collect();
    });
    let world = World::around(idp, |_| {}).await;
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn what_is_known_goes_on_through_an_outage() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.idp.down();
    for _ in 0..3 {
        world.passes(world.flights().basic(APP, SECRET)).await;
        world.passes(world.flights().bearer(&world.token())).await;
        world.passes(world.flights().cookie(&cookie)).await;
    }
    let call = world.flights().basic(APP, "another");
    world
        .refuses(call, 503, "identity_provider_unavailable")
        .await;
}

#[tokio::test]
async fn a_dead_provider_does_not_hold_another() {
    let dead = Idp::start().await;
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token] {
        dead.fault(endpoint, Answer::new(200, "").manner(Manner::Silent));
    }
    let issuer = dead.issuer.clone();
    let world = World::with(|s| {
        s.wait = Wait::Listening;
        s.config["identity_providers"]
            .as_array_mut()
            .unwrap()
            .insert(
                0,
                json!({"name": "dead", "issuer": issuer, "timeout": "30s"}),
            );
        let mut strategy = s.config["auth_strategies"][0].clone();
        strategy["name"] = json!("dead");
        strategy["identity_provider"] = json!("dead");
        s.config["auth_strategies"]
            .as_array_mut()
            .unwrap()
            .insert(0, strategy);
        s.config["apis"][0]["auth_strategies"] = json!(["dead", "partners"]);
        let mut theirs = crate::harness::application("their-app");
        theirs["auth_strategy"] = json!("dead");
        s.applications["applications"]
            .as_array_mut()
            .unwrap()
            .push(theirs);
    })
    .await;
    eventually!(
        world.flights().bearer(&world.token()).send().await.status == 200,
        "the living provider's keys are loaded"
    );
    for _ in 0..10 {
        let call = world.flights().basic("their-app", "secret");
        tokio::spawn(async move { call.send().await });
    }
    let soon = async {
        for _ in 0..20 {
            world
                .flights()
                .bearer(&world.token())
                .send()
                .await
                .assert_status(200);
        }
        world
            .flights()
            .basic(APP, SECRET)
            .send()
            .await
            .assert_status(200);
    };
    tokio::time::timeout(Duration::from_secs(3), soon)
        .await
        .expect("nobody waits for the dead one");
}

#[tokio::test]
async fn missing_metadata_stops_one_method_only() {
    let idp = Idp::start().await;
    idp.turn(|k| drop(k.metadata.insert("token_endpoint".into(), json!(null))));
    let world = World::around(idp, |_| {}).await;
    world.passes(world.flights().bearer(&world.token())).await;
    let response = world.flights().basic(APP, SECRET).send().await;
    assert!([502, 503].contains(&response.status), "{response:?}");
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_and_not_queued() {
    let world = World::with(|s| {
        s.config["identity_providers"][0]["calls"] = json!(2);
        let list = s.applications["applications"].as_array_mut().unwrap();
        list.extend((0..4).map(|n| crate::harness::application(&format!("many-{n}"))));
    })
    .await;
    world.idp.hold();
    let mut waiting = Vec::new();
    for n in 0..2 {
        world.idp.client(&format!("many-{n}"), "s");
        let call = world.flights().basic(&format!("many-{n}"), "s");
        waiting.push(tokio::spawn(async move { call.send().await }));
    }
    eventually!(
        world.idp.hits(Endpoint::Token) == 2,
        "two calls are in flight"
    );
    world
        .refuses(world.flights().basic("many-2", "s"), 503, "overloaded")
        .await;
    let counted = [("api", "flights"), ("code", "overloaded")];
    // A request is counted when it has ended, which is after its answer.
    eventually!(
        world.gateway.metric("dcr_requests_total", &counted).await == 1.0,
        "the refusal is counted, once"
    );
    world.gateway.status("/readyz").await.assert_status(200);
    world.idp.release();
    for call in waiting {
        call.await.unwrap().assert_status(200);
    }
}

/// The shortest that servers in common use keep an idle connection for (gunicorn); whoever sends
/// on it later may meet its end.
#[tokio::test]
async fn a_connection_that_was_idle_for_two_seconds_is_not_used_again() {
    let stage = Stage::start().await;
    let endpoint = format!("http://{}/token", stage.address);
    let world =
        World::with(|s| s.config["identity_providers"][0]["token_endpoint"] = json!(endpoint))
            .await;
    let mut connections = Vec::new();
    for (idle, secret) in [(0, "one"), (2, "another")] {
        pass(Duration::from_secs(idle)).await;
        let call = world.flights().basic(APP, secret);
        let idp = async {
            let mut connection = stage.accept().await;
            connection.whole_head().await.expect("a token request");
            let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
            connection.send(answer).await;
            connections.push(connection);
        };
        let (response, ()) = tokio::join!(call.send(), idp);
        response.assert_problem(401, "invalid_client");
    }
}
