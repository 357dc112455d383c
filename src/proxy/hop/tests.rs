use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1:5000";
const HTTPS: Option<&str> = Some("https");

/// A hop from a trusted network to a plain listener on port 8000.
fn hop(lines: &[(&str, &[u8])]) -> Hop {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::try_from(*name).unwrap();
        fields.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let local = "10.0.0.9:8000".parse().ok();
    let peer = PEER.parse().unwrap();
    let networks: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    Hop::new(&networks, peer, local, Scheme::Http, &fields)
}

fn proto_of(hop: &Hop) -> Option<&str> {
    hop.told.as_ref()?.proto.as_ref()?.to_str().ok()
}

#[test]
fn the_client_is_the_nearest_address_that_is_not_trusted() {
    for (lines, client, proto) in [
        (&[][..], "10.0.0.1", None),
        (&[("x-forwarded-for", &b"192.0.2.1"[..])], "192.0.2.1", None),
        (
            &[
                ("x-forwarded-for", b"6.6.6.6, 192.0.2.1"),
                ("x-forwarded-proto", b"HTTPS"),
            ],
            "192.0.2.1",
            HTTPS,
        ),
        (
            &[
                ("x-forwarded-for", b"6.6.6.6"),
                ("x-forwarded-for", b"192.0.2.1, 10.0.0.2"),
            ],
            "192.0.2.1",
            None,
        ),
        (
            &[("x-forwarded-for", b"10.0.0.3, 10.0.0.2")],
            "10.0.0.3",
            None,
        ),
        (
            &[("x-forwarded-for", b"6.6.6.6, unknown, 10.0.0.2")],
            "10.0.0.2",
            None,
        ),
        (&[("x-forwarded-for", b"6.6.6.6, \xff")], "10.0.0.1", None),
        (
            &[("x-forwarded-for", b"::ffff:192.0.2.1")],
            "192.0.2.1",
            None,
        ),
        (
            &[("x-forwarded-for", b"[2001:db8::1]:99")],
            "2001:db8::1",
            None,
        ),
        (
            &[("x-forwarded-for", b"2001:db8::1, fd00::2")],
            "2001:db8::1",
            None,
        ),
        (&[("x-real-ip", b"192.0.2.1")], "192.0.2.1", None),
        (&[("x-real-ip", b"nonsense")], "10.0.0.1", None),
        (
            &[("x-real-ip", b"6.6.6.6"), ("x-forwarded-for", b"192.0.2.1")],
            "192.0.2.1",
            None,
        ),
        (
            &[("x-real-ip", b"192.0.2.1"), ("x-forwarded-proto", b"https")],
            "192.0.2.1",
            HTTPS,
        ),
        // A proxy that tells by X-* may pass on what a client says in the other field.
        (
            &[
                ("forwarded", b"for=6.6.6.6;proto=https"),
                ("x-real-ip", b"192.0.2.1"),
            ],
            "192.0.2.1",
            None,
        ),
        (
            &[
                ("forwarded", b"for=6.6.6.6;proto=https"),
                ("x-forwarded-proto", b"http"),
            ],
            "10.0.0.1",
            Some("http"),
        ),
        (
            &[("forwarded", b"for=192.0.2.1;proto=https")],
            "192.0.2.1",
            HTTPS,
        ),
        (
            &[(
                "forwarded",
                b"for=6.6.6.6;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http",
            )],
            "192.0.2.1",
            HTTPS,
        ),
        (
            &[("forwarded", b"for=6.6.6.6, for=_hidden;proto=https")],
            "10.0.0.1",
            HTTPS,
        ),
        (
            &[("forwarded", b"for=\"[2001:db8::1]:7\"")],
            "2001:db8::1",
            None,
        ),
        (
            &[("forwarded", b"for=6.6.6.6;x=\", for=192.0.2.1")],
            "10.0.0.1",
            None,
        ),
        (
            &[
                ("forwarded", b"for=6.6.6.6;x=\""),
                ("forwarded", b"for=192.0.2.1;proto=https"),
            ],
            "192.0.2.1",
            HTTPS,
        ),
        (
            &[
                ("forwarded", b"for=192.0.2.1"),
                ("forwarded", b"for=\"\xff"),
            ],
            "10.0.0.1",
            None,
        ),
    ] {
        let hop = hop(lines);
        assert_eq!(hop.client.to_string(), client, "{lines:?}");
        assert_eq!(proto_of(&hop), proto, "{lines:?}");
        assert_eq!(hop.secure, proto == HTTPS, "{lines:?}");
    }
}

#[test]
fn a_list_of_schemes_is_read_where_the_client_stands() {
    for (addresses, protos, proto) in [
        // Each of two proxies wrote both.
        (
            &b"192.0.2.1, 10.0.0.2"[..],
            &b"https, http"[..],
            Some("https"),
        ),
        (
            b"6.6.6.6, 192.0.2.1, 10.0.0.2",
            b"https, http, https",
            Some("http"),
        ),
        // Only the nearest is known to be a proxy's.
        (b"192.0.2.1, 10.0.0.2", b"https", Some("https")),
        (b"192.0.2.1", b"https, http", Some("http")),
        (b"192.0.2.1", b"wss", Some("wss")),
        (b"192.0.2.1", b"ht tp", None),
        (b"192.0.2.1", b"", None),
    ] {
        let hop = hop(&[
            ("x-forwarded-for", addresses),
            ("x-forwarded-proto", protos),
        ]);
        assert_eq!(proto_of(&hop), proto, "{addresses:?} {protos:?}");
        assert_eq!(hop.secure, matches!(proto, Some("https" | "wss")));
    }
}

#[test]
fn the_port_is_the_one_that_the_client_asked() {
    let (proto, host, port) = ("x-forwarded-proto", "x-forwarded-host", "x-forwarded-port");
    for (lines, expected) in [
        (&[][..], 8000),
        (
            &[(port, &b"8443"[..]), (proto, b"https"), (host, b"a:9")],
            8443,
        ),
        (&[(port, b"8443, 444")], 444),
        (&[(port, b"0"), (proto, b"https")], 443),
        (&[(port, b"+1"), (proto, b"ws")], 80),
        (&[(port, b"99999"), (proto, b"ws")], 80),
        (&[(host, b"api.test:8443"), (proto, b"https")], 8443),
        (&[(host, b"[2001:db8::1]"), (proto, b"https")], 443),
        (&[(host, b"[2001:db8::1]:8443"), (proto, b"https")], 8443),
        (&[(host, b"a b:1"), (proto, b"https")], 443),
        (&[(host, b"api.test")], 8000),
        (&[(proto, b"gopher")], 8000),
        (&[("forwarded", b"proto=https")], 443),
        (
            &[("forwarded", b"host=\"api.test:8443\";proto=https")],
            8443,
        ),
    ] {
        assert_eq!(hop(lines).port(), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_for_ends_with_this_hop_and_begins_with_no_gap() {
    for (lines, expected) in [
        (&[][..], "10.0.0.1"),
        (&[("x-forwarded-for", &b""[..])], "10.0.0.1"),
        (&[("x-real-ip", b"")], "10.0.0.1"),
        (
            &[("x-forwarded-for", b"192.0.2.1, 10.0.0.2")],
            "192.0.2.1, 10.0.0.2, 10.0.0.1",
        ),
        (&[("x-real-ip", b"192.0.2.1")], "192.0.2.1, 10.0.0.1"),
        (&[("forwarded", b"for=192.0.2.1")], "192.0.2.1, 10.0.0.1"),
    ] {
        assert_eq!(hop(lines).forwarded_for().unwrap(), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_tells_what_is_believed_and_this_hop() {
    const OWN: &str = "for=10.0.0.1;host=\"a:1\";proto=http;by=10.0.0.9";
    let host = HeaderValue::from_static("a:1");
    for (lines, before) in [
        (&[][..], ""),
        (
            &[
                ("x-forwarded-for", &b"2001:db8::1, 10.0.0.2"[..]),
                ("x-forwarded-proto", b"https"),
            ],
            "for=\"[2001:db8::1]\";proto=https, for=10.0.0.2, ",
        ),
        (
            &[
                ("x-forwarded-for", b"x, 192.0.2.1"),
                ("x-forwarded-host", b"api.test:8443"),
            ],
            "for=unknown, for=192.0.2.1;host=\"api.test:8443\", ",
        ),
        (
            &[("x-forwarded-proto", b"https")],
            "for=unknown;proto=https, ",
        ),
        (
            &[
                ("forwarded", b"for=_a;secret=\"x\""),
                ("forwarded", b"for=192.0.2.1"),
            ],
            "for=_a;secret=\"x\", for=192.0.2.1, ",
        ),
        (
            &[("forwarded", b"for=\""), ("forwarded", b"for=192.0.2.1")],
            "for=192.0.2.1, ",
        ),
        (
            &[
                ("forwarded", b"for=6.6.6.6"),
                ("x-forwarded-for", b"192.0.2.1"),
            ],
            "for=192.0.2.1, ",
        ),
    ] {
        let value = String::from_utf8(hop(lines).forwarded(Some(&host))).unwrap();
        assert_eq!(value, format!("{before}{OWN}"), "{lines:?}");
    }
}

proptest! {
    /// Whatever a client sends ahead, what its proxy put in a line of its own decides.
    #[test]
    fn no_line_of_a_client_becomes_its_address(
        line in prop_oneof![
            any::<Vec<u8>>(),
            "[for=;,\"\\\\ 6.:\\[\\]]{0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        let sent = value.as_bytes();
        let read = hop(&[("forwarded", sent), ("forwarded", b"for=192.0.2.7;proto=https")]);
        prop_assert_eq!(read.client.to_string(), "192.0.2.7");
        prop_assert!(read.secure);
        let read = hop(&[("x-forwarded-for", sent), ("x-forwarded-for", b"192.0.2.7")]);
        prop_assert_eq!(read.client.to_string(), "192.0.2.7");
        // In one line, as most proxies append: theirs or nothing.
        let joined = [sent, b", for=192.0.2.7"].concat();
        let client = hop(&[("forwarded", &joined)]).client.to_string();
        prop_assert!(client == "192.0.2.7" || client == "10.0.0.1", "{}", client);
        // And what goes to the upstream can be read by it.
        let told = hop(&[("forwarded", sent)]).forwarded(None);
        prop_assert!(forwarded::parse(&told).is_some());
    }
}

#[test]
fn addresses_are_written_as_ever() {
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "10.20.30.99",
        "100.109.110.255",
        "2001:db8::1",
        "2001:db8:1111:2222:3333:4444:5555:6666",
    ] {
        assert_eq!(*written(address.parse().unwrap()), *address);
    }
}
