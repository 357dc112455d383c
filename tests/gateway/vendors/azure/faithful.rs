//! What the emulation of Microsoft Graph says and refuses, asked directly.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADMINISTRATOR, API, Azure, GRAPH,
    graph::{ALL, Lag, OWNED_BY},
};
use crate::vendors::{
    emulation::Emulation,
    faithful::{Said, ask, manage},
    site::SECRET,
};

/// A tenant whose administrator has a token for Graph.
struct Tenant {
    idp: Emulation<Azure<2>>,
    line: String,
}

impl Tenant {
    async fn start(permission: &str) -> Self {
        let idp: Emulation<Azure<2>> = Emulation::start().await;
        idp.turn(|account, azure| azure.appoint(account, permission));
        let said = token(&idp, ADMINISTRATOR, &format!("{GRAPH}/.default")).await;
        let line = format!("Bearer {}", said.text("access_token"));
        Self { idp, line }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Said {
        let url = format!("{}/v1.0{path}", self.idp.base);
        let body = (!body.is_null()).then_some(&body);
        manage(method, &url, Some(&self.line), body).await
    }

    /// Makes an application; both of its ids.
    async fn create(&self, body: Value) -> (String, String) {
        let said = self.ask(Method::POST, "/applications", body).await;
        assert_eq!(said.status, 201, "{}", said.body);
        (said.text("id").to_owned(), said.text("appId").to_owned())
    }

    async fn refuses(&self, method: Method, path: &str, body: Value, status: u16, code: &str) {
        let said = self.ask(method, path, body).await;
        assert_eq!(said.status, status, "{path}: {}", said.body);
        let error = &said.body["error"];
        assert_eq!(error["code"], code, "{path}");
        assert!(error["message"].is_string(), "{path}");
        for name in ["date", "request-id", "client-request-id"] {
            assert!(error["innerError"][name].is_string(), "{path}: {error}");
        }
    }
}

async fn token(idp: &Emulation<Azure<2>>, (id, secret): (&str, &str), scope: &str) -> Said {
    let tenant = idp.turn(|_, azure| azure.tenant.clone());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", idp.base);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
        ("scope", scope),
    ];
    ask(Method::POST, &url, &form, None).await
}

#[tokio::test]
async fn an_application_is_known_by_two_ids() {
    let tenant = Tenant::start(OWNED_BY).await;
    let new = json!({"displayName": "Portal app", "tags": ["of:42"],
                     "api": {"requestedAccessTokenVersion": 2}});
    let (id, app_id) = tenant.create(new).await;
    assert_ne!(id, app_id);
    for path in [
        format!("/applications/{id}"),
        format!("/applications(appId='{app_id}')"),
    ] {
        let said = tenant.ask(Method::GET, &path, Value::Null).await;
        assert_eq!((said.text("id"), said.text("appId")), (&*id, &*app_id));
        assert_eq!(said.text("signInAudience"), "AzureADMyOrg");
        assert_eq!(said.body["api"]["requestedAccessTokenVersion"], 2);
        let context = said.text("@odata.context");
        assert!(
            context.ends_with("/v1.0/$metadata#applications/$entity"),
            "{context}"
        );
    }
    let path = format!("/applications/{id}");
    let said = tenant
        .ask(Method::PATCH, &path, json!({"displayName": "New"}))
        .await;
    assert_eq!((said.status, &said.body), (204, &Value::Null));
    let said = tenant
        .ask(
            Method::GET,
            &format!("{path}?$select=displayName"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (said.text("displayName"), &said.body["appId"]),
        ("New", &Value::Null)
    );
    for (method, path, body, status, code) in [
        (
            Method::POST,
            "/applications",
            json!({}),
            400,
            "Request_BadRequest",
        ),
        (
            Method::POST,
            "/applications",
            json!({"displayName": "x", "secret": 1}),
            400,
            "Request_BadRequest",
        ),
        (
            Method::POST,
            "/applications",
            json!({"displayName": "x", "passwordCredentials": [{}]}),
            400,
            "Request_BadRequest",
        ),
        (
            Method::GET,
            "/applications/gone",
            Value::Null,
            404,
            "Request_ResourceNotFound",
        ),
        (
            Method::GET,
            "/applications?$filter=notes eq 'x'",
            Value::Null,
            400,
            "Request_UnsupportedQuery",
        ),
        (
            Method::POST,
            "/servicePrincipals",
            json!({"appId": "gone"}),
            400,
            "Request_BadRequest",
        ),
        (
            Method::DELETE,
            "/directory/deletedItems/gone",
            Value::Null,
            404,
            "Request_ResourceNotFound",
        ),
    ] {
        tenant.refuses(method, path, body, status, code).await;
    }
}

#[tokio::test]
async fn only_a_token_for_graph_with_a_permission_counts() {
    let tenant = Tenant::start(OWNED_BY).await;
    let (id, _) = tenant.create(json!({"displayName": "x"})).await;
    let path = format!("/applications/{id}");
    let url = format!("{}/v1.0{path}", tenant.idp.base);
    let other = tenant.idp.register(SECRET);
    let said = token(&tenant.idp, (&other, SECRET), &format!("{API}/.default")).await;
    let for_the_api = format!("Bearer {}", said.text("access_token"));
    for line in [None, Some("Bearer x"), Some(&*for_the_api)] {
        let said = manage(Method::GET, &url, line, None).await;
        assert_eq!(said.status, 401);
        assert_eq!(said.body["error"]["code"], "InvalidAuthenticationToken");
    }
    let said = token(&tenant.idp, (&other, SECRET), &format!("{GRAPH}/.default")).await;
    let line = format!("Bearer {}", said.text("access_token"));
    for (permission, reads, changes) in [
        ("User.Read.All", 403, 403),
        (OWNED_BY, 200, 403),
        (ALL, 200, 204),
    ] {
        tenant
            .idp
            .client(&other, |client| client.scopes = vec![permission.to_owned()]);
        let said = manage(Method::GET, &url, Some(&line), None).await;
        assert_eq!(said.status, reads, "{permission}");
        let said = manage(
            Method::PATCH,
            &url,
            Some(&line),
            Some(&json!({"notes": "x"})),
        )
        .await;
        assert_eq!(said.status, changes, "{permission}");
    }
}

#[tokio::test]
async fn the_directory_takes_its_time() {
    let tenant = Tenant::start(OWNED_BY).await;
    tenant.idp.turn(|_, azure| {
        azure.graph.lag = Lag {
            principal: 2,
            application: 1,
            list: 1,
            secret: 2,
        };
    });
    let (id, app_id) = tenant.create(json!({"displayName": "x"})).await;
    let path = format!("/applications/{id}/addPassword");
    tenant
        .refuses(
            Method::POST,
            &path,
            json!({}),
            404,
            "Request_ResourceNotFound",
        )
        .await;
    let principal = json!({"appId": app_id});
    for _ in 0..2 {
        tenant
            .refuses(
                Method::POST,
                "/servicePrincipals",
                principal.clone(),
                400,
                "Request_BadRequest",
            )
            .await;
    }
    for count in [0, 1] {
        let said = tenant.ask(Method::GET, "/applications", Value::Null).await;
        assert_eq!(said.body["value"].as_array().unwrap().len(), count);
    }
    let said = tenant
        .ask(
            Method::POST,
            &path,
            json!({"passwordCredential": {"displayName": "p"}}),
        )
        .await;
    assert_eq!(said.status, 200, "{}", said.body);
    let secret = said.text("secretText").to_owned();
    assert!(
        "[~+:@]".chars().all(|awkward| secret.contains(awkward)),
        "{secret}"
    );
    assert_eq!(said.text("hint"), &secret[..3]);
    let years = |name: &str| said.text(name)[..4].parse::<u32>().unwrap();
    assert_eq!(years("endDateTime") - years("startDateTime"), 2);
    let scope = format!("{API}/.default");
    let pair = (&*app_id, &*secret);
    for (status, code) in [(400, 700_016), (401, 7_000_215), (401, 7_000_229)] {
        let said = token(&tenant.idp, pair, &scope).await;
        assert_eq!(
            (said.status, &said.body["error_codes"]),
            (status, &json!([code]))
        );
    }
    let said = tenant
        .ask(Method::POST, "/servicePrincipals", principal.clone())
        .await;
    assert_eq!(said.status, 201);
    tenant
        .refuses(
            Method::POST,
            "/servicePrincipals",
            principal,
            409,
            "Request_MultipleObjectsWithSameKeyValue",
        )
        .await;
    let path = format!("/servicePrincipals(appId='{app_id}')");
    let found = tenant.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(found.text("id"), said.text("id"));
    assert_eq!(token(&tenant.idp, pair, &scope).await.status, 200);
}

#[tokio::test]
async fn secrets_come_and_go_and_are_shown_once() {
    let tenant = Tenant::start(OWNED_BY).await;
    let (id, app_id) = tenant.create(json!({"displayName": "x"})).await;
    tenant
        .ask(Method::POST, "/servicePrincipals", json!({"appId": app_id}))
        .await;
    let path = format!("/applications/{id}");
    let mut made = Vec::new();
    for end in [Value::Null, json!("2030-01-01T00:00:00Z")] {
        let body = json!({"passwordCredential": {"displayName": "p", "endDateTime": end}});
        made.push(
            tenant
                .ask(Method::POST, &format!("{path}/addPassword"), body)
                .await,
        );
    }
    assert_eq!(made[1].text("endDateTime"), "2030-01-01T00:00:00Z");
    let said = tenant.ask(Method::GET, &path, Value::Null).await;
    let listed = said.body["passwordCredentials"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for (entry, made) in listed.iter().zip(&made) {
        assert_eq!(entry["keyId"], made.text("keyId"));
        assert_eq!(
            (&entry["secretText"], entry["hint"].as_str()),
            (&Value::Null, Some(made.text("hint")))
        );
    }
    let scope = format!("{API}/.default");
    let key = json!({"keyId": made[0].text("keyId")});
    let said = tenant
        .ask(Method::POST, &format!("{path}/removePassword"), key.clone())
        .await;
    assert_eq!(said.status, 204);
    for (made, status) in made.iter().zip([401, 200]) {
        let said = token(&tenant.idp, (&app_id, made.text("secretText")), &scope).await;
        assert_eq!(said.status, status);
    }
    tenant
        .refuses(
            Method::POST,
            &format!("{path}/removePassword"),
            key,
            400,
            "Request_BadRequest",
        )
        .await;
}

#[tokio::test]
async fn what_is_deleted_can_be_deleted_for_good() {
    let tenant = Tenant::start(OWNED_BY).await;
    let (id, app_id) = tenant.create(json!({"displayName": "x"})).await;
    tenant
        .ask(Method::POST, "/servicePrincipals", json!({"appId": app_id}))
        .await;
    let path = format!("/applications/{id}");
    assert_eq!(
        tenant.ask(Method::DELETE, &path, Value::Null).await.status,
        204
    );
    tenant
        .refuses(
            Method::DELETE,
            &path,
            Value::Null,
            404,
            "Request_ResourceNotFound",
        )
        .await;
    tenant.idp.turn(|account, azure| {
        assert!(!account.clients.contains_key(&app_id));
        assert!(azure.graph.principals.is_empty());
        assert_eq!(azure.graph.deleted.len(), 1);
    });
    let path = format!("/directory/deletedItems/{id}");
    assert_eq!(
        tenant.ask(Method::DELETE, &path, Value::Null).await.status,
        204
    );
    tenant
        .idp
        .turn(|_, azure| assert!(azure.graph.deleted.is_empty()));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let tenant = Tenant::start(OWNED_BY).await;
    tenant.idp.turn(|_, azure| azure.graph.page = 2);
    for n in 0..5 {
        let tag = if n == 2 { "other" } else { "it's:42" };
        tenant
            .create(json!({"displayName": format!("app {n}"), "tags": [tag]}))
            .await;
    }
    let filter = "$filter=tags/any(t:t%20eq%20'it''s:42')&$select=displayName";
    let mut url = format!("{}/v1.0/applications?{filter}", tenant.idp.base);
    let mut names = Vec::new();
    for last in [false, true] {
        let said = manage(Method::GET, &url, Some(&tenant.line), None).await;
        let page = said.body["value"].as_array().unwrap().clone();
        names.extend(
            page.iter()
                .map(|entry| entry["displayName"].as_str().unwrap().to_owned()),
        );
        assert_eq!(
            said.body["@odata.nextLink"].is_null(),
            last,
            "{}",
            said.body
        );
        url = said.text("@odata.nextLink").to_owned();
    }
    assert_eq!(names, ["app 0", "app 1", "app 3", "app 4"]);
    let path = "/applications?$filter=displayName eq 'app 2'";
    let said = tenant.ask(Method::GET, path, Value::Null).await;
    assert_eq!(said.body["value"][0]["tags"], json!(["other"]));
}
