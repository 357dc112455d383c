//! Everything that one configuration makes, as one value that requests share.
//!
//! A request keeps the state it began with. A reload makes a new one beside it and keeps what has
//! not changed: an IdP's keys, a strategy's memories, an upstream's addresses.

use std::{collections::HashMap, sync::Arc};

use tokio::runtime::Handle;

use super::{
    api::{self, Api},
    headers::Owned,
    refusals::Refusals,
    revocations::Revocations,
    route::Table,
    session::Sessions,
    strategy::Strategy,
    traffic::Traffic,
    upstream::{Upstream, health::Checker},
};
use crate::{
    config::Config,
    directory::Directory,
    idp::Provider,
    model::time::Timestamp,
    telemetry::metrics::Metrics,
    token::session::{KeyRing, SessionKey},
};

/// What outlives every reload.
#[derive(Clone, Debug)]
pub struct Lasting {
    /// The applications.
    pub directory: Directory,
    /// Ended sessions.
    pub revocations: Arc<Revocations>,
    /// The last refusals.
    pub refusals: Arc<Refusals>,
    /// How much each application called of late.
    pub traffic: Arc<Traffic>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Seals sessions where none is configured.
    pub made_key: SessionKey,
    /// Connects for the checks of upstreams.
    pub checker: Checker,
    /// Where background work runs.
    pub runtime: Handle,
}

impl Lasting {
    /// Nothing known and nothing counted yet.
    pub fn new(metrics: Arc<Metrics>, made_key: SessionKey, runtime: Handle) -> Self {
        Self {
            directory: Directory::default(),
            revocations: Arc::default(),
            refusals: Arc::default(),
            traffic: Arc::default(),
            metrics,
            made_key,
            checker: Checker::default(),
            runtime,
        }
    }
}

/// One configuration at work.
#[derive(Debug)]
pub struct State {
    /// What it was made from.
    pub config: Config,
    /// Host and path to API.
    pub table: Table,
    /// By position in the configuration.
    pub apis: Vec<Arc<Api>>,
    /// By name.
    pub strategies: HashMap<Arc<str>, Arc<Strategy>>,
    /// By name.
    pub providers: HashMap<Arc<str>, Provider>,
    /// Seals and opens sessions. A new configuration remembers none that the last one has opened.
    pub sessions: Sessions,
    /// Fields and cookies that clients cannot send on.
    pub owned: Owned,
    /// The applications.
    pub directory: Directory,
    /// Ended sessions.
    pub revocations: Arc<Revocations>,
    /// The last refusals.
    pub refusals: Arc<Refusals>,
    /// How much each application called of late.
    pub traffic: Arc<Traffic>,
}

/// A configuration that was checked but cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client of an IdP: its CA file or proxy.
    #[error("identity_providers: {name}: the HTTP client cannot be made; check ca_file and proxy")]
    Client {
        /// The identity provider.
        name: Arc<str>,
        /// What is wrong.
        source: reqwest::Error,
    },
    /// The session keys.
    #[error("session_keys: {0}")]
    SessionKeys(#[from] crate::token::Error),
    /// A name that the check of the configuration should have caught.
    #[error("{0}: no such name")]
    UnknownName(Arc<str>),
}

impl State {
    /// Puts a configuration to work, keeping of the previous state what has not changed.
    ///
    /// # Errors
    /// See [`Error`]; the previous state is untouched then.
    pub fn new(config: Config, previous: Option<&Self>, lasting: &Lasting) -> Result<Self, Error> {
        let mut providers = HashMap::new();
        for idp in &config.identity_providers {
            let kept = previous.and_then(|state| state.providers.get(&idp.name));
            let provider = match kept.filter(|kept| kept.config() == idp) {
                Some(kept) => kept.clone(),
                None => {
                    let calls = lasting.metrics.idp_calls.clone();
                    Provider::start(idp.clone(), calls, &lasting.runtime).map_err(|source| {
                        Error::Client {
                            name: Arc::clone(&idp.name),
                            source,
                        }
                    })?
                }
            };
            providers.insert(Arc::clone(&idp.name), provider);
        }
        let strategies = strategies(&config, previous, lasting, &providers)?;
        let apis = config.apis.iter().map(|api| {
            let named = api.auth_strategies.iter().map(|name| {
                let strategy = strategies.get(name).cloned();
                strategy.ok_or_else(|| Error::UnknownName(Arc::clone(name)))
            });
            let kept = previous.and_then(|state| state.api(&api.name));
            let kept = kept.and_then(|kept| kept.upstream.as_ref().map(|up| (&kept.config, up)));
            let start = |config| match kept {
                Some((old, upstream)) if old.upstream.as_ref() == Some(config) => {
                    Arc::clone(upstream)
                }
                _ => {
                    let old = kept.map(|(_, upstream)| &**upstream);
                    let (checker, runtime) = (&lasting.checker, &lasting.runtime);
                    Upstream::start(&api.name, config, old, checker, runtime)
                }
            };
            let upstream = api.upstream.as_ref().map(start);
            Ok(Arc::new(Api::new(
                api.clone(),
                named.collect::<Result<_, _>>()?,
                upstream,
            )))
        });
        let apis = apis.collect::<Result<Vec<_>, Error>>()?;
        let mut keys = config.session_keys.clone();
        if keys.is_empty() {
            keys.push(lasting.made_key.clone());
        }
        Ok(Self {
            table: Table::new(&config.apis),
            owned: Owned::new(strategies.values()),
            sessions: Sessions::new(KeyRing::new(keys)?),
            apis,
            strategies,
            providers,
            directory: lasting.directory.clone(),
            revocations: Arc::clone(&lasting.revocations),
            refusals: Arc::clone(&lasting.refusals),
            traffic: Arc::clone(&lasting.traffic),
            config,
        })
    }

    /// Brings the metrics that are looked at, not counted, up to date.
    pub fn observe(&self, metrics: &Metrics, now: Timestamp) {
        for strategy in self.strategies.values() {
            strategy.exchanges.observe(now);
            strategy.tokens.observe(now);
        }
        self.sessions.tidy(now);
        metrics.certificate_not_after.reset();
        for listener in &self.config.listeners {
            let address = listener.address.to_string();
            for certificate in listener.certificates.iter().flatten() {
                let name = certificate.names().next().unwrap_or_default();
                let gauge = &metrics.certificate_not_after;
                let gauge = gauge.with_label_values(&[&*address, name]);
                gauge.set(certificate.not_after().secs());
            }
        }
        metrics.key_set_age.reset();
        for (name, provider) in &self.providers {
            if let Some(keys) = provider.keys(now) {
                let age = now.since(keys.fetched).as_secs_f64();
                metrics.key_set_age.with_label_values(&[name]).set(age);
            }
        }
        metrics.upstream_healthy.reset();
        metrics.upstream_in_flight.reset();
        for upstream in self.apis.iter().filter_map(|api| api.upstream.as_ref()) {
            upstream.observe(metrics);
        }
        let count = self.directory.len();
        metrics
            .applications
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether requests can be judged: there are applications, and every IdP was asked, whatever it
    /// said.
    pub fn is_ready(&self) -> bool {
        self.directory.is_loaded() && self.providers.values().all(Provider::was_asked)
    }

    /// The API of this name.
    pub fn api(&self, name: &str) -> Option<&Arc<Api>> {
        self.apis.iter().find(|api| *api.config.name == *name)
    }
}

fn strategies(
    config: &Config,
    previous: Option<&State>,
    lasting: &Lasting,
    providers: &HashMap<Arc<str>, Provider>,
) -> Result<HashMap<Arc<str>, Arc<Strategy>>, Error> {
    let mut strategies = HashMap::new();
    for strategy in &config.auth_strategies {
        let idp = &strategy.identity_provider;
        let provider = providers
            .get(idp)
            .ok_or_else(|| Error::UnknownName(Arc::clone(idp)))?;
        let forwards = |api: &api::Config| {
            api.forward_access_token && api.auth_strategies.contains(&strategy.name)
        };
        let keeps_tokens = config.apis.iter().any(forwards);
        let kept = previous.and_then(|state| state.strategies.get(&strategy.name));
        let kept = kept.filter(|kept| {
            kept.config == *strategy
                && kept.provider.is(provider)
                && kept.keeps_tokens == keeps_tokens
        });
        let made = kept.cloned().unwrap_or_else(|| {
            Arc::new(Strategy::new(
                strategy.clone(),
                provider.clone(),
                keeps_tokens,
                &lasting.directory,
                &lasting.metrics,
                &lasting.runtime,
            ))
        });
        strategies.insert(Arc::clone(&strategy.name), made);
    }
    Ok(strategies)
}
