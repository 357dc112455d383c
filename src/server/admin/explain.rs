//! `GET /explain/{request-id}`: why this gateway refused a request; `GET /explain`: the last ones.
//!
//! Answers as JSON, or as text to those who ask for `text/plain`.

use std::{borrow::Cow, net::IpAddr};

use axum::{
    extract::Request,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use url::form_urlencoded;
use uuid::Uuid;

use super::{Admin, problem};
use crate::{
    proxy::{
        explanation,
        refusals::{KEPT, Refusal},
        state::State,
    },
    server::explain::wrap,
    telemetry::checks::plain_json,
};

/// Refusals listed where nobody says how many.
const LISTED: usize = 20;

/// A refusal as it is told, in the order in which people read it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    time: String,
    request_id: String,
    status: u16,
    code: &'static str,
    reason: &'static str,
    meaning: &'static str,
    cure: &'static str,
    found: Option<&'a str>,
    needed: Option<&'a str>,
    client: Option<IpAddr>,
    method: Option<&'a str>,
    host: Option<&'a str>,
    path: Option<&'a str>,
    api: Option<&'a str>,
    strategy: Option<&'a str>,
    auth_method: Option<&'static str>,
    client_id: Option<&'a str>,
    application: Option<Application>,
    trace_id: Option<&'a str>,
}

/// The application of the client id, as it is now.
#[derive(Debug, Serialize)]
struct Application {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct All<'a> {
    refusals: Vec<Told<'a>>,
}

/// Answers a request for this path or below it; `None` where it is for another.
pub(super) fn answer(admin: &Admin, request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let id = match path.strip_prefix("/explain")? {
        "" | "/" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let title = "This page is only read";
        let mut response = problem(405, "method_not_allowed", title);
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return Some(response);
    }
    let state = admin.state.load();
    let as_text = wants_text(request);
    let Some(id) = id else {
        return Some(latest(&state, request, as_text));
    };
    // Ids are made here, so nothing else is one.
    let found = Uuid::try_parse(id).ok();
    let Some(refusal) = found.and_then(|id| state.refusals.find(id)) else {
        return Some(problem(
            404,
            "unknown_request",
            "No refusal with this id is kept: the request was let through, is too long ago, or was \
             judged by another gateway or before a restart",
        ));
    };
    let told = Told::new(&refusal, &state);
    Some(match as_text {
        true => text(told.text()),
        false => json(&told),
    })
}

fn latest(state: &State, request: &Request, as_text: bool) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let limit = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "limit");
    let limit = limit.map_or(Some(LISTED), |(_, limit)| limit.parse().ok());
    let Some(limit) = limit.filter(|limit| (1..=KEPT).contains(limit)) else {
        return problem(400, "invalid_limit", "limit must be from 1 to 4096");
    };
    let refusals = state.refusals.latest(limit);
    let told = refusals.iter().map(|refusal| Told::new(refusal, state));
    if as_text {
        return text(told.map(|told| told.line()).collect());
    }
    json(&All {
        refusals: told.collect(),
    })
}

/// Whether the client names text before it names JSON, if it names any.
fn wants_text(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|line| line.to_str().ok()).unwrap_or("");
    let mut kinds = accept
        .split(',')
        .map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let known = kinds.find(|kind| ["text/plain", "application/json", "*/*"].contains(kind));
    known == Some("text/plain")
}

fn json(told: &impl Serialize) -> Response {
    // Strings and numbers always serialise.
    let body = serde_json::to_string_pretty(told).unwrap_or_default();
    let mut body = plain_json(&body);
    body.push('\n');
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, body).into_response()
}

fn text(body: String) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, body).into_response()
}

impl<'a> Told<'a> {
    fn new(refusal: &'a Refusal, state: &State) -> Self {
        let explanation = explanation::of(refusal.code, refusal.reason);
        let some = |text: &'a String| (!text.is_empty()).then_some(&**text);
        let strategy = refusal.strategy.as_deref();
        let application = strategy.and_then(|name| {
            let known = state.strategies.get(name)?.applications.clone();
            let known = known.find(&refusal.client_id)?;
            Some(Application {
                id: known.id.to_string(),
                name: known.name.to_string(),
            })
        });
        Self {
            time: refusal.time.rfc3339().to_string(),
            request_id: refusal.request_id.to_string(),
            status: refusal.status,
            code: refusal.code.name(),
            reason: refusal.reason,
            meaning: explanation.meaning,
            cure: refusal.cure.unwrap_or(explanation.cure),
            // What is found may be nothing at all.
            found: some(&refusal.needed).map(|_| &*refusal.found),
            needed: some(&refusal.needed),
            client: refusal.client,
            method: some(&refusal.method),
            host: some(&refusal.host),
            path: some(&refusal.path),
            api: refusal.api.as_deref(),
            strategy,
            auth_method: refusal.auth_method,
            client_id: some(&refusal.client_id),
            application,
            trace_id: some(&refusal.trace_id),
        }
    }

    /// For people. What a client chose is quoted, so that none can look like another field or line.
    fn text(&self) -> String {
        let mut text = format!(
            "refused: {} {}, reason {}\n",
            self.status, self.code, self.reason
        );
        wrap(&mut text, "  why   ", self.meaning);
        wrap(&mut text, "  cure  ", self.cure);
        text.push('\n');
        let quoted = |value: Option<&str>| value.map(|value| Cow::Owned(format!("{value:?}")));
        let application = self.application.as_ref();
        let application = application.map(|known| format!("{:?}, {}", known.name, known.id));
        for (name, value) in [
            ("time", Some(Cow::Borrowed(&*self.time))),
            ("request_id", Some(Cow::Borrowed(&*self.request_id))),
            ("found", quoted(self.found)),
            ("needed", quoted(self.needed)),
            (
                "client",
                self.client.map(|client| client.to_string().into()),
            ),
            ("method", quoted(self.method)),
            ("host", quoted(self.host)),
            ("path", quoted(self.path)),
            ("api", quoted(self.api)),
            ("strategy", quoted(self.strategy)),
            ("auth_method", self.auth_method.map(Cow::Borrowed)),
            ("client_id", quoted(self.client_id)),
            ("application", application.map(Cow::Owned)),
            ("trace_id", quoted(self.trace_id)),
        ] {
            if let Some(value) = value {
                wrap(&mut text, &format!("  {name:11}  "), &value);
            }
        }
        text
    }

    /// One line for people.
    fn line(&self) -> String {
        format!(
            "{} {} {} {} {} {:?} {:?}\n",
            self.time,
            self.request_id,
            self.status,
            self.code,
            self.reason,
            self.method.unwrap_or_default(),
            self.path.unwrap_or_default(),
        )
    }
}
