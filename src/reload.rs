//! Applies edited files to whoever runs on them: the gateway, or a guard in another program.
//!
//! Always true: a faulty file changes nothing and says so in the log and in a metric; a good one is
//! applied whole, between two requests.

pub mod portal;

use std::{
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    clock,
    config::{Additions, Config, Registry, watch::Watch},
    directory::file,
    model::fault::{Fault, Warning},
    portal::{Portal, registry::Registry as Store},
    proxy::state::{Lasting, State},
};

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

/// The program around, as far as it lives by the configuration too. Each method is called on a
/// thread that may block.
pub trait Surroundings: fmt::Debug + Send + Sync {
    /// Files are about to be read.
    fn reading(&self) {}

    /// Puts back what the program cannot change while it runs.
    fn keep_fixed(&self, config: Config, _old: &Config) -> Config {
        config
    }

    /// Follows a configuration that is about to be in force for requests.
    fn follow(&self, _config: &Config) {}

    /// The files were read, and applied where they were good.
    fn read(&self, _state: &State) {}
}

/// What a registry adds to the configuration, to be put to work; and who waits for that.
type Brought = (Additions, oneshot::Sender<bool>);

/// Brings what a registry adds to the [`Reloader`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bring(mpsc::UnboundedSender<Brought>);

impl Bring {
    /// Puts what the registry adds to work; whether that could be done. Faults are told in the log,
    /// and what was before stays.
    pub async fn bring(&self, additions: Additions) -> bool {
        let (done, applied) = oneshot::channel();
        self.0.send((additions, done)).is_ok() && applied.await.unwrap_or(false)
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
    surroundings: Box<dyn Surroundings>,
    /// What the registry added last; `None` before it was read, and where there is none.
    additions: Option<Additions>,
    brought: mpsc::UnboundedReceiver<Brought>,
    bring: Bring,
    /// The registry, which seals with the configuration's keys.
    store: Option<Store>,
    /// Warnings told at the last reading of the applications: an edit that brings none anew is
    /// quiet.
    told: BTreeSet<String>,
    /// The same of the configuration. What was told at the start is told once more.
    told_of_configuration: BTreeSet<String>,
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
        surroundings: Box<dyn Surroundings>,
    ) -> std::io::Result<Self> {
        let current = state.load();
        configuration.replace(current.config.files.clone());
        let file = current.config.registry.file().map(PathBuf::from);
        let applications = Watch::new(file)?;
        drop(current);
        let (sender, brought) = mpsc::unbounded_channel();
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
            surroundings,
            additions: None,
            brought,
            bring: Bring(sender),
            store: None,
            told,
            told_of_configuration: BTreeSet::new(),
        })
    }

    /// Has the registry of a portal, where it has one, follow the configuration's keys.
    #[must_use]
    pub fn with(mut self, portal: &Portal) -> Self {
        self.store = portal.live().map(|live| live.registry().clone());
        self
    }

    /// The way in for what a registry adds.
    pub fn bring(&self) -> Bring {
        self.bring.clone()
    }

    /// Reads the applications, once before serving, where they are in a file. One that cannot be read keeps what was there
    /// before: at first, nothing, and then every API but public ones answers that it is not ready.
    #[must_use]
    pub fn read_applications(mut self) -> Self {
        self.apply_applications();
        self
    }

    /// Applies every change, for as long as it is polled. Whenever it is `asked`, everything is read
    /// again.
    pub async fn run(mut self, asked: Arc<Notify>) {
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            let mut waiting = None;
            let what: &[What] = tokio::select! {
                Some((additions, done)) = self.brought.recv() => {
                    self.additions = Some(additions);
                    waiting = Some(done);
                    &[What::Configuration]
                }
                () = self.configuration.changed() => &[What::Configuration],
                () = self.applications.changed() => &[What::Applications],
                () = asked.notified() => &[What::Configuration, What::Applications],
                _ = tidy.tick() => {
                    self.lasting.revocations.tidy(clock::now());
                    continue;
                }
            };
            // Reading blocks, and 200,000 applications take a second or two.
            let applied = tokio::task::spawn_blocking(move || {
                self.surroundings.reading();
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
                self.surroundings.read(&self.state.load());
                self
            });
            match applied.await {
                Ok(back) => {
                    self = back;
                    if let Some(waiting) = waiting {
                        // Whoever has gone does not want to know.
                        let _ = waiting.send(!self.is_refused(What::Configuration));
                    }
                }
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
            let Some(file) = state.config.registry.file() else {
                return;
            };
            (state.config.known(), file.to_owned())
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
        let role = self.state.load().config.role;
        let loaded = Config::load_with(role, &self.path, self.additions.as_ref());
        let (config, warnings) = match loaded {
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
        let now: BTreeSet<String> = warnings.iter().map(Warning::to_string).collect();
        for warning in now.difference(&self.told_of_configuration) {
            tracing::warn!("{warning}");
        }
        self.told_of_configuration = now;
        let config = self.keep_registry(config, &old.config);
        let config = self.surroundings.keep_fixed(config, &old.config);
        let state = match State::new(config, Some(&old), &self.lasting) {
            Ok(state) => Arc::new(state),
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be put to work; the old one stays");
                return self.outcome(What::Configuration, Err(&[]));
            }
        };
        let config = &state.config;
        self.surroundings.follow(config);
        self.state.store(Arc::clone(&state));
        tracing::info!("the configuration is live");
        if config.registry != old.config.registry {
            self.applications
                .replace(config.registry.file().map(PathBuf::from));
            self.apply_applications();
        } else if config.known() != old.config.known() {
            self.apply_applications();
        }
        // Told last: what is applied is applied whole.
        self.outcome(What::Configuration, Ok(()));
    }

    /// A file may give way to another one, and a database's keys to others; anything else of the
    /// registry is chosen at the start.
    fn keep_registry(&self, mut config: Config, old: &Config) -> Config {
        match (&config.registry, &old.registry) {
            (Registry::File(_), Registry::File(_)) => return config,
            (Registry::Store(new), Registry::Store(old)) if new.kind == old.kind => {
                if let Some(store) = &self.store {
                    store.set_keys(&new.keys);
                }
                return config;
            }
            _ => {}
        }
        tracing::warn!(
            key = "registry",
            "changed in the file; this takes effect at the next start only"
        );
        config.registry = old.registry.clone();
        config
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
