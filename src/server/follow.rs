//! What of the running program follows the configuration, beside the requests.

use std::{net::SocketAddr, sync::Arc};

use super::{limits, service::Live, systemd};
use crate::{
    config::{Config, Listener},
    proxy::{
        connection::tls::{Certificate, Certificates},
        state::State,
    },
    reload::Surroundings,
    telemetry::lines::Logs,
};

/// The running service and its log; systemd is told.
#[derive(Debug)]
pub struct Follow {
    /// The service.
    pub live: Arc<Live>,
    /// The certificates that developers are shown.
    pub portal: Option<Arc<Certificates>>,
    /// The log.
    pub logs: Logs,
}

impl Surroundings for Follow {
    fn reading(&self) {
        systemd::reloading();
    }

    fn keep_fixed(&self, config: Config, old: &Config) -> Config {
        keep_fixed(config, old)
    }

    fn follow(&self, config: &Config) {
        self.logs.set(&config.log);
        self.live.limits.store(Arc::new(limits(config)));
        self.live.grace_period.store(Arc::new(config.grace_period));
        let listeners = self.live.certificates.iter().map(Option::as_ref);
        let listeners = listeners.zip(&config.listeners);
        let portal = config.portal.iter().map(|portal| &portal.listener);
        let portal = portal.map(|listener| (self.portal.as_ref(), listener));
        for (shown, listener) in listeners.chain(portal) {
            if let (Some(shown), Some(new)) = (shown, &listener.certificates)
                && shown.replace(new.clone())
            {
                let names: Vec<&str> = new.iter().flat_map(Certificate::names).collect();
                let listener = listener.address;
                tracing::info!(%listener, ?names, "new certificates are shown");
            }
        }
    }

    fn read(&self, state: &State) {
        systemd::ready(state);
    }
}

/// Where a listener is, and whether it speaks TLS.
fn place(listener: &Listener) -> (SocketAddr, bool) {
    (listener.address, listener.certificates.is_some())
}

/// Where all of them are.
fn places(config: &Config) -> Vec<(SocketAddr, bool)> {
    config.listeners.iter().map(place).collect()
}

/// What only a restart changes stays as it was, with a warning.
fn keep_fixed(mut config: Config, old: &Config) -> Config {
    let keep = |key: &str, changed: bool| {
        if changed {
            tracing::warn!(
                key,
                "changed in the file; this takes effect at the next start only"
            );
        }
    };
    keep("listeners", places(&config) != places(old));
    keep("status.address", config.status != old.status);
    keep("admin.address", config.admin_address != old.admin_address);
    let portal = |config: &Config| {
        let portal = config.portal.as_ref();
        portal.map(|portal| place(&portal.listener))
    };
    let moved = portal(&config) != portal(old);
    keep("portal", moved);
    if moved {
        config.portal.clone_from(&old.portal);
    }
    keep("threads", config.threads != old.threads);
    // Certificates are renewed while their listener stays.
    let renewed = std::mem::replace(&mut config.listeners, old.listeners.clone());
    for listener in &mut config.listeners {
        let same = |new: &&Listener| {
            new.address == listener.address
                && new.certificates.is_some() == listener.certificates.is_some()
        };
        if let Some(new) = renewed.iter().find(same) {
            listener.certificates.clone_from(&new.certificates);
        }
    }
    config.status = old.status;
    config.admin_address = old.admin_address;
    config.threads = old.threads;
    config
}
