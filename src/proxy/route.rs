//! Host, path and method → the API that a request is for.
//!
//! The most specific host decides (exact, then the longest `*.suffix`, then any), in it the most
//! specific path (exact, then the longest prefix that ends on a segment boundary), and only then
//! the method. There is no falling back to a less specific host or path, so that adding a route
//! never opens another.
//!
//! A look-up reads the table only: no lock, no allocation for ordinary requests, a hash for each
//! candidate, of which there are no more than a path of the longest configured length has
//! segments.

use std::borrow::Cow;

use ahash::HashMap;
use http::{HeaderValue, Method};

use crate::proxy::{
    api::{Config, PathsAsSent},
    path::Path,
};

/// Methods of an API that lists none, as `Allow` tells them. Others pass too, but for TRACE,
/// which would show a client the credentials that others added, and CONNECT, which is no request
/// for a path.
const ORDINARY: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'t> {
    /// Another reading of the path is for another API, or the path has an oddity that the API
    /// does not take. 400 `ambiguous_path`.
    Ambiguous,
    /// One API takes it.
    Api {
        /// Position of the API in the configuration.
        index: usize,
        /// Bytes of the path, as it came, that the configured path stands for: what
        /// `strip_prefix` cuts off.
        prefix_length: usize,
    },
    /// The path is known, the method is not. 405.
    MethodNotAllowed {
        /// The value of `Allow` (RFC 9110 section 10.2.1).
        allow: &'t HeaderValue,
    },
    /// No API has this host and path. 404.
    NoRoute,
}

/// Every route of a configuration.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Box<str>, Paths>,
    suffixes: HashMap<Box<str>, Paths>,
    any: Paths,
    as_sent: Vec<PathsAsSent>,
}

#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Entry>,
    prefixes: HashMap<Box<str>, Entry>,
    longest: usize,
}

/// The APIs that share a host and path.
#[derive(Debug)]
struct Entry {
    /// Position of an API, and its methods; none: all.
    apis: Vec<(usize, Vec<Method>)>,
    allow: HeaderValue,
}

impl Table {
    /// Builds the table. That no host, path and method is given twice has been checked before; of
    /// two that overlap, the first one that lists the method counts.
    #[must_use]
    pub fn new(apis: &[Config]) -> Self {
        let mut table = Self::default();
        for (index, api) in apis.iter().enumerate() {
            table.as_sent.push(api.paths_as_sent);
            for route in &api.routes {
                if route.hosts.is_empty() {
                    table.any.add(index, &route.paths, &route.methods);
                }
                for host in &route.hosts {
                    let host = normal_host(host);
                    let (map, name) = match host.strip_prefix("*.") {
                        Some(suffix) => (&mut table.suffixes, suffix),
                        None => (&mut table.exact, &*host),
                    };
                    map.entry(name.into())
                        .or_default()
                        .add(index, &route.paths, &route.methods);
                }
            }
        }
        table
    }

    /// The methods that an API takes at a path, in the form of `Allow`; with one that is known to be
    /// taken, which an API for all methods does not list.
    #[must_use]
    pub fn methods(
        &self,
        host: &str,
        path: &Path<'_>,
        index: usize,
        known: Option<&Method>,
    ) -> HeaderValue {
        let matched = self.paths(&normal_host(host)).entry(path.form());
        let apis = matched.map_or(&[][..], |(_, entry)| &entry.apis);
        let of_api = apis.iter().filter(|(found, _)| *found == index);
        let mut apis: Vec<(usize, Vec<Method>)> = of_api.cloned().collect();
        if let Some(known) = known {
            apis.push((index, vec![known.clone()]));
        }
        allow(&apis)
    }

    /// The paths that are configured for a host, in the form of the configuration and sorted: for
    /// telling people what there is.
    #[must_use]
    pub fn configured(&self, host: &str) -> Vec<String> {
        let paths = self.paths(&normal_host(host));
        let exact = paths.exact.keys().map(|path| format!("={path}"));
        let mut all: Vec<String> = exact
            .chain(paths.prefixes.keys().map(|path| path.to_string()))
            .collect();
        all.sort_unstable();
        all
    }

    /// The hosts that have a route for a path, in the form of the configuration and sorted: for
    /// telling people who asked another one.
    #[must_use]
    pub fn hosts(&self, path: &Path<'_>) -> Vec<String> {
        let exact = self.exact.iter().map(|(host, p)| (host.to_string(), p));
        let suffixes = self.suffixes.iter().map(|(s, p)| (format!("*.{s}"), p));
        let mut all: Vec<String> = exact
            .chain(suffixes)
            .filter(|(_, paths)| paths.entry(path.form()).is_some())
            .map(|(host, _)| host)
            .collect();
        all.sort_unstable();
        all
    }

    /// Finds the API for a request. `host` is as the client sent it, port and all.
    #[must_use]
    pub fn find(&self, host: &str, path: &Path<'_>, method: &Method) -> Found<'_> {
        let paths = self.paths(&normal_host(host));
        let matched = paths.entry(path.form());
        if path.oddities() == PathsAsSent::default() {
            return match matched {
                None => Found::NoRoute,
                Some((prefix, entry)) => match (entry.api(method), path.length_of(prefix)) {
                    (None, _) => Found::MethodNotAllowed {
                        allow: &entry.allow,
                    },
                    (Some(index), Some(prefix_length)) => Found::Api {
                        index,
                        prefix_length,
                    },
                    (Some(_), None) => Found::Ambiguous,
                },
            };
        }
        // From here on: a path that at most one API's say-so lets through.
        let api = |form: &str| paths.entry(form)?.1.api(method);
        let Some((prefix, index)) =
            matched.and_then(|(prefix, _)| Some((prefix, api(path.form())?)))
        else {
            return Found::Ambiguous;
        };
        match path.length_of(prefix) {
            Some(prefix_length)
                if self.takes(index, path.oddities())
                    && path.is_plain_before(prefix_length)
                    && path.readings().is_some_and(|readings| {
                        readings.iter().all(|form| api(form) == Some(index))
                    }) =>
            {
                Found::Api {
                    index,
                    prefix_length,
                }
            }
            _ => Found::Ambiguous,
        }
    }

    fn takes(&self, index: usize, oddities: PathsAsSent) -> bool {
        self.as_sent.get(index).is_some_and(|allowed| {
            (allowed.double_encoding || !oddities.double_encoding)
                && (allowed.double_slash || !oddities.double_slash)
                && (allowed.encoded_slash || !oddities.encoded_slash)
        })
    }

    /// The paths of the most specific entry for a host.
    fn paths(&self, host: &str) -> &Paths {
        if let Some(paths) = self.exact.get(host) {
            return paths;
        }
        if !self.suffixes.is_empty() {
            for (at, _) in host.match_indices('.').filter(|(at, _)| *at > 0) {
                if let Some(paths) = self.suffixes.get(&host[at + 1..]) {
                    return paths;
                }
            }
        }
        &self.any
    }
}

impl Paths {
    fn add(&mut self, index: usize, paths: &[String], methods: &[Method]) {
        for path in paths {
            let (map, path) = match path.strip_prefix('=') {
                Some(path) => (&mut self.exact, path),
                None => {
                    self.longest = self.longest.max(path.len());
                    (&mut self.prefixes, path.as_str())
                }
            };
            let entry = map.entry(path.into()).or_insert_with(|| Entry {
                apis: Vec::new(),
                allow: HeaderValue::from_static(""),
            });
            entry.apis.push((index, methods.to_vec()));
            entry.allow = allow(&entry.apis);
        }
    }

    /// The most specific entry for a form, and the path that it is configured with.
    fn entry(&self, form: &str) -> Option<(&str, &Entry)> {
        if let Some((path, entry)) = self.exact.get_key_value(form) {
            return Some((path, entry));
        }
        let bytes = form.as_bytes();
        // A prefix may be written with its last slash, and then asks for it.
        (1..=bytes.len().min(self.longest))
            .rev()
            .filter(|end| {
                bytes[end - 1] == b'/' || bytes.get(*end).is_none_or(|next| *next == b'/')
            })
            .find_map(|end| self.prefixes.get_key_value(form.get(..end)?))
            .map(|(path, entry)| (&**path, entry))
    }
}

impl Entry {
    fn api(&self, method: &Method) -> Option<usize> {
        if *method == Method::TRACE || *method == Method::CONNECT {
            return None;
        }
        let listed = self.apis.iter().find(|(_, methods)| lists(methods, method));
        let all = || self.apis.iter().find(|(_, methods)| methods.is_empty());
        let listed = listed.map(|(index, _)| *index);
        // Method names are case-sensitive (RFC 9110 section 9.1) and no registered one has small
        // letters; a server that folds them would take `get` for GET behind our back.
        if listed.is_some()
            || method
                .as_str()
                .bytes()
                .any(|byte| byte.is_ascii_lowercase())
        {
            return listed;
        }
        all().map(|(index, _)| *index)
    }
}

/// Whether a list names a method. HEAD goes with GET, which it is but for the body (RFC 9110
/// section 9.3.2); OPTIONS goes with nothing and is to be listed.
fn lists(methods: &[Method], method: &Method) -> bool {
    methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
}

fn allow(apis: &[(usize, Vec<Method>)]) -> HeaderValue {
    let mut names: Vec<&str> = ORDINARY
        .iter()
        .filter(|method| {
            apis.iter()
                .any(|(_, methods)| methods.is_empty() || lists(methods, method))
        })
        .map(Method::as_str)
        .collect();
    let others = apis.iter().flat_map(|(_, methods)| methods);
    for name in others.map(Method::as_str) {
        if !names.contains(&name) && !matches!(name, "CONNECT" | "TRACE") {
            names.push(name);
        }
    }
    // Method names are tokens, so the list is a valid value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// A host in lower case, without port and final dot. An IPv6 address keeps its brackets.
fn normal_host(host: &str) -> Cow<'_, str> {
    let name = match host.bytes().rposition(|byte| byte == b':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests;
