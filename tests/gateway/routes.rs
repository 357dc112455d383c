//! From host, path and method to an API; and every spelling of a path that could be read as two.

use serde_json::{Value, json};

use crate::harness::{
    World,
    backend::{Backend, Speaks},
    client::Connection,
    public,
};

#[tokio::test]
async fn the_longest_prefix_on_a_segment_boundary_wins() {
    let world = with_routes(&[
        ("root", json!([{"paths": ["/a"]}])),
        ("deep", json!([{"paths": ["/a/b"]}])),
        ("exact", json!([{"paths": ["=/a/b/c"]}])),
    ])
    .await;
    for (path, api) in [
        ("/a", Some("root")),
        ("/a/", Some("root")),
        ("/a/bc", Some("root")),
        ("/a?x=/a/b", Some("root")),
        ("/a/b", Some("deep")),
        ("/a/b/", Some("deep")),
        ("/a/b/c/d", Some("deep")),
        ("/a/b/c", Some("exact")),
        ("/a/%62", Some("deep")),
        ("/%61/b", Some("deep")),
        ("/a;x=1/b", Some("deep")),
        ("/a/b/c;v=2", Some("exact")),
        ("/ab", None),
        ("/A", None),
        ("/", None),
    ] {
        assert_eq!(
            world.api_of(path, "api.test").await.as_deref(),
            api,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_most_specific_host_decides_and_there_is_no_falling_back() {
    let world = with_routes(&[
        (
            "exact",
            json!([{"hosts": ["api.example.com"], "paths": ["/x"]}]),
        ),
        (
            "long",
            json!([{"hosts": ["*.eu.example.com"], "paths": ["/x"]}]),
        ),
        (
            "short",
            json!([{"hosts": ["*.example.com"], "paths": ["/x", "/y"]}]),
        ),
        ("any", json!([{"paths": ["/x", "/y", "/z"]}])),
    ])
    .await;
    for (host, path, api) in [
        ("api.example.com", "/x", Some("exact")),
        ("API.Example.COM:8000", "/x", Some("exact")),
        ("api.example.com.", "/x", Some("exact")),
        ("a.eu.example.com", "/x", Some("long")),
        ("a.b.eu.example.com", "/x", Some("long")),
        ("other.example.com", "/x", Some("short")),
        ("example.org", "/x", Some("any")),
        ("example.com", "/x", Some("any")),
        ("api.example.com", "/y", None),
        ("a.eu.example.com", "/y", None),
        ("other.example.com", "/z", None),
        ("127.0.0.1", "/z", Some("any")),
        ("[::1]:80", "/z", Some("any")),
    ] {
        assert_eq!(
            world.api_of(path, host).await.as_deref(),
            api,
            "{host} {path}"
        );
    }
}

#[tokio::test]
async fn the_upstream_gets_the_path_as_sent() {
    let world = World::start().await;
    for target in [
        "/open",
        "/open/",
        "/open?",
        "/open?a=b&c=%2F..%2f//",
        "/open/%7Euser",
        "/open/a;v=1",
        "/o%70en/%20x",
        "/open/caf%C3%A9",
        "/open/%2a",
        "/open/...",
        "/open/.hidden",
        "/open/a..b",
    ] {
        world.passes(world.gateway.get(target)).await;
        assert_eq!(world.upstream.last().target, target);
    }
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused() {
    let world = World::start().await;
    for path in [
        "/open/.",
        "/open/..",
        "/open/../flights",
        "/open/./x",
        "/open/%2e",
        "/open/%2E%2e/flights",
        "/open/.%2e/flights",
        "/open/%252e%252e/flights",
        "/open/%25252e%25252e/x",
        "/open/..;/flights",
        "/open/..;x=1/flights",
        "/open/%2e%2e;x/flights",
        "/open//x",
        "//open",
        "/open//",
        "/open/a%2fb",
        "/open/a%2Fb",
        "/open/a%252fb",
        "/open/a%5cb",
        "/open/a%5Cb",
        "/open/a%255cb",
        "/open/a\\b",
        "/open/..\\flights",
        "/open/a%00b",
        "/open/a%2500b",
        "/open/%",
        "/open/%2",
        "/open/%zz",
        "/open/a%c0%afb",
        "/..",
        "/%2e%2e/open",
    ] {
        world
            .refuses_case(path, world.gateway.get(path), 400, "ambiguous_path")
            .await;
    }
}

#[tokio::test]
async fn oddities_that_an_api_allows_pass_behind_its_prefix_only() {
    let world = World::with(|s| {
        s.config["apis"][1]["paths_as_sent"] =
            json!(["encoded_slash", "double_slash", "double_encoding"]);
    })
    .await;
    for target in ["/open/a%2fb", "/open//x", "/open/a%252fb", "/open/%2525"] {
        world.passes(world.gateway.get(target)).await;
        assert_eq!(world.upstream.last().target, target);
    }
    for path in [
        "/open/../x",
        "/open/%2e%2e/flights",
        "/open/a%2f..%2f..%2fflights",
        "/open/%252e%252e/x",
        "//open/x",
        "/%2fopen",
        "/open/..%2fflights",
        "/open/%00",
    ] {
        world
            .refuses_case(path, world.gateway.get(path), 400, "ambiguous_path")
            .await;
    }
}

#[tokio::test]
async fn every_reading_of_an_odd_path_must_match_the_same_api() {
    let world = World::with(|s| {
        s.config["apis"][1]["paths_as_sent"] = json!(["encoded_slash", "double_slash"]);
        s.config["apis"][0]["routes"] = json!([{"paths": ["/open/inner"]}]);
    })
    .await;
    for path in ["/open%2finner", "/open//inner"] {
        world
            .refuses_case(path, world.gateway.get(path), 400, "ambiguous_path")
            .await;
    }
    world.passes(world.gateway.get("/open/a%2finner")).await;
}

#[tokio::test]
async fn a_prefix_is_cut_off_where_asked() {
    let world = World::with(|s| s.config["apis"][1]["strip_prefix"] = json!(true)).await;
    for (sent, arrives) in [
        ("/open", "/"),
        ("/open?x=1", "/?x=1"),
        ("/open/", "/"),
        ("/open/a/b?x=1", "/a/b?x=1"),
        ("/o%70en/a", "/a"),
    ] {
        world.passes(world.gateway.get(sent)).await;
        assert_eq!(world.upstream.last().target, arrives, "{sent}");
    }
}

#[tokio::test]
async fn a_method_that_no_route_lists_is_told_which_are() {
    let world = with_routes(&[
        ("reader", json!([{"paths": ["/x"], "methods": ["GET"]}])),
        (
            "writer",
            json!([{"paths": ["/x"], "methods": ["POST", "PUT"]}]),
        ),
    ])
    .await;
    assert_eq!(
        world.api_of("/x", "api.test").await.as_deref(),
        Some("reader")
    );
    world
        .world
        .gateway
        .post("/x")
        .body("")
        .send()
        .await
        .assert_status(200);
    let delete = world.world.gateway.call("DELETE", "/x");
    let response = world.world.refuses(delete, 405, "method_not_allowed").await;
    let mut allowed: Vec<&str> = response.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST", "PUT"]);
}

#[tokio::test]
async fn an_absolute_target_becomes_an_ordinary_one() {
    let world = World::start().await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    connection
        .send("GET http://api.test/open/x?y=1 HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .await;
    connection.response().await.unwrap().assert_status(200);
    assert_eq!(world.upstream.last().target, "/open/x?y=1");
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let world = World::start().await;
    for (case, head) in [
        ("none", "GET /open HTTP/1.1\r\n\r\n"),
        ("two", "GET /open HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (
            "two alike",
            "GET /open HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        ),
        ("empty", "GET /open HTTP/1.1\r\nHost:\r\n\r\n"),
        (
            "other than the target's",
            "GET http://b/open HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("not a host", "GET /open HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("with user", "GET /open HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(head).await;
        let response = connection
            .response()
            .await
            .unwrap_or_else(|| panic!("{case}: no answer"));
        assert_eq!(response.status, 400, "{case}: {response:?}");
    }
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn a_client_of_http_1_0_needs_no_host_but_none_that_cannot_be_read() {
    let world = World::start().await;
    let own = world.upstream.address.to_string();
    for host in ["", "Host:\r\n", "Host: \r\n"] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection
            .send(format!("GET /open HTTP/1.0\r\n{host}\r\n"))
            .await;
        let response = connection.response().await.expect("an answer");
        response.assert_status(200);
        let seen = world.upstream.last();
        assert_eq!(seen.headers("host"), [own.as_str()], "{host:?}");
        assert_eq!(seen.header("x-forwarded-host"), None, "{host:?}");
    }
    let hits = world.upstream.hits();
    for version in ["1.0", "1.1"] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        let head = format!("GET /open HTTP/{version}\r\nHost: e");
        connection.send(head).await;
        connection.send(b"\xffx\r\n\r\n").await;
        let response = connection.response().await.expect("an answer");
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "invalid_request"),
            "{version}"
        );
    }
    assert_eq!(world.upstream.hits(), hits);
}

#[tokio::test]
async fn an_upstream_of_http_2_needs_a_host() {
    let backend = Backend::speaking("a", Speaks::Http2, None).await;
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"] =
            json!({"targets": [{"address": backend.address.to_string()}], "protocol": "h2c"});
    })
    .await;
    let ask = async || {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send("GET /open HTTP/1.0\r\n\r\n").await;
        connection.response().await.expect("an answer")
    };
    let response = ask().await;
    assert_eq!(
        (response.status, response.code().as_str()),
        (400, "invalid_request")
    );
    assert_eq!(backend.hits(), 0);
    world
        .gateway
        .reconfigure(|c| c["apis"][1]["upstream"]["host"] = json!("flights.internal"))
        .await;
    ask().await.assert_status(200);
    assert_eq!(backend.seen().pop().unwrap().host, "flights.internal");
}

#[tokio::test]
async fn a_malformed_head_is_refused_and_the_connection_ends() {
    let world = World::start().await;
    let head = |rest: &str| format!("GET /open HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n");
    for (case, bytes) in [
        ("space before the colon", head("X-A : 1")),
        ("folded line", head("X-A: 1\r\n  2")),
        ("no colon", head("nonsense")),
        ("bad length", head("Content-Length: +5")),
        (
            "two lengths",
            head("Content-Length: 5\r\nContent-Length: 6"),
        ),
        ("no method", " /open HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            "CONNECT",
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
        ),
        (
            "other protocol",
            "GET /open SSH/2.0\r\nHost: a\r\n\r\n".to_owned(),
        ),
    ] {
        let mut connection = Connection::open(world.gateway.proxy).await;
        connection.send(bytes).await;
        let text = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let refused =
            text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 505");
        assert!(refused, "{case}: {text}");
    }
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn logout_is_answered_on_every_host_before_routing() {
    let world = World::start().await;
    for host in ["api.test", "elsewhere.test"] {
        let response = world
            .gateway
            .post("/-/logout")
            .host(host)
            .body("")
            .send()
            .await;
        response.assert_status(204);
    }
    world
        .refuses(world.gateway.get("/-/logout"), 404, "no_route")
        .await;
    world
        .refuses(world.gateway.post("/-/logout/").body(""), 404, "no_route")
        .await;
}

/// A world of public APIs that say who they are by the path that arrives.
struct Routed {
    world: World,
}

impl Routed {
    /// The API that takes a request; `None` where no route does.
    async fn api_of(&self, path: &str, host: &str) -> Option<String> {
        let response = self.world.gateway.get(path).host(host).send().await;
        if response.status == 404 {
            assert_eq!(response.code(), "no_route", "{path}");
            return None;
        }
        response.assert_status(200);
        let host = self
            .world
            .upstream
            .last()
            .header("host")
            .unwrap()
            .to_owned();
        Some(host.trim_end_matches(".upstream").to_owned())
    }
}

async fn with_routes(apis: &[(&str, Value)]) -> Routed {
    let upstream = crate::harness::upstream::Upstream::start().await;
    let world = World::with(|s| {
        let target = s.config["apis"][1]["upstream"]["targets"].clone();
        let list = apis.iter().map(|(name, routes)| {
            let mut entry = public(name, &upstream);
            entry["routes"] = routes.clone();
            entry["upstream"] = json!({"targets": target, "host": format!("{name}.upstream")});
            entry
        });
        s.config["apis"] = list.collect();
    })
    .await;
    Routed { world }
}
