//! The portal, end to end: an operator makes applications over REST, and they are live at the
//! gateway. [`story`] and [`products`] tell it whole; the others look at the REST, a file for each
//! of its sides, over a registry in SQLite.

mod bodies;
mod commands;
mod crashes;
mod gateways;
mod limits;
mod lists;
mod load;
mod misuse;
mod openapi;
mod outages;
mod products;
mod repeats;
mod resources;
mod routes;
mod secrets;
mod site;
mod sources;
mod story;
mod work;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::harness::{
    World,
    client::{Call, Response},
    gateway::{ADMIN_TOKEN, Setup},
    idp::Idp,
};

/// The initial access token of the stand-in.
const INITIAL_TOKEN: &str = "an-initial-access-token";

/// Gateway with a registry, its identity provider and its upstream.
struct Portal {
    world: World,
}

impl Portal {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let world = World::around(Idp::start().await, |setup| {
            setup.config["registry"] = json!({
                "sqlite": "registry.db",
                "keys": [{"file": "secrets/registry"}],
            });
            setup.applications = Value::Null;
            let key = BASE64_STANDARD.encode([9; 32]);
            setup.files.push(("secrets/registry".to_owned(), key));
            change(setup);
        });
        Self { world: world.await }
    }

    /// A call with the token.
    fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.world.gateway.admin, method, target).bearer(ADMIN_TOKEN)
    }

    fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    fn with_json(&self, method: &str, target: &str, body: &Value) -> Call {
        let call = self.call(method, target);
        call.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    async fn read(&self, target: &str) -> Value {
        let response = self.get(target).send().await;
        response.assert_status(200).json()
    }

    async fn post(&self, target: &str, body: &Value) -> Response {
        self.with_json("POST", target, body).send().await
    }

    async fn patch(&self, target: &str, body: &Value) -> Response {
        self.with_json("PATCH", target, body).send().await
    }

    async fn delete(&self, target: &str) -> Response {
        self.call("DELETE", target).send().await
    }

    /// A DCR provider at the stand-in; its id.
    async fn provider(&self, name: &str) -> String {
        let body = provider(name, &self.world.idp.issuer);
        id(self
            .post("/v2/dcr-providers", &body)
            .await
            .assert_status(201))
    }

    /// A strategy whose applications are registered at a provider; its id.
    async fn strategy(&self, name: &str, provider: &str) -> String {
        let mut body = strategy(name, &self.world.idp.issuer);
        body["dcr_provider_id"] = json!(provider);
        let made = self.post("/v2/application-auth-strategies", &body).await;
        id(made.assert_status(201))
    }

    /// A strategy `dcr` that registers at the stand-in and that the API accepts; its id.
    async fn ready(&self) -> String {
        let provider = self.provider("stand-in").await;
        let strategy = self.strategy("dcr", &provider).await;
        let accepted = json!({"auth_strategies": ["dcr"]});
        let api = self.patch("/v2/apis/flights", &accepted).await;
        api.assert_status(200);
        strategy
    }
}

/// A DCR provider to be.
fn provider(name: &str, issuer: &str) -> Value {
    json!({
        "name": name, "provider_type": "generic", "issuer": issuer,
        "dcr_config": {"initial_access_token": INITIAL_TOKEN, "deadline_seconds": 20},
    })
}

/// A strategy to be, without DCR provider.
fn strategy(name: &str, issuer: &str) -> Value {
    json!({
        "name": name, "strategy_type": "openid_connect",
        "configs": {"openid-connect": {
            "issuer": issuer, "credential_claim": ["client_id"],
            "auth_methods": ["client_credentials", "bearer"],
            "audience_required": [crate::harness::AUDIENCE],
        }},
    })
}

/// An application to be.
fn application(name: &str, strategy: &str) -> Value {
    json!({
        "name": name, "auth_strategy_id": strategy,
        "owner": {"type": "developer", "id": "dana@example.com"},
    })
}

/// The id of an answered thing.
#[track_caller]
fn id(response: &Response) -> String {
    text(&response.json()["id"])
}

#[track_caller]
fn text(value: &Value) -> String {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"));
    text.to_owned()
}

/// The fields of `invalid_parameters`, with their rules.
#[track_caller]
fn faults(response: &Response) -> Vec<(String, String)> {
    response.assert_problem(400, "invalid_parameters");
    let body = response.json();
    let each = body["invalid_parameters"].as_array().unwrap().iter();
    each.map(|fault| (text(&fault["field"]), text(&fault["rule"])))
        .collect()
}
