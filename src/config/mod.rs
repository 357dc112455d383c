//! The configuration file as one [`Config`], checked whole before anything uses it.
//!
//! [`Config::load`] reads a file into a tree (`document`), walks it section by section
//! (`section`; each larger one has its own module here) and then checks what spans sections
//! (`references`). Every fault is reported with its place; a faulty file yields no `Config`.
//! The same walk makes the JSON Schema of the file ([`schema`]), with what each key means (`docs`):
//! whoever adds a key says that there, and sets the key in `conf/gateway.yaml`.

mod additions;
mod api;
mod cors;
mod docs;
mod document;
mod idp;
mod listener;
mod mistakes;
mod portal;
mod references;
mod registration;
mod route;
pub mod schema;
mod secret;
mod section;
mod strategy;
mod top;
mod upstream;
mod value;
pub mod watch;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

pub use self::additions::Additions;
use self::section::{At, Report};
use crate::{
    idp::Config as IdpConfig,
    model::{
        credential::Secret,
        fault::{Fault, Warning},
    },
    portal::{accounts, registry},
    proxy::{
        api::Config as ApiConfig, connection::tls::Certificate, strategy::Config as StrategyConfig,
    },
    token::session::SessionKey,
    yaml,
};

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program of this crate: it listens, and has an upstream for each API.
    Gateway,
    /// A [guard](crate::guard::Guard) in another program, which does both itself. Keys that it
    /// cannot honour may stand in the file, are checked, and warn that they have no effect.
    Guard,
}

/// Everything the program is told, checked: every reference resolves, every value is in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it was read for.
    pub role: Role,
    /// Where clients connect; at least one, no address twice. A guard has none.
    pub listeners: Vec<Listener>,
    /// Own address for `/livez`, `/readyz`, `/metrics`; `None`: on the admin address.
    pub status: Option<SocketAddr>,
    /// Operator's address. Default 127.0.0.1:8001.
    pub admin_address: SocketAddr,
    /// Token for everything there but the three status paths; `None`: all else is refused.
    pub admin_token: Option<Secret>,
    /// Where developers sign in; `None`: they do not.
    pub portal: Option<Portal>,
    /// Peers whose `X-Forwarded-*` and `X-Real-IP` count, or `Forwarded` where they send none of
    /// them. Each must overwrite or drop all of these that its own clients send. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; 0: one for each core.
    pub threads: usize,
    /// How long a stop waits for requests in flight. Default 10 s.
    pub grace_period: Duration,
    /// The Unix socket on which a new process is handed the listeners, in a directory of the
    /// gateway's own user. Default: `upgrade.sock` in `$RUNTIME_DIRECTORY`, which systemd sets;
    /// without either the binary cannot be upgraded in place.
    pub upgrade_socket: Option<PathBuf>,
    /// What one client may cost.
    pub limits: Limits,
    /// Log set-up.
    pub log: LogConfig,
    /// Identity providers; names are unique.
    pub identity_providers: Vec<IdpConfig>,
    /// Strategies; names are unique.
    pub auth_strategies: Vec<StrategyConfig>,
    /// Session keys, the sealing one first; empty: one is made at start.
    pub session_keys: Vec<SessionKey>,
    /// APIs; names are unique.
    pub apis: Vec<ApiConfig>,
    /// Where applications are kept.
    pub registry: Registry,
    /// Every file that was read for this configuration, itself included, `registry` not.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads and checks a configuration file and all files that it names but the applications, for
    /// the gateway. Blocks while it reads.
    ///
    /// # Errors
    /// Every fault of value and reference at once, in the file's order; of syntax the first one.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        Self::load_for(Role::Gateway, path)
    }

    /// The same for either role. What a registry adds is not known yet: an API may name strategies
    /// that it will bring.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for(role: Role, path: &Path) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        Self::load_with(role, path, None)
    }

    /// The same with what a registry adds.
    ///
    /// # Errors
    /// As [`Config::load`]; the place of what was added is `registry`.
    pub fn load_with(
        role: Role,
        path: &Path,
        additions: Option<&Additions>,
    ) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        let file: Arc<Path> = path.into();
        let content = yaml::read(&file).map_err(|fault| vec![fault])?;
        Self::parse_for(role, &file, &content, additions)
    }

    /// Every file that a configuration names but the applications, itself included, whether or not
    /// it can be used: what a faulty one waits for. Blocks while it reads.
    pub fn files_named(path: &Path) -> Vec<PathBuf> {
        let file: Arc<Path> = path.into();
        let content = yaml::read(&file);
        let document = content.and_then(|content| {
            let text = yaml::text(&file, &content)?;
            document::parse(&file, text)
        });
        let Ok(document) = document else {
            return vec![path.to_owned()];
        };
        let report = Report::new(&file, Role::Gateway);
        top::read(At::top(&report, &document), None);
        report.files()
    }

    /// Checks the content of a configuration file as [`Config::load`] does; `file` is its name in
    /// messages, and relative paths are relative to it. Blocks while it reads the files that are
    /// named there.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Arc<Path>, content: &[u8]) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        Self::parse_for(Role::Gateway, file, content, None)
    }

    fn parse_for(
        role: Role,
        file: &Arc<Path>,
        content: &[u8],
        additions: Option<&Additions>,
    ) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        let document = yaml::text(file, content).and_then(|text| document::parse(file, text));
        let mut document = document.map_err(|fault| vec![fault])?;
        if let Some(additions) = additions {
            additions.add_to(&mut document);
        }
        let report = Report::new(file, role);
        let config = top::read(At::top(&report, &document), additions);
        let (warnings, files) = report.finish()?;
        Ok((Self { files, ..config }, warnings))
    }
}

/// `registry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// A file of applications that somebody else writes.
    File(PathBuf),
    /// A database, which the portal writes.
    Store(registry::Config),
}

impl Registry {
    /// The file of applications, where they come from one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Store(_) => None,
        }
    }
}

/// One entry of `listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound. Port 0 leaves the port to the system; the log tells which it is.
    pub address: SocketAddr,
    /// What clients are shown, at least one certificate, the default first; `None`: no TLS.
    pub certificates: Option<Vec<Certificate>>,
}

/// `portal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Where it is bound, and what browsers are shown there.
    pub listener: Listener,
    /// Accounts and their sessions.
    pub accounts: accounts::Config,
    /// Where browsers reach the portal, where that is told.
    pub public_url: Option<url::Url>,
    /// Where clients reach the gateway, for what developers are told; `None`: at the first listener.
    pub gateway_url: Option<url::Url>,
    /// How developers sign in at an identity provider; `None`: they do not.
    pub oidc: Option<accounts::oidc::Config>,
}

/// `limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head. Default 32 KiB.
    pub header_size: usize,
    /// Fields of a head, cookie fields together as one. Default 100.
    pub header_count: usize,
    /// Deadline for a whole head. Default 10 s.
    pub header_timeout: Duration,
    /// Bytes of a request's body; `None`: no limit.
    pub body_size: Option<u64>,
    /// Client connections at once. Default 20,000.
    pub connections: usize,
}

/// `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severe level written. Default info.
    pub level: tracing::Level,
    /// Form of a line. Default JSON.
    pub format: LogFormat,
    /// Whether each request is logged. Default on.
    pub access: bool,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

#[cfg(test)]
mod tests;
