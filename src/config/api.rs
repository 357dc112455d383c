//! `apis`.

use std::sync::Arc;

use super::{Role, cors, route::Routes, section::At, strategy, top::Others, upstream, value};
use crate::proxy::{
    api::{Access, Config, PathsAsSent},
    cors::Unanswered,
};

/// Reads one entry; `None` where it has no usable name.
pub(crate) fn read<'a>(at: At<'a>, routes: &mut Routes, others: Others) -> Option<Config> {
    let mut section = at.section();
    let name = value::own_name(&mut section);
    let access = access(section.get("access"));

    let strategies_at = section.get("auth_strategies");
    let auth_strategies = names(strategies_at.as_ref());
    match (access, &strategies_at) {
        (Access::Public, Some(at)) if !auth_strategies.is_empty() => at.fault(
            "a public API reads no credential: remove auth_strategies, or choose another access",
        ),
        (Access::Public, _) => {}
        (_, Some(at)) if !at.is_empty_list() => {}
        // Until one is there, the API is not ready.
        (_, _) if others != Others::None => {}
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
            at.fill("at least one route");
            items.into_iter().map(|item| routes.read(item)).collect()
        }
        None => Vec::new(),
    };
    let strip_prefix = value::switch(section.gateways("strip_prefix"), false);
    let paths_as_sent = paths_as_sent(section.get("paths_as_sent"));
    let preflight_at = section.get("preflight");
    let words = [
        ("authenticate", Unanswered::Authenticate),
        ("pass", Unanswered::Pass),
    ];
    let preflight = value::choice(preflight_at.clone(), Unanswered::Authenticate, &words);
    let cors_at = section.get("cors");
    if let (Unanswered::Pass, Some(at), Some(_)) = (preflight, preflight_at, &cors_at) {
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
    let role = section.at.report().role();
    let upstream_at = section.required_of_gateway("upstream", "targets");
    let upstream = upstream_at.and_then(upstream::read);
    section.end();
    let upstream = match role {
        Role::Gateway => Some(upstream?),
        Role::Guard => None,
    };

    Some(Config {
        name: name?,
        access,
        auth_strategies,
        scopes_required,
        routes: route_list,
        strip_prefix: strip_prefix && role == Role::Gateway,
        paths_as_sent,
        preflight,
        cors,
        forward_access_token,
        forward_authorization,
        upstream,
    })
}

fn access(at: Option<At<'_>>) -> Access {
    let words = [
        ("registered", Access::Registered),
        ("application", Access::Application),
        ("client", Access::Client),
        ("public", Access::Public),
    ];
    value::choice(at, Access::Registered, &words)
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
    let words: [(_, fn(&mut PathsAsSent)); 3] = [
        ("encoded_slash", |paths| paths.encoded_slash = true),
        ("double_slash", |paths| paths.double_slash = true),
        ("double_encoding", |paths| paths.double_encoding = true),
    ];
    for item in at.list("a list of encoded_slash, double_slash, double_encoding") {
        if let Some(set) = item.choose(&words) {
            set(&mut paths);
        }
    }
    paths
}
