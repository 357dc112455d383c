//! A gateway's state for the benches, with a stand-in for its identity provider in this process: one
//! strategy with all three methods, one application with an approved registration.

use std::{fmt::Write, fs, net::Ipv4Addr, sync::Arc, thread, time::Duration};

use axum::{
    Json, Router,
    routing::{get, post},
};
use dcr_gateway::{
    config::Config,
    directory::{Directory, file},
    model::time::Timestamp,
    proxy::{
        authenticate::{Permit, Request, authenticate},
        denial::Denial,
        session,
        state::{Lasting, State},
        upstream::health::Checker,
    },
    telemetry::{checks::Checks, metrics::Metrics},
    token::session::SessionKey,
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::mint::{AUDIENCE, CLIENT, ISSUER, Key};

/// A gateway's state with its identity provider.
pub(crate) struct World {
    pub(crate) state: Arc<State>,
    pub(crate) now: Timestamp,
}

impl World {
    /// One that knows the application and its provider's keys.
    pub(crate) fn new(runtime: &Runtime, key: &Key, now: Timestamp) -> Self {
        let provider = provider(runtime, key, now);
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), &provider, 1);
        let applications = Directory::default();
        applications.replace(
            file::load(config.registry.file().unwrap(), &config.known())
                .unwrap()
                .0,
        );
        let lasting = Lasting {
            directory: applications,
            revocations: Arc::default(),
            refusals: Arc::default(),
            traffic: Arc::default(),
            metrics: Arc::new(Metrics::new().unwrap()),
            made_key: SessionKey::random().unwrap(),
            checker: Checker::default(),
            runtime: runtime.handle().clone(),
        };
        let state = Arc::new(State::new(config, None, &lasting).unwrap());
        while state
            .providers
            .values()
            .any(|provider| provider.keys(now).is_none())
        {
            thread::sleep(Duration::from_millis(5));
        }
        Self { state, now }
    }

    /// A request of those fields.
    pub(crate) fn request<'a>(&self, headers: &'a HeaderMap) -> Request<'a> {
        Request {
            method: &Method::GET,
            headers,
            host: "api.example.com:8000",
            address: Ipv4Addr::LOCALHOST.into(),
            secure: false,
            now: self.now,
            recent: None,
            checks: Checks::OFF,
        }
    }

    /// What the gateway thinks of a request of those fields.
    pub(crate) async fn verdict(&self, headers: &HeaderMap) -> Result<Permit, Denial> {
        authenticate(&self.state, &self.state.apis[0], &self.request(headers)).await
    }

    /// The session that a bearer token earns, as a client sends it back.
    pub(crate) fn cookie(&self, runtime: &Runtime, bearer: &str) -> String {
        let fields = fields(Some((header::AUTHORIZATION, bearer)));
        let permit = runtime.block_on(self.verdict(&fields)).unwrap();
        let request = self.request(&fields);
        let set = session::renewal(
            &self.state,
            &self.state.apis[0],
            permit.caller().unwrap(),
            &request,
        );
        let set = set.ok().flatten().unwrap();
        let pair = set.to_str().unwrap().split(';').next();
        pair.unwrap().to_owned()
    }
}

/// An identity provider that knows one client, and its address.
fn provider(runtime: &Runtime, key: &Key, now: Timestamp) -> String {
    let keys: Value = serde_json::from_str(&key.set()).unwrap();
    let token = key.token(now.secs(), 0);
    let granted = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    let router = Router::new()
        .route("/keys", get(async || Json(keys)))
        .route("/token", post(async || Json(granted)));
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A configuration of so many APIs, read from a file as the program does.
pub(crate) fn config(directory: &std::path::Path, provider: &str, apis: usize) -> Config {
    let mut text = format!(
        "listeners: [{{ address: '127.0.0.1:8000' }}]
identity_providers:
  - name: idp
    issuer: {ISSUER}
    token_endpoint: {provider}/token
    jwks_uri: {provider}/keys
auth_strategies:
  - name: partners
    identity_provider: idp
    auth_methods: [client_credentials, bearer, session]
    audience: [{AUDIENCE}]
    scopes_required: ['flights:read flights:list', admin]
registry: {{ file: applications.yaml }}
apis:
"
    );
    for api in 0..apis {
        writeln!(
            text,
            "  - name: api-{api}
    auth_strategies: [partners]
    routes: [{{ hosts: [api.example.com], paths: [/api-{api}], methods: [GET, POST] }}]
    upstream: {{ targets: [{{ address: '127.0.0.1:9000' }}] }}"
        )
        .unwrap();
    }
    let applications = format!(
        "applications:
  - name: Trip Planner
    developer: dana@example.com
    auth_strategy: partners
    client_id: {CLIENT}
    registrations: {{ api-0: approved }}
"
    );
    fs::write(directory.join("applications.yaml"), applications).unwrap();
    let file = directory.join("gateway.yaml");
    fs::write(&file, text).unwrap();
    Config::load(&file).unwrap().0
}

/// What curl sends, and a credential.
pub(crate) fn fields(credential: Option<(header::HeaderName, &str)>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "api.example.com:8000"),
        (header::USER_AGENT, "curl/8.10.1"),
        (header::ACCEPT, "*/*"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    if let Some((name, value)) = credential {
        fields.insert(name, HeaderValue::from_str(value).unwrap());
    }
    fields
}
