//! Every route, without, with a wrong and with the right token; what is no route.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::Portal;
use crate::harness::{
    World,
    client::{Call, Connection, Response},
    gateway::ADMIN_TOKEN,
};

const ID: &str = "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7";

/// Method and path of every operation that the document names.
async fn operations(portal: &Portal) -> Vec<(String, String)> {
    let document = portal.read("/v2/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{name}", "flights");
        let path = path.replace("{id}", ID).replace("{credential_id}", ID);
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.to_ascii_uppercase(), path.clone()))
    });
    let all: Vec<_> = all.collect();
    assert!(all.len() > 30, "{all:?}");
    all
}

/// Sends from an address of this machine that nobody else uses, since wrong tokens are counted.
async fn from(source: [u8; 4], call: Call) -> Response {
    let socket = TcpSocket::new_v4().unwrap();
    let source = IpAddr::V4(Ipv4Addr::from(source));
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    let stream = socket.connect(call.address).await.unwrap();
    let mut connection = Connection::on(stream);
    call.send_on(&mut connection).await.unwrap()
}

#[tokio::test]
async fn every_route_needs_the_token() {
    let portal = Portal::start().await;
    let admin = portal.world.gateway.admin;
    for (number, (method, path)) in operations(&portal).await.into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let bare = Call::new(admin, &method, &path);
        for (case, call) in [
            ("none", bare.clone()),
            ("wrong", bare.clone().bearer("wrong")),
            ("longer", bare.clone().bearer(&format!("{ADMIN_TOKEN}x"))),
            ("shorter", bare.clone().bearer(&ADMIN_TOKEN[1..])),
            ("empty", bare.clone().authorization("Bearer ")),
            ("another scheme", bare.clone().basic("admin", ADMIN_TOKEN)),
            (
                "in the query",
                Call::new(
                    admin,
                    &method,
                    &format!("{path}?access_token={ADMIN_TOKEN}"),
                ),
            ),
        ] {
            let response = from([127, 1, 1, number + 1], call).await;
            assert_eq!(response.status, 401, "{case} {method} {path}: {response:?}");
            response.assert_problem(401, "token_required");
            assert_eq!(response.challenges(), ["Bearer realm=\"admin\""]);
        }
        let right = bare.header("Content-Type", "application/json").body("[]");
        let response = right.bearer(ADMIN_TOKEN).send().await;
        assert_ne!(response.status, 401, "{method} {path}");
        assert!(response.status < 500, "{method} {path}: {response:?}");
        assert!(response.header("x-request-id").is_some(), "{method} {path}");
        assert_eq!(
            response.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn what_is_no_route_says_so() {
    let portal = Portal::start().await;
    for path in [
        "/v2",
        "/v2/",
        "/v2/nothing",
        "/v2/applications/",
        "/V2/applications",
        "/nothing",
        "/v2/applications/x/y/z",
    ] {
        let response = portal.get(path).send().await;
        response.assert_problem(404, "not_found");
    }
    for path in [
        "/v2/applications/7",
        "/v2/applications/%00",
        "/v2/applications/%ff",
        "/v2/apis/nobody",
        "/v2/apis/%00",
        &format!("/v2/applications/{ID}"),
        &format!("/v2/dcr-providers/{ID}"),
    ] {
        let response = portal.get(path).send().await;
        response.assert_problem(404, "not_found");
    }
    for (method, path, allow) in [
        ("DELETE", "/v2/applications", vec!["GET", "HEAD", "POST"]),
        ("PUT", "/v2/apis/flights", vec!["GET", "HEAD", "PATCH"]),
        ("GET", "/v2/applications/x/regenerate-secret", vec!["POST"]),
        ("OPTIONS", "/v2/applications", vec!["GET", "HEAD", "POST"]),
        ("TRACE", "/v2/audit", vec!["GET", "HEAD"]),
        ("VERB", "/v2/audit", vec!["GET", "HEAD"]),
    ] {
        let response = portal.call(method, path).send().await;
        response.assert_problem(405, "method_not_allowed");
        let told = response.header("allow").unwrap_or_default();
        let mut told: Vec<_> = told.split(',').map(str::trim).collect();
        told.sort_unstable();
        assert_eq!(told, allow, "{method} {path}");
    }
}

#[tokio::test]
async fn head_answers_as_get_without_its_body() {
    let portal = Portal::start().await;
    for (path, status) in [
        ("/v2/applications", 200),
        ("/v2/apis/flights", 200),
        ("/v2/no", 404),
    ] {
        let get = portal.get(path).send().await;
        let head = portal.call("HEAD", path).send().await;
        assert_eq!((get.status, head.status), (status, status), "{path}");
        assert!(head.body.is_empty());
        for field in ["content-type", "content-length", "etag", "cache-control"] {
            assert_eq!(
                get.header(field).is_some(),
                head.header(field).is_some(),
                "{path} {field}"
            );
        }
    }
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let portal = Portal::start().await;
    let named = portal.get("/v2/no").header("X-Request-Id", "mine-7");
    let response = named.send().await;
    assert_eq!(response.header("x-request-id"), Some("mine-7"));
    assert_eq!(response.json()["request_id"], "mine-7");
    assert_eq!(
        response.json()["instance"],
        "urn:dcr-gateway:request:mine-7"
    );
    let forged = portal.get("/v2/no").header("X-Request-Id", "a b\"c");
    let id = forged.send().await.json()["request_id"].clone();
    assert!(uuid::Uuid::try_parse(id.as_str().unwrap()).is_ok(), "{id}");
}

#[tokio::test]
async fn with_the_file_everything_can_be_read_and_nothing_written() {
    let portal = Portal {
        world: World::start().await,
    };
    for (method, path) in operations(&portal).await {
        let response = portal
            .with_json(&method, &path, &json!({"nonsense": 1}))
            .send()
            .await;
        if method == "GET" {
            assert!(matches!(response.status, 200 | 404), "{path}: {response:?}");
        } else {
            response.assert_problem(409, "registry_read_only");
        }
    }
    let applications = portal.read("/v2/applications").await;
    assert_eq!(applications["meta"]["page"]["total"], 1);
    let application = &applications["data"][0];
    assert_eq!(application["client_id"], crate::harness::APP);
    assert_eq!(application["registration_count"], 1);
    let id = application["id"].as_str().unwrap();
    let one = portal.read(&format!("/v2/applications/{id}")).await;
    assert_eq!(&one, application);
    let strategies = portal.read("/v2/application-auth-strategies").await;
    assert_eq!(strategies["data"][0]["source"], "file");
    let registrations = portal
        .read(&format!("/v2/applications/{id}/registrations"))
        .await;
    assert_eq!(registrations["data"][0]["status"], "approved");
    assert_eq!(
        portal.read("/v2/audit").await["data"],
        Value::Array(Vec::new())
    );
}

#[tokio::test]
async fn the_status_address_has_none_of_it() {
    let portal = Portal::with(|s| s.config["status"] = json!({"address": "127.0.0.1:0"})).await;
    let address = portal.world.gateway.address("status").unwrap();
    let call = Call::new(address, "GET", "/v2/applications").bearer(ADMIN_TOKEN);
    call.send().await.assert_status(404);
}
