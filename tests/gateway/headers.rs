//! What the upstream is told, and that no client can say it in our place, on any path.

use serde_json::json;

use crate::harness::{APP, World, client::Call, client::Connection, http1::Answer, http1::Request};

const OURS: &[&str] = &[
    "X-Application-Id",
    "X-Application-Name",
    "X-Developer-Id",
    "X-Credential-Identifier",
    "X-Auth-Strategy",
    "X-Auth-Method",
    "X-Authenticated-Scope",
];

#[tokio::test]
async fn a_clients_copies_of_our_headers_never_arrive() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["claim_headers"] = json!({"X-Tenant": ["tenant"]});
    })
    .await;
    let cookie = world.cookie().await;
    let token = world.token();
    let basic = world.flights().basic(APP, crate::harness::SECRET);
    for (case, call) in [
        ("bearer", world.flights().bearer(&token)),
        ("basic", basic),
        ("cookie", world.flights().cookie(&cookie)),
        ("public", world.gateway.get("/open")),
        ("public preflight", world.gateway.call("OPTIONS", "/open")),
        (
            "OPTIONS",
            world.gateway.call("OPTIONS", "/flights").bearer(&token),
        ),
    ] {
        world.passes(forged(call)).await;
        assert_none_forged(case, &world.upstream.last());
        if case.starts_with("public") {
            for name in OURS {
                assert_eq!(world.upstream.last().header(name), None, "{case}");
            }
        }
    }
    let before = world.upstream.hits();
    for call in [
        world.flights(),
        world.gateway.call("OPTIONS", "/flights"),
        world.gateway.get("/x"),
    ] {
        let response = forged(call).send().await;
        assert!(response.status >= 400, "{response:?}");
        assert!(!format!("{response:?}{}", response.text()).contains("forged"));
    }
    assert_eq!(world.upstream.hits(), before);
}

#[tokio::test]
async fn each_field_for_one_connection_ends_with_it() {
    let world = World::start().await;
    // Whichever of them stands alone, so that none is looked for only beside another.
    for (name, value) in [
        ("Connection", "close"),
        ("Connection", "keep-alive"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic realm=x"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "Expires"),
        ("Upgrade", "h2c"),
    ] {
        let call = world.gateway.get("/open").header(name, value);
        world.passes(call.header("X-Other", "1")).await;
        let arrived = world.upstream.last();
        assert_eq!(arrived.header(name), None, "{name}: {value}");
        assert_eq!(arrived.header("x-other"), Some("1"), "{name}");
    }
    // The body's own framing is made anew.
    let mut client = Connection::open(world.gateway.proxy).await;
    client
        .send("POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        .await;
    client.response().await.unwrap().assert_status(200);
    let arrived = world.upstream.last();
    assert_eq!(arrived.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn connection_cannot_take_away_what_we_add() {
    let world = World::start().await;
    // Ten at once is the most that Pingora takes.
    let nominated = format!("x-private, {}", OURS.join(", "));
    let call = world
        .flights()
        .header("Connection", &nominated)
        .header("X-Private", "1")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("Proxy-Connection", "keep-alive")
        .bearer(&world.token());
    world.passes(call).await;
    let seen = world.upstream.last();
    for name in OURS {
        assert!(seen.header(name).is_some(), "{name}: {:?}", seen.lines);
    }
    for name in [
        "x-private",
        "keep-alive",
        "proxy-connection",
        "authorization",
    ] {
        assert_eq!(seen.header(name), None, "{name}: {:?}", seen.lines);
    }
}

#[tokio::test]
async fn names_from_the_directory_are_made_legal() {
    let world = World::with(|s| {
        let entry = &mut s.applications["applications"][0];
        entry["name"] = json!("Zoë's 100% \r\nX-Evil: 1");
        entry["developer"] = json!("ユーザ@example.com");
        entry["id"] = json!("0b54ae0d-5d32-4a3e-8f2c-0a2b1c3d4e5f");
    })
    .await;
    world.passes(world.flights().bearer(&world.token())).await;
    let seen = world.upstream.last();
    let name = seen.header("x-application-name").unwrap();
    assert_eq!(decoded(name), "Zoë's 100% \r\nX-Evil: 1");
    assert!(
        name.contains("Zo%C3%AB") && name.contains("100%25"),
        "{name}"
    );
    assert_eq!(
        decoded(seen.header("x-developer-id").unwrap()),
        "ユーザ@example.com"
    );
    assert_eq!(
        seen.header("x-application-id"),
        Some("0b54ae0d-5d32-4a3e-8f2c-0a2b1c3d4e5f")
    );
    assert_eq!(seen.header("x-evil"), None);
}

#[tokio::test]
async fn claims_become_headers_and_hostile_ones_do_no_harm() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["claim_headers"] =
            json!({"X-Tenant": ["tenant"], "X-Deep": ["a", "b.c"]});
    })
    .await;
    for (case, tenant, arrives) in [
        ("text", json!("blue"), Some("blue")),
        ("number", json!(7), Some("7")),
        ("boolean", json!(true), Some("true")),
        ("list", json!(["a", "b"]), Some("a,b")),
        ("object", json!({"a": 1}), None),
        ("null", json!(null), None),
    ] {
        let token = world.idp.token(APP).claim("tenant", tenant).build();
        world
            .passes(world.flights().header("X-Tenant", "forged").bearer(&token))
            .await;
        assert_eq!(world.upstream.last().header("x-tenant"), arrives, "{case}");
    }
    let absent = world
        .flights()
        .header("X-Tenant", "forged")
        .bearer(&world.token());
    world.passes(absent).await;
    assert_eq!(world.upstream.last().header("x-tenant"), None);
    for hostile in ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "nul\0", "é", "x: y"] {
        let token = world.idp.token(APP).claim("tenant", hostile).build();
        let response = world.flights().bearer(&token).send().await;
        if response.status == 200 {
            let seen = world.upstream.last();
            assert_eq!(seen.header("x-evil"), None, "{hostile:?}");
            let value = seen.header("x-tenant").unwrap_or_default();
            assert!(
                value.bytes().all(|b| (0x20..0x7f).contains(&b)),
                "{hostile:?}: {value}"
            );
        }
    }
    let deep = world
        .idp
        .token(APP)
        .claim("a", json!({"b.c": "found"}))
        .build();
    world.passes(world.flights().bearer(&deep)).await;
    assert_eq!(world.upstream.last().header("x-deep"), Some("found"));
}

#[tokio::test]
async fn forwarding_headers_of_a_stranger_are_replaced() {
    let world = World::start().await;
    let call = world
        .gateway
        .get("/open")
        .host("api.test:8000")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.test")
        .header("X-Forwarded-Port", "1")
        .header("X_Forwarded_For", "6.6.6.6")
        .header("X-Real-IP", "6.6.6.6")
        .header("Forwarded", "for=6.6.6.6")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("tracestate", "a=b");
    world.passes(call).await;
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.test:8000"));
    assert!(seen.header("x-forwarded-port").is_some());
    assert!(seen.header("x-request-id").is_some());
    assert!(seen.header("via").is_some());
    for name in ["x-real-ip", "forwarded", "x_forwarded_for"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(seen.header("traceparent").is_some() && seen.header("tracestate") == Some("a=b"));
    assert_eq!(seen.header("host"), Some("api.test:8000"), "preserved");
}

#[tokio::test]
async fn forwarding_headers_of_a_trusted_proxy_count() {
    let world = World::with(|s| s.config["trusted_proxies"] = json!(["127.0.0.0/8"])).await;
    let call = world
        .gateway
        .get("/open")
        .header("X-Forwarded-For", "6.6.6.6, 10.1.2.3")
        .header("X-Forwarded-Proto", "https");
    world.passes(call).await;
    let seen = world.upstream.last();
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("6.6.6.6, 10.1.2.3, 127.0.0.1")
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn a_configured_host_replaces_the_clients() {
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["host"] = json!("flights.internal");
    })
    .await;
    world.passes(world.gateway.get("/open")).await;
    let seen = world.upstream.last();
    assert_eq!(seen.header("host"), Some("flights.internal"));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.test"));
}

#[tokio::test]
async fn a_public_api_passes_authorization_only_where_asked() {
    let world = World::start().await;
    let call = world.gateway.get("/open").authorization("Custom theirs");
    world.passes(call.clone()).await;
    assert_eq!(world.upstream.last().header("authorization"), None);
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["forward_authorization"] = json!(true))
        .await;
    world.passes(call).await;
    assert_eq!(
        world.upstream.last().header("authorization"),
        Some("Custom theirs")
    );
}

#[tokio::test]
async fn bodies_and_answers_pass_unchanged() {
    let world = World::start().await;
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let call = world
        .gateway
        .post("/open?q=1")
        .header("X-Own", "a")
        .header("X-Own", "b");
    world.passes(call.body(body.clone())).await;
    let seen = world.upstream.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/open?q=1")
    );
    assert_eq!(seen.headers("x-own"), ["a", "b"]);
    assert!(seen.body == body, "{} bytes arrived", seen.body.len());
    for manner in [
        crate::harness::http1::Manner::Whole,
        crate::harness::http1::Manner::Chunked,
    ] {
        let answer = Answer::new(201, body.clone())
            .header("X-Upstream-Own", "1")
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "b=2")
            .header("Connection", "X-Upstream-Hop")
            .header("X-Upstream-Hop", "1");
        world.upstream.answer(answer.manner(manner));
        let response = world.gateway.get("/open").send().await;
        response.assert_status(201);
        assert!(response.body == body);
        assert_eq!(response.header("x-upstream-own"), Some("1"));
        assert_eq!(response.header("x-upstream-hop"), None);
        assert_eq!(response.headers("set-cookie"), ["a=1", "b=2"]);
    }
}

#[tokio::test]
async fn a_request_in_chunks_with_trailers_cannot_speak_for_us() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send(
            "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Application-Id\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Application-Id: forged\r\nAuthorization: Bearer x\r\n\r\n",
        )
        .await;
    if let Some(response) = connection.response().await {
        assert!([200, 400].contains(&response.status), "{response:?}");
    }
    for seen in world.upstream.requests() {
        assert_eq!(seen.header("x-application-id"), None);
        assert_eq!(seen.header("authorization"), None);
    }
}

/// Adds every spelling of our names, with values that show.
fn forged(mut call: Call) -> Call {
    for name in OURS.iter().copied().chain(["X-Tenant"]) {
        call = call
            .header(name, "forged")
            .header(&name.to_lowercase(), "forged")
            .header(&name.to_uppercase(), "forged")
            .header(&name.replace('-', "_"), "forged")
            .header(&name.to_lowercase().replacen('-', "_", 1), "forged");
    }
    call
}

#[track_caller]
fn assert_none_forged(case: &str, seen: &Request) {
    for (name, value) in &seen.lines {
        assert!(!value.contains("forged"), "{case}: {name}: {value}");
    }
    for name in OURS {
        let alias = name.replace('-', "_");
        assert_eq!(seen.header(&alias), None, "{case}");
        assert!(seen.headers(name).len() < 2, "{case}: {name} twice");
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .unwrap()
        .into_owned()
}
