//! Bodies that are none: each has its answer, and none is a fault of the gateway's.

use serde_json::{Value, json};

use super::{Portal, faults};
use crate::harness::client::Connection;

const TARGET: &str = "/v2/dcr-providers";

#[tokio::test]
async fn a_body_is_json() {
    let portal = Portal::start().await;
    let post = |kind: Option<&str>, body: &str| {
        let call = portal.call("POST", TARGET).body(body);
        kind.map_or(call.clone(), |kind| call.header("Content-Type", kind))
    };
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
        Some(""),
    ] {
        let response = post(kind, "{}").send().await;
        response.assert_problem(415, "unsupported_media_type");
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        let response = post(Some(kind), "{}").send().await;
        response.assert_problem(400, "invalid_parameters");
    }
    for (body, detail) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{\"name\": sesame}", "line 1 column 10"),
        ("{\n\"name\" \"sesame\"}", "line 2 column 8"),
        ("{} sesame", "line 1 column 4"),
        ("{\"name\": 1e999}", "line 1"),
        ("{\"sesame\": 1, \"sesame\": 2}", "repeated"),
        ("{\"name\": \"\\ud800\"}", "line 1"),
        ("'sesame'", "line 1 column 1"),
    ] {
        let response = post(Some("application/json"), body).send().await;
        response.assert_problem(400, "malformed_json");
        let text = response.text();
        assert!(text.contains(detail), "{body}: {text}");
        assert!(!text.contains("sesame"), "{body} is repeated: {text}");
    }
    for body in ["[]", "null", "7", "\"sesame\"", "true"] {
        let response = post(Some("application/json"), body).send().await;
        assert_eq!(
            faults(&response),
            [(String::new(), "type".to_owned())],
            "{body}"
        );
    }
    let invalid = [b"{\"name\": \"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    let call = portal
        .call("POST", TARGET)
        .header("Content-Type", "application/json");
    call.body(invalid)
        .send()
        .await
        .assert_problem(400, "malformed_json");
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_no_value_is() {
    let portal = Portal::start().await;
    let body = json!({
        "name": "sesame sesame", "provider_type": "auth0", "issuer": "sesame", "nmae": 1,
        "dcr_config": {"initial_client_secret": 7, "sesam": true},
    });
    let response = portal.post(TARGET, &body).await;
    let mut found = faults(&response);
    found.sort();
    let wanted = [
        ("dcr_config.initial_client_id", "required"),
        ("dcr_config.initial_client_secret", "type"),
        ("dcr_config.sesam", "unknown_property"),
        ("issuer", "pattern"),
        ("name", "pattern"),
        ("nmae", "unknown_property"),
    ];
    let wanted = wanted.map(|(field, rule)| (field.to_owned(), rule.to_owned()));
    assert_eq!(found, wanted);
    assert!(!response.text().contains("sesame"), "{}", response.text());
    let many: serde_json::Map<_, _> = (0..500).map(|n| (format!("x{n}"), json!(n))).collect();
    let response = portal.patch("/v2/apis/flights", &Value::Object(many)).await;
    assert!(faults(&response).len() <= 20, "bounded");
}

#[tokio::test]
async fn of_several_ways_those_are_told_that_are_open() {
    let portal = Portal::start().await;
    for (config, field, wanted) in [
        (
            json!({}),
            "dcr_config",
            "expected initial_access_token, or initial_client_id and initial_client_secret, or open",
        ),
        (
            json!({"initial_client_id": "a"}),
            "dcr_config",
            "expected initial_client_secret",
        ),
        (
            json!({"open": true, "initial_access_token": "t"}),
            "dcr_config.open",
            "expected false",
        ),
    ] {
        let body = json!({
            "name": "idp", "provider_type": "generic", "issuer": "https://idp.example.com",
            "dcr_config": config,
        });
        let told = portal.post(TARGET, &body).await;
        let told = told.assert_status(400).json();
        let fault = &told["invalid_parameters"][0];
        assert_eq!(
            (&fault["field"], &fault["reason"]),
            (&json!(field), &json!(wanted)),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_body_is_at_most_64_kib() {
    let portal = Portal::start().await;
    let of = |length: usize| {
        let text = "x".repeat(length - 9);
        format!("{{\"nam\":\"{text}")[..length - 2].to_owned() + "\"}"
    };
    let fits = portal
        .call("POST", TARGET)
        .header("Content-Type", "application/json");
    fits.body(of(65_536))
        .send()
        .await
        .assert_problem(400, "invalid_parameters");
    let call = portal
        .call("POST", TARGET)
        .header("Content-Type", "application/json");
    call.body(of(65_537))
        .send()
        .await
        .assert_problem(413, "body_too_large");
    // Without a length, and never whole.
    let head = portal
        .call("POST", TARGET)
        .header("Transfer-Encoding", "chunked");
    let mut connection = Connection::open(portal.world.gateway.admin).await;
    connection.send(head.bytes()).await;
    for _ in 0..40 {
        connection
            .send(format!("800\r\n{}\r\n", "x".repeat(0x800)))
            .await;
    }
    let response = connection.response_to("POST").await.unwrap();
    response.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn nothing_sent_is_a_fault_of_the_gateway() {
    let portal = Portal::start().await;
    let document = portal.read("/v2/openapi.json").await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_objects = "{\"a\":".repeat(9_000);
    let wide = format!("{{{}\"z\":1}}", "\"a\":[],".repeat(9_000));
    let long_name = format!("{{\"{}\":1}}", "k".repeat(60_000));
    let every: Value = json!({
        "name": [], "display_name": {}, "provider_type": {}, "issuer": 1e300, "dcr_config": [],
        "labels": "x", "strategy_type": 1, "configs": {"openid-connect": 7}, "dcr_provider_id": 1,
        "owner": "x", "auth_strategy_id": true, "scopes": {}, "status": [], "api_id": -1,
    });
    let nulls = "{\"name\":\"a\\u0000b\",\"owner\":{\"type\":\"developer\",\"id\":\"\\u0000\"}}";
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|method| *method != "get")
        {
            let path = path.replace("{name}", "flights");
            for body in [
                &*deep,
                &deep_objects,
                &wide,
                &long_name,
                &every.to_string(),
                nulls,
                "{}",
                "",
                "\0",
            ] {
                let target = path.replace("{id}", "c1e5c0e4-9d07-4f0f-9f63-9a4a1c2ff0a7");
                let target = target.replace("{credential_id}", "%00");
                let call = portal.call(&method.to_ascii_uppercase(), &target);
                let call = call.header("Content-Type", "application/json").body(body);
                let response = loop {
                    let response = call.send().await;
                    if response.status != 429 {
                        break response;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                };
                let start: String = body.chars().take(40).collect();
                let known = matches!(response.status, 200..=299 | 400 | 404 | 409 | 413);
                assert!(known, "{method} {target} {start}: {response:?}");
            }
        }
    }
}
