//! The developers' half of the portal: who signs in, and what they can do with their own
//! applications.

mod accounts;
mod client;
mod elsewhere;
mod misuse;
mod openapi;
mod ownership;
mod pages;
mod pages_apps;
mod pages_setup;
mod sessions;
mod story;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{
    World,
    client::{Call, Response},
    gateway::Setup,
    idp::Idp,
    portal::{Operator, Store, text},
};

const PASSWORD: &str = "correct horse battery";

/// A gateway with a portal, and its operator.
struct Site {
    world: World,
    operator: Operator,
    /// Where developers are served.
    desk: SocketAddr,
}

/// Somebody at the portal's address, in a browser of their own.
#[derive(Clone)]
struct Visitor {
    desk: SocketAddr,
    /// The session, as `name=value`.
    cookie: Option<String>,
}

impl Site {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::over(&Store::Sqlite, change).await
    }

    async fn over(store: &Store, change: impl FnOnce(&mut Setup)) -> Self {
        let world = World::around(Idp::start().await, |setup| {
            store.configure(setup);
            setup.config["portal"] = json!({"address": "127.0.0.1:0"});
            change(setup);
        })
        .await;
        Self {
            operator: Operator::of(&world.gateway),
            desk: world.gateway.address("portal").expect("a portal listens"),
            world,
        }
    }

    /// Somebody who has not signed in.
    fn visitor(&self) -> Visitor {
        let (desk, cookie) = (self.desk, None);
        Visitor { desk, cookie }
    }

    /// Invites a developer; the token.
    async fn invite(&self, email: &str) -> String {
        let new = json!({"email": email, "full_name": "Dana Smith"});
        let made = self.operator.done("POST", "/v2/developers", new).await;
        text(&made["invitation"], "token")
    }

    /// A developer who was invited and has signed in.
    async fn developer(&self, email: &str) -> Visitor {
        let token = self.invite(email).await;
        let mut visitor = self.visitor();
        let set = visitor.set_password(&token, PASSWORD).await;
        set.assert_status(204);
        visitor.sign_in(email, PASSWORD).await.assert_status(204);
        visitor
    }

    /// A strategy `dcr` that registers at the stand-in and that the API accepts; its id.
    async fn strategy(&self) -> String {
        let issuer = &self.world.idp.issuer;
        self.strategy_at(issuer, "an-initial-access-token").await
    }

    /// The same at another identity provider, with its initial access token.
    async fn strategy_at(&self, issuer: &str, token: &str) -> String {
        let provider = json!({
            "name": "stand-in", "provider_type": "generic", "issuer": issuer,
            "dcr_config": {"initial_access_token": token},
        });
        let provider = self.operator.make("/v2/dcr-providers", provider).await;
        let strategy = json!({
            "name": "dcr", "strategy_type": "openid_connect", "dcr_provider_id": provider,
            "configs": {"openid-connect": {
                "issuer": issuer, "credential_claim": ["client_id"], "scopes": ["read"],
                "auth_methods": ["client_credentials", "bearer"],
                "audience_required": [crate::harness::AUDIENCE],
            }},
        });
        let path = "/v2/application-auth-strategies";
        let strategy = self.operator.make(path, strategy).await;
        let accepted = json!({"auth_strategies": ["dcr"]});
        self.operator
            .done("PATCH", "/v2/apis/flights", accepted)
            .await;
        strategy
    }
}

impl Visitor {
    fn call(&self, method: &str, path: &str) -> Call {
        let call = Call::new(self.desk, method, path);
        match &self.cookie {
            Some(cookie) => call.cookie(cookie),
            None => call,
        }
    }

    /// Asks with a JSON body; null sends none.
    async fn ask(&self, method: &str, path: &str, body: Value) -> Response {
        let call = self.call(method, path);
        let call = match body {
            Value::Null => call,
            body => call
                .header("Content-Type", "application/json")
                .body(body.to_string()),
        };
        call.send().await
    }

    async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, Value::Null).await
    }

    async fn set_password(&self, token: &str, password: &str) -> Response {
        let body = json!({"token": token, "password": password});
        self.ask("POST", "/api/v2/developer/reset-password", body)
            .await
    }

    /// Signs in, and keeps the cookie as a browser does.
    async fn sign_in(&mut self, email: &str, password: &str) -> Response {
        let body = json!({"username": email, "password": password});
        let path = "/api/v2/developer/authenticate";
        let response = self.ask("POST", path, body).await;
        if response.status == 204 {
            self.cookie = Some(cookie(&response));
        }
        response
    }

    /// Whether the session holds.
    async fn is_signed_in(&self) -> bool {
        let response = self.get("/api/v2/developer/me").await;
        if response.status == 401 {
            response.assert_problem(401, "session_required");
            return false;
        }
        response.assert_status(200);
        true
    }
}

/// The cookie that an answer sets, as `name=value`.
#[track_caller]
fn cookie(response: &Response) -> String {
    let line = response.header("set-cookie").expect("a cookie is set");
    line.split(';').next().unwrap().to_owned()
}
