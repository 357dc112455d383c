//! The answer table, row by row: status, code, challenge, and that the upstream saw nothing.
//! What leads to a row is tested in its own module; here each row stands once.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    APP, SECRET, World, api,
    client::Connection,
    gateway::Wait,
    http1::{Answer, Manner},
    idp::{Endpoint, Idp},
};

#[tokio::test]
async fn a_good_token_passes() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn without_a_credential_each_enabled_method_is_offered() {
    let world = World::start().await;
    let response = world
        .refuses(world.flights(), 401, "credentials_required")
        .await;
    let basic = response.challenge("Basic ");
    assert!(
        basic.contains("realm=\"") && basic.contains("charset=\"UTF-8\""),
        "{basic}"
    );
    let bearer = response.challenge("Bearer ");
    assert!(
        bearer.contains("realm=\"") && !bearer.contains("error"),
        "{bearer}"
    );
    assert_eq!(response.challenges().len(), 2);
    world
        .refuses(
            world.flights().authorization("Digest a=b"),
            401,
            "credentials_required",
        )
        .await;
}

#[tokio::test]
async fn a_method_that_is_not_enabled_is_neither_read_nor_offered() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["auth_methods"] = json!(["bearer"]);
    })
    .await;
    let response = world
        .refuses(
            world.flights().basic(APP, SECRET),
            401,
            "credentials_required",
        )
        .await;
    assert_eq!(response.challenges().len(), 1);
    response.challenge("Bearer ");
    assert_eq!(world.idp.hits(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_page_is_not_shown_a_password_box() {
    let world = World::start().await;
    for (mode, challenges) in [("cors", 1), ("no-cors", 1), ("navigate", 2)] {
        let call = world.flights().header("Sec-Fetch-Mode", mode);
        let response = world
            .refuses_case(mode, call, 401, "credentials_required")
            .await;
        assert_eq!(response.challenges().len(), challenges, "{mode}");
        response.challenge("Bearer ");
    }
}

#[tokio::test]
async fn malformed_credentials_are_invalid_requests() {
    let world = World::start().await;
    for (case, line) in [
        ("empty", ""),
        ("Basic alone", "Basic"),
        ("Bearer alone", "Bearer "),
        ("not token68", "Bearer \"quoted\""),
        ("two words", "Bearer a b"),
        ("comma-joined", "Bearer abc, Basic YTpi"),
        ("not base64", "Basic !!!"),
        ("no colon", "Basic YXBw"),
        ("empty id", "Basic OnNlY3JldA=="),
        ("empty secret", "Basic YXBwOg=="),
        ("empty raw secret", "Basic app:"),
        ("not UTF-8", "Basic /zr/"),
        ("NUL in the id", "Basic YQBiOmM="),
        ("line feed in the secret", "Basic YTpiCmM="),
    ] {
        let call = world.flights().authorization(line);
        let response = world.refuses_case(case, call, 400, "invalid_request").await;
        let challenge = response.challenge("Bearer ");
        assert!(
            challenge.contains("error=\"invalid_request\""),
            "{case}: {challenge}"
        );
    }
    let twice = world.flights().bearer(&world.token()).basic(APP, SECRET);
    world.refuses(twice, 400, "invalid_request").await;
    let same = world
        .flights()
        .bearer(&world.token())
        .bearer(&world.token());
    world.refuses(same, 400, "invalid_request").await;
    assert_eq!(world.idp.hits(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_get_the_same_answer() {
    let world = World::start().await;
    let wrong = world
        .refuses(world.flights().basic(APP, "wrong"), 401, "invalid_client")
        .await;
    let unknown = world
        .refuses(world.flights().basic("nobody", "x"), 401, "invalid_client")
        .await;
    assert_eq!(wrong.challenges(), unknown.challenges());
    let challenge = wrong.challenge("Basic ");
    assert!(
        challenge.contains("realm=\"") && challenge.contains("charset=\"UTF-8\""),
        "{challenge}"
    );
    assert_eq!(
        world.idp.hits(Endpoint::Token),
        1,
        "only the known id reaches the IdP"
    );
}

#[tokio::test]
async fn a_bad_token_is_an_invalid_token() {
    let world = World::start().await;
    for (case, token) in [
        (
            "expired",
            world.idp.token(APP).claim("exp", 1_000_000_000).build(),
        ),
        ("no JWT, and nothing introspects", "abcdefg".to_owned()),
    ] {
        let call = world.flights().bearer(&token);
        let response = world.refuses_case(case, call, 401, "invalid_token").await;
        let challenge = response.challenge("Bearer ");
        assert!(
            challenge.contains("error=\"invalid_token\""),
            "{case}: {challenge}"
        );
    }
}

#[tokio::test]
async fn a_cookie_that_does_not_open_is_cleared() {
    let world = World::start().await;
    let call = world.flights().cookie("dcr_session=rubbish");
    let response = world.refuses(call, 401, "invalid_session").await;
    let set = response
        .header("set-cookie")
        .expect("the cookie is cleared");
    assert!(
        set.starts_with("dcr_session=;") && set.contains("Max-Age=0"),
        "{set}"
    );
    assert_eq!(response.challenges().len(), 2);
    assert!(!response.challenge("Bearer ").contains("error"));
}

#[tokio::test]
async fn each_state_of_an_application_has_its_code() {
    let world = World::with(|s| {
        let list = s.applications["applications"].as_array_mut().unwrap();
        for state in ["pending", "rejected", "revoked"] {
            let mut entry = crate::harness::application(state);
            entry["registrations"] = json!({"flights": state});
            list.push(entry);
        }
        let mut entry = crate::harness::application("missing");
        entry["registrations"] = json!({});
        list.push(entry);
        let mut entry = crate::harness::application("suspended");
        entry["status"] = json!("suspended");
        list.push(entry);
    })
    .await;
    for (client, code) in [
        ("nobody", "unknown_application"),
        ("suspended", "application_suspended"),
        ("missing", "registration_required"),
        ("pending", "registration_pending"),
        ("rejected", "registration_rejected"),
        ("revoked", "registration_revoked"),
    ] {
        let token = world.idp.token(client).build();
        world
            .refuses_case(client, world.flights().bearer(&token), 403, code)
            .await;
    }
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let world = World::with(|s| {
        s.config["apis"][0]["scopes_required"] = json!(["flights:read flights:list", "admin"]);
    })
    .await;
    let call = world.flights().bearer(&world.token());
    let response = world.refuses(call, 403, "insufficient_scope").await;
    let challenge = response.challenge("Bearer ");
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(
        challenge.contains("scope=\"flights:read flights:list\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn what_a_broken_idp_says_is_never_401() {
    let refused = |error: &str| Answer::json(400, &json!({"error": error}));
    for (case, answer, status, code) in [
        (
            "no grant",
            refused("unauthorized_client"),
            403,
            "grant_refused",
        ),
        ("policy", refused("access_denied"), 403, "grant_refused"),
        (
            "scope",
            refused("invalid_scope"),
            502,
            "identity_provider_misconfigured",
        ),
        (
            "target",
            refused("invalid_target"),
            502,
            "identity_provider_misconfigured",
        ),
        (
            "not found",
            Answer::new(404, "nothing"),
            502,
            "identity_provider_misconfigured",
        ),
        (
            "down",
            Answer::new(500, "broken"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "garbage",
            Answer::new(200, "<html>"),
            503,
            "identity_provider_unavailable",
        ),
        (
            "hang-up",
            Answer::new(200, "").manner(Manner::HangUp),
            503,
            "identity_provider_unavailable",
        ),
    ] {
        let world = World::start().await;
        world.idp.fault(Endpoint::Token, answer);
        let call = world.flights().basic(APP, SECRET);
        let response = world.refuses_case(case, call, status, code).await;
        assert_eq!(
            response.header("retry-after").is_some(),
            status == 503,
            "{case}"
        );
    }
}

#[tokio::test]
async fn before_the_applications_are_loaded_only_public_apis_answer() {
    let world = World::with(|s| {
        s.applications = json!(null);
        s.wait = Wait::Listening;
    })
    .await;
    world
        .refuses(world.flights().bearer(&world.token()), 503, "not_ready")
        .await;
    world.passes(world.gateway.get("/open")).await;
}

#[tokio::test]
async fn upstream_trouble_is_told_apart() {
    let world = World::with(|s| {
        for api in [0, 1] {
            s.config["apis"][api]["upstream"]["timeouts"] =
                json!({"connect": "1s", "read": "300ms"});
        }
    })
    .await;
    let send = |method: &str| world.gateway.call(method, "/open");
    world
        .upstream
        .answer(Answer::new(200, "").manner(Manner::Silent));
    send("GET")
        .send()
        .await
        .assert_problem(504, "upstream_timeout");
    world
        .upstream
        .answer(Answer::new(200, "").manner(Manner::HangUp));
    send("POST")
        .body("x")
        .send()
        .await
        .assert_problem(502, "upstream_failed");
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_fails() {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["targets"] = json!([{"address": gone.to_string()}]);
    })
    .await;
    world
        .refuses(world.gateway.get("/open"), 502, "upstream_failed")
        .await;
}

#[tokio::test]
async fn routing_refusals_are_problems_too() {
    let world = World::with(|s| {
        s.config["apis"][1]["routes"] = json!([{"paths": ["/open"], "methods": ["GET", "POST"]}]);
    })
    .await;
    world
        .refuses(world.gateway.get("/nowhere"), 404, "no_route")
        .await;
    world
        .refuses(world.gateway.get("/open/../flights"), 400, "ambiguous_path")
        .await;
    let delete = world.gateway.call("DELETE", "/open");
    let response = world.refuses(delete, 405, "method_not_allowed").await;
    let mut allowed: Vec<&str> = response.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_refused_head_has_no_body_and_keeps_the_connection() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    for _ in 0..2 {
        let head = world.gateway.call("HEAD", "/flights");
        let response = head
            .send_on(&mut connection)
            .await
            .expect("the connection is kept");
        response.assert_status(401);
        assert!(response.body.is_empty());
        assert_eq!(response.challenges().len(), 2);
    }
    let get = world
        .flights()
        .send_on(&mut connection)
        .await
        .expect("the connection is kept");
    get.assert_problem(401, "credentials_required");
    let good = world.flights().bearer(&world.token());
    let good = good
        .send_on(&mut connection)
        .await
        .expect("the connection is kept");
    good.assert_status(200);
}

#[tokio::test]
async fn a_problem_names_its_request() {
    let world = World::start().await;
    let first = world.flights().send().await;
    let second = world.flights().send().await;
    assert_ne!(first.json()["request_id"], second.json()["request_id"]);
    let id = first.json()["request_id"].as_str().unwrap().to_owned();
    crate::harness::eventually!(world.gateway.logged(&[&id]), "the log names {id}");
}

#[tokio::test]
async fn an_answer_shows_nothing_of_what_was_sent_or_what_is_inside() {
    let world = World::start().await;
    let token = world
        .idp
        .token(APP)
        .header("kid", "x\"\r\nX-Injected: 1")
        .build();
    let response = world
        .refuses(world.flights().bearer(&token), 401, "invalid_token")
        .await;
    let text = format!("{:?} {}", response.lines, response.text());
    for hidden in ["Injected", &token[..], "127.0.0.1", ".rs", "pingora"] {
        assert!(
            !text.to_lowercase().contains(&hidden.to_lowercase()),
            "{hidden} in {text}"
        );
    }
}

#[tokio::test]
async fn a_token_before_its_issuer_is_known_is_our_trouble() {
    let idp = Idp::start().await;
    idp.down();
    let world = World::around(idp, |s| s.wait = Wait::Listening).await;
    crate::harness::eventually!(
        world.flights().bearer(&world.token()).send().await.code()
            == "identity_provider_unavailable",
        "the applications are loaded"
    );
    let call = world.flights().bearer(&world.token());
    let response = world
        .refuses(call, 503, "identity_provider_unavailable")
        .await;
    assert!(response.header("retry-after").is_some());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_the_upstream_is_asked() {
    let world = World::with(|s| {
        s.config["limits"] = json!({"body_size": "1KiB"});
    })
    .await;
    world
        .refuses(
            world.gateway.post("/open").body(vec![b'x'; 1025]),
            413,
            "body_too_large",
        )
        .await;
    world
        .passes(world.gateway.post("/open").body(vec![b'x'; 1024]))
        .await;
}

#[tokio::test]
async fn a_slow_idp_is_given_up() {
    let world =
        World::with(|s| s.config["identity_providers"][0]["timeout"] = json!("300ms")).await;
    world.idp.fault(
        Endpoint::Token,
        Answer::new(200, "{}").after(Duration::from_secs(60)),
    );
    let call = world.flights().basic(APP, SECRET);
    world
        .refuses(call, 503, "identity_provider_unavailable")
        .await;
}

#[tokio::test]
async fn each_api_asks_for_its_own_methods() {
    let world = World::start().await;
    let upstream = &world.upstream;
    world
        .gateway
        .reconfigure(|c| {
            let mut second = c["auth_strategies"][0].clone();
            second["name"] = json!("tokens");
            second["auth_methods"] = json!(["bearer"]);
            c["auth_strategies"].as_array_mut().unwrap().push(second);
            let mut trains = api("trains", upstream);
            trains["auth_strategies"] = json!(["tokens"]);
            c["apis"].as_array_mut().unwrap().push(trains);
        })
        .await;
    let response = world
        .refuses(world.gateway.get("/trains"), 401, "credentials_required")
        .await;
    assert_eq!(response.challenges().len(), 1);
}
