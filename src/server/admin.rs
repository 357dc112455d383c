//! The operator's address: whether the program lives, whether it is ready, its metrics. Everything
//! else there needs the token.

mod door;
mod explain;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{Request, State as Extract},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

use super::{shutdown::Shutdown, socket::Bound};
use crate::{
    clock,
    portal::Portal,
    proxy::{connection::Counters, denial::Problem, state::State},
    telemetry::{
        lines::Lines,
        metrics::{Metrics, raise},
    },
};
use door::Door;

/// Connections at once to one of these addresses. Operators need a handful, and each keeps a
/// descriptor that a client of the proxy may need.
const PLACES: usize = 256;

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
            Surface::Whole => router.fallback(guarded),
        };
        let listener = match TcpListener::from_std(socket.into_socket()) {
            Ok(listener) => Door::new(listener, PLACES),
            Err(error) => {
                tracing::error!(%error, "the operator's address cannot be served");
                return;
            }
        };
        let mut handed_over = self.shutdown.handed_over();
        let answered_elsewhere = async move {
            // The sender lives as long as the program; without it nobody has taken its place.
            if handed_over.wait_for(|handed| *handed).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let served = axum::serve(listener, router.with_state(self))
            .with_graceful_shutdown(answered_elsewhere);
        if let Err(error) = served.await {
            tracing::error!(%error, "the operator's address is no longer served");
        }
    }

    /// Whether the token of a request is the configured one. Without a configured one, none is.
    fn is_operator(&self, request: &Request) -> bool {
        let state = self.state.load();
        let Some(token) = &state.config.admin_token else {
            return false;
        };
        let line = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let Some((scheme, presented)) = line.and_then(|line| line.split_at_checked(7)) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && bool::from(presented.ct_eq(token.expose().as_bytes()))
    }
}

/// Everything that has no public answer.
async fn guarded(Extract(admin): Extract<Admin>, request: Request) -> Response {
    if !admin.is_operator(&request) {
        let mut response = problem(401, "token_required", "This address needs the admin token");
        let challenge = HeaderValue::from_static("Bearer realm=\"admin\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    if let Some(response) = explain::answer(&admin, &request) {
        return response;
    }
    let writes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if writes && request.uri().path().starts_with("/v2/") {
        return problem(
            409,
            "registry_read_only",
            "Applications come from a file: edit that",
        );
    }
    problem(404, "not_found", "No such page")
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
    if state.directory.is_loaded() {
        let known = state.directory.len();
        let word = if refused("applications") {
            "failing"
        } else {
            "ok"
        };
        let edit = edit("applications");
        let known = match known {
            1 => "1 application".to_owned(),
            _ => format!("{known} applications"),
        };
        lines.push(format!("{word} registry: {known}{edit}"));
    } else {
        lines.push("failing registry: no applications read yet".to_owned());
    }
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
    let body = Problem::new(status, code, title, None).to_bytes();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, fields, body).into_response()
}
