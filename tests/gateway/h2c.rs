//! HTTP/2 by prior knowledge on the plain listener: the same answers as over HTTP/1.1.

use http::Version;
use serde_json::json;

use crate::harness::{APP, SECRET, World, eventually, h2c::H2c, idp::Endpoint, stage::Stage};

#[tokio::test]
async fn requests_pass_side_by_side() {
    let world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let token = format!("Bearer {}", world.token());
    let good = || H2c::request("GET", "/flights").header("authorization", &token);
    let response = client.send(good(), &[]).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-credential-identifier"), Some(APP));
    assert_eq!(seen.header("host"), Some("api.test"));
    let posted = client
        .send(H2c::request("POST", "/open"), &[b"one", b"two"])
        .await
        .unwrap();
    assert_eq!(posted.status, 200);
    assert_eq!(world.upstream.last().body, b"onetwo");
}

#[tokio::test]
async fn refusals_are_the_same_problems() {
    let world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = |path: &str| H2c::request("GET", path).version(Version::HTTP_2);
    for (path, line, status, code) in [
        ("/flights", None, 401, "credentials_required"),
        ("/flights", Some("Bearer abc"), 401, "invalid_token"),
        ("/flights", Some("Bearer \"x\""), 400, "invalid_request"),
        ("/flights/..%2fopen", None, 400, "ambiguous_path"),
        ("/nowhere", None, 404, "no_route"),
    ] {
        let mut call = request(path);
        if let Some(line) = line {
            call = call.header("authorization", line);
        }
        let response = client.send(call, &[]).await.unwrap();
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{path} {line:?}"
        );
        assert_eq!(response.headers["content-type"], "application/problem+json");
    }
    let twice = request("/flights")
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b");
    let response = client.send(twice, &[]).await.unwrap();
    assert_eq!(
        (response.status, response.code().as_str()),
        (400, "invalid_request")
    );
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn cookies_in_crumbs_are_read_whole_and_joined() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let crumbs = H2c::request("GET", "/flights")
        .header("cookie", "a=1")
        .header("cookie", &cookie)
        .header("cookie", "b=2");
    let response = client.send(crumbs, &[]).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(world.upstream.last().headers("cookie"), ["a=1; b=2"]);
    let twice = H2c::request("GET", "/flights")
        .header("cookie", &cookie)
        .header("cookie", &cookie);
    let response = client.send(twice, &[]).await.unwrap();
    assert_eq!(
        (response.status, response.code().as_str()),
        (400, "invalid_request")
    );
}

#[tokio::test]
async fn a_refused_stream_does_not_end_the_connection() {
    let world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    for _ in 0..3 {
        let refused = client
            .send(H2c::request("POST", "/flights"), &[b"body"])
            .await
            .unwrap();
        assert_eq!(refused.status, 401);
        let pair =
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{APP}:{SECRET}"));
        let good = H2c::request("GET", "/flights").header("authorization", format!("Basic {pair}"));
        assert_eq!(client.send(good, &[]).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_stream_that_its_client_breaks_keeps_its_verdict() {
    let world = World::start().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    world.idp.hold();
    let pair = base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        format!("{APP}:not {SECRET}"),
    );
    let request = H2c::request("GET", "/flights").header("authorization", format!("Basic {pair}"));
    let (answer, mut stream) = client
        .sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    eventually!(world.idp.hits(Endpoint::Token) == 1, "it is being judged");
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    // Frames are read in order: once this one is answered, the reset has arrived.
    let other = client.send(H2c::request("GET", "/open"), &[]).await;
    assert_eq!(other.unwrap().status, 200);
    world.idp.release();
    eventually!(world.gateway.access_log().len() == 2, "both are logged");
    let line = world.gateway.access_log().pop().unwrap();
    assert_eq!(
        (&line["code"], &line["reason"], &line["strategy"]),
        (
            &json!("invalid_client"),
            &json!("client_gone"),
            &json!("partners")
        ),
        "{line}"
    );
}

#[tokio::test]
async fn a_stream_that_its_client_breaks_while_it_is_forwarded_is_nobodys_failure() {
    let stage = Stage::start().await;
    let world = World::with(|setup| {
        stage.stand_behind(setup);
        setup.config["apis"][1]["upstream"]["passive_health"] = json!({"failures": 1});
    })
    .await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("GET", "/open").body(()).unwrap();
    let (answer, mut stream) = client.sender.send_request(request, true).unwrap();
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    eventually!(world.gateway.access_log().len() == 1, "it is logged");
    let line = world.gateway.access_log().pop().unwrap();
    assert_eq!(
        (&line["code"], &line["reason"]),
        (&json!("permit"), &json!("client_gone")),
        "{line}"
    );
    let ready = world.gateway.status("/readyz").await.text();
    assert!(!ready.contains("failing upstream"), "{ready}");
}
