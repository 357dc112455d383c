//! The running program: everything loaded, then everything bound, then served, until the stop.
//!
//! [`socket`] binds, [`service`] runs the proxy on what was bound, [`admin`] answers operators,
//! `desk` developers, [`follow`] lets it all follow an edited configuration, [`shutdown`] ends it without losing a
//! request, [`upgrade`] hands it to another process.

pub mod admin;
mod desk;
mod door;
pub mod explain;
pub mod follow;
pub mod register;
pub mod registry;
pub mod service;
pub mod shutdown;
pub mod socket;
mod systemd;
pub mod upgrade;

#[cfg(test)]
pub(crate) mod world;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot},
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::{
    clock,
    config::{Config, Role, watch::Watch},
    model::fault::{self, Fault},
    proxy::{
        Gateway,
        connection::{
            self, Counters, Refusal, Refuse,
            tls::{self, Certificates, Tls},
        },
        denial::{self, Code, Denial},
        record,
        state::{self, Lasting, State},
        upstream,
    },
    reload::{Reloader, portal},
    telemetry::{
        lines::{self, Lines, Logs},
        metrics::Metrics,
    },
    token::session::SessionKey,
};
use admin::Admin;
use desk::Desk;
use follow::Follow;
use service::{Live, Settings};
use shutdown::{Shutdown, Stops};
use socket::{Duplicates, Listener};
use upgrade::{Inheritance, Predecessor, Word};

/// The niceness of what serves operators (setpriority(2)): about a tenth of a core's time beside
/// threads that want all of it.
const NICE: i32 = 10;

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be used.
    #[error(transparent)]
    Bind(#[from] socket::Error),
    /// The configuration has faults; each was told.
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
    /// TLS cannot be set up.
    #[error("TLS: expected {0}")]
    Tls(#[from] tls::Error),
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
    /// Another process's place was not taken.
    #[error("upgrade: {0}")]
    Upgrade(#[from] upgrade::Error),
}

/// How the program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On its own: it binds every address.
    Fresh,
    /// In the place of a running gateway, which hands over its listeners.
    Upgrade,
}

/// Runs the gateway until it is told to stop. Blocks.
///
/// # Errors
/// Why it could not start. Once it serves, nothing in the files can end it.
pub fn run(path: PathBuf, start: Start) -> Result<(), Error> {
    // Before anything of TLS is made: Pingora would else choose another provider. Only a program
    // around this one can have chosen before, and then its choice stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Watched before it is read, so that no change falls between.
    let watch = Watch::new([path.clone()])?;
    let (config, warnings) = Config::load(&path).map_err(Error::Configuration)?;
    let (lines, _writer) = Lines::start()?;
    let logs = lines::install(&config.log, &lines);
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, pid = std::process::id(), config = %path.display(), "starting");
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = upgrade::check(&config) {
        tracing::warn!(%error, "upgrade_socket: no upgrade is possible");
    }
    let inheritance = match start {
        Start::Fresh => None,
        Start::Upgrade => Some(upgrade::receive(&config)?),
    };
    let refusal = inheritance.as_ref().map(Inheritance::refusal);
    let files = Files { path, watch, logs };
    let served = serve(config, files, lines, inheritance);
    if let (Err(error), Some(refuse)) = (&served, refusal) {
        refuse(error);
    }
    served
}

/// What the configuration was read from, and what applies its changes.
struct Files {
    path: PathBuf,
    watch: Watch,
    logs: Logs,
}

/// Sets everything up and serves. Until it does, an error leaves a predecessor undisturbed.
fn serve(
    config: Config,
    files: Files,
    lines: Lines,
    mut inheritance: Option<Inheritance>,
) -> Result<(), Error> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()?;
    // What operators ask for may take its time; requests may not wait for it.
    let operations = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("portal")
        .on_thread_start(yield_to_requests)
        .enable_all()
        .build()?;
    // Before anybody is told that the program is ready: unheard, each of them would end it.
    let (signals, mut stops, mut hangup) = {
        let _context = runtime.enter();
        let hangup = signal(SignalKind::hangup())?;
        (upgrade::Signals::listen()?, Stops::listen()?, hangup)
    };
    let metrics = Arc::new(Metrics::new()?);
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds fit a double until 287,396"
    )]
    metrics
        .start_time
        .set(clock::now().millis() as f64 / 1000.0);
    let made_key = match inheritance.as_mut().and_then(Inheritance::made_key) {
        Some(key) => key,
        None => SessionKey::random().map_err(|_| Error::Randomness)?,
    };
    let background = runtime.handle().clone();
    let lasting = Lasting::new(Arc::clone(&metrics), made_key.clone(), background);
    let duplicates = Duplicates::default();
    let mut bind = |listener, address| {
        let inherited = inheritance.as_mut().map_or(Ok(None), |inheritance| {
            inheritance.socket(listener, address, &duplicates)
        });
        match inherited? {
            Some(bound) => Ok::<_, Error>(bound),
            None => Ok(socket::bind(listener, address, &duplicates)?),
        }
    };
    let proxies = config
        .listeners
        .iter()
        .map(|listener| bind(Listener::Proxy, listener.address))
        .collect::<Result<Vec<_>, _>>()?;
    let admin = bind(Listener::Admin, config.admin_address)?;
    let status = config
        .status
        .map(|address| bind(Listener::Status, address))
        .transpose()?;
    let desk = config
        .portal
        .as_ref()
        .map(|portal| bind(Listener::Portal, portal.listener.address))
        .transpose()?;
    let shown = config.portal.as_ref();
    let shown = shown.and_then(|portal| portal.listener.certificates.clone());
    let shown = shown.map(Certificates::new);
    let desk_tls = shown.as_ref().map(tls::server_config).transpose()?;
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
        // Each API's own limit is kept in the hooks; this one cannot change while it runs.
        retries: upstream::config::Config::MOST_RETRIES,
        listeners: proxies,
        tls,
    };
    let state = Arc::new(ArcSwap::from_pointee(State::new(config, None, &lasting)?));
    let counters = Arc::new(Counters::default());
    let shutdown = Shutdown::new();
    let live = Arc::clone(&settings.live);
    let Files { path, watch, logs } = files;
    let follow = Box::new(Follow {
        live,
        portal: shown,
        logs,
    });
    let kept = Lasting {
        runtime: operations.handle().clone(),
        ..lasting.clone()
    };
    let reloader = Reloader::new(path.clone(), watch, Arc::clone(&state), lasting, follow)?;
    let portal = portal::open(path, &state, reloader.bring(), &kept);
    let asked = Arc::new(Notify::new());
    let reloader = reloader.with(&portal).read_applications();
    runtime.spawn(reloader.run(Arc::clone(&asked)));
    portal::wait(&portal, runtime.handle());
    portal::begin(&portal, &kept, Role::Gateway);
    let word = match inheritance {
        Some(inheritance) => Some(runtime.block_on(inheritance.settle(&state))?),
        None => None,
    };
    let operators = Admin {
        state: Arc::clone(&state),
        portal,
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
    operations.spawn(operators.clone().serve(admin, admin::Surface::Whole));
    if let Some(socket) = desk {
        let desk = Desk {
            state: Arc::clone(&state),
            portal: operators.portal.clone(),
            shutdown: shutdown.clone(),
        };
        let tls = desk_tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        operations.spawn(desk.serve(socket, tls));
    }
    if let Some(status) = status {
        runtime.spawn(operators.serve(status, admin::Surface::Status));
    }
    runtime.spawn(async move {
        while hangup.recv().await.is_some() {
            asked.notify_one();
        }
    });
    let stop = shutdown.clone();
    runtime.spawn(async move {
        stops.next().await;
        stop.request();
    });
    let (failed, mut failure) = oneshot::channel();
    let heir = Predecessor {
        state: Arc::clone(&state),
        duplicates,
        made_key,
        shutdown: shutdown.clone(),
    };
    runtime.spawn(async move {
        if let Err(error) = begin(&heir, word).await {
            // Said only when the stop is over, so that what was accepted is answered.
            let _ = failed.send(error);
            heir.shutdown.request();
            return;
        }
        heir.run(signals).await;
    });
    let gateway = Gateway::new(Arc::clone(&state), Arc::clone(&metrics), lines.clone());
    let refuse = refuse(state, Arc::clone(&metrics), lines);
    let live = Arc::clone(&settings.live);
    service::run(settings, gateway, counters, refuse, shutdown.clone());
    let patience = **live.grace_period.load();
    operations.block_on(shutdown.operations_end(patience));
    operations.shutdown_background();
    runtime.shutdown_background();
    match failure.try_recv() {
        Ok(error) => Err(error.into()),
        Err(_) => Ok(()),
    }
}

/// Tells everybody who waits for it that this program serves.
async fn begin(heir: &Predecessor, word: Option<Word>) -> Result<(), upgrade::Error> {
    let mut serving = heir.shutdown.serving();
    if let Some(word) = word {
        let pid = word.say(serving).await?;
        tracing::info!(pid, "took the old process's place");
    } else if serving.wait_for(|serving| *serving).await.is_err() {
        return Ok(());
    }
    systemd::ready(&heir.state.load());
    Ok(())
}

/// Where processor time is short, threads that judge and forward requests come first. Where the
/// system does not allow that, all are alike.
fn yield_to_requests() {
    let _ = rustix::process::setpriority_process(None, NICE);
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
