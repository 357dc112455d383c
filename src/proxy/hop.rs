//! How a request reached the gateway, and how the upstream is told.
//!
//! Always true: what a client can write itself is believed only where its connection comes from one
//! of `trusted_proxies`. Of what such a proxy sends one dialect is believed: `X-Forwarded-*` with
//! `X-Real-IP` where it sends any of them, else `Forwarded`. What is not believed is not sent on.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, InvalidHeaderValue},
};
use ipnet::IpNet;

use super::{
    forwarded::{self, Element, parse_address},
    head::is_host,
    headers::Outgoing,
};
use crate::model::credential::ShortText;

const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The fields of the first dialect.
const DE_FACTO: [HeaderName; 5] = [
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PORT,
    FORWARDED_PROTO,
    REAL_IP,
];

/// Headers that tell of hops before us: only a trusted proxy's count.
pub fn is_forwarding(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == REAL_IP || *name == header::FORWARDED
}

/// How a connection reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over our own TLS.
    Https,
}

impl Scheme {
    /// As fields tell it.
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How a request reached the gateway.
#[derive(Debug)]
pub struct Hop {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether it is one of `trusted_proxies`.
    pub trusted: bool,
    /// The client, as trusted proxies tell.
    pub client: IpAddr,
    /// Whether the client came over https, as the listener sees it or a trusted proxy tells.
    pub secure: bool,
    /// Our end of the connection.
    local: Option<SocketAddr>,
    scheme: Scheme,
    told: Option<Box<Told>>,
}

/// What a trusted proxy told of the hops before it.
#[derive(Debug, Default)]
struct Told {
    /// Addresses as they are sent on, the nearest last.
    addresses: Vec<String>,
    /// How many of them stand behind the client's.
    depth: usize,
    host: Option<HeaderValue>,
    port: Option<u16>,
    proto: Option<HeaderValue>,
    /// Its `Forwarded`, where that is what was believed.
    forwarded: Option<Vec<u8>>,
}

impl Hop {
    /// A hop of which nothing is known yet.
    pub const fn unknown() -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            peer: nobody,
            trusted: false,
            client: nobody,
            secure: false,
            local: None,
            scheme: Scheme::Http,
            told: None,
        }
    }

    /// Reads how a request came. Nothing that the client itself can write is believed unless the
    /// connection comes from a trusted proxy.
    pub fn new(
        trusted_proxies: &[IpNet],
        peer: SocketAddr,
        local: Option<SocketAddr>,
        scheme: Scheme,
        fields: &HeaderMap,
    ) -> Self {
        let is_trusted = |ip: IpAddr| {
            let mut networks = trusted_proxies.iter();
            networks.any(|network| network.contains(&ip))
        };
        let peer = peer.ip().to_canonical();
        let mut hop = Self {
            peer,
            trusted: !trusted_proxies.is_empty() && is_trusted(peer),
            client: peer,
            secure: scheme == Scheme::Https,
            local,
            scheme,
            told: None,
        };
        if !hop.trusted {
            return hop;
        }
        let told = if DE_FACTO.iter().any(|name| fields.contains_key(name)) {
            hop.read_de_facto(fields, is_trusted)
        } else {
            hop.read_forwarded(fields, is_trusted)
        };
        if let Some(proto) = &told.proto {
            // Some proxies name the scheme of a WebSocket.
            hop.secure = proto == "https" || proto == "wss";
        }
        hop.told = Some(Box::new(told));
        hop
    }

    /// Reads `X-Forwarded-*`, and `X-Real-IP` where no address stands in them.
    fn read_de_facto(&mut self, fields: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Told {
        let mut addresses = members(fields, &FORWARDED_FOR);
        if addresses.is_empty() {
            let lines = members(fields, &REAL_IP);
            addresses.extend(lines.into_iter().next_back());
        }
        // As bytes: what a client wrote into a line must not hide what its proxy put behind it.
        let read = |text: &&[u8]| parse_address(std::str::from_utf8(text).ok()?);
        let depth = self.walk(addresses.iter().map(read), is_trusted);
        // Where proxies write a list for each address, the client's own counts; else the nearest.
        let of_client = |name: HeaderName| {
            let list = members(fields, &name);
            let at = if list.len() == addresses.len() {
                depth
            } else {
                0
            };
            let text = list.into_iter().rev().nth(at)?;
            std::str::from_utf8(text).ok()
        };
        let text = |bytes: &&[u8]| String::from_utf8_lossy(bytes).into_owned();
        Told {
            port: of_client(FORWARDED_PORT).and_then(port),
            proto: of_client(FORWARDED_PROTO).and_then(proto),
            host: of_client(FORWARDED_HOST).and_then(host),
            addresses: addresses.iter().map(text).collect(),
            depth,
            forwarded: None,
        }
    }

    /// Reads `Forwarded`. A malformed line ends what is known.
    fn read_forwarded(&mut self, fields: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Told {
        let mut elements: Vec<Element> = Vec::new();
        let mut lines: Vec<&[u8]> = Vec::new();
        for line in fields.get_all(header::FORWARDED) {
            match forwarded::parse(line.as_bytes()) {
                Some(more) => {
                    elements.extend(more);
                    lines.push(line.as_bytes());
                }
                None => {
                    elements.clear();
                    lines.clear();
                }
            }
        }
        let depth = self.walk(elements.iter().map(|element| element.address), is_trusted);
        let of_client = elements.iter().rev().nth(depth);
        let address = |element: &Element| {
            let address = element.address;
            address.map_or("unknown".to_owned(), |address| address.to_string())
        };
        Told {
            addresses: elements.iter().map(address).collect(),
            depth,
            host: of_client.and_then(|element| host(element.host.as_deref()?)),
            port: None,
            proto: of_client.and_then(|element| proto(element.proto.as_deref()?)),
            forwarded: (!elements.is_empty()).then(|| lines.join(&b", "[..])),
        }
    }

    /// Walks from the nearest address to the client's: the first that is no trusted proxy's. One
    /// that nobody can read ends what is known. Gives how many lie behind where it ended.
    fn walk(
        &mut self,
        told: impl DoubleEndedIterator<Item = Option<IpAddr>>,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> usize {
        let mut depth = 0;
        for (at, address) in told.rev().enumerate() {
            depth = at;
            let Some(address) = address else { break };
            self.client = address.to_canonical();
            if !is_trusted(self.client) {
                break;
            }
        }
        depth
    }

    /// The port that the client asked: as told, as the told Host has it, the told scheme's own, or
    /// that of our listener.
    fn port(&self) -> u16 {
        let told = self.told.as_deref();
        let of_host = || {
            let host = told?.host.as_ref()?.to_str().ok()?;
            // A colon inside brackets is an address's.
            port(host.rsplit_once(':')?.1)
        };
        let of_proto = || match told?.proto.as_ref()?.as_bytes() {
            b"http" | b"ws" => Some(80),
            b"https" | b"wss" => Some(443),
            _ => None,
        };
        told.and_then(|told| told.port)
            .or_else(of_host)
            .or_else(of_proto)
            .unwrap_or_else(|| self.local.map_or(0, |local| local.port()))
    }

    /// The value of `X-Forwarded-For`: the addresses before, where any were told, then the peer's.
    fn forwarded_for(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let told = self.told.as_deref();
        let before = told.map_or_else(String::new, |told| told.addresses.join(", "));
        let peer = written(self.peer);
        if before.is_empty() {
            return HeaderValue::from_str(&peer);
        }
        HeaderValue::try_from(before + ", " + &peer)
    }

    /// The value of `Forwarded`: what is believed of the hops before, then this one.
    fn forwarded(&self, sent_host: Option<&HeaderValue>) -> Vec<u8> {
        let mut value = Vec::new();
        if let Some(told) = &self.told {
            match &told.forwarded {
                Some(line) => value.extend_from_slice(line),
                None => value.extend_from_slice(told.translated().as_bytes()),
            }
        }
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        let local = self.local.map(|local| local.ip().to_canonical());
        let own = forwarded::write(Some(self.peer), sent_host, Some(self.scheme.name()), local);
        value.extend_from_slice(own.as_bytes());
        value
    }
}

impl Told {
    /// `X-Forwarded-*` as elements of `Forwarded` (RFC 7239 section 7.4).
    fn translated(&self) -> String {
        let client = self.addresses.len().saturating_sub(self.depth + 1);
        let proto = (self.proto.as_ref()).and_then(|proto| proto.to_str().ok());
        let element = |(at, address): (usize, &String)| {
            let address = parse_address(address);
            if at == client {
                forwarded::write(address, self.host.as_ref(), proto, None)
            } else {
                forwarded::write(address, None, None, None)
            }
        };
        let elements: Vec<String> = self.addresses.iter().enumerate().map(element).collect();
        if elements.is_empty() && (self.proto.is_some() || self.host.is_some()) {
            return forwarded::write(None, self.host.as_ref(), proto, None);
        }
        elements.join(", ")
    }
}

/// The members of a field that is a list, in all its lines.
fn members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    let lines = fields.get_all(name).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect()
}

fn port(text: &str) -> Option<u16> {
    // `parse` alone would take a sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().filter(|port| *port != 0))?
}

fn host(text: &str) -> Option<HeaderValue> {
    is_host(text).then(|| HeaderValue::from_str(text).ok())?
}

/// A scheme (RFC 3986 section 3.1) in lower case.
fn proto(text: &str) -> Option<HeaderValue> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = !text.is_empty() && text.len() <= 20 && text.chars().all(legal);
    scheme.then(|| HeaderValue::from_str(&text.to_ascii_lowercase()).ok())?
}

/// `X-Forwarded-*`, `Forwarded` and `Via` (RFC 9110 section 7.6.3): what is believed of the hops
/// before, then this one. A stranger's have been removed before.
pub fn set_forwarding_fields(
    fields: &mut HeaderMap,
    sent_host: Option<&HeaderValue>,
    outgoing: &Outgoing<'_>,
) {
    let hop = outgoing.hop;
    let told = hop.told.as_deref();
    if let Ok(addresses) = hop.forwarded_for() {
        fields.insert(FORWARDED_FOR, addresses);
    }
    let proto = told.and_then(|told| told.proto.clone());
    let proto = proto.unwrap_or(HeaderValue::from_static(hop.scheme.name()));
    fields.insert(FORWARDED_PROTO, proto);
    let host = told.and_then(|told| told.host.clone());
    if let Some(host) = host.or_else(|| sent_host.cloned()) {
        fields.insert(FORWARDED_HOST, host);
    } else {
        fields.remove(FORWARDED_HOST);
    }
    // Digits are a legal value, and from these it is made in one piece.
    if let Ok(port) = HeaderValue::from_str(itoa::Buffer::new().format(hop.port())) {
        fields.insert(FORWARDED_PORT, port);
    }
    if let Some(told) = told {
        keep_believed(fields, hop, told);
    }
    let upstream = outgoing.api.config.upstream.as_ref();
    if upstream.is_some_and(|upstream| upstream.forwarded)
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(hop.forwarded(sent_host)))
    {
        fields.insert(header::FORWARDED, value);
    }
    let via = if outgoing.http2 {
        "2.0 dcr-gateway"
    } else {
        "1.1 dcr-gateway"
    };
    fields.append(header::VIA, HeaderValue::from_static(via));
}

/// An address as it is written everywhere. Nearly all of them are four small numbers, for which the
/// formatter's paddings and precisions cost more than the field.
pub(super) fn written(address: IpAddr) -> ShortText {
    let mut text = ShortText::new();
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(address) => {
            // Writing into a text cannot fail.
            let _ = write!(text, "{address}");
        }
    }
    text
}

/// Removes of a trusted proxy's fields those that it may only have passed on: a client wrote them,
/// and the upstream would believe them.
fn keep_believed(fields: &mut HeaderMap, hop: &Hop, told: &Told) {
    let names_client = |line: &HeaderValue| {
        let address = line.to_str().ok().and_then(parse_address);
        address.is_some_and(|address| address.to_canonical() == hop.client)
    };
    if !fields.get_all(REAL_IP).iter().all(names_client) {
        fields.remove(REAL_IP);
    }
    match &told.forwarded {
        None => {
            fields.remove(header::FORWARDED);
        }
        Some(line) => {
            if let Ok(line) = HeaderValue::from_bytes(line) {
                fields.insert(header::FORWARDED, line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
