//! A world for one test: the built gateway, an identity provider, an upstream, all on free ports.

pub(crate) mod backend;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod embedded;
pub(crate) mod gateway;
pub(crate) mod h2c;
pub(crate) mod http1;
pub(crate) mod idp;
pub(crate) mod keys;
pub(crate) mod nginx;
pub(crate) mod peer;
pub(crate) mod portal;
pub(crate) mod postgres;
pub(crate) mod real_idp;
pub(crate) mod sockets;
pub(crate) mod stage;
pub(crate) mod token;
pub(crate) mod upstream;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use self::{
    client::{Call, Response},
    gateway::{Gateway, Setup, Wait},
    idp::Idp,
    upstream::Upstream,
};

/// The audience of the strategy and of good tokens.
pub(crate) const AUDIENCE: &str = "https://api.test";
/// The application that may call the API `flights`.
pub(crate) const APP: &str = "app-1";
/// Its secret.
pub(crate) const SECRET: &str = "correct-horse-battery";

/// Waits until a condition holds, ten seconds at most.
macro_rules! eventually {
    ($condition:expr, $($what:tt)+) => {{
        let mut left = 1_000;
        loop {
            if $condition {
                break;
            }
            left -= 1;
            assert!(left > 0, "not in 10 s: {}", format!($($what)+));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }};
}
pub(crate) use eventually;

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens made by tests are good now"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Waits a while: only for what must *not* happen, or for a time-out to pass.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Gateway, identity provider and upstream.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) idp: Idp,
    pub(crate) upstream: Upstream,
}

impl World {
    /// One strategy `partners` with all three methods, the API `flights` behind it, the public API
    /// `open`, and one application, [`APP`].
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with changes.
    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::around(Idp::start().await, change).await
    }

    /// The same with changes, around an identity provider that is set up already.
    pub(crate) async fn around(idp: Idp, change: impl FnOnce(&mut Setup)) -> Self {
        let upstream = Upstream::start().await;
        idp.client(APP, SECRET);
        let mut setup = setup(&idp.issuer, &upstream);
        change(&mut setup);
        Self {
            gateway: Gateway::start(setup).await,
            idp,
            upstream,
        }
    }

    /// A good token of [`APP`].
    pub(crate) fn token(&self) -> String {
        self.idp.token(APP).build()
    }

    /// `GET /flights` without a credential.
    pub(crate) fn flights(&self) -> Call {
        self.gateway.get("/flights")
    }

    /// A session cookie, earned with a token.
    pub(crate) async fn cookie(&self) -> String {
        let response = self.flights().bearer(&self.token()).send().await;
        response.assert_status(200);
        response.cookie().expect("a session cookie")
    }

    /// The call passes, and reaches the upstream once.
    #[track_caller]
    pub(crate) fn passes(&self, call: Call) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            assert_eq!(
                response.status,
                200,
                "at {place}: {response:?} {}",
                response.text()
            );
            assert_eq!(self.upstream.hits(), before + 1, "at {place}");
            response
        }
    }

    /// The call is refused with this answer, and the upstream sees nothing of it.
    #[track_caller]
    pub(crate) fn refuses(
        &self,
        call: Call,
        status: u16,
        code: &str,
    ) -> impl Future<Output = Response> {
        self.refuses_case("", call, status, code)
    }

    /// The same for one row of a table, whose name a failure prints.
    #[track_caller]
    pub(crate) fn refuses_case(
        &self,
        case: &str,
        call: Call,
        status: u16,
        code: &str,
    ) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            let got = (response.status, response.code());
            let wanted = (status, code.to_owned());
            assert_eq!(
                got,
                wanted,
                "{case:?} at {place}: {response:?} {}",
                response.text()
            );
            response.assert_problem(status, code);
            assert_eq!(
                self.upstream.hits(),
                before,
                "{case:?} at {place}: the upstream was reached"
            );
            response
        }
    }
}

/// The set-up of [`World::start`].
pub(crate) fn setup(issuer: &str, upstream: &Upstream) -> Setup {
    let config = json!({
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0", "token": {"file": "secrets/admin"}},
        "threads": 1,
        "grace_period": "5s",
        "identity_providers": [{"name": "idp", "issuer": issuer, "timeout": "2s"}],
        "auth_strategies": [{
            "name": "partners",
            "identity_provider": "idp",
            "auth_methods": ["client_credentials", "bearer", "session"],
            "credential_claim": ["client_id"],
            "audience": [AUDIENCE],
        }],
        "session_keys": [{"file": "secrets/session"}],
        "apis": [api("flights", upstream), public("open", upstream)],
        "registry": {"file": "applications.yaml"},
    });
    let applications = json!({"applications": [application(APP)]});
    let files = vec![("secrets/session".to_owned(), session_key(7))];
    Setup {
        config,
        applications,
        files,
        program: env!("CARGO_BIN_EXE_dcr-gateway").into(),
        environment: Vec::new(),
        wait: Wait::Ready,
    }
}

/// An API at `/name` that the strategy `partners` guards.
pub(crate) fn api(name: &str, upstream: &Upstream) -> Value {
    json!({
        "name": name,
        "auth_strategies": ["partners"],
        "routes": [{"paths": [format!("/{name}")]}],
        "upstream": {"targets": [{"address": upstream.address.to_string()}]},
    })
}

/// An API at `/name` that is open to anyone.
pub(crate) fn public(name: &str, upstream: &Upstream) -> Value {
    json!({
        "name": name,
        "access": "public",
        "routes": [{"paths": [format!("/{name}")]}],
        "upstream": {"targets": [{"address": upstream.address.to_string()}]},
    })
}

/// An active application of `partners`, approved for `flights`.
pub(crate) fn application(client_id: &str) -> Value {
    json!({
        "name": "Trip Planner",
        "developer": "dana@example.com",
        "auth_strategy": "partners",
        "client_id": client_id,
        "registrations": {"flights": "approved"},
    })
}

/// Adds an application to a file's content.
pub(crate) fn add(applications: &mut Value, entry: Value) {
    applications["applications"]
        .as_array_mut()
        .unwrap()
        .push(entry);
}

/// A session key: 32 equal bytes in base64, enough for a test.
pub(crate) fn session_key(byte: u8) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode([byte; 32])
}

/// A time as RFC 3339 writes it, in UTC.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    humantime::format_rfc3339_seconds(time).to_string()
}
