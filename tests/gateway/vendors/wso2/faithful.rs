//! What the emulation of WSO2 Identity Server says and refuses, asked directly.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    OWN, Wso2,
    management::{self, ADMINISTRATOR},
};
use crate::vendors::{
    emulation::{Emulation, Vendor},
    faithful::{Said, ask, get, manage, refuses},
    site::SECRET,
};

#[tokio::test]
async fn metadata() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    assert!(idp.base.starts_with("https://localhost:"), "{}", idp.base);
    let base = idp.base.clone();
    for tenant in [None, Some("acme.example")] {
        idp.turn(|_, server| server.tenant = tenant);
        let prefix = tenant.map_or(String::new(), |name| format!("/t/{name}"));
        let at = |rest: &str| format!("{base}{prefix}/oauth2/{rest}");
        for place in [
            "token/.well-known/openid-configuration",
            "oidcdiscovery/.well-known/openid-configuration",
            "token/.well-known/oauth-authorization-server",
        ] {
            let said = get(&at(place)).await;
            assert_eq!(said.text("issuer"), at("token"), "{place}");
            assert_eq!(said.text("token_endpoint"), at("token"), "{place}");
            assert_eq!(said.text("jwks_uri"), at("jwks"), "{place}");
        }
        let other = get(&at("other/.well-known/openid-configuration")).await;
        assert_eq!(other.status, 400);
        assert_eq!(other.header("content-type"), "text/plain");
    }
}

/// The same modulus under several names, each the digits of its certificate's thumbprint.
#[tokio::test]
async fn keys() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let said = get(&format!("{}/oauth2/jwks", idp.base)).await;
    assert_eq!(said.header("cache-control"), "");
    let mut names: HashMap<&str, Vec<&str>> = HashMap::new();
    for key in said.body["keys"].as_array().unwrap() {
        let text = |name: &str| key[name].as_str().unwrap();
        let certificate = BASE64_STANDARD.decode(key["x5c"][0].as_str().unwrap());
        let thumbprint = digest(&SHA256, &certificate.unwrap());
        let digits = BASE64_URL_SAFE_NO_PAD.decode(text("x5t#S256")).unwrap();
        assert_eq!(
            String::from_utf8(digits).unwrap(),
            super::hex(thumbprint.as_ref())
        );
        assert!(text("kid").starts_with(text("x5t#S256")));
        let legacy = text("kid") == text("x5t#S256");
        assert!(legacy || text("kid").ends_with(&format!("_{}", text("alg"))));
        if key["kty"] == "RSA" {
            names.entry(text("x5t")).or_default().push(text("kid"));
        }
    }
    assert_eq!(names.len(), 3, "the one that signs, the next, and another");
    assert!(names.values().all(|kids| kids.len() == 4), "{names:?}");
}

#[tokio::test]
async fn tokens() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let id = idp.register(SECRET);
    let url = format!("{}/oauth2/token", idp.base);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*id),
        ("client_secret", SECRET),
    ];
    let said = ask(Method::POST, &url, &form, None).await;
    assert!(
        uuid::Uuid::parse_str(said.text("access_token")).is_ok(),
        "opaque"
    );
    assert_eq!(
        (said.text("token_type"), said.text("scope")),
        ("Bearer", "default")
    );
    assert_eq!(said.body["expires_in"], 3_600);
    assert_eq!(said.header("cache-control"), "no-store");
    assert_eq!(said.header("pragma"), "no-cache");
    let asking = [
        &form[..],
        &[("ext_token_type", "JWT"), ("scope", "orders x")],
    ]
    .concat();
    let said = ask(Method::POST, &url, &asking, None).await;
    assert_eq!(said.text("access_token").split('.').count(), 3);
    assert_eq!(said.text("scope"), "orders");
    let claims = idp.token(&id).claims().clone();
    for name in ["sub", "client_id", "azp", "aud"] {
        assert_eq!(claims[name], json!(id), "{name}");
    }
    assert_eq!(claims["aut"], "APPLICATION");
    assert_eq!(claims["realm"], json!({"signing_tenant": "carbon.super"}));
    refuses(
        &idp,
        "/oauth2/token",
        &[],
        &[
            (
                "wrong secret",
                &[("client_secret", "x")],
                401,
                "invalid_client",
                "Client Authentication failed.",
            ),
            (
                "unknown client",
                &[("client_id", "x")],
                401,
                "invalid_client",
                "Client Authentication failed.",
            ),
            (
                "a grant",
                &[("grant_type", "x")],
                400,
                "unauthorized_client",
                "grant type",
            ),
        ],
    )
    .await;
    let said = ask(Method::POST, &url, &form, Some(&id)).await;
    assert_eq!((said.status, said.text("error")), (400, "invalid_request"));
    let said = ask(Method::POST, &url, &form[..1], Some(&id)).await;
    assert_eq!(said.status, 200, "Basic as it stands: {}", said.body);
    let said = ask(Method::POST, &url, &form[..1], Some("x")).await;
    assert_eq!(said.header("www-authenticate"), "Basic realm=localhost");
}

#[tokio::test]
async fn introspection() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let id = idp.register(SECRET);
    idp.turn(|account, server| drop(server.identity_provider(account)));
    let url = format!("{}/oauth2/introspect", idp.base);
    let token = idp.opaque(&id);
    let asked = |token: &str, by: &str| {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.tls_danger_accept_invalid_certs(true);
        let request = client.build().unwrap().post(&url);
        let request = request.form(&[("token", token)]);
        let request = request.basic_auth(by, Some(crate::vendors::site::OWN_SECRET));
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.unwrap())
        }
    };
    let (status, facts) = asked(&token, OWN).await;
    assert_eq!((status, &facts["client_id"]), (200, &json!(id)), "{facts}");
    for name in ["iss", "aud", "sub", "username"] {
        assert!(facts[name].is_null(), "{name}: {facts}");
    }
    assert_eq!(asked("x", OWN).await, (200, json!({"active": false})));
    assert_eq!(
        asked(" ", OWN).await,
        (400, json!({"error": "Invalid input"}))
    );
    assert_eq!(asked(&token, &id).await.0, 401);
}

/// A server, asked as its administrator.
async fn register(
    idp: &Emulation<Wso2>,
    method: Method,
    rest: &str,
    line: Option<&str>,
    body: Value,
) -> Said {
    let url = format!(
        "{}{}{rest}",
        idp.turn(|_, server| server.root()),
        management::REGISTER
    );
    let body = (!body.is_null()).then_some(&body);
    manage(method, &url, line, body).await
}

fn basic(name: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{name}:{password}"))
    )
}

fn new(name: &str) -> Value {
    json!({
        "client_name": name, "redirect_uris": [], "grant_types": ["client_credentials"],
        "ext_token_type": "JWT", "token_endpoint_auth_method": "client_secret_basic",
        "software_id": "kept",
    })
}

#[tokio::test]
async fn a_client_is_registered_and_managed_by_the_same_administrator() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let line = basic(ADMINISTRATOR.0, ADMINISTRATOR.1);
    let line = Some(&*line);
    for tenant in [None, Some("acme.example")] {
        idp.turn(|_, server| server.tenant = tenant);
        let said = register(&idp, Method::POST, "", line, new("Portal app-1")).await;
        assert_eq!(said.status, 201, "{}", said.body);
        assert_eq!(said.body["client_secret_expires_at"], 0);
        assert_eq!(said.text("software_id"), "kept");
        assert_eq!(said.text("ext_application_owner"), "admin");
        for name in [
            "client_id_issued_at",
            "registration_access_token",
            "registration_client_uri",
        ] {
            assert_eq!(said.body[name], Value::Null, "{name}");
        }
        let id = said.text("client_id").to_owned();
        let path = format!("/{id}");
        for rest in [&*path, "?client_name=Portal%20app-1"] {
            let read = register(&idp, Method::GET, rest, line, Value::Null).await;
            assert_eq!(
                (read.status, &read.body),
                (200, &said.body),
                "the secret too"
            );
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &*id),
            ("client_secret", said.text("client_secret")),
        ];
        let url = idp.turn(|_, server| server.issuer());
        let token = ask(Method::POST, &url, &form, None).await;
        assert_eq!(
            token.text("access_token").split('.').count(),
            3,
            "{}",
            token.body
        );
        let changed = register(&idp, Method::PUT, &path, line, new("Other")).await;
        assert_eq!(
            (changed.status, changed.text("client_name")),
            (200, "Other")
        );
        assert_eq!(changed.text("client_secret"), said.text("client_secret"));
        let gone = register(&idp, Method::DELETE, &path, line, Value::Null).await;
        assert_eq!((gone.status, gone.body), (204, Value::Null));
        assert_eq!(ask(Method::POST, &url, &form, None).await.status, 401);
    }
}

/// As the code answers, not as its description says.
#[tokio::test]
async fn each_refusal_of_registration() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let other = ("carol", "x");
    idp.turn(|_, server| {
        server
            .management
            .users
            .insert(other.0.to_owned(), other.1.to_owned());
        let scopes = ["internal_dcr_create".to_owned()].into();
        server
            .management
            .tokens
            .insert("narrow".to_owned(), ("admin".to_owned(), scopes));
    });
    let admin = basic(ADMINISTRATOR.0, ADMINISTRATOR.1);
    let (carol, wrong) = (basic(other.0, other.1), basic("admin", "x"));
    let said = register(&idp, Method::POST, "", Some(&admin), new("app")).await;
    let path = format!("/{}", said.text("client_id"));
    let (none, invalid) = ("", "invalid_client_metadata");
    for (case, method, rest, line, body, status, error) in [
        (
            "the name is taken",
            Method::POST,
            "",
            &*admin,
            new("app"),
            400,
            invalid,
        ),
        ("a name", Method::POST, "", &admin, new("a/b"), 400, invalid),
        ("a blank", Method::POST, "", &admin, new(" a"), 400, invalid),
        (
            "no name",
            Method::POST,
            "",
            &admin,
            json!({"redirect_uris": []}),
            400,
            invalid,
        ),
        (
            "no redirects",
            Method::POST,
            "",
            &admin,
            json!({"client_name": "b"}),
            400,
            invalid,
        ),
        ("no password", Method::POST, "", &wrong, new("b"), 401, none),
        (
            "unknown",
            Method::GET,
            "/gone",
            &admin,
            Value::Null,
            401,
            none,
        ),
        ("unknown", Method::PUT, "/gone", &admin, new("b"), 401, none),
        (
            "unknown",
            Method::DELETE,
            "/gone",
            &admin,
            Value::Null,
            401,
            none,
        ),
        (
            "unknown",
            Method::GET,
            "?client_name=gone",
            &admin,
            Value::Null,
            401,
            none,
        ),
        (
            "blank",
            Method::GET,
            "?client_name=",
            &admin,
            Value::Null,
            400,
            invalid,
        ),
        (
            "no password",
            Method::GET,
            "?client_name=",
            &wrong,
            Value::Null,
            401,
            none,
        ),
        (
            "another's",
            Method::GET,
            &path,
            &carol,
            Value::Null,
            403,
            none,
        ),
        (
            "another's",
            Method::DELETE,
            &path,
            &carol,
            Value::Null,
            403,
            none,
        ),
        (
            "another's",
            Method::GET,
            "?client_name=app",
            &carol,
            Value::Null,
            403,
            none,
        ),
        (
            "no scope",
            Method::DELETE,
            &path,
            "Bearer narrow",
            Value::Null,
            403,
            none,
        ),
        (
            "no such token",
            Method::DELETE,
            &path,
            "Bearer x",
            Value::Null,
            401,
            none,
        ),
    ] {
        let said = register(&idp, method, rest, Some(line), body).await;
        assert_eq!(
            (said.status, said.text("error")),
            (status, error),
            "{case} {rest}"
        );
        assert_eq!(
            said.body.is_null(),
            error.is_empty(),
            "{case} {rest}: {}",
            said.body
        );
    }
    let said = register(&idp, Method::POST, "", Some("Bearer narrow"), new("b")).await;
    assert_eq!(said.status, 201);
    assert_eq!(
        register(&idp, Method::POST, "", None, new("c"))
            .await
            .status,
        401
    );
    idp.turn(|_, server| server.management.open = true);
    assert_eq!(
        register(&idp, Method::POST, "", None, new("c"))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_new_secret_is_made_by_the_management_api() {
    let idp: Emulation<Wso2> = Emulation::start().await;
    let line = basic(ADMINISTRATOR.0, ADMINISTRATOR.1);
    let said = register(&idp, Method::POST, "", Some(&line), new("Portal app")).await;
    let applications = format!("{}{}", idp.base, management::APPLICATIONS);
    let url = format!("{applications}?filter=name+eq+Portal+app");
    let found = manage(Method::GET, &url, Some(&line), None).await;
    assert_eq!(found.body["totalResults"], 1, "{}", found.body);
    let id = found.body["applications"][0]["id"].as_str().unwrap();
    let url = format!("{applications}/{id}/inbound-protocols/oidc/regenerate-secret");
    assert_eq!(manage(Method::POST, &url, None, None).await.status, 401);
    let made = manage(Method::POST, &url, Some(&line), None).await;
    assert_eq!(
        (made.status, made.text("clientId")),
        (200, said.text("client_id"))
    );
    assert_ne!(made.text("clientSecret"), said.text("client_secret"));
    let secrets = idp.client(said.text("client_id"), |client| client.secrets.clone());
    assert_eq!(secrets, [made.text("clientSecret")]);
    for (url, status) in [
        (url.replace(id, "gone"), 404),
        (format!("{applications}?filter=about+eq+x"), 400),
    ] {
        let method = if status == 404 {
            Method::POST
        } else {
            Method::GET
        };
        let said = manage(method, &url, Some(&line), None).await;
        assert_eq!(said.status, status);
        assert!(said.text("code").starts_with("APP-"), "{}", said.body);
    }
}

#[tokio::test]
async fn webfinger() {
    const REL: &str = "rel=http%3A%2F%2Fopenid.net%2Fspecs%2Fconnect%2F1.0%2Fissuer";
    let idp: Emulation<Wso2> = Emulation::start().await;
    idp.turn(|_, server| server.tenant = Some("acme.example"));
    let base = idp.base.clone();
    let tenant = format!("{base}/t/acme.example");
    for (query, status, root) in [
        ("resource=acct:admin@localhost&rel=whatever", 200, &*base),
        (
            "resource=acct:admin%40carbon.super%40localhost&rel=",
            200,
            &base,
        ),
        (
            "resource=acct:bob@acme.example@localhost&rel=x",
            200,
            &tenant,
        ),
        (
            "resource=https://bob%2540acme.example@localhost/x&rel=x",
            200,
            &tenant,
        ),
        ("resource=https://localhost/x?a%3Db%26c&rel=x", 200, &base),
        ("resource=acct:bob@gone.example@localhost&rel=x", 404, ""),
        ("resource=&rel=x", 404, ""),
        ("resource=acct:admin&rel=x", 400, ""),
        ("resource=acct:admin@localhost", 400, ""),
        ("rel=x", 400, ""),
        ("resource=acct:admin@localhost&rel=x&more=1", 400, ""),
        ("resource=admin@localhost&rel=x", 500, ""),
    ] {
        let said = get(&format!("{base}/.well-known/webfinger?{query}")).await;
        assert_eq!(said.status, status, "{query}");
        if status != 200 {
            assert_eq!(said.body, Value::Null, "{query}");
            continue;
        }
        assert_eq!(said.header("content-type"), "application/jrd+json");
        let link = &said.body["links"][0];
        assert_eq!(link["href"], format!("{root}/oauth2/token"), "{query}");
        assert_eq!(link["rel"], "http://openid.net/specs/connect/1.0/issuer");
    }
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let url = format!("{base}/.well-known/webfinger?resource=https://localhost/?a%3Db%26c&{REL}");
    let answer = client
        .no_proxy()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    assert!(
        text.contains(r"https://localhost/?a\u003db\u0026c"),
        "{text}"
    );
}
