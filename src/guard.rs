//! The authentication of this crate in front of another Pingora program's own proxy.
//!
//! A [`Guard`] is made from the same YAML file that the gateway reads, and [`Guard::protect`] puts
//! it around a [`ProxyHttp`](pingora::proxy::ProxyHttp). There is nothing else to call, and so
//! nothing to forget: a wrapper was chosen over functions for each hook because one hook left out,
//! say that which removes what a client spoofed, would still work in every test but an attacker's.
//!
//! # How to
//!
//! In `Cargo.toml`, with the very version of Pingora that this crate has, since its traits are
//! shared:
//!
//! ```toml
//! [dependencies]
//! async-trait = "0.1"
//! dcr-gateway = { path = "../dcr-gateway" }
//! pingora = { version = "=0.9.1", features = ["proxy", "rustls"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! Pingora takes one TLS library in a program, and this crate brings `rustls`. Where the program uses
//! Pingora's feature `upstream_modules`, it must name this crate's feature of that name too, or the
//! hooks of it are not passed on.
//!
//! A file, here `guard.yaml`. It is the gateway's own (see its `README.md`) without listeners and
//! upstreams:
//!
//! ```yaml
//! identity_providers:
//!   - name: idp
//!     issuer: https://idp.example.com
//! auth_strategies:
//!   - name: partners
//!     identity_provider: idp
//!     auth_methods: [client_credentials, bearer, session]
//!     audience: [https://api.example.com]
//! session_keys: [{ file: secrets/session }]
//! apis:
//!   - name: flights
//!     auth_strategies: [partners]
//!     routes: [{ paths: [/flights] }]
//!   - name: status
//!     access: public
//!     routes: [{ paths: [/status] }]
//! registry: { file: applications.yaml }
//! ```
//!
//! And the program. Its proxy is what it was before; `protect` is what is new:
//!
//! ```no_run
//! use async_trait::async_trait;
//! use dcr_gateway::guard::{Guard, Visit};
//! use pingora::{
//!     proxy::{ProxyHttp, Session, http_proxy_service},
//!     server::Server,
//!     upstreams::peer::HttpPeer,
//! };
//!
//! struct Flights;
//!
//! #[async_trait]
//! impl ProxyHttp for Flights {
//!     type CTX = ();
//!
//!     fn new_ctx(&self) {}
//!
//!     async fn upstream_peer(
//!         &self,
//!         session: &mut Session,
//!         _: &mut (),
//!     ) -> pingora::Result<Box<HttpPeer>> {
//!         // Only requests that were let through come here, and they tell who calls.
//!         let caller = Visit::of(session).and_then(Visit::caller);
//!         let application = caller.and_then(|caller| caller.application());
//!         let target = match application {
//!             Some(application) if &*application.developer == "dana@example.com" => "10.0.0.6:9000",
//!             _ => "10.0.0.5:9000",
//!         };
//!         Ok(Box::new(HttpPeer::new(target, false, String::new())))
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     tracing_subscriber::fmt().init();
//!     let guard = Guard::load("guard.yaml")?;
//!     let mut server = Server::new(None)?;
//!     server.bootstrap();
//!     let mut service = http_proxy_service(&server.configuration, guard.protect(Flights));
//!     service.add_tcp("127.0.0.1:8000");
//!     server.add_service(service);
//!     server.run_forever();
//! }
//! ```
//!
//! `guard.yaml` names two files more. `applications.yaml` says who may call what, as in this crate's
//! `conf/applications.yaml`; without it all but the public API answers 503. `secrets/session` is the
//! key of session cookies: `mkdir -p secrets; openssl rand -base64 32 >secrets/session`.
//!
//! `dcr-gateway check --guard --config guard.yaml` says what is wrong with such a file, and
//! `dcr-gateway explain --guard` why a credential is refused. `examples/embed.rs` is a program with
//! load balancing, and says how to try it.
//!
//! # What the guard does
//!
//! It stands between the client and the proxy: a request passes the guard's part of a hook first
//! and the proxy's second, an answer the proxy's first and the guard's last.
//!
//! | hook | the guard |
//! | --- | --- |
//! | `request_filter` | finds the API by the file's routes, reads the one credential that counts, verifies it, looks the application up, checks registration and scopes; answers refusals, `POST /-/logout` and CORS preflights itself, exactly as the gateway does, and then the proxy's own hook is not called |
//! | `cache_key_callback` | makes the proxy's key one for each caller, so that what an upstream said to one is never given to another |
//! | `upstream_peer` | refuses whatever was not let through, before the proxy's own hook |
//! | `upstream_request_filter` | removes the credential, the session cookie, and every header that vouches for something, in whatever spelling; then sets who calls (`X-Application-Id` and the others), `X-Request-Id`, `X-Forwarded-*` and `Via`. The proxy's own hook comes after it and has the last word: it may name another Host, or sign in at the upstream |
//! | `request_body_filter` | keeps `limits.body_size`; ends a body once |
//! | `response_filter` | refuses a change of protocol that nobody asked for; sets the session cookie where one is due, and keeps such answers out of shared caches; says whose pages may read the answer (`cors`) |
//! | body filters of a tunnel | end a WebSocket when its credential ends or its application is suspended, as soon as a byte flows |
//! | `logging` | counts, and writes an event on the target `dcr_gateway::access` |
//!
//! Files that change are applied to the running program: `applications.yaml`, the configuration, and
//! what it names. A faulty one changes nothing and says so in the log. Identity providers' keys are
//! kept up to date in the background. While an identity provider is down its clients get 503, and
//! what is remembered goes on working.
//!
//! What is logged are events of `tracing`, or records of `log` where the program installs no
//! subscriber. None of them holds a credential.
//!
//! # What stays the program's own
//!
//! - **Listening, and TLS.** Without TLS credentials travel in the clear, and the session cookie
//!   loses its `Secure`. Behind a terminator, list it under `trusted_proxies`.
//! - **Limits on connections and heads.** The gateway reads heads itself, with a size, a count and a
//!   deadline; a plain Pingora service takes heads up to 1 MiB, for as long as a client cares to send
//!   them. Of `limits` a guard keeps `header_count` and `body_size`.
//! - **Time-outs** towards clients and upstreams, retries, and a stop that loses no request. Told to
//!   stop by SIGTERM, Pingora waits five minutes unless `ServerConf::grace_period_seconds` says less.
//! - **Where requests go.** Every key of `apis[].upstream`, `strip_prefix`, and whatever else a guard
//!   cannot honour may stand in the file, which can be a gateway's too: it is checked, and each such
//!   key is named in a warning. What the proxy makes of a path after it was judged is its own choice.
//! - **Answers that the proxy makes itself.** Pingora passes them through no filter, so they carry
//!   no session cookie. Hooks that run before `request_filter`, `early_request_filter` and downstream
//!   modules, see requests that nobody has judged; the head may be changed there, and is judged as
//!   changed.
//! - **Whatever is served beside it**: other services of the same server are not guarded.
//! - **Downstream** the client's head is left as it came: the proxy's hooks, and its log lines, can
//!   see the credential there.
//!
//! Sessions that were logged out are known to this process only. A tunnel on which nobody speaks
//! stays open, but nothing passes through it once its credential has ended.

mod hooks;
mod visit;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::{self, Handle, Runtime},
    sync::Notify,
    task::AbortHandle,
};

use crate::{
    clock,
    config::{Config, Role, watch::Watch},
    model::fault::{self, Fault},
    proxy::state::{self, Lasting, State},
    reload::{Reloader, Surroundings, portal},
    telemetry::metrics::Metrics,
    token::session::SessionKey,
};
pub use hooks::{Contexts, Guarded};
pub use visit::{Caller, Visit};

/// The authentication that one file describes, at work and kept up to date. Cheap to clone; it works
/// until the last clone is dropped, and a [`Guarded`] proxy holds one.
///
/// See the [module](self) for how to use it.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Work>);

#[derive(Debug)]
struct Work {
    state: Arc<ArcSwap<State>>,
    metrics: Arc<Metrics>,
    asked: Arc<Notify>,
    reloading: AbortHandle,
    /// Where the guard has made its own.
    _runtime: Option<Background>,
}

/// A runtime that nobody waits for when it ends: the last holder of a guard may be a task of another
/// one, which must not block.
#[derive(Debug)]
struct Background(Option<Runtime>);

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has faults; all are told, each with its place.
    #[error("{}", fault::list(.0))]
    Configuration(Vec<Fault>),
    /// Metrics cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No randomness for a session key.
    #[error("the system gives no randomness")]
    Randomness,
    /// A checked configuration cannot be put to work.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The system gives no thread, for watching files or for the guard's own runtime.
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
}

/// A guard changes nothing of the program around it.
#[derive(Debug)]
struct Elsewhere;

impl Surroundings for Elsewhere {}

impl Guard {
    /// Reads a file and all that it names, and begins to ask the identity providers for their keys.
    /// For that, and for all work in the background, it makes two threads of its own.
    ///
    /// Blocks while it reads; call it before `Server::run_forever`. Identity providers are not waited
    /// for: until the keys of one are there, its clients get 503. An `applications.yaml` that cannot
    /// be read is told in the log, and every API but public ones answers 503 until it can.
    ///
    /// Where the program has not chosen a cryptographic provider for `rustls`, this chooses aws-lc.
    ///
    /// # Errors
    /// Every fault of the file, and what the system refuses.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("guard")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let background = Background(Some(runtime));
        Self::new(path.as_ref(), &handle, Some(background))
    }

    /// The same with all work in the background on a runtime of the program's, which must have I/O
    /// and time enabled and outlive the guard. It must not be one that Pingora makes for a service:
    /// those begin with the server.
    ///
    /// # Errors
    /// As [`Guard::load`].
    pub fn load_on(path: impl AsRef<Path>, runtime: &Handle) -> Result<Self, Error> {
        Self::new(path.as_ref(), runtime, None)
    }

    fn new(path: &Path, handle: &Handle, runtime: Option<Background>) -> Result<Self, Error> {
        // Before anything of TLS is made; where the program has chosen before, its choice stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path: PathBuf = path.to_owned();
        // Watched before it is read, so that no change falls between.
        let watch = Watch::new([path.clone()])?;
        let loaded = Config::load_for(Role::Guard, &path);
        let (config, warnings) = loaded.map_err(Error::Configuration)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let metrics = Arc::new(Metrics::new()?);
        let made_key = SessionKey::random().map_err(|_| Error::Randomness)?;
        let lasting = Lasting::new(Arc::clone(&metrics), made_key, handle.clone());
        let state = Arc::new(ArcSwap::from_pointee(State::new(config, None, &lasting)?));
        let kept = lasting.clone();
        let reloader = Reloader::new(
            path.clone(),
            watch,
            Arc::clone(&state),
            lasting,
            Box::new(Elsewhere),
        )?;
        let portal = portal::open(path, &state, reloader.bring(), &kept);
        let asked = Arc::new(Notify::new());
        let reloader = reloader.with(&portal).read_applications();
        let reloading = handle.spawn(reloader.run(Arc::clone(&asked)));
        portal::begin(&portal, &kept, Role::Guard);
        Ok(Self(Arc::new(Work {
            state,
            metrics,
            asked,
            reloading: reloading.abort_handle(),
            _runtime: runtime,
        })))
    }

    /// Puts the guard around a proxy. What comes back is to be served in its place.
    pub fn protect<P>(&self, proxy: P) -> Guarded<P> {
        Guarded::new(self.clone(), proxy)
    }

    /// Whether requests can be judged: the applications were read, and each identity provider was
    /// asked for its keys, whatever it answered. For the program's own readiness page.
    pub fn is_ready(&self) -> bool {
        self.0.state.load().is_ready()
    }

    /// Counts and times of what was judged, in the text format of Prometheus, which the program may
    /// add to its own metrics page. The names begin with `dcr_`; what they say of connections,
    /// upstreams and log lines stays at zero.
    pub fn metrics(&self) -> String {
        self.0.state.load().observe(&self.0.metrics, clock::now());
        String::from_utf8_lossy(&self.0.metrics.text()).into_owned()
    }

    /// Reads all files again, as the gateway does on SIGHUP. Changes are noticed without it, but on a
    /// file system that tells of none, it may take seconds.
    pub fn reload(&self) {
        self.0.asked.notify_one();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.reloading.abort();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
