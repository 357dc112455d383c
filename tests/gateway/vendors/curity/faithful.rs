//! What the emulation of Curity says and refuses, asked directly.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Curity, Format, Inactive, OWN, discovery_url};
use crate::vendors::{
    emulation::{Emulation, Vendor},
    faithful::{ask, get, refuses},
    site::{OWN_SECRET, SECRET},
};

#[tokio::test]
async fn metadata_and_keys() {
    let idp: Emulation<Curity> = Emulation::start().await;
    let base = idp.base.clone();
    let issuer = format!("{base}/oauth/v2/oauth-anonymous");
    let places = [
        discovery_url(&base),
        format!("{issuer}/.well-known/oauth-authorization-server"),
        format!("{base}/.well-known/oauth-authorization-server/oauth/v2/oauth-anonymous"),
    ];
    for place in &places {
        let said = get(place).await;
        assert_eq!(said.text("issuer"), issuer);
        assert_eq!(said.header("cache-control"), "max-age=600");
        assert_eq!(said.text("jwks_uri"), format!("{issuer}/jwks"));
        assert_eq!(
            said.text("token_endpoint"),
            format!("{base}/oauth/v2/oauth-token")
        );
    }
    let keys = get(&format!("{issuer}/jwks")).await;
    for key in keys.body["keys"].as_array().unwrap() {
        let number = key["kid"].as_str().unwrap().parse::<i64>().unwrap();
        assert!(number < 0, "{key}");
        assert!(key["x5t"].is_string() && key["x5c"].is_null(), "{key}");
    }
    idp.turn(|_, curity| curity.exposed = false);
    for place in &places {
        assert_eq!(get(place).await.status, 404);
    }
}

#[tokio::test]
async fn tokens() {
    let idp: Emulation<Curity> = Emulation::start().await;
    let id = idp.register(SECRET);
    let url = format!("{}/oauth/v2/oauth-token", idp.base);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*id),
        ("client_secret", SECRET),
    ];
    idp.turn(|_, curity| curity.tokens = Format::Opaque);
    let said = ask(Method::POST, &url, &form, None).await;
    assert!(said.text("access_token").starts_with("_0XB"));
    assert_eq!(
        (said.text("token_type"), said.text("scope")),
        ("bearer", Curity::READ)
    );
    assert_eq!(said.body["expires_in"], 900);
    let token = idp.token(&id);
    let head: Value = serde_json::from_str(&token.head()).unwrap();
    assert!(head["typ"].is_null() && head["x5t"].is_string(), "{head}");
    let claims = token.claims();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(id), &json!(id)));
    assert_eq!(claims["purpose"], "access_token");
    for name in ["client_id", "azp"] {
        assert!(!claims.contains_key(name), "{name}");
    }
    refuses(
        &idp,
        "/oauth/v2/oauth-token",
        &[],
        &[
            (
                "wrong secret",
                &[("client_secret", "x")],
                401,
                "invalid_client",
                "",
            ),
            (
                "unknown client",
                &[("client_id", "x")],
                401,
                "invalid_client",
                "",
            ),
            (
                "no secret",
                &[("client_secret", "")],
                401,
                "invalid_client",
                "",
            ),
            ("a scope", &[("scope", "x")], 400, "invalid_scope", ""),
            (
                "a grant",
                &[("grant_type", "x")],
                400,
                "unauthorized_client",
                "",
            ),
        ],
    )
    .await;
    let said = ask(Method::POST, &url, &form, Some(&id)).await;
    assert_eq!((said.status, said.text("error")), (400, "invalid_request"));
    let said = ask(Method::POST, &url, &form[..1], Some(&id)).await;
    assert_eq!(said.status, 401, "Basic is form-decoded");
    assert!(said.header("www-authenticate").starts_with("Basic realm="));
}

#[tokio::test]
async fn introspection() {
    let idp: Emulation<Curity> = Emulation::start().await;
    let id = idp.register("plain");
    idp.turn(|account, curity| drop(curity.identity_provider(account)));
    let url = format!("{}/oauth/v2/oauth-introspect", idp.base);
    let token = idp.opaque(&id);
    let asked = |token: &str, by: &str, secret: &str| {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request.post(&url).form(&[("token", token)]);
        let request = request.basic_auth(by, Some(secret));
        async move { request.send().await.unwrap() }
    };
    let said: Value = asked(&token, OWN, OWN_SECRET).await.json().await.unwrap();
    assert_eq!(said["active"], true, "{said}");
    assert_eq!((&said["sub"], &said["client_id"]), (&json!(id), &json!(id)));
    let said = asked("x", OWN, OWN_SECRET).await;
    assert_eq!(
        said.json::<Value>().await.unwrap(),
        json!({"active": false})
    );
    idp.turn(|_, curity| curity.inactive = Inactive::NoContent);
    let said = asked("x", OWN, OWN_SECRET).await;
    assert_eq!(said.status(), 204);
    assert_eq!(said.bytes().await.unwrap().len(), 0);
    for (by, secret) in [(OWN, "x"), (&*id, "plain")] {
        assert_eq!(asked(&token, by, secret).await.status(), 401, "{by}");
    }
}
