//! The configuration file as one [`Config`], checked whole before anything uses it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{
    idp,
    model::credential::Secret,
    proxy::{api, strategy},
    token::session::SessionKey,
};

/// Everything the program is told, checked: every reference resolves, every value is in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect; at least one, no address twice.
    pub listeners: Vec<SocketAddr>,
    /// Own address for `/livez`, `/readyz`, `/metrics`; `None`: on the admin address.
    pub status: Option<SocketAddr>,
    /// Operator's address. Default 127.0.0.1:8001.
    pub admin_address: SocketAddr,
    /// Token for everything there but the three status paths; `None`: all else is refused.
    pub admin_token: Option<Secret>,
    /// Peers whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; 0: one for each core.
    pub threads: usize,
    /// How long a stop waits for requests in flight. Default 10 s.
    pub grace_period: Duration,
    /// What one client may cost.
    pub limits: Limits,
    /// Log set-up.
    pub log: LogConfig,
    /// Identity providers; names are unique.
    pub identity_providers: Vec<idp::Config>,
    /// Strategies; names are unique.
    pub auth_strategies: Vec<strategy::Config>,
    /// Session keys, the sealing one first; empty: one is made at start.
    pub session_keys: Vec<SessionKey>,
    /// APIs; names are unique.
    pub apis: Vec<api::Config>,
    /// `registry.file`.
    pub registry: PathBuf,
    /// Every file that was read for this configuration, itself included, `registry` not.
    pub files: Vec<PathBuf>,
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
