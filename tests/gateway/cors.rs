//! Which pages may read what, and act with the session cookie (Fetch standard, "HTTP CORS
//! protocol").

use serde_json::{Value, json};

use crate::harness::{
    APP, SECRET, World, api,
    client::{Call, Connection, Response},
    gateway::Setup,
    h2c::H2c,
    http1::Answer,
    sockets::Sockets,
};

const APP_ORIGIN: &str = "https://app.example.com";
const FOREIGN: &str = "https://evil.example";

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const EXPOSE: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_is_answered_without_a_credential() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    let call = preflight(&world, "/flights/7?q=1", "PUT")
        .header("Origin", APP_ORIGIN)
        .header("Access-Control-Request-Headers", "authorization,  x-own")
        .header("Access-Control-Request-Headers", "content-type");
    let response = call.send().await;
    response.assert_status(204);
    for (name, value) in [
        (ALLOW_ORIGIN, Some(APP_ORIGIN)),
        (ALLOW_CREDENTIALS, Some("true")),
        (
            ALLOW_METHODS,
            Some("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ),
        (ALLOW_HEADERS, Some("authorization, x-own, content-type")),
        (MAX_AGE, Some("600")),
        (
            "vary",
            Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ),
        (EXPOSE, None),
        ("set-cookie", None),
        ("content-length", None),
    ] {
        assert_eq!(response.header(name), value, "{name}: {response:?}");
    }
    assert!(response.header("x-request-id").is_some());
    assert_eq!(world.upstream.hits(), 0);
    let line = world.gateway.line_of(&response).await;
    assert_eq!(
        (&line["status"], &line["code"], &line["reason"]),
        (&json!(204), &json!("permit"), &json!("preflight"))
    );
    assert_eq!(line["api"], "flights");
}

#[tokio::test]
async fn a_preflight_tells_what_is_configured() {
    let world = World::with(cors(json!({
        "origins": ["https://other.example", APP_ORIGIN],
        "methods": ["GET", "PATCH"],
        "headers": ["X-Own", "Content-Type"],
        "exposed_headers": ["X-Total-Count"],
        "max_age": "1h",
    })))
    .await;
    let call = preflight(&world, "/flights", "DELETE")
        .header("Origin", APP_ORIGIN)
        .header("Access-Control-Request-Headers", "x-not-listed");
    let response = call.send().await;
    response.assert_status(204);
    for (name, value) in [
        (ALLOW_ORIGIN, Some(APP_ORIGIN)),
        (ALLOW_CREDENTIALS, None),
        (ALLOW_METHODS, Some("GET, PATCH")),
        (ALLOW_HEADERS, Some("x-own, content-type")),
        (MAX_AGE, Some("3600")),
    ] {
        assert_eq!(response.header(name), value, "{name}: {response:?}");
    }
    let call = world.flights().bearer(&world.token());
    let response = world.passes(call.header("Origin", APP_ORIGIN)).await;
    assert_eq!(
        response.header(EXPOSE),
        Some("X-Request-Id, WWW-Authenticate, Retry-After, x-total-count")
    );
}

#[tokio::test]
async fn a_preflight_is_routed_by_the_method_that_it_asks_for() {
    let world = World::with(|s| {
        let upstream = s.config["apis"][0]["upstream"].clone();
        s.config["apis"][0]["routes"] = json!([{"paths": ["/flights"], "methods": ["GET", "PUT"]}]);
        s.config["apis"][0]["cors"] = json!({"origins": [APP_ORIGIN]});
        let mut writes = s.config["apis"][0].clone();
        writes["name"] = json!("writes");
        writes["routes"] =
            json!([{"paths": ["/flights"], "methods": ["POST", "OPTIONS", "PURGE"]}]);
        writes["upstream"] = upstream;
        writes.as_object_mut().unwrap().remove("cors");
        s.config["apis"].as_array_mut().unwrap().push(writes);
    })
    .await;
    let ask = |method: &str| preflight(&world, "/flights", method).header("Origin", APP_ORIGIN);
    let response = ask("PUT").send().await;
    response.assert_status(204);
    // Of this API alone, not of the one that shares its path.
    assert_eq!(response.header(ALLOW_METHODS), Some("GET, HEAD, PUT"));
    world
        .refuses(ask("POST"), 401, "credentials_required")
        .await;
    for method in ["DELETE", "TRACE", "CONNECT", "put"] {
        let response = world
            .refuses_case(method, ask(method), 405, "method_not_allowed")
            .await;
        assert!(response.header("allow").is_some(), "{response:?}");
    }
    let nowhere = preflight(&world, "/nowhere", "GET").header("Origin", APP_ORIGIN);
    world.refuses(nowhere, 404, "no_route").await;
    let ambiguous = preflight(&world, "/flights/%2e%2e/x", "GET").header("Origin", APP_ORIGIN);
    world.refuses(ambiguous, 400, "ambiguous_path").await;
    // A method of no list still is told of where the API takes all.
    world
        .gateway
        .reconfigure(|c| {
            c["apis"].as_array_mut().unwrap().pop();
            c["apis"][0]["routes"] = json!([{"paths": ["/flights"]}]);
        })
        .await;
    let response = ask("PURGE").send().await;
    response.assert_status(204);
    let methods = response.header(ALLOW_METHODS).unwrap();
    assert!(methods.ends_with(", PUT, PURGE"), "{methods}");
}

#[tokio::test]
async fn a_preflight_that_nobody_allows_is_judged_like_every_request() {
    let none = World::start().await;
    let some = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    for (world, origin) in [
        (&none, APP_ORIGIN),
        (&some, FOREIGN),
        (&some, "null"),
        (&some, "https://app.example.com."),
        (&some, "https://APP.example.com"),
        (&some, "https://app.example.com:443"),
        (&some, "http://app.example.com"),
        (&some, "https://app.example.com.evil.example"),
        (&some, ""),
    ] {
        let call = preflight(world, "/flights", "GET").header("Origin", origin);
        let response = world
            .refuses_case(origin, call, 401, "credentials_required")
            .await;
        assert_no_cors(&response);
    }
    // Two are none that could be allowed.
    let two = preflight(&some, "/flights", "GET")
        .header("Origin", APP_ORIGIN)
        .header("Origin", APP_ORIGIN);
    some.refuses(two, 401, "credentials_required").await;
    // No browser sends a credential, but whoever does has it judged.
    let call = preflight(&none, "/flights", "GET").header("Origin", APP_ORIGIN);
    none.passes(call.clone().bearer(&none.token())).await;
    assert_eq!(none.upstream.last().method, "OPTIONS");
    none.refuses(call.clone().bearer("x"), 401, "invalid_token")
        .await;
    none.gateway
        .reconfigure(|c| c["apis"][0]["routes"][0]["methods"] = json!(["GET"]))
        .await;
    let response = none
        .refuses(call.bearer(&none.token()), 405, "method_not_allowed")
        .await;
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn plain_options_is_an_ordinary_request() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN]}))).await;
    let options = || world.gateway.call("OPTIONS", "/flights");
    for (case, call) in [
        ("bare", options()),
        ("origin alone", options().header("Origin", APP_ORIGIN)),
        (
            "method alone",
            options().header("Access-Control-Request-Method", "GET"),
        ),
        (
            "no method",
            options()
                .header("Origin", APP_ORIGIN)
                .header("Access-Control-Request-Method", "G T"),
        ),
        (
            "two methods",
            options()
                .header("Origin", APP_ORIGIN)
                .header("Access-Control-Request-Method", "GET")
                .header("Access-Control-Request-Method", "PUT"),
        ),
    ] {
        world
            .refuses_case(case, call.clone(), 401, "credentials_required")
            .await;
        world.passes(call.bearer(&world.token())).await;
    }
    let get = world
        .flights()
        .header("Origin", APP_ORIGIN)
        .header("Access-Control-Request-Method", "GET");
    world.refuses(get, 401, "credentials_required").await;
}

#[tokio::test]
async fn a_preflight_neither_reads_nor_sets_a_cookie() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    let cookie = world.cookie().await;
    let before = world.upstream.hits();
    for call in [
        preflight(&world, "/flights", "POST").cookie(&cookie),
        preflight(&world, "/flights", "POST").cookie("dcr_session=rubbish"),
        preflight(&world, "/flights", "POST").bearer("rubbish"),
        preflight(&world, "/flights", "POST").bearer(&world.token()),
    ] {
        let response = call.header("Origin", APP_ORIGIN).send().await;
        response.assert_status(204);
        assert_eq!(response.header("set-cookie"), None);
    }
    assert_eq!(world.upstream.hits(), before);
}

#[tokio::test]
async fn what_a_preflight_asks_for_is_told_only_if_it_is_a_list_of_names() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN]}))).await;
    for (asked, told) in [
        ("x-a", Some("x-a")),
        ("x-a,x-b", Some("x-a, x-b")),
        ("x a", None),
        ("x-a, \u{e9}", None),
        ("x-a: b", None),
        ("", None),
        (",", None),
    ] {
        let response = preflight(&world, "/flights", "GET")
            .header("Origin", APP_ORIGIN)
            .header("Access-Control-Request-Headers", asked)
            .send()
            .await;
        response.assert_status(204);
        assert_eq!(response.header(ALLOW_HEADERS), told, "{asked:?}");
    }
}

#[tokio::test]
async fn the_limits_hold_for_preflights_and_their_connection_stays() {
    let world = World::with(|s| {
        s.config["apis"][0]["cors"] = json!({"origins": [APP_ORIGIN]});
        s.config["limits"] = json!({"body_size": "1KiB"});
    })
    .await;
    let call = || preflight(&world, "/flights", "GET").header("Origin", APP_ORIGIN);
    let large = call().body(vec![b'x'; 2_000]);
    world.refuses(large, 413, "body_too_large").await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    for body in ["", "abc", ""] {
        let response = call().body(body).send_on(&mut connection).await;
        response.expect("the connection stays").assert_status(204);
    }
}

#[tokio::test]
async fn preflights_over_http2_are_answered_too() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("OPTIONS", "/flights")
        .header("origin", APP_ORIGIN)
        .header("access-control-request-method", "POST");
    let response = client.send(request, &[]).await.unwrap();
    assert_eq!(response.status, 204);
    assert_eq!(response.headers[ALLOW_ORIGIN], APP_ORIGIN);
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_the_answer() {
    for (credentials, allowed) in [(true, Some("true")), (false, None)] {
        let world = World::with(cors(
            json!({"origins": [APP_ORIGIN], "credentials": credentials}),
        ))
        .await;
        world.upstream.answer(
            Answer::new(200, "ok")
                .header("Access-Control-Allow-Origin", "*")
                .header("Access-Control-Allow-Origin", "https://upstream.example")
                .header("Access-Control-Allow-Credentials", "yes")
                .header("Access-Control-Expose-Headers", "X-Upstream-Secret")
                .header("Access-Control-Max-Age", "1")
                .header("Vary", "Accept-Encoding"),
        );
        let call = world.flights().bearer(&world.token());
        let response = world
            .passes(call.clone().header("Origin", APP_ORIGIN))
            .await;
        for (name, values) in [
            (ALLOW_ORIGIN, &[APP_ORIGIN][..]),
            (ALLOW_CREDENTIALS, allowed.as_slice()),
            (EXPOSE, &["X-Request-Id, WWW-Authenticate, Retry-After"]),
            (MAX_AGE, &[]),
            ("vary", &["Accept-Encoding", "Origin"]),
        ] {
            assert_eq!(response.headers(name), values, "{name}: {response:?}");
        }
        for call in [
            call.clone().header("Origin", FOREIGN),
            call.clone().header("Origin", "null"),
            call.clone(),
        ] {
            let response = world.passes(call).await;
            assert_no_cors(&response);
            assert_eq!(response.headers("vary"), ["Accept-Encoding", "Origin"]);
        }
        for (vary, expected) in [
            ("*", &["*"][..]),
            ("accept, ORIGIN", &["accept, ORIGIN"]),
            ("X-Origin", &["X-Origin", "Origin"]),
        ] {
            world
                .upstream
                .answer(Answer::new(200, "ok").header("Vary", vary));
            let response = world.passes(call.clone()).await;
            assert_eq!(response.headers("vary"), expected);
        }
    }
}

#[tokio::test]
async fn where_cors_is_not_set_the_upstreams_own_stands() {
    let world = World::start().await;
    let answer = Answer::new(200, "ok").header("Access-Control-Allow-Origin", FOREIGN);
    world.upstream.answer(answer);
    let call = world.flights().bearer(&world.token());
    let response = world.passes(call.header("Origin", FOREIGN)).await;
    assert_eq!(response.header(ALLOW_ORIGIN), Some(FOREIGN));
    assert_eq!(response.header("vary"), None);
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    let world = World::with(|s| {
        cors(json!({"origins": [APP_ORIGIN], "credentials": true}))(s);
        s.config["limits"] = json!({"body_size": "1KiB"});
        let strategy = &mut s.config["auth_strategies"][0];
        strategy["client_credentials"] =
            json!({"guesses_per_address": 1, "wrong_secret_time": "1s"});
    })
    .await;
    world
        .gateway
        .register(|a| {
            let mut other = crate::harness::application("app-2");
            other["registrations"] = json!({});
            crate::harness::add(a, other);
        })
        .await;
    let from = |call: Call| call.header("Origin", APP_ORIGIN);
    let unknown = world.idp.token("app-2").build();
    let wrong = world.flights().basic(APP, "wrong");
    for (call, status, code) in [
        (world.flights(), 401, "credentials_required"),
        (world.flights().bearer("x"), 401, "invalid_token"),
        (
            world.flights().cookie("dcr_session=x"),
            401,
            "invalid_session",
        ),
        (
            world.flights().bearer(&unknown),
            403,
            "registration_required",
        ),
        (wrong.clone(), 401, "invalid_client"),
        (
            world.flights().basic(APP, "wrong too"),
            429,
            "too_many_attempts",
        ),
        (
            world
                .gateway
                .post("/flights")
                .bearer(&world.token())
                .body(vec![b'x'; 2_000]),
            413,
            "body_too_large",
        ),
    ] {
        let response = world
            .refuses_case(code, from(call.clone()), status, code)
            .await;
        assert_eq!(response.header(ALLOW_ORIGIN), Some(APP_ORIGIN), "{code}");
        assert_eq!(response.header(ALLOW_CREDENTIALS), Some("true"), "{code}");
        assert!(response.header(EXPOSE).is_some(), "{code}");
        assert_eq!(response.header("vary"), Some("Origin"), "{code}");
        let foreign = call.header("Origin", FOREIGN).send().await;
        assert_no_cors(&foreign);
        assert_eq!(foreign.header("vary"), Some("Origin"), "{code}");
    }
    world
        .upstream
        .answer(Answer::new(200, "").manner(crate::harness::http1::Manner::HangUp));
    let response = from(world.flights().bearer(&world.token())).send().await;
    response.assert_problem(502, "upstream_failed");
    assert_eq!(response.header(ALLOW_ORIGIN), Some(APP_ORIGIN));
}

#[tokio::test]
async fn any_origin_may_read_where_all_may_but_never_with_credentials() {
    for origins in [json!("*"), json!(["*"])] {
        let world = World::with(cors(json!({"origins": origins}))).await;
        for origin in [FOREIGN, "null"] {
            let call = preflight(&world, "/flights", "GET").header("Origin", origin);
            let response = call.send().await;
            response.assert_status(204);
            assert_eq!(response.header(ALLOW_ORIGIN), Some("*"));
            assert_eq!(response.header(ALLOW_CREDENTIALS), None);
        }
        let call = world.flights().bearer(&world.token());
        for call in [call.clone(), call.header("Origin", FOREIGN)] {
            let response = world.passes(call).await;
            assert_eq!(response.header(ALLOW_ORIGIN), Some("*"));
            assert_eq!(response.header(ALLOW_CREDENTIALS), None);
            assert_eq!(response.header("vary"), None, "one answer for all");
        }
        let cookie = world.cookie().await;
        for origin in [FOREIGN, "null"] {
            let post = world.gateway.post("/flights").header("Origin", origin);
            let response = world
                .refuses(post.cookie(&cookie), 403, "cross_site_request")
                .await;
            assert_eq!(response.header(ALLOW_ORIGIN), Some("*"));
            let logout = world.gateway.post("/-/logout").header("Origin", origin);
            let logout = logout.cookie(&cookie).body("");
            world.refuses(logout, 403, "cross_site_request").await;
        }
    }
}

#[tokio::test]
async fn preflights_pass_to_upstreams_that_do_their_own_cors() {
    let world = World::with(|s| {
        s.config["apis"][0]["preflight"] = json!("pass");
        // A preflight needs no OPTIONS in the list: it is for the request that it announces.
        s.config["apis"][0]["routes"] = json!([{"paths": ["/flights"], "methods": ["GET"]}]);
    })
    .await;
    let answer = Answer::new(204, "").header("Access-Control-Allow-Origin", FOREIGN);
    world.upstream.answer(answer);
    let call = preflight(&world, "/flights/7?q=1", "GET")
        .header("Origin", FOREIGN)
        .header("Access-Control-Request-Headers", "x-own")
        .header("X-Application-Id", "forged")
        .header("X_Developer_Id", "forged")
        .header("X-HTTP-Method-Override", "POST")
        .header("X-Method-Override", "POST")
        .header("X_HTTP_Method", "POST");
    let before = world.upstream.hits();
    let response = call.send().await;
    response.assert_status(204);
    assert_eq!(response.header(ALLOW_ORIGIN), Some(FOREIGN));
    assert_eq!(response.header("set-cookie"), None);
    assert_eq!(world.upstream.hits(), before + 1);
    let seen = world.upstream.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("OPTIONS", "/flights/7?q=1")
    );
    for (name, value) in [
        ("origin", Some(FOREIGN)),
        ("access-control-request-method", Some("GET")),
        ("access-control-request-headers", Some("x-own")),
        ("x-http-method-override", None),
        ("x-method-override", None),
        ("x_http_method", None),
        ("x-application-id", None),
        ("x-credential-identifier", None),
        ("x-auth-method", None),
        ("x_developer_id", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    // Whatever is no genuine preflight still needs a credential, and its method a route.
    let ask = |method: &str| preflight(&world, "/flights", method).header("Origin", FOREIGN);
    world.refuses(ask("POST"), 405, "method_not_allowed").await;
    let options = || world.gateway.call("OPTIONS", "/flights");
    for call in [
        options(),
        options().header("Origin", FOREIGN),
        options().header("Access-Control-Request-Method", "GET"),
    ] {
        world.refuses(call, 405, "method_not_allowed").await;
    }
    let post = world
        .flights()
        .header("Origin", FOREIGN)
        .header("Access-Control-Request-Method", "GET");
    world.refuses(post, 401, "credentials_required").await;
}

#[tokio::test]
async fn what_no_browser_would_send_as_a_preflight_is_not_passed() {
    let sockets = Sockets::start().await;
    let world = World::with(|s| {
        sockets.stand_behind(s);
        let apis = s.config["apis"].as_array_mut().unwrap();
        for api in apis.iter_mut().filter(|api| api["access"] != "public") {
            api["preflight"] = json!("pass");
        }
    })
    .await;
    let ask = |path: &str| preflight(&world, path, "GET").header("Origin", FOREIGN);
    let upgrade = |call: Call| {
        call.header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
    };
    world.passes(ask("/plain")).await;
    let before = world.upstream.hits();
    for (case, call) in [
        ("upgrade", upgrade(ask("/flights"))),
        ("upgrade alone", ask("/flights").header("Upgrade", "x")),
        ("body", ask("/plain").body("x")),
        (
            "chunks",
            ask("/plain").header("Transfer-Encoding", "chunked"),
        ),
        ("cookie", ask("/plain").cookie("a=1")),
    ] {
        world
            .refuses_case(case, call, 401, "credentials_required")
            .await;
    }
    world
        .refuses(ask("/plain").bearer("x"), 401, "invalid_token")
        .await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = || {
        H2c::request("OPTIONS", "/plain")
            .header("origin", FOREIGN)
            .header("access-control-request-method", "GET")
    };
    let response = client.send(request(), &[b"x"]).await.unwrap();
    assert_eq!(response.status, 401);
    assert_eq!((world.upstream.hits(), sockets.opened()), (before, 0));
    let response = client.send(request(), &[]).await.unwrap();
    assert_eq!(response.status, 200);
    // Who may call may do all of that.
    let call = upgrade(ask("/flights")).bearer(&world.token());
    call.send().await.assert_status(101);
    let call = ask("/plain").bearer(&world.token()).body("x");
    world.passes(call).await;
    assert_eq!(world.upstream.last().body, b"x");
    // An upstream that grants what was not asked for makes no tunnel either.
    world.refuses(ask("/flights"), 502, "upstream_failed").await;
}

#[tokio::test]
async fn public_apis_answer_preflights_where_cors_is_set_and_else_pass_them() {
    let world = World::start().await;
    let call = |origin: &str| preflight(&world, "/open", "GET").header("Origin", origin);
    world.passes(call(FOREIGN)).await;
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["cors"] = json!({"origins": [APP_ORIGIN]}))
        .await;
    let before = world.upstream.hits();
    let response = call(APP_ORIGIN).send().await;
    response.assert_status(204);
    assert_eq!(response.header(ALLOW_ORIGIN), Some(APP_ORIGIN));
    assert_eq!(world.upstream.hits(), before);
    let response = world
        .refuses(call(FOREIGN), 403, "cross_site_request")
        .await;
    assert_no_cors(&response);
    // Foreign pages may call, and not read.
    let get = world.gateway.get("/open").header("Origin", FOREIGN);
    assert_no_cors(&world.passes(get).await);
    let get = world.gateway.get("/open").header("Origin", APP_ORIGIN);
    let response = world.passes(get).await;
    assert_eq!(response.header(ALLOW_ORIGIN), Some(APP_ORIGIN));
}

#[tokio::test]
async fn an_origin_trusted_with_credentials_acts_with_the_session_cookie() {
    let trusting = json!({"origins": [APP_ORIGIN], "credentials": true});
    let reading = json!({"origins": [APP_ORIGIN]});
    for (policy, origin, good) in [
        (&trusting, APP_ORIGIN, true),
        (&trusting, FOREIGN, false),
        (&trusting, "null", false),
        (&reading, APP_ORIGIN, false),
    ] {
        let case = format!("{policy} {origin}");
        let world = World::with(cors(policy.clone())).await;
        let cookie = world.cookie().await;
        for site in ["same-site", "cross-site", ""] {
            let from = |call: Call| {
                let call = call.header("Origin", origin).cookie(&cookie);
                match site {
                    "" => call,
                    site => call.header("Sec-Fetch-Site", site),
                }
            };
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                let call = from(world.gateway.call(method, "/flights"));
                if good {
                    world.passes(call).await;
                } else {
                    world
                        .refuses_case(&case, call, 403, "cross_site_request")
                        .await;
                }
            }
            let upgrade = from(world.flights())
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket");
            let refused = upgrade.send().await.code() == "cross_site_request";
            assert_eq!(refused, !good, "{case}: upgrade");
        }
        // Whether a cookie is set for such a page follows the same rule.
        let earn = world
            .flights()
            .bearer(&world.token())
            .header("Origin", origin)
            .header("Sec-Fetch-Site", "cross-site");
        let response = world.passes(earn).await;
        assert_eq!(response.cookie().is_some(), good, "{case}");
    }
}

#[tokio::test]
async fn an_origin_that_another_api_trusts_is_not_trusted_here() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    let upstream = &world.upstream;
    world
        .gateway
        .reconfigure(|c| {
            let trains = api("trains", upstream);
            c["apis"].as_array_mut().unwrap().push(trains);
        })
        .await;
    world
        .gateway
        .register(|a| a["applications"][0]["registrations"]["trains"] = json!("approved"))
        .await;
    let cookie = world.cookie().await;
    let post = |path: &str| {
        let call = world.gateway.post(path).header("Origin", APP_ORIGIN);
        call.cookie(&cookie).body("")
    };
    world.passes(post("/flights")).await;
    let response = world
        .refuses(post("/trains"), 403, "cross_site_request")
        .await;
    assert_no_cors(&response);
}

#[tokio::test]
async fn a_page_of_a_trusted_origin_logs_out_and_reads_the_answer() {
    let world = World::with(cors(json!({"origins": [APP_ORIGIN], "credentials": true}))).await;
    let logout = |origin: &str| {
        let call = world.gateway.post("/-/logout").header("Origin", origin);
        call.header("Sec-Fetch-Site", "same-site").body("")
    };
    let cookie = world.cookie().await;
    for origin in [FOREIGN, "null"] {
        let response = world
            .refuses(logout(origin).cookie(&cookie), 403, "cross_site_request")
            .await;
        assert_no_cors(&response);
        assert_eq!(response.header("set-cookie"), None);
    }
    world.passes(world.flights().cookie(&cookie)).await;

    let ask = |origin: &str| preflight(&world, "/-/logout", "POST").header("Origin", origin);
    let response = ask(APP_ORIGIN)
        .header("Access-Control-Request-Headers", "content-type")
        .send()
        .await;
    response.assert_status(204);
    for (name, value) in [
        (ALLOW_ORIGIN, Some(APP_ORIGIN)),
        (ALLOW_CREDENTIALS, Some("true")),
        (ALLOW_METHODS, Some("POST")),
        (ALLOW_HEADERS, Some("content-type")),
        ("set-cookie", None),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    world.refuses(ask(FOREIGN), 403, "cross_site_request").await;
    world.passes(world.flights().cookie(&cookie)).await;

    let response = logout(APP_ORIGIN).cookie(&cookie).send().await;
    response.assert_status(204);
    assert_eq!(response.header(ALLOW_ORIGIN), Some(APP_ORIGIN));
    assert_eq!(response.header(ALLOW_CREDENTIALS), Some("true"));
    assert!(response.header("set-cookie").unwrap().contains("Max-Age=0"));
    world
        .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
        .await;
}

#[tokio::test]
async fn a_page_logs_out_of_no_session_that_it_may_not_use() {
    let world = World::with(|s| {
        let mut second = s.config["auth_strategies"][0].clone();
        second["name"] = json!("second");
        let strategies = s.config["auth_strategies"].as_array_mut().unwrap();
        strategies.push(second);
        let mut trains = s.config["apis"][0].clone();
        trains["name"] = json!("trains");
        trains["routes"] = json!([{"paths": ["/trains"]}]);
        trains["auth_strategies"] = json!(["second"]);
        trains["cors"] = json!({"origins": [APP_ORIGIN], "credentials": true});
        s.config["apis"].as_array_mut().unwrap().push(trains);
        let mut entry = s.applications["applications"][0].clone();
        entry["auth_strategy"] = json!("second");
        entry["registrations"] = json!({"trains": "approved"});
        crate::harness::add(&mut s.applications, entry);
    })
    .await;
    let flights = world.cookie().await;
    let earn = world.gateway.get("/trains").basic(APP, SECRET);
    let trains = world.passes(earn).await.cookie().unwrap();
    let logout = |cookie: &str| {
        let call = world.gateway.post("/-/logout").header("Origin", APP_ORIGIN);
        call.cookie(cookie).body("")
    };
    let response = logout(&flights).send().await;
    response.assert_status(204);
    assert_eq!(response.header("set-cookie"), None, "not its to clear");
    world.passes(world.flights().cookie(&flights)).await;
    let response = logout(&trains).send().await;
    assert!(response.header("set-cookie").is_some());
    let call = world.gateway.get("/trains").cookie(&trains);
    world.refuses(call, 401, "invalid_session").await;
}

/// Gives the API `flights` this `cors`.
fn cors(policy: Value) -> impl FnOnce(&mut Setup) {
    move |s| s.config["apis"][0]["cors"] = policy
}

/// A preflight, but for its Origin.
fn preflight(world: &World, target: &str, method: &str) -> Call {
    let call = world.gateway.call("OPTIONS", target);
    call.header("Access-Control-Request-Method", method)
}

#[track_caller]
fn assert_no_cors(response: &Response) {
    for name in [
        ALLOW_ORIGIN,
        ALLOW_CREDENTIALS,
        ALLOW_METHODS,
        ALLOW_HEADERS,
        EXPOSE,
        MAX_AGE,
    ] {
        assert_eq!(response.header(name), None, "{name}: {response:?}");
    }
}
