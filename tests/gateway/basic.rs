//! Client credentials in Basic, exchanged at the IdP: what is read, what is asked, what is kept.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::harness::{
    APP, SECRET, World, add, application, eventually,
    gateway::Setup,
    http1::{Answer, Manner, Request},
    idp::{Decoding, Endpoint, Format, Idp, Overlap},
    keys::Alg,
};

#[tokio::test]
async fn a_registered_pair_passes() {
    let world = World::start().await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    let seen = world.upstream.last();
    assert_eq!(seen.header("X-Credential-Identifier"), Some(APP));
    assert_eq!(seen.header("X-Auth-Method"), Some("client_credentials"));
    assert_eq!(seen.header("X-Authenticated-Scope"), Some("read"));
    assert_eq!(seen.header("Authorization"), None);
}

#[tokio::test]
async fn every_spelling_of_a_pair_is_read() {
    let world = World::start().await;
    let pair = format!("{APP}:{SECRET}");
    for (case, line) in [
        ("padded", format!("Basic {}", BASE64_STANDARD.encode(&pair))),
        (
            "without padding",
            format!("Basic {}", BASE64_STANDARD_NO_PAD.encode(&pair)),
        ),
        (
            "as Konnect's documentation sends it",
            format!("Basic {pair}"),
        ),
        (
            "in lower case",
            format!("basic {}", BASE64_STANDARD.encode(&pair)),
        ),
        (
            "two spaces",
            format!("Basic  {}", BASE64_STANDARD.encode(&pair)),
        ),
    ] {
        let response = world.flights().authorization(&line).send().await;
        assert_eq!(response.status, 200, "{case}: {response:?}");
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1, "all are the same pair");
}

#[tokio::test]
async fn any_secret_reaches_the_idp_as_it_is() {
    for method in [
        None,
        Some("client_secret_post"),
        Some("client_secret_basic"),
        Some("basic_raw"),
    ] {
        let idp = Idp::start().await;
        let secrets = ["with:colon", "100%41+ &=x", "Zoë ☂", "plus+and/slash"];
        for (n, secret) in secrets.iter().enumerate() {
            idp.client(&format!("app {n}"), secret);
        }
        if method == Some("basic_raw") {
            idp.turn(|k| k.decoding = Decoding::Raw);
        }
        let world = World::around(idp, |s| {
            if let Some(method) = method {
                s.config["identity_providers"][0]["token_endpoint_auth_method"] = json!(method);
            }
            let entries = (0..secrets.len()).map(|n| application(&format!("app {n}")));
            s.applications["applications"] = entries.collect();
        })
        .await;
        for (n, secret) in secrets.iter().enumerate() {
            let call = world.flights().basic(&format!("app {n}"), secret);
            let response = call.send().await;
            assert_eq!(response.status, 200, "{method:?} {secret}: {response:?}");
        }
        let request = world.idp.requests(Endpoint::Token).pop().unwrap();
        assert_eq!(
            request.header("authorization").is_some(),
            matches!(method, Some("client_secret_basic" | "basic_raw")),
            "{method:?}"
        );
    }
}

#[tokio::test]
async fn the_first_method_that_the_metadata_lists_is_used() {
    for (listed, in_form) in [
        (json!(["client_secret_basic", "client_secret_post"]), true),
        (json!(["client_secret_basic"]), false),
        (json!(null), false),
    ] {
        let idp = Idp::start().await;
        let name = "token_endpoint_auth_methods_supported".to_owned();
        idp.turn(|k| drop(k.metadata.insert(name, listed.clone())));
        let world = World::around(idp, |_| {}).await;
        world.passes(world.flights().basic(APP, SECRET)).await;
        let request = world.idp.requests(Endpoint::Token).pop().unwrap();
        assert_eq!(
            request.field("client_secret").is_some(),
            in_form,
            "{listed}"
        );
    }
}

#[tokio::test]
async fn the_token_request_says_what_is_configured_and_no_more() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["token_request"] = json!({
            "scope": "read write", "audience": "https://api.test", "parameters": {"resource": "r s"},
        });
    })
    .await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    let requests = world.idp.requests(Endpoint::Token);
    let request = &requests[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/token")
    );
    let kind = request.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/x-www-form-urlencoded"),
        "{kind}"
    );
    let mut form = request.form();
    form.sort();
    let expected = [
        ("audience", "https://api.test"),
        ("client_id", APP),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("resource", "r s"),
        ("scope", "read write"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    assert_eq!(form, expected);
}

#[tokio::test]
async fn one_call_serves_a_thousand_requests_with_a_new_pair() {
    let world = World::start().await;
    world.idp.hold();
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        let call = world.flights().basic(APP, SECRET);
        calls.spawn(async move { call.send().await });
    }
    eventually!(world.idp.hits(Endpoint::Token) > 0, "the pair is exchanged");
    world.idp.release();
    while let Some(response) = calls.join_next().await {
        response.unwrap().assert_status(200);
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
    world.passes(world.flights().basic(APP, SECRET)).await;
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
}

#[tokio::test]
async fn one_call_serves_many_requests_with_a_wrong_pair() {
    let world = World::start().await;
    world.idp.hold();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let call = world.flights().basic(APP, "wrong");
        calls.spawn(async move { call.send().await });
    }
    eventually!(world.idp.hits(Endpoint::Token) > 0, "the pair is exchanged");
    world.idp.release();
    while let Some(response) = calls.join_next().await {
        response.unwrap().assert_problem(401, "invalid_client");
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
}

#[tokio::test]
async fn each_pair_costs_one_call_for_each_life_of_its_token() {
    let ids: Vec<String> = (0..5).map(|n| format!("app-{n}")).collect();
    let idp = Idp::start().await;
    for id in &ids {
        idp.client(id, SECRET);
    }
    // Five seconds less a fifth are kept; renewal may start after four fifths of that.
    idp.turn(|k| k.expires_in = json!(5));
    let life = Duration::from_millis(3_200);
    let world = World::around(idp, |s| {
        s.applications["applications"] = ids.iter().map(|id| application(id)).collect();
    })
    .await;
    let begun = Instant::now();
    world.idp.hold();
    let mut calls = JoinSet::new();
    loop {
        for n in 0..200 {
            let call = world.flights().basic(&ids[n % ids.len()], SECRET);
            calls.spawn(async move { call.send().await });
        }
        eventually!(
            world.idp.hits(Endpoint::Token) >= ids.len(),
            "each pair is exchanged"
        );
        world.idp.release();
        while let Some(response) = calls.join_next().await {
            response.unwrap().assert_status(200);
        }
        let most = 1 + begun.elapsed().as_millis() / life.as_millis();
        let asked = world.idp.requests(Endpoint::Token);
        let asked = ids.iter().map(|id| {
            let own = |request: &&Request| request.field("client_id").as_deref() == Some(id);
            asked.iter().filter(own).count()
        });
        let asked: Vec<usize> = asked.collect();
        assert!(
            asked
                .iter()
                .all(|calls| (1..=most).contains(&(*calls as u128))),
            "{asked:?} calls in {most} lives"
        );
        if asked.iter().all(|calls| *calls >= 3) {
            break;
        }
    }
}

#[tokio::test]
async fn a_moved_border_between_id_and_secret_is_another_pair() {
    let world = World::with(|s| {
        s.applications["applications"] = json!([application("ab"), application("a")]);
    })
    .await;
    world.idp.client("ab", "cd");
    world.idp.client("a", "other");
    world.passes(world.flights().basic("ab", "cd")).await;
    world
        .refuses(world.flights().basic("a", "bcd"), 401, "invalid_client")
        .await;
    world
        .refuses(world.flights().basic("ab", "cde"), 401, "invalid_client")
        .await;
}

#[tokio::test]
async fn a_wrong_secret_is_remembered_and_forgotten() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["client_credentials"] =
            json!({"wrong_secret_time": "500ms"});
    })
    .await;
    for _ in 0..3 {
        world
            .refuses(
                world.flights().basic(APP, "new-secret"),
                401,
                "invalid_client",
            )
            .await;
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
    world.idp.client(APP, "new-secret");
    eventually!(
        world.flights().basic(APP, "new-secret").send().await.status == 200,
        "the new secret works"
    );
}

#[tokio::test]
async fn an_unknown_id_never_reaches_the_idp() {
    let world = World::start().await;
    world.idp.client("known-to-the-idp-only", "secret");
    for n in 0..20 {
        let call = world.flights().basic(&format!("nobody-{n}"), "secret");
        world.refuses(call, 401, "invalid_client").await;
    }
    let call = world.flights().basic("known-to-the-idp-only", "secret");
    world.refuses(call, 401, "invalid_client").await;
    assert_eq!(world.idp.hits(Endpoint::Token), 0);
}

#[tokio::test]
async fn guesses_from_one_address_are_stopped_and_the_owner_is_not() {
    let world = World::with(behind_a_proxy).await;
    let from = |address: &str| world.flights().header("X-Forwarded-For", address);
    world.passes(from("10.0.0.1").basic(APP, SECRET)).await;
    let before = world.idp.hits(Endpoint::Token);
    for n in 0..5 {
        let call = from("10.0.0.9").basic(APP, &format!("guess-{n}"));
        world.refuses(call, 401, "invalid_client").await;
    }
    for n in 5..10 {
        let call = from("10.0.0.9").basic(APP, &format!("guess-{n}"));
        let response = world.refuses(call, 429, "too_many_attempts").await;
        assert!(
            response
                .header("retry-after")
                .unwrap()
                .parse::<u32>()
                .unwrap()
                <= 60
        );
    }
    assert_eq!(world.idp.hits(Endpoint::Token), before + 5);
    world.passes(from("10.0.0.1").basic(APP, SECRET)).await;
    world.passes(from("10.0.0.9").basic(APP, SECRET)).await;
    let other = from("10.0.0.10").basic(APP, "guess-from-elsewhere");
    world.refuses(other, 401, "invalid_client").await;
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_count_as_one() {
    let world = World::with(behind_a_proxy).await;
    for n in 0..6 {
        let address = format!("2001:db8:0:1::{n}");
        let call = world.flights().header("X-Forwarded-For", &address);
        let response = call.basic(APP, &format!("guess-{n}")).send().await;
        assert_eq!(
            response.status,
            if n < 5 { 401 } else { 429 },
            "{n}: {response:?}"
        );
    }
    let elsewhere = world.flights().header("X-Forwarded-For", "2001:db8:0:2::1");
    world
        .refuses(elsewhere.basic(APP, "guess"), 401, "invalid_client")
        .await;
}

#[tokio::test]
async fn guesses_from_everywhere_are_stopped_except_where_the_owner_is() {
    let world = World::with(|s| {
        behind_a_proxy(s);
        s.config["auth_strategies"][0]["client_credentials"] = json!({"guesses_per_client": 6});
    })
    .await;
    let from = |n: usize| {
        world
            .flights()
            .header("X-Forwarded-For", &format!("10.0.1.{n}"))
    };
    world.passes(from(200).basic(APP, SECRET)).await;
    for n in 0..6 {
        let call = from(n).basic(APP, &format!("guess-{n}"));
        world.refuses(call, 401, "invalid_client").await;
    }
    world
        .refuses(from(7).basic(APP, "guess-7"), 429, "too_many_attempts")
        .await;
    world.passes(from(7).basic(APP, SECRET)).await;
    world
        .refuses(from(200).basic(APP, "guess-8"), 401, "invalid_client")
        .await;
}

#[tokio::test]
async fn changed_credentials_clear_the_count() {
    let world = World::start().await;
    for n in 0..6 {
        world
            .flights()
            .basic(APP, &format!("guess-{n}"))
            .send()
            .await;
    }
    world
        .refuses(
            world.flights().basic(APP, "guess-7"),
            429,
            "too_many_attempts",
        )
        .await;
    world
        .gateway
        .register(|a| {
            let time = crate::harness::rfc3339(crate::harness::now() - 5);
            a["applications"][0]["credentials_valid_from"] = json!(time);
        })
        .await;
    world.idp.client(APP, "guess-0");
    world.passes(world.flights().basic(APP, "guess-0")).await;
}

#[tokio::test]
async fn an_outage_is_503_and_never_counts_as_a_guess() {
    for (case, answer) in [
        ("500", Answer::new(500, "x")),
        (
            "502 with JSON",
            Answer::json(502, &json!({"error": "invalid_client"})),
        ),
        ("503", Answer::new(503, "x").header("Retry-After", "7")),
        ("429", Answer::new(429, "x").header("Retry-After", "7")),
        ("hang-up", Answer::new(200, "").manner(Manner::HangUp)),
        ("silence", Answer::new(200, "").manner(Manner::Silent)),
        (
            "truncated",
            Answer::json(200, &json!({"access_token": "abc"})).manner(Manner::Truncated),
        ),
        (
            "a page",
            Answer::new(200, "<html>sign in</html>").header("Content-Type", "text/html"),
        ),
        ("nothing", Answer::new(200, "")),
        (
            "no token",
            Answer::json(200, &json!({"token_type": "Bearer"})),
        ),
        ("a list", Answer::json(200, &json!(["access_token"]))),
        (
            "token as number",
            Answer::json(200, &json!({"access_token": 7, "token_type": "Bearer"})),
        ),
        ("deep", Answer::new(200, "[".repeat(100_000))),
        ("huge", Answer::new(200, vec![b' '; 8 << 20])),
    ] {
        let world =
            World::with(|s| s.config["identity_providers"][0]["timeout"] = json!("400ms")).await;
        world.idp.fault(Endpoint::Token, answer);
        let call = world.flights().basic(APP, SECRET);
        let response = world
            .refuses_case(case, call, 503, "identity_provider_unavailable")
            .await;
        assert!(response.header("retry-after").is_some(), "{case}");
    }
}

#[tokio::test]
async fn retry_after_spares_the_idp() {
    let world = World::start().await;
    world.idp.fault(
        Endpoint::Token,
        Answer::new(429, "").header("Retry-After", "30"),
    );
    for _ in 0..5 {
        let call = world.flights().basic(APP, SECRET);
        let response = world
            .refuses(call, 503, "identity_provider_unavailable")
            .await;
        let wait: u32 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
}

#[tokio::test]
async fn after_five_failures_the_endpoint_is_left_alone_for_a_while() {
    let world = World::start().await;
    world.idp.fault(Endpoint::Token, Answer::new(500, ""));
    for _ in 0..12 {
        let call = world.flights().basic(APP, SECRET);
        world
            .refuses(call, 503, "identity_provider_unavailable")
            .await;
    }
    let asked = world.idp.hits(Endpoint::Token);
    assert!((5..=6).contains(&asked), "{asked}");
    world.idp.heal(Endpoint::Token);
    eventually!(
        world.flights().basic(APP, SECRET).send().await.status == 200,
        "the endpoint is tried again"
    );
}

#[tokio::test]
async fn a_known_pair_goes_on_through_an_outage() {
    let world = World::start().await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.idp.down();
    for _ in 0..5 {
        world.passes(world.flights().basic(APP, SECRET)).await;
    }
}

#[tokio::test]
async fn every_way_to_say_wrong_secret_is_understood() {
    let error = |status: u16, error: &str| Answer::json(status, &json!({"error": error}));
    for (case, answer, status, code) in [
        ("RFC", error(401, "invalid_client"), 401, "invalid_client"),
        ("400", error(400, "invalid_client"), 401, "invalid_client"),
        (
            "401 with another error",
            error(401, "unauthorized"),
            401,
            "invalid_client",
        ),
        (
            "401 with nothing",
            Answer::new(401, ""),
            401,
            "invalid_client",
        ),
        (
            "401 with a page",
            Answer::new(401, "<html>"),
            401,
            "invalid_client",
        ),
        (
            "403 with nothing",
            Answer::new(403, ""),
            401,
            "invalid_client",
        ),
        (
            "grant refused",
            error(400, "unauthorized_client"),
            403,
            "grant_refused",
        ),
        ("policy", error(403, "access_denied"), 403, "grant_refused"),
        (
            "scope",
            error(400, "invalid_scope"),
            502,
            "identity_provider_misconfigured",
        ),
        (
            "target",
            error(400, "invalid_target"),
            502,
            "identity_provider_misconfigured",
        ),
        (
            "404",
            Answer::new(404, "x"),
            502,
            "identity_provider_misconfigured",
        ),
    ] {
        let world = World::start().await;
        world.idp.fault(Endpoint::Token, answer);
        let call = world.flights().basic(APP, SECRET);
        world.refuses_case(case, call, status, code).await;
    }
}

#[tokio::test]
async fn odd_but_good_answers_are_understood() {
    for (case, turn) in [
        (
            "201",
            (|k| k.token_status = 201) as fn(&mut crate::harness::idp::Knobs),
        ),
        ("bearer in lower case", |k| {
            k.token_type = "bearer".to_owned()
        }),
        ("BEARER in upper case", |k| {
            k.token_type = "BEARER".to_owned()
        }),
        ("expires_in as text", |k| k.expires_in = json!("300")),
        ("expires_in as fraction", |k| k.expires_in = json!(300.0)),
        ("no expires_in", |k| k.expires_in = Value::Null),
    ] {
        let idp = Idp::start().await;
        idp.turn(turn);
        let world = World::around(idp, |_| {}).await;
        for _ in 0..2 {
            let response = world.flights().basic(APP, SECRET).send().await;
            assert_eq!(response.status, 200, "{case}: {response:?}");
        }
        assert_eq!(world.idp.hits(Endpoint::Token), 1, "{case}: kept");
    }
}

#[tokio::test]
async fn an_answer_without_life_is_used_once() {
    for life in [json!(0), json!(-5), json!("0")] {
        let world = World::start().await;
        world.idp.turn(|k| k.expires_in = life.clone());
        for _ in 0..3 {
            world.passes(world.flights().basic(APP, SECRET)).await;
        }
        assert_eq!(world.idp.hits(Endpoint::Token), 3, "{life}");
    }
}

#[tokio::test]
async fn an_entry_ends_with_its_token_whatever_expires_in_says() {
    let world = World::start().await;
    let soon = crate::harness::now() + 2;
    world
        .idp
        .turn(|k| drop(k.claims.insert("exp".into(), json!(soon))));
    world.idp.turn(|k| k.expires_in = json!(3_600));
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.idp.turn(|k| k.claims.clear());
    world.idp.client(APP, "rotated");
    eventually!(
        world.flights().basic(APP, SECRET).send().await.code() == "invalid_client",
        "the old secret ends with its token"
    );
    world.passes(world.flights().basic(APP, "rotated")).await;
}

#[tokio::test]
async fn an_entry_near_its_end_is_renewed_in_the_background() {
    let world = World::start().await;
    world.idp.turn(|k| k.expires_in = json!(5));
    world.passes(world.flights().basic(APP, SECRET)).await;
    // Five seconds less a fifth are kept; the last fifth of those four starts after 3.2.
    eventually!(
        {
            world.passes(world.flights().basic(APP, SECRET)).await;
            world.idp.hits(Endpoint::Token) == 2
        },
        "the exchange starts again"
    );
}

#[tokio::test]
async fn a_renewal_that_finds_the_client_deleted_drops_the_entry() {
    let world = World::start().await;
    world.idp.turn(|k| k.expires_in = json!(10));
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.idp.forget(APP);
    let mut refused = false;
    for _ in 0..95 {
        let response = world.flights().basic(APP, SECRET).send().await;
        refused = response.code() == "invalid_client";
        if refused {
            break;
        }
        response.assert_status(200);
        crate::harness::pass(Duration::from_millis(100)).await;
    }
    assert!(refused, "the entry is dropped");
    let asked = world.idp.requests(Endpoint::Token).len();
    assert_eq!(asked, 2, "the renewal's answer is remembered");
}

#[tokio::test]
async fn the_exchanged_token_is_verified_like_any_other() {
    for (case, name, value) in [
        ("another client", "client_id", json!("another")),
        ("no client", "client_id", json!(null)),
        ("another audience", "aud", json!("https://other.test")),
        ("another issuer", "iss", json!("https://evil.test")),
        ("expired", "exp", json!(1_000_000_000)),
        ("ID token", "nonce", json!("n")),
    ] {
        let world = World::start().await;
        world
            .idp
            .turn(|k| drop(k.claims.insert(name.to_owned(), value.clone())));
        let call = world.flights().basic(APP, SECRET);
        world
            .refuses_case(case, call, 502, "identity_provider_misconfigured")
            .await;
    }
}

#[tokio::test]
async fn a_token_under_a_key_just_rotated_in_is_verified() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    world.passes(world.flights().basic(APP, SECRET)).await;
}

#[tokio::test]
async fn an_opaque_answer_is_its_own_proof() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["token_request"] = json!({"scope": "asked for"});
        s.config["auth_strategies"][0]["bearer"] = json!({"verify": "jwt"});
    })
    .await;
    world.idp.turn(|k| k.format = Format::Opaque);
    world.passes(world.flights().basic(APP, SECRET)).await;
    assert_eq!(
        world.upstream.last().header("x-authenticated-scope"),
        Some("asked for")
    );
    world.idp.client("app-2", "two");
    world
        .gateway
        .register(|a| add(a, application("app-2")))
        .await;
    world.idp.turn(|k| k.scope = Some("granted".to_owned()));
    world.passes(world.flights().basic("app-2", "two")).await;
    assert_eq!(
        world.upstream.last().header("x-authenticated-scope"),
        Some("granted")
    );
    assert_eq!(world.idp.hits(Endpoint::Introspection), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_secret() {
    let elsewhere = Idp::start().await;
    for status in [301, 302, 307, 308] {
        let world = World::start().await;
        let target = format!("{}/token", elsewhere.issuer);
        world.idp.fault(
            Endpoint::Token,
            Answer::new(status, "").header("Location", &target),
        );
        let response = world.flights().basic(APP, SECRET).send().await;
        assert!(
            [502, 503].contains(&response.status),
            "{status}: {response:?}"
        );
        assert_eq!(world.upstream.hits(), 0);
    }
    assert_eq!(elsewhere.hits(Endpoint::Token), 0);
}

#[tokio::test]
async fn only_the_idp_of_the_strategy_that_knows_the_id_sees_the_secret() {
    let other = Idp::start().await;
    other.client("their-app", "their-secret");
    let issuer = other.issuer.clone();
    let world = World::with(|s| {
        let list = s.config["identity_providers"].as_array_mut().unwrap();
        list.push(json!({"name": "other", "issuer": issuer}));
        let mut strategy = s.config["auth_strategies"][0].clone();
        strategy["name"] = json!("others");
        strategy["identity_provider"] = json!("other");
        s.config["auth_strategies"]
            .as_array_mut()
            .unwrap()
            .push(strategy);
        s.config["apis"][0]["auth_strategies"] = json!(["partners", "others"]);
        let mut theirs = application("their-app");
        theirs["auth_strategy"] = json!("others");
        s.applications["applications"]
            .as_array_mut()
            .unwrap()
            .push(theirs);
    })
    .await;
    world
        .passes(world.flights().basic("their-app", "their-secret"))
        .await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world
        .refuses(
            world.flights().basic(APP, "their-secret"),
            401,
            "invalid_client",
        )
        .await;
    assert_eq!(
        (world.idp.hits(Endpoint::Token), other.hits(Endpoint::Token)),
        (2, 1)
    );
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_lose_the_exchange() {
    let world = World::start().await;
    world.idp.hold();
    let mut connection = crate::harness::client::Connection::open(world.gateway.proxy).await;
    connection
        .send(world.flights().basic(APP, SECRET).bytes())
        .await;
    eventually!(
        world.idp.hits(Endpoint::Token) == 1,
        "the pair is exchanged"
    );
    drop(connection);
    let call = world.flights().basic(APP, SECRET);
    let waiting = tokio::spawn(async move { call.send().await });
    crate::harness::pass(Duration::from_millis(100)).await;
    world.idp.release();
    waiting.await.unwrap().assert_status(200);
}

/// Takes the client's address from `X-Forwarded-For`.
fn behind_a_proxy(setup: &mut Setup) {
    setup.config["trusted_proxies"] = json!(["127.0.0.1/32"]);
}
