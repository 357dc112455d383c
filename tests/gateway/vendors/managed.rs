//! What the emulations' management APIs say and refuse, asked directly: registration is only
//! tested as far as they are like the real ones.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    auth0::{self, Auth0},
    bridge::{Bridge, KEY},
    emulation::{Emulation, Vendor},
    faithful::Said,
    okta::{MANAGEMENT_SCOPES, Okta},
};

const SECRET: &str = "the-administrators-own";

/// Asks with a line of a field, and a body where there is one.
async fn ask(method: Method, url: &str, (field, line): (&str, &str), body: &Value) -> Said {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, url);
    if !line.is_empty() {
        request = request.header(field, line);
    }
    if !body.is_null() {
        request = request.json(body);
    }
    Said::of(request.send().await.unwrap()).await
}

/// A request that is refused: its name, method, path, body, and then status, the word for the error,
/// and what stands in its text.
type Row<'a> = (&'a str, Method, &'a str, Value, u16, &'a str, &'a str);

async fn refuses(base: &str, key: (&str, &str), (word, text): (&str, &str), rows: &[Row<'_>]) {
    for (case, method, path, body, status, error, told) in rows {
        let said = ask(method.clone(), &format!("{base}{path}"), key, body).await;
        assert_eq!(
            (said.status, said.text(word)),
            (*status, *error),
            "{case}: {}",
            said.body
        );
        assert!(said.text(text).contains(told), "{case}: {}", said.body);
    }
}

async fn token(url: &str, id: &str, further: (&str, &str)) -> Said {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", SECRET),
        further,
    ];
    super::faithful::ask(Method::POST, url, &form, None).await
}

#[tokio::test]
async fn auth0() {
    let idp: Emulation<Auth0> = Emulation::start().await;
    let own = format!("{}/api/v2/", idp.base);
    let url = format!("{}/oauth/token", idp.base);
    let admin = idp.turn(|account, auth0| auth0.administrator(account, SECRET, &auth0::SCOPES));
    let said = token(&url, &admin, ("audience", &own)).await;
    let all = format!("Bearer {}", said.text("access_token"));
    let reader = idp.turn(|account, a| a.administrator(account, SECRET, &["read:clients"]));
    let said = token(&url, &reader, ("audience", &own)).await;
    let reads = format!("Bearer {}", said.text("access_token"));
    let nobody = idp.register(SECRET);
    let said = token(&url, &nobody, ("audience", &own)).await;
    assert_eq!((said.status, said.text("error")), (403, "access_denied"));
    let said = token(&url, &admin, ("audience", auth0::API)).await;
    assert_eq!((said.status, said.text("error")), (403, "access_denied"));

    let (base, all) = (own.as_str(), ("authorization", all.as_str()));
    let words = ("errorCode", "message");
    let good = json!({
        "name": "x", "app_type": "non_interactive", "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_post", "client_metadata": {"a": "1", "b": "2"},
    });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let (post, patch) = (Method::POST, Method::PATCH);
    refuses(
        base,
        all,
        words,
        &[
            (
                "no name",
                post.clone(),
                "clients",
                json!({}),
                400,
                "invalid_body",
                "property: name",
            ),
            (
                "a bracket",
                post.clone(),
                "clients",
                with("name", json!("<x>")),
                400,
                "invalid_body",
                "pattern",
            ),
            (
                "another",
                post.clone(),
                "clients",
                with("x", json!(1)),
                400,
                "invalid_body",
                "not allowed: x",
            ),
            (
                "a long value",
                post.clone(),
                "clients",
                with("client_metadata", json!({"a": "x".repeat(256)})),
                400,
                "invalid_body",
                "256 chars",
            ),
            (
                "a long text",
                post.clone(),
                "clients",
                with("description", json!("x".repeat(141))),
                400,
                "invalid_body",
                "141 chars",
            ),
            (
                "no method",
                post.clone(),
                "clients",
                json!({"name": "x", "grant_types": ["client_credentials"]}),
                400,
                "",
                "Invalid grant types",
            ),
            (
                "unknown",
                Method::GET,
                "clients/x",
                Value::Null,
                404,
                "inexistent_client",
                "does not exist",
            ),
            (
                "unknown",
                patch.clone(),
                "clients/x",
                json!({"name": "y"}),
                404,
                "inexistent_client",
                "does not exist",
            ),
            (
                "unknown",
                post.clone(),
                "clients/x/rotate-secret",
                Value::Null,
                404,
                "inexistent_client",
                "does not exist",
            ),
            (
                "unknown",
                post.clone(),
                "client-grants",
                json!({"client_id": "x", "audience": "x", "scope": []}),
                404,
                "inexistent_client",
                "does not exist",
            ),
            (
                "unknown",
                patch,
                "client-grants/x",
                json!({"scope": []}),
                404,
                "inexistent_client_grant",
                "does not exist",
            ),
            (
                "a big page",
                Method::GET,
                "clients?per_page=101",
                Value::Null,
                400,
                "invalid_query_string",
                "maximum 100",
            ),
        ],
    )
    .await;
    let reads = ("authorization", reads.as_str());
    refuses(
        base,
        reads,
        words,
        &[
            (
                "no scope",
                post.clone(),
                "clients",
                good.clone(),
                403,
                "insufficient_scope",
                "any of: create:clients",
            ),
            (
                "no scope",
                Method::DELETE,
                "clients/x",
                Value::Null,
                403,
                "insufficient_scope",
                "delete:clients",
            ),
            (
                "no scope",
                post.clone(),
                "client-grants",
                json!({}),
                403,
                "insufficient_scope",
                "create:client_grants",
            ),
            (
                "no scope",
                post.clone(),
                "clients/x/rotate-secret",
                Value::Null,
                403,
                "insufficient_scope",
                "update:client_keys",
            ),
        ],
    )
    .await;
    for (line, told) in [
        ("", "Missing authentication"),
        ("Bearer x", "Invalid token"),
    ] {
        let key = ("authorization", line);
        let said = ask(Method::GET, &format!("{own}clients"), key, &Value::Null).await;
        assert_eq!((said.status, said.text("message")), (401, told));
    }

    let made = ask(post.clone(), &format!("{own}clients"), all, &good).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(made.header("x-ratelimit-remaining").parse::<u32>().is_ok());
    let id = made.text("client_id").to_owned();
    assert!(made.text("client_secret").len() > 60);
    let at = |rest: &str| format!("{own}clients/{id}{rest}");
    let read = ask(Method::GET, &at(""), all, &Value::Null).await;
    assert_eq!(
        (read.status, &read.body["client_secret"]),
        (200, &Value::Null)
    );
    let some = ask(
        Method::GET,
        &at("?fields=name&include_fields=true"),
        all,
        &Value::Null,
    )
    .await;
    assert_eq!(some.body, json!({"name": "x"}));
    let merged = json!({"client_metadata": {"a": null, "c": "3"}});
    let merged = ask(Method::PATCH, &at(""), all, &merged).await;
    assert_eq!(merged.body["client_metadata"], json!({"b": "2", "c": "3"}));

    let grants = format!("{own}client-grants");
    let grant = json!({"client_id": id, "audience": auth0::API, "scope": [Auth0::READ]});
    refuses(
        base,
        all,
        words,
        &[
            (
                "an API",
                post.clone(),
                "client-grants",
                json!({"client_id": id, "audience": "x", "scope": []}),
                404,
                "inexistent_resource_server",
                "No resource with identifier x",
            ),
            (
                "a scope",
                post.clone(),
                "client-grants",
                json!({"client_id": id, "audience": auth0::API, "scope": ["x"]}),
                400,
                "invalid_scope",
                "x",
            ),
        ],
    )
    .await;
    let granted = ask(post.clone(), &grants, all, &grant).await;
    assert_eq!(granted.status, 201);
    assert!(granted.text("id").starts_with("cgr_"));
    let again = ask(post.clone(), &grants, all, &grant).await;
    assert_eq!((again.status, again.text("error")), (409, "Conflict"));
    let rotated = ask(post, &at("/rotate-secret"), all, &Value::Null).await;
    assert_eq!(rotated.status, 200);
    assert_ne!(rotated.body["client_secret"], made.body["client_secret"]);
    let listed = ask(
        Method::GET,
        &format!("{grants}?client_id={id}"),
        all,
        &Value::Null,
    )
    .await;
    assert_eq!(listed.body.as_array().unwrap().len(), 1);
    for _ in 0..2 {
        let gone = ask(Method::DELETE, &at(""), all, &Value::Null).await;
        assert_eq!((gone.status, gone.body), (204, Value::Null));
    }
    let listed = ask(
        Method::GET,
        &format!("{grants}?client_id={id}"),
        all,
        &Value::Null,
    )
    .await;
    assert_eq!(listed.body, json!([]), "grants go with their client");
}

#[tokio::test]
async fn okta() {
    const CLIENTS: &str = "/oauth2/v1/clients";
    let idp: Emulation<Okta> = Emulation::start().await;
    idp.turn(|_, okta| okta.management.api_tokens.push("00Q".to_owned()));
    let base = idp.base.clone();
    let key = ("authorization", "SSWS 00Q");
    let good = json!({
        "client_name": "x", "application_type": "service", "grant_types": ["client_credentials"],
        "response_types": ["token"], "token_endpoint_auth_method": "client_secret_post",
    });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let (post, put) = (Method::POST, Method::PUT);
    let wrong = "invalid_client_metadata";
    refuses(
        &base,
        key,
        ("error", "error_description"),
        &[
            (
                "no name",
                post.clone(),
                CLIENTS,
                with("client_name", json!("")),
                400,
                wrong,
                "client_name",
            ),
            (
                "a long one",
                post.clone(),
                CLIENTS,
                with("client_name", json!("x".repeat(101))),
                400,
                wrong,
                "client_name",
            ),
            (
                "a type",
                post.clone(),
                CLIENTS,
                with("application_type", json!("web")),
                400,
                wrong,
                "service",
            ),
            (
                "no response type",
                post.clone(),
                CLIENTS,
                with("response_types", json!([])),
                400,
                wrong,
                "response_types",
            ),
            (
                "an id",
                post.clone(),
                CLIENTS,
                with("client_id", json!("x")),
                400,
                wrong,
                "generated",
            ),
            (
                "a member",
                post.clone(),
                CLIENTS,
                with("client_id_issued_at", json!(1)),
                400,
                wrong,
                "client_id_issued_at",
            ),
        ],
    )
    .await;
    let words = ("errorCode", "errorSummary");
    let secrets = "/api/v1/apps/x/credentials/secrets";
    refuses(
        &base,
        key,
        words,
        &[
            (
                "unknown",
                Method::GET,
                "/oauth2/v1/clients/x",
                Value::Null,
                404,
                "E0000007",
                "x",
            ),
            (
                "unknown",
                put.clone(),
                "/oauth2/v1/clients/x",
                good.clone(),
                404,
                "E0000007",
                "x",
            ),
            (
                "unknown",
                Method::DELETE,
                "/oauth2/v1/clients/x",
                Value::Null,
                404,
                "E0000007",
                "x",
            ),
            (
                "unknown",
                post.clone(),
                "/oauth2/v1/clients/x/lifecycle/newSecret",
                Value::Null,
                404,
                "E0000007",
                "x",
            ),
            (
                "unknown",
                Method::GET,
                secrets,
                Value::Null,
                404,
                "E0000007",
                "x",
            ),
            (
                "no JSON",
                post.clone(),
                CLIENTS,
                Value::Null,
                400,
                "E0000003",
                "well-formed",
            ),
        ],
    )
    .await;
    for (line, code) in [
        ("", "E0000005"),
        ("SSWS x", "E0000011"),
        ("Bearer x", "E0000011"),
    ] {
        let url = format!("{base}{CLIENTS}");
        let said = ask(Method::GET, &url, ("authorization", line), &good).await;
        assert_eq!((said.status, said.text("errorCode")), (401, code), "{line}");
    }

    let made = ask(post.clone(), &format!("{base}{CLIENTS}"), key, &good).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        (
            &made.body["client_secret_expires_at"],
            &made.body["logo_uri"]
        ),
        (&json!(0), &Value::Null)
    );
    assert!(
        made.body.as_object().unwrap().contains_key("logo_uri"),
        "nulls are told"
    );
    let id = made.text("client_id").to_owned();
    let at = format!("{base}{CLIENTS}/{id}");
    let read = ask(Method::GET, &at, key, &Value::Null).await;
    assert!(!read.body.as_object().unwrap().contains_key("client_secret"));
    let mut whole = good.clone();
    whole["client_uri"] = json!("https://acme.example/");
    ask(put.clone(), &at, key, &whole).await;
    let replaced = ask(put.clone(), &at, key, &good).await;
    assert_eq!(
        replaced.body["client_uri"],
        Value::Null,
        "a PUT replaces all"
    );
    assert_eq!(replaced.body["client_secret"], made.body["client_secret"]);

    let secrets = format!("/api/v1/apps/{id}/credentials/secrets");
    let second = ask(post.clone(), &format!("{base}{secrets}"), key, &json!({})).await;
    assert_eq!((second.status, second.text("status")), (201, "ACTIVE"));
    let second = second.text("id").to_owned();
    let one = format!("{secrets}/{second}");
    let (off, new) = (
        format!("{one}/lifecycle/deactivate"),
        format!("{CLIENTS}/{id}/lifecycle/newSecret"),
    );
    let code = "E0000001";
    refuses(
        &base,
        key,
        words,
        &[
            (
                "a third",
                post.clone(),
                &secrets,
                json!({}),
                400,
                code,
                "client_secret",
            ),
            (
                "an active one",
                Method::DELETE,
                &one,
                Value::Null,
                400,
                code,
                "client_secret",
            ),
            (
                "with two",
                post.clone(),
                &new,
                Value::Null,
                400,
                code,
                "client_secret",
            ),
        ],
    )
    .await;
    let listed = ask(Method::GET, &format!("{base}{secrets}"), key, &Value::Null).await;
    let first = listed.body[0]["id"].as_str().unwrap();
    let other = format!("{base}{secrets}/{first}/lifecycle/deactivate");
    assert_eq!(
        ask(post.clone(), &other, key, &Value::Null)
            .await
            .text("status"),
        "INACTIVE"
    );
    refuses(
        &base,
        key,
        words,
        &[("the last", post.clone(), &off, Value::Null, 400, code, "")],
    )
    .await;
    let gone = ask(
        Method::DELETE,
        &format!("{base}{secrets}/{first}"),
        key,
        &Value::Null,
    )
    .await;
    assert_eq!(gone.status, 204);

    for n in 0..3 {
        ask(
            post.clone(),
            &format!("{base}{CLIENTS}"),
            key,
            &with("client_name", json!(format!("y{n}"))),
        )
        .await;
    }
    let page = ask(
        Method::GET,
        &format!("{base}{CLIENTS}?q=y&limit=2"),
        key,
        &Value::Null,
    )
    .await;
    assert_eq!(page.body.as_array().unwrap().len(), 2);
    assert!(
        page.links()
            .iter()
            .any(|link| link.contains("after=") && link.ends_with("rel=\"next\""))
    );
    let all = ask(
        Method::GET,
        &format!("{base}{CLIENTS}?q=y"),
        key,
        &Value::Null,
    )
    .await;
    assert_eq!(
        (all.body.as_array().unwrap().len(), all.links().len()),
        (3, 1)
    );

    // What access tokens may do is decided by their scopes.
    let id_alone = idp.register(SECRET);
    let url = format!("{base}/oauth2/v1/token");
    let said = token(&url, &id_alone, ("scope", MANAGEMENT_SCOPES[0])).await;
    assert_eq!((said.status, said.text("error")), (401, "invalid_client"));
    assert!(
        said.text("error_description").contains("private_key_jwt"),
        "no secret will do"
    );
    let line = format!(
        "Bearer {}",
        idp.turn(|_, okta| okta.access_token(&MANAGEMENT_SCOPES[..1]))
    );
    let reads = ("authorization", line.as_str());
    assert_eq!(ask(Method::GET, &at, reads, &Value::Null).await.status, 200);
    let said = ask(Method::DELETE, &at, reads, &Value::Null).await;
    assert_eq!((said.status, said.text("errorCode")), (403, "E0000006"));
    assert!(
        said.header("www-authenticate")
            .contains("insufficient_scope")
    );
    let gone = ask(Method::DELETE, &at, key, &Value::Null).await;
    assert_eq!((gone.status, gone.body), (204, Value::Null));
}

#[tokio::test]
async fn bridge() {
    let idp: Emulation<Bridge> = Emulation::start().await;
    let base = idp.turn(|_, bridge| bridge.address());
    let uuid = uuid::Uuid::nil().to_string();
    let good = json!({
        "client_name": "x", "redirect_uris": [], "grant_types": ["client_credentials"],
        "scopes": [Bridge::READ], "token_endpoint_auth_method": "client_secret_post",
        "application_description": "", "portal_id": uuid, "organization_id": uuid,
        "developer_id": uuid, "auth_strategy_id": uuid, "dcr_provider_id": uuid,
    });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("scopes");
    let post = Method::POST;
    let words = ("error", "error_description");
    let wrong = "invalid_request";
    let key = ("x-api-key", KEY);
    refuses(
        &base,
        key,
        words,
        &[
            (
                "one is missing",
                post.clone(),
                "/",
                without,
                400,
                wrong,
                "'scopes'",
            ),
            (
                "one too many",
                post.clone(),
                "/",
                with("x", json!(1)),
                400,
                wrong,
                "'x'",
            ),
            (
                "no UUID",
                post.clone(),
                "/",
                with("portal_id", json!("x")),
                400,
                wrong,
                "portal_id",
            ),
            (
                "unknown",
                Method::DELETE,
                "/x",
                Value::Null,
                404,
                "not_found",
                "",
            ),
            (
                "unknown",
                post.clone(),
                "/x/new-secret",
                Value::Null,
                404,
                "not_found",
                "",
            ),
        ],
    )
    .await;
    for line in ["", "x"] {
        let said = ask(
            post.clone(),
            &format!("{base}/"),
            ("x-api-key", line),
            &good,
        )
        .await;
        assert_eq!((said.status, said.text("error")), (401, "Unauthorized"));
    }
    let made = ask(post.clone(), &format!("{base}/"), key, &good).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.text("client_id").to_owned();
    let rotated = ask(
        post.clone(),
        &format!("{base}/{id}/new-secret"),
        key,
        &Value::Null,
    )
    .await;
    assert_eq!((rotated.status, rotated.text("client_id")), (200, &*id));
    let mut event = json!({
        "event_type": "add_registration", "client_id": id, "application_id": uuid,
        "application_name": "x", "application_description": "", "portal_id": uuid,
        "organization_id": uuid, "developer_id": uuid, "auth_strategy_id": uuid,
        "dcr_provider_id": uuid,
    });
    let hook = format!("/{id}/event-hook");
    refuses(
        &base,
        key,
        words,
        &[
            (
                "no API",
                post.clone(),
                &hook,
                event.clone(),
                400,
                wrong,
                "'api_product_version_id'",
            ),
            (
                "no event",
                post.clone(),
                &hook,
                json!({"event_type": "x"}),
                400,
                wrong,
                "event",
            ),
        ],
    )
    .await;
    event["api_product_version_id"] = json!(uuid);
    assert_eq!(
        ask(post, &format!("{base}{hook}"), key, &event)
            .await
            .status,
        200
    );
    let gone = ask(Method::DELETE, &format!("{base}/{id}"), key, &Value::Null).await;
    assert_eq!(gone.status, 204);
}
