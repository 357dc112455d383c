//! The outline of an HTTP/1 head: where it ends, how many fields it has, what follows it.
//!
//! This is no parser. Pingora's decides what the head means; where the two could differ, what is
//! read here only ever gives Pingora more of the connection to itself ([`Body::Open`]) or less,
//! and in both cases the connection ends instead of being read from a wrong place.

use memchr::{memchr, memchr_iter, memrchr};

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// HTTP/2 to the end of the connection.
    Http2,
    /// So many bytes.
    Length(u64),
    /// A body that only its reader can measure, or after an upgrade no end at all. Behind it
    /// nothing can be kept for a next request: if the client sends one too soon, the connection
    /// ends with the answer to this one.
    Open,
}

/// What the front has to know of a head.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline {
    /// Field lines, all cookie lines together as one (RFC 9113 section 8.2.3 splits them freely).
    pub fields: usize,
    /// What follows.
    pub body: Body,
    /// Whether the request line has one target between its first and last space, without
    /// white space, control characters and `#`.
    pub target_is_clean: bool,
}

/// Where the head at the start of `bytes` ends, blank line included. The first `searched` bytes
/// were looked at before, in vain.
pub fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // The blank line may have begun in the last bytes of what was searched.
    let from = searched.saturating_sub(2);
    memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| {
        let next = from + at + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

impl Outline {
    /// Reads a whole head.
    pub fn read(head: &[u8]) -> Self {
        let (request_line, mut rest) = split_line(head);
        let mut outline = Self {
            fields: 0,
            body: Body::Length(0),
            target_is_clean: target_is_clean(request_line),
        };
        let mut length = None;
        let mut has_cookie = false;
        loop {
            let (line, next) = split_line(rest);
            if line.is_empty() {
                return outline;
            }
            rest = next;
            outline.fields += 1;
            // Most names start with another letter.
            match line[0] | 0x20 {
                b'c' if is_field(line, b"cookie:") => {
                    outline.fields -= usize::from(has_cookie);
                    has_cookie = true;
                }
                b'c' if is_field(line, b"content-length:") => {
                    let value = number(&line[b"content-length:".len()..]);
                    match value {
                        // Two that differ, and any other form, are for Pingora to judge.
                        Some(value) if length.is_none_or(|length| length == value) => {
                            length = Some(value);
                            if matches!(outline.body, Body::Length(_)) {
                                outline.body = Body::Length(value);
                            }
                        }
                        _ => outline.body = Body::Open,
                    }
                }
                b't' if is_field(line, b"transfer-encoding:") => outline.body = Body::Open,
                b'u' if is_field(line, b"upgrade:") => outline.body = Body::Open,
                _ => {}
            }
        }
    }
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = memchr(b'\n', bytes) else {
        return (bytes, &[]);
    };
    let line = &bytes[..at];
    (line.strip_suffix(b"\r").unwrap_or(line), &bytes[at + 1..])
}

fn target_is_clean(line: &[u8]) -> bool {
    match (memchr(b' ', line), memrchr(b' ', line)) {
        (Some(first), Some(last)) if first + 1 < last => is_clean(&line[first + 1..last]),
        _ => false,
    }
}

/// Whether a target holds neither white space nor a control character nor `#`.
pub(in crate::proxy) fn is_clean(target: &[u8]) -> bool {
    let is_clean = |byte: &u8| !matches!(byte, 0..=b' ' | 0x7f | b'#');
    target.iter().all(is_clean)
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(name))
}

fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_ends_at_its_blank_line() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n", Some(24)),
            ("GET / HTTP/1.1\n\nx", Some(16)),
            ("GET / HTTP/1.1\r\n\nx", Some(17)),
            ("GET / HTTP/1.1\n\r\nx", Some(17)),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1\r\nA: b\r\n", None),
            ("", None),
        ] {
            assert_eq!(end(bytes.as_bytes(), 0), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_outline_says_what_follows() {
        let length = |bytes| Body::Length(bytes);
        for (lines, fields, body) in [
            ("", 0, length(0)),
            ("Host: h\r\n", 1, length(0)),
            ("content-LENGTH: 12\r\nHost: h\r\n", 2, length(12)),
            (
                "Content-Length:12\t\r\nContent-Length: 12\r\n",
                2,
                length(12),
            ),
            (
                "Content-Length: 12\r\nContent-Length: 13\r\n",
                2,
                Body::Open,
            ),
            ("Content-Length: 12, 12\r\n", 1, Body::Open),
            ("Content-Length: +12\r\n", 1, Body::Open),
            ("Content-Length:\r\n", 1, Body::Open),
            ("Content-Length: 99999999999999999999\r\n", 1, Body::Open),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                2,
                Body::Open,
            ),
            (
                "transfer-encoding: chunked\r\nContent-Length: 5\r\n",
                2,
                Body::Open,
            ),
            ("Upgrade: websocket\r\n", 1, Body::Open),
            // Refused by Pingora for the space, so it does not matter.
            ("Content-Length : 12\r\n", 1, length(0)),
            (
                "Cookie: a\r\nX: y\r\ncookie: b\r\nCookie: c\r\n",
                2,
                length(0),
            ),
        ] {
            let outline = Outline::read(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
            assert_eq!((outline.fields, outline.body), (fields, body), "{lines:?}");
        }
    }

    #[test]
    fn unclean_targets_are_seen() {
        for (line, clean) in [
            ("GET / HTTP/1.1", true),
            ("GET /a?b=%20 HTTP/1.1", true),
            ("GET /caf\u{e9} HTTP/1.1", true),
            ("OPTIONS * HTTP/1.1", true),
            ("GET /a b HTTP/1.1", false),
            ("GET /a\tb HTTP/1.1", false),
            ("GET /a\u{7f} HTTP/1.1", false),
            ("GET /a#b HTTP/1.1", false),
            ("GET  / HTTP/1.1", false),
            ("GET  HTTP/1.1", false),
            ("GET /", false),
            ("GET", false),
            ("", false),
        ] {
            assert_eq!(target_is_clean(line.as_bytes()), clean, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_search_can_be_continued(
            bytes in "[\r\nCc: a]{0,40}",
            part in 0..40_usize,
        ) {
            let bytes = bytes.as_bytes();
            Outline::read(bytes);
            let whole = end(bytes, 0);
            let part = part.min(bytes.len());
            if end(&bytes[..part], 0).is_none() {
                prop_assert_eq!(end(bytes, part), whole);
            }
        }
    }
}
