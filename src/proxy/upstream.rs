//! Where an API's requests go: weighted targets, their names looked up again and again, and what
//! is known of each address.
//!
//! Always true: a request goes to an address that active checks call healthy, or nowhere. Failed
//! requests can take an address out for a while, but never the last one: a client that knows how to
//! provoke time-outs must not be able to take a whole API down.

pub mod config;
mod endpoint;
pub mod exchange;
pub mod health;
mod peer;
mod resolve;
mod rotation;
mod target;
pub(crate) mod trouble;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use pingora::upstreams::peer::HttpPeer;
use tokio::{runtime::Handle, sync::Notify};

use crate::{clock, telemetry::metrics::Metrics};
use config::Config;
use endpoint::Endpoint;
use exchange::Exchange;
use health::Checker;
use target::Target;

/// The upstream of one API.
#[derive(Debug)]
pub struct Upstream {
    api: Arc<str>,
    config: Config,
    targets: Vec<Target>,
    /// One for each target.
    peers: Vec<HttpPeer>,
    /// Positions in `targets`, each as often as its weight says, evenly spread.
    schedule: Vec<usize>,
    next: AtomicUsize,
    /// Turns of stand-ins for targets that cannot serve.
    stand_ins: AtomicUsize,
    /// Requests in flight. Shared with what a reload makes of this upstream.
    in_flight: Arc<AtomicUsize>,
    /// Told when a look-up found something else than before.
    changed: Arc<Notify>,
}

/// Why a request cannot go to its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many requests are in flight as may be.
    Full,
    /// No name has an address yet.
    NoAddress,
    /// Active checks leave no address.
    Unhealthy,
}

impl Upstream {
    /// Puts an upstream to work: names are looked up and addresses checked on `runtime` for as long
    /// as the value lives. Of the `previous` one of the same API it keeps the count of requests in
    /// flight, the addresses of targets that stay, and their health where they are still judged in
    /// the same way.
    pub fn start(
        api: &Arc<str>,
        config: &Config,
        previous: Option<&Self>,
        checker: &Checker,
        runtime: &Handle,
    ) -> Arc<Self> {
        let now = clock::instant();
        let targets = config.targets.iter().map(|target| {
            let made = Target::new(target.clone(), now);
            if let Some(previous) = previous {
                made.inherit(previous, config, now);
            }
            made
        });
        let weights: Vec<u16> = config.targets.iter().map(|target| target.weight).collect();
        let upstream = Arc::new(Self {
            api: Arc::clone(api),
            targets: targets.collect(),
            peers: peer::templates(config),
            schedule: rotation::schedule(&weights),
            next: AtomicUsize::new(0),
            stand_ins: AtomicUsize::new(0),
            in_flight: previous.map_or_else(Arc::default, |previous| previous.in_flight.clone()),
            changed: Arc::default(),
            config: config.clone(),
        });
        for (index, target) in upstream.targets.iter().enumerate() {
            if target.config.host.parse::<IpAddr>().is_err() {
                let upstream = Arc::downgrade(&upstream);
                runtime.spawn(resolve::run(upstream, index, config.resolve_interval));
            }
        }
        if let Some(check) = &config.health_check {
            let upstream = Arc::downgrade(&upstream);
            runtime.spawn(health::run(upstream, check.clone(), checker.clone()));
        }
        upstream
    }

    /// Gives a request a place and an address.
    ///
    /// # Errors
    /// Why it gets none. Nothing was sent then.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Exchange, Refusal> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.config.connections {
            self.leave();
            return Err(Refusal::Full);
        }
        let Some((target, endpoint)) = self.pick(now, &[]) else {
            self.leave();
            let mut known = self.targets.iter().map(|target| target.endpoints.load());
            return Err(match known.any(|endpoints| !endpoints.is_empty()) {
                true => Refusal::Unhealthy,
                false => Refusal::NoAddress,
            });
        };
        Ok(Exchange::new(Arc::clone(self), target, endpoint))
    }

    /// Why an operator should look at this upstream, if there is a reason.
    pub fn complaint(&self) -> Option<&'static str> {
        let any = |is: fn(&Endpoint) -> bool| {
            let mut targets = self.targets.iter();
            targets.any(|target| target.endpoints.load().iter().any(|endpoint| is(endpoint)))
        };
        if any(Endpoint::is_free) {
            None
        } else if any(Endpoint::is_healthy) {
            Some("every target fails requests; tried anyway")
        } else {
            Some("no healthy target")
        }
    }

    /// Whether a request would be sent to a target that is known to be well, as far as this
    /// upstream's checks can know.
    pub(crate) fn is_settled(&self) -> bool {
        let checked = |target: &Target| {
            let endpoints = target.endpoints.load();
            endpoints.iter().all(|endpoint| endpoint.was_checked())
        };
        let unchecked = self.config.health_check.is_none();
        self.complaint().is_none() && (unchecked || self.targets.iter().all(checked))
    }

    /// Brings the metrics that are looked at, not counted, up to date.
    pub fn observe(&self, metrics: &Metrics) {
        for target in &self.targets {
            let free = |endpoint: &&Arc<Endpoint>| endpoint.is_free();
            let healthy = target.endpoints.load().iter().filter(free).count();
            metrics
                .upstream_healthy
                .with_label_values(&[&*self.api, &target.authority])
                .set(i64::try_from(healthy).unwrap_or(i64::MAX));
        }
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        metrics
            .upstream_in_flight
            .with_label_values(&[&*self.api])
            .set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    /// The address whose turn it is; `None` where active checks leave none.
    fn pick(&self, now: Instant, tried: &[SocketAddr]) -> Option<(usize, Arc<Endpoint>)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let length = self.schedule.len();
        let index = *self.schedule.get(turn % length.max(1))?;
        let endpoints = self.targets[index].endpoints.load();
        let place = (turn / length) % endpoints.len().max(1);
        let rule = self.config.passive_health;
        if let Some(endpoint) = endpoints.get(place)
            && !tried.contains(&endpoint.address)
            && endpoint.admits(rule, now)
        {
            return Some((index, Arc::clone(endpoint)));
        }
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address);
        self.stand_in(|endpoint| endpoint.is_free() && untried(endpoint))
            .or_else(|| self.stand_in(|endpoint| endpoint.is_healthy() && untried(endpoint)))
            .or_else(|| self.stand_in(Endpoint::is_healthy))
    }

    /// One of the addresses that will do, each target's turn coming as often as its weight says:
    /// what one cannot serve is shared by all others.
    fn stand_in(&self, will_do: impl Fn(&Endpoint) -> bool) -> Option<(usize, Arc<Endpoint>)> {
        let fit = |target: &Target| {
            let endpoints = target.endpoints.load();
            endpoints.iter().filter(|e| will_do(e)).count()
        };
        let weight = |target: &Target| u64::from(target.config.weight);
        let able = self.targets.iter().filter(|target| fit(target) > 0);
        let line: u64 = able.map(weight).sum();
        if line == 0 {
            return None;
        }
        let turn = self.stand_ins.fetch_add(1, Ordering::Relaxed);
        let mut point = rotation::point(turn, line);
        let mut found = None;
        for (index, target) in self.targets.iter().enumerate() {
            let endpoints = target.endpoints.load();
            let fit: Vec<_> = endpoints.iter().filter(|e| will_do(e)).collect();
            if fit.is_empty() {
                continue;
            }
            // Should the set have changed since it was counted, the last one does as well.
            found = Some((index, Arc::clone(fit[turn % fit.len()])));
            if point < weight(target) {
                break;
            }
            point -= weight(target);
        }
        found
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn tell_ejection(&self, target: usize, endpoint: &Endpoint, reason: &str) {
        let target = &*self.targets[target].authority;
        tracing::warn!(api = &*self.api, server = target, address = %endpoint.address, reason, "an upstream target fails requests and is left alone");
    }

    fn tell_return(&self, target: usize, endpoint: &Endpoint) {
        let target = &*self.targets[target].authority;
        tracing::info!(api = &*self.api, server = target, address = %endpoint.address, "an upstream target answers requests again");
    }

    fn tell_health(&self, target: usize, endpoint: &Endpoint, healthy: bool, reason: &str) {
        let (api, target) = (&*self.api, &*self.targets[target].authority);
        let address = endpoint.address;
        if healthy {
            tracing::info!(api, server = target, %address, "an upstream target is healthy again");
        } else {
            tracing::warn!(api, server = target, %address, reason, "an upstream target is unhealthy");
        }
    }
}

#[cfg(test)]
mod tests;
