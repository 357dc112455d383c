//! The file registry and authorisation: who may call what, on every request.

use serde_json::json;

use crate::harness::{APP, SECRET, World, api, application, eventually, gateway::Wait};

#[tokio::test]
async fn an_edit_is_in_force_at_once_for_every_method() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let token = world.token();
    let calls = || {
        [
            ("basic", world.flights().basic(APP, SECRET)),
            ("bearer", world.flights().bearer(&token)),
            ("cookie", world.flights().cookie(&cookie)),
        ]
    };
    for (_, call) in calls() {
        world.passes(call).await;
    }
    for (key, value, code) in [
        ("status", json!("suspended"), "application_suspended"),
        (
            "registrations",
            json!({"flights": "revoked"}),
            "registration_revoked",
        ),
        (
            "registrations",
            json!({"flights": "pending"}),
            "registration_pending",
        ),
        (
            "registrations",
            json!({"flights": "rejected"}),
            "registration_rejected",
        ),
        ("registrations", json!({}), "registration_required"),
    ] {
        world
            .gateway
            .register(|a| a["applications"][0][key] = value.clone())
            .await;
        for (method, call) in calls() {
            let response = world.refuses_case(method, call, 403, code).await;
            assert_eq!(
                response.header("set-cookie"),
                None,
                "{method}: nothing is cleared"
            );
        }
        world
            .gateway
            .register(|a| a["applications"][0] = application(APP))
            .await;
        for (_, call) in calls() {
            world.passes(call).await;
        }
    }
}

#[tokio::test]
async fn a_removed_application_is_unknown() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world
        .gateway
        .register(|a| a["applications"] = json!([]))
        .await;
    world
        .refuses(
            world.flights().bearer(&world.token()),
            403,
            "unknown_application",
        )
        .await;
    world
        .refuses(world.flights().basic(APP, SECRET), 401, "invalid_client")
        .await;
    world
        .refuses(world.flights().cookie(&cookie), 403, "unknown_application")
        .await;
}

#[tokio::test]
async fn a_broken_edit_keeps_what_was_and_says_so() {
    let world = World::start().await;
    for (case, text) in [
        ("no YAML", "applications: [\n"),
        ("unknown key", "applications: []\nsurprise: 1\n"),
        (
            "unknown status",
            "applications: [{name: a, developer: b, auth_strategy: partners, client_id: c, status: odd, registrations: {}}]\n",
        ),
        ("wrong type", "applications: 7\n"),
        (
            "twice the same",
            &serde_json::to_string(&json!({"applications": [application(APP), application(APP)]}))
                .unwrap(),
        ),
    ] {
        let before = world.gateway.reloads("applications", "refused").await;
        world.gateway.overwrite("applications.yaml", text);
        eventually!(
            world.gateway.reloads("applications", "refused").await > before,
            "{case}: the broken edit is counted"
        );
        eventually!(
            world.gateway.logged(&["applications.yaml"]),
            "{case}: the log names the file"
        );
        world.passes(world.flights().bearer(&world.token())).await;
    }
    world
        .gateway
        .register(|a| a["applications"][0]["status"] = json!("suspended"))
        .await;
    world
        .refuses(
            world.flights().bearer(&world.token()),
            403,
            "application_suspended",
        )
        .await;
}

#[tokio::test]
async fn a_stale_line_grants_nothing_and_blocks_nothing() {
    let world = World::start().await;
    world
        .gateway
        .register(|a| {
            a["applications"][0]["status"] = json!("suspended");
            let mut stale = application("stale");
            stale["auth_strategy"] = json!("gone");
            stale["registrations"] = json!({"flights": "approved", "gone": "approved"});
            a["applications"].as_array_mut().unwrap().push(stale);
        })
        .await;
    world
        .refuses(
            world.flights().bearer(&world.token()),
            403,
            "application_suspended",
        )
        .await;
    let stale = world.idp.token("stale").build();
    world
        .refuses(world.flights().bearer(&stale), 403, "unknown_application")
        .await;
}

#[tokio::test]
async fn a_file_that_appears_later_is_read() {
    let world = World::with(|s| {
        s.applications = json!(null);
        s.wait = Wait::Listening;
    })
    .await;
    world
        .refuses(world.flights().bearer(&world.token()), 503, "not_ready")
        .await;
    world.passes(world.gateway.get("/open")).await;
    world
        .gateway
        .edit_applications(|a| *a = json!({"applications": [application(APP)]}));
    world.gateway.wait_until_ready().await;
    eventually!(
        world.flights().bearer(&world.token()).send().await.status == 200,
        "the applications are known"
    );
}

#[tokio::test]
async fn each_level_of_access_asks_for_more() {
    let world = World::start().await;
    let upstream = &world.upstream;
    world
        .gateway
        .reconfigure(|c| {
            for level in ["application", "client"] {
                let mut entry = api(level, upstream);
                entry["access"] = json!(level);
                c["apis"].as_array_mut().unwrap().push(entry);
            }
        })
        .await;
    world
        .gateway
        .register(|a| {
            let list = a["applications"].as_array_mut().unwrap();
            let mut unregistered = application("unregistered");
            unregistered["registrations"] = json!({});
            list.push(unregistered);
            let mut suspended = application("suspended");
            suspended["status"] = json!("suspended");
            list.push(suspended);
        })
        .await;
    for (client, path, code) in [
        (APP, "/flights", None),
        (APP, "/application", None),
        (APP, "/client", None),
        ("unregistered", "/flights", Some("registration_required")),
        ("unregistered", "/application", None),
        ("unregistered", "/client", None),
        ("nobody", "/flights", Some("unknown_application")),
        ("nobody", "/application", Some("unknown_application")),
        ("nobody", "/client", None),
        ("suspended", "/flights", Some("application_suspended")),
        ("suspended", "/application", Some("application_suspended")),
        ("suspended", "/client", Some("application_suspended")),
        ("suspended", "/open", None),
    ] {
        let case = format!("{client} {path}");
        let call = world
            .gateway
            .get(path)
            .bearer(&world.idp.token(client).build());
        match code {
            Some(code) => drop(world.refuses_case(&case, call, 403, code).await),
            None => drop(world.passes(call).await),
        }
    }
    let earned = world
        .gateway
        .get("/client")
        .bearer(&world.idp.token("nobody").build());
    let cookie = earned
        .send()
        .await
        .cookie()
        .expect("a session for a client without application");
    world
        .passes(world.gateway.get("/client").cookie(&cookie))
        .await;
    world
        .refuses(world.flights().cookie(&cookie), 403, "unknown_application")
        .await;
    world.idp.client("nobody", "nobodys-secret");
    let basic = world
        .gateway
        .get("/client")
        .basic("nobody", "nobodys-secret");
    world.refuses(basic, 401, "invalid_client").await;
}

#[tokio::test]
async fn scopes_are_whole_words_and_judged_on_every_request() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["scopes_required"] = json!(["read list", "admin"]);
        s.config["auth_strategies"][0]["scope_claims"] = json!(["scope", "scp"]);
    })
    .await;
    for (case, claim, scopes, good) in [
        ("both", "scope", json!("read list"), true),
        ("other order, more", "scope", json!("list x read"), true),
        ("the other entry", "scope", json!("admin"), true),
        ("array", "scope", json!(["read", "list"]), true),
        ("the other claim", "scp", json!(["admin"]), true),
        ("half", "scope", json!("read"), false),
        ("longer words", "scope", json!("reads lists"), false),
        ("other case", "scope", json!("Admin"), false),
        ("none", "scope", json!(""), false),
    ] {
        let token = world
            .idp
            .token(APP)
            .without("scope")
            .claim(claim, scopes)
            .build();
        let call = world.flights().bearer(&token);
        if good {
            let response = call.send().await;
            assert_eq!(response.status, 200, "{case}: {response:?}");
        } else {
            world
                .refuses_case(case, call, 403, "insufficient_scope")
                .await;
        }
    }
    for (case, scopes) in [("number", json!(7)), ("object", json!({"admin": true}))] {
        let token = world.idp.token(APP).claim("scope", scopes).build();
        world
            .refuses_case(case, world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
}

#[tokio::test]
async fn the_same_token_is_judged_anew_for_each_api() {
    let world = World::start().await;
    let upstream = &world.upstream;
    world
        .gateway
        .reconfigure(|c| {
            let mut strict = api("strict", upstream);
            strict["scopes_required"] = json!(["admin"]);
            c["apis"].as_array_mut().unwrap().push(strict);
            c["apis"]
                .as_array_mut()
                .unwrap()
                .push(api("other", upstream));
        })
        .await;
    world
        .gateway
        .register(|a| a["applications"][0]["registrations"]["strict"] = json!("approved"))
        .await;
    let token = world.token();
    for _ in 0..2 {
        world.passes(world.flights().bearer(&token)).await;
        let strict = world.gateway.get("/strict").bearer(&token);
        world.refuses(strict, 403, "insufficient_scope").await;
        let other = world.gateway.get("/other").bearer(&token);
        world.refuses(other, 403, "registration_required").await;
    }
}

#[tokio::test]
async fn what_was_made_before_the_credentials_changed_is_refused() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let old = world
        .idp
        .token(APP)
        .claim("iat", crate::harness::now() - 60)
        .build();
    let undated = world.idp.token(APP).without("iat").build();
    world.passes(world.flights().basic(APP, SECRET)).await;
    world.passes(world.flights().bearer(&old)).await;
    world.passes(world.flights().bearer(&undated)).await;
    world
        .gateway
        .register(|a| {
            let valid_from = crate::harness::rfc3339(crate::harness::now() + 1);
            a["applications"][0]["credentials_valid_from"] = json!(valid_from);
        })
        .await;
    world.idp.client(APP, "the-new-secret");
    world
        .refuses(world.flights().bearer(&old), 401, "invalid_token")
        .await;
    world
        .refuses(world.flights().bearer(&undated), 401, "invalid_token")
        .await;
    world
        .refuses(world.flights().cookie(&cookie), 401, "invalid_session")
        .await;
    world
        .refuses(world.flights().basic(APP, SECRET), 401, "invalid_client")
        .await;
    crate::harness::pass(std::time::Duration::from_millis(2_100)).await;
    world
        .passes(world.flights().basic(APP, "the-new-secret"))
        .await;
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn twenty_thousand_applications_are_live_within_seconds_of_an_edit() {
    let world = World::start().await;
    world
        .gateway
        .register(|a| {
            let list = a["applications"].as_array_mut().unwrap();
            list.extend((0..20_000).map(|n| application(&format!("many-{n}"))));
        })
        .await;
    let count = world.gateway.metric("dcr_applications", &[]).await;
    assert!((count - 20_001.0).abs() < 0.5, "{count}");
    let token = world.idp.token("many-19999").build();
    world.passes(world.flights().bearer(&token)).await;
}
