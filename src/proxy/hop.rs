//! How a request reached the gateway, and how the upstream is told.
//!
//! Always true: what a client can write itself is believed only where its connection comes from one
//! of `trusted_proxies`.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::state::State;

const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const VIA: HeaderValue = HeaderValue::from_static("1.1 dcr-gateway");

/// Headers that tell of hops before us: only a trusted proxy's count.
pub fn is_forwarding(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == REAL_IP || *name == header::FORWARDED
}

/// How a request reached the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether it is one of `trusted_proxies`.
    pub trusted: bool,
    /// Our end of the connection.
    pub port: u16,
    /// The client, as trusted proxies tell.
    pub client: IpAddr,
    /// Whether the client came over https, as the listener sees it or a trusted proxy tells.
    pub secure: bool,
}

impl Hop {
    /// Reads how a request came, over our own TLS or without. Nothing that the client itself can write is believed unless the
    /// connection comes from a trusted proxy.
    pub fn new(
        state: &State,
        peer: SocketAddr,
        local: Option<&SocketAddr>,
        tls: bool,
        map: &HeaderMap,
    ) -> Self {
        let trusted_proxies = &state.config.trusted_proxies;
        let is_trusted = |ip: &IpAddr| {
            !trusted_proxies.is_empty()
                && trusted_proxies
                    .iter()
                    .any(|network| network.contains(&ip.to_canonical()))
        };
        let peer = peer.ip().to_canonical();
        let trusted = is_trusted(&peer);
        let mut hop = Self {
            peer,
            trusted,
            port: local.map_or(0, SocketAddr::port),
            client: peer,
            secure: tls,
        };
        if !trusted {
            return hop;
        }
        let told = map.get_all(&FORWARDED_FOR).iter();
        // As bytes: what a client wrote into a line must not hide what its proxy put behind it.
        let told: Vec<&[u8]> = told
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .collect();
        for address in told.into_iter().rev() {
            let address = std::str::from_utf8(address).unwrap_or_default();
            // An address nobody can read ends what is known.
            let Some(address) = parse_address(address) else {
                break;
            };
            hop.client = address.to_canonical();
            if !is_trusted(&hop.client) {
                break;
            }
        }
        let proto = map.get_all(&FORWARDED_PROTO).iter().next_back();
        let proto = proto
            .and_then(|line| line.to_str().ok())
            .and_then(|line| line.rsplit(',').next());
        if let Some(proto) = proto {
            hop.secure = proto.trim().eq_ignore_ascii_case("https");
        }
        hop
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What a trusted proxy told of the hops before it.
#[derive(Debug, Default)]
pub struct Told {
    addresses: Option<String>,
    host: Option<HeaderValue>,
    port: Option<HeaderValue>,
    proto: Option<HeaderValue>,
}

impl Told {
    /// Takes it out of the fields; nothing where the client is not a trusted proxy.
    pub fn take(fields: &mut HeaderMap, hop: &Hop) -> Self {
        if !hop.trusted {
            return Self::default();
        }
        let lines = fields.get_all(&FORWARDED_FOR).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        // The last line is the nearest proxy's.
        let last = |name| fields.get_all(name).iter().next_back().cloned();
        Self {
            addresses: (!lines.is_empty()).then(|| lines.join(", ")),
            host: last(&FORWARDED_HOST),
            port: last(&FORWARDED_PORT),
            proto: last(&FORWARDED_PROTO),
        }
    }
}

/// `X-Forwarded-*` and `Via` (RFC 9110 section 7.6.3): what a trusted proxy told, then this hop.
pub fn set_forwarding_fields(
    fields: &mut HeaderMap,
    told: Told,
    sent_host: Option<&HeaderValue>,
    hop: &Hop,
    http2: bool,
) {
    let mut addresses = told.addresses.map(|list| list + ", ").unwrap_or_default();
    // Writing into a string cannot fail.
    let _ = write!(addresses, "{}", hop.peer);
    if let Ok(addresses) = HeaderValue::from_maybe_shared(Bytes::from(addresses)) {
        fields.insert(FORWARDED_FOR, addresses);
    }
    let scheme = HeaderValue::from_static(if hop.secure { "https" } else { "http" });
    fields.insert(FORWARDED_PROTO, told.proto.unwrap_or(scheme));
    if let Some(host) = told.host.or_else(|| sent_host.cloned()) {
        fields.insert(FORWARDED_HOST, host);
    }
    let port = told.port.unwrap_or_else(|| HeaderValue::from(hop.port));
    fields.insert(FORWARDED_PORT, port);
    let via = if http2 {
        HeaderValue::from_static("2.0 dcr-gateway")
    } else {
        VIA
    };
    fields.append(header::VIA, via);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:99", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:99", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(
                parse_address(text),
                address.map(|a| a.parse().unwrap()),
                "{text}"
            );
        }
    }
}
