//! What is stripped from and set on requests and answers.
//!
//! Always true: every header by which the gateway vouches for something is first removed from what
//! the client sent, on each way to an upstream, and only then set. The map of fields is built once,
//! in one pass.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::PathAndQuery};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{
    api::Api,
    authenticate::{Caller, Method, Permit},
    session::cookies,
    state::State,
    strategy::Strategy,
};
use crate::model::{application::Application, claims::Facts};

/// Headers that the gateway alone sets; `claim_headers` come on top.
pub const IDENTITY: [HeaderName; 7] = [
    HeaderName::from_static("x-application-id"),
    HeaderName::from_static("x-application-name"),
    HeaderName::from_static("x-auth-method"),
    HeaderName::from_static("x-auth-strategy"),
    HeaderName::from_static("x-authenticated-scope"),
    HeaderName::from_static("x-credential-identifier"),
    HeaderName::from_static("x-developer-id"),
];

/// Fields that a request gets on its way, `claim_headers` apart.
const ADDED: usize = 16;

/// Identifies one request in answers, logs and towards the upstream.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const VIA: HeaderValue = HeaderValue::from_static("1.1 dcr-gateway");

/// What a header value cannot carry as it stands. `%` is encoded too, so that decoding gives the
/// original back.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

/// Headers that tell the upstream who calls, for one credential and one state of its application.
#[derive(Debug)]
pub struct Identity {
    application: Option<Arc<Application>>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Identity {
    /// Makes the headers.
    pub fn new(
        strategy: &Strategy,
        method: Method,
        facts: &Facts,
        application: Option<&Arc<Application>>,
    ) -> Self {
        let [
            id,
            name,
            auth_method,
            auth_strategy,
            scope,
            credential,
            developer,
        ] = IDENTITY;
        let mut fields = Vec::with_capacity(7 + facts.header_claims.len());
        let mut set = |name, text: &str| fields.extend(value(text).map(|value| (name, value)));
        if let Some(application) = application {
            set(id, &application.id.to_string());
            set(name, &application.name);
            set(developer, &application.developer);
        }
        set(credential, facts.client_id.as_str());
        set(auth_strategy, &strategy.config.name);
        set(auth_method, method.name());
        set(scope, facts.scopes.as_str());
        for ((name, _), claim) in strategy
            .config
            .claim_headers
            .iter()
            .zip(&facts.header_claims)
        {
            if let Some(claim) = claim {
                set(name.clone(), claim);
            }
        }
        Self {
            application: application.cloned(),
            fields,
        }
    }

    /// Whether these were made for this very state of the application.
    pub fn is_of(&self, application: Option<&Arc<Application>>) -> bool {
        match (&self.application, application) {
            (Some(mine), Some(now)) => Arc::ptr_eq(mine, now),
            (None, None) => true,
            _ => false,
        }
    }
}

/// A text as a header value, percent-encoded where a value could not carry it: what is not plain
/// ASCII, `%`, and a space at either end, which a reader would cut off.
fn value(text: &str) -> Option<HeaderValue> {
    let inner = text.trim_matches(' ');
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - before - inner.len();
    let mut encoded = String::with_capacity(text.len());
    encoded.extend(std::iter::repeat_n("%20", before));
    encoded.extend(utf8_percent_encode(inner, VALUE));
    if !inner.is_empty() {
        encoded.extend(std::iter::repeat_n("%20", after));
    }
    HeaderValue::from_maybe_shared(Bytes::from(encoded)).ok()
}

/// The headers that a client can never send on, for one configuration.
#[derive(Debug, Default)]
pub struct Owned {
    /// Few, and mostly of other lengths than what clients send: comparing beats hashing.
    names: Vec<HeaderName>,
    cookies: Vec<String>,
}

impl Owned {
    /// Collects them from all strategies: what one vouches for nobody may send to another's API.
    pub fn new<'a>(strategies: impl Iterator<Item = &'a Arc<Strategy>>) -> Self {
        let mut owned = Self::default();
        owned.names.extend(IDENTITY);
        owned.names.push(REQUEST_ID);
        for strategy in strategies {
            owned.names.extend(
                strategy
                    .config
                    .claim_headers
                    .iter()
                    .map(|(name, _)| name.clone()),
            );
            if strategy.config.session {
                owned
                    .cookies
                    .extend(strategy.cookies.names().map(str::to_owned));
            }
        }
        owned
    }

    /// Whether a field, in any spelling that an upstream may take for one of ours, is ours.
    fn has(&self, name: &HeaderName) -> bool {
        if self.names.contains(name) {
            return true;
        }
        if !name.as_str().contains('_') {
            return false;
        }
        let dashed = HeaderName::try_from(name.as_str().replace('_', "-"));
        dashed.is_ok_and(|dashed| {
            self.names.contains(&dashed)
                || is_forwarding(&dashed)
                || dashed == header::AUTHORIZATION
                || dashed == header::COOKIE
        })
    }
}

/// Headers that tell of hops before us: only a trusted proxy's count.
fn is_forwarding(name: &HeaderName) -> bool {
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
    /// Reads how a request came. Nothing that the client itself can write is believed unless the
    /// connection comes from a trusted proxy.
    pub fn new(
        state: &State,
        peer: SocketAddr,
        local: Option<&SocketAddr>,
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
            secure: false,
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
        hop.secure = proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
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

/// What goes upstream beside the permit.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The API.
    pub api: &'a Api,
    /// Host as the client sent it.
    pub host: &'a str,
    /// How the request came.
    pub hop: &'a Hop,
    /// Its id.
    pub request_id: &'a HeaderValue,
    /// Bytes of the path that the route's prefix stands for.
    pub prefix_length: usize,
    /// Whether the client used HTTP/2.
    pub http2: bool,
}

/// Turns a client's request into the one that the upstream gets. Taking a [`Permit`] means that
/// nothing is forwarded without one.
pub fn to_upstream(
    request: &mut RequestHeader,
    permit: &Permit,
    state: &State,
    outgoing: &Outgoing<'_>,
) {
    let Ok(blank) = RequestHeader::build(http::Method::GET, b"/", Some(0)) else {
        return;
    };
    let mut parts: http::request::Parts = std::mem::replace(request, blank).into();
    set_upstream_fields(&mut parts.headers, permit, state, outgoing);
    parts.uri = upstream_uri(&parts.uri, outgoing);
    *request = RequestHeader::from(parts);
}

/// Origin-form (RFC 9112 section 3.2.1), without the prefix where the API says so.
fn upstream_uri(uri: &Uri, outgoing: &Outgoing<'_>) -> Uri {
    let sent = uri.path_and_query();
    let origin = |path: PathAndQuery| {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    };
    let kept = || sent.cloned().and_then(origin).unwrap_or_default();
    if !outgoing.api.config.strip_prefix || outgoing.prefix_length == 0 {
        return kept();
    }
    let sent = sent.map_or("/", PathAndQuery::as_str);
    let rest = sent.get(outgoing.prefix_length..).unwrap_or("");
    let stripped = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    stripped.parse().ok().and_then(origin).unwrap_or_else(kept)
}

/// Changes the client's fields in place: most of them stay, and a field that stays costs nothing.
fn set_upstream_fields(
    fields: &mut HeaderMap,
    permit: &Permit,
    state: &State,
    outgoing: &Outgoing<'_>,
) {
    let api = outgoing.api;
    fields.reserve(ADDED);
    let sent_host = fields.get(header::HOST).cloned();
    let sent_host = sent_host.or_else(|| HeaderValue::from_str(outgoing.host).ok());
    let told = Told::take(fields, outgoing.hop);
    if fields.contains_key(header::COOKIE) {
        match other_cookies(fields, &state.owned) {
            Some(others) => fields.insert(header::COOKIE, others),
            None => fields.remove(header::COOKIE),
        };
    }
    let keeps_authorization = api.config.forward_authorization;
    let is_removed = |name: &&HeaderName| {
        (**name == header::AUTHORIZATION && !keeps_authorization)
            || **name == header::PROXY_AUTHORIZATION
            || (is_forwarding(name) && !outgoing.hop.trusted)
            || state.owned.has(name)
    };
    let removed: Vec<HeaderName> = fields.keys().filter(is_removed).cloned().collect();
    for name in removed {
        fields.remove(name);
    }
    set_forwarding_fields(fields, told, sent_host.as_ref(), outgoing);
    if let Some(host) = api.config.upstream.host.clone().or(sent_host) {
        fields.insert(header::HOST, host);
    }
    if let Some(caller) = permit.caller() {
        for (name, value) in &caller.identity.fields {
            fields.insert(name, value.clone());
        }
        if api.config.forward_access_token
            && let Some(token) = &caller.verified.token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        {
            value.set_sensitive(true);
            fields.insert(header::AUTHORIZATION, value);
        }
    }
    fields.insert(REQUEST_ID, outgoing.request_id.clone());
}

/// What a trusted proxy told of the hops before it.
#[derive(Debug, Default)]
struct Told {
    addresses: Option<String>,
    host: Option<HeaderValue>,
    port: Option<HeaderValue>,
    proto: Option<HeaderValue>,
}

impl Told {
    /// Takes it out of the fields; nothing where the client is not a trusted proxy.
    fn take(fields: &mut HeaderMap, hop: &Hop) -> Self {
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
fn set_forwarding_fields(
    fields: &mut HeaderMap,
    told: Told,
    sent_host: Option<&HeaderValue>,
    outgoing: &Outgoing<'_>,
) {
    let hop = outgoing.hop;
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
    let via = if outgoing.http2 {
        HeaderValue::from_static("2.0 dcr-gateway")
    } else {
        VIA
    };
    fields.append(header::VIA, via);
}

/// The cookies that are not ours, joined into one line (RFC 9113 section 8.2.3).
fn other_cookies(sent: &HeaderMap, owned: &Owned) -> Option<HeaderValue> {
    let mut lines = sent.get_all(header::COOKIE).iter();
    let (only, more) = (lines.next()?, lines.next());
    let is_ours = |name: &str| owned.cookies.iter().any(|ours| ours == name);
    if more.is_none() && !cookies(sent).any(|(name, _)| is_ours(name)) {
        return Some(only.clone());
    }
    let mut joined: Vec<u8> = Vec::new();
    for line in sent.get_all(header::COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            let name = pair
                .split(|byte| *byte == b'=')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            if pair.is_empty() || std::str::from_utf8(name).is_ok_and(is_ours) {
                continue;
            }
            if !joined.is_empty() {
                joined.extend_from_slice(b"; ");
            }
            joined.extend_from_slice(pair);
        }
    }
    (!joined.is_empty())
        .then(|| HeaderValue::from_maybe_shared(Bytes::from(joined)).ok())
        .flatten()
}

/// Turns an upstream's answer into the one that the client gets: without cookies in our name, with
/// the session cookie where one is due, and kept out of shared caches where it must be.
///
/// # Errors
/// Only where a value that is legal by its making were not.
pub fn to_client(
    response: &mut ResponseHeader,
    caller: Option<&Caller>,
    owned: &Owned,
    cookie: Option<HeaderValue>,
    request_id: &HeaderValue,
) -> pingora::Result<()> {
    remove_hop_by_hop(response);
    let is_ours = |line: &HeaderValue| {
        let line = line.as_bytes().trim_ascii_start();
        // A browser sends a cookie without a name back as its value, which may begin with ours.
        let line = line.strip_prefix(b"=").unwrap_or(line);
        let name = line.split(|byte| matches!(byte, b'=' | b';')).next();
        let name = name.unwrap_or_default().trim_ascii();
        owned.cookies.iter().any(|ours| ours.as_bytes() == name)
    };
    if response
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .any(is_ours)
    {
        let lines = response.headers.get_all(header::SET_COOKIE).iter();
        let others: Vec<HeaderValue> = lines.filter(|line| !is_ours(line)).cloned().collect();
        response.remove_header(&header::SET_COOKIE);
        for line in others {
            response.append_header(header::SET_COOKIE, line)?;
        }
    }
    let by_cookie = caller.is_some_and(|caller| caller.method == Method::Session);
    if let Some(cookie) = cookie {
        let lines = response.headers.get_all(header::CACHE_CONTROL).iter();
        let private = private(lines.filter_map(|line| line.to_str().ok()));
        response.insert_header(header::CACHE_CONTROL, private)?;
        response.append_header(header::SET_COOKIE, cookie)?;
    } else if by_cookie && !response.headers.contains_key(header::CACHE_CONTROL) {
        response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("private"))?;
    }
    response.insert_header(REQUEST_ID, request_id.clone())
}

/// Removes what an upstream meant for this hop alone (RFC 9110 section 7.6.1). Framing and upgrades
/// are Pingora's to keep.
fn remove_hop_by_hop(response: &mut ResponseHeader) {
    let known = [KEEP_ALIVE, header::PROXY_AUTHENTICATE, PROXY_CONNECTION];
    let is_of_hop = |name: &HeaderName| *name == header::CONNECTION || known.contains(name);
    // Most answers have none, and one look at the names is cheaper than a search for each.
    if !response.headers.keys().any(is_of_hop) {
        return;
    }
    let kept = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let lines = response.headers.get_all(header::CONNECTION).iter();
    let listed = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let mut names: Vec<HeaderName> = listed
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| !kept.contains(name))
        .collect();
    names.extend(known);
    for name in names {
        response.remove_header(&name);
    }
}

/// Cache-Control without what lets shared caches keep an answer (RFC 9111 section 5.2.2).
fn private<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut kept = vec!["private"];
    kept.extend(
        lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|directive| {
                let name = directive.split('=').next().unwrap_or_default().trim();
                !name.is_empty()
                    && !["public", "private", "s-maxage"]
                        .iter()
                        .any(|n| n.eq_ignore_ascii_case(name))
            }),
    );
    kept.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_any_text_and_decode_to_it() {
        for (text, expected) in [
            ("Trip Planner", "Trip Planner"),
            ("Zoë", "Zo%C3%AB"),
            ("100% sure", "100%25 sure"),
            ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
            (" padded ", "%20padded%20"),
            ("  ", "%20%20"),
            ("", ""),
        ] {
            assert_eq!(value(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn shared_caches_lose_what_they_were_allowed() {
        for (lines, expected) in [
            (&[][..], "private"),
            (&["public, max-age=60", "S-MaxAge=5"], "private, max-age=60"),
            (&["private"], "private"),
            (&["no-store"], "private, no-store"),
        ] {
            assert_eq!(private(lines.iter().copied()), expected);
        }
    }

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
