//! Who gets an account: by invitation, or by asking and being approved.

use serde_json::{Value, json};

use super::{PASSWORD, Site, cookie};
use crate::harness::{
    gateway::Setup,
    portal::{Store, text},
    postgres,
};

const OTHER: &str = "another long password";

#[tokio::test]
async fn an_invitation_sets_one_password() {
    let site = Site::start().await;
    let token = site.invite("Dana@Example.com").await;
    let mut dana = site.visitor();
    let early = dana.sign_in("dana@example.com", PASSWORD).await;
    early.assert_problem(401, "wrong_password");

    for (password, status) in [("eleven char", 400), (PASSWORD, 204)] {
        let set = dana.set_password(&token, password).await;
        set.assert_status(status);
    }
    let again = dana.set_password(&token, OTHER).await;
    again.assert_problem(404, "not_found");
    let made_up = "3b7f0b1c-5a2a-4a0e-a0a9-5b0a4a8d2f11";
    let set = dana.set_password(made_up, OTHER).await;
    set.assert_problem(404, "not_found");

    let signed_in = dana.sign_in("DANA@example.com", PASSWORD).await;
    signed_in.assert_status(204);
    let line = signed_in.header("set-cookie").unwrap();
    assert!(line.starts_with("dcr_portal="), "{line}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=4"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("Secure"), "over plain http: {line}");
    let me = dana.get("/api/v2/developer/me").await;
    assert_eq!(me.json()["email"], "dana@example.com");
    assert_eq!(me.json()["full_name"], "Dana Smith");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_alike() {
    let site = Site::start().await;
    site.developer("dana@example.com").await;
    // Invited, without a password yet.
    site.invite("erin@example.com").await;
    let mut bodies = Vec::new();
    for (email, password) in [
        ("dana@example.com", OTHER),
        ("erin@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("no address at all", PASSWORD),
    ] {
        let refused = site.visitor().sign_in(email, password).await;
        refused.assert_problem(401, "wrong_password");
        assert_eq!(refused.challenges(), ["Cookie realm=\"portal\""]);
        assert_eq!(refused.header("set-cookie"), None);
        let mut body = refused.json();
        for own in ["request_id", "instance"] {
            body[own] = Value::Null;
        }
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn guessing_ends_after_five_for_an_account() {
    let site = Site::start().await;
    site.developer("dana@example.com").await;
    for _ in 0..5 {
        let refused = site.visitor().sign_in("dana@example.com", OTHER).await;
        refused.assert_problem(401, "wrong_password");
    }
    // Not even the right one opens now, or there would be no limit.
    let refused = site.visitor().sign_in("Dana@example.com", PASSWORD).await;
    refused.assert_problem(429, "too_many_attempts");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    site.developer("erin@example.com").await;
}

#[tokio::test]
async fn asking_waits_for_the_operator() {
    let site = Site::with(asking).await;
    let visitor = site.visitor();
    let new = json!({"email": "Dana@example.com", "full_name": "Dana Smith"});
    for _ in 0..2 {
        // Whether there is one already is not told.
        let asked = visitor.ask("POST", "/api/v2/developer", new.clone()).await;
        asked.assert_status(201);
        assert!(asked.body.is_empty());
    }
    let path = "/v2/developers?filter[status]=pending";
    let waiting = site.operator.read(path).await;
    assert_eq!(waiting["meta"]["page"]["total"], 1, "{waiting}");
    let id = text(&waiting["data"][0], "id");
    let path = format!("/v2/developers/{id}");

    let rejected = json!({"status": "rejected"});
    let rejected = site.operator.done("PATCH", &path, rejected).await;
    assert_eq!(rejected["invitation"], Value::Null);
    let again = format!("{path}/invitation");
    let invited = site.operator.ask("POST", &again, Value::Null).await;
    invited.assert_problem(409, "not_approved");

    let approved = json!({"status": "approved"});
    let approved = site.operator.done("PATCH", &path, approved).await;
    let token = text(&approved["invitation"], "token");
    let mut dana = site.visitor();
    dana.set_password(&token, PASSWORD).await.assert_status(204);
    let signed_in = dana.sign_in("dana@example.com", PASSWORD).await;
    signed_in.assert_status(204);
}

fn asking(setup: &mut Setup) {
    setup.config["portal"]["accounts"] = json!({"registration": "approval"});
}

#[tokio::test]
async fn nobody_asks_where_accounts_are_by_invitation() {
    let site = Site::start().await;
    let new = json!({"email": "dana@example.com", "full_name": "Dana"});
    let asked = site.visitor().ask("POST", "/api/v2/developer", new).await;
    asked.assert_problem(403, "registration_closed");
    let known = site.operator.read("/v2/developers").await;
    assert_eq!(known["meta"]["page"]["total"], 0);
}

#[tokio::test]
async fn an_account_that_is_revoked_ends_at_once_and_opens_again() {
    let site = Site::start().await;
    let mut dana = site.developer("dana@example.com").await;
    let known = site.operator.read("/v2/developers").await;
    let path = format!("/v2/developers/{}", text(&known["data"][0], "id"));
    let revoked = json!({"status": "revoked"});
    site.operator.done("PATCH", &path, revoked).await;
    assert!(!dana.is_signed_in().await);
    let refused = dana.sign_in("dana@example.com", PASSWORD).await;
    refused.assert_problem(401, "wrong_password");
    let approved = json!({"status": "approved"});
    let approved = site.operator.done("PATCH", &path, approved).await;
    assert_eq!(approved["invitation"], Value::Null, "the password is good");
    assert!(!dana.is_signed_in().await, "what has ended stays so");
    let signed_in = dana.sign_in("dana@example.com", PASSWORD).await;
    signed_in.assert_status(204);
}

#[tokio::test]
async fn a_developer_with_applications_is_not_deleted() {
    let site = Site::start().await;
    let strategy = site.strategy().await;
    let dana = site.developer("dana@example.com").await;
    // The operator wrote the address in another case.
    let new = json!({
        "name": "Trip Planner", "auth_strategy_id": strategy,
        "owner": {"type": "developer", "id": "Dana@Example.com"},
    });
    let application = site.operator.make("/v2/applications", new).await;
    let known = site
        .operator
        .read("/v2/developers?filter[name]=dana@example.com");
    let path = format!("/v2/developers/{}", text(&known.await["data"][0], "id"));
    let refused = site.operator.ask("DELETE", &path, Value::Null).await;
    refused.assert_problem(409, "developer_has_applications");
    assert!(dana.is_signed_in().await);
    let application = format!("/v2/applications/{application}");
    site.operator.delete(&application).await;
    site.operator.delete(&path).await;
    assert!(!dana.is_signed_in().await);
    let audit = site.operator.read("/v2/audit?page[size]=100").await;
    let lines = audit["data"].as_array().unwrap().iter();
    let actions: Vec<_> = lines.map(|line| line["action"].as_str().unwrap()).collect();
    for action in [
        "developer.invite",
        "developer.set_password",
        "developer.sign_in",
        "developer.delete",
    ] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}

#[tokio::test]
async fn a_lost_password_is_set_with_a_new_invitation() {
    let site = Site::start().await;
    let mut dana = site.developer("dana@example.com").await;
    let known = site.operator.read("/v2/developers").await;
    let id = text(&known["data"][0], "id");
    let path = format!("/v2/developers/{id}/invitation");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let invited = site.operator.done("POST", &path, Value::Null).await;
        tokens.push(text(&invited["invitation"], "token"));
    }
    assert!(dana.is_signed_in().await, "until it is used");
    let lost = dana.set_password(&tokens[0], OTHER).await;
    lost.assert_problem(404, "not_found");
    dana.set_password(&tokens[1], OTHER)
        .await
        .assert_status(204);
    assert!(!dana.is_signed_in().await);
    let old = dana.sign_in("dana@example.com", PASSWORD).await;
    old.assert_problem(401, "wrong_password");
    dana.sign_in("dana@example.com", OTHER)
        .await
        .assert_status(204);
}

#[tokio::test]
async fn passwords_and_tokens_are_kept_as_digests_and_stand_in_no_log() {
    let stores = [Store::Sqlite, Store::Postgres(postgres::database().await)];
    for store in stores {
        let site = Site::over(&store, |_| {}).await;
        let token = site.invite("dana@example.com").await;
        let mut dana = site.visitor();
        dana.set_password(&token, PASSWORD).await.assert_status(204);
        let signed_in = dana.sign_in("dana@example.com", PASSWORD).await;
        let cookie = cookie(&signed_in);
        let session = cookie.split_once('=').unwrap().1;
        assert!(dana.is_signed_in().await);
        let mut kept = store.bytes(&site.world.gateway).await;
        kept.push(("log", site.world.gateway.log().join("\n").into_bytes()));
        for (place, bytes) in kept {
            for secret in [&token, PASSWORD, session] {
                let found = memchr::memmem::find(&bytes, secret.as_bytes());
                assert_eq!(found, None, "{secret} stands in the {place}");
            }
            if place == "tables" || place == "database" {
                let digest = memchr::memmem::find(&bytes, b"$argon2id$v=19$m=19456,t=2,p=1$");
                assert!(digest.is_some(), "a digest stands in the {place}");
            }
        }
    }
}

#[tokio::test]
async fn a_portal_over_a_file_is_refused() {
    let site = Site::start().await;
    let gateway = &site.world.gateway;
    gateway.edit_config(|config| config["registry"] = json!({"file": "applications.yaml"}));
    gateway.overwrite("applications.yaml", "applications: []\n");
    let mut process = gateway.process(&[]);
    let status = process.ended().await;
    assert!(!status.success());
    assert!(
        process.logged(&["portal", "applications come from a file", "sqlite"]),
        "{:?}",
        process.log()
    );
}
