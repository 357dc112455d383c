//! `apis[].upstream`, as the configuration says it.

use std::time::Duration;

use http::{HeaderValue, uri::PathAndQuery};
use rustls::pki_types::CertificateDer;

/// `apis[].upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Servers, at least one.
    pub targets: Vec<TargetConfig>,
    /// Host sent; `None` preserves the client's.
    pub host: Option<HeaderValue>,
    /// Whether requests carry `Forwarded` (RFC 7239) beside `X-Forwarded-*`. Default false.
    pub forwarded: bool,
    /// TLS towards every target; `None`: plain.
    pub tls: Option<TlsConfig>,
    /// What is spoken. Default HTTP/1.1.
    pub protocol: Protocol,
    /// Asks each target whether it is well; `None`: nobody asks.
    pub health_check: Option<HealthCheckConfig>,
    /// Leaves targets alone that fail requests.
    pub passive_health: PassiveHealth,
    /// Requests in flight to all targets together, 1 to 1,000,000. Beyond, requests are refused:
    /// too few refuse what the upstream could do, too many let it drown. Default 1,000.
    pub connections: usize,
    /// Further tries after a failed connect, 0 to [`Config::MOST_RETRIES`]. Default 1.
    pub retries: usize,
    /// Time between look-ups of target names. Default 30 s.
    pub resolve_interval: Duration,
    /// Limits of one exchange.
    pub timeouts: Timeouts,
}

/// One entry of `apis[].upstream.targets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// IP address without brackets, or a name that is looked up.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share of the requests, 1 to 1,000. Default 1.
    pub weight: u16,
}

/// `apis[].upstream.tls`. The certificate is always verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Name sent and verified; `None`: the target's host, an IP address as text.
    pub sni: Option<String>,
    /// The only authorities trusted for this upstream; `None`: the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

/// `apis[].upstream.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, with or without TLS.
    #[default]
    Http1,
    /// HTTP/2 over TLS, agreed on by ALPN (RFC 9113 section 3.2). A server that offers something
    /// else is refused; one that knows nothing of ALPN is spoken to in HTTP/1.1.
    H2,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3).
    H2c,
}

/// `apis[].upstream.health_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// Path asked for; any 2xx is healthy.
    pub path: PathAndQuery,
    /// Time between checks, 100 ms to an hour. Shorter finds faults sooner and asks more. Default
    /// 5 s.
    pub interval: Duration,
}

/// `apis[].upstream.passive_health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveHealth {
    /// Failures in a row after which an address is left alone, 0 to 1,000; 0: never, as with nginx'
    /// `max_fails`. Default 5.
    pub failures: u32,
    /// For how long, 100 ms to an hour; then one request tries it. Default 10 s.
    pub eject: Duration,
}

/// `apis[].upstream.timeouts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting, the TLS handshake included. Default 2 s.
    pub connect: Duration,
    /// How long the upstream may say nothing: until the head of its answer is whole, then each time
    /// until more of it comes. It has up to 50 ms more, as it may be the gateway that was late. While a
    /// request's body is sent, each byte of the answer's head is a word of the upstream's too, and what
    /// the client sends begins the wait anew towards HTTP/1.1, not towards HTTP/2, where an upload or a
    /// stream of calls that the upstream listens to in silence needs more. A tunnel of which neither
    /// side says anything ends after it, too. A client that keeps the upstream waiting for the rest of a
    /// body is refused with 408, and nothing counts against the upstream. Default 60 s.
    pub read: Duration,
    /// Each wait to send. Default 60 s.
    pub write: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle: Duration,
}

impl Config {
    /// More would multiply the load on an upstream that is going down.
    pub const MOST_RETRIES: usize = 5;

    /// Everything but the targets as by default.
    pub fn new(targets: Vec<TargetConfig>) -> Self {
        Self {
            targets,
            host: None,
            forwarded: false,
            tls: None,
            protocol: Protocol::default(),
            health_check: None,
            passive_health: PassiveHealth::default(),
            connections: 1_000,
            retries: 1,
            resolve_interval: Duration::from_secs(30),
            timeouts: Timeouts::default(),
        }
    }
}

impl TargetConfig {
    /// The address as a URL writes it: an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self {
            failures: 5,
            eject: Duration::from_secs(10),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            connect: Duration::from_secs(2),
            read: MINUTE,
            write: MINUTE,
            idle: MINUTE,
        }
    }
}
