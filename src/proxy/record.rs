//! How a request ended, counted and written down.
//!
//! A line names who called and why it was refused. It holds no query, no header, no credential.

mod line;

use std::{net::IpAddr, time::Duration};

use line::Line;
use pingora::proxy::Session;

use super::{
    Ctx,
    authenticate::Caller,
    denial::{Code, Denial},
    refusals::Subject,
    state::State,
    trace,
    traffic::{Outcome, Traffic},
    upstream::exchange::Exchange,
};
use crate::{
    clock,
    config::LogFormat,
    telemetry::{lines::Lines, metrics::Metrics},
};

/// Bytes shown of what a client chose. Lines share the room in which they wait, and a head may have
/// 32 KiB.
const SHOWN: usize = 1_024;

/// The target of a guard's access log.
pub const ACCESS: &str = "dcr_gateway::access";

/// That a request is to be logged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Log(LogFormat);

/// What the configuration says of that; `None` where requests are not logged.
pub fn log(state: &State) -> Option<Log> {
    let log = &state.config.log;
    log.access.then_some(Log(log.format))
}

/// Counts a request, for its application too, and puts its line to the others that wait.
pub fn request(session: &Session, ctx: &Ctx, metrics: &Metrics, traffic: &Traffic, lines: &Lines) {
    let (caller, elapsed) = count(ctx, metrics);
    keep(session, ctx, caller);
    count_call(session, ctx, caller, elapsed, traffic);
    if let Some(Log(format)) = ctx.log {
        lines.request(&write(&line(session, ctx, caller, elapsed), format));
    }
}

/// The same for a request that a guard in another program judged: its lines are events of `tracing`,
/// on the target [`ACCESS`].
pub fn event(session: &Session, ctx: &Ctx, metrics: &Metrics) {
    let (caller, elapsed) = count(ctx, metrics);
    if ctx.log.is_none() || !tracing::enabled!(target: ACCESS, tracing::Level::INFO) {
        return;
    }
    let line = line(session, ctx, caller, elapsed);
    tracing::info!(
        target: ACCESS,
        request_id = line.request_id,
        client = line.client.map(tracing::field::display),
        method = line.method,
        host = line.host,
        path = line.path,
        api = line.api,
        strategy = line.strategy,
        auth_method = line.auth_method,
        application = line.application.map(tracing::field::display),
        client_id = line.client_id,
        code = line.code,
        reason = line.reason,
        cure = line.cure,
        status = line.status,
        seconds = line.elapsed.as_secs_f64(),
        authentication_seconds = line.authentication.map(|time| time.as_secs_f64()),
        trace_id = line.trace_id,
        "request"
    );
}

/// Counts a request that has ended, and gives who called and how long it took.
fn count<'a>(ctx: &'a Ctx, metrics: &Metrics) -> (Option<&'a Caller>, Duration) {
    let elapsed = clock::instant() - ctx.started;
    metrics.request_seconds.observe(elapsed.as_secs_f64());
    match &ctx.api {
        Some(api) => api.count(metrics, ctx.code),
        None => metrics
            .requests
            .with_label_values(&["none", ctx.code.name()])
            .inc(),
    }
    let caller = ctx.permit.as_ref().and_then(|permit| permit.caller());
    count_verdict(ctx, caller, metrics);
    (caller, elapsed)
}

/// Counts a request for the application that made it. A refused one is counted where the credential
/// proved whose it is: nobody makes figures for others.
fn count_call(
    session: &Session,
    ctx: &Ctx,
    caller: Option<&Caller>,
    elapsed: Duration,
    traffic: &Traffic,
) {
    let of_denial = || {
        let denial = ctx
            .denial
            .as_ref()
            .filter(|denial| denial.code.status() == 403)?;
        let client_id = denial.client_id.as_ref()?;
        denial
            .strategy
            .as_ref()?
            .applications
            .find(client_id.as_str())
    };
    let application = match caller {
        Some(caller) => caller.application.as_ref().map(|known| known.id),
        None => of_denial().map(|known| known.id),
    };
    let Some(application) = application else {
        return;
    };
    let outcome = match ctx.code {
        Code::Permit => {
            let written = session.response_written();
            Outcome::Passed(written.map_or(0, |response| response.status.as_u16()))
        }
        code => Outcome::Refused(code),
    };
    traffic.count(application, outcome, ctx.now.plus(elapsed));
}

fn line<'a>(
    session: &'a Session,
    ctx: &'a Ctx,
    caller: Option<&'a Caller>,
    elapsed: Duration,
) -> Line<'a> {
    let request = session.req_header();
    let denial = ctx.denial.as_ref();
    let strategy = caller
        .map(|c| &c.strategy)
        .or(denial.and_then(|d| d.strategy.as_ref()));
    let method = caller.map(|c| c.method).or(denial.and_then(|d| d.method));
    let client_id = caller
        .map(|c| &c.verified.facts.client_id)
        .or(denial.and_then(|d| d.client_id.as_deref()));
    let application = caller.and_then(|caller| caller.application.as_ref());
    let exchange = ctx.exchange.as_ref();
    Line {
        time: ctx.now,
        request_id: ctx.id.to_str().unwrap_or_default(),
        client: Some(ctx.hop.client),
        method: cut(request.method.as_str()),
        host: cut(&ctx.host),
        path: cut(request.uri.path()),
        api: ctx.api.as_ref().map(|api| &*api.config.name),
        strategy: strategy.map(|strategy| &*strategy.config.name),
        auth_method: method.map(|method| method.name()),
        application: application.map(|application| application.id),
        client_id: client_id.map(|id| id.as_str()),
        code: ctx.code.name(),
        reason: denial.map(|denial| denial.reason),
        cure: denial.and_then(|denial| denial.cure),
        status: session
            .response_written()
            .map_or(0, |response| response.status.as_u16()),
        elapsed,
        authentication: ctx.judged.map(|judged| judged - ctx.started),
        upstream_answer: (ctx.answered)
            .map(|answered| answered - ctx.judged.unwrap_or(ctx.started)),
        upstream: exchange.map(Exchange::address),
        upstream_tries: exchange.map(Exchange::tries),
        upstream_reused: exchange.map(Exchange::is_reused),
        upstream_detail: exchange.and_then(Exchange::detail),
        bytes_received: ctx.body_received,
        bytes_sent: session.body_bytes_sent(),
        trace_id: trace::id(&request.headers),
    }
}

/// Writes down what was refused before there was a whole request.
pub fn refusal(
    state: &State,
    denial: &Denial,
    client: Option<IpAddr>,
    request_id: &str,
    lines: &Lines,
) {
    let now = clock::now();
    let subject = Subject {
        time: now,
        request_id,
        client,
        method: "",
        host: "",
        path: "",
        api: None,
        client_id: None,
        status: denial.code.status(),
        trace_id: None,
    };
    state.refusals.keep(denial, &subject);
    if !state.config.log.access {
        return;
    }
    let line = Line {
        time: now,
        request_id,
        client,
        code: denial.code.name(),
        reason: Some(denial.reason),
        cure: denial.cure,
        status: denial.code.status(),
        ..Line::default()
    };
    lines.request(&write(&line, state.config.log.format));
}

/// Keeps a refusal, for whoever asks about it by its id.
fn keep(session: &Session, ctx: &Ctx, caller: Option<&Caller>) {
    let (Some(denial), Some(state)) = (&ctx.denial, &ctx.state) else {
        return;
    };
    if denial.code == Code::Permit {
        return;
    }
    let request = session.req_header();
    let written = session.response_written();
    state.refusals.keep(
        denial,
        &Subject {
            time: ctx.now,
            request_id: ctx.id.to_str().unwrap_or_default(),
            client: Some(ctx.hop.client),
            method: request.method.as_str(),
            host: &ctx.host,
            path: request.uri.path(),
            api: ctx.api.as_ref().map(|api| &api.config.name),
            client_id: caller.map(|caller| caller.verified.facts.client_id.as_str()),
            status: written.map_or(denial.code.status(), |answer| answer.status.as_u16()),
            trace_id: trace::id(&request.headers),
        },
    );
}

fn count_verdict(ctx: &Ctx, caller: Option<&Caller>, metrics: &Metrics) {
    if let Some(caller) = caller {
        caller.strategy.count(metrics, caller.method, Code::Permit);
    } else if let Some(denial) = &ctx.denial
        && let (Some(strategy), Some(method)) = (&denial.strategy, denial.method)
    {
        strategy.count(metrics, method, denial.code);
    }
}

/// A line with its end.
fn write(line: &Line<'_>, format: LogFormat) -> String {
    let mut text = match format {
        LogFormat::Json => line.json(),
        LogFormat::Text => line.text(),
    };
    text.push('\n');
    text
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}
