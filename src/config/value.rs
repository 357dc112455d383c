//! The texts that mean more than text: durations, sizes, URLs, names of hosts and headers.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use bytesize::ByteSize;
use http::HeaderName;
use url::{Host, Url};

use super::{
    schema::{self, Asked},
    section::{At, Section},
};
use crate::model::claims::ClaimPath;

/// A duration with its unit, `10s` or `1h 30m`, within a range.
pub(crate) fn duration(
    at: Option<At<'_>>,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Duration {
    let Some(at) = at else { return default };
    let (least, most) = (*range.start(), *range.end());
    at.ask(|| Asked::Duration {
        least,
        most,
        default,
    });
    let expected = format!(
        "a duration from {} to {}, with its unit, as in 10s",
        humantime::format_duration(least),
        humantime::format_duration(most),
    );
    let read = |text: &str| {
        humantime::parse_duration(text)
            .ok()
            .filter(|d| range.contains(d))
    };
    at.parse(read, &expected).unwrap_or(default)
}

/// A whole number within a range.
pub(crate) fn number(at: Option<At<'_>>, default: u64, range: RangeInclusive<u64>) -> u64 {
    let Some(at) = at else { return default };
    let (least, most) = (*range.start(), *range.end());
    at.ask(|| Asked::Number {
        least,
        most,
        default,
    });
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let read = |text: &str| whole(text).filter(|n| range.contains(n));
    at.parse(read, &expected).unwrap_or(default)
}

/// A size in bytes, with or without a unit (`32KiB`), within a range.
pub(crate) fn size(at: Option<At<'_>>, default: u64, range: RangeInclusive<u64>) -> u64 {
    let Some(at) = at else { return default };
    let (least, most) = (*range.start(), *range.end());
    at.ask(|| Asked::Size { least, most });
    at.ask(|| Asked::Default(schema::size(default)));
    let expected = format!(
        "a size from {} to {}, as in 32KiB",
        ByteSize(*range.start()).display().iec(),
        ByteSize(*range.end()).display().iec(),
    );
    let read = |text: &str| {
        let size = text.parse::<ByteSize>().ok()?.as_u64();
        range.contains(&size).then_some(size)
    };
    at.parse(read, &expected).unwrap_or(default)
}

/// Yes or no, in the words of both YAML versions.
pub(crate) fn switch(at: Option<At<'_>>, default: bool) -> bool {
    let Some(at) = at else { return default };
    at.ask(|| Asked::Switch { default });
    at.parse(boolean, "true or false").unwrap_or(default)
}

/// One of a closed set of words.
pub(crate) fn choice<T: Copy + PartialEq>(
    at: Option<At<'_>>,
    default: T,
    words: &[(&str, T)],
) -> T {
    let Some(at) = at else { return default };
    if let Some((word, _)) = words.iter().find(|(_, value)| *value == default) {
        at.ask(|| Asked::Default((*word).to_owned()));
    }
    at.choose(words).unwrap_or(default)
}

/// Whether a value says yes. No fault where it is no boolean.
pub(crate) fn is_on(at: &At<'_>) -> bool {
    at.as_text().and_then(boolean).unwrap_or(false)
}

/// A list of texts, none of them empty; absent is an empty list.
pub(crate) fn texts(at: Option<At<'_>>, expected: &str) -> Vec<String> {
    let Some(at) = at else { return Vec::new() };
    let read = |item: At<'_>| item.parse(plain_text, expected);
    at.list(&format!("a list, each {expected}"))
        .into_iter()
        .filter_map(read)
        .collect()
}

/// A name that others refer to. It goes into headers, logs, metrics and cookies as it stands.
pub(crate) fn name(text: &str) -> Option<&str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!text.is_empty() && text.len() <= 100 && text.chars().all(legal)).then_some(text)
}

/// A section's own `name`, which must be there.
pub(crate) fn own_name(section: &mut Section<'_>) -> Option<Arc<str>> {
    let at = section.required("name", NAME)?;
    at.ask(|| Asked::Characters("^[A-Za-z0-9_.-]{1,100}$"));
    at.parse(|text| name(text).map(Arc::from), NAME)
}

/// What [`name`] accepts.
const NAME: &str = "a name of 1 to 100 letters, digits, \"-\", \"_\", \".\"";

/// Text that is not empty, holds no control character and neither begins nor ends with a blank.
pub(crate) fn plain_text(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned())
}

/// A path into a token's claims, `[user, id]`.
pub(crate) fn claim_path(at: &At<'_>) -> Option<ClaimPath> {
    const EXPECTED: &str = "the names that lead to the claim, as in [sub]";
    at.ask(|| Asked::Filled);
    let items = at.list(EXPECTED);
    let names: Option<Vec<String>> = items
        .iter()
        .map(|item| item.parse(plain_text, "the name of a claim"))
        .collect();
    let path = ClaimPath::new(names?);
    // Something that is no list at all was reported as that.
    if path.is_none() && at.is_empty_list() {
        at.expected(EXPECTED);
    }
    path
}

/// A host name or bracketed IPv6 address in lower case, without port and final dot.
pub(crate) fn host(text: &str) -> Option<String> {
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: std::net::Ipv6Addr = address.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let labels = host
        .split('.')
        .all(|label| !label.is_empty() && label.len() <= 63 && label.chars().all(legal));
    (labels && host.len() <= 253).then_some(host)
}

/// `host:port`, the host an IP address, `[IPv6]` or a name.
pub(crate) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let port = u16::try_from(whole(port)?).ok().filter(|port| *port != 0)?;
    let host = host(name)?;
    Some((
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port,
    ))
}

/// Who may be called in plain http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Any host: `insecure_http: true`.
    Anyone,
    /// This machine only.
    Loopback,
}

/// Why a text is not the URL of an identity provider.
pub(crate) fn url(text: &str, plain: Plain) -> Result<Url, &'static str> {
    const ABSOLUTE: &str = "an absolute https URL";
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ABSOLUTE);
    }
    let url = Url::parse(text).map_err(|_| ABSOLUTE)?;
    // The parser forgives `https:host`, which no `iss` could equal.
    if !url.has_host() || !text.contains("://") {
        return Err(ABSOLUTE);
    }
    match url.scheme() {
        "https" => {}
        "http" if plain == Plain::Anyone || is_loopback(&url) => {}
        "http" => {
            return Err("https (http is for a loopback host, or with `insecure_http: true`)");
        }
        _ => return Err(ABSOLUTE),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without user and password");
    }
    if url.fragment().is_some() {
        return Err("a URL without \"#\"");
    }
    Ok(url)
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// A header that a strategy may set from a claim.
///
/// # Errors
/// What was expected instead.
pub(crate) fn claim_header(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "the name of a header")?;
    // Upstreams that follow CGI read "_" and "-" as one.
    let compared = name.as_str().replace('_', "-");
    match compared.as_str() {
        "host" | "authorization" | "cookie" | "set-cookie" => {
            Err("a header that carries no credential and no host")
        }
        "content-length" | "transfer-encoding" | "connection" | "upgrade" | "te" | "trailer"
        | "keep-alive" => Err("a header that does not frame the message"),
        "x-real-ip" | "forwarded" | "via" => Err("a header that does not tell of forwarding"),
        "x-application-id"
        | "x-application-name"
        | "x-developer-id"
        | "x-credential-identifier"
        | "x-auth-strategy"
        | "x-auth-method"
        | "x-authenticated-scope"
        | "x-request-id" => Err("a header that the gateway does not set itself"),
        other if other.starts_with("proxy-") => Err("a header that does not frame the message"),
        other if other.starts_with("x-forwarded-") => {
            Err("a header that does not tell of forwarding")
        }
        _ => Ok(name),
    }
}

/// A number in plain digits.
fn whole(text: &str) -> Option<u64> {
    // `parse` alone would take a sign too.
    text.chars()
        .all(|c| c.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}
