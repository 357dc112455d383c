//! Applies edited files to the running program.
//!
//! Always true: a faulty file changes nothing and says so in the log and in a metric; a good one is
//! applied whole, between two requests.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;

use crate::{
    clock,
    config::{Config, Listener, watch::Watch},
    directory::file,
    model::fault::{Fault, Warning},
    proxy::{
        connection::tls::Certificate,
        state::{Lasting, State},
    },
    telemetry::lines::Logs,
};

use super::{service::Live, systemd};

/// How often what has ended by itself is forgotten.
const TIDY: Duration = Duration::from_secs(60);

/// The two files that are read again.
#[derive(Clone, Copy, Debug)]
enum What {
    Applications,
    Configuration,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Applications => "applications",
            Self::Configuration => "configuration",
        }
    }
}

/// Watches the files and applies them.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    configuration: Watch,
    applications: Watch,
    state: Arc<ArcSwap<State>>,
    lasting: Lasting,
    live: Arc<Live>,
    logs: Logs,
    /// Warnings told at the last reading of the applications: an edit that brings none anew is
    /// quiet.
    told: BTreeSet<String>,
}

impl Reloader {
    /// Begins to watch. `configuration` watches the file at `path` since before it was read.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn new(
        path: PathBuf,
        configuration: Watch,
        state: Arc<ArcSwap<State>>,
        lasting: Lasting,
        live: Arc<Live>,
        logs: Logs,
    ) -> std::io::Result<Self> {
        let current = state.load();
        configuration.replace(current.config.files.clone());
        let applications = Watch::new([current.config.registry.clone()])?;
        drop(current);
        let told = BTreeSet::new();
        // The one that is in force now was read without a fault.
        let good = lasting.metrics.last_reload_good.clone();
        good.with_label_values(&[What::Configuration.name()]).set(1);
        Ok(Self {
            path,
            configuration,
            applications,
            state,
            lasting,
            live,
            logs,
            told,
        })
    }

    /// Reads the applications, once before serving. A file that cannot be read keeps what was there
    /// before: at first, nothing, and then every API but public ones answers that it is not ready.
    #[must_use]
    pub fn read_applications(mut self) -> Self {
        self.apply_applications();
        self
    }

    /// Applies every change, until the program ends. At each `hangup` everything is read again.
    pub async fn run(mut self, mut hangup: Signal) {
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            let what: &[What] = tokio::select! {
                () = self.configuration.changed() => &[What::Configuration],
                () = self.applications.changed() => &[What::Applications],
                _ = hangup.recv() => &[What::Configuration, What::Applications],
                _ = tidy.tick() => {
                    self.lasting.revocations.tidy(clock::now());
                    continue;
                }
            };
            // Reading blocks, and 200,000 applications take a second or two.
            let applied = tokio::task::spawn_blocking(move || {
                systemd::reloading();
                for what in what {
                    // Even a fault of ours must not be the last edit that is applied.
                    let applied = catch_unwind(AssertUnwindSafe(|| match what {
                        What::Applications => self.apply_applications(),
                        What::Configuration => self.apply_configuration(),
                    }));
                    if applied.is_err() {
                        tracing::error!(
                            what = what.name(),
                            "reading failed; what was before stays"
                        );
                        self.outcome(*what, Err(&[]));
                    }
                }
                systemd::ready(&self.state.load());
                self
            });
            match applied.await {
                Ok(back) => self = back,
                Err(error) => {
                    tracing::error!(%error, "reloading has ended; restart to apply changes");
                    return;
                }
            }
        }
    }

    fn apply_applications(&mut self) {
        let (known, registry) = {
            let state = self.state.load();
            (state.config.known(), state.config.registry.clone())
        };
        let started = clock::instant();
        match file::load(&registry, &known) {
            Ok((entries, warnings)) => {
                let count = entries.len();
                self.lasting.directory.replace(entries);
                self.warn(&warnings);
                let seconds = (clock::instant() - started).as_secs_f64();
                tracing::info!(applications = count, seconds, "applications are live");
                self.outcome(What::Applications, Ok(()));
            }
            Err(faults) => self.outcome(What::Applications, Err(&faults)),
        }
    }

    fn apply_configuration(&mut self) {
        let (config, warnings) = match Config::load(&self.path) {
            Ok(loaded) => loaded,
            Err(faults) => {
                // A secret that is not there yet may be all that is wrong.
                let mut files = Config::files_named(&self.path);
                files.extend_from_slice(&self.state.load().config.files);
                self.configuration.replace(files);
                return self.outcome(What::Configuration, Err(&faults));
            }
        };
        let old = self.state.load_full();
        self.configuration.replace(config.files.clone());
        if config == old.config {
            if self.is_refused(What::Configuration) {
                tracing::info!("the configuration is good again; nothing has changed");
            }
            return self.outcome(What::Configuration, Ok(()));
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let config = keep_fixed(config, &old.config);
        let state = match State::new(config, Some(&old), &self.lasting) {
            Ok(state) => Arc::new(state),
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be put to work; the old one stays");
                return self.outcome(What::Configuration, Err(&[]));
            }
        };
        let config = &state.config;
        self.logs.set(&config.log);
        self.live.limits.store(Arc::new(super::limits(config)));
        self.live.grace_period.store(Arc::new(config.grace_period));
        for (shown, listener) in self.live.certificates.iter().zip(&config.listeners) {
            if let (Some(shown), Some(new)) = (shown, &listener.certificates)
                && shown.replace(new.clone())
            {
                let names: Vec<&str> = new.iter().flat_map(Certificate::names).collect();
                let listener = listener.address;
                tracing::info!(%listener, ?names, "new certificates are shown");
            }
        }
        self.state.store(Arc::clone(&state));
        tracing::info!("the configuration is live");
        if config.registry != old.config.registry {
            self.applications.replace([config.registry.clone()]);
            self.apply_applications();
        } else if config.known() != old.config.known() {
            self.apply_applications();
        }
        // Told last: what is applied is applied whole.
        self.outcome(What::Configuration, Ok(()));
    }

    fn outcome(&self, what: What, result: Result<(), &[Fault]>) {
        for fault in result.err().unwrap_or_default() {
            if what.name() == "applications" && !self.lasting.directory.is_loaded() {
                tracing::error!(fault = %fault, "the applications cannot be read; not ready until they can");
                continue;
            }
            tracing::error!(what = what.name(), fault = %fault, "refused; what was before stays");
        }
        let outcome = if result.is_ok() { "applied" } else { "refused" };
        let metrics = &self.lasting.metrics;
        metrics
            .reloads
            .with_label_values(&[what.name(), outcome])
            .inc();
        let good = metrics.last_reload_good.with_label_values(&[what.name()]);
        good.set(i64::from(result.is_ok()));
    }

    /// Whether the last reading was refused.
    fn is_refused(&self, what: What) -> bool {
        let good = &self.lasting.metrics.last_reload_good;
        good.with_label_values(&[what.name()]).get() == 0
    }

    fn warn(&mut self, warnings: &[Warning]) {
        let now: BTreeSet<String> = warnings.iter().map(Warning::to_string).collect();
        for warning in now.difference(&self.told) {
            tracing::warn!("{warning}");
        }
        self.told = now;
    }
}

/// Where the listeners are, and whether they speak TLS.
fn places(config: &Config) -> Vec<(SocketAddr, bool)> {
    let place = |listener: &Listener| (listener.address, listener.certificates.is_some());
    config.listeners.iter().map(place).collect()
}

/// What only a restart changes stays as it was, with a warning.
fn keep_fixed(mut config: Config, old: &Config) -> Config {
    let keep = |key: &str, changed: bool| {
        if changed {
            tracing::warn!(
                key,
                "changed in the file; this takes effect at the next start only"
            );
        }
    };
    keep("listeners", places(&config) != places(old));
    keep("status.address", config.status != old.status);
    keep("admin.address", config.admin_address != old.admin_address);
    keep("threads", config.threads != old.threads);
    // Certificates are renewed while their listener stays.
    let renewed = std::mem::replace(&mut config.listeners, old.listeners.clone());
    for listener in &mut config.listeners {
        let same = |new: &&Listener| {
            new.address == listener.address
                && new.certificates.is_some() == listener.certificates.is_some()
        };
        if let Some(new) = renewed.iter().find(same) {
            listener.certificates.clone_from(&new.certificates);
        }
    }
    config.status = old.status;
    config.admin_address = old.admin_address;
    config.threads = old.threads;
    config
}
