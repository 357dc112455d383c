//! `apis[].routes`, and the rule that no host, path and method is promised twice.

use std::collections::HashMap;

use http::Method;

use super::{schema::Asked, section::At, value};
use crate::{model::fault::Place, proxy::api::RouteConfig};

const PATH: &str = "a path that starts with \"/\", or \"=/\" for an exact one";

/// The routes read so far, over all APIs.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// By host ("" is any) and path.
    taken: HashMap<(String, String), Vec<Taken>>,
}

/// A host and path that has a route.
#[derive(Debug)]
struct Taken {
    methods: Vec<Method>,
    place: Place,
}

impl Routes {
    /// Reads one route. What is faulty in it takes no part in the search for doubles.
    pub(crate) fn read(&mut self, at: At<'_>) -> RouteConfig {
        let mut section = at.section();
        let hosts_at = section.get("hosts");
        let hosts = read_list(hosts_at.as_ref(), "a list of hosts", host);
        let paths_at = section.required("paths", "at least one path");
        let paths = read_list(paths_at.as_ref(), "a list of paths", path);
        let methods_at = section.get("methods");
        let methods = read_list(methods_at.as_ref(), "a list of methods", method);
        for at in [&hosts_at, &paths_at, &methods_at].into_iter().flatten() {
            at.fill("at least one element");
        }
        section.end();

        // A list whose every element is faulty must not be taken for one that asks for anything.
        let all_faulty = (hosts_at.is_some() && hosts.is_empty())
            || (methods_at.is_some() && methods.is_empty());
        if !all_faulty {
            self.take(&hosts, &paths, &methods);
        }
        RouteConfig {
            hosts: hosts.into_iter().map(|(_, host)| host).collect(),
            paths: paths.into_iter().map(|(_, path)| path).collect(),
            methods: methods.into_iter().map(|(_, method)| method).collect(),
        }
    }

    fn take(
        &mut self,
        hosts: &[(At<'_>, String)],
        paths: &[(At<'_>, String)],
        methods: &[(At<'_>, Method)],
    ) {
        let hosts: Vec<&str> = match hosts {
            [] => vec![""],
            hosts => hosts.iter().map(|(_, host)| &**host).collect(),
        };
        let methods: Vec<Method> = methods.iter().map(|(_, method)| method.clone()).collect();
        for (at, path) in paths {
            for host in &hosts {
                let taken = self
                    .taken
                    .entry((host.to_string(), path.clone()))
                    .or_default();
                let other = taken.iter().find_map(|taken| {
                    Some((common_method(&methods, &taken.methods)?, &taken.place))
                });
                if let Some((method, place)) = other {
                    let host = if host.is_empty() { "any host" } else { host };
                    at.fault(format_args!(
                        "{path:?}: {host} and {method} lead to the route of line {} already: \
                         expected each host, path and method once",
                        place.line,
                    ));
                }
                taken.push(Taken {
                    methods: methods.clone(),
                    place: at.place(),
                });
            }
        }
    }
}

/// A method that both lists accept; an empty list accepts all.
fn common_method(one: &[Method], other: &[Method]) -> Option<String> {
    match (one, other) {
        ([], []) => Some("any method".to_owned()),
        ([], [first, ..]) | ([first, ..], []) => Some(first.to_string()),
        _ => one
            .iter()
            .find(|method| other.contains(method))
            .map(Method::to_string),
    }
}

/// The elements of a list that pass their check, each with its place.
fn read_list<'a, T>(
    at: Option<&At<'a>>,
    expected: &str,
    read: fn(&At<'a>) -> Option<T>,
) -> Vec<(At<'a>, T)> {
    let items = at.map_or_else(Vec::new, |at| at.list(expected));
    items
        .into_iter()
        .filter_map(|item| read(&item).map(|value| (item, value)))
        .collect()
}

fn host(at: &At<'_>) -> Option<String> {
    const HOST: &str = "a host without port, as in api.example.com or *.example.com";
    match at.text(HOST)? {
        "*" => {
            at.expected("a host; without `hosts` a route is for any");
            None
        }
        text => match text.strip_prefix("*.") {
            Some(suffix) => {
                let suffix = |_: &str| value::host(suffix).filter(|host| !host.starts_with('['));
                at.parse(suffix, HOST).map(|suffix| format!("*.{suffix}"))
            }
            None => at.parse(value::host, HOST),
        },
    }
}

/// A method that may be routed.
pub(crate) fn method(at: &At<'_>) -> Option<Method> {
    at.ask(|| Asked::Pattern("^[A-Z-]+$"));
    let legal =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    let read = |text: &str| {
        // A tunnel's bytes are no requests, so none of them could be authorised. TRACE would show
        // a client what others added on the way (RFC 9110 section 9.3.8).
        let legal = legal(text) && !matches!(text, "CONNECT" | "TRACE");
        Method::from_bytes(text.as_bytes()).ok().filter(|_| legal)
    };
    at.parse(
        read,
        "a method in capitals other than CONNECT and TRACE, as in GET",
    )
}

/// A prefix without its final slash, or an exact path with its `=`. Requests are compared by
/// decoded segments, so whatever only an encoded or ambiguous path could match is refused.
fn path(at: &At<'_>) -> Option<String> {
    at.ask(|| Asked::Pattern("^=?/[^%;?#*{}\\\\]*$"));
    let text = at.text(PATH)?;
    let (mark, path) = match text.strip_prefix('=') {
        Some(path) => ("=", path),
        None => ("", text),
    };
    if let Err(expected) = check_path(path) {
        at.expected(expected);
        return None;
    }
    let path = match mark {
        // A prefix ends on a segment boundary, with or without the slash.
        "" if path.len() > 1 => path.strip_suffix('/').unwrap_or(path),
        _ => path,
    };
    Some(format!("{mark}{path}"))
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err(PATH);
    }
    if path.contains('%') {
        return Err("a path without \"%\": write it decoded, requests are compared so");
    }
    if path.contains([';', '?', '#']) {
        return Err("a path without \";\", \"?\" and \"#\": only the path itself is compared");
    }
    if path.contains(['*', '{', '}']) {
        return Err(
            "a path without \"*\" and \"{}\": there are no patterns, every path is a prefix",
        );
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err("a path without \"\\\" and control characters: no such request passes");
    }
    if path.contains("//") {
        return Err("a path without \"//\": no such request passes");
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a path without \".\" and \"..\": no such request passes");
    }
    Ok(())
}
