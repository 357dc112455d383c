//! `apis[].upstream`.

use std::{ops::RangeInclusive, time::Duration};

use http::{HeaderValue, uri::PathAndQuery};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{schema::Asked, secret, section::At, value};
use crate::proxy::upstream::config::{
    Config, HealthCheckConfig, PassiveHealth, Protocol, TargetConfig, Timeouts, TlsConfig,
};

const TENTH: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Shorter time-outs would cut off healthy peers.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);

/// A bundle of certificates is not larger.
const MOST_CA_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the section.
pub(crate) fn read(at: At<'_>) -> Option<Config> {
    let mut section = at.section();
    let mut targets = Vec::new();
    if let Some(at) = section.required("targets", "at least one target") {
        targets.extend(at.list("a list of targets").into_iter().filter_map(target));
        at.fill("at least one target");
    }
    let host = section.get("host").and_then(host);
    let forwarded = value::switch(section.get("forwarded"), false);
    // `tls:` with nothing behind it must never mean plain http.
    let tls = section.present("tls").map(tls);
    let protocol_at = section.get("protocol");
    let protocol = protocol(protocol_at.as_ref());
    match (protocol, &tls, protocol_at) {
        (Protocol::H2, None, Some(at)) => {
            at.fault("h2 is agreed on in TLS: say tls too (tls: {} is enough), or h2c");
        }
        (Protocol::H2c, Some(_), Some(at)) => {
            at.fault("h2c is HTTP/2 without TLS: remove tls, or say h2");
        }
        _ => {}
    }
    let health_check = section.get("health_check").and_then(health_check);
    let passive_health = passive_health(section.get("passive_health"));
    let default = Config::new(targets);
    let connections = count(
        section.get("connections"),
        default.connections,
        1..=1_000_000,
    );
    let retries = count(
        section.get("retries"),
        default.retries,
        0..=Config::MOST_RETRIES,
    );
    let resolve_interval = value::duration(
        section.get("resolve_interval"),
        default.resolve_interval,
        TENTH..=HOUR,
    );
    let timeouts = timeouts(section.get("timeouts"));
    section.end();
    Some(Config {
        host,
        forwarded,
        tls,
        protocol,
        health_check,
        passive_health,
        connections,
        retries,
        resolve_interval,
        timeouts,
        ..default
    })
}

fn count(at: Option<At<'_>>, default: usize, range: RangeInclusive<usize>) -> usize {
    let range = *range.start() as u64..=*range.end() as u64;
    let number = value::number(at, default as u64, range);
    usize::try_from(number).unwrap_or(default)
}

fn target(at: At<'_>) -> Option<TargetConfig> {
    const EXPECTED: &str = "an address with port, as in 10.0.0.5:9000";
    let mut section = at.section();
    let address = section.required("address", EXPECTED);
    let address = address.and_then(|at| at.parse(value::host_and_port, EXPECTED));
    let weight = value::number(section.get("weight"), 1, 1..=1000);
    section.end();
    let (host, port) = address?;
    Some(TargetConfig {
        host,
        port,
        weight: u16::try_from(weight).unwrap_or(1),
    })
}

/// The host that upstreams see; `None` is the client's.
fn host(at: At<'_>) -> Option<HeaderValue> {
    const EXPECTED: &str = "preserve, or the host to send, as in flights.internal";
    at.ask(|| Asked::Default("preserve".to_owned()));
    at.ask(|| Asked::Text(EXPECTED.to_owned()));
    if at.is_word("preserve") {
        return None;
    }
    let read = |text: &str| {
        let authority = match value::host_and_port(text) {
            Some(_) => text.to_owned(),
            None => value::host(text)?,
        };
        HeaderValue::try_from(authority).ok()
    };
    at.parse(read, EXPECTED)
}

fn tls(at: At<'_>) -> TlsConfig {
    let mut section = at.section();
    let sni = section.get("sni").and_then(|at| {
        let read = |text: &str| {
            let name = value::host(text).or_else(|| {
                let address: std::net::Ipv6Addr = text.parse().ok()?;
                Some(address.to_string())
            })?;
            Some(name.trim_matches(['[', ']']).to_owned())
        };
        at.parse(read, "the name in the certificate, as in flights.internal")
    });
    let authorities = section.get("ca_file").and_then(|at| authorities(&at));
    section.end();
    TlsConfig { sni, authorities }
}

/// The certificates of a file of authorities.
fn authorities(at: &At<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let path = at.report().resolve(at.text("the path of a file")?);
    at.report().note_file(&path);
    let pem = secret::contents(at, &path, MOST_CA_BYTES)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.unwrap_or_default();
    // Read by both who will read them: rustls to verify, Pingora to hand them to rustls.
    let usable = |der: &CertificateDer<'static>| {
        RootCertStore::empty().add(der.clone()).is_ok()
            && pingora::utils::tls::get_organization_serial_bytes(der).is_ok()
    };
    if found.is_empty() || !found.iter().all(usable) {
        at.expected("a file of PEM certificates");
        return None;
    }
    Some(found)
}

fn protocol(at: Option<&At<'_>>) -> Protocol {
    let words = [
        ("http1", Protocol::Http1),
        ("h2", Protocol::H2),
        ("h2c", Protocol::H2c),
    ];
    value::choice(at.cloned(), Protocol::default(), &words)
}

fn health_check(at: At<'_>) -> Option<HealthCheckConfig> {
    const EXPECTED: &str = "the path to ask for, as in /healthz";
    let mut section = at.section();
    let path = section.required("path", EXPECTED).and_then(|at| {
        let read = |text: &str| {
            let path: Option<PathAndQuery> = text.parse().ok();
            path.filter(|path| text.starts_with('/') && path.as_str() == text)
        };
        at.parse(read, EXPECTED)
    });
    let interval = value::duration(
        section.get("interval"),
        Duration::from_secs(5),
        TENTH..=HOUR,
    );
    section.end();
    Some(HealthCheckConfig {
        path: path?,
        interval,
    })
}

fn passive_health(at: Option<At<'_>>) -> PassiveHealth {
    let mut passive = PassiveHealth::default();
    let Some(at) = at else { return passive };
    let mut section = at.section();
    let failures = value::number(
        section.get("failures"),
        u64::from(passive.failures),
        0..=1_000,
    );
    passive.failures = u32::try_from(failures).unwrap_or(passive.failures);
    passive.eject = value::duration(section.get("eject"), passive.eject, TENTH..=HOUR);
    section.end();
    passive
}

fn timeouts(at: Option<At<'_>>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(at) = at else { return timeouts };
    let mut section = at.section();
    timeouts.connect = value::duration(
        section.get("connect"),
        timeouts.connect,
        LEAST_TIMEOUT..=5 * MINUTE,
    );
    for (key, timeout) in [
        ("read", &mut timeouts.read),
        ("write", &mut timeouts.write),
        ("idle", &mut timeouts.idle),
    ] {
        *timeout = value::duration(section.get(key), *timeout, LEAST_TIMEOUT..=DAY);
    }
    section.end();
    timeouts
}

#[cfg(test)]
mod tests;
