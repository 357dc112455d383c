//! `apis`.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{cors, route::Routes, section::At, strategy, value};
use crate::proxy::{
    api::{Access, Config, PathsAsSent, TargetConfig, Timeouts, UpstreamConfig},
    cors::Unanswered,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Shorter time-outs would cut off healthy peers.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);

/// Reads one entry; `None` where it has no usable name.
pub(crate) fn read<'a>(at: At<'a>, routes: &mut Routes) -> Option<Config> {
    let mut section = at.section();
    let name = section.required("name", value::NAME);
    let name: Option<Arc<str>> =
        name.and_then(|at| at.parse(|text| value::name(text).map(Arc::from), value::NAME));
    let access = access(section.get("access"));

    let strategies_at = section.get("auth_strategies");
    let auth_strategies = names(strategies_at.as_ref());
    match (access, &strategies_at) {
        (Access::Public, Some(at)) if !auth_strategies.is_empty() => at.fault(
            "a public API reads no credential: remove auth_strategies, or choose another access",
        ),
        (Access::Public, _) => {}
        (_, Some(at)) if !at.is_empty_list() => {}
        _ => section.at.fault(
            "no auth_strategies, so no credential could ever pass: list one, or say access: public",
        ),
    }
    let scopes_at = section.get("scopes_required");
    let scopes_required = strategy::scope_rule(scopes_at.clone());
    if let (Access::Public, Some(at), false) = (access, scopes_at, scopes_required.is_empty()) {
        at.fault("a public API reads no credential: remove scopes_required");
    }

    let route_list = match section.required("routes", "at least one route") {
        Some(at) => {
            let items = at.list("a list of routes");
            if at.is_empty_list() {
                at.expected("at least one route");
            }
            items.into_iter().map(|item| routes.read(item)).collect()
        }
        None => Vec::new(),
    };
    let strip_prefix = value::switch(section.get("strip_prefix"), false);
    let paths_as_sent = paths_as_sent(section.get("paths_as_sent"));
    let preflight_at = section.get("preflight");
    let words = [
        ("authenticate", Unanswered::Authenticate),
        ("pass", Unanswered::Pass),
    ];
    let preflight = preflight_at.as_ref().and_then(|at| at.choose(&words));
    let cors_at = section.get("cors");
    if let (Some(Unanswered::Pass), Some(at), Some(_)) = (preflight, preflight_at, &cors_at) {
        at.fault("pass leaves preflights to the upstream, and cors answers them: remove one");
    }
    let cors = cors_at.and_then(cors::read);
    let token_at = section.get("forward_access_token");
    let forward_access_token = value::switch(token_at.clone(), false);
    if let (true, Access::Public, Some(at)) = (forward_access_token, access, token_at) {
        at.fault("a public API verifies no token: remove forward_access_token");
    }
    let line_at = section.get("forward_authorization");
    let forward_authorization = value::switch(line_at.clone(), false);
    if let (true, false, Some(at)) = (forward_authorization, access == Access::Public, line_at) {
        at.fault(
            "only a public API passes the client's credential on; forward_access_token sends the \
             verified token",
        );
    }
    let upstream = section.required("upstream", "targets").and_then(upstream);
    section.end();

    Some(Config {
        name: name?,
        access,
        auth_strategies,
        scopes_required,
        routes: route_list,
        strip_prefix,
        paths_as_sent,
        preflight: preflight.unwrap_or(Unanswered::Authenticate),
        cors,
        forward_access_token,
        forward_authorization,
        upstream: upstream?,
    })
}

fn access(at: Option<At<'_>>) -> Access {
    let words = [
        ("registered", Access::Registered),
        ("application", Access::Application),
        ("client", Access::Client),
        ("public", Access::Public),
    ];
    at.and_then(|at| at.choose(&words))
        .unwrap_or(Access::Registered)
}

/// The names of strategies, as written; [`super::references`] checks that they exist.
fn names(at: Option<&At<'_>>) -> Vec<Arc<str>> {
    const EXPECTED: &str = "the name of one of auth_strategies";
    let Some(at) = at else { return Vec::new() };
    let mut names: Vec<Arc<str>> = Vec::new();
    for item in at.list("a list of names of auth_strategies") {
        let Some(name) = item.text(EXPECTED) else {
            continue;
        };
        if names.iter().any(|other| **other == *name) {
            item.fault(format_args!("{name:?}: is listed twice"));
        } else {
            names.push(name.into());
        }
    }
    names
}

fn paths_as_sent(at: Option<At<'_>>) -> PathsAsSent {
    let mut paths = PathsAsSent::default();
    let Some(at) = at else { return paths };
    for item in at.list("a list of encoded_slash, double_slash, double_encoding") {
        match item.as_text() {
            Some("double_encoding") => paths.double_encoding = true,
            Some("double_slash") => paths.double_slash = true,
            Some("encoded_slash") => paths.encoded_slash = true,
            _ => item.expected("encoded_slash or double_slash or double_encoding"),
        }
    }
    paths
}

fn upstream(at: At<'_>) -> Option<UpstreamConfig> {
    let mut section = at.section();
    let mut targets = Vec::new();
    if let Some(at) = section.required("targets", "at least one target") {
        targets.extend(at.list("a list of targets").into_iter().filter_map(target));
        if at.is_empty_list() {
            at.expected("at least one target");
        }
    }
    let host = section.get("host").and_then(host);
    section.later("tls", "TLS to upstreams");
    if let Some(at) = section.get("protocol") {
        match at.as_text() {
            Some("http1") => {}
            Some(protocol @ ("h2" | "h2c")) => at.fault(format_args!(
                "{protocol:?}: not available in this version: HTTP/2 to upstreams"
            )),
            _ => at.expected("http1"),
        }
    }
    section.later("health_check", "checking targets actively");
    section.later("passive_health", "ejecting targets that fail");
    section.later("connections", "limiting the connections to an upstream");
    section.later("retries", "trying another target");
    let resolve_interval = value::duration(
        section.get("resolve_interval"),
        Duration::from_secs(30),
        Duration::from_millis(100)..=HOUR,
    );
    let timeouts = timeouts(section.get("timeouts"));
    section.end();
    Some(UpstreamConfig {
        targets,
        host,
        resolve_interval,
        timeouts,
    })
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
    if at.as_text() == Some("preserve") {
        return None;
    }
    let read = |text: &str| {
        let authority = match value::host_and_port(text) {
            Some(_) => text.to_owned(),
            None => value::host(text)?,
        };
        HeaderValue::try_from(authority).ok()
    };
    at.parse(
        read,
        "preserve, or the host to send, as in flights.internal",
    )
}

fn timeouts(at: Option<At<'_>>) -> Timeouts {
    let mut timeouts = Timeouts {
        connect: 2 * SECOND,
        read: MINUTE,
        write: MINUTE,
        idle: MINUTE,
    };
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
