//! The operator's address: whether the program lives, whether it is ready, its metrics. Everything
//! else there needs the token.

mod explain;
mod guard;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};

use super::{door, shutdown::Shutdown, socket::Bound};
use crate::{
    clock,
    portal::{self, Portal, live::Live},
    proxy::{connection::Counters, denial::Problem, state::State},
    telemetry::{
        lines::Lines,
        metrics::{Metrics, raise},
    },
};
use guard::Guard;

/// What operators ask about. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The configuration at work.
    pub state: Arc<ArcSwap<State>>,
    /// Applications and where they are registered.
    pub portal: Portal,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What happens at the connections.
    pub counters: Arc<Counters>,
    /// The log.
    pub lines: Lines,
    /// Whether the program is stopping.
    pub shutdown: Shutdown,
    /// Where clients connect.
    pub listeners: Vec<SocketAddr>,
}

/// How much of it an address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/livez`, `/readyz`, `/metrics`, and nothing else.
    Status,
    /// Those, and what needs the token.
    Whole,
}

impl Admin {
    /// Answers on a bound socket until the program ends or another takes its place.
    pub async fn serve(self, socket: Bound, surface: Surface) {
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics));
        let router = match surface {
            Surface::Status => {
                router.fallback(|| async { problem(404, "not_found", "No such page") })
            }
            Surface::Whole => {
                let state = (self.clone(), Arc::<Guard>::default());
                let guard = middleware::from_fn_with_state(state, guard::guard);
                let api = portal::api::router(self.portal.clone());
                router.fallback_service(api.layer(guard))
            }
        };
        let shutdown = self.shutdown.clone();
        door::serve(router.with_state(self), socket, None, None, &shutdown).await;
    }
}

/// 200 where requests can be judged, else 503; a line for each part either way. An identity
/// provider that is down is told but does not fail it: the others, and whatever is remembered, go
/// on working, and no other gateway would reach it either.
async fn readyz(Extract(admin): Extract<Admin>) -> Response {
    let state = admin.state.load();
    let now = clock::now();
    let ready = state.is_ready() && !admin.shutdown.is_draining();
    let mut lines = Vec::new();
    for (name, provider) in &state.providers {
        lines.push(match provider.state(now) {
            Ok(told) => format!("ok identity_provider {name}: {told}"),
            Err(missing) => format!("failing identity_provider {name}: {missing}"),
        });
    }
    lines.sort_unstable();
    for api in &state.apis {
        if let Some(complaint) = api.upstream.as_ref().and_then(|u| u.complaint()) {
            lines.push(format!("failing upstream {}: {complaint}", api.config.name));
        }
    }
    let refused = |what| {
        admin
            .metrics
            .last_reload_good
            .with_label_values(&[what])
            .get()
            == 0
    };
    let edit = |what| {
        if refused(what) {
            ", the last edit was refused"
        } else {
            ""
        }
    };
    let known = match (state.directory.is_loaded(), state.directory.len()) {
        (false, _) => "no applications read yet".to_owned(),
        (true, 1) => "1 application".to_owned(),
        (true, known) => format!("{known} applications"),
    };
    lines.push(match admin.portal.live().map(Live::revision) {
        // A database that is down leaves the last state in force.
        Some(Err(trouble)) => format!("failing registry: {known}: {trouble}"),
        Some(Ok(revision)) => format!("ok registry: {known}, revision {revision}"),
        None if !state.directory.is_loaded() || refused("applications") => {
            format!("failing registry: {known}{}", edit("applications"))
        }
        None => format!("ok registry: {known}"),
    });
    let word = if refused("configuration") {
        "failing"
    } else {
        "ok"
    };
    lines.push(format!(
        "{word} configuration: in force{}",
        edit("configuration")
    ));
    let draining = if admin.shutdown.is_draining() {
        "failing"
    } else {
        "ok"
    };
    for address in &admin.listeners {
        lines.push(format!("{draining} listener {address}"));
    }
    lines.push(if ready {
        "ready\n".to_owned()
    } else {
        "not ready\n".to_owned()
    });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(header::CACHE_CONTROL, "no-store")],
        lines.join("\n"),
    )
        .into_response()
}

async fn metrics(Extract(admin): Extract<Admin>) -> Response {
    let metrics = &admin.metrics;
    admin.state.load().observe(metrics, clock::now());
    let open = admin.counters.open.load(Ordering::Relaxed);
    metrics
        .connections
        .set(i64::try_from(open).unwrap_or(i64::MAX));
    raise(&metrics.log_lines_dropped, admin.lines.dropped());
    for (reason, count) in [
        ("header_too_large", &admin.counters.head_too_large),
        ("malformed", &admin.counters.malformed),
        ("overloaded", &admin.counters.overloaded),
        ("request_timeout", &admin.counters.head_timeouts),
        ("tls_handshake", &admin.counters.tls_handshakes),
    ] {
        let counter = metrics.connection_refusals.with_label_values(&[reason]);
        raise(&counter, count.load(Ordering::Relaxed));
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        metrics.text(),
    )
        .into_response()
}

/// An answer in the form of RFC 9457.
fn problem(status: u16, code: &str, title: &str) -> Response {
    let body = Problem::new(status, code, title).to_bytes();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, fields, body).into_response()
}
