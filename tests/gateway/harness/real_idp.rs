//! Real identity providers, as processes of their own: the npm package `oidc-provider`, and
//! `django-oauth-toolkit` of PyPI. Both are started, spoken to and ended in the same way.

use dcr_gateway::model::credential::{ClientId, Secret};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin},
};

use super::peer::{node, python};

/// Audience whose tokens are JWTs.
pub(crate) const JWT: &str = "https://api.test/jwt";
/// Audience whose tokens are opaque.
pub(crate) const OPAQUE: &str = "https://api.test/opaque";

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    DjangoOauthToolkit,
    OidcProvider,
}

/// The running provider; it ends with this value.
pub(crate) struct RealIdp {
    pub(crate) issuer: String,
    /// What it says of itself (RFC 8414).
    pub(crate) metadata: Value,
    control: String,
    http: reqwest::Client,
    _stdin: ChildStdin,
    _child: Child,
    _state: TempDir,
}

/// What RFC 7591 registration gave (section 3.2.1).
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// The registration access token, for the client's own record alone.
    pub(crate) token: String,
    uri: String,
}

impl RealIdp {
    pub(crate) async fn start(product: Product) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut child = match product {
            Product::DjangoOauthToolkit => python(
                concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/idp/django-oauth-toolkit"
                ),
                "idp.py",
                &[state.path().to_str().unwrap()],
            ),
            Product::OidcProvider => node(
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/idp/oidc-provider"),
                "idp.mjs",
                &[],
            ),
        };
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
            .expect("the provider has started within 30 s");
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let issuer = text("issuer");
        // Node.js closes a connection that is idle for some seconds, even where a request is coming.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0);
        let http = http.no_proxy().build().unwrap();
        let mut place = url::Url::parse(&issuer).unwrap();
        let path = place.path().trim_end_matches('/');
        place.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        let document = http.get(place).send().await.unwrap();
        Self {
            metadata: document.error_for_status().unwrap().json().await.unwrap(),
            issuer,
            control: text("control"),
            http,
            _stdin: child.stdin.take().unwrap(),
            _child: child,
            _state: state,
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

    /// How often an endpoint was asked, by its name in the metadata.
    pub(crate) async fn hits(&self, endpoint: &str) -> u64 {
        let url = url::Url::parse(self.endpoint(endpoint)).unwrap();
        self.pull("/hits").await[url.path()].as_u64().unwrap_or(0)
    }

    /// Registers a client with an initial access token (RFC 7591 section 3).
    pub(crate) async fn register(&self) -> Registered {
        let initial = self.pull("/initial-access-token").await;
        let answer = self.ask_to_register(initial["token"].as_str()).await;
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

    /// The same with this token or without one, whatever comes of it.
    pub(crate) async fn ask_to_register(&self, initial: Option<&str>) -> reqwest::Response {
        let metadata = json!({
            "client_name": "Trip Planner", "grant_types": ["client_credentials"],
            "redirect_uris": [], "response_types": [], "scope": "read write",
            "token_endpoint_auth_method": "client_secret_post",
        });
        let mut request = self.http.post(self.endpoint("registration_endpoint"));
        if let Some(token) = initial {
            request = request.bearer_auth(token);
        }
        request.json(&metadata).send().await.unwrap()
    }

    /// Deletes a client (RFC 7592 section 2.3).
    pub(crate) async fn delete(&self, client: &Registered) {
        let request = self.http.delete(&client.uri).bearer_auth(&client.token);
        assert_eq!(request.send().await.unwrap().status(), 204);
    }

    /// A token for a client and an audience, as the client itself would get it.
    pub(crate) async fn token(&self, client: &Registered, resource: &str) -> String {
        let fields = [
            ("grant_type", "client_credentials"),
            ("resource", resource),
            ("scope", "read"),
        ];
        let facts = self.post("token_endpoint", client, &fields).await;
        facts["access_token"].as_str().unwrap().to_owned()
    }

    /// Whether a pair gets a token, as it should.
    pub(crate) async fn accepts(&self, id: &ClientId, secret: &Secret, expected: bool) {
        let fields = [("grant_type", "client_credentials")];
        let request = self.http.post(self.endpoint("token_endpoint"));
        let request = request.basic_auth(
            form_encoded(id.as_str()),
            Some(form_encoded(secret.expose())),
        );
        let answer = request.form(&fields).send().await.unwrap();
        assert_eq!(
            answer.status().is_success(),
            expected,
            "{:?}",
            answer.status()
        );
    }

    /// What introspection says of a token to another client (RFC 7662).
    pub(crate) async fn introspect(&self, asking: &Registered, token: &str) -> Value {
        self.post("introspection_endpoint", asking, &[("token", token)])
            .await
    }

    /// Takes a token back (RFC 7009).
    pub(crate) async fn revoke(&self, client: &Registered, token: &str) {
        self.post("revocation_endpoint", client, &[("token", token)])
            .await;
    }

    /// What an endpoint says to a client; null where it says nothing.
    async fn post(&self, endpoint: &str, client: &Registered, fields: &[(&str, &str)]) -> Value {
        let mut fields = fields.to_vec();
        fields.extend([
            ("client_id", client.id.as_str()),
            ("client_secret", client.secret.as_str()),
        ]);
        let request = self.http.post(self.endpoint(endpoint)).form(&fields);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    /// Where clients get tokens.
    pub(crate) fn token_endpoint(&self) -> String {
        self.endpoint("token_endpoint").to_owned()
    }

    fn endpoint(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap()
    }
}

/// As RFC 6749 section 2.3.1 wants it in Basic.
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
