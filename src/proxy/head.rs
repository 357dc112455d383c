//! What Pingora lets pass in a head and no request may be (design section 2.1).

use super::denial::{Code, Denial};
use http::{Version, header, request::Parts};

/// Checks a head; `host` is what it asks for and `limit` the most fields it may have, those of
/// cookies together as one.
///
/// # Errors
/// The [`Denial`] that answers it.
pub fn check_head(request: &Parts, host: &str, limit: usize) -> Result<(), Denial> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    if hosts.next().is_some_and(|host| host.to_str().is_err()) {
        return Err(Denial::new(Code::InvalidRequest, "not_a_host"));
    }
    if host.is_empty() && request.version >= Version::HTTP_11 {
        return Err(Denial::new(Code::InvalidRequest, "no_host"));
    }
    if !host.is_empty() && !is_host(host) {
        return Err(Denial::new(Code::InvalidRequest, "not_a_host"));
    }
    if hosts.next().is_some() {
        return Err(Denial::new(Code::InvalidRequest, "host_twice"));
    }
    let cookies = request.headers.get_all(header::COOKIE).iter().count();
    if request.headers.len() - cookies.saturating_sub(1) > limit {
        return Err(Denial::new(Code::HeaderTooLarge, "header_count"));
    }
    Ok(())
}

/// Whether a Host is a name or address with perhaps a port (RFC 9110 section 7.2), in the characters
/// that names on the network have: what is odd is refused before anything behind us reads it.
pub fn is_host(host: &str) -> bool {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", rest),
            _ => return false,
        },
        None => {
            let colon = host.bytes().position(|byte| byte == b':');
            host.split_at(colon.unwrap_or(host.len()))
        }
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let port = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    !name.is_empty() && name.bytes().all(legal) && port
}

/// The length that a request gives for its body.
pub fn declared_length(request: &Parts) -> Option<u64> {
    request
        .headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The name that a request asks for: Host, on HTTP/2 the authority that stands in its place.
pub fn host(request: &Parts) -> &str {
    let host = request
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
}
