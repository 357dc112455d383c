//! How a target is connected to, prepared once so that a request only puts in the address.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use pingora::{
    listeners::ALPN,
    upstreams::peer::HttpPeer,
    utils::tls::{WrappedX509, parse_x509},
};

use super::config::{Config, Protocol, TargetConfig};

/// Requests on one HTTP/2 connection at once; RFC 9113 section 6.5.2 recommends that servers allow
/// no fewer.
const STREAMS: usize = 100;
/// Bytes of an answer that its stream may hold before a client takes them (RFC 9113 section 5.2).
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for a connection: more than all of its streams together may hold, so that clients who
/// read nothing stop no other's answer.
const CONNECTION_WINDOW: u32 = (STREAMS as u32 + 1) * STREAM_WINDOW;

/// Pingora's pool does not tell connections apart by the authorities that vouched for them, so each
/// upstream as started has a number of its own.
static GROUPS: AtomicU64 = AtomicU64::new(1);

/// Prepares one peer for each target.
pub(super) fn templates(config: &Config) -> Vec<HttpPeer> {
    let group = GROUPS.fetch_add(1, Ordering::Relaxed);
    let tls = config.tls.as_ref();
    // The configuration was checked: every certificate can be read.
    let authorities = tls.and_then(|tls| tls.authorities.as_ref()).map(|all| {
        let all = all.iter().map(|der| der.as_ref().to_vec());
        let all = all.map(|der| WrappedX509::new(der, parse_x509));
        Arc::from_iter(all)
    });
    let template = |target: &TargetConfig| {
        let name = tls.map(|tls| tls.sni.clone().unwrap_or_else(|| target.host.clone()));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut peer = HttpPeer::new(nowhere, name.is_some(), name.unwrap_or_default());
        peer.group_key = group;
        let options = &mut peer.options;
        options.ca.clone_from(&authorities);
        options.alpn = match config.protocol {
            Protocol::Http1 => ALPN::H1,
            Protocol::H2 | Protocol::H2c => ALPN::H2,
        };
        options.max_h2_streams = STREAMS;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.connection_timeout = Some(config.timeouts.connect);
        options.total_connection_timeout = Some(config.timeouts.connect);
        options.read_timeout = Some(config.timeouts.read);
        options.write_timeout = Some(config.timeouts.write);
        options.idle_timeout = Some(config.timeouts.idle);
        peer
    };
    config.targets.iter().map(template).collect()
}

/// A prepared peer at an address.
pub(super) fn at(template: &HttpPeer, address: SocketAddr) -> HttpPeer {
    let mut peer = template.clone();
    peer._address = address.into();
    peer
}
