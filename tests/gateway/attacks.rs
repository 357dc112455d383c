//! Attacks that have worked against others: each test asks whether one works here.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::harness::{
    APP, SECRET, World, add, application,
    client::{Call, Connection},
    eventually,
    gateway::Setup,
    h2c::H2c,
    http1::Answer,
    idp::{Endpoint, Idp, Overlap},
    keys::Alg,
    now, rfc3339, session_key,
    sockets::Sockets,
};

const PATIENCE: Duration = Duration::from_secs(10);

// Keys and verdicts under concurrency.

#[tokio::test]
async fn a_burst_of_a_new_key_and_made_up_kids_costs_one_key_fetch() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    let good = world.token();
    let before = world.idp.hits(Endpoint::Jwks);
    let mut burst = JoinSet::new();
    for n in 0..200 {
        let made_up = world.idp.token(APP).header("kid", format!("made-up-{n}"));
        let bad = world.flights().bearer(&made_up.build());
        let good = world.flights().bearer(&good);
        burst.spawn(async move { (good.send().await.status, bad.send().await.status) });
        if n % 2 == 0 {
            let bad = world.flights().bearer(&made_up.build());
            burst.spawn(async move { (200, bad.send().await.status) });
        }
    }
    while let Some(statuses) = burst.join_next().await {
        assert_eq!(statuses.unwrap(), (200, 401));
    }
    assert_eq!(world.idp.hits(Endpoint::Jwks), before + 1);
}

#[tokio::test]
async fn clients_that_go_away_and_a_reload_during_a_key_fetch_do_no_harm() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    let before = world.idp.hits(Endpoint::Jwks);
    world.idp.hold();
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    let token = world.token();
    let mut gone = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection
            .send(world.flights().bearer(&token).bytes())
            .await;
        gone.push(connection);
    }
    let waiting = world.flights().bearer(&token);
    let waiting = tokio::spawn(async move { waiting.send().await.status });
    eventually!(
        world.idp.hits(Endpoint::Jwks) > before,
        "the keys are asked for"
    );
    drop(gone);
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["bearer"] = json!({"leeway": "20s"}))
        .await;
    world.idp.release();
    assert_eq!(waiting.await.unwrap(), 200);
    world.passes(world.flights().bearer(&token)).await;
}

#[tokio::test]
async fn a_pair_in_flight_while_its_credentials_change_is_asked_about_again() {
    let world = World::start().await;
    world.idp.hold();
    let call = world.flights().basic(APP, SECRET);
    let spawn = |call: Call| tokio::spawn(async move { call.send().await });
    let first = spawn(call.clone());
    eventually!(world.idp.hits(Endpoint::Token) == 1, "the IdP is asked");
    // The IdP has said yes; before it is heard, the secret is changed there and here.
    world.idp.client(APP, "another-secret");
    world
        .gateway
        .register(|a| {
            // Whole seconds: this one's beginning may lie before the first request.
            a["applications"][0]["credentials_valid_from"] = json!(rfc3339(now() + 1));
        })
        .await;
    let second = spawn(call.clone());
    eventually!(
        world.gateway.metric("dcr_connections", &[]).await > 1.5,
        "both wait"
    );
    world.idp.release();
    for answer in [first, second] {
        answer.await.unwrap().assert_problem(401, "invalid_client");
    }
    assert_eq!(world.upstream.hits(), 0);
    world
        .passes(world.flights().basic(APP, "another-secret"))
        .await;
}

#[tokio::test]
async fn strategies_that_share_a_moment_do_not_share_an_answer() {
    let other = Idp::start().await;
    let issuer = other.issuer.clone();
    let world = World::with(|s| {
        introspecting(s);
        let mut idp = s.config["identity_providers"][0].clone();
        (idp["name"], idp["issuer"]) = (json!("other"), json!(issuer));
        push(&mut s.config["identity_providers"], idp);
        let mut strategy = s.config["auth_strategies"][0].clone();
        (strategy["name"], strategy["identity_provider"]) = (json!("others"), json!("other"));
        push(&mut s.config["auth_strategies"], strategy);
        let mut hotels = s.config["apis"][0].clone();
        (hotels["name"], hotels["auth_strategies"]) = (json!("hotels"), json!(["others"]));
        hotels["routes"] = json!([{"paths": ["/hotels"]}]);
        push(&mut s.config["apis"], hotels);
        let mut entry = application(APP);
        entry["auth_strategy"] = json!("others");
        entry["registrations"] = json!({"hotels": "approved"});
        add(&mut s.applications, entry);
    })
    .await;
    // One IdP calls the token active, the other does not.
    let token = world.idp.opaque(APP, |t| t);
    world.idp.hold();
    other.hold();
    let mut burst = JoinSet::new();
    for n in 0..20 {
        let (path, status) = [("/flights", 200), ("/hotels", 401)][n % 2];
        let call = world.gateway.get(path).bearer(&token);
        burst.spawn(async move { (path, call.send().await.status, status) });
    }
    eventually!(
        other.hits(Endpoint::Introspection) == 1,
        "the other is asked"
    );
    world.idp.release();
    other.release();
    while let Some(done) = burst.join_next().await {
        let (path, got, wanted) = done.unwrap();
        assert_eq!(got, wanted, "{path}");
    }
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
    assert_eq!(other.hits(Endpoint::Introspection), 1);
}

#[tokio::test]
async fn a_strategy_that_cannot_judge_is_not_overruled_by_one_that_knows_nobody() {
    let world = World::with(|s| {
        introspecting(s);
        s.config["auth_strategies"][0]["bearer"] = json!({"verify": "introspection"});
        let mut strategy = s.config["auth_strategies"][0].clone();
        strategy["name"] = json!("local");
        strategy["bearer"] = json!({"verify": "jwt"});
        push(&mut s.config["auth_strategies"], strategy);
        s.config["apis"][0]["auth_strategies"] = json!(["partners", "local"]);
        s.config["apis"][0]["access"] = json!("client");
        s.applications["applications"][0]["status"] = json!("suspended");
    })
    .await;
    let token = world.token();
    let mut facts = world.idp.token(APP).claims().clone();
    facts.insert("active".to_owned(), json!(true));
    world
        .idp
        .turn(|k| k.introspections.insert(token.clone(), Value::Object(facts)));
    let call = || world.flights().bearer(&token);
    world
        .idp
        .fault(Endpoint::Introspection, Answer::new(500, "broken"));
    world
        .refuses(call(), 503, "identity_provider_unavailable")
        .await;
    world.idp.heal(Endpoint::Introspection);
    world.refuses(call(), 403, "application_suspended").await;
}

#[tokio::test]
async fn a_suspension_during_verification_counts() {
    for method in ["bearer", "basic", "introspection"] {
        let world = World::with(introspecting).await;
        world.idp.hold();
        world.idp.rotate(Alg::Es256, Overlap::Keep);
        let opaque = world.idp.opaque(APP, |t| t);
        let (call, endpoint) = match method {
            "bearer" => (world.flights().bearer(&world.token()), Endpoint::Jwks),
            "basic" => (world.flights().basic(APP, SECRET), Endpoint::Token),
            _ => (world.flights().bearer(&opaque), Endpoint::Introspection),
        };
        let before = world.idp.hits(endpoint);
        let waiting = tokio::spawn(async move { call.send().await });
        eventually!(world.idp.hits(endpoint) > before, "the IdP is asked");
        world
            .gateway
            .register(|a| a["applications"][0]["status"] = json!("suspended"))
            .await;
        world.idp.release();
        waiting
            .await
            .unwrap()
            .assert_problem(403, "application_suspended");
        assert_eq!(world.upstream.hits(), 0, "{method}");
    }
}

#[tokio::test]
async fn a_malformed_request_shows_no_secret_in_the_log() {
    const CANARY: &str = "canary-91c4";
    for access in ["on", "off"] {
        let world = World::with(|s| {
            s.config["log"] = json!({"level": "trace", "access": access});
            s.config["limits"] = json!({"body_size": "1KiB"});
        })
        .await;
        let lines = format!(
            "Host: a\r\nAuthorization: Bearer {CANARY}\r\nCookie: dcr_session={CANARY}\r\n"
        );
        let good = format!("Host: a\r\nAuthorization: Bearer {}\r\n", world.token());
        for request in [
            format!("GET /flights HTTP/1.1\r\n{lines}Bad Name: {CANARY}\r\n\r\n"),
            format!("GET /flights HTTP/1.1\r\n{lines}X: a\0{CANARY}\r\n\r\n"),
            format!("GET /flights HTTP/1.1\r\n{lines}X: a\rb\r\n\r\n"),
            format!("GET /flights HTTP/9.9\r\n{lines}\r\n"),
            format!("{CANARY}\r\n{lines}\r\n"),
            format!("GET /flights?token={CANARY} HTTP/1.1\r\n{lines}: {CANARY}\r\n\r\n"),
            format!(
                "GET /flights?token={CANARY} HTTP/1.1\r\n{lines}Connection: \"{CANARY}\"\r\n\r\n"
            ),
            format!(
                "GET /flights?token={CANARY} HTTP/1.1\r\n{good}Connection: \"{CANARY}\"\r\n\r\n"
            ),
            format!(
                "POST /flights?token={CANARY} HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n{CANARY}\r\n"
            ),
            format!(
                "POST /flights?token={CANARY} HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n5\r\n{CANARY}\r\n"
            ),
            format!("POST /flights HTTP/1.1\r\n{good}Content-Length: 4096\r\n\r\n{CANARY}"),
            format!("POST /flights HTTP/1.1\r\n{good}Content-Length: 99\r\n\r\n{CANARY}"),
            format!("POST /flights HTTP/1.1\r\n{lines}Content-Length: {CANARY}\r\n\r\n"),
            format!("CONNECT {CANARY}:443 HTTP/1.1\r\n{lines}\r\n"),
        ] {
            let mut connection = Connection::open(world.gateway.proxy).await;
            connection.send(request).await;
            connection.finish().await;
            connection.rest().await;
        }
        world
            .upstream
            .answer(Answer::new(200, CANARY).header("Bad Name", CANARY));
        world.flights().bearer(&world.token()).send().await;
        world.gateway.signal("HUP").await;
        eventually!(
            world.gateway.reloads("configuration", "applied").await > 0.5,
            "the configuration is read again"
        );
        crate::harness::pass(Duration::from_millis(100)).await;
        for line in world.gateway.log() {
            // The target of CONNECT is a host, which the log shows.
            let told = line.contains(CANARY) && !line.contains(":443");
            assert!(!told, "access log {access}: {line}");
        }
    }
}

#[tokio::test]
async fn http2_has_one_host() {
    let world = World::with(|s| {
        s.config["apis"][1]["routes"] = json!([{"hosts": ["open.test"], "paths": ["/"]}]);
    })
    .await;
    let mut client = H2c::open(world.gateway.proxy).await;
    // The authority says api.test, where a credential is asked for.
    let request = H2c::request("GET", "/flights").header("host", "open.test");
    if let Ok(response) = client.send(request, &[]).await {
        let seen = world.upstream.requests();
        let routed = seen.iter().all(|r| r.header("host") == Some("open.test"));
        assert!(response.status >= 400 || routed, "{response:?} {seen:?}");
    }
    let twice = H2c::request("GET", "/flights")
        .header("host", "open.test")
        .header("host", "api.test");
    if let Ok(response) = client.send(twice, &[]).await {
        assert_eq!(response.status, 400, "{response:?}");
    }
}

#[tokio::test]
async fn an_active_token_that_is_refused_is_not_asked_about_again_and_again() {
    let world = World::with(introspecting).await;
    let token = world
        .idp
        .opaque(APP, |t| t.claim("aud", "https://other.test"));
    for _ in 0..20 {
        world
            .refuses(world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
    assert_eq!(world.idp.hits(Endpoint::Introspection), 1);
    eventually!(world.gateway.access_log().len() == 20, "the log is written");
    for line in world.gateway.access_log() {
        assert_eq!(line["reason"], "audience");
    }
}

#[tokio::test]
async fn no_answer_is_ever_served_twice() {
    let world = World::start().await;
    let answer = Answer::new(200, "for one").header("Cache-Control", "public, max-age=600");
    world.upstream.answer(answer.header("ETag", "\"1\""));
    for n in 1..=3 {
        world.flights().bearer(&world.token()).send().await;
        assert_eq!(world.upstream.hits(), n);
    }
    world
        .refuses(world.flights(), 401, "credentials_required")
        .await;
}

// Cookies.

#[tokio::test]
async fn a_cookie_of_almost_our_name_is_not_ours() {
    let world = World::with(|s| s.config["trusted_proxies"] = json!(["127.0.0.1/32"])).await;
    let https = |call: Call| call.header("X-Forwarded-Proto", "https");
    let earned = https(world.flights().bearer(&world.token())).send().await;
    let cookie = earned.cookie().unwrap();
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    world.passes(https(world.flights().cookie(&cookie))).await;
    // A browser guards the prefix in the name's first byte only. What looks like white space to us
    // and not to it would let any neighbouring host plant a session.
    for name in [
        "\u{a0}__Host-dcr_session",
        "\u{2000}__Host-dcr_session",
        "\u{3000}__Host-dcr_session",
        "__Host-dcr_session\u{a0}",
        "__host-dcr_session",
        "x__Host-dcr_session",
        "dcr_session",
    ] {
        let (_, value) = cookie.split_once('=').unwrap();
        let planted = format!("{name}={value}");
        let alone = https(world.flights().cookie(&planted));
        world
            .refuses_case(name, alone, 401, "credentials_required")
            .await;
        let beside = https(world.flights().cookie(&format!("{planted}; {cookie}")));
        world.passes(beside).await;
    }
}

#[tokio::test]
async fn a_strange_neighbour_neither_hides_nor_leaks_the_session() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let line = |path: &str, more: &str| {
        let mut bytes =
            format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n{more}Cookie: old=").into_bytes();
        bytes.extend_from_slice(b"caf\xe9");
        bytes.extend_from_slice(format!("; {cookie}; x=\"a b\"\r\n\r\n").as_bytes());
        bytes
    };
    let bearer = format!("Authorization: Bearer {}\r\n", world.token());
    for (path, more) in [("/flights", ""), ("/flights", &*bearer), ("/open", "")] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(line(path, more)).await;
        let response = connection.response().await.unwrap();
        assert_eq!(response.status, 200, "{path} {more:?}: {response:?}");
        let seen = world.upstream.last();
        let cookies = seen.header("cookie").unwrap();
        assert!(!cookies.contains("dcr_session"), "{path}: {cookies}");
        assert!(cookies.contains("x=\"a b\""), "{path}: {cookies}");
    }
    let mut connection = Connection::open(world.gateway.proxy).await;
    let mut logout = b"POST /-/logout HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n".to_vec();
    logout.extend_from_slice(b"Cookie: old=caf\xe9; ");
    logout.extend_from_slice(format!("{cookie}\r\n\r\n").as_bytes());
    connection.send(logout).await;
    connection.response().await.unwrap().assert_status(204);
    world
        .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
        .await;
}

#[tokio::test]
async fn an_upstream_cannot_plant_our_cookie_without_a_name_either() {
    let world = World::start().await;
    let planted = world.cookie().await;
    let answer = Answer::new(200, "x")
        .header("Set-Cookie", &format!("={planted}; Path=/"))
        .header("Set-Cookie", &format!(" = {planted}"))
        .header("Set-Cookie", &format!("{planted}; Path=/"))
        .header("Set-Cookie", "other=1");
    world.upstream.answer(answer);
    let response = world.gateway.get("/open").send().await;
    assert_eq!(response.headers("set-cookie"), ["other=1"]);
}

#[tokio::test]
async fn logout_over_https_clears_the_very_cookie_that_was_set() {
    let world = World::with(|s| s.config["trusted_proxies"] = json!(["127.0.0.1/32"])).await;
    let https = |call: Call| call.header("X-Forwarded-Proto", "https");
    let earned = https(world.flights().bearer(&world.token())).send().await;
    let logout = world.gateway.post("/-/logout").body("");
    let cleared = https(logout.cookie(&earned.cookie().unwrap())).send().await;
    cleared.assert_status(204);
    // A browser clears only what has the same name and path, and this name only with Secure.
    let set = cleared.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-dcr_session=;"), "{set}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "Max-Age=0"] {
        assert!(
            set.split("; ").any(|a| a == attribute),
            "{attribute}: {set}"
        );
    }
    assert!(!set.contains("Domain"), "{set}");
}

#[tokio::test]
async fn a_value_that_a_client_chose_is_never_adopted() {
    let world = World::with(|s| {
        add(&mut s.applications, application("app-2"));
    })
    .await;
    let others = world
        .flights()
        .bearer(&world.idp.token("app-2").build())
        .send()
        .await
        .cookie()
        .unwrap();
    for planted in [
        "dcr_session=chosen",
        "dcr_session=",
        "dcr_session",
        &*others,
    ] {
        let call = world.flights().bearer(&world.token()).cookie(planted);
        let response = world.passes(call).await;
        let fresh = response.cookie().expect("a session of its own");
        assert_ne!(fresh, planted);
        world.passes(world.flights().cookie(&fresh)).await;
        let seen = world.upstream.last();
        assert_eq!(
            seen.header("x-credential-identifier"),
            Some(APP),
            "{planted}"
        );
    }
}

#[tokio::test]
async fn ten_thousand_foreign_cookies_open_nothing() {
    let ours = World::start().await;
    let theirs = World::with(|s| {
        let key = s
            .files
            .iter_mut()
            .find(|(name, _)| name == "secrets/session");
        key.unwrap().1 = session_key(8);
    })
    .await;
    let foreign = theirs.cookie().await;
    let mine = ours.cookie().await;
    let (name, mine) = mine.split_once('=').unwrap();
    let (_, foreign) = foreign.split_once('=').unwrap();
    let mut connection = Connection::open(ours.gateway.proxy).await;
    for n in 0..10_000_usize {
        // Half of them with our key's hint before them; each another value.
        let hint = if n % 2 == 0 {
            &mine[..4]
        } else {
            &foreign[..4]
        };
        let at = 6 + n % (foreign.len() - 7);
        let letter = ["A", "B", "C", "D", "E", "F", "G"][(n / (foreign.len() - 7)) % 7];
        let value = format!("{hint}{}{letter}{}", &foreign[4..at], &foreign[at + 1..]);
        let call = ours.flights().cookie(&format!("{name}={value}"));
        let response = call.send_on(&mut connection).await.unwrap();
        assert_eq!(
            (response.status, &*response.code()),
            (401, "invalid_session")
        );
    }
    assert_eq!(ours.upstream.hits(), 1, "what earned our cookie");
}

#[tokio::test]
async fn a_session_never_says_one_claim_under_the_name_of_another() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["claim_headers"] =
            json!({"X-Role": ["role"], "X-Tenant": ["tenant"]});
    })
    .await;
    let token = world
        .idp
        .token(APP)
        .claim("role", "guest")
        .claim("tenant", "root");
    let earned = world.passes(world.flights().bearer(&token.build())).await;
    let cookie = earned.cookie().unwrap();
    world.passes(world.flights().cookie(&cookie)).await;
    assert_eq!(world.upstream.last().header("x-role"), Some("guest"));
    for headers in [
        json!({"X-Role": ["tenant"], "X-Tenant": ["role"]}),
        json!({"X-Tenant": ["role"], "X-Admin": ["tenant"]}),
    ] {
        world
            .gateway
            .reconfigure(|c| c["auth_strategies"][0]["claim_headers"] = headers)
            .await;
        world
            .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
            .await;
    }
    // The same in another order is the same.
    world
        .gateway
        .reconfigure(|c| {
            c["auth_strategies"][0]["claim_headers"] =
                json!({"X-Role": ["role"], "X-Tenant": ["tenant"]});
        })
        .await;
    world.passes(world.flights().cookie(&cookie)).await;
    assert_eq!(world.upstream.last().header("x-tenant"), Some("root"));
}

#[tokio::test]
async fn a_session_keeps_no_scopes_that_are_read_no_longer() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["scope_claims"] = json!(["scope", "roles"]);
        s.config["apis"][0]["scopes_required"] = json!(["admin"]);
    })
    .await;
    let token = world.idp.token(APP).claim("roles", "admin").build();
    let earned = world.passes(world.flights().bearer(&token)).await;
    let cookie = earned.cookie().unwrap();
    world.passes(world.flights().cookie(&cookie)).await;
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["scope_claims"] = json!(["scope"]))
        .await;
    world
        .refuses(world.flights().bearer(&token), 403, "insufficient_scope")
        .await;
    world
        .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
        .await;
}

// Framing, hops, upgrades.

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    let world = World::start().await;
    let token = world.token();
    for method in ["POST", "PATCH", "LOCK"] {
        for body in ["", "charge one"] {
            // A connection that is kept, and breaks under the next request.
            world.upstream.echo();
            world
                .flights()
                .bearer(&token)
                .send()
                .await
                .assert_status(200);
            let before = world.upstream.hits();
            world
                .upstream
                .answer(Answer::new(200, "").manner(crate::harness::http1::Manner::HangUp));
            let call = world
                .gateway
                .call(method, "/flights")
                .bearer(&token)
                .body(body);
            call.send().await.assert_problem(502, "upstream_failed");
            assert_eq!(world.upstream.hits(), before + 1, "{method} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_stop_waits_for_bodies_over_http2() {
    let mut world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/flights")
        .header("authorization", format!("Bearer {}", world.token()))
        .body(())
        .unwrap();
    let (answer, mut stream) = client.sender.send_request(request, false).unwrap();
    stream
        .send_data(Bytes::from_static(b"first "), false)
        .unwrap();
    crate::harness::pass(Duration::from_millis(200)).await;
    world.gateway.signal("TERM").await;
    crate::harness::pass(Duration::from_millis(500)).await;
    stream
        .send_data(Bytes::from_static(b"and last"), true)
        .unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    while let Some(data) = timeout(PATIENCE, body.data()).await.unwrap() {
        let length = data.unwrap().len();
        let _ = body.flow_control().release_capacity(length);
    }
    assert_eq!(world.upstream.last().body, b"first and last");
    drop(client);
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn a_file_that_a_refused_configuration_names_is_waited_for() {
    let world = World::start().await;
    world
        .gateway
        .edit_config(|c| c["session_keys"] = json!([{"file": "secrets/later"}]));
    eventually!(
        world.gateway.reloads("configuration", "refused").await > 0.5,
        "the configuration is refused"
    );
    world.passes(world.flights().bearer(&world.token())).await;
    let before = world.gateway.reloads("configuration", "applied").await;
    world.gateway.overwrite("secrets/later", &session_key(9));
    eventually!(
        world.gateway.reloads("configuration", "applied").await > before,
        "the configuration is applied"
    );
}

#[tokio::test]
async fn what_connection_nominates_changes_no_meaning() {
    let world = World::start().await;
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let token = world.token();
    for (nominated, status) in [
        ("authorization", 200),
        ("cookie, authorization", 200),
        ("content-length", 200),
        ("transfer-encoding", 200),
        ("x-request-id, via", 200),
        ("upgrade", 200),
        ("host", 400),
        ("x-forwarded-for", 400),
        (":authority", 400),
        ("a, b, c, d, e, f, g, h, i, j, k", 400),
    ] {
        let call = world
            .gateway
            .post("/flights")
            .header("Connection", nominated)
            .bearer(&token)
            .body(hidden);
        let before = world.upstream.hits();
        let response = call.send().await;
        assert_eq!(response.status, status, "{nominated}: {response:?}");
        if status == 200 {
            assert_eq!(world.upstream.hits(), before + 1, "{nominated}");
            let seen = world.upstream.last();
            assert_eq!(seen.target, "/flights", "{nominated}");
            assert_eq!(seen.body, hidden.as_bytes(), "{nominated}");
            assert_eq!(seen.header("connection"), None, "{nominated}");
            assert_eq!(seen.header("authorization"), None, "{nominated}");
            assert_eq!(seen.header("x-credential-identifier"), Some(APP));
            assert_eq!(seen.header("host"), Some("api.test"));
            assert!(seen.header("x-request-id").is_some(), "{nominated}");
        } else {
            assert_eq!(world.upstream.hits(), before, "{nominated}");
        }
    }
}

#[tokio::test]
async fn a_websocket_opens_for_a_known_caller_and_for_nobody_else() {
    let sockets = Sockets::start().await;
    let world = World::with(|s| {
        sockets.stand_behind(s);
        s.config["limits"] = json!({"body_size": "1KiB"});
    })
    .await;
    let cookie = {
        // Earned elsewhere: the socket's own answer is a 101, which carries no cookie.
        let call = world.gateway.get("/plain").bearer(&world.token());
        call.send().await.cookie().unwrap()
    };
    let upgrade = |call: Call| {
        call.header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
    };
    for (case, call, status) in [
        ("nothing", world.flights(), 401),
        ("bad token", world.flights().bearer("abc"), 401),
        ("wrong pair", world.flights().basic(APP, "wrong"), 401),
        (
            "page of another site",
            world
                .flights()
                .cookie(&cookie)
                .header("Origin", "https://evil.test"),
            403,
        ),
        (
            "told to be of another site",
            world
                .flights()
                .cookie(&cookie)
                .header("Sec-Fetch-Site", "same-site"),
            403,
        ),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        let mut bytes = upgrade(call).bytes();
        bytes.extend_from_slice(b"GET /flights HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.send(bytes).await;
        let response = connection.response().await.expect("an answer");
        assert_eq!(response.status, status, "{case}: {response:?}");
    }
    assert_eq!(sockets.opened(), 0, "nothing reached the upstream");
    for (case, call) in [
        ("token", world.flights().bearer(&world.token())),
        ("pair", world.flights().basic(APP, SECRET)),
        ("cookie", world.flights().cookie(&cookie)),
        (
            "cookie and own page",
            world
                .flights()
                .cookie(&cookie)
                .header("Origin", "http://api.test"),
        ),
    ] {
        let call = call
            .header("X-Application-Id", "forged")
            .header("X_Credential_Identifier", "forged");
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(upgrade(call).bytes()).await;
        let response = connection.response().await.expect("an answer");
        assert_eq!(response.status, 101, "{case}: {response:?}");
        let head = sockets.last_head();
        assert!(!head.contains("forged"), "{case}: {head}");
        assert!(
            head.to_lowercase()
                .contains("x-credential-identifier: app-1"),
            "{head}"
        );
        assert!(
            !head.contains("dcr_session") && !head.contains("Bearer"),
            "{case}: {head}"
        );
        // More than a body may be: a socket is none.
        for n in 0..4 {
            let message = format!("{n}").repeat(512);
            connection.send(&message).await;
            let mut echo = vec![0; 512];
            connection.read_exact(&mut echo).await;
            assert_eq!(String::from_utf8_lossy(&echo), message, "{case} {n}");
        }
    }
}

#[tokio::test]
async fn a_quick_101_does_not_break_the_tunnel() {
    let sockets = Sockets::start().await;
    let world = World::with(|s| sockets.stand_behind(s)).await;
    let call = world
        .flights()
        .bearer(&world.token())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    for n in 0..200 {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(call.bytes()).await;
        let response = connection.response().await.expect("an answer");
        assert_eq!(response.status, 101, "{n}: {response:?}");
        connection.send("ping").await;
        let mut echo = [0; 4];
        connection.read_exact(&mut echo).await;
        assert_eq!(&echo, b"ping", "{n}");
    }
}

#[tokio::test]
async fn only_websockets_are_upgraded() {
    let world = World::start().await;
    for (upgrade, more) in [
        ("h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
        ("h2c, websocket", ""),
        ("websocket, h2c", ""),
        ("TLS/1.0", ""),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection
            .send(format!(
                "GET /flights HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
                 Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n{more}\r\n",
                world.token(),
            ))
            .await;
        let response = connection.response().await.expect("an answer");
        assert_eq!(response.status, 200, "{upgrade}: {response:?}");
        connection.finish().await;
        connection.rest().await;
        for seen in world.upstream.requests() {
            for name in ["upgrade", "http2-settings", "connection"] {
                assert_eq!(seen.header(name), None, "{upgrade}: {:?}", seen.lines);
            }
            assert!(seen.body.is_empty(), "{upgrade}: {:?}", seen.body);
        }
    }
}

#[tokio::test]
async fn a_granted_caller_cannot_hide_a_request_behind_an_upgrade() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send(format!(
            "GET /flights HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
             GET /flights/hidden HTTP/1.1\r\nHost: a\r\nX-Application-Id: forged\r\n\r\n",
            world.token(),
        ))
        .await;
    // Whether the client is answered or cut is its own trouble.
    connection.response().await;
    connection.finish().await;
    connection.rest().await;
    let seen = world.upstream.requests();
    assert!(seen.len() < 2, "{seen:?}");
    assert!(seen.iter().all(|seen| seen.body.is_empty()), "{seen:?}");
}

#[tokio::test]
async fn trailers_over_http2_cannot_speak_for_us() {
    let world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/flights")
        .header("authorization", format!("Bearer {}", world.token()))
        .body(())
        .unwrap();
    let (answer, mut stream) = client.sender.send_request(request, false).unwrap();
    stream
        .send_data(Bytes::from_static(b"body"), false)
        .unwrap();
    let mut trailers = http::HeaderMap::new();
    for name in [
        "x-application-id",
        "authorization",
        "cookie",
        "x-credential-identifier",
    ] {
        trailers.insert(name, "forged".parse().unwrap());
    }
    stream.send_trailers(trailers).unwrap();
    let status = timeout(PATIENCE, answer).await.unwrap().unwrap().status();
    assert_eq!(status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.body, b"body");
    assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
}

// What a connection may cost.

#[tokio::test]
async fn http2_clients_are_told_bounds() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.gateway.proxy).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(head[2])];
    timeout(PATIENCE, stream.read_exact(&mut settings))
        .await
        .unwrap()
        .unwrap();
    let setting = |id: u8| {
        let found = settings.chunks(6).find(|s| s[1] == id).expect("a bound");
        u32::from_be_bytes([found[2], found[3], found[4], found[5]])
    };
    assert!(setting(3) <= 100, "streams: {}", setting(3));
    assert!(setting(6) <= 64 * 1024, "head: {}", setting(6));
}

#[tokio::test]
async fn abuse_of_http2_costs_little_memory() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    let before = world.gateway.memory();
    for _ in 0..20 {
        // Streams that are opened and reset.
        let client = H2c::open(world.gateway.proxy).await;
        for _ in 0..500 {
            let request = H2c::request("POST", "/flights").body(()).unwrap();
            let Ok(mut ready) = client.sender.clone().ready().await else {
                break;
            };
            let Ok((_, mut stream)) = ready.send_request(request, false) else {
                break;
            };
            stream.send_reset(h2::Reason::CANCEL);
            tokio::task::yield_now().await;
        }
        // A head that is small on the wire and large when it is unpacked.
        let mut client = H2c::open(world.gateway.proxy).await;
        let large = "x".repeat(3_000);
        let mut request = H2c::request("GET", "/flights");
        for _ in 0..3_000 {
            request = request.header("x-large", &large);
        }
        let refused = timeout(PATIENCE, client.send(request, &[]))
            .await
            .expect("an end");
        if let Ok(response) = refused {
            assert_eq!(response.status, 431);
        }
    }
    let grown = world.gateway.memory().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn a_log_line_is_short_whatever_a_client_sends() {
    let world = World::start().await;
    let long = "x".repeat(30_000);
    for call in [
        world.gateway.get(&format!("/{long}")),
        world.gateway.call(&long.to_uppercase(), "/"),
        world.flights().host(&long),
    ] {
        assert!(call.send().await.status >= 400);
    }
    eventually!(world.gateway.access_log().len() == 3, "the log is written");
    for line in world.gateway.log() {
        assert!(line.len() < 4_000, "{} bytes", line.len());
    }
}

#[tokio::test]
async fn an_endpoint_that_the_metadata_lacked_is_looked_for_again() {
    let idp = Idp::start().await;
    idp.turn(|k| {
        k.metadata
            .insert("introspection_endpoint".to_owned(), Value::Null)
    });
    let world = World::around(idp, |s| {
        introspecting(s);
        s.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "1s"});
    })
    .await;
    let token = world.idp.opaque(APP, |t| t);
    let call = || world.flights().bearer(&token);
    world
        .refuses(call(), 503, "identity_provider_unavailable")
        .await;
    world.idp.turn(|k| k.metadata.clear());
    // Any fetch will do; this one is asked for.
    let made_up = world.idp.token(APP).header("kid", "made-up").build();
    world
        .refuses(world.flights().bearer(&made_up), 401, "invalid_token")
        .await;
    world.passes(call()).await;
}

#[tokio::test]
async fn a_client_cannot_hide_what_its_proxy_says_of_it() {
    let world = World::with(|s| s.config["trusted_proxies"] = json!(["127.0.0.1/32"])).await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    let mut bytes = b"GET /open HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.66\r\n".to_vec();
    bytes.extend_from_slice(b"X-Forwarded-Proto: https\r\nX-Forwarded-For: \xff, 192.0.2.7\r\n");
    bytes.extend_from_slice(b"X-Forwarded-Proto: http\r\n\r\n");
    connection.send(bytes).await;
    connection.response().await.unwrap().assert_status(200);
    let seen = world.upstream.last();
    let told = seen.header("x-forwarded-for").unwrap();
    assert!(told.ends_with("192.0.2.7, 127.0.0.1"), "{told}");
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    eventually!(!world.gateway.access_log().is_empty(), "the log is written");
    assert_eq!(world.gateway.access_log()[0]["client"], "192.0.2.7");
}

#[tokio::test]
async fn a_slow_client_of_the_operators_address_is_cut() {
    let world = World::start().await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut connection = Connection::open(world.gateway.admin).await;
        connection
            .send("GET /metrics HTTP/1.1\r\nHost: a\r\nX: ")
            .await;
        slow.push(connection);
    }
    let mut first = slow.swap_remove(0);
    let end = timeout(Duration::from_secs(14), first.rest()).await;
    assert!(end.is_ok_and(|bytes| !bytes.starts_with(b"HTTP/1.1 200")));
    world.gateway.wait_until_ready().await;
}

#[test]
fn the_dependencies_are_those_that_are_mended() {
    let lock = include_str!("../../Cargo.lock");
    let versions = |name: &str| -> Vec<Vec<u64>> {
        let mut lines = lock.lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line == format!("name = \"{name}\"") {
                let version = lines.next().unwrap().split('"').nth(1).unwrap();
                let numbers = version.split(['.', '-', '+']);
                found.push(numbers.take(3).filter_map(|n| n.parse().ok()).collect());
            }
        }
        found
    };
    for (name, least) in [
        ("pingora-core", [0, 9, 1]),
        ("pingora-proxy", [0, 9, 1]),
        ("h2", [0, 4, 16]),
        ("jsonwebtoken", [10, 3, 0]),
        ("rustls-webpki", [0, 103, 0]),
    ] {
        let versions = versions(name);
        assert!(!versions.is_empty(), "{name}");
        for version in versions {
            assert!(version >= least.to_vec(), "{name} {version:?}");
        }
    }
    for name in ["rsa", "hickory-resolver", "openssl"] {
        assert!(versions(name).is_empty(), "{name} came back");
    }
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

fn push(list: &mut Value, entry: Value) {
    list.as_array_mut().unwrap().push(entry);
}
