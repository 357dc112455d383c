//! One target and its addresses, which look-ups and reloads replace without losing what is known.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{
    Upstream,
    config::{Config, TargetConfig},
    endpoint::Endpoint,
};

/// A server: one address, or a name with any number of them.
#[derive(Debug)]
pub(super) struct Target {
    /// As configured.
    pub(super) config: TargetConfig,
    /// The address as configured.
    pub(super) authority: String,
    /// Its addresses, in order; none before a name is looked up.
    pub(super) endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
}

impl Target {
    pub(super) fn new(config: TargetConfig, now: Instant) -> Self {
        let address: Option<IpAddr> = config.host.parse().ok();
        let endpoint = address.map(|ip| SocketAddr::new(ip, config.port));
        let endpoint = endpoint.map(|address| Arc::new(Endpoint::new(address, now)));
        Self {
            authority: config.authority(),
            endpoints: ArcSwap::from_pointee(endpoint.into_iter().collect()),
            config,
        }
    }

    /// Takes over what is known of the same target; its health only where nothing changed in how
    /// that is found out.
    pub(super) fn inherit(&self, previous: &Upstream, config: &Config, now: Instant) {
        let mut all = previous.targets.iter();
        let Some(known) = all.find(|target| target.authority == self.authority) else {
            return;
        };
        let old = &previous.config;
        let same_health = old.tls == config.tls
            && old.protocol == config.protocol
            && old.host == config.host
            && old.health_check == config.health_check;
        let endpoints = known.endpoints.load_full();
        self.endpoints.store(match same_health {
            true => endpoints,
            false => {
                let fresh = |e: &Arc<Endpoint>| Arc::new(Endpoint::new(e.address, now));
                Arc::new(endpoints.iter().map(fresh).collect())
            }
        });
    }

    /// Takes in what a look-up found. Addresses that stay keep their health. Tells whether there
    /// was a change.
    pub(super) fn take_in(&self, found: Vec<SocketAddr>, now: Instant) -> bool {
        let found = ordered(found);
        let known = self.endpoints.load();
        let same = known.iter().map(|e| e.address).eq(found.iter().copied());
        // A name without addresses is the name server's trouble, not the upstream's.
        if same || found.is_empty() {
            return false;
        }
        let kept = |address: SocketAddr| {
            let kept = known.iter().find(|e| e.address == address);
            kept.map_or_else(|| Arc::new(Endpoint::new(address, now)), Arc::clone)
        };
        let endpoints = found.iter().copied().map(kept).collect();
        self.endpoints.store(Arc::new(endpoints));
        true
    }
}

/// Addresses in a fixed order, each once: name servers shuffle them.
fn ordered(mut addresses: Vec<SocketAddr>) -> Arc<[SocketAddr]> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into()
}
