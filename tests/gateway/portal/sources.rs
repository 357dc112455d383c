//! Providers and strategies of file and registry, side by side.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    products::Product,
    site::{Site, Source},
};
use crate::harness::{eventually, portal::Store};

const STRATEGIES: &str = "/v2/application-auth-strategies";

async fn start(source: Source) -> Site {
    let stage = Arc::new(Product::Bridge.start().await);
    Site::start(&stage, source, &Store::Sqlite).await
}

#[tokio::test]
async fn rest_refuses_a_name_that_the_file_has_and_says_where() {
    let site = start(Source::File).await;
    let provider = site.stage.provider("idp", None);
    let strategy = site.stage.auth_strategy("partners", None, Some("idp"));
    for (path, body) in [("/v2/dcr-providers", provider), (STRATEGIES, strategy)] {
        let response = site.operator.ask("POST", path, body).await;
        assert_eq!(response.status, 400, "{path}: {}", response.text());
        let told = response.json();
        assert_eq!(told["code"], "invalid_parameters", "{told}");
        let fault = &told["invalid_parameters"][0];
        assert_eq!(fault["field"], "name", "{told}");
        let reason = fault["reason"].as_str().unwrap();
        assert!(reason.contains("gateway.yaml:"), "{reason}");
        let listed = site.operator.read(path).await;
        let data = listed["data"].as_array().unwrap();
        assert_eq!(data.len(), 1, "{listed}");
        assert_eq!(data[0]["source"], "file");
    }
}

#[tokio::test]
async fn a_reload_refuses_a_name_that_the_registry_has() {
    let site = start(Source::Registry).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    let known = site.passes_in_each_way(&made).await;
    let faults = [
        ("identity_providers", site.stage.entry("idp")),
        (
            "auth_strategies",
            json!({
                "name": "partners", "identity_provider": "another", "auth_methods": ["bearer"],
            }),
        ),
    ];
    for (turn, (section, entry)) in (1..).zip(faults) {
        let another = json!({"name": "another", "issuer": "http://127.0.0.1:9"});
        let name = entry["name"].as_str().unwrap().to_owned();
        site.gateway.edit_config(|config| {
            config["identity_providers"] = json!([another]);
            config["auth_strategies"] = json!([]);
            config[section].as_array_mut().unwrap().push(entry);
        });
        eventually!(
            site.gateway.reloads("configuration", "refused").await >= f64::from(turn),
            "{section}: the reload is refused"
        );
        let parts = ["refused", "registry", section, "gateway.yaml:", &name];
        eventually!(
            site.gateway.logged(&parts),
            "{section}: the log names file and line"
        );
        site.passes(site.get().bearer(&known.token)).await;
        site.passes(site.get().cookie(&known.cookie)).await;
    }
    // What was before stays, and a file without the fault is taken again.
    site.gateway
        .reconfigure(|config| {
            config["identity_providers"] = json!([]);
            config["auth_strategies"] = json!([]);
        })
        .await;
    site.passes_in_each_way(&made).await;
}

#[tokio::test]
async fn an_api_waits_for_the_strategy_that_it_names() {
    let site = start(Source::Registry).await;
    let response = site.get().send().await;
    response.assert_problem(503, "not_ready");
    let line = site.gateway.line_of(&response).await;
    assert_eq!(line["reason"], "no_strategy_yet", "{line}");
    let (_, pid) = (site.bring().await, site.gateway.pid());
    site.refuses(site.get(), 401, "credentials_required").await;
    assert_eq!(site.gateway.pid(), pid);
}

#[tokio::test]
async fn a_strategy_that_leaves_the_file_takes_its_applications_along_until_it_is_back() {
    let site = start(Source::File).await;
    let strategy = site.found(STRATEGIES).await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    let known = site.passes_in_each_way(&made).await;
    let mut removed = Value::Null;
    site.gateway
        .reconfigure(|config| removed = config["auth_strategies"].take())
        .await;
    for call in [
        site.get().basic(&made.client_id, &made.secret),
        site.get().bearer(&known.token),
        site.get().cookie(&known.cookie),
    ] {
        site.refuses(call, 503, "not_ready").await;
    }
    let path = format!("/v2/applications/{}", made.id);
    let told = site.operator.read(&path).await;
    assert_eq!(told["auth_strategy"]["name"], "partners", "{told}");
    // It can still be ended, and named again.
    site.gateway
        .reconfigure(|config| config["auth_strategies"] = removed)
        .await;
    site.passes_in_each_way(&made).await;
}

#[tokio::test]
async fn a_changed_strategy_is_in_force_at_once() {
    let site = start(Source::Registry).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    let known = site.passes_in_each_way(&made).await;
    let path = format!("{STRATEGIES}/{strategy}");
    let methods =
        |methods: &[&str]| json!({"configs": {"openid-connect": {"auth_methods": methods}}});
    let (pair, bearer, cookie) = (
        site.get().basic(&made.client_id, &made.secret),
        site.get().bearer(&known.token),
        site.get().cookie(&known.cookie),
    );
    for (allowed, expected) in [
        (&["client_credentials"][..], [200, 401, 401]),
        (&["bearer"], [401, 200, 401]),
        (&["bearer", "session"], [401, 200, 200]),
        (
            &["client_credentials", "bearer", "session"],
            [200, 200, 200],
        ),
    ] {
        site.operator.done("PATCH", &path, methods(allowed)).await;
        for (call, status) in [&pair, &bearer, &cookie].into_iter().zip(expected) {
            let response = call.send().await;
            assert_eq!(response.status, status, "{allowed:?}: {response:?}");
        }
    }
    let audience = json!({"configs": {"openid-connect": {"audience_required": ["https://other"]}}});
    site.operator.done("PATCH", &path, audience).await;
    site.refuses(bearer, 401, "invalid_token").await;
}

#[tokio::test]
async fn an_api_takes_further_strategies_and_approves_by_itself() {
    let site = {
        let stage = Arc::new(Product::Bridge.start().await);
        Site::with(&stage, Source::Registry, &Store::Sqlite, |setup| {
            setup.config["identity_providers"] =
                json!([{"name": "elsewhere", "issuer": "http://127.0.0.1:9"}]);
            setup.config["auth_strategies"] = json!([{
                "name": "internal", "identity_provider": "elsewhere", "auth_methods": ["bearer"],
            }]);
            let mut hotels = setup.config["apis"][0].clone();
            hotels["name"] = json!("hotels");
            hotels["routes"] = json!([{"paths": ["/hotels"]}]);
            hotels["auth_strategies"] = json!(["internal"]);
            setup.config["apis"].as_array_mut().unwrap().push(hotels);
        })
        .await
    };
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    let path = format!("/v2/applications/{}/registrations", made.id);
    let hotels = site
        .gateway
        .get("/hotels")
        .basic(&made.client_id, &made.secret);

    let waiting = site
        .operator
        .done("POST", &path, json!({"api_id": "flights"}));
    assert_eq!(waiting.await["status"], "pending");
    let flights = site.get().basic(&made.client_id, &made.secret);
    site.refuses(flights, 403, "registration_pending").await;

    let changed = json!({"auth_strategies": ["partners"], "auto_approve_registrations": true});
    let told = site
        .operator
        .done("PATCH", "/v2/apis/hotels", changed)
        .await;
    assert_eq!(told["auth_strategies"], json!(["partners"]), "{told}");
    assert_eq!(told["file_auth_strategies"], json!(["internal"]), "{told}");
    site.refuses(hotels.clone(), 403, "registration_required")
        .await;
    let at_once = site
        .operator
        .done("POST", &path, json!({"api_id": "hotels"}));
    assert_eq!(at_once.await["status"], "approved");
    site.passes(hotels.clone()).await;

    // In use, so it stays.
    let told = site
        .operator
        .ask("DELETE", &format!("{STRATEGIES}/{strategy}"), Value::Null)
        .await;
    assert_eq!((told.status, told.code()), (409, "strategy_in_use".into()));
    let none = json!({"auth_strategies": []});
    site.operator.done("PATCH", "/v2/apis/hotels", none).await;
    let response = hotels.send().await;
    assert_eq!(response.status, 401, "{response:?}");
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let site = start(Source::Registry).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    let provider = site.found("/v2/dcr-providers").await;
    let provider = format!("/v2/dcr-providers/{provider}");
    let strategy = format!("{STRATEGIES}/{strategy}");
    for (path, code) in [
        (&provider, "provider_in_use"),
        (&strategy, "strategy_in_use"),
    ] {
        let response = site.operator.ask("DELETE", path, Value::Null).await;
        assert_eq!(
            (response.status, response.code()),
            (409, code.to_owned()),
            "{}",
            response.text()
        );
        assert_eq!(
            site.operator.ask("GET", path, Value::Null).await.status,
            200
        );
    }
    let application = format!("/v2/applications/{}", made.id);
    site.operator.delete(&application).await;
    let (status, _) = site.stage.grant(&made.client_id, &made.secret).await;
    assert_eq!(status, 401, "the client is gone");
    site.operator
        .done("PATCH", "/v2/apis/flights", json!({"auth_strategies": []}))
        .await;
}
