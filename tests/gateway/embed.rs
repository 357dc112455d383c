//! The guard in another Pingora program: `examples/embed.rs` answers as the gateway does.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpStream, process::Command};

use crate::harness::{
    APP, SECRET, add, application,
    client::{Call, Connection},
    embedded::{self, Embedded, example, free_address},
    eventually,
    gateway::Process,
    h2c::H2c,
    http1::Answer,
    idp::Endpoint,
    sockets::Sockets,
    stage::Stage,
};

#[tokio::test]
async fn every_method_passes_and_the_upstream_learns_who_calls() {
    let world = Embedded::start().await.ready().await;
    let by_token = world.passes(world.flights().bearer(&world.token())).await;
    let cookie = by_token.cookie().expect("a session cookie");
    assert_eq!(by_token.header("cache-control"), Some("private"));
    for (call, method) in [
        (world.flights().basic(APP, SECRET), "client_credentials"),
        (world.flights().bearer(&world.token()), "bearer"),
        (
            world.flights().cookie(&format!("a=1; {cookie}; b=2")),
            "session",
        ),
    ] {
        let response = world.passes(call).await;
        let seen = world.upstream.last();
        for (name, value) in [
            ("x-application-name", Some("Trip Planner")),
            ("x-developer-id", Some("dana@example.com")),
            ("x-credential-identifier", Some(APP)),
            ("x-auth-strategy", Some("partners")),
            ("x-auth-method", Some(method)),
            ("x-request-id", response.header("x-request-id")),
            ("authorization", None),
            ("host", Some("api.test")),
        ] {
            assert_eq!(seen.header(name), value, "{method}: {name}");
        }
        let others = (method == "session").then_some("a=1; b=2");
        assert_eq!(seen.header("cookie"), others, "{method}");
        // The proxy's own hook is told as well, by the same id.
        let id = response.header("x-request-id").unwrap();
        let told = format!(
            "application=\"Trip Planner\" developer=\"dana@example.com\" client_id=\"{APP}\" method=\"{method}\""
        );
        eventually!(
            world.process.logged(&["who calls", &told, id]),
            "{method}: the proxy is told"
        );
        eventually!(
            world
                .process
                .logged(&["dcr_gateway::access", "code=\"permit\"", id]),
            "{method}: an access line is written"
        );
    }
    let log = world.process.log().join("\n");
    assert!(!log.contains(SECRET) && !log.contains(cookie.split_once('=').unwrap().1));
}

#[tokio::test]
async fn what_a_client_spoofs_never_arrives() {
    let world = Embedded::start().await.ready().await;
    for (call, is_open) in [
        (world.flights().bearer(&world.token()), false),
        (world.call("GET", "/open").bearer("anything"), true),
    ] {
        let spoofed = call
            .header("X-Application-Id", "spoofed")
            .header("x_application_name", "spoofed")
            .header("X-Developer-Id", "spoofed")
            .header("X-Developer-Id", "spoofed too")
            .header("X-Credential_Identifier", "spoofed")
            .header("X-Authenticated-Scope", "spoofed")
            .header("X-Forwarded-For", "203.0.113.9")
            .header("X-Real-IP", "203.0.113.9")
            .header(
                "Connection",
                "x-application-id, x-auth-method, x-request-id",
            );
        world.passes(spoofed).await;
        let seen = world.upstream.last();
        let text = format!("{:?}", seen.lines);
        assert!(!text.contains("spoofed"), "{text}");
        assert!(!text.contains("203.0.113.9"), "{text}");
        assert_eq!(seen.header("authorization"), None);
        assert!(seen.header("x-request-id").is_some());
        assert_eq!(seen.header("x-auth-method").is_none(), is_open, "{text}");
        assert_eq!(seen.header("x-application-id").is_none(), is_open);
    }
}

#[tokio::test]
async fn refusals_are_the_gateways() {
    let world = Embedded::with(|files| {
        files.config["limits"] = json!({"body_size": "1kB", "header_count": 20});
        add(&mut files.applications, {
            let mut pending = application("app-2");
            pending["registrations"] = json!({"flights": "pending"});
            pending
        });
    })
    .await
    .ready()
    .await;
    let flights = || world.flights();
    let pending = world.idp.token("app-2").build();
    let stranger = world.idp.token("app-3").build();
    let get = |path| world.call("GET", path);
    for (call, status, code) in [
        (flights(), 401, "credentials_required"),
        (
            flights().authorization("Digest x"),
            401,
            "credentials_required",
        ),
        (flights().basic(APP, "wrong"), 401, "invalid_client"),
        (flights().bearer("abc"), 401, "invalid_token"),
        (flights().cookie("dcr_session=abc"), 401, "invalid_session"),
        (flights().authorization("Basic"), 400, "invalid_request"),
        (
            flights().bearer(&world.token()).basic(APP, SECRET),
            400,
            "invalid_request",
        ),
        (flights().bearer(&pending), 403, "registration_pending"),
        (flights().bearer(&stranger), 403, "unknown_application"),
        (get("/flights/%2e%2e/open"), 400, "ambiguous_path"),
        (get("/open/../flights"), 400, "ambiguous_path"),
        (get("/open//x"), 400, "ambiguous_path"),
        (get("/nowhere"), 404, "no_route"),
        (
            world.call("POST", "/open").body(vec![b'x'; 1001]),
            413,
            "body_too_large",
        ),
        (
            (0..20).fold(get("/open"), |call, i| call.header(&format!("X-{i}"), "")),
            431,
            "header_too_large",
        ),
    ] {
        let response = world.refuses(call, status, code).await;
        let id = response.header("x-request-id").unwrap().to_owned();
        assert_eq!(response.json()["request_id"], json!(id));
        let code = format!("code=\"{code}\"");
        eventually!(
            world.process.logged(&["dcr_gateway::access", &code, &id]),
            "{code} is logged"
        );
    }
    // The path that goes upstream is the one that was judged.
    for (target, judged) in [
        ("/open#/../flights", "/open"),
        ("http://api.test/open/x", "/open/x"),
    ] {
        world.passes(get(target)).await;
        assert_eq!(world.upstream.last().target, judged, "{target}");
    }
}

#[tokio::test]
async fn a_refused_request_keeps_its_connection() {
    let world = Embedded::start().await.ready().await;
    let mut connection = Connection::open(world.address).await;
    let refused = world.call("POST", "/flights").body("anything");
    let response = refused.send_on(&mut connection).await.unwrap();
    response.assert_problem(401, "credentials_required");
    let good = world.flights().bearer(&world.token());
    let response = good.send_on(&mut connection).await.unwrap();
    response.assert_status(200);
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_held_to_its_limit() {
    let world = Embedded::with(|files| files.config["limits"] = json!({"body_size": "1kB"})).await;
    let mut connection = Connection::open(world.address).await;
    let head = "POST /open HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(head).await;
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    connection.send(chunk).await;
    let response = connection.response().await.unwrap();
    response.assert_problem(413, "body_too_large");
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn edits_are_in_force_without_a_restart() {
    let world = Embedded::start().await.ready().await;
    let good = || world.flights().bearer(&world.token());
    let suspended = |status: &str| {
        let mut entry = application(APP);
        entry["status"] = json!(status);
        world.edit("applications.yaml", &json!({"applications": [entry]}));
    };
    suspended("suspended");
    eventually!(good().send().await.status == 403, "suspended at once");
    world.refuses(good(), 403, "application_suspended").await;
    suspended("active");
    eventually!(good().send().await.status == 200, "active again");

    let mut config = embedded::config(&world.idp.issuer);
    config["apis"][1]["routes"] = json!([{"paths": ["/elsewhere"]}]);
    // It has no meaning here, so a change of it is no change either.
    config["listeners"] = json!([{"address": "127.0.0.1:1"}]);
    world.edit("guard.yaml", &config);
    let moved = world.call("GET", "/elsewhere");
    eventually!(moved.send().await.status == 200, "the route has moved");
    world
        .refuses(world.call("GET", "/open"), 404, "no_route")
        .await;
    config["apis"][1]["access"] = json!("publc");
    world.edit("guard.yaml", &config);
    eventually!(
        world
            .process
            .logged(&["refused; what was before stays", "apis[1].access"]),
        "the fault is told"
    );
    assert_eq!(moved.send().await.status, 200, "and changes nothing");
}

#[tokio::test]
async fn a_session_ends_at_logout() {
    let world = Embedded::start().await.ready().await;
    let earned = world.passes(world.flights().basic(APP, SECRET)).await;
    let cookie = earned.cookie().unwrap();
    world.passes(world.flights().cookie(&cookie)).await;
    let cross = world.call("POST", "/-/logout").cookie(&cookie);
    let cross = cross.header("Sec-Fetch-Site", "cross-site");
    world.refuses(cross, 403, "cross_site_request").await;
    let left = world.call("POST", "/-/logout").cookie(&cookie).send().await;
    left.assert_status(204);
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    let response = world
        .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
        .await;
    assert!(response.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_answers() {
    let world = Embedded::with(|files| {
        files.config["apis"][0]["cors"] =
            json!({"origins": ["https://app.test"], "credentials": true});
    })
    .await
    .ready()
    .await;
    let preflight = |origin: &str| {
        let call = world.call("OPTIONS", "/flights").header("Origin", origin);
        call.header("Access-Control-Request-Method", "GET")
    };
    let before = world.upstream.hits();
    let response = preflight("https://app.test").send().await;
    response.assert_status(204);
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.test"));
    world
        .refuses(preflight("https://evil.test"), 401, "credentials_required")
        .await;
    assert_eq!(world.upstream.hits(), before);
    let call = world.flights().header("Origin", "https://app.test");
    let response = world.passes(call.bearer(&world.token())).await;
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.test"));
}

#[tokio::test]
async fn an_identity_provider_that_is_down_is_no_clients_fault() {
    let world = Embedded::start().await.ready().await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.idp.client("app-2", "another-secret");
    world.edit(
        "applications.yaml",
        &json!({"applications": [application(APP), application("app-2")]}),
    );
    eventually!(
        world
            .process
            .logged(&["applications are live", "applications=2"]),
        "both are known"
    );
    world.idp.down();
    world
        .refuses(
            world.flights().basic("app-2", "another-secret"),
            503,
            "identity_provider_unavailable",
        )
        .await;
    // What is known goes on: the pair is remembered, and so are the keys.
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.idp.up();
    let again = world.flights().basic("app-2", "another-secret");
    eventually!(again.send().await.status == 200, "it recovers");
}

#[tokio::test]
async fn http2_is_judged_alike() {
    let world = Embedded::with(|files| files.arguments.push("--h2c"))
        .await
        .ready()
        .await;
    let mut client = H2c::open(world.address).await;
    for (path, line, status, code) in [
        ("/flights", None, 401, "credentials_required"),
        ("/flights", Some("Bearer abc"), 401, "invalid_token"),
        ("/flights/..%2fopen", None, 400, "ambiguous_path"),
        ("/nowhere", None, 404, "no_route"),
    ] {
        let mut call = H2c::request("GET", path);
        if let Some(line) = line {
            call = call.header("authorization", line);
        }
        let response = client.send(call, &[]).await.unwrap();
        let got = (response.status, response.code());
        assert_eq!(got, (status, code.to_owned()), "{path} {line:?}");
        assert_eq!(response.headers["content-type"], "application/problem+json");
    }
    let token = format!("Bearer {}", world.token());
    let good = || {
        H2c::request("POST", "/flights")
            .header("authorization", &token)
            .header("x-application-id", "spoofed")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
    };
    for _ in 0..3 {
        let response = client.send(good(), &[b"one", b"two"]).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        let seen = world.upstream.last();
        assert_eq!(seen.body, b"onetwo");
        assert_eq!(seen.headers("cookie"), ["a=1; b=2"]);
        assert_eq!(seen.header("x-credential-identifier"), Some(APP));
        assert_ne!(seen.header("x-application-id"), Some("spoofed"));
        assert_eq!(seen.header("via"), Some("2.0 dcr-gateway"));
        assert_eq!(seen.header("authorization"), None);
    }
    // And the other version on the same port.
    world.passes(world.flights().bearer(&world.token())).await;
}

/// Ended twice, the second end would stand before another client's request.
#[tokio::test]
async fn an_http2_body_whose_last_frame_is_empty_ends_once() {
    let stage = Stage::start().await;
    let world = Embedded::with(|files| {
        files.arguments.push("--h2c");
        files.upstream = stage.address.to_string();
    })
    .await;
    let mut client = H2c::open(world.address).await;
    let request = H2c::request("POST", "/open");
    let frames: [&'static [u8]; 2] = [b"abc", b""];
    let sent = tokio::spawn(async move { client.send(request, &frames).await.unwrap().status });
    let mut upstream = stage.accept().await;
    upstream.head().await.unwrap();
    let mut body = [0; 13];
    upstream.read_exact(&mut body).await;
    assert_eq!(&body, b"3\r\nabc\r\n0\r\n\r\n");
    assert!(upstream.is_silent().await, "and nothing after it");
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(sent.await.unwrap(), 200);
    assert!(upstream.is_silent().await, "nor later");
}

#[tokio::test]
async fn a_tunnel_ends_with_what_opened_it() {
    let sockets = Sockets::start().await;
    let world = Embedded::with(|files| files.upstream = sockets.address().to_owned()).await;
    let call = || {
        let call = world.flights().header("Connection", "Upgrade");
        call.header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
    };
    let refused = call().send().await;
    refused.assert_problem(401, "credentials_required");
    assert_eq!(sockets.opened(), 0);

    let good = call().bearer(&world.token());
    let mut tunnel = loop {
        let mut tunnel = Connection::open(world.address).await;
        tunnel.send(good.bytes()).await;
        let head = tunnel.head().await.unwrap();
        if head.contains(" 101 ") {
            break tunnel;
        }
        // The keys are not there yet.
        assert!(head.contains(" 503 "), "{head}");
    };
    let head = sockets.last_head();
    assert!(head.contains(APP) && !head.to_lowercase().contains("authorization"));
    let mut bytes = [0; 5];
    tunnel.send("hello").await;
    tunnel.read_exact(&mut bytes).await;
    assert_eq!(&bytes, b"hello");

    let mut entry = application(APP);
    entry["status"] = json!("suspended");
    world.edit("applications.yaml", &json!({"applications": [entry]}));
    eventually!(
        {
            tunnel.send("still").await;
            tunnel.read_some(&mut bytes).await.is_none()
        },
        "the tunnel is cut"
    );
    eventually!(sockets.closed() == sockets.opened(), "on both sides");
    eventually!(
        world
            .process
            .logged(&["dcr_gateway::access", "status=101", "application_suspended"]),
        "and the log says why"
    );
}

#[tokio::test]
async fn nobody_opens_a_tunnel_that_was_not_asked_for() {
    let stage = Stage::start().await;
    let world = Embedded::with(|files| files.upstream = stage.address.to_string()).await;
    let mut client = Connection::open(world.address).await;
    client.send(world.call("GET", "/open").bytes()).await;
    let mut upstream = stage.accept().await;
    upstream.head().await.unwrap();
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n")
        .await;
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 502, "{response:?}");
}

#[tokio::test]
async fn an_upstream_sets_no_cookie_in_our_name() {
    let world = Embedded::start().await.ready().await;
    world.upstream.answer(
        Answer::new(200, "")
            .header("Set-Cookie", "dcr_session=forged")
            .header("Set-Cookie", "theirs=1")
            .header("Cache-Control", "public, max-age=60"),
    );
    let response = world.passes(world.call("GET", "/open")).await;
    assert_eq!(response.headers("set-cookie"), ["theirs=1"]);
    let response = world.passes(world.flights().bearer(&world.token())).await;
    let cookies = response.headers("set-cookie");
    assert!(
        cookies.contains(&"theirs=1") && cookies.len() == 2,
        "{cookies:?}"
    );
    assert!(!cookies.contains(&"dcr_session=forged"));
    assert_eq!(
        response.header("cache-control"),
        Some("private, max-age=60")
    );
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let mut world = Embedded::start().await;
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_millis(500)));
    let call = world.call("GET", "/open");
    let waiting = tokio::spawn(async move { call.send().await });
    eventually!(world.upstream.hits() == 1, "the request is in flight");
    world.process.signal("TERM").await;
    eventually!(
        TcpStream::connect(world.address).await.is_err(),
        "it listens no more"
    );
    assert_eq!(waiting.await.unwrap().text(), "late");
    let status = world.process.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_faulty_file_is_told_whole_and_a_gateways_keys_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.yaml");
    let run = |config: Value| {
        let path = path.clone();
        async move {
            std::fs::write(&path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
            let output = Command::new(example("embed").await)
                .arg(&path)
                .args(["127.0.0.1:0", "nobody"])
                .output()
                .await
                .unwrap();
            // The upstream's name is none, so a good file ends the program too.
            assert!(!output.status.success());
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8(text).unwrap()
        }
    };
    let mut config = embedded::config("https://idp.example.com");
    config["session_keys"] = json!([]);
    config["apis"][0]["access"] = json!("publc");
    config["apis"][0]["upstream"] = json!({"targets": [{"address": "nowhere"}]});
    config["threads"] = json!("many");
    let text = run(config.clone()).await;
    for wanted in [
        "the configuration cannot be used",
        "guard.yaml:4:17: apis[0].access: \"publc\": expected",
        "apis[0].upstream.targets[0].address: \"nowhere\": expected",
        "threads: \"many\": expected",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    config["apis"][0]["access"] = json!("registered");
    config["apis"][0]["upstream"] = json!({"targets": [{"address": "10.0.0.5:9000"}]});
    config["apis"][0]["strip_prefix"] = json!(true);
    for (key, value) in [
        ("threads", json!(2)),
        ("listeners", json!([{"address": "127.0.0.1:1"}])),
        ("admin", json!({"address": "127.0.0.1:2"})),
        ("status", json!({"address": "127.0.0.1:3"})),
        ("grace_period", json!("1s")),
        ("upgrade_socket", json!("/run/x")),
        (
            "limits",
            json!({"header_size": "2KiB", "header_timeout": "1s", "connections": 5}),
        ),
        ("log", json!({"level": "info", "format": "text"})),
    ] {
        config[key] = value;
    }
    let text = run(config).await;
    for key in [
        "threads",
        "listeners",
        "admin",
        "status",
        "grace_period",
        "upgrade_socket",
        "limits.header_size",
        "limits.header_timeout",
        "limits.connections",
        "log.level",
        "log.format",
        "apis[0].upstream",
        "apis[0].strip_prefix",
    ] {
        let wanted = format!("warning: {key}: has no effect");
        assert!(text.contains(&wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("admin.token"), "{text}");
    assert!(!text.contains("the configuration cannot be used"), "{text}");
}

#[tokio::test]
async fn what_becomes_of_a_request_is_explained_by_its_file() {
    let world = Embedded::start().await.ready().await;
    let explain = |path: &'static str| {
        let config = world.file("guard.yaml");
        async move {
            let output = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
                .args(["explain", "--guard", "--config"])
                .arg(config)
                .args(["--url", path])
                .output()
                .await
                .unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).unwrap())
        }
    };
    let (code, text) = explain("/flights").await;
    assert!(
        code == Some(1) && text.contains("credentials_required"),
        "{text}"
    );
    let (code, text) = explain("/open").await;
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn the_example_does_what_it_says_of_itself() {
    let start = |mut command: Command, more: &[&str]| {
        command.args(more);
        Process::spawn(command)
    };
    let told = |process: &Process| {
        let address = |line: &String| {
            let rest = line.strip_prefix("listening on http://")?;
            rest.split(' ').next()?.parse::<SocketAddr>().ok()
        };
        process.log().iter().find_map(address)
    };
    let idp = start(Command::new(example("idp").await), &["127.0.0.1:0"]);
    let echo = start(Command::new(example("echo").await), &["127.0.0.1:0"]);
    eventually!(told(&idp).is_some() && told(&echo).is_some(), "they listen");
    let (issuer, upstream) = (told(&idp).unwrap(), told(&echo).unwrap());
    let register = Call::new(issuer, "POST", "/register")
        .header("Content-Type", "application/json")
        .body(r#"{"client_name": "Trip Planner"}"#);
    let client = register.send().await.json();
    let member = |name: &str| client[name].as_str().unwrap().to_owned();
    let (id, secret) = (member("client_id"), member("client_secret"));

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let yaml = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/embed.yaml");
    let yaml = std::fs::read_to_string(yaml).unwrap();
    let yaml = yaml.replace("127.0.0.1:9400", &issuer.to_string());
    let yaml = yaml.replace("../target/embed/", "");
    std::fs::write(at("embed.yaml"), yaml).unwrap();
    let applications = |state: &str| {
        format!(
            "applications: [{{ name: Trip Planner, developer: dana@example.com, auth_strategy: \
             partners,\n    client_id: {id}, registrations: {{ flights: {state} }} }}]\n"
        )
    };
    std::fs::write(at("applications.yaml"), applications("approved")).unwrap();
    let address = free_address();
    let mut command = Command::new(example("embed").await);
    command.arg(at("embed.yaml"));
    let _embed = start(command, &[&address.to_string(), &upstream.to_string()]);
    eventually!(TcpStream::connect(address).await.is_ok(), "it listens");

    let get = |path| Call::new(address, "GET", path);
    let refused = get("/flights").send().await;
    refused.assert_problem(401, "credentials_required");
    let spoofed = get("/flights").header("X-Application-Name", "me");
    let good = spoofed.basic(&id, &secret);
    eventually!(good.send().await.status == 200, "the keys are there");
    let seen = good.send().await.json();
    assert_eq!(seen["headers"]["x-application-name"], "Trip Planner");
    assert_eq!(seen["headers"]["authorization"], Value::Null);
    get("/status").send().await.assert_status(200);
    std::fs::write(at("applications.yaml"), applications("revoked")).unwrap();
    eventually!(good.send().await.status == 403, "revoked");
}

#[tokio::test]
async fn a_token_endpoint_is_asked_once_for_many() {
    let world = Embedded::start().await.ready().await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let call = world.flights().basic(APP, SECRET);
            tokio::spawn(async move { call.send().await.status })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
}
