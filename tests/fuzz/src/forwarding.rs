//! What proxies tell of the hops before them, and the trace that a request is part of.
//!
//! The input is one byte for how the connection came, and fields, one a line: a letter for the
//! name, then the value. They are what a client sent; what a trusted proxy puts behind it is added
//! here.

use std::net::{IpAddr, SocketAddr};

use dcr_gateway::proxy::{
    forwarded::{self, Element, parse_address},
    hop::{Hop, Scheme, is_forwarding},
    trace,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

/// The fields by letter.
const FIELDS: [(u8, HeaderName); 7] = [
    (b'f', header::FORWARDED),
    (b'a', HeaderName::from_static("x-forwarded-for")),
    (b'h', HeaderName::from_static("x-forwarded-host")),
    (b'o', HeaderName::from_static("x-forwarded-port")),
    (b'p', HeaderName::from_static("x-forwarded-proto")),
    (b'r', HeaderName::from_static("x-real-ip")),
    (b't', HeaderName::from_static("traceparent")),
];

/// The address that the trusted proxy saw.
const CLIENT: &str = "192.0.2.7";

pub(super) fn run(input: &[u8]) {
    let Some((choice, lines)) = input.split_first() else {
        return;
    };
    let scheme = match choice & 1 {
        0 => Scheme::Http,
        _ => Scheme::Https,
    };
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some((letter, value)) = line.split_first() else {
            continue;
        };
        let name = FIELDS.into_iter().find(|(known, _)| known == letter);
        if let (Some((_, name)), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            assert!(is_forwarding(&name) || *letter == b't');
            fields.append(name, value);
        }
    }
    strangers(&fields, scheme);
    in_front_of_a_proxy(&fields, scheme, *choice);
    elements(&fields);
    if let Some(id) = trace::id(&fields) {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(id.len() == 32 && id.bytes().all(hex) && id.bytes().any(|byte| byte != b'0'));
    }
}

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "2001:db8::/32"]
        .map(|network| network.parse().unwrap())
        .to_vec()
}

fn hop(peer: &str, scheme: Scheme, fields: &HeaderMap) -> Hop {
    let peer: IpAddr = peer.parse().unwrap();
    Hop::new(
        &trusted(),
        SocketAddr::from((peer, 1)),
        None,
        scheme,
        fields,
    )
}

/// What a stranger writes is not believed.
fn strangers(fields: &HeaderMap, scheme: Scheme) {
    let hop = hop(CLIENT, scheme, fields);
    assert!(!hop.trusted);
    assert_eq!(hop.client, hop.peer);
    assert_eq!(hop.secure, scheme == Scheme::Https);
}

/// Nor is it where a trusted proxy adds to it what it saw itself, in a line of its own or behind
/// what it was sent.
fn in_front_of_a_proxy(sent: &HeaderMap, scheme: Scheme, choice: u8) {
    let client: IpAddr = CLIENT.parse().unwrap();
    let [(_, forwarded), (_, addresses), .., (_, proto), _, _] = FIELDS;
    let add = |fields: &mut HeaderMap, name: &HeaderName, value: &str| {
        let before = fields.get_all(name).iter().map(HeaderValue::as_bytes);
        let mut lines: Vec<Vec<u8>> = before.map(<[u8]>::to_vec).collect();
        match lines.last_mut() {
            Some(last) if choice & 2 != 0 => last.extend([b", ", value.as_bytes()].concat()),
            _ => lines.push(value.into()),
        }
        fields.remove(name);
        for line in lines {
            fields.append(name, HeaderValue::from_bytes(&line).unwrap());
        }
    };

    let mut fields = sent.clone();
    add(&mut fields, &addresses, CLIENT);
    fields.insert(proto, HeaderValue::from_static("https"));
    let seen = hop("10.0.0.1", scheme, &fields);
    assert!(seen.trusted);
    assert_eq!(seen.client, client, "{fields:?}");
    assert!(seen.secure, "{fields:?}");

    // A proxy that writes this one lets none of the others through.
    let mut fields = HeaderMap::new();
    for line in sent.get_all(&forwarded) {
        fields.append(&forwarded, line.clone());
    }
    let (own, client) = match choice & 4 {
        0 => ("for=192.0.2.7;proto=https", client),
        _ => (
            "for=\"[2001:dead::7]:9\";host=\"a.test:443\";proto=https",
            "2001:dead::7".parse().unwrap(),
        ),
    };
    add(&mut fields, &forwarded, own);
    let seen = hop("10.0.0.1", scheme, &fields);
    // Behind what a client broke, the proxy's own part of the same line is lost with it.
    let lost = choice & 2 != 0 && seen.client == seen.peer;
    assert!(seen.client == client || lost, "{fields:?}: {}", seen.client);
    assert!(seen.secure || lost, "{fields:?}");
}

/// What a line of `Forwarded` says is written so that it says the same.
fn elements(fields: &HeaderMap) {
    for line in fields.get_all(header::FORWARDED) {
        for element in forwarded::parse(line.as_bytes()).unwrap_or_default() {
            let host = element.host.as_deref().map(HeaderValue::from_str);
            let host = host.and_then(Result::ok);
            // Only what can stand in a field is ever written.
            let told = host.as_ref().and_then(|host| host.to_str().ok());
            let proto = element.proto.as_deref().filter(|text| text.is_ascii());
            let written = forwarded::write(element.address, host.as_ref(), proto, None);
            let expected = Element {
                address: element.address,
                host: told.map(str::to_owned),
                proto: proto.map(str::to_owned),
            };
            let again = forwarded::parse(written.as_bytes());
            assert_eq!(again, Some(vec![expected]), "{written}");
        }
    }
    let read = fields.values().filter_map(|value| value.to_str().ok());
    for address in read.filter_map(parse_address) {
        assert_eq!(parse_address(&address.to_string()), Some(address));
    }
}
