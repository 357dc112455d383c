//! What the emulations say and what they refuse, asked directly: they are only worth as much as
//! they are like the real ones.

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use super::{
    auth0::Auth0,
    azure::Azure,
    emulation::{Emulation, Vendor},
    okta::Okta,
    site::SECRET,
};

/// An answer: status, fields, body.
pub(crate) struct Said {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Value,
}

impl Said {
    /// What an answer says.
    pub(crate) async fn of(answer: reqwest::Response) -> Self {
        Self {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    /// Every line of `Link`.
    pub(crate) fn links(&self) -> Vec<&str> {
        let lines = self.headers.get_all("link").iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// The value of a field; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }

    /// A member of the body as text; empty where it is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }
}

/// Asks an emulation, whose certificate may be its own.
pub(crate) async fn ask(
    method: Method,
    url: &str,
    form: &[(&str, &str)],
    basic: Option<&str>,
) -> Said {
    let client = reqwest::Client::builder().no_proxy();
    let client = client.tls_danger_accept_invalid_certs(true);
    let client = client.build().unwrap();
    let mut request = client.request(method, url).form(form);
    if let Some(id) = basic {
        request = request.basic_auth(id, Some(SECRET));
    }
    Said::of(request.send().await.unwrap()).await
}

/// Asks a management API: with an Authorization line and a JSON body, where there are any.
pub(crate) async fn manage(
    method: Method,
    url: &str,
    authorization: Option<&str>,
    body: Option<&Value>,
) -> Said {
    let client = reqwest::Client::builder().no_proxy();
    let client = client.tls_danger_accept_invalid_certs(true);
    let mut request = client.build().unwrap().request(method, url);
    if let Some(line) = authorization {
        request = request.header("authorization", line);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    Said::of(request.send().await.unwrap()).await
}

pub(crate) async fn get(url: &str) -> Said {
    ask(Method::GET, url, &[], None).await
}

/// A token request that is refused: the case, further fields, status, error, and what stands in the
/// description.
pub(crate) type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);

/// Asks for a token as an ordinary client does, with each row's fields in the place of its own;
/// an empty value leaves a field out.
pub(crate) async fn refuses<V: Vendor>(
    idp: &Emulation<V>,
    path: &str,
    ordinary: &[(&str, &str)],
    rows: &[Row<'_>],
) {
    let id = idp.register(SECRET);
    let url = format!("{}{path}", idp.base);
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", &*id),
        ("client_secret", SECRET),
    ];
    let ordinary = [&own, ordinary].concat();
    let good = ask(Method::POST, &url, &ordinary, None).await;
    assert_eq!(good.status, 200, "{}", good.body);
    for (case, fields, status, error, description) in rows {
        let mut form = ordinary.clone();
        form.retain(|(name, _)| fields.iter().all(|(other, _)| other != name));
        form.extend(fields.iter().filter(|(_, value)| !value.is_empty()));
        let said = ask(Method::POST, &url, &form, None).await;
        let told = said.text("error_description");
        assert_eq!(
            (said.status, said.text("error")),
            (*status, *error),
            "{case}: {told}"
        );
        assert!(told.contains(description), "{case}: {told}");
    }
}

#[tokio::test]
async fn auth0() {
    let idp: Emulation<Auth0> = Emulation::start().await;
    let openid = get(&format!("{}/.well-known/openid-configuration", idp.base)).await;
    let oauth = get(&format!(
        "{}/.well-known/oauth-authorization-server",
        idp.base
    ))
    .await;
    assert_eq!(openid.body, oauth.body);
    assert_eq!(openid.text("issuer"), format!("{}/", idp.base));
    assert_eq!(openid.body["introspection_endpoint"], Value::Null);
    let keys = get(openid.text("jwks_uri")).await;
    for said in [&openid, &keys] {
        assert!(
            said.header("cache-control")
                .starts_with("public, max-age=15, ")
        );
    }
    let keys = keys.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "the one that signs, and the next");
    for key in keys {
        assert_eq!((&key["alg"], &key["use"]), (&json!("RS256"), &json!("sig")));
        assert!(key["x5c"][0].is_string() && key["x5t"].is_string(), "{key}");
    }
    refuses(
        &idp,
        "/oauth/token",
        &[("audience", super::auth0::API)],
        &[
            (
                "wrong secret",
                &[("client_secret", "x")],
                401,
                "access_denied",
                "Unauthorized",
            ),
            (
                "unknown client",
                &[("client_id", "x")],
                401,
                "access_denied",
                "Unauthorized",
            ),
            (
                "no client",
                &[("client_id", "")],
                401,
                "invalid_client",
                "Missing client_id",
            ),
            (
                "no audience",
                &[("audience", "")],
                403,
                "access_denied",
                "Non-global clients",
            ),
            (
                "`resource`",
                &[("audience", ""), ("resource", "x")],
                403,
                "access_denied",
                "Non-",
            ),
            (
                "no API",
                &[("audience", "x")],
                403,
                "access_denied",
                "Service not found: x",
            ),
            (
                "a scope",
                &[("scope", "x")],
                403,
                "access_denied",
                "not been granted scopes: x",
            ),
            (
                "a grant",
                &[("grant_type", "x")],
                403,
                "unauthorized_client",
                "'x' not allowed",
            ),
        ],
    )
    .await;
    let said = ask(Method::POST, openid.text("token_endpoint"), &[], None).await;
    for name in [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ] {
        assert!(said.header(name).parse::<u64>().is_ok(), "{name}");
    }
}

#[tokio::test]
async fn okta() {
    let idp: Emulation<Okta> = Emulation::start().await;
    let base = &idp.base;
    let openid = get(&format!(
        "{base}/oauth2/default/.well-known/openid-configuration"
    ))
    .await;
    let oauth = get(&format!(
        "{base}/.well-known/oauth-authorization-server/oauth2/default"
    ))
    .await;
    for (said, lists) in [(&openid, false), (&oauth, true)] {
        assert_eq!(said.text("issuer"), format!("{base}/oauth2/default"));
        let grants = said.body["grant_types_supported"].as_array().unwrap();
        assert_eq!(grants.contains(&json!("client_credentials")), lists);
        assert_eq!(said.body["claims_supported"].is_array(), !lists);
    }
    let org = get(&format!("{base}/.well-known/openid-configuration")).await;
    assert_eq!(org.text("issuer"), base);
    let unknown = get(&format!(
        "{base}/oauth2/gone/.well-known/openid-configuration"
    ))
    .await;
    assert_eq!(
        (unknown.status, unknown.text("errorCode")),
        (404, "E0000007")
    );
    let unknown = get(&format!(
        "{base}/.well-known/openid-configuration?client_id=x"
    ))
    .await;
    assert_eq!(
        (unknown.status, unknown.text("errorCode")),
        (400, "invalid_client")
    );
    let keys = get(openid.text("jwks_uri")).await;
    assert_eq!(
        keys.header("cache-control"),
        "max-age=3832304, must-revalidate"
    );
    let keys = keys.body["keys"].as_array().unwrap();
    let own = idp.turn(|account, _| account.key().kid);
    assert_eq!(keys.len(), 3);
    assert_ne!(keys[0]["kid"], own, "their order means nothing");
    assert!(keys.iter().all(|key| key["x5c"].is_null()));
    refuses(
        &idp,
        "/oauth2/default/v1/token",
        &[("scope", Okta::READ)],
        &[
            (
                "wrong secret",
                &[("client_secret", "x")],
                401,
                "invalid_client",
                "is invalid",
            ),
            (
                "unknown client",
                &[("client_id", "x")],
                401,
                "invalid_client",
                "`client_id`",
            ),
            (
                "no client",
                &[("client_id", "")],
                401,
                "invalid_client",
                "No client credentials",
            ),
            (
                "no secret",
                &[("client_secret", "")],
                401,
                "invalid_client",
                "No client credentials",
            ),
            (
                "no scope",
                &[("scope", "")],
                400,
                "invalid_scope",
                "must be provided",
            ),
            (
                "openid",
                &[("scope", "openid")],
                400,
                "invalid_scope",
                "not configured",
            ),
            (
                "a scope",
                &[("scope", "orders.read x")],
                400,
                "invalid_scope",
                "not configured",
            ),
            (
                "a policy",
                &[("scope", Okta::WRITE)],
                400,
                "access_denied",
                "Policy evaluation",
            ),
            (
                "a grant",
                &[("grant_type", "x")],
                400,
                "unauthorized_client",
                "[client_credentials]",
            ),
        ],
    )
    .await;
    let id = idp.register(SECRET);
    let token = openid.text("token_endpoint");
    let both = [
        ("client_id", &*id),
        ("client_secret", SECRET),
        ("scope", Okta::READ),
    ];
    let said = ask(Method::POST, token, &both, Some(&id)).await;
    assert_eq!((said.status, said.text("error")), (400, "invalid_request"));
    assert!(
        said.text("error_description")
            .starts_with("Can't supply multiple client credentials")
    );
    let form = [("grant_type", "client_credentials"), ("scope", Okta::READ)];
    let said = ask(Method::POST, token, &form, Some(&id)).await;
    assert_eq!(said.status, 200, "Basic as it stands: {}", said.body);
    for name in [
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-reset",
    ] {
        assert!(said.header(name).parse::<u64>().is_ok(), "{name}");
    }
    let introspection = openid.text("introspection_endpoint");
    let said = ask(Method::POST, introspection, &[("token", "x")], Some(&id)).await;
    assert_eq!((said.status, &said.body), (200, &json!({"active": false})));
    let said = ask(
        Method::POST,
        introspection,
        &[("token_type_hint", "x")],
        Some(&id),
    )
    .await;
    assert_eq!((said.status, said.text("error")), (400, "invalid_request"));
    let said = ask(Method::POST, introspection, &[("token", "x")], None).await;
    assert_eq!((said.status, said.text("error")), (401, "invalid_client"));
}

#[tokio::test]
async fn entra() {
    const DOCUMENT: &str = ".well-known/openid-configuration";
    let idp: Emulation<Azure<2>> = Emulation::start().await;
    let (login, sts, tenant) =
        idp.turn(|_, azure| (azure.login.clone(), azure.sts.clone(), azure.tenant.clone()));
    let v1 = get(&format!("{login}/{tenant}/{DOCUMENT}")).await;
    let v2 = get(&format!("{login}/{tenant}/v2.0/{DOCUMENT}")).await;
    assert_eq!(v1.text("issuer"), format!("{sts}/{tenant}/"));
    assert_eq!(v2.text("issuer"), format!("{login}/{tenant}/v2.0"));
    assert_eq!(
        get(&format!("{sts}/{tenant}/{DOCUMENT}")).await.body,
        v1.body
    );
    assert_eq!(
        get(&format!("{sts}/{tenant}/v2.0/{DOCUMENT}")).await.status,
        404
    );
    for said in [&v1, &v2] {
        assert_eq!(said.header("cache-control"), "max-age=86400, private");
        for name in [
            "introspection_endpoint",
            "registration_endpoint",
            "grant_types_supported",
        ] {
            assert_eq!(said.body[name], Value::Null, "{name}");
        }
    }
    for authority in ["common", "organizations"] {
        let many = get(&format!("{login}/{authority}/{DOCUMENT}")).await;
        assert_eq!(many.text("issuer"), format!("{sts}/{{tenantid}}/"));
        let many = get(&format!("{login}/{authority}/v2.0/{DOCUMENT}")).await;
        assert_eq!(many.text("issuer"), format!("{login}/{{tenantid}}/v2.0"));
    }
    let gone = get(&format!("{login}/gone/v2.0/{DOCUMENT}")).await;
    assert_eq!(
        (gone.status, &gone.body["error_codes"]),
        (400, &json!([90_002]))
    );
    for (document, named) in [(&v1, false), (&v2, true)] {
        let keys = get(document.text("jwks_uri")).await;
        let keys = keys.body["keys"].as_array().unwrap();
        assert!(keys.len() > 1);
        for key in keys {
            assert_eq!(key["x5t"], key["kid"]);
            assert!(key["alg"].is_null() && key["x5c"][0].is_string(), "{key}");
            assert_eq!(key["issuer"].is_string(), named, "{key}");
        }
    }
    let v2_token = format!("/{tenant}/oauth2/v2.0/token");
    let (scope, graph) = (
        "api://orders/.default",
        "https://graph.microsoft.com/.default",
    );
    refuses(
        &idp,
        &v2_token,
        &[("scope", scope)],
        &[
            (
                "wrong secret",
                &[("client_secret", "x")],
                401,
                "invalid_client",
                "AADSTS7000215: ",
            ),
            (
                "no secret",
                &[("client_secret", "")],
                401,
                "invalid_client",
                "AADSTS7000218: ",
            ),
            (
                "no app",
                &[("client_id", "x")],
                400,
                "unauthorized_client",
                "AADSTS700016: ",
            ),
            (
                "no scope",
                &[("scope", "")],
                400,
                "invalid_request",
                "AADSTS900144: ",
            ),
            (
                "a scope",
                &[("scope", "openid")],
                400,
                "invalid_scope",
                "AADSTS1002012: ",
            ),
            (
                "two",
                &[("scope", &format!("{graph} {scope}"))],
                400,
                "invalid_scope",
                "AADSTS70011: ",
            ),
            (
                "no API",
                &[("scope", "x/.default")],
                400,
                "invalid_resource",
                "AADSTS500011: ",
            ),
            (
                "v1's",
                &[("resource", "api://orders")],
                400,
                "invalid_request",
                "AADSTS90100: ",
            ),
        ],
    )
    .await;
    let said = get(&format!("{login}{v2_token}")).await;
    let told = said.text("error_description");
    assert!(
        said.status == 400 && told.starts_with("AADSTS900561: "),
        "{told}"
    );
    let lines: Vec<&str> = told.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(
        lines[1].starts_with("Trace ID: ") && lines[3].starts_with("Timestamp: "),
        "{told}"
    );
    assert_eq!(said.body["error_codes"], json!([900_561]));
    // v1: every number a text, and whatever is asked for by scope is not read.
    let id = idp.register(SECRET);
    let form = |more: &'static [(&str, &str)]| {
        let own = [("client_id", &*id), ("client_secret", SECRET)];
        let grant = [("grant_type", "client_credentials"), ("scope", "openid")];
        [&own[..], &grant, more].concat()
    };
    let v1_token = v1.text("token_endpoint");
    let said = ask(
        Method::POST,
        v1_token,
        &form(&[("resource", "api://orders")]),
        None,
    )
    .await;
    assert_eq!((said.status, said.text("resource")), (200, "api://orders"));
    assert_eq!(said.text("expires_in"), "3599");
    let said = ask(Method::POST, v1_token, &form(&[]), None).await;
    assert_eq!(
        said.text("resource"),
        "00000002-0000-0000-c000-000000000000"
    );
    let both = ask(Method::POST, v1_token, &form(&[]), Some(&id)).await;
    assert_eq!((both.status, both.text("error")), (400, "invalid_request"));
}
