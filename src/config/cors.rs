//! `apis[].cors`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::{Origin, Url};

use super::{route, section::At, value};
use crate::proxy::cors::{Config, Origins};

/// Longest time for which a browser keeps the answer to a preflight (Firefox's; others less).
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);

const ORIGIN: &str = "an origin as browsers send it, as in https://app.example.com";

/// Reads the section; `None` where it allows nobody.
pub(crate) fn read(at: At<'_>) -> Option<Config> {
    let mut section = at.section();
    let origins_at = section.required("origins", "a list of origins, or \"*\"");
    let origins = origins_at.as_ref().and_then(origins);
    let credentials = value::switch(section.get("credentials"), false);
    if let (Some(Origins::Any), true, Some(at)) = (&origins, credentials, &origins_at) {
        at.fault(
            "\"*\" together with credentials: true would let every page on the web act as its \
             user: name the origins, or remove credentials",
        );
    }
    if let (true, Some(at)) = (credentials, &origins_at) {
        for item in at.items() {
            if item.as_text().is_some_and(is_plain) {
                item.warn("plain http: whoever is on the way can write a page of this origin, and act as its user");
            }
        }
    }
    let methods = section.get("methods").map(|at| {
        at.fill("at least one method");
        let items = at.list("a list of methods");
        items.iter().filter_map(route::method).collect()
    });
    let headers = section.get("headers").map(|at| {
        names(
            &at,
            "the name of a field; without `headers` whatever a preflight asks for is allowed",
        )
    });
    let exposed_headers = section.get("exposed_headers").map(|at| {
        for item in at.items() {
            let name = item.as_text().unwrap_or_default();
            if name.eq_ignore_ascii_case("set-cookie") {
                item.fault("no browser shows Set-Cookie to a page: remove it");
            }
        }
        names(&at, "the name of a field")
    });
    let max_age = value::duration(
        section.get("max_age"),
        DEFAULT_MAX_AGE,
        Duration::ZERO..=LONGEST,
    );
    section.end();
    Some(Config {
        origins: origins?,
        credentials,
        methods,
        headers,
        exposed_headers: exposed_headers.unwrap_or_default(),
        max_age,
    })
}

/// The names of fields in a list. `*` is a legal name, and means nothing to a browser that sends
/// credentials.
fn names(at: &At<'_>, expected: &str) -> Vec<HeaderName> {
    let read = |text: &str| {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        name.filter(|_| text != "*")
    };
    let items = at.list("a list of names of fields");
    items
        .iter()
        .filter_map(|item| item.parse(read, expected))
        .collect()
}

fn origins(at: &At<'_>) -> Option<Origins> {
    if at.is_word("*") {
        return Some(Origins::Any);
    }
    let items = at.list("a list of origins, or \"*\"");
    at.fill("at least one origin");
    if let [only] = items.as_slice()
        && only.as_text() == Some("*")
    {
        return Some(Origins::Any);
    }
    let mut origins: Vec<HeaderValue> = Vec::new();
    for item in &items {
        let Some(text) = item.text(ORIGIN) else {
            continue;
        };
        match origin(text) {
            Err(expected) => item.expected(expected),
            Ok(origin) if origins.contains(&origin) => {
                item.fault(format_args!("{text:?}: is listed twice"));
            }
            Ok(origin) => origins.push(origin),
        }
    }
    (!origins.is_empty()).then_some(Origins::Listed(origins))
}

/// A serialised origin (RFC 6454 section 6.2). Browsers' are compared byte for byte, so that one
/// spelt in another way would never match.
///
/// # Errors
/// What was expected instead.
fn origin(text: &str) -> Result<HeaderValue, String> {
    if text == "*" {
        return Err("\"*\" alone, or origins without it".to_owned());
    }
    if text.contains('*') {
        return Err(
            "one whole origin: wildcards for subdomains are not supported, since whoever holds one \
             of them would be let in; name each"
                .to_owned(),
        );
    }
    if text == "null" {
        return Err(format!(
            "{ORIGIN}; \"null\" is the origin of every sandboxed page and local file"
        ));
    }
    let (scheme, authority) = text.split_once("://").ok_or(ORIGIN)?;
    let written = match scheme {
        "http" | "https" => match Url::parse(text).map(|url| url.origin()) {
            Ok(origin @ Origin::Tuple(..)) => origin.ascii_serialization(),
            _ => return Err(ORIGIN.to_owned()),
        },
        // Pages of apps and extensions: `capacitor://localhost`, `chrome-extension://abc`.
        _ if is_scheme(scheme) && is_authority(authority) => text.to_owned(),
        _ => return Err(ORIGIN.to_owned()),
    };
    if written != text {
        return Err(format!("an origin as browsers send it, {written}"));
    }
    HeaderValue::try_from(written).map_err(|_| ORIGIN.to_owned())
}

/// Whether an origin's pages come over a network without TLS.
fn is_plain(origin: &str) -> bool {
    let url = Url::parse(origin).ok().filter(|url| url.scheme() == "http");
    url.is_some_and(|url| !value::is_loopback(&url))
}

/// A scheme whose pages have an origin; those of `file` are `null` to browsers.
fn is_scheme(text: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(legal)
        && !matches!(text, "file" | "data" | "blob" | "about")
}

fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(legal) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_that_browsers_send() {
        for text in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://app.example.com:8443",
            "https://192.0.2.1",
            "https://[2001:db8::1]:8443",
            "https://xn--bcher-kva.example",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(origin(text).unwrap(), text);
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_what_it_would_send() {
        for (text, part) in [
            ("*", "\"*\" alone"),
            ("null", "sandboxed"),
            ("https://*.example.com", "wildcards"),
            (
                "https://app.example.com/",
                "send it, https://app.example.com",
            ),
            (
                "https://app.example.com/x",
                "send it, https://app.example.com",
            ),
            (
                "https://app.example.com:443",
                "send it, https://app.example.com",
            ),
            (
                "http://app.example.com:80",
                "send it, http://app.example.com",
            ),
            (
                "https://App.Example.com",
                "send it, https://app.example.com",
            ),
            (
                "https://u:p@app.example.com",
                "send it, https://app.example.com",
            ),
            (
                "https://bücher.example",
                "send it, https://xn--bcher-kva.example",
            ),
            (
                "https://app.example.com?q",
                "send it, https://app.example.com",
            ),
            ("HTTPS://app.example.com", "an origin"),
            ("app.example.com", "an origin"),
            ("https://", "an origin"),
            ("https://a b", "an origin"),
            ("file://", "an origin"),
            ("file://host", "an origin"),
            ("capacitor://localhost/", "an origin"),
            ("capacitor://localhost:99999", "an origin"),
            ("", "an origin"),
        ] {
            let expected = origin(text).unwrap_err();
            assert!(expected.contains(part), "{text}: {expected}");
        }
    }
}
