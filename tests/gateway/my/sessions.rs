//! Sessions: how they end, who else knows them, and what a page of another site can do with one.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PASSWORD, Site, Visitor, cookie};
use crate::harness::{
    certificates::Authority,
    client::{Call, Connection},
    eventually, pass,
    portal::Store,
    postgres,
};

const OUT: &str = "/api/v2/developer/logout";

#[tokio::test]
async fn signing_out_ends_one_session() {
    let site = Site::start().await;
    let dana = site.developer("dana@example.com").await;
    let mut elsewhere = site.visitor();
    let signed_in = elsewhere.sign_in("dana@example.com", PASSWORD).await;
    signed_in.assert_status(204);
    let out = dana.ask("POST", OUT, Value::Null).await;
    out.assert_status(204);
    let line = out.header("set-cookie").unwrap();
    assert!(
        line.starts_with("dcr_portal=;") && line.contains("Max-Age=0"),
        "{line}"
    );
    assert!(
        !dana.is_signed_in().await,
        "the cookie may have been copied"
    );
    assert!(elsewhere.is_signed_in().await);
    let again = site.visitor().ask("POST", OUT, Value::Null).await;
    again.assert_status(204);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let site = Site::start().await;
    let mut dana = site.developer("dana@example.com").await;
    let mut elsewhere = site.visitor();
    let signed_in = elsewhere.sign_in("dana@example.com", PASSWORD).await;
    signed_in.assert_status(204);
    let path = "/api/v2/developer/change-password";
    let change = |old: &str| json!({"old_password": old, "password": "another long password"});
    let refused = dana.ask("POST", path, change("wrong")).await;
    refused.assert_problem(401, "wrong_password");
    let changed = dana.ask("POST", path, change(PASSWORD)).await;
    changed.assert_status(204);
    assert!(!elsewhere.is_signed_in().await);
    assert!(!dana.is_signed_in().await, "it goes on as a new one");
    dana.cookie = Some(cookie(&changed));
    assert!(dana.is_signed_in().await);
}

#[tokio::test]
async fn an_unused_session_ends_and_a_used_one_does_not() {
    let site = Site::with(|setup| {
        setup.config["portal"]["accounts"] = json!({"idle_timeout": "5s"});
    })
    .await;
    let dana = site.developer("dana@example.com").await;
    let mut idle = site.visitor();
    let signed_in = idle.sign_in("dana@example.com", PASSWORD).await;
    signed_in.assert_status(204);
    // Until more than the idle time has gone, one of them is used.
    for _ in 0..55 {
        assert!(dana.is_signed_in().await);
        pass(Duration::from_millis(100)).await;
    }
    assert!(!idle.is_signed_in().await);
}

#[tokio::test]
async fn a_session_ends_after_its_whole_time() {
    let site = Site::with(|setup| {
        setup.config["portal"]["accounts"] = json!({"absolute_timeout": "1s"});
    })
    .await;
    let dana = site.developer("dana@example.com").await;
    eventually!(!dana.is_signed_in().await, "it ends though it is used");
}

#[tokio::test]
async fn gateways_that_share_a_registry_share_sessions() {
    let store = Store::Postgres(postgres::database().await);
    let one = Site::over(&store, |_| {}).await;
    let other = Site::over(&store, |_| {}).await;
    let dana = one.developer("dana@example.com").await;
    let there = Visitor {
        desk: other.desk,
        ..dana.clone()
    };
    assert!(there.is_signed_in().await);
    there.ask("POST", OUT, Value::Null).await.assert_status(204);
    assert!(!dana.is_signed_in().await);
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let site = Site::start().await;
    let dana = site.developer("dana@example.com").await;
    let own = "http://api.test";
    for (fields, status) in [
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
        (vec![("Sec-Fetch-Site", "cross-site"), ("Origin", own)], 403),
        (vec![("Origin", "https://evil.test")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Sec-Fetch-Site", "same-origin")], 204),
        (vec![("Sec-Fetch-Site", "none")], 204),
        (vec![("Origin", own)], 204),
        (vec![], 204),
    ] {
        let refresh = dana.call("POST", "/api/v2/developer/refresh");
        let add = |call: Call, (name, value): &(&str, &str)| call.header(name, value);
        let response = fields.iter().fold(refresh, add).send().await;
        assert_eq!(response.status, status, "{fields:?}: {response:?}");
        if status == 403 {
            response.assert_problem(403, "cross_site_request");
        }
    }
    // Nor do they sign anybody in.
    let body = json!({"username": "dana@example.com", "password": PASSWORD}).to_string();
    let call = site
        .visitor()
        .call("POST", "/api/v2/developer/authenticate");
    let call = call.header("Content-Type", "application/json").body(body);
    let refused = call.header("Sec-Fetch-Site", "cross-site").send().await;
    refused.assert_problem(403, "cross_site_request");
    let read = dana.call("GET", "/api/v2/developer/me");
    let read = read.header("Sec-Fetch-Site", "cross-site").send().await;
    read.assert_status(200);
}

#[tokio::test]
async fn a_cookie_that_comes_twice_is_none() {
    let site = Site::start().await;
    let dana = site.developer("dana@example.com").await;
    let cookie = dana.cookie.clone().unwrap();
    for line in [
        format!("{cookie}; dcr_portal=x"),
        format!("dcr_portal=x; {cookie}"),
        format!("__Host-{cookie}"),
        "dcr_portal=".to_owned(),
    ] {
        let call = site.visitor().call("GET", "/api/v2/developer/me");
        let response = call.cookie(&line).send().await;
        response.assert_problem(401, "session_required");
    }
    let call = site.visitor().call("GET", "/api/v2/developer/me");
    let response = call.cookie(&format!("a=b; {cookie}; c=d")).send().await;
    response.assert_status(200);
}

#[tokio::test]
async fn over_tls_the_cookie_has_its_prefix() {
    let authority = Authority::new();
    let shown = authority.issue(&["api.test"]);
    let site = Site::with(|setup| {
        let files = [
            ("portal.crt", &shown.certificate),
            ("portal.key", &shown.key),
        ];
        for (name, content) in files {
            setup.files.push((name.to_owned(), content.clone()));
        }
        let pair = json!({"certificate": "portal.crt", "key": "portal.key"});
        setup.config["portal"]["tls"] = json!({"certificates": [pair]});
    })
    .await;
    let token = site.invite("dana@example.com").await;
    let ask = async |path: &str, body: Value| {
        let stream = authority.connect(site.desk, "api.test", &[]).await.unwrap();
        let mut connection = Connection::on(stream);
        let call = Call::new(site.desk, "POST", path);
        let call = call.header("Content-Type", "application/json");
        let call = call.body(body.to_string());
        call.send_on(&mut connection).await.unwrap()
    };
    let body = json!({"token": token, "password": PASSWORD});
    let set = ask("/api/v2/developer/reset-password", body).await;
    set.assert_status(204);
    let body = json!({"username": "dana@example.com", "password": PASSWORD});
    let signed_in = ask("/api/v2/developer/authenticate", body).await;
    signed_in.assert_status(204);
    let line = signed_in.header("set-cookie").unwrap();
    assert!(line.starts_with("__Host-dcr_portal="), "{line}");
    assert!(line.contains("; Secure"), "{line}");
}
