//! What does a verdict cost, from a request's head to a permit, without Pingora and without the
//! network?
//!
//! `path` checks a path for ambiguity, `route` finds its API among 1, 100 and 1,000 routes,
//! `credential` reads an Authorization line, `authenticate` is the whole rest of the verdict for
//! a credential that the gateway knows: caches, times, application, registration, scopes.
//!
//! Fixed: `now`; one strategy with all three methods; a token of 640 bytes, signed RS256; an
//! application with an approved registration; a request with the fields that curl sends and one
//! credential. The identity provider is a stand-in in this process, asked before anything is
//! measured and never again: each verdict is ready at once, or the bench fails.
//!
//! How to read it: `path` + `route` + `authenticate` (which contains `credential`) is what the
//! gateway adds to a proxied request before the upstream is chosen; the bound of a whole request
//! is in `README.md` here. `route` must not grow with the number of routes.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod mint;

use std::{fmt::Write, fs, hint::black_box, net::Ipv4Addr, sync::Arc, thread, time::Duration};

use axum::{
    Json, Router,
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::Criterion;
use dcr_gateway::{
    clock,
    config::Config,
    directory::{Directory, file},
    model::{credential::Credential, time::Timestamp},
    proxy::{
        authenticate::{Permit, Request, authenticate},
        denial::Denial,
        path::Path,
        route::{Found, Table},
        session,
        state::{Lasting, State},
        upstream::health::Checker,
    },
    telemetry::{checks::Checks, metrics::Metrics},
    token::session::SessionKey,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, header};
use jsonwebtoken::Algorithm;
use mint::{AUDIENCE, CLIENT, ISSUER, Key};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    path(&mut criterion);
    route(&mut criterion);
    let runtime = Runtime::new().unwrap();
    let now = clock::now();
    let token = Key::new(Algorithm::RS256);
    let world = World::new(&runtime, &token, now);
    let token = token.token(now.secs(), 0);
    let basic = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{CLIENT}:secret"))
    );
    let bearer = format!("Bearer {token}");
    credential(&mut criterion, &[("basic", &basic), ("bearer", &bearer)]);
    let cookie = world.cookie(&runtime, &bearer);
    for (name, field, value) in [
        ("basic", header::AUTHORIZATION, &basic),
        ("bearer", header::AUTHORIZATION, &bearer),
        ("session", header::COOKIE, &cookie),
    ] {
        let fields = fields(Some((field, value)));
        runtime.block_on(world.verdict(&fields)).unwrap();
        criterion.bench_function(&format!("authenticate/{name}"), |bencher| {
            bencher.iter(|| {
                world
                    .verdict(black_box(&fields))
                    .now_or_never()
                    .unwrap()
                    .unwrap()
            });
        });
    }
    let none = fields(None);
    criterion.bench_function("authenticate/none", |bencher| {
        bencher.iter(|| {
            world
                .verdict(black_box(&none))
                .now_or_never()
                .unwrap()
                .unwrap_err()
        });
    });
    criterion.final_summary();
}

fn path(criterion: &mut Criterion) {
    for (name, path) in [
        ("plain", "/api-7/flights/2026-11-21/OSL/seats"),
        (
            "escaped",
            "/api-7/flights/2026-11-21/Troms%C3%B8/seats;class=1",
        ),
    ] {
        criterion.bench_function(&format!("path/{name}"), |bencher| {
            bencher.iter(|| Path::check(black_box(path)).unwrap());
        });
    }
}

fn route(criterion: &mut Criterion) {
    for count in [1, 100, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let table = Table::new(&config(directory.path(), "http://127.0.0.1:1", count).apis);
        let path = format!("/api-{}/flights/2026-11-21/OSL/seats", count / 2);
        let path = Path::check(&path).unwrap();
        criterion.bench_function(&format!("route/{count}"), |bencher| {
            bencher.iter(|| {
                let found = table.find(black_box("api.example.com:8000"), &path, &Method::GET);
                assert!(matches!(found, Found::Api { .. }));
            });
        });
    }
}

fn credential(criterion: &mut Criterion, lines: &[(&str, &String)]) {
    for (name, line) in lines {
        criterion.bench_function(&format!("credential/{name}"), |bencher| {
            bencher.iter(|| Credential::parse(black_box(line.as_bytes())).unwrap());
        });
    }
}

/// A gateway's state with its identity provider.
struct World {
    state: State,
    now: Timestamp,
}

impl World {
    fn new(runtime: &Runtime, key: &Key, now: Timestamp) -> Self {
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
            metrics: Arc::new(Metrics::new().unwrap()),
            made_key: SessionKey::random().unwrap(),
            checker: Checker::default(),
            runtime: runtime.handle().clone(),
        };
        let state = State::new(config, None, &lasting).unwrap();
        while state
            .providers
            .values()
            .any(|provider| provider.keys(now).is_none())
        {
            thread::sleep(Duration::from_millis(5));
        }
        Self { state, now }
    }

    fn request<'a>(&self, headers: &'a HeaderMap) -> Request<'a> {
        Request {
            method: &Method::GET,
            headers,
            host: "api.example.com:8000",
            address: Ipv4Addr::LOCALHOST.into(),
            secure: false,
            now: self.now,
            checks: Checks::OFF,
        }
    }

    async fn verdict(&self, headers: &HeaderMap) -> Result<Permit, Denial> {
        authenticate(&self.state, &self.state.apis[0], &self.request(headers)).await
    }

    /// The session that a bearer token earns, as a client sends it back.
    fn cookie(&self, runtime: &Runtime, bearer: &str) -> String {
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
fn config(directory: &std::path::Path, provider: &str, apis: usize) -> Config {
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
fn fields(credential: Option<(header::HeaderName, &str)>) -> HeaderMap {
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
