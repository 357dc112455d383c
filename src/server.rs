//! The running program: everything loaded, then everything bound, then served, until the stop.
//!
//! [`socket`] binds, [`service`] runs the proxy on what was bound, [`admin`] answers operators,
//! [`reload`] applies what changes, [`shutdown`] ends it all without losing a request.

pub mod admin;
pub mod reload;
pub mod service;
pub mod shutdown;
pub mod socket;

#[cfg(test)]
pub(crate) mod world;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use tokio::runtime;
use uuid::Uuid;

use crate::{
    clock,
    config::{Config, watch::Watch},
    directory::Directory,
    model::fault::Fault,
    proxy::{
        Gateway,
        connection::{
            self, Counters, Refusal, Refuse,
            tls::{self, Certificates, Tls},
        },
        denial::{self, Code, Denial},
        record,
        state::{self, Lasting, State},
    },
    telemetry::{
        lines::{self, Lines},
        metrics::Metrics,
    },
    token::session::SessionKey,
};
use admin::Admin;
use reload::Reloader;
use service::{Live, Settings};
use shutdown::Shutdown;
use socket::Listener;

/// How often a request is sent again whose kept upstream connection turned out to be closed.
const RETRIES: usize = 1;

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be used.
    #[error(transparent)]
    Bind(#[from] socket::Error),
    /// The configuration has faults; each was told.
    #[error("{}", list(.0))]
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
    /// TLS cannot be set up.
    #[error("TLS: expected {0}")]
    Tls(#[from] tls::Error),
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    format!("the configuration cannot be used:\n{}", lines.join("\n"))
}

/// Runs the gateway until it is told to stop. Blocks.
///
/// # Errors
/// Why it could not start. Once it serves, nothing in the files can end it.
pub fn run(path: PathBuf) -> Result<(), Error> {
    // Before anything of TLS is made: Pingora would else choose another provider. Only a program
    // around this one can have chosen before, and then its choice stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Watched before it is read, so that no change falls between.
    let watch = Watch::new([path.clone()])?;
    let (config, warnings) = Config::load(&path).map_err(Error::Configuration)?;
    let (lines, _writer) = Lines::start()?;
    let logs = lines::install(&config.log, &lines);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()?;
    let metrics = Arc::new(Metrics::new()?);
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds fit a double until 287,396"
    )]
    metrics
        .start_time
        .set(clock::now().millis() as f64 / 1000.0);
    let lasting = Lasting {
        directory: Directory::default(),
        revocations: Arc::default(),
        metrics: Arc::clone(&metrics),
        made_key: SessionKey::random().map_err(|_| Error::Randomness)?,
        runtime: runtime.handle().clone(),
    };
    let proxies = config
        .listeners
        .iter()
        .map(|listener| socket::bind(Listener::Proxy, listener.address))
        .collect::<Result<Vec<_>, _>>()?;
    let admin = socket::bind(Listener::Admin, config.admin_address)?;
    let status = config
        .status
        .map(|address| socket::bind(Listener::Status, address))
        .transpose()?;
    let certificates: Vec<Option<Arc<Certificates>>> = config
        .listeners
        .iter()
        .map(|listener| listener.certificates.clone().map(Certificates::new))
        .collect();
    let secured = proxies.iter().zip(&certificates);
    let tls = secured
        .filter_map(|(bound, shown)| Some((bound.address(), Tls::new(shown.as_ref()?))))
        .map(|(address, tls)| Ok((address, tls?)))
        .collect::<Result<Vec<_>, tls::Error>>()?;
    let settings = Settings {
        live: Live::new(limits(&config), config.grace_period, certificates),
        threads: config.threads,
        retries: RETRIES,
        listeners: proxies,
        tls,
    };
    let state = Arc::new(ArcSwap::from_pointee(State::new(config, None, &lasting)?));
    let counters = Arc::new(Counters::default());
    let shutdown = Shutdown::new();
    let live = Arc::clone(&settings.live);
    let reloader = Reloader::new(path, watch, Arc::clone(&state), lasting, live, logs)?;
    let reloader = reloader.read_applications();
    let operators = Admin {
        state: Arc::clone(&state),
        metrics: Arc::clone(&metrics),
        counters: Arc::clone(&counters),
        lines: lines.clone(),
        shutdown: shutdown.clone(),
        listeners: settings
            .listeners
            .iter()
            .map(socket::Bound::address)
            .collect(),
    };
    runtime.spawn(operators.clone().serve(admin, admin::Surface::Whole));
    if let Some(status) = status {
        runtime.spawn(operators.serve(status, admin::Surface::Status));
    }
    runtime.spawn(reloader.run());
    let gateway = Gateway::new(Arc::clone(&state), Arc::clone(&metrics), lines.clone());
    let refuse = refuse(state, Arc::clone(&metrics), lines);
    service::run(settings, gateway, counters, refuse, shutdown);
    tracing::info!("stopped");
    runtime.shutdown_background();
    Ok(())
}

/// The limits as the front takes them.
fn limits(config: &Config) -> connection::Limits {
    connection::Limits {
        header_size: config.limits.header_size,
        header_count: config.limits.header_count,
        header_timeout: config.limits.header_timeout,
        connections: config.limits.connections,
    }
}

/// Answers, counts and writes down what the front refuses before a request is whole.
fn refuse(state: Arc<ArcSwap<State>>, metrics: Arc<Metrics>, lines: Lines) -> Refuse {
    Refuse::new(move |refusal: Refusal, client: Option<SocketAddr>| {
        let (code, reason) = match refusal {
            Refusal::HeaderTooLarge => (Code::HeaderTooLarge, "head"),
            Refusal::MalformedTarget => (Code::InvalidRequest, "malformed_target"),
            Refusal::Overloaded => (Code::Overloaded, "connections"),
            Refusal::PlainHttp => (Code::HttpsRequired, "plain_http"),
            Refusal::RequestTimeout => (Code::RequestTimeout, "head"),
        };
        let id = Uuid::new_v4().to_string();
        let denial = Denial::new(code, reason);
        let answer = denial::answer(&denial, None, false, &id);
        metrics
            .requests
            .with_label_values(&["none", code.name()])
            .inc();
        let client = client.map(|client| client.ip().to_canonical());
        record::refusal(&state.load(), &denial, client, &id, &lines);
        connection::Answer {
            status: answer.status,
            body: answer.body,
        }
    })
}
