//! One request's way to an upstream: its place among those in flight, the address it goes to, what
//! is tried again and what is learnt from how it ended.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pingora::{Error, ErrorSource, upstreams::peer::HttpPeer};

use super::{Upstream, config::Protocol, endpoint::Endpoint, peer, trouble, trouble::Trouble};
use crate::clock;

/// Holds a place among the requests in flight for as long as it lives.
#[derive(Debug)]
pub struct Exchange {
    upstream: Arc<Upstream>,
    target: usize,
    endpoint: Arc<Endpoint>,
    tried: Vec<SocketAddr>,
    tries: usize,
    /// Whether the connection had served a request before.
    reused: bool,
    /// Whether the upstream has said anything on this try.
    heard: bool,
    /// Failures in a row that this request's answer ended.
    ended: u32,
    detail: Option<Box<str>>,
}

impl Exchange {
    pub(super) fn new(upstream: Arc<Upstream>, target: usize, endpoint: Arc<Endpoint>) -> Self {
        Self {
            upstream,
            target,
            endpoint,
            tried: Vec::new(),
            tries: 0,
            reused: false,
            heard: false,
            ended: 0,
            detail: None,
        }
    }

    /// The address of this try, or of the last.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The target of this try, as configured.
    pub fn target(&self) -> &str {
        let target = self.upstream.targets.get(self.target);
        target.map_or("", |target| &target.authority)
    }

    /// How often the request was tried, counted from 1.
    pub fn tries(&self) -> usize {
        self.tries
    }

    /// Whether the last try went over a kept connection.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// How long an HTTP/1 upstream may say nothing; `None` where another protocol is spoken.
    pub(in crate::proxy) fn read_timeout(&self) -> Option<Duration> {
        let config = &self.upstream.config;
        (config.protocol == Protocol::Http1).then_some(config.timeouts.read)
    }

    /// What the system or rustls said about a connect that failed.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Where the next try goes: first to the address picked already, then to others if there are
    /// any.
    pub(in crate::proxy) fn next_peer(&mut self) -> HttpPeer {
        self.tries += 1;
        if self.tries > 1 {
            self.tried.push(self.endpoint.address);
            // Where nothing is left, the last one gets another chance.
            if let Some((target, endpoint)) = self.upstream.pick(clock::instant(), &self.tried) {
                self.target = target;
                self.endpoint = endpoint;
            }
            self.reused = false;
            self.heard = false;
            self.ended = 0;
        }
        peer::at(&self.upstream.peers[self.target], self.endpoint.address)
    }

    /// Learns that there is a connection.
    pub(in crate::proxy) fn connected(&mut self, reused: bool) {
        self.reused = reused;
        self.detail = None;
    }

    /// Learns that there is no connection, and decides whether the request is tried again: nothing
    /// was sent yet, so what counts is only whether its method is idempotent.
    pub(in crate::proxy) fn not_connected(&mut self, error: &mut Error, idempotent: bool) {
        let trouble = Trouble::of(error);
        self.detail = Some(trouble::detail(error));
        if trouble.is_theirs() {
            self.failed(1, trouble.reason);
        }
        error.set_retry(idempotent && trouble.is_theirs() && self.may_retry());
    }

    /// Learns that the exchange broke after it had begun. It is tried again only where the upstream
    /// cannot have acted on it or may act twice: a kept connection that turned out to be closed, an
    /// HTTP/2 stream that was refused; each without a word of an answer, and idempotent.
    pub(in crate::proxy) fn broke(&mut self, error: &mut Error, repeatable: bool, reused: bool) {
        error.retry.decide_reuse(reused);
        let stale = error.retry() && !self.heard;
        error.set_retry(stale && repeatable && self.may_retry());
        if *error.esource() == ErrorSource::Upstream && !stale {
            self.failed(self.ended.saturating_add(1), Trouble::of(error).reason);
        }
    }

    /// Learns that the upstream said something, if only that more will come.
    pub(in crate::proxy) fn heard(&mut self) {
        self.heard = true;
    }

    /// Learns the status of the answer. Whoever answers works, but for a gateway that says that
    /// nothing behind it does.
    pub(in crate::proxy) fn answered(&mut self, status: u16) {
        self.heard = true;
        if matches!(status, 502..=504) {
            let reason = match status {
                502 => "status_502",
                503 => "status_503",
                _ => "status_504",
            };
            return self.failed(1, reason);
        }
        let (ended, back) = self.endpoint.answered();
        self.ended = ended;
        if back {
            self.upstream.tell_return(self.target, &self.endpoint);
        }
    }

    fn may_retry(&self) -> bool {
        self.tries <= self.upstream.config.retries
    }

    fn failed(&self, failures: u32, reason: &'static str) {
        let rule = self.upstream.config.passive_health;
        if self.endpoint.failed(failures, rule, clock::instant()) {
            self.upstream
                .tell_ejection(self.target, &self.endpoint, reason);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.upstream.leave();
    }
}
