//! What is stripped from and set on requests and answers.
//!
//! Always true: every header by which the gateway vouches for something is first removed from what
//! the client sent, on each way to an upstream, and only then set.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::PathAndQuery};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{
    api::Api,
    authenticate::{Caller, Method, Permit},
    cors::{self, Policy},
    hop::{Hop, is_forwarding, set_forwarding_fields},
    identity::IDENTITY,
    session::pairs,
    state::State,
    strategy::Strategy,
};

/// Fields that a request gets on its way, `claim_headers` apart.
const ADDED: usize = 16;

/// Identifies one request in answers, logs and towards the upstream.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_NAME);
/// As Pingora keeps names with their case: it copies any other kind.
const REQUEST_ID_NAME: &str = "x-request-id";
/// Fields by which frameworks let a client name another method than the one it used.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

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
        owned.names.extend_from_slice(&IDENTITY);
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

/// What goes upstream beside the permit.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The API.
    pub api: &'a Api,
    /// The target's own name and port, for a client of HTTP/1.0 that asked for none; empty where
    /// that is not known.
    pub target: &'a str,
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

/// Whether a request has none of the fields that are for one connection alone (RFC 9110 section 7.6.1):
/// those for which Pingora 0.9.1 looks on the way to an upstream, one after the other, and removes them.
pub fn lacks_hop_by_hop(fields: &HeaderMap) -> bool {
    let is_of_hop = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "connection"
                | "http2-settings"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
    };
    !fields.keys().any(is_of_hop)
}

/// Turns a client's request into the one that the upstream gets. Taking a [`Permit`] means that
/// nothing is forwarded without one.
pub fn to_upstream(
    request: &mut RequestHeader,
    permit: &Permit,
    state: &State,
    outgoing: &Outgoing<'_>,
) {
    let (blank, ()) = http::Request::new(()).into_parts();
    let blank = RequestHeader::from(blank);
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
    let is_named = |host: &HeaderValue| !host.is_empty();
    let line = fields.get(header::HOST).cloned().filter(is_named);
    let has_line = line.is_some();
    let sent_host = line.or_else(|| HeaderValue::from_str(outgoing.host).ok().filter(is_named));
    if fields.contains_key(header::COOKIE) {
        match other_cookies(fields, &state.owned) {
            Some(others) => fields.insert(header::COOKIE, others),
            None => fields.remove(header::COOKIE),
        };
    }
    let keeps_authorization = api.config.forward_authorization;
    let is_preflight = permit.is_of_preflight(api);
    if !keeps_authorization {
        fields.remove(header::AUTHORIZATION);
    }
    let is_removed = |name: &&HeaderName| {
        (is_preflight && overrides_method(name))
            || **name == header::PROXY_AUTHORIZATION
            || (is_forwarding(name) && !outgoing.hop.trusted)
            || state.owned.has(name)
    };
    let removed: Vec<HeaderName> = fields.keys().filter(is_removed).cloned().collect();
    for name in removed {
        fields.remove(name);
    }
    set_forwarding_fields(fields, sent_host.as_ref(), outgoing);
    let configured = api.config.upstream.as_ref();
    let host = configured.and_then(|upstream| upstream.host.clone());
    let target = || HeaderValue::from_str(outgoing.target).ok();
    // RFC 9112 section 3.2: a request of HTTP/1.1 has one, and servers refuse it without.
    let host = host.or_else(|| {
        if has_line {
            None
        } else {
            sent_host.or_else(target)
        }
    });
    if let Some(host) = host.filter(is_named) {
        fields.insert(header::HOST, host);
    }
    if let Some(caller) = permit.caller() {
        for (name, value) in caller.identity() {
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

/// Whether frameworks take the value of a field for the method of its request: nobody's OPTIONS
/// must not become somebody's POST.
fn overrides_method(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    METHOD_OVERRIDES.contains(&name.as_str())
}

/// The cookies that are not ours, joined into one line (RFC 9113 section 8.2.3).
fn other_cookies(sent: &HeaderMap, owned: &Owned) -> Option<HeaderValue> {
    let mut lines = sent.get_all(header::COOKIE).iter();
    let (only, more) = (lines.next()?, lines.next());
    let is_ours = |pair: &[u8]| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = pair[..end].trim_ascii();
        owned.cookies.iter().any(|ours| ours.as_bytes() == name)
    };
    if more.is_none() && !pairs(only.as_bytes()).any(is_ours) {
        return Some(only.clone());
    }
    let mut joined: Vec<u8> = Vec::new();
    for line in sent.get_all(header::COOKIE) {
        for pair in pairs(line.as_bytes()) {
            let pair = pair.trim_ascii();
            if pair.is_empty() || is_ours(pair) {
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
    response.insert_header(REQUEST_ID_NAME, request_id.clone())
}

/// Says whose pages may read an answer, in place of what the upstream says of it.
///
/// # Errors
/// Only where a value that is legal by its making were not.
pub fn set_cors(
    response: &mut ResponseHeader,
    cors: &Policy,
    request: &HeaderMap,
) -> pingora::Result<()> {
    let names = response.headers.keys();
    let theirs: Vec<HeaderName> = names
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in theirs {
        response.remove_header(&name);
    }
    for (name, value) in cors.fields(request) {
        response.insert_header(name, value)?;
    }
    if cors.varies() && !varies_by_origin(&response.headers) {
        response.append_header(header::VARY, cors::VARY)?;
    }
    Ok(())
}

fn varies_by_origin(response: &HeaderMap) -> bool {
    let lines = response.get_all(header::VARY).iter();
    let mut names = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    names.any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
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
}
