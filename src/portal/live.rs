//! What the registry says, at work: the directory follows it, and so do sessions and configuration.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use super::{
    accounts, konnect,
    record::EndedSession,
    registry::{self, Registry},
};
use crate::{
    config::Additions,
    directory::Directory,
    idp,
    model::{credential::Secret, fault::Fault, traffic::Traffic},
    telemetry::metrics::Metrics,
};

/// How soon a registry that is down is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// So many changes are put to work before others get their turn.
const TOGETHER: usize = 100;

/// What else lives by the registry, a floor above.
#[async_trait]
pub trait Surroundings: fmt::Debug + Send + Sync {
    /// Puts providers, strategies and APIs of the registry to work beside those of the file; whether
    /// that could be done. Faults are told in the log, and what was before stays.
    async fn configure(&self, additions: Additions) -> bool;

    /// Ends sessions.
    fn end(&self, sessions: Vec<EndedSession>);

    /// What is in force.
    fn view(&self) -> View;

    /// How much an application called of late, as far as this process knows.
    fn traffic(&self, application: Uuid) -> Option<Traffic>;

    /// `portal.public_url` as it is in force: where browsers reach the portal, if that is told.
    fn public_url(&self) -> Option<Url>;

    /// `portal.accounts` as it is in force.
    fn accounts(&self) -> accounts::Config;

    /// `admin.token` as it is in force.
    fn admin_token(&self) -> Option<Secret>;

    /// Where developers sign in, if not here alone.
    fn sign_in(&self) -> Option<accounts::oidc::Place>;

    /// Checks what would be added, without putting it to work: every fault of it, and of the file.
    async fn check(&self, additions: Additions) -> Result<(), Vec<Fault>>;
}

/// What is in force, the file's and the registry's together.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Identity providers at work.
    pub identity_providers: Vec<idp::Provider>,
    /// Strategies at work.
    pub strategies: Vec<StrategyView>,
    /// APIs.
    pub apis: Vec<ApiView>,
}

/// A strategy at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyView {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity provider's name.
    pub identity_provider: Arc<str>,
    /// `configs.openid-connect` as Konnect would write it.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Scopes that its token requests ask for.
    pub scopes: Vec<String>,
    /// The API's identifier: what its token requests or `aud` name.
    pub audience: Option<String>,
}

/// An API at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiView {
    /// Its name.
    pub name: Arc<str>,
    /// `registered`, `application`, `client` or `public`.
    pub access: &'static str,
    /// Names of the strategies that it accepts.
    pub strategies: Vec<Arc<str>>,
    /// Where clients call it, as far as the configuration tells: `https://api.example.com/flights`.
    pub url: Option<String>,
}

/// Keeps what is in force in step with the registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    directory: Directory,
    surroundings: Arc<dyn Surroundings>,
    metrics: Arc<Metrics>,
    /// The revision that is in force. Whoever holds it is the one that follows.
    seen: Mutex<i64>,
    revision: AtomicI64,
    /// Why the registry cannot be read, if it cannot.
    trouble: RwLock<Option<String>>,
}

impl Live {
    /// Nothing is read yet.
    pub fn new(
        registry: Registry,
        directory: Directory,
        surroundings: Arc<dyn Surroundings>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            registry,
            directory,
            surroundings,
            metrics,
            seen: Mutex::new(0),
            revision: AtomicI64::new(0),
            trouble: RwLock::new(Some("not read yet".to_owned())),
        }))
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The applications that are in force.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// What else lives by it.
    pub fn surroundings(&self) -> &dyn Surroundings {
        &*self.0.surroundings
    }

    /// The revision that is in force.
    ///
    /// # Errors
    /// Why the registry cannot be read, if it cannot.
    pub fn revision(&self) -> Result<i64, String> {
        let trouble = self.0.trouble.read();
        match &*trouble.unwrap_or_else(|broken| broken.into_inner()) {
            Some(trouble) => Err(trouble.clone()),
            None => Ok(self.0.revision.load(Ordering::Relaxed)),
        }
    }

    /// Puts everything to work that the registry holds by now.
    ///
    /// # Errors
    /// The registry cannot be read; what was in force stays.
    pub async fn catch_up(&self) -> Result<(), registry::Error> {
        self.reach(i64::MAX).await
    }

    /// Puts everything to work up to a revision that is committed. Of many that ask at once, the
    /// first reads for those whose changes were there by then.
    ///
    /// # Errors
    /// As [`Live::catch_up`].
    pub async fn reach(&self, revision: i64) -> Result<(), registry::Error> {
        let mut seen = self.0.seen.lock().await;
        if *seen >= revision {
            return Ok(());
        }
        let caught_up = self.read(&mut seen).await;
        self.tell(caught_up.as_ref().err());
        caught_up
    }

    /// Follows the registry for as long as it is polled.
    pub async fn follow(self) {
        loop {
            if self.catch_up().await.is_err() {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            self.0.registry.changed().await;
        }
    }

    async fn read(&self, seen: &mut i64) -> Result<(), registry::Error> {
        let inner = &self.0;
        let changes = inner.registry.since(*seen).await?;
        let first = *seen == 0;
        // Nobody may pass any more who may not, before anybody else may.
        for (strategy, client_id) in &changes.removed {
            inner.directory.remove(strategy, client_id.as_str());
        }
        inner.surroundings.end(changes.sessions);
        // A strategy before those who use it; at first also where there is none, since names in the
        // file may wait for it.
        if changes.configuration || first {
            let additions = self.additions().await?;
            inner.surroundings.configure(additions).await;
        }
        if changes.whole {
            inner.directory.replace(changes.entries);
        } else {
            for (index, entry) in changes.entries.into_iter().enumerate() {
                inner.directory.put(entry);
                // A request may wait for the core.
                if index % TOGETHER == TOGETHER - 1 {
                    thread::yield_now();
                }
            }
        }
        *seen = changes.revision;
        inner.registry.followed(changes.revision);
        inner.revision.store(changes.revision, Ordering::Relaxed);
        inner.metrics.registry_revision.set(changes.revision);
        Ok(())
    }

    /// What the registry adds to the configuration.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn additions(&self) -> Result<Additions, registry::Error> {
        let registry = &self.0.registry;
        let providers = registry.providers().await?;
        let strategies = registry.strategies().await?;
        let apis = registry.apis().await?;
        Ok(konnect::additions(&providers, &strategies, &apis))
    }

    /// Says in log, metric and readiness how the registry is.
    fn tell(&self, error: Option<&registry::Error>) {
        let trouble = self.0.trouble.write();
        let mut trouble = trouble.unwrap_or_else(|broken| broken.into_inner());
        let now = error.map(ToString::to_string);
        match (&*trouble, &now) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                tracing::error!(%error, "the registry cannot be read; the last state stays in force");
            }
            (Some(_), None) => {
                let revision = self.0.revision.load(Ordering::Relaxed);
                tracing::info!(revision, "the registry is in force");
            }
            _ => {}
        }
        self.0.metrics.registry_up.set(i64::from(now.is_none()));
        *trouble = now;
    }
}
