//! The field `Forwarded` (RFC 7239): one element for each hop, the nearest last.
//!
//! Always true: what is not well-formed yields nothing at all, so that no quote that a client left
//! open can swallow or split what its proxy wrote behind it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

/// Most parameters of an element. RFC 7239 names four, and each is compared with all before it, so
/// that without a bound a long line would cost the square of its length.
const PARAMETERS: usize = 16;

/// What one hop told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Who asked (`for`), where that is an address: a hop may say `unknown` or a made-up name.
    pub address: Option<IpAddr>,
    /// The Host that was asked for (`host`).
    pub host: Option<String>,
    /// How it was asked (`proto`).
    pub proto: Option<String>,
}

/// Reads one line; `None` where it is malformed. White space around `;` and what a node needs
/// without its quotes are forgiven, since proxies write both.
pub fn parse(line: &[u8]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for element in split(line, b',')? {
        let element = element.trim_ascii();
        // A list may have empty members (RFC 9110 section 5.6.1.2).
        if !element.is_empty() {
            elements.push(parse_element(element)?);
        }
    }
    Some(elements)
}

fn parse_element(text: &[u8]) -> Option<Element> {
    let mut element = Element::default();
    let mut names: Vec<String> = Vec::new();
    for pair in split(text, b';')? {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if names.len() == PARAMETERS || names.contains(&name) {
            return None;
        }
        let value = String::from_utf8(parse_value(value)?).ok();
        match name.as_str() {
            "for" => element.address = value.as_deref().and_then(parse_address),
            "host" => element.host = value,
            "proto" => element.proto = value,
            _ => {}
        }
        names.push(name);
    }
    Some(element)
}

/// A token, or a quoted string without its quotes and escapes (RFC 9110 section 5.6.4).
fn parse_value(text: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let legal = |byte: &u8| is_token(*byte) || matches!(byte, b':' | b'[' | b']');
        return (!text.is_empty() && text.iter().all(legal)).then(|| text.to_vec());
    };
    let mut value = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return bytes.next().is_none().then_some(value),
            b'\\' => value.push(*bytes.next()?),
            byte => value.push(*byte),
        }
    }
    None
}

/// The parts between separators that stand outside quoted strings; `None` where one has no end.
fn split(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == separator && !quoted => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (!quoted).then_some(parts)
}

/// An address as proxies write it: bare, in brackets, or with a port, which may be a made-up name
/// (RFC 7239 section 6).
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let text = match text.rsplit_once(':') {
        Some((node, port)) if port.starts_with('_') => node,
        _ => text,
    };
    let in_brackets = |text: &str| {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    };
    let bare = text.parse().ok();
    bare.or_else(|| in_brackets(text))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Writes an element; what is unknown is left out, but for the client, who is then `unknown`.
pub fn write(
    client: Option<IpAddr>,
    host: Option<&HeaderValue>,
    proto: Option<&str>,
    by: Option<IpAddr>,
) -> String {
    let mut text = format!("for={}", client.map_or("unknown".to_owned(), node));
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        text += ";host=";
        text += &value(host);
    }
    if let Some(proto) = proto {
        text += ";proto=";
        text += &value(proto);
    }
    if let Some(by) = by {
        text += ";by=";
        text += &node(by);
    }
    text
}

/// An address as a node: IPv6 stands in brackets, which want quotes (RFC 7239 section 6).
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

fn value(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_token) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(address: &str, host: &str, proto: &str) -> Element {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Element {
            address: address.parse().ok(),
            host: some(host),
            proto: some(proto),
        }
    }

    #[test]
    fn lines_are_read_as_the_rfc_writes_them() {
        for (line, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("for=192.0.2.43", &[element("192.0.2.43", "", "")]),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                &[element("2001:db8:cafe::17", "", "")],
            ),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                &[element("192.0.2.60", "", "http")],
            ),
            (
                "for=192.0.2.43, for=198.51.100.17",
                &[
                    element("192.0.2.43", "", ""),
                    element("198.51.100.17", "", ""),
                ],
            ),
            ("for=\"_gazonk\"", &[element("", "", "")]),
            ("for=unknown;proto=https", &[element("", "", "https")]),
            ("for=\"192.0.2.1:_port\"", &[element("192.0.2.1", "", "")]),
            ("for=192.0.2.1:99", &[element("192.0.2.1", "", "")]),
            ("for=[2001:db8::1]", &[element("2001:db8::1", "", "")]),
            (
                "for=192.0.2.1 ; host=\"a.test:8000\";;secret=_x",
                &[element("192.0.2.1", "a.test:8000", "")],
            ),
            (
                "host=\"a,b;c=\\\"d\\\\\";proto=h",
                &[element("", "a,b;c=\"d\\", "h")],
            ),
        ] {
            assert_eq!(parse(line.as_bytes()).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_is_malformed_yields_nothing() {
        for line in [
            &b"for"[..],
            b"=a",
            b"for=",
            b"for=a b",
            b"for=\"192.0.2.1",
            b"for=\"192.0.2.1\\\"",
            b"for=\"192.0.2.1\"x",
            b"for=192.0.2.1;for=192.0.2.2",
            b"for=192.0.2.1;FOR=192.0.2.2",
            b"f or=192.0.2.1",
            b"for=\xff",
            b"for=192.0.2.1, x=\"",
        ] {
            assert_eq!(parse(line), None, "{:?}", String::from_utf8_lossy(line));
        }
        let high = parse(b"for=\"\xff\";proto=https").unwrap();
        assert_eq!(high, [element("", "", "https")]);
    }

    #[test]
    fn an_element_has_so_many_parameters_and_no_more() {
        let line = |count| {
            let pairs: Vec<String> = (0..count).map(|n| format!("p{n}=v")).collect();
            format!("{};, for=192.0.2.1", pairs.join(";"))
        };
        let elements = parse(line(PARAMETERS).as_bytes()).unwrap();
        assert_eq!(elements.len(), 2);
        assert_eq!(parse(line(PARAMETERS + 1).as_bytes()), None);
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:99", Some("192.0.2.1")),
            ("192.0.2.1:_a", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:99", Some("2001:db8::1")),
            ("[2001:db8::1]:_a", Some("2001:db8::1")),
            ("[[2001:db8::1]]", None),
            ("[192.0.2.1]", None),
            ("2001:db8::1]", None),
            ("192.0.2.1:99999", None),
            ("fe80::1%eth0", None),
            ("_hidden", None),
            ("unknown", None),
            ("", None),
        ] {
            let expected = address.map(|a| a.parse().unwrap());
            assert_eq!(parse_address(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_quoted_where_it_must_be() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let host = HeaderValue::from_static("a.test:8000");
        for (text, expected) in [
            (
                write(Some(v6), Some(&host), Some("https"), Some(v4)),
                "for=\"[2001:db8::1]\";host=\"a.test:8000\";proto=https;by=192.0.2.1",
            ),
            (
                write(
                    Some(v4),
                    Some(&HeaderValue::from_static("a.test")),
                    None,
                    Some(v6),
                ),
                "for=192.0.2.1;host=a.test;by=\"[2001:db8::1]\"",
            ),
            (write(None, None, None, None), "for=unknown"),
        ] {
            assert_eq!(text, expected);
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in any::<Vec<u8>>(), odd in "[a-z=;,\"\\\\ \\[\\]:.0-9]{0,60}") {
            let _ = parse(&line);
            let _ = parse(odd.as_bytes());
        }

        #[test]
        fn what_is_written_reads_as_it_was(address in any::<IpAddr>(), host in "[ -~]{1,40}", proto in "[a-z]{1,8}") {
            let value = HeaderValue::from_str(&host).unwrap();
            let line = write(Some(address), Some(&value), Some(&proto), Some(address));
            let expected = Element { address: Some(address), host: Some(host), proto: Some(proto) };
            prop_assert_eq!(parse(line.as_bytes()), Some(vec![expected]));
        }

        /// A proxy may put its element behind whatever a client sent.
        #[test]
        fn nothing_in_front_changes_what_stands_last(
            line in prop_oneof![
                any::<Vec<u8>>(),
                "[for=;,\"\\\\ 6.]{0,30}".prop_map(String::into_bytes),
            ],
            last in any::<IpAddr>(),
        ) {
            let written = write(Some(last), None, Some("https"), None);
            let line = [&line[..], b", ", written.as_bytes()].concat();
            if let Some(elements) = parse(&line) {
                prop_assert_eq!(elements.last().unwrap().address, Some(last));
            }
        }
    }
}
