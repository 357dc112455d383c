//! The session cookie: when it is set, what it is worth alone, how it ends.

use serde_json::json;

use crate::harness::{
    APP, SECRET, World, add, api, client::Response, eventually, gateway::Setup, http1::Answer,
    idp::Endpoint, now, session_key,
};

#[tokio::test]
async fn a_cookie_earned_by_either_method_authenticates_alone() {
    let world = World::start().await;
    for first in [
        world.flights().basic(APP, SECRET),
        world.flights().bearer(&world.token()),
    ] {
        let response = world.passes(first).await;
        let cookie = response.cookie().expect("a session cookie");
        let calls = world.idp.hits(Endpoint::Token);
        let response = world.passes(world.flights().cookie(&cookie)).await;
        assert_eq!(response.header("set-cookie"), None, "not due for renewal");
        let seen = world.upstream.last();
        assert_eq!(seen.header("x-auth-method"), Some("session"));
        assert_eq!(seen.header("x-credential-identifier"), Some(APP));
        assert_eq!(seen.header("x-authenticated-scope"), Some("read"));
        assert_eq!(
            seen.header("cookie"),
            None,
            "the upstream never sees the cookie"
        );
        assert_eq!(world.idp.hits(Endpoint::Token), calls);
    }
}

#[tokio::test]
async fn the_cookie_has_the_attributes_of_its_scheme() {
    let world = World::with(|s| s.config["trusted_proxies"] = json!(["127.0.0.1/32"])).await;
    let plain = world.passes(world.flights().bearer(&world.token())).await;
    let plain = attributes(&plain);
    assert!(plain[0].starts_with("dcr_session="), "{plain:?}");
    assert_eq!(
        sorted(&plain[1..]),
        ["HttpOnly", "Max-Age", "Path=/", "SameSite=Lax"]
    );
    let https = world
        .flights()
        .header("X-Forwarded-Proto", "https")
        .bearer(&world.token());
    let https = attributes(&world.passes(https).await);
    assert!(https[0].starts_with("__Host-dcr_session="), "{https:?}");
    assert_eq!(
        sorted(&https[1..]),
        ["HttpOnly", "Max-Age", "Path=/", "SameSite=Lax", "Secure"]
    );
    let (_, value) = https[0].split_once('=').unwrap();
    let legal = |c: char| c.is_ascii_graphic() && !"\",;\\".contains(c);
    assert!(value.len() < 1_100 && value.chars().all(legal), "{value}");
    // Each is good on its own scheme only.
    let on_plain = world.flights().cookie(&https[0]);
    world.refuses(on_plain, 401, "credentials_required").await;
    let on_https = world
        .flights()
        .header("X-Forwarded-Proto", "https")
        .cookie(&https[0]);
    world.passes(on_https).await;
    let on_https = world
        .flights()
        .header("X-Forwarded-Proto", "https")
        .cookie(&plain[0]);
    world.refuses(on_https, 401, "credentials_required").await;
    // Nor under the other's name, though it was opened before.
    world.passes(world.flights().cookie(&plain[0])).await;
    let renamed = world
        .flights()
        .header("X-Forwarded-Proto", "https")
        .cookie(&format!("__Host-{}", plain[0]));
    world.refuses(renamed, 401, "invalid_session").await;
}

#[tokio::test]
async fn a_terminator_that_cannot_tell_gets_secure_always() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["session"] =
            json!({"secure": "always", "cookie_name": "portal_dcr_session", "same_site": "strict"});
    })
    .await;
    let response = world.passes(world.flights().bearer(&world.token())).await;
    let cookie = attributes(&response);
    assert!(
        cookie[0].starts_with("__Host-portal_dcr_session="),
        "{cookie:?}"
    );
    assert!(
        cookie.contains(&"Secure".to_owned()) && cookie.contains(&"SameSite=Strict".to_owned())
    );
    world.passes(world.flights().cookie(&cookie[0])).await;
}

#[tokio::test]
async fn max_age_reaches_to_the_first_end() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["session"] =
            json!({"idle_timeout": "10m", "absolute_timeout": "2m"});
    })
    .await;
    let age = |response: &Response| -> i64 {
        let line = response.header("set-cookie").unwrap();
        let age = line
            .split("; ")
            .find_map(|a| a.strip_prefix("Max-Age="))
            .unwrap();
        age.parse().unwrap()
    };
    let response = world.passes(world.flights().bearer(&world.token())).await;
    assert!(
        (110..=120).contains(&age(&response)),
        "absolute: {response:?}"
    );
    let short = world.idp.token(APP).claim("exp", now() + 60).build();
    let response = world.passes(world.flights().bearer(&short)).await;
    assert!(
        (50..=60).contains(&age(&response)),
        "the token's own: {response:?}"
    );
}

#[tokio::test]
async fn no_cookie_is_set_on_answers_that_may_not_carry_one() {
    let world = World::start().await;
    for status in [304, 400, 404, 500] {
        world.upstream.answer(Answer::new(status, ""));
        let response = world.flights().bearer(&world.token()).send().await;
        response.assert_status(status);
        assert_eq!(response.header("set-cookie"), None, "{status}");
    }
    for status in [200, 204, 302] {
        world.upstream.answer(Answer::new(status, ""));
        let response = world.flights().bearer(&world.token()).send().await;
        response.assert_status(status);
        assert!(response.cookie().is_some(), "{status}");
    }
    world.upstream.echo();
    let cross = world
        .flights()
        .header("Sec-Fetch-Site", "cross-site")
        .bearer(&world.token());
    assert_eq!(world.passes(cross).await.header("set-cookie"), None);
    let open = world.gateway.get("/open").bearer(&world.token());
    assert_eq!(
        world.passes(open).await.header("set-cookie"),
        None,
        "public"
    );
}

#[tokio::test]
async fn a_strategy_without_session_sets_and_reads_none() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    world
        .gateway
        .reconfigure(|c| {
            c["auth_strategies"][0]["auth_methods"] = json!(["client_credentials", "bearer"]);
        })
        .await;
    let response = world.passes(world.flights().bearer(&world.token())).await;
    assert_eq!(response.header("set-cookie"), None);
    world
        .refuses(world.flights().cookie(&cookie), 401, "credentials_required")
        .await;
}

#[tokio::test]
async fn answers_of_a_session_are_private() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    for (upstream, with_token, with_cookie) in [
        (None, "private", "private"),
        (
            Some("public, max-age=60"),
            "max-age=60, private",
            "public, max-age=60",
        ),
        (
            Some("s-maxage=9, max-age=60"),
            "max-age=60, private",
            "s-maxage=9, max-age=60",
        ),
        (Some("no-store"), "no-store, private", "no-store"),
    ] {
        let mut answer = Answer::new(200, "x");
        if let Some(value) = upstream {
            answer = answer.header("Cache-Control", value);
        }
        world.upstream.answer(answer);
        let response = world.flights().bearer(&world.token()).send().await;
        let directives = |r: &Response| {
            sorted(
                &r.header("cache-control")
                    .unwrap_or_default()
                    .split(", ")
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        let expected =
            |text: &str| sorted(&text.split(", ").map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            directives(&response),
            expected(with_token),
            "{upstream:?} with a token"
        );
        let response = world.flights().cookie(&cookie).send().await;
        assert_eq!(
            directives(&response),
            expected(with_cookie),
            "{upstream:?} with a cookie"
        );
    }
}

#[tokio::test]
async fn an_upstream_cannot_set_our_cookie_but_may_set_others() {
    let world = World::start().await;
    world.upstream.answer(
        Answer::new(200, "x")
            .header("Set-Cookie", "dcr_session=evil; Path=/")
            .header("Set-Cookie", "__Host-dcr_session=evil; Path=/; Secure")
            .header("Set-Cookie", "theme=dark; Path=/")
            .header("Set-Cookie", "lang=en"),
    );
    let cookie = world
        .flights()
        .bearer(&world.token())
        .send()
        .await
        .cookie()
        .unwrap();
    let response = world.flights().cookie(&cookie).send().await;
    assert_eq!(
        response.headers("set-cookie"),
        ["theme=dark; Path=/", "lang=en"]
    );
}

#[tokio::test]
async fn other_cookies_pass_joined_into_one_line() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let call = world
        .flights()
        .cookie("a=1; b=2")
        .cookie(&format!("{cookie}; c=\"3\""))
        .cookie("d");
    world.passes(call).await;
    assert_eq!(
        world.upstream.last().headers("cookie"),
        ["a=1; b=2; c=\"3\"; d"]
    );
    let open = world
        .gateway
        .get("/open")
        .cookie(&format!("x=1; {cookie}; y=2"));
    world.passes(open).await;
    assert_eq!(world.upstream.last().headers("cookie"), ["x=1; y=2"]);
    let token = world
        .flights()
        .bearer(&world.token())
        .cookie(&format!("x=1; {cookie}"));
    world.passes(token).await;
    assert_eq!(world.upstream.last().headers("cookie"), ["x=1"]);
}

#[tokio::test]
async fn a_tampered_cookie_is_refused_and_cleared() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    // What was opened is remembered, and lends itself to no other.
    world.passes(world.flights().cookie(&cookie)).await;
    let (name, value) = cookie.split_once('=').unwrap();
    let spoilt = (0..value.len()).step_by(9).map(|at| {
        let other = if value.as_bytes()[at] == b'A' {
            'B'
        } else {
            'A'
        };
        format!("{}{other}{}", &value[..at], &value[at + 1..])
    });
    let cut = [
        String::new(),
        value[..value.len() / 2].to_owned(),
        format!("{value}A"),
        format!("{value}.{value}"),
    ];
    for value in spoilt.chain(cut) {
        let call = world.flights().cookie(&format!("{name}={value}"));
        let response = world
            .refuses_case(&value, call, 401, "invalid_session")
            .await;
        let set = response
            .header("set-cookie")
            .expect("the cookie is cleared");
        assert!(
            set.starts_with("dcr_session=;") && set.contains("Path=/"),
            "{set}"
        );
    }
    world.passes(world.flights().cookie(&cookie)).await;
}

#[tokio::test]
async fn two_cookies_of_our_name_are_refused() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    for line in [
        format!("{cookie}; {cookie}"),
        format!("{cookie}; dcr_session=x"),
    ] {
        world
            .refuses(world.flights().cookie(&line), 400, "invalid_request")
            .await;
    }
    let lines = world.flights().cookie("dcr_session=x").cookie(&cookie);
    world.refuses(lines, 400, "invalid_request").await;
}

#[tokio::test]
async fn a_bad_authorization_line_is_not_rescued_by_a_good_cookie() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let expired = world.idp.token(APP).claim("exp", 1).build();
    let call = world.flights().cookie(&cookie).bearer(&expired);
    world.refuses(call, 401, "invalid_token").await;
    let call = world.flights().cookie(&cookie).basic(APP, "wrong");
    world.refuses(call, 401, "invalid_client").await;
    let call = world.flights().cookie(&cookie).authorization("Digest x");
    world.refuses(call, 401, "credentials_required").await;
    let call = world
        .flights()
        .cookie("dcr_session=rubbish")
        .bearer(&world.token());
    world.passes(call).await;
}

#[tokio::test]
async fn a_valid_session_beside_a_token_is_not_replaced() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let both = world.flights().cookie(&cookie).bearer(&world.token());
    assert_eq!(world.passes(both).await.header("set-cookie"), None);
    world
        .gateway
        .register(|a| add(a, crate::harness::application("app-2")))
        .await;
    let other = world.idp.token("app-2").build();
    let both = world.flights().cookie(&cookie).bearer(&other);
    assert!(
        world.passes(both).await.cookie().is_some(),
        "a session of another client"
    );
}

#[tokio::test]
async fn each_success_makes_a_new_session() {
    let world = World::start().await;
    assert_ne!(world.cookie().await, world.cookie().await);
    let preset = world
        .flights()
        .cookie("dcr_session=chosen")
        .bearer(&world.token());
    let cookie = world.passes(preset).await.cookie().unwrap();
    assert_ne!(cookie, "dcr_session=chosen");
}

#[tokio::test]
async fn a_cookie_of_a_strategy_that_an_api_does_not_accept_counts_as_absent() {
    let world = World::start().await;
    let upstream = &world.upstream;
    world
        .gateway
        .reconfigure(|c| {
            let mut second = c["auth_strategies"][0].clone();
            second["name"] = json!("second");
            c["auth_strategies"].as_array_mut().unwrap().push(second);
            let mut trains = api("trains", upstream);
            trains["auth_strategies"] = json!(["second"]);
            c["apis"].as_array_mut().unwrap().push(trains);
        })
        .await;
    let cookie = world.cookie().await;
    let call = world.gateway.get("/trains").cookie(&cookie);
    let response = world.refuses(call, 401, "credentials_required").await;
    assert_eq!(response.header("set-cookie"), None, "it is good elsewhere");
}

#[tokio::test]
async fn a_session_ends_when_idle_and_lives_on_when_used() {
    let world = World::with(short("1200ms", "1h")).await;
    let first = world.cookie().await;
    let mut used = first.clone();
    let mut renewed = 0;
    for _ in 0..8 {
        crate::harness::pass(std::time::Duration::from_millis(350)).await;
        let response = world.passes(world.flights().cookie(&used)).await;
        if let Some(cookie) = response.cookie() {
            used = cookie;
            renewed += 1;
        }
    }
    assert!(renewed >= 2, "renewed when a quarter has gone: {renewed}");
    world
        .refuses(world.flights().cookie(&first), 401, "invalid_session")
        .await;
    eventually!(
        {
            crate::harness::pass(std::time::Duration::from_millis(1_300)).await;
            world.flights().cookie(&used).send().await.code() == "invalid_session"
        },
        "the session ends when idle"
    );
}

#[tokio::test]
async fn a_session_ends_absolutely_however_it_is_used() {
    let world = World::with(short("1h", "1500ms")).await;
    let mut cookie = world.cookie().await;
    eventually!(
        {
            let response = world.flights().cookie(&cookie).send().await;
            cookie = response
                .cookie()
                .filter(|_| response.status == 200)
                .unwrap_or(cookie);
            response.code() == "invalid_session"
        },
        "the session ends"
    );
}

#[tokio::test]
async fn a_session_does_not_outlive_its_token() {
    let world = World::start().await;
    let token = world.idp.token(APP).claim("exp", now() + 4).build();
    let cookie = world
        .passes(world.flights().bearer(&token))
        .await
        .cookie()
        .unwrap();
    world.passes(world.flights().cookie(&cookie)).await;
    eventually!(
        world.flights().cookie(&cookie).send().await.code() == "invalid_session",
        "the session ends with its token"
    );
}

#[tokio::test]
async fn logout_clears_the_cookie_and_ends_the_session() {
    let world = World::start().await;
    let (one, other) = (world.cookie().await, world.cookie().await);
    let response = world
        .gateway
        .post("/-/logout")
        .cookie(&one)
        .body("")
        .send()
        .await;
    response.assert_status(204);
    let set = response
        .header("set-cookie")
        .expect("the cookie is cleared");
    assert!(
        set.starts_with("dcr_session=;") && set.contains("Max-Age=0"),
        "{set}"
    );
    world
        .refuses(world.flights().cookie(&one), 401, "invalid_session")
        .await;
    world.passes(world.flights().cookie(&other)).await;
    let rubbish = world
        .gateway
        .post("/-/logout")
        .cookie("dcr_session=rubbish")
        .body("");
    rubbish.send().await.assert_status(204);
}

#[tokio::test]
async fn the_key_ring_turns_without_ending_sessions() {
    let world = World::with(|s| {
        s.files.push(("secrets/next".to_owned(), session_key(9)));
    })
    .await;
    let old = world.cookie().await;
    let keys = |list: serde_json::Value| move |c: &mut serde_json::Value| c["session_keys"] = list;
    let (first, next) = (
        json!({"file": "secrets/session"}),
        json!({"file": "secrets/next"}),
    );
    world.gateway.reconfigure(keys(json!([next, first]))).await;
    world.passes(world.flights().cookie(&old)).await;
    let new = world.cookie().await;
    world.gateway.reconfigure(keys(json!([next]))).await;
    world
        .refuses(world.flights().cookie(&old), 401, "invalid_session")
        .await;
    world.passes(world.flights().cookie(&new)).await;
    world.gateway.reconfigure(keys(json!([first]))).await;
    world
        .refuses(world.flights().cookie(&new), 401, "invalid_session")
        .await;
    world.passes(world.flights().cookie(&old)).await;
}

#[tokio::test]
async fn a_cookie_is_bound_to_what_its_strategy_was() {
    for (case, key, value) in [
        ("claim", "credential_claim", json!(["sub"])),
        (
            "audience",
            "audience",
            json!(["https://api.test", "https://more.test"]),
        ),
    ] {
        let world = World::start().await;
        let cookie = world.cookie().await;
        world
            .gateway
            .reconfigure(|c| c["auth_strategies"][0][key] = value.clone())
            .await;
        let call = world.flights().cookie(&cookie);
        world.refuses_case(case, call, 401, "invalid_session").await;
    }
}

#[tokio::test]
async fn unsafe_requests_from_other_sites_are_refused() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    for (case, method, lines, good) in [
        ("no page at all", "POST", &[][..], true),
        (
            "same origin",
            "POST",
            &[("Sec-Fetch-Site", "same-origin")],
            true,
        ),
        ("typed in", "POST", &[("Sec-Fetch-Site", "none")], true),
        (
            "same site",
            "POST",
            &[("Sec-Fetch-Site", "same-site")],
            false,
        ),
        (
            "cross site",
            "POST",
            &[("Sec-Fetch-Site", "cross-site")],
            false,
        ),
        (
            "cross site, good origin",
            "POST",
            &[
                ("Sec-Fetch-Site", "cross-site"),
                ("Origin", "http://api.test"),
            ],
            false,
        ),
        ("own origin", "POST", &[("Origin", "http://api.test")], true),
        (
            "own origin over https",
            "POST",
            &[("Origin", "https://api.test")],
            true,
        ),
        (
            "other port",
            "POST",
            &[("Origin", "http://api.test:8080")],
            false,
        ),
        (
            "other host",
            "POST",
            &[("Origin", "http://evil.test")],
            false,
        ),
        (
            "longer host",
            "POST",
            &[("Origin", "http://api.test.evil.test")],
            false,
        ),
        ("null", "POST", &[("Origin", "null")], false),
        ("empty", "POST", &[("Origin", "")], false),
        ("PUT", "PUT", &[("Sec-Fetch-Site", "cross-site")], false),
        (
            "DELETE",
            "DELETE",
            &[("Sec-Fetch-Site", "cross-site")],
            false,
        ),
        ("PATCH", "PATCH", &[("Origin", "http://evil.test")], false),
        ("GET", "GET", &[("Sec-Fetch-Site", "cross-site")], true),
        ("HEAD", "HEAD", &[("Sec-Fetch-Site", "cross-site")], true),
        (
            "OPTIONS",
            "OPTIONS",
            &[("Origin", "http://evil.test")],
            true,
        ),
    ] {
        let mut call = world.gateway.call(method, "/flights").cookie(&cookie);
        for (name, value) in lines {
            call = call.header(name, value);
        }
        if good {
            let response = call.send().await;
            assert_eq!(response.status, 200, "{case}: {response:?}");
        } else {
            world
                .refuses_case(case, call, 403, "cross_site_request")
                .await;
        }
    }
    let token = world
        .gateway
        .post("/flights")
        .header("Sec-Fetch-Site", "cross-site");
    world.passes(token.bearer(&world.token()).body("")).await;
    let upgrade = world
        .flights()
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Origin", "http://evil.test")
        .cookie(&cookie);
    world.refuses(upgrade, 403, "cross_site_request").await;
    let logout = world
        .gateway
        .post("/-/logout")
        .header("Sec-Fetch-Site", "cross-site");
    logout
        .cookie(&cookie)
        .body("")
        .send()
        .await
        .assert_problem(403, "cross_site_request");
    world.passes(world.flights().cookie(&cookie)).await;
}

#[tokio::test]
async fn claims_that_headers_need_live_in_the_session() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["claim_headers"] = json!({"X-Tenant": ["tenant"]});
    })
    .await;
    let token = world.idp.token(APP).claim("tenant", "blue").build();
    let cookie = world
        .passes(world.flights().bearer(&token))
        .await
        .cookie()
        .unwrap();
    world.passes(world.flights().cookie(&cookie)).await;
    assert_eq!(world.upstream.last().header("x-tenant"), Some("blue"));
    let large = world
        .idp
        .token(APP)
        .claim("tenant", "x".repeat(2_000))
        .build();
    let response = world.passes(world.flights().bearer(&large)).await;
    assert_eq!(
        response.header("set-cookie"),
        None,
        "too large for a cookie"
    );
    assert!(
        world
            .gateway
            .metric("dcr_session_too_large_total", &[])
            .await
            > 0.5
    );
}

/// Sessions with these ends.
fn short(idle: &str, absolute: &str) -> impl FnOnce(&mut Setup) {
    let session = json!({"idle_timeout": idle, "absolute_timeout": absolute});
    move |s| s.config["auth_strategies"][0]["session"] = session
}

/// The parts of the one Set-Cookie line.
fn attributes(response: &Response) -> Vec<String> {
    let line = response.header("set-cookie").expect("a cookie is set");
    line.split("; ").map(str::to_owned).collect()
}

/// Attributes in order, the value of Max-Age left out.
fn sorted(attributes: &[String]) -> Vec<String> {
    let plain = |a: &String| {
        if a.starts_with("Max-Age=") {
            "Max-Age".to_owned()
        } else {
            a.clone()
        }
    };
    let mut sorted: Vec<String> = attributes.iter().map(plain).collect();
    sorted.sort();
    sorted
}
