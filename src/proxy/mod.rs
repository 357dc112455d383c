//! The data plane: Pingora's hooks, in the order in which they run.
//!
//! `early_request_filter` fixes the facts of a request, `request_filter` routes and judges it,
//! `upstream_peer` and `upstream_request_filter` forward it, `response_filter` passes the answer
//! on, `logging` writes down how it ended. A request that holds no [`Permit`] is never forwarded.
//! What a guard in another program does too is in `visit`, one step each.

pub mod api;
pub mod authenticate;
pub mod bearer;
pub mod cache;
pub mod connection;
pub mod cors;
pub mod denial;
mod details;
pub mod exchange;
pub mod explanation;
pub mod forwarded;
pub mod framing;
pub mod guesses;
pub mod head;
pub mod headers;
pub mod hop;
pub mod identity;
mod judge;
pub mod logout;
pub mod path;
pub mod recent;
pub mod record;
pub mod refusals;
mod reply;
pub mod revocations;
pub mod route;
pub mod session;
pub mod state;
pub mod strategy;
pub mod trace;
pub mod traffic;
pub mod tunnel;
mod upload;
pub mod upstream;
pub mod verified;
pub(crate) mod visit;
pub mod walk;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};

use crate::{
    clock,
    model::{credential::ShortText, time::Timestamp},
    telemetry::{checks::Checks, lines::Lines, metrics::Metrics},
};
use api::Api;
use authenticate::Permit;
use connection::Arrival;
use denial::{Code, Denial};
use framing::{Framing, Kind};
use hop::Hop;
use judge::Verdict;
use record::Log;
use reply::failure;
use state::State;
use upstream::exchange::Exchange;

/// How long a client may take no byte of its answer.
const CLIENT_WRITE: Duration = Duration::from_secs(60);
/// How long an idle client connection is kept, in seconds.
const KEEPALIVE: u64 = 60;

/// The proxy. Holds the state that the last good configuration made.
#[derive(Debug)]
pub struct Gateway {
    state: Arc<ArcSwap<State>>,
    metrics: Arc<Metrics>,
    lines: Lines,
}

/// One request, from its head to its log line.
#[derive(Debug)]
pub struct Ctx {
    started: Instant,
    now: Timestamp,
    id: HeaderValue,
    /// None before there is a request, and once it has become a tunnel.
    state: Option<Arc<State>>,
    log: Option<Log>,
    api: Option<Arc<Api>>,
    hop: Hop,
    host: ShortText,
    prefix_length: usize,
    permit: Option<Permit>,
    exchange: Option<Exchange>,
    code: Code,
    denial: Option<Denial>,
    judged: Option<Instant>,
    answered: Option<Instant>,
    body_received: u64,
    arrival: Option<Arrival>,
    framing: Framing,
    checks: Checks,
}

impl Gateway {
    /// Makes the proxy of a state that somebody else replaces.
    pub const fn new(state: Arc<ArcSwap<State>>, metrics: Arc<Metrics>, lines: Lines) -> Self {
        Self {
            state,
            metrics,
            lines,
        }
    }
}

impl Ctx {
    /// What holds the upstream to its time, and how much of it there is, where that is not Pingora.
    fn wait(&self) -> Option<(&Arrival, Duration)> {
        let arrival = self.arrival.as_ref().filter(|arrival| arrival.can_wait())?;
        Some((arrival, self.exchange.as_ref()?.read_timeout()?))
    }

    /// When there was a connection to the upstream, now that there is one.
    fn connected(&self, reused: bool) -> Instant {
        let first = self.exchange.as_ref().is_some_and(|e| e.tries() == 1);
        // One that was kept is there at once, and the time need not be read again.
        let at_once = self.judged.filter(|_| first && reused);
        at_once.unwrap_or_else(clock::instant)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box of its own: Pingora's futures keep it in three places, and are copied when they start.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new())
    }

    /// None: Pingora's own choice is compression, switched off, and asked at each step.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        ctx: &mut Self::CTX,
        context: Box<dyn Any + Send + Sync>,
    ) {
        ctx.arrival = Arrival::reached(context);
    }

    /// Fixes what the request is judged by: the state, the time, where it comes from.
    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let state = self.state.load_full();
        let downstream = session.as_downstream_mut();
        // A client that reads nothing may not hold its answer, and an upstream, for ever.
        downstream.set_write_timeout(Some(CLIENT_WRITE));
        if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(KEEPALIVE));
        }
        ctx.begin(session, state);
        Ok(())
    }

    /// Routes and judges. `true`: answered here, nothing is forwarded.
    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        let mut verdict = ctx.judge(session).await;
        if let (Ok(Verdict::Permit(_)), Some(api)) = (&verdict, &ctx.api) {
            match judge::place(api, ctx.started) {
                Ok(exchange) => ctx.exchange = Some(exchange),
                Err(denial) => verdict = Err(denial),
            }
        }
        ctx.settle(session, verdict, &self.metrics).await
    }

    /// The target that was picked when the request was judged, or the next one to try. Refuses
    /// without a permit.
    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let (Some(_), Some(exchange)) = (&ctx.permit, &mut ctx.exchange) else {
            return Err(visit::no_permit());
        };
        let mut peer = exchange.next_peer();
        if ctx.wait().is_some() {
            peer.options.read_timeout = None;
        }
        if headers::lacks_hop_by_hop(&session.req_header().headers) {
            // There is nothing to remove, and to find that out once is enough.
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        }
        ctx.begin_try();
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(exchange) = &mut ctx.exchange {
            exchange.connected(reused);
        }
        if let Some((arrival, limit)) = ctx.wait() {
            arrival.wait(ctx.connected(reused), limit);
        }
        Ok(())
    }

    /// No connection: perhaps another target has one.
    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let idempotent = session.req_header().method.is_idempotent();
        match &mut ctx.exchange {
            Some(exchange) => exchange.not_connected(&mut error, idempotent),
            None => error.set_retry(false),
        }
        error
    }

    /// A broken exchange: tried again only where the upstream cannot have acted on it, or may act twice.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        if tunnel::end(session, &error, ctx.arrival.as_ref()).is_some() {
            // Nobody's failure, and nothing that could be sent again.
            error.set_retry(false);
            return error;
        }
        if ctx.wait().is_some_and(|(arrival, _)| arrival.was_silent()) {
            error = Error::explain(ErrorType::ReadTimedout, "no answer").into_up();
        }
        if upload::stalled(session, ctx, &error) {
            error.as_down();
        }
        let repeatable = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated();
        match &mut ctx.exchange {
            Some(exchange) => exchange.broke(&mut error, repeatable, reused),
            None => error.set_retry(false),
        }
        error
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Self::CTX,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        // The access log counts the tries, and what a target's failures lead to is logged once.
        true
    }

    /// Hides the credential and tells the upstream who calls. Runs again for each try.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let target = ctx.exchange.as_ref().map_or("", Exchange::target);
        ctx.send_on(session, upstream_request, target)?;
        ctx.sent(upstream_request);
        Ok(())
    }

    /// Holds the body to its limit.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        ctx.measure_body(session, body.as_ref())?;
        visit::end_once(session, body, end_of_stream);
        Ok(())
    }

    /// Passes the upstream's answer on, with a session cookie where one is due.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let kind = ctx.receive(session, response)?;
        if kind == Kind::Interim {
            if let Some(exchange) = &mut ctx.exchange {
                exchange.heard();
            }
            // Not all of these are passed on, where the connection would see them.
            if let Some((arrival, limit)) = ctx.wait() {
                arrival.wait(clock::instant(), limit);
            }
            return Ok(());
        }
        if let Some(exchange) = &mut ctx.exchange {
            exchange.answered(response.status.as_u16());
        }
        let answered = clock::instant();
        let since = ctx.judged.unwrap_or(ctx.started);
        self.metrics
            .upstream_seconds
            .observe((answered - since).as_secs_f64());
        ctx.answered = Some(answered);
        if kind == Kind::Switch
            && let Some(arrival) = &ctx.arrival
        {
            arrival.hold(tunnel::lease(&self.state, ctx)?);
        }
        ctx.pass_back(session, response, &self.metrics)
    }

    /// Answers for an upstream that failed.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        if let Some(reason) = tunnel::end(session, error, ctx.arrival.as_ref()) {
            ctx.tunnel_ended(reason);
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        let denial = failure(error);
        let code = denial.as_ref().map_or(0, |denial| denial.code.status());
        if let Some(denial) = denial {
            ctx.fail(session, denial).await;
        } else {
            // What was judged stays judged, though nobody was left to hear it.
            let denial = ctx.denial.get_or_insert(Denial::new(ctx.code, ""));
            denial.reason = "client_gone";
        }
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    /// Counts and writes down how the request ended.
    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Self::CTX) {
        let current;
        let traffic = match &ctx.state {
            Some(state) => &state.traffic,
            // What was a tunnel holds none.
            None => {
                current = self.state.load();
                &current.traffic
            }
        };
        record::request(session, ctx, &self.metrics, traffic, &self.lines);
        // The upstream is done, however long the client takes to go.
        ctx.exchange = None;
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &Self::CTX, error: &Error) -> bool {
        // Pingora's own line quotes an upstream's head that it cannot read, cookies and all.
        let of_client = failure(error).is_none_or(|denial| denial.code.status() < 500);
        if !of_client && ctx.log.is_none() {
            tracing::warn!(
                request_id = ctx.id.to_str().unwrap_or_default(),
                source = error.esource().as_str(),
                kind = error.etype().as_str(),
                reason = failure(error).map(|denial| denial.reason),
                upstream = ctx.exchange.as_ref().map(|e| e.address().to_string()),
                detail = ctx.exchange.as_ref().and_then(Exchange::detail),
                "a request failed"
            );
        }
        true
    }

    /// The line that Pingora logs with an error: without the query, which may hold anything.
    fn request_summary(&self, session: &Session, ctx: &Self::CTX) -> String {
        let request = session.req_header();
        let id = ctx.id.to_str().unwrap_or_default();
        format!("{} {}, request {id}", request.method, request.uri.path())
    }
}
