//! A real identity provider, the npm package `oidc-provider`, as a process of its own.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin},
};

use super::peer::node;

/// Audience whose tokens are JWTs.
pub(crate) const JWT: &str = "https://api.test/jwt";
/// Audience whose tokens are opaque.
pub(crate) const OPAQUE: &str = "https://api.test/opaque";

/// The running provider; it ends with this value.
pub(crate) struct RealIdp {
    pub(crate) issuer: String,
    control: String,
    http: reqwest::Client,
    _stdin: ChildStdin,
    _child: Child,
}

/// What RFC 7591 registration gave (section 3.2.1).
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) secret: String,
    uri: String,
    token: String,
}

impl RealIdp {
    pub(crate) async fn start() -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/idp/oidc-provider");
        let mut child = node(directory, "idp.mjs", &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Ok(told) = serde_json::from_str::<Value>(&line) {
                    return told;
                }
            }
            panic!("the provider ended at start");
        };
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), told)
            .await
            .unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self {
            issuer: text("issuer"),
            control: text("control"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _stdin: child.stdin.take().unwrap(),
            _child: child,
        }
    }

    /// Pulls a lever that is no part of the protocol.
    pub(crate) async fn pull(&self, lever: &str) -> Value {
        let answer = self
            .http
            .post(format!("{}{lever}", self.control))
            .send()
            .await
            .unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    /// How often a path was asked for.
    pub(crate) async fn hits(&self, path: &str) -> u64 {
        self.pull("/hits").await[path].as_u64().unwrap_or(0)
    }

    /// Registers a client with an initial access token (RFC 7591 section 3).
    pub(crate) async fn register(&self) -> Registered {
        let initial = self.pull("/initial-access-token").await;
        let metadata = json!({
            "client_name": "Trip Planner", "grant_types": ["client_credentials"],
            "redirect_uris": [], "response_types": [], "scope": "read write",
            "token_endpoint_auth_method": "client_secret_post",
        });
        let answer = self
            .http
            .post(format!("{}/reg", self.issuer))
            .bearer_auth(initial["token"].as_str().unwrap())
            .json(&metadata)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        let facts: Value = answer.json().await.unwrap();
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        Registered {
            id: text("client_id"),
            secret: text("client_secret"),
            uri: text("registration_client_uri"),
            token: text("registration_access_token"),
        }
    }

    /// Deletes a client (RFC 7592 section 2.3).
    pub(crate) async fn delete(&self, client: &Registered) {
        let request = self.http.delete(&client.uri).bearer_auth(&client.token);
        assert_eq!(request.send().await.unwrap().status(), 204);
    }

    /// A token for a client and an audience, as the client itself would get it.
    pub(crate) async fn token(&self, client: &Registered, resource: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("resource", resource),
            ("scope", "read"),
        ];
        let answer = self
            .http
            .post(format!("{}/token", self.issuer))
            .form(&form)
            .send()
            .await
            .unwrap();
        let facts: Value = answer.error_for_status().unwrap().json().await.unwrap();
        facts["access_token"].as_str().unwrap().to_owned()
    }
}
