use std::{fs, path::Path};

use super::*;
use crate::model::fault::Fault;

const START: &str = "\
listeners: [{ address: 127.0.0.1:8000 }]
apis:
  - name: open
    access: public
    routes: [{ paths: [/] }]
registry: { file: applications.yaml }
";

/// The upstream of a file whose last line is `    upstream: { targets: [{ address: … }], MORE }`.
fn load(directory: &Path, more: &str) -> Result<Config, Vec<String>> {
    let upstream =
        format!("    upstream: {{ targets: [{{ address: a.test:1 }}]{more} }}\nregistry");
    let path = directory.join("gateway.yaml");
    fs::write(&path, START.replace("registry", &upstream)).unwrap();
    let loaded = crate::config::Config::load(&path);
    let place = format!("{}:", path.display());
    loaded
        .map(|(mut config, _)| config.apis.remove(0).upstream.unwrap())
        .map_err(|faults| {
            let text = |fault: &Fault| fault.to_string().replace(&place, "");
            faults.iter().map(text).collect()
        })
}

fn certificate() -> String {
    let made = rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap();
    made.cert.pem()
}

#[test]
fn what_is_not_said_is_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let config = load(directory.path(), "").unwrap();
    assert_eq!(config, Config::new(config.targets.clone()));
    assert_eq!((config.connections, config.retries), (1_000, 1));
    let passive = config.passive_health;
    assert_eq!((passive.failures, passive.eject.as_secs()), (5, 10));
    assert!(config.tls.is_none() && config.health_check.is_none());
}

#[test]
fn everything_that_is_said_is_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ca.pem"), certificate().repeat(2)).unwrap();
    let config = load(
        directory.path(),
        ", tls: { sni: Flights.Internal, ca_file: ca.pem }, protocol: h2, connections: 7, \
         retries: 0, health_check: { path: '/z?full=1' }, passive_health: { failures: 0, eject: 1s }",
    )
    .unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.sni.as_deref(), Some("flights.internal"));
    assert_eq!(tls.authorities.unwrap().len(), 2);
    assert_eq!(config.protocol, Protocol::H2);
    assert_eq!((config.connections, config.retries), (7, 0));
    let check = config.health_check.unwrap();
    assert_eq!(
        (check.path.as_str(), check.interval.as_secs()),
        ("/z?full=1", 5)
    );
    assert_eq!(config.passive_health.failures, 0);
    assert_eq!(config.passive_health.eject, Duration::from_secs(1));
    let empty = load(directory.path(), ", tls: {}").unwrap().tls;
    assert_eq!(
        empty,
        Some(TlsConfig {
            sni: None,
            authorities: None
        })
    );
    for (written, name) in [
        ("'[::1]'", "::1"),
        ("'::1'", "::1"),
        ("10.0.0.1", "10.0.0.1"),
    ] {
        let tls = load(directory.path(), &format!(", tls: {{ sni: {written} }}"));
        assert_eq!(tls.unwrap().tls.unwrap().sni.as_deref(), Some(name));
    }
}

#[test]
fn each_fault_says_where_it_is_and_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let good = certificate();
    let broken = good.replacen("MII", "MIJ", 1);
    fs::write(directory.path().join("broken.pem"), good + &broken).unwrap();
    for (more, expected) in [
        (
            ", protocol: h2",
            "6:61: apis[0].upstream.protocol: h2 is agreed on in TLS: say tls too (tls: {} is enough), or h2c",
        ),
        (
            ", protocol: h2c, tls: {}",
            "6:61: apis[0].upstream.protocol: h2c is HTTP/2 without TLS: remove tls, or say h2",
        ),
        (
            ", protocol: h3",
            r#"6:61: apis[0].upstream.protocol: "h3": expected http1 or h2 or h2c"#,
        ),
        (
            ", tls: { sni: 'a b' }",
            r#"6:63: apis[0].upstream.tls.sni: "a b": expected the name in the certificate, as in flights.internal"#,
        ),
        (
            ", tls: { sni: '' }",
            r#"6:63: apis[0].upstream.tls.sni: "": expected the name in the certificate, as in flights.internal"#,
        ),
        (
            ", tls: { ca_file: gateway.yaml }",
            r#"6:67: apis[0].upstream.tls.ca_file: "gateway.yaml": expected a file of PEM certificates"#,
        ),
        (
            ", tls: { ca_file: broken.pem }",
            r#"6:67: apis[0].upstream.tls.ca_file: "broken.pem": expected a file of PEM certificates"#,
        ),
        (
            ", tls: { verify: false }",
            "6:58: apis[0].upstream.tls.verify: unknown key: expected one of sni, ca_file",
        ),
        (
            ", health_check: { interval: 1s }",
            "6:65: apis[0].upstream.health_check: `path` is missing: expected the path to ask for, as in /healthz",
        ),
        (
            ", health_check: { path: healthz }",
            r#"6:73: apis[0].upstream.health_check.path: "healthz": expected the path to ask for, as in /healthz"#,
        ),
        (
            ", health_check: { path: /h, interval: 1ms }",
            r#"6:87: apis[0].upstream.health_check.interval: "1ms": expected a duration from 100ms to 1h, with its unit, as in 10s"#,
        ),
        (
            ", passive_health: { failures: 1001 }",
            r#"6:79: apis[0].upstream.passive_health.failures: "1001": expected a whole number from 0 to 1000"#,
        ),
        (
            ", connections: 0",
            r#"6:64: apis[0].upstream.connections: "0": expected a whole number from 1 to 1000000"#,
        ),
        (
            ", retries: 6",
            r#"6:60: apis[0].upstream.retries: "6": expected a whole number from 0 to 5"#,
        ),
    ] {
        let faults = load(directory.path(), more).expect_err(more);
        assert_eq!(faults, [expected], "{more}");
    }
}
