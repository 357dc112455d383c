use std::{collections::HashMap, time::Duration};

use super::*;
use crate::proxy::upstream::config::{PassiveHealth, TargetConfig};

fn target(host: &str, weight: u16) -> TargetConfig {
    TargetConfig {
        host: host.to_owned(),
        port: 80,
        weight,
    }
}

fn config(targets: &[(&str, u16)]) -> Config {
    Config::new(targets.iter().map(|(h, w)| target(h, *w)).collect())
}

/// Names are never looked up here: nothing runs on the runtime.
fn start(config: &Config, previous: Option<&Upstream>) -> Arc<Upstream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    Upstream::start(
        &Arc::from("api"),
        config,
        previous,
        &Checker::default(),
        &handle,
    )
}

fn addresses(hosts: &[&str]) -> Vec<SocketAddr> {
    hosts
        .iter()
        .map(|host| SocketAddr::new(host.parse().unwrap(), 80))
        .collect()
}

/// How often each address is picked in so many turns.
fn picked(upstream: &Upstream, turns: usize) -> HashMap<String, usize> {
    let now = clock::instant();
    let mut counts = HashMap::new();
    for _ in 0..turns {
        let (_, endpoint) = upstream.pick(now, &[]).unwrap();
        *counts.entry(endpoint.address.ip().to_string()).or_default() += 1;
    }
    counts
}

fn endpoint(upstream: &Upstream, host: &str) -> Arc<Endpoint> {
    let all = upstream.targets.iter();
    let mut all = all.flat_map(|target| target.endpoints.load().to_vec());
    let found = all.find(|e| e.address.ip().to_string() == host);
    found.expect(host)
}

fn eject(upstream: &Upstream, host: &str) {
    let endpoint = endpoint(upstream, host);
    let rule = upstream.config.passive_health;
    assert!(endpoint.failed(rule.failures, rule, clock::instant()));
}

#[test]
fn what_one_target_cannot_serve_is_shared_by_all_others() {
    let upstream = start(
        &config(&[
            ("10.0.0.1", 2),
            ("10.0.0.2", 1),
            ("10.0.0.3", 1),
            ("10.0.0.4", 4),
        ]),
        None,
    );
    let all = picked(&upstream, 800);
    assert_eq!((all["10.0.0.1"], all["10.0.0.4"]), (200, 400));
    eject(&upstream, "10.0.0.4");
    let rest = picked(&upstream, 800);
    assert!(!rest.contains_key("10.0.0.4"));
    for (host, share) in [("10.0.0.1", 400), ("10.0.0.2", 200), ("10.0.0.3", 200)] {
        assert!(
            rest[host].abs_diff(share) < 10,
            "{host}: {} of 800",
            rest[host]
        );
    }
}

#[test]
fn failed_requests_never_take_the_last_address_but_failed_checks_do() {
    let upstream = start(&config(&[("10.0.0.1", 1), ("10.0.0.2", 1)]), None);
    eject(&upstream, "10.0.0.1");
    eject(&upstream, "10.0.0.2");
    assert_eq!(
        upstream.complaint(),
        Some("every target fails requests; tried anyway")
    );
    assert_eq!(picked(&upstream, 10).len(), 2);
    let sick = endpoint(&upstream, "10.0.0.1");
    assert!(!sick.checked(false) && sick.checked(false));
    assert_eq!(picked(&upstream, 10).len(), 1);
    let sick = endpoint(&upstream, "10.0.0.2");
    assert!(!sick.checked(false) && sick.checked(false));
    assert_eq!(upstream.complaint(), Some("no healthy target"));
    let refused = upstream.admit(clock::instant()).map(drop);
    assert_eq!(refused, Err(Refusal::Unhealthy));
}

#[test]
fn each_further_try_goes_elsewhere_while_there_is_an_elsewhere() {
    let upstream = start(
        &config(&[("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)]),
        None,
    );
    for _ in 0..30 {
        let mut tried = Vec::new();
        for _ in 0..3 {
            let (_, endpoint) = upstream.pick(clock::instant(), &tried).unwrap();
            assert!(!tried.contains(&endpoint.address));
            tried.push(endpoint.address);
        }
        assert!(upstream.pick(clock::instant(), &tried).is_some());
    }
}

#[test]
fn places_are_counted_and_given_back() {
    let mut two = config(&[("10.0.0.1", 1)]);
    two.connections = 2;
    let upstream = start(&two, None);
    let now = clock::instant();
    let first = upstream.admit(now).unwrap();
    let second = upstream.admit(now).unwrap();
    for _ in 0..3 {
        assert_eq!(upstream.admit(now).map(drop), Err(Refusal::Full));
    }
    drop(first);
    let third = upstream.admit(now).unwrap();
    // What a reload makes of it counts on.
    two.retries = 0;
    let next = start(&two, Some(&upstream));
    assert_eq!(next.admit(now).map(drop), Err(Refusal::Full));
    drop((second, third));
    assert!(next.admit(now).is_ok());
}

#[test]
fn an_address_that_a_look_up_finds_again_keeps_its_health() {
    let upstream = start(&config(&[("a.test", 1)]), None);
    let now = clock::instant();
    let refused = upstream.admit(now).map(drop);
    assert_eq!(refused, Err(Refusal::NoAddress));
    let target = &upstream.targets[0];
    assert!(target.take_in(addresses(&["10.0.0.1", "10.0.0.2"]), now));
    eject(&upstream, "10.0.0.2");
    // Name servers shuffle, and repeat themselves.
    let shuffled = addresses(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
    assert!(!target.take_in(shuffled, now));
    assert!(target.take_in(addresses(&["10.0.0.3", "10.0.0.2"]), now));
    let known = picked(&upstream, 100);
    assert_eq!(known.keys().collect::<Vec<_>>(), ["10.0.0.3"]);
    assert!(!target.take_in(Vec::new(), now), "nothing is no news");
    assert_eq!(picked(&upstream, 100), known);
}

#[test]
fn a_reload_keeps_addresses_and_the_health_that_is_still_judged_alike() {
    let old = config(&[("a.test", 1), ("10.0.0.9", 1)]);
    let upstream = start(&old, None);
    let now = clock::instant();
    upstream.targets[0].take_in(addresses(&["10.0.0.1", "10.0.0.2"]), now);
    eject(&upstream, "10.0.0.2");
    let mut new = config(&[("10.0.0.8", 1), ("a.test", 3)]);
    new.passive_health = PassiveHealth {
        failures: 1,
        eject: Duration::from_secs(1),
    };
    let next = start(&new, Some(&upstream));
    assert!(!endpoint(&next, "10.0.0.2").is_free());
    assert!(endpoint(&next, "10.0.0.1").is_free());
    assert!(endpoint(&next, "10.0.0.8").is_free());
    new.protocol = config::Protocol::H2c;
    let other = start(&new, Some(&next));
    assert!(endpoint(&other, "10.0.0.2").is_free(), "another protocol");
}
