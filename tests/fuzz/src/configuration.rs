//! The configuration file.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, LazyLock},
};

use dcr_gateway::{
    config::Config,
    model::fault::{Fault, Place, Warning},
    proxy::{
        api::Access,
        path,
        route::{Found, Table},
    },
};
use http::Method;

/// The file's name in messages.
static FILE: LazyLock<Arc<Path>> = LazyLock::new(|| Path::new("input.yaml").into());

/// A text is a whole configuration, in which every name resolves, or a list of faults, each with
/// its place and on one line.
pub(super) fn run(content: &[u8]) {
    let (config, warnings) = match Config::parse(&FILE, content) {
        Ok(read) => read,
        Err(faults) => return faulty(&faults, content),
    };
    for Warning { place, message } in &warnings {
        told(place, message, content);
    }
    assert!(!config.listeners.is_empty());
    let mut names = HashSet::new();
    for strategy in &config.auth_strategies {
        assert!(names.insert(&strategy.name), "a name twice");
        let provider = &strategy.identity_provider;
        assert!(
            config
                .identity_providers
                .iter()
                .any(|p| p.name == *provider)
        );
        assert!(strategy.client_credentials || strategy.bearer);
    }
    let mut apis = HashSet::new();
    for api in &config.apis {
        assert!(apis.insert(&api.name), "a name twice");
        assert!(api.auth_strategies.iter().all(|name| names.contains(name)));
        let open = api.access == Access::Public;
        assert!(open || !api.auth_strategies.is_empty(), "open by mistake");
        assert!(
            !api.routes.is_empty()
                && (api.upstream.as_ref()).is_some_and(|upstream| !upstream.targets.is_empty())
        );
    }
    // Every route leads to its own API.
    let table = Table::new(&config.apis);
    for (index, api) in config.apis.iter().enumerate() {
        for route in &api.routes {
            let host = route.hosts.first().map_or("none.test", String::as_str);
            let host = host.replace('*', "sub");
            let method = route.methods.first().unwrap_or(&Method::GET);
            for configured in &route.paths {
                let raw = configured.trim_start_matches('=');
                let checked = path::Path::check(raw).expect("a path that no request can have");
                match table.find(&host, &checked, method) {
                    Found::Api { index: found, .. } => {
                        let overlaps = route.methods.is_empty() || route.hosts.is_empty();
                        assert!(found == index || overlaps, "another API's");
                    }
                    Found::MethodNotAllowed { .. } => {
                        assert!(matches!(*method, Method::TRACE | Method::CONNECT));
                    }
                    other => assert!(route.hosts.is_empty(), "{other:?}"),
                }
            }
        }
    }
}

/// What is true of every list of faults.
fn faulty(faults: &[Fault], content: &[u8]) {
    assert!(!faults.is_empty(), "refused without a reason");
    for Fault { place, message } in faults {
        told(place, message, content);
    }
}

/// A message says where it belongs, within the text, and is one line.
pub(super) fn told(place: &Place, message: &str, content: &[u8]) {
    let lines = String::from_utf8_lossy(content);
    // A carriage return alone ends a line in YAML too.
    let lines = lines.matches(['\n', '\r']).count() as u64 + 1;
    assert!(place.line >= 1 && place.column >= 1, "no place: {message}");
    assert!(place.line <= lines + 1, "line {} of {lines}", place.line);
    assert!(!message.is_empty());
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
