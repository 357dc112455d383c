//! From a head to the API that it is for.

use http::Method;

use crate::{
    model::check::Check,
    proxy::{
        denial::Denial,
        path::{Ambiguity, Path},
        route::Found,
        state::State,
    },
    telemetry::checks::{Checks, listed, quoted},
};

/// Tells what came of looking at the head.
pub(in crate::proxy) fn head(
    checks: &Checks,
    host: &str,
    result: Result<(), Denial>,
) -> Result<(), Denial> {
    match &result {
        Ok(()) => checks.passed(Check::Head, || format!("Host {}", quoted(host))),
        Err(denial) => checks.failed(Check::Head, || {
            format!("{}: Host {}", denial.reason, quoted(host))
        }),
    }
    result
}

/// Tells of a path that cannot be used.
pub(in crate::proxy) fn path<T>(
    checks: &Checks,
    result: Result<T, Ambiguity>,
) -> Result<T, Ambiguity> {
    result.inspect_err(|error| checks.failed(Check::Path, || error.to_string()))
}

/// Tells which API takes the request, or what there is instead.
pub(in crate::proxy) fn route(
    checks: &Checks,
    state: &State,
    host: &str,
    path: &Path<'_>,
    method: &Method,
    found: &Found<'_>,
) {
    let near = || {
        let paths = state.table.configured(host);
        let here = match paths.is_empty() {
            true => format!("no route is for the host {}", quoted(host)),
            false => format!("the paths for this host are {}", listed(paths)),
        };
        let hosts = state.table.hosts(path);
        match hosts.is_empty() {
            true => here,
            false => format!("{here}; hosts that have this path: {}", listed(hosts)),
        }
    };
    match found {
        Found::Api { index, .. } => checks.passed(Check::Route, || {
            let name = state.apis.get(*index).map_or("", |api| &api.config.name);
            format!("API {name}")
        }),
        Found::Ambiguous => checks.failed(Check::Route, || {
            "another reading of the path is for another API, or the API does not take it: see \
             paths_as_sent"
                .to_owned()
        }),
        Found::MethodNotAllowed { allow } => checks.failed(Check::Route, || {
            let allow = allow.to_str().unwrap_or_default();
            format!(
                "{} is not among its methods: {allow}",
                quoted(method.as_str())
            )
        }),
        Found::NoRoute => checks.failed(Check::Route, near),
    }
}
