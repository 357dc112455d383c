//! The steps of one request that are the same whoever finds it a place: the gateway, which has
//! upstreams of its own, and a [guarded](super::guarded) proxy, which has not.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    Ctx,
    api::Api,
    authenticate::{Permit, Request},
    denial::{Answer, Code, Denial},
    framing::{self, Framing, Kind},
    head::host,
    headers::{self, Outgoing},
    hop::{Hop, Scheme},
    judge::{self, Verdict},
    reply, session,
    state::State,
};
use crate::{
    clock,
    model::credential::ShortText,
    telemetry::{checks::Checks, metrics::Metrics},
};

impl Ctx {
    /// A request of which nothing is known yet.
    pub(crate) fn new() -> Self {
        let mut id = [0; Hyphenated::LENGTH];
        Uuid::new_v4().hyphenated().encode_lower(&mut id);
        // Counted from the start: upstream and client both get it.
        let id = HeaderValue::from_maybe_shared(Bytes::from_owner(id));
        Self {
            started: clock::instant(),
            now: clock::now(),
            // Hexadecimal digits and hyphens are a legal value.
            id: id.unwrap_or(HeaderValue::from_static("-")),
            state: None,
            log: None,
            api: None,
            hop: Hop::unknown(),
            host: ShortText::new(),
            prefix_length: 0,
            permit: None,
            exchange: None,
            code: Code::Internal,
            denial: None,
            judged: None,
            answered: None,
            body_received: 0,
            arrival: None,
            framing: Framing::default(),
            checks: Checks::default(),
        }
    }

    /// Fixes what the request is judged by: the state, the time, where it comes from.
    pub(crate) fn begin(&mut self, session: &mut Session, state: Arc<State>) {
        framing::prepare(session);
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = |address: Option<&pingora::protocols::l4::socket::SocketAddr>| {
            address.and_then(|address| address.as_inet().copied())
        };
        let peer = address(session.client_addr()).unwrap_or(unknown);
        let local = address(session.server_addr());
        let tls = session
            .digest()
            .and_then(|digest| digest.ssl_digest.as_ref());
        let scheme = tls.map_or(Scheme::Http, |_| Scheme::Https);
        let request = session.req_header();
        self.host = host(request).into();
        let trusted_proxies = &state.config.trusted_proxies;
        self.hop = Hop::new(trusted_proxies, peer, local, scheme, &request.headers);
        self.log = super::record::log(&state);
        self.state = Some(state);
    }

    /// Routes, judges and answers what may not go on. `true`: answered here, nothing is forwarded.
    ///
    /// # Errors
    /// Where the client is gone.
    pub(crate) async fn admit(
        &mut self,
        session: &mut Session,
        metrics: &Metrics,
    ) -> pingora::Result<bool> {
        let verdict = self.judge(session).await;
        self.settle(session, verdict, metrics).await
    }

    /// Routes and judges.
    ///
    /// # Errors
    /// The refusal, which [`Ctx::settle`] sends.
    pub(super) async fn judge(&mut self, session: &mut Session) -> Result<Verdict, Denial> {
        // Nobody else's body counts for the verdict, and to look costs a search among the fields.
        let has_body = session.req_header().method == Method::OPTIONS
            && !session.as_downstream_mut().is_body_empty();
        let request = session.req_header();
        judge::judge(request, request.raw_path(), has_body, self).await
    }

    /// Keeps the permit of a request that may go on, and answers every other one. `true`: answered
    /// here, nothing is forwarded.
    ///
    /// # Errors
    /// Where the client is gone.
    pub(super) async fn settle(
        &mut self,
        session: &mut Session,
        verdict: Result<Verdict, Denial>,
        metrics: &Metrics,
    ) -> pingora::Result<bool> {
        let judged = clock::instant();
        metrics
            .authentication_seconds
            .observe((judged - self.started).as_secs_f64());
        self.judged = Some(judged);
        let answered = match verdict {
            Ok(Verdict::Permit(permit)) => {
                self.permit = Some(permit);
                self.code = Code::Permit;
                return Ok(false);
            }
            Ok(Verdict::Answer(headers, reason)) => {
                self.code = Code::Permit;
                self.denial = Some(Denial::new(Code::Permit, reason));
                let answer = Answer {
                    status: StatusCode::NO_CONTENT,
                    headers,
                    body: Bytes::new(),
                };
                reply::send(session, self, answer).await
            }
            Err(denial) => reply::refuse(session, self, denial).await,
        };
        // Only a client that is gone cannot be answered.
        answered.map(|()| true).map_err(|error| error.into_down())
    }

    /// Hides the credential and tells the upstream who calls. `target` is its own name, for a
    /// request that names no host.
    ///
    /// # Errors
    /// Without a permit.
    pub(crate) fn send_on(
        &self,
        session: &Session,
        request: &mut RequestHeader,
        target: &str,
    ) -> pingora::Result<()> {
        let (Some(permit), Some(api), Some(state)) = (&self.permit, &self.api, &self.state) else {
            return Err(no_permit());
        };
        let outgoing = Outgoing {
            api,
            target,
            host: &self.host,
            hop: &self.hop,
            request_id: &self.id,
            prefix_length: self.prefix_length,
            http2: session.is_http2(),
        };
        headers::to_upstream(request, permit, state, &outgoing);
        Ok(())
    }

    /// The permit, or what a request ends with that has none.
    ///
    /// # Errors
    /// Without a permit.
    pub(crate) fn permit(&self) -> pingora::Result<&Permit> {
        self.permit.as_ref().ok_or_else(no_permit)
    }

    /// The API, once it is known.
    pub(crate) const fn api(&self) -> Option<&Arc<Api>> {
        self.api.as_ref()
    }

    /// The request's id.
    pub(crate) const fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// Another try begins: what was kept of the body passes its filter again.
    pub(crate) const fn begin_try(&mut self) {
        self.body_received = 0;
    }

    /// Notes what is sent to the upstream, whoever had the last word on it.
    pub(crate) fn sent(&mut self, request: &RequestHeader) {
        self.framing.sent(request);
    }

    /// Holds the body to its limit.
    ///
    /// # Errors
    /// 413 beyond `limits.body_size`.
    pub(crate) fn measure_body(
        &mut self,
        session: &Session,
        body: Option<&Bytes>,
    ) -> pingora::Result<()> {
        self.body_received += body.map_or(0, Bytes::len) as u64;
        let limit = self
            .state
            .as_ref()
            .and_then(|state| state.config.limits.body_size);
        // What goes through a tunnel is no body.
        if limit.is_some_and(|limit| self.body_received > limit) && !session.was_upgraded() {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "body too large"));
        }
        Ok(())
    }

    /// Says what an answer of the upstream is, and makes it one that the client can read.
    ///
    /// # Errors
    /// Without a permit; an answer that no client may get.
    pub(crate) fn receive(
        &mut self,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> pingora::Result<Kind> {
        let (Some(permit), Some(api)) = (&self.permit, &self.api) else {
            return Err(no_permit());
        };
        let kind = self.framing.received(session, response)?;
        if kind == Kind::Switch && permit.is_of_preflight(api) {
            return Err(framing::unasked());
        }
        Ok(kind)
    }

    /// Passes the head of the answer back, with a session cookie where one is due.
    ///
    /// # Errors
    /// Without a permit.
    pub(crate) fn pass_back(
        &mut self,
        session: &Session,
        response: &mut ResponseHeader,
        metrics: &Metrics,
    ) -> pingora::Result<()> {
        let (Some(permit), Some(api), Some(state)) = (&self.permit, &self.api, &self.state) else {
            return Err(no_permit());
        };
        let status = response.status.as_u16();
        let mut cookie = None;
        if let Some(caller) = permit
            .caller()
            .filter(|_| (200..400).contains(&status) && status != 304)
        {
            let request = session.req_header();
            let view = Request::new(
                &request.method,
                &request.headers,
                &self.host,
                &self.hop,
                self.now,
            );
            match session::renewal(state, api, caller, &view) {
                Ok(line) => cookie = line,
                Err(session::TooLarge) => metrics.session_too_large.inc(),
            }
        }
        if let Some(cors) = &api.cors {
            headers::set_cors(response, cors, &session.req_header().headers)?;
        }
        headers::to_client(response, permit.caller(), &state.owned, cookie, &self.id)?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // A tunnel may last for days, and reloads make a new state each.
            self.state = None;
        }
        Ok(())
    }

    /// Answers for an exchange that failed, where the client has not seen the upstream's head yet.
    pub(crate) async fn fail(&mut self, session: &mut Session, denial: Denial) {
        let is_interim = |status: StatusCode| {
            status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
        };
        let written = session.response_written().map(|response| response.status);
        if written.is_some_and(|status| !is_interim(status)) {
            // All that is left is to end early.
            self.code = denial.code;
            self.denial = Some(denial);
        } else {
            session.set_keepalive(None);
            // A client that is gone cannot be answered.
            let _ = reply::refuse(session, self, denial).await;
        }
    }

    /// Notes why a tunnel ended, which is nobody's failure.
    pub(crate) fn tunnel_ended(&mut self, reason: &'static str) {
        self.denial = Some(Denial::new(Code::Permit, reason));
    }
}

/// Gives a body one end: an empty last chunk would end a chunked one twice towards an HTTP/1 upstream,
/// and the second end would stand before the next request on that connection.
pub(crate) fn end_once(session: &Session, body: &mut Option<Bytes>, end_of_stream: bool) {
    let is_empty = body.as_ref().is_none_or(Bytes::is_empty);
    if end_of_stream && is_empty && !session.was_upgraded() {
        *body = None;
    }
}

/// What a request ends with that was never judged: nothing of it goes anywhere.
pub(super) fn no_permit() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "no permit")
}
