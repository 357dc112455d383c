use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    model::scope::ScopeRule,
    proxy::{
        api::{Access, RouteConfig},
        upstream,
    },
};

const NONE: PathsAsSent = PathsAsSent {
    double_encoding: false,
    double_slash: false,
    encoded_slash: false,
};
const ALL: PathsAsSent = PathsAsSent {
    double_encoding: true,
    double_slash: true,
    encoded_slash: true,
};

fn api(paths_as_sent: PathsAsSent, hosts: &[&str], paths: &[&str], methods: &[&str]) -> Config {
    Config {
        name: Arc::from("api"),
        access: Access::Public,
        auth_strategies: Vec::new(),
        scopes_required: ScopeRule::default(),
        routes: vec![RouteConfig {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            methods: methods.iter().map(|name| name.parse().unwrap()).collect(),
        }],
        strip_prefix: false,
        paths_as_sent,
        preflight: crate::proxy::cors::Unanswered::Authenticate,
        cors: None,
        forward_access_token: false,
        forward_authorization: false,
        upstream: Some(upstream::config::Config::new(Vec::new())),
    }
}

fn find<'t>(table: &'t Table, host: &str, path: &str, method: Method) -> Found<'t> {
    match Path::check(path) {
        Ok(path) => table.find(host, &path, &method),
        Err(_) => Found::Ambiguous,
    }
}

fn index(found: &Found<'_>) -> Option<usize> {
    match found {
        Found::Api { index, .. } => Some(*index),
        _ => None,
    }
}

#[test]
fn the_most_specific_host_decides_alone() {
    let table = Table::new(&[
        api(NONE, &["api.example.com"], &["/a"], &[]),
        api(NONE, &["*.example.com"], &["/"], &[]),
        api(NONE, &["*.eu.example.com"], &["/a"], &[]),
        api(NONE, &[], &["/", "/any"], &[]),
    ]);
    for (host, path, expected) in [
        ("api.example.com", "/a", Some(0)),
        ("API.Example.COM:8443", "/a", Some(0)),
        ("api.example.com.", "/a", Some(0)),
        ("api.example.com.:80", "/a", Some(0)),
        ("api.example.com", "/any", None),
        ("api.example.com", "/b", None),
        ("x.example.com", "/b", Some(1)),
        ("x.y.example.com", "/b", Some(1)),
        ("x.eu.example.com", "/a", Some(2)),
        ("x.eu.example.com", "/b", None),
        ("eu.example.com", "/b", Some(1)),
        ("example.com", "/b", Some(3)),
        (".example.com", "/b", Some(3)),
        ("notexample.com", "/b", Some(3)),
        ("[::1]:8000", "/b", Some(3)),
        ("", "/any/x", Some(3)),
    ] {
        let found = find(&table, host, path, Method::GET);
        assert_eq!(index(&found), expected, "{host}{path}: {found:?}");
    }
}

#[test]
fn ipv6_hosts_match_without_port() {
    let table = Table::new(&[api(NONE, &["[::1]"], &["/"], &[])]);
    assert_eq!(index(&find(&table, "[::1]:80", "/", Method::GET)), Some(0));
    assert_eq!(index(&find(&table, "[::1]", "/", Method::GET)), Some(0));
    assert_eq!(index(&find(&table, "[::2]", "/", Method::GET)), None);
}

#[test]
fn the_most_specific_path_decides_alone() {
    let table = Table::new(&[
        api(NONE, &[], &["/"], &["GET"]),
        api(NONE, &[], &["/flights"], &["GET"]),
        api(NONE, &[], &["/flights/admin"], &["POST"]),
        api(NONE, &[], &["=/flights/admin/status"], &["GET"]),
        api(NONE, &[], &["/slash/"], &["GET"]),
    ]);
    for (path, expected) in [
        ("/", Some(0)),
        ("/x", Some(0)),
        ("/flight", Some(0)),
        ("/flightsx", Some(0)),
        ("/flights", Some(1)),
        ("/flights/", Some(1)),
        ("/flights/42", Some(1)),
        ("/%66lights;v=2/42", Some(1)),
        ("/flights/admin", None),
        ("/flights/admin/x", None),
        ("/flights/adm%69n", None),
        ("/flights/admin/status", Some(3)),
        ("/flights/admin/status/", None),
        ("/flights/admin;/status", Some(3)),
        ("/slash", Some(0)),
        ("/slash/", Some(4)),
        ("/slash/x", Some(4)),
    ] {
        let found = find(&table, "h", path, Method::GET);
        assert_eq!(index(&found), expected, "{path}: {found:?}");
    }
}

#[test]
fn a_query_string_opens_no_route() {
    // CVE-2025-54576: an open `/status` matched `/private?x=/status`.
    let table = Table::new(&[
        api(NONE, &[], &["=/status"], &[]),
        api(NONE, &[], &["/private"], &[]),
    ]);
    let Ok(crate::proxy::path::Target::Origin { path, .. }) =
        crate::proxy::path::target(b"/private?x=/status")
    else {
        panic!("not split");
    };
    assert_eq!(index(&find(&table, "h", path, Method::GET)), Some(1));
}

#[test]
fn methods_split_a_path_over_apis() {
    let table = Table::new(&[
        api(NONE, &[], &["/a"], &["GET"]),
        api(NONE, &[], &["/a"], &["POST", "PURGE"]),
        api(NONE, &[], &["/all"], &[]),
    ]);
    let allow = HeaderValue::from_static("GET, HEAD, POST, PURGE");
    let refused = Found::MethodNotAllowed { allow: &allow };
    let every = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    let never = Found::MethodNotAllowed { allow: &every };
    let a = |index| Found::Api {
        index,
        prefix_length: 2,
    };
    let all = Found::Api {
        index: 2,
        prefix_length: 4,
    };
    for (path, method, expected) in [
        ("/a", "GET", a(0)),
        ("/a", "HEAD", a(0)),
        ("/a", "POST", a(1)),
        ("/a", "PURGE", a(1)),
        ("/a", "OPTIONS", refused.clone()),
        ("/a", "get", refused.clone()),
        ("/a", "TRACE", refused),
        ("/all", "PROPFIND", all.clone()),
        ("/all", "OPTIONS", all),
        ("/all", "get", never.clone()),
        ("/all", "TRACE", never.clone()),
        ("/all", "CONNECT", never),
    ] {
        let found = find(&table, "h", path, method.parse().unwrap());
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn oddities_pass_only_where_allowed_and_one_in_meaning() {
    let table = Table::new(&[
        api(ALL, &[], &["/files"], &[]),
        api(ALL, &[], &["/files/secret"], &[]),
        api(NONE, &[], &["/strict"], &[]),
        api(
            PathsAsSent {
                encoded_slash: true,
                ..NONE
            },
            &[],
            &["/slash"],
            &[],
        ),
        api(ALL, &["root"], &["/"], &[]),
        api(NONE, &["root"], &["/admin"], &[]),
    ]);
    for (host, path, expected) in [
        ("h", "/files/a%2fb", Some(0)),
        ("h", "/files//b", Some(0)),
        ("h", "/files/a%252fb", Some(0)),
        ("h", "/files/a%2541", Some(0)),
        ("h", "/files/secret//x", Some(1)),
        // Another reading is for another API.
        ("h", "/files//secret", None),
        ("h", "/files/secret%2fx", None),
        ("h", "/files/%2573ecret", None),
        ("h", "/files%2fsecret", None),
        ("h", "/files/x;%2f..%2fsecret", None),
        // Whoever decodes twice, cuts parameters off and then merges slashes reads it.
        ("root", "/%253bx/admin", None),
        ("root", "/;%252fx/admin", None),
        // Whoever cuts between two rounds of decoding does.
        ("root", "/%3b%252fzz/%2561dmin", None),
        // The oddity is not behind the prefix.
        ("h", "//files/x", None),
        ("h", "/%2566iles/x", None),
        // Never, whatever is allowed.
        ("h", "/files/..%2fx", None),
        ("h", "/files/%252e%252e/x", None),
        ("h", "/files/a%5cb", None),
        // Not allowed here.
        ("h", "/strict/a%2fb", None),
        ("h", "/strict//b", None),
        ("h", "/strict/a%252fb", None),
        ("h", "/slash/a%2fb", Some(3)),
        ("h", "/slash//b", None),
        ("h", "/slash/a%252fb", None),
        ("root", "/x//y", Some(4)),
        ("root", "//admin", None),
        ("root", "/x%2fadmin", Some(4)),
        ("root", "/admin%2fx", None),
        ("root", "/%2561dmin", None),
        ("h", "/nowhere//x", None),
    ] {
        let found = find(&table, host, path, Method::GET);
        assert_eq!(index(&found), expected, "{host} {path}: {found:?}");
        if expected.is_none() {
            assert_eq!(found, Found::Ambiguous, "{host} {path}");
        }
    }
}

#[test]
fn a_long_path_with_too_many_ways_to_read_it_is_ambiguous() {
    let table = Table::new(&[api(ALL, &[], &["/files"], &[])]);
    let odd = "/;a//%3ba%2f%2f%253ba%252f%252f%25253ba%25252f%25252fb";
    for (path, expected) in [
        (format!("/files{odd}"), Some(0)),
        (format!("/files{}", odd.repeat(500)), None),
        (format!("/files{}", "/a%252fb".repeat(3_500)), Some(0)),
    ] {
        let found = find(&table, "h", &path, Method::GET);
        assert_eq!(index(&found), expected, "{} bytes", path.len());
    }
}

#[test]
fn a_long_path_of_many_segments_is_found_fast() {
    let table = Table::new(&[api(NONE, &[], &["/a/a"], &[])]);
    let path = "/a".repeat(16_000);
    let found = find(&table, "h", &path, Method::GET);
    assert_eq!(
        found,
        Found::Api {
            index: 0,
            prefix_length: 4
        }
    );
}

/// The rule of the module's head, written without regard to cost.
fn naive(routes: &[(String, String)], host: &str, path: &str) -> Option<usize> {
    let rank = |configured: &str| match configured.strip_prefix("*.") {
        _ if configured.is_empty() => Some(0),
        Some(suffix) => (host.len() > suffix.len() + 1 && host.ends_with(&format!(".{suffix}")))
            .then_some(suffix.len()),
        None => (configured == host).then_some(usize::MAX),
    };
    let best = routes.iter().filter_map(|(host, _)| rank(host)).max()?;
    let in_host = routes
        .iter()
        .enumerate()
        .filter(|(_, (host, _))| rank(host) == Some(best));
    in_host
        .filter_map(|(index, (_, configured))| {
            let rank = match configured.strip_prefix('=') {
                Some(exact) => (exact == path).then_some(usize::MAX),
                None => {
                    let boundary = configured.ends_with('/')
                        || path.len() == configured.len()
                        || path.as_bytes().get(configured.len()) == Some(&b'/');
                    (path.starts_with(configured) && boundary).then_some(configured.len())
                }
            };
            Some((rank?, index))
        })
        .max_by_key(|(rank, index)| (*rank, std::cmp::Reverse(*index)))
        .map(|(_, index)| index)
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4)
        .prop_map(|parts| parts.join("."))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["/a", "/b", "/"]), 1..4)
        .prop_map(|parts| parts.concat())
        .prop_filter("no double slash", |path| !path.contains("//"))
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_rule(
        routes in prop::collection::vec(
            (
                prop_oneof![Just(String::new()), host(), host().prop_map(|host| format!("*.{host}"))],
                prop_oneof![path(), path().prop_map(|path| format!("={path}"))],
            ),
            0..8,
        ),
        host in host(),
        path in path(),
    ) {
        let apis: Vec<Config> = routes
            .iter()
            .map(|(host, path)| {
                let hosts: &[&str] = if host.is_empty() { &[] } else { &[host] };
                api(NONE, hosts, &[path], &[])
            })
            .collect();
        let table = Table::new(&apis);
        let found = index(&find(&table, &host, &path, Method::GET));
        prop_assert_eq!(found, naive(&routes, &host, &path));
    }
}
