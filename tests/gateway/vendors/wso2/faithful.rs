//! What the emulation of WSO2 Identity Server says and refuses, asked directly.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{OWN, Wso2};
use crate::vendors::{
    emulation::{Emulation, Vendor},
    faithful::{ask, get, refuses},
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
