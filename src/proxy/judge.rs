//! A request's way to its verdict: path, route, credential, application; then a place upstream.
//!
//! The order is the design's: what can be refused without looking at a credential is refused first,
//! and nothing is asked of anybody for a request that no route takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, request::Parts};

use super::{
    Ctx,
    api::Api,
    authenticate::{self, Permit, Request, authenticate},
    connection::Arrival,
    cors::{self, Fields, Preflight},
    denial::{Code, Denial},
    details,
    head::{check_head, declared_length},
    logout,
    path::{self, Path, Target},
    route::Found,
    upstream::{Refusal, config::Protocol, exchange::Exchange},
};
use crate::model::check::Check;

/// How long the answer to a logout waits until that is kept in a registry.
const KEPT: Duration = Duration::from_secs(2);

/// What is done with a request that is not refused.
pub(super) enum Verdict {
    /// 204 with these fields; the word is for the log.
    Answer(Fields, &'static str),
    /// It is forwarded.
    Permit(Permit),
}

/// Routes and judges a request. `raw_path` is the target as it
/// came, before anything was made of it; `has_body` counts for preflights.
///
/// # Errors
/// The refusal. Nothing was sent anywhere then but to an identity provider.
pub(super) async fn judge(
    request: &Parts,
    raw_path: &[u8],
    has_body: bool,
    ctx: &mut Ctx,
) -> Result<Verdict, Denial> {
    let Some(state) = ctx.state.as_deref() else {
        return Err(Denial::new(Code::Internal, "no_state"));
    };
    let checks = &ctx.checks;
    let head = check_head(request, &ctx.host, state.config.limits.header_count);
    details::route::head(checks, &ctx.host, head)?;
    let view = Request::new(
        &request.method,
        &request.headers,
        &ctx.host,
        &ctx.hop,
        ctx.now,
    )
    .on(ctx.arrival.as_ref().map(Arrival::recent))
    .told(checks);
    let target = details::route::path(checks, path::target(raw_path));
    let target = target.map_err(|_| Denial::new(Code::AmbiguousPath, "target"))?;
    let path = match target {
        Target::Asterisk => {
            checks.failed(Check::Path, || "* asks about no API".to_owned());
            return Err(Denial::new(Code::NoRoute, "asterisk"));
        }
        Target::Absolute { path, .. } | Target::Origin { path, .. } => path,
    };
    let preflight = Preflight::of(&request.method, &request.headers);
    // A preflight is for the request that it announces.
    let method = preflight.as_ref().map_or(&request.method, |p| &p.method);
    if path == logout::PATH && *method == Method::POST {
        let fields = match &preflight {
            Some(preflight) => logout::answer_preflight(state, &view, preflight),
            None => logout::log_out(state, &view),
        };
        // The answer says that it has ended: for good, where a registry can keep that.
        state.revocations.kept(KEPT).await;
        return fields.map(|fields| Verdict::Answer(fields, "logout"));
    }
    let ambiguous = |_| Denial::new(Code::AmbiguousPath, "path");
    let path = details::route::path(checks, Path::check(path)).map_err(ambiguous)?;
    checks.passed(Check::Path, || "one reading only".to_owned());
    let found = state.table.find(&ctx.host, &path, method);
    details::route::route(checks, state, &ctx.host, &path, method, &found);
    let (index, prefix_length) = match found {
        Found::Api {
            index,
            prefix_length,
        } => (index, prefix_length),
        Found::Ambiguous => return Err(Denial::new(Code::AmbiguousPath, "readings")),
        Found::MethodNotAllowed { allow } => {
            let mut denial = Denial::new(Code::MethodNotAllowed, "method");
            denial.allow = Some(Box::new(allow.clone()));
            return Err(denial);
        }
        Found::NoRoute => return Err(Denial::new(Code::NoRoute, "no_route")),
    };
    let Some(api) = state.apis.get(index) else {
        return Err(Denial::new(Code::Internal, "api_index"));
    };
    ctx.api = Some(Arc::clone(api));
    ctx.prefix_length = prefix_length;
    if let Some(limit) = state.config.limits.body_size
        && declared_length(request).is_some_and(|length| length > limit)
    {
        checks.failed(Check::BodySize, || {
            format!("limits.body_size is {limit} bytes")
        });
        return Err(Denial::new(Code::BodyTooLarge, "content_length"));
    }
    if ctx.host.is_empty()
        && let Some(upstream) = &api.config.upstream
        && upstream.host.is_none()
        && upstream.protocol != Protocol::Http1
    {
        // HTTP/1.0 asks for no name, HTTP/2 does (RFC 9113 section 8.3.1).
        checks.failed(Check::UpstreamHost, || {
            "no Host to send on, and the upstream speaks HTTP/2".to_owned()
        });
        return Err(Denial::new(Code::InvalidRequest, "no_host"));
    }
    let permit = match &preflight {
        None => authenticate(state, api, &view).await?,
        Some(preflight) => {
            let place = cors::Place {
                table: &state.table,
                host: &ctx.host,
                path: &path,
                api,
                index,
            };
            if let Some(fields) = cors::answer(&place, preflight)? {
                checks.passed(Check::Preflight, || "answered by the API's cors".to_owned());
                return Ok(Verdict::Answer(fields, "preflight"));
            }
            match authenticate::pass(api, preflight, has_body) {
                Some(permit) => {
                    checks.passed(Check::Preflight, || "preflight: pass".to_owned());
                    permit
                }
                None => {
                    checks.skipped(Check::Preflight, || {
                        "neither cors nor preflight: pass takes it, so it needs a credential like \
                         any request"
                            .to_owned()
                    });
                    let permit = authenticate(state, api, &view).await;
                    // Browsers send no credential with it, so that is not what is missing.
                    let permit = permit.map_err(|mut denial| {
                        if denial.code == Code::CredentialsRequired {
                            denial.reason = match api.cors {
                                Some(_) => "preflight_origin",
                                None => "preflight",
                            };
                        }
                        denial
                    })?;
                    cors::check_options(&place)?;
                    permit
                }
            }
        }
    };
    Ok(Verdict::Permit(permit))
}

/// Finds a request that may pass its place at the API's upstream.
///
/// # Errors
/// Why it cannot be sent there. Nothing was sent then.
pub(super) fn place(api: &Api, started: Instant) -> Result<Exchange, Denial> {
    let Some(upstream) = &api.upstream else {
        return Err(Denial::new(Code::Internal, "no_upstream"));
    };
    upstream.admit(started).map_err(|refusal| match refusal {
        Refusal::Full => Denial::new(Code::Overloaded, "upstream_connections"),
        Refusal::NoAddress => Denial::new(Code::UpstreamUnavailable, "no_address"),
        Refusal::Unhealthy => Denial::new(Code::UpstreamUnavailable, "unhealthy"),
    })
}
