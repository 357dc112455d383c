//! The portal in this process: what the registry brings is put to work beside the files, and what
//! ends here is kept in the registry.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::{
    runtime::{Handle, Runtime},
    sync::mpsc::UnboundedReceiver,
};
use url::Url;
use uuid::Uuid;

use super::Bring;
use crate::{
    clock,
    config::{Additions, Config, Registry, Role},
    directory::Entry,
    model::{
        credential::{ClientId, Secret},
        fault::{Fault, Place, Warning},
        traffic::Traffic,
    },
    portal::{
        Portal, accounts,
        live::{ApiView, Live, StrategyView, Surroundings, View},
        record::{Actor, EndedSession},
        registry,
    },
    proxy::{
        api::{self, Access},
        revocations::{Ended, Revocations, Word},
        state::{Lasting, State},
        strategy,
    },
    token::session::SessionId,
};

/// How long a start waits for the registry, before it serves what the file says alone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon what could not be kept is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Sessions kept in one transaction.
const BATCH: usize = 1_000;

/// This process, as far as it lives by the registry.
#[derive(Debug)]
struct Process {
    path: PathBuf,
    role: Role,
    state: Arc<ArcSwap<State>>,
    bring: Bring,
    revocations: Arc<Revocations>,
}

/// Makes the portal of a configuration. Over a registry, nothing is read yet.
pub fn open(path: PathBuf, state: &Arc<ArcSwap<State>>, bring: Bring, lasting: &Lasting) -> Portal {
    let current = state.load();
    let process = Arc::new(Process {
        path,
        role: current.config.role,
        state: Arc::clone(state),
        bring,
        revocations: Arc::clone(&lasting.revocations),
    });
    let (directory, metrics) = (lasting.directory.clone(), Arc::clone(&lasting.metrics));
    match &current.config.registry {
        Registry::File(_) => Portal::read_only(directory, process, metrics),
        Registry::Store(config) => {
            let registry = registry::Registry::new(config.clone(), lasting.runtime.clone());
            let live = Live::new(registry, directory, process, Arc::clone(&metrics));
            Portal::new(live, metrics)
        }
    }
}

/// Follows the registry, keeps what ends here, and finishes what was interrupted; for a guard, which
/// has no portal, only the first two. Returns at once.
pub fn begin(portal: &Portal, lasting: &Lasting, role: Role) {
    let Some(live) = portal.live().cloned() else {
        return;
    };
    let runtime = &lasting.runtime;
    runtime.spawn(keep(live.registry().clone(), lasting.revocations.keep()));
    runtime.spawn(live.follow());
    if role == Role::Gateway {
        runtime.spawn(portal.clone().reconcile());
    }
}

/// Waits until what the registry holds is in force, but not for ever: one that is down is told, and
/// followed once it is there. Blocks.
pub fn wait(portal: &Portal, runtime: &Handle) {
    if let Some(live) = portal.live() {
        let caught_up = runtime.block_on(async {
            let caught_up = live.catch_up();
            tokio::time::timeout(PATIENCE, caught_up).await
        });
        if caught_up.is_err() {
            tracing::error!("the registry takes long; serving begins without it");
        }
    }
}

#[async_trait]
impl Surroundings for Process {
    async fn configure(&self, additions: Additions) -> bool {
        self.bring.bring(additions).await
    }

    fn end(&self, sessions: Vec<EndedSession>) {
        for session in sessions {
            self.revocations.take_over(taken_over(session));
        }
    }

    fn view(&self) -> View {
        let state = self.state.load();
        let config = &state.config;
        let strategies = config.auth_strategies.iter();
        View {
            identity_providers: state.providers.values().cloned().collect(),
            strategies: strategies.map(|strategy| seen(strategy, config)).collect(),
            apis: config
                .apis
                .iter()
                .map(|api| ApiView {
                    name: api.name.clone(),
                    access: match api.access {
                        Access::Application => "application",
                        Access::Client => "client",
                        Access::Public => "public",
                        Access::Registered => "registered",
                    },
                    strategies: api.auth_strategies.clone(),
                    url: url(api, config),
                })
                .collect(),
        }
    }

    fn traffic(&self, application: Uuid) -> Option<Traffic> {
        self.state.load().traffic.of(application, clock::now())
    }

    fn public_url(&self) -> Option<Url> {
        self.state.load().config.portal.as_ref()?.public_url.clone()
    }

    fn accounts(&self) -> accounts::Config {
        let state = self.state.load();
        let portal = state.config.portal.as_ref();
        portal.map_or_else(accounts::Config::default, |portal| portal.accounts)
    }

    fn admin_token(&self) -> Option<Secret> {
        self.state.load().config.admin_token.clone()
    }

    fn sign_in(&self) -> Option<accounts::oidc::Place> {
        let state = self.state.load();
        let config = state.config.portal.as_ref()?.oidc.clone()?;
        let provider = state.providers.get(&config.identity_provider)?.clone();
        Some(accounts::oidc::Place { provider, config })
    }

    async fn check(&self, additions: Additions) -> Result<(), Vec<Fault>> {
        let (path, role) = (self.path.clone(), self.role);
        let checked = tokio::task::spawn_blocking(move || {
            Config::load_with(role, &path, Some(&additions)).map(|_| ())
        });
        checked.await.unwrap_or_else(|_| {
            Err(vec![Fault {
                place: Place::whole(&Arc::from(self.path.as_path())),
                message: "the check has failed".to_owned(),
            }])
        })
    }
}

/// A strategy as Konnect would write it.
fn seen(strategy: &strategy::Config, config: &Config) -> StrategyView {
    let mut idps = config.identity_providers.iter();
    let idp = idps.find(|idp| idp.name == strategy.identity_provider);
    let methods = [
        ("bearer", strategy.bearer),
        ("client_credentials", strategy.client_credentials),
        ("session", strategy.session),
    ];
    let methods: Vec<_> = methods
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    let scope = strategy.token_request.scope.as_deref().unwrap_or_default();
    let scopes: Vec<String> = scope.split_ascii_whitespace().map(str::to_owned).collect();
    let mut settings = Map::new();
    settings.insert("issuer".to_owned(), json!(idp.map(|idp| &idp.issuer)));
    settings.insert("auth_methods".to_owned(), json!(methods));
    settings.insert("scopes".to_owned(), json!(scopes));
    if let Some(claim) = &strategy.credential_claim {
        let names: Vec<Value> = claim.names().map(|name| json!(name)).collect();
        settings.insert("credential_claim".to_owned(), Value::Array(names));
    }
    if !strategy.audience.is_empty() {
        settings.insert("audience_required".to_owned(), json!(strategy.audience));
    }
    let asked = strategy.token_request.audience.clone();
    StrategyView {
        name: strategy.name.clone(),
        identity_provider: strategy.identity_provider.clone(),
        settings,
        scopes,
        audience: asked.or_else(|| strategy.audience.first().cloned()),
    }
}

/// Where clients call an API: its first route's first path, below what the portal says or the first
/// listener; `None` where neither tells.
fn url(api: &api::Config, config: &Config) -> Option<String> {
    let route = api.routes.first()?;
    let path = route.paths.first()?;
    let path = path.strip_prefix('=').unwrap_or(path);
    let told = config.portal.as_ref()?.gateway_url.clone();
    let mut base = told.or_else(|| {
        let listener = config.listeners.first()?;
        let scheme = match listener.certificates {
            Some(_) => "https",
            None => "http",
        };
        let address = listener.address;
        let is_known = address.port() != 0 && !address.ip().is_unspecified();
        let base = is_known.then(|| Url::parse(&format!("{scheme}://{address}")));
        base?.ok()
    })?;
    let host = route.hosts.iter().find(|host| !host.starts_with('*'));
    if let Some(host) = host {
        base.set_host(Some(host)).ok()?;
    }
    base.set_path(path);
    Some(base.into())
}

fn taken_over(session: EndedSession) -> Ended {
    match session {
        EndedSession::AllBefore {
            strategy,
            client_id,
            time,
        } => Ended::AllBefore {
            owner: (strategy.into(), client_id),
            time,
        },
        EndedSession::Single {
            id,
            strategy,
            client_id,
            until,
        } => Ended::Single {
            id: SessionId::from_bytes(id),
            until,
            owner: Arc::new((strategy.into(), client_id)),
        },
    }
}

fn kept(ended: Ended) -> EndedSession {
    let owned = |owner: &(Box<str>, ClientId)| (owner.0.to_string(), owner.1.clone());
    match ended {
        Ended::AllBefore { owner, time } => {
            let (strategy, client_id) = owned(&owner);
            EndedSession::AllBefore {
                strategy,
                client_id,
                time,
            }
        }
        Ended::Single { id, until, owner } => {
            let (strategy, client_id) = owned(&owner);
            EndedSession::Single {
                id: id.bytes(),
                strategy,
                client_id,
                until,
            }
        }
    }
}

/// Keeps in the registry what ends here, for as long as anything can. What cannot be kept yet waits:
/// here it is in force.
async fn keep(registry: registry::Registry, mut words: UnboundedReceiver<Word>) {
    let mut batch = Vec::new();
    while words.recv_many(&mut batch, BATCH).await > 0 {
        let mut ended = Vec::new();
        let mut waiting = Vec::new();
        for word in batch.drain(..) {
            match word {
                Word::Ended(session) => ended.push(kept(session)),
                Word::Kept(said) => waiting.push(said),
            }
        }
        while !ended.is_empty() {
            match write(&registry, &ended).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, "ended sessions are not kept yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        for said in waiting {
            // Whoever has gone does not want to know.
            let _ = said.send(());
        }
    }
}

async fn write(
    registry: &registry::Registry,
    ended: &[EndedSession],
) -> Result<(), registry::Error> {
    let mut change = registry.change(&Actor::Gateway, None).await?;
    for session in ended {
        change.end_session(session).await?;
    }
    change.commit().await?;
    Ok(())
}

/// A configuration with what its registry brings, read once for those who serve nothing.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What may not be meant in it, and in the applications.
    pub warnings: Vec<Warning>,
    /// The applications.
    ///
    /// # Errors
    /// Every fault of their file, or why the registry cannot be read.
    pub applications: Result<Vec<Entry>, Vec<Fault>>,
}

/// Reads a configuration and its applications once. Blocks.
///
/// # Errors
/// Every fault of the configuration.
pub fn load(role: Role, path: &Path, runtime: &Runtime) -> Result<Loaded, Vec<Fault>> {
    // Before anything of TLS is made: see `server::run`.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (config, mut warnings) = Config::load_for(role, path)?;
    let kept = match &config.registry {
        Registry::File(file) => {
            let loaded = crate::directory::file::load(file, &config.known());
            let applications = loaded.map(|(entries, more)| {
                warnings.extend(more);
                entries
            });
            return Ok(Loaded {
                config,
                warnings,
                applications,
            });
        }
        Registry::Store(kept) => kept.clone(),
    };
    if let registry::Kind::Sqlite(file) = &kept.kind
        && !file.exists()
    {
        // Not made here: who looks may be another user than who serves.
        warnings.push(Warning {
            place: Place::whole(&Arc::from(path)),
            message: format!("registry.sqlite: {file:?} is not there yet: the gateway makes it"),
        });
        return Ok(Loaded {
            config,
            warnings,
            applications: Ok(Vec::new()),
        });
    }
    let registry = registry::Registry::new(kept, runtime.handle().clone());
    let read = runtime.block_on(async {
        let (providers, strategies) = (registry.providers().await?, registry.strategies().await?);
        let apis = registry.apis().await?;
        let additions = crate::portal::konnect::additions(&providers, &strategies, &apis);
        Ok::<_, registry::Error>((additions, registry.since(0).await?.entries))
    });
    match read {
        Ok((additions, entries)) => {
            let (config, warnings) = Config::load_with(role, path, Some(&additions))?;
            Ok(Loaded {
                config,
                warnings,
                applications: Ok(entries),
            })
        }
        Err(error) => Ok(Loaded {
            config,
            warnings,
            applications: Err(vec![Fault {
                place: Place::whole(&Arc::from(path)),
                message: format!("registry: {error}"),
            }]),
        }),
    }
}
