//! The front: what happens on a client's connection before Pingora sees a request.
//!
//! Pingora reads heads without a deadline for the whole, up to 1 MiB, from any number of
//! connections, and at a stop cuts connections that it has told to stay. [`Front`] stands before
//! it: it reads each head itself under limits, hands it over whole, and takes the connection back
//! for the next one. HTTP/2, by ALPN or by prior knowledge (RFC 9113 section 3), is recognised by its
//! preface and handed over for good. TLS handshakes are made here too, so that they count as
//! connections and have a deadline.
//!
//! Always true here:
//! - Pingora sees a request only when its head is whole and within limits.
//! - Bytes of the next request wait here; a request that Pingora answers early can never leave
//!   part of its body to be taken for the next head.
//! - A connection is cut while a stop is under way only after its client was told to close, or has
//!   asked nothing for [`LINGER`].
//!
//! What is in a request is the business of the hooks in `proxy`.

mod alarm;
mod count;
mod gate;
mod half_closed;
pub mod head;
mod silence;
pub mod tls;
mod tunnel;

use std::{
    any::Any,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt as _,
    future::{Fuse, FusedFuture as _},
};
use http::StatusCode;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    prelude::timeout,
    protocols::{
        ALPN, GetSocketDigest, Stream,
        http::{
            ServerSession, date,
            v2::server::{H2Options, default_h2_options},
        },
    },
    proxy::{HttpProxy, ProxyHttp},
    server::ShutdownWatch,
};
use tokio::{io::AsyncWriteExt, time::Instant};

pub use count::Counters;
use count::Permit;
use gate::Gate;
use head::Body;
use silence::Silence;
use tls::{Began, Offer, Tls};
pub use tunnel::Lease;
use tunnel::Terms;

use super::recent::Recent;

/// How long a connection is kept for a next request. Shorter, clients connect more often than they
/// need to; longer, connections that nobody will use again hold memory and places.
const IDLE: Duration = Duration::from_secs(60);

/// While stopping: how long after its last answer a connection may still ask, to be answered with
/// `Connection: close`. Cutting it sooner would lose the request that is just on its way.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long one too many waits for its request, and any refused client to take its answer.
const REFUSAL: Duration = Duration::from_secs(1);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What one client may cost. See the configuration's `limits` for defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, request line included; on HTTP/2, of its fields with 32 bytes added to each.
    pub header_size: usize,
    /// Fields of a head, cookie fields together as one. HTTP/1 only; on HTTP/2 a hook counts.
    pub header_count: usize,
    /// Deadline for a whole head from its first byte, and for the first byte of a connection. On
    /// HTTP/2, how long a connection may be without a stream.
    pub header_timeout: Duration,
    /// Connections at once.
    pub connections: usize,
}

/// Why the front answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 431 `header_too_large`: too many bytes or fields.
    HeaderTooLarge,
    /// 400: the target holds a space, a control character or `#`, which Pingora would mend or drop.
    MalformedTarget,
    /// 503 `overloaded`: more connections than `limits.connections`.
    Overloaded,
    /// 400 `https_required`: plain HTTP on a listener that speaks TLS.
    PlainHttp,
    /// 408 `request_timeout`: the head was not whole in time.
    RequestTimeout,
}

/// What the front sends for a [`Refusal`]; the rest of the head is the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// An `application/problem+json` (RFC 9457).
    pub body: Bytes,
}

/// Makes the answer to a refusal, for the client at this address, if known. It is called once for
/// each refused request and may log and count.
pub struct Refuse(Box<dyn Fn(Refusal, Option<SocketAddr>) -> Answer + Send + Sync>);

/// A mark that the front gives to each HTTP/1 request, as Pingora's connection context.
///
/// Pingora refuses malformed heads by itself, before any hook. So that those can be counted, the
/// hooks have to report the others: call [`Arrival::reached`] in
/// [`ProxyHttp::on_connection_reuse`], which runs first. What it gives back is the hooks' hand on the
/// connection: it remembers the last token, waits for the upstream in Pingora's place, and ends the
/// connection once that is a tunnel that may not go on.
#[derive(Debug)]
pub struct Arrival {
    shared: Arc<Shared>,
    /// Nothing follows its head, so that its connection is looked at until the answer is whole.
    is_whole: bool,
}

/// What the front and the hooks share about one connection.
#[derive(Debug, Default)]
struct Shared {
    reached: AtomicBool,
    terms: Arc<Terms>,
    silence: Arc<Silence>,
    recent: Recent,
}

/// The front of one proxy. Pingora calls it with each new connection.
pub struct Front<P> {
    http: Arc<Http<P>>,
    limits: Arc<ArcSwap<Limits>>,
    refuse: Refuse,
    draining: ShutdownWatch,
    tls: Vec<(SocketAddr, Tls)>,
}

/// The proxy, counting what is in flight.
struct Http<P> {
    proxy: Arc<HttpProxy<P>>,
    counters: Arc<Counters>,
    limits: Arc<ArcSwap<Limits>>,
    server_options: HttpServerOptions,
}

/// What a client starts with.
enum Start {
    Http2,
    Request { head: BytesMut, body: Body },
}

impl Refuse {
    /// Wraps the function.
    pub fn new(
        answer: impl Fn(Refusal, Option<SocketAddr>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(answer))
    }
}

impl Arrival {
    /// Notes that a request has reached the hooks. Any other context is dropped.
    pub fn reached(context: Box<dyn Any + Send + Sync>) -> Option<Self> {
        let arrival = *context.downcast::<Self>().ok()?;
        arrival.shared.reached.store(true, Ordering::Relaxed);
        Some(arrival)
    }

    /// Holds the connection, from its upgrade on, to a lease: once that is over the connection is
    /// closed from our side, idle or not.
    pub fn hold(&self, lease: Lease) {
        self.shared.recent.clear();
        self.shared.terms.hold(lease);
    }

    /// What the connection remembers of the request before.
    pub fn recent(&self) -> &Recent {
        &self.shared.recent
    }

    /// Whether the connection itself can hold an HTTP/1 upstream to [the time](Self::wait) that it has
    /// for its answer.
    pub const fn can_wait(&self) -> bool {
        self.is_whole
    }

    /// From then on the upstream may say nothing for so long, at the beginning and each time after it
    /// has said something. Then the request ends with an error that
    /// [`was_silent`](Self::was_silent) tells from those of the client.
    pub fn wait(&self, from: std::time::Instant, limit: Duration) {
        self.shared.silence.begin(from.into(), limit);
    }

    /// Whether the upstream said nothing for too long.
    pub fn was_silent(&self) -> bool {
        self.shared.silence.is_over()
    }

    /// Why its lease was over, where that is what ended the connection.
    pub fn ended(&self) -> Option<&'static str> {
        self.shared.terms.ended()
    }
}

impl<P> Front<P> {
    /// Puts the front before a proxy. `limits` may change while it serves; only the time that an
    /// HTTP/2 connection may be without a stream stays as it is now. `draining` turns true when a
    /// stop begins: from then on every answer tells its client to close. `tls` are the bound
    /// addresses whose clients speak it; all others are plain.
    pub fn new(
        proxy: HttpProxy<P>,
        limits: Arc<ArcSwap<Limits>>,
        counters: Arc<Counters>,
        refuse: Refuse,
        draining: ShutdownWatch,
        tls: Vec<(SocketAddr, Tls)>,
    ) -> Self {
        let mut server_options = HttpServerOptions::default();
        // Only a stream that begins with the preface is handed over this way.
        server_options.h2c = true;
        // h2 has no deadline for half a HEADERS frame, so none may stay without a stream for long.
        server_options.h2_idle_timeout = Some(limits.load().header_timeout);
        let http = Http {
            proxy: Arc::new(proxy),
            counters,
            limits: limits.clone(),
            server_options,
        };
        Self {
            http: Arc::new(http),
            limits,
            refuse,
            draining,
            tls,
        }
    }

    /// The TLS of the listener that a connection came to.
    fn tls_of(&self, stream: &Stream) -> Option<&Tls> {
        if self.tls.is_empty() {
            return None;
        }
        let digest = stream.get_socket_digest()?;
        let local = digest.local_addr()?.as_inet().copied()?;
        let everywhere =
            |bound: &SocketAddr| bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4();
        self.tls.iter().find_map(|(bound, tls)| {
            let here =
                bound.port() == local.port() && (bound.ip() == local.ip() || everywhere(bound));
            here.then_some(tls)
        })
    }
}

impl<P> Front<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    async fn serve(&self, stream: Stream) {
        let mut limits = **self.limits.load();
        let Some(permit) = Permit::take(&self.http.counters, limits.connections) else {
            return self.refuse_connection(stream, &limits).await;
        };
        let mut preface = PREFACE;
        let mut stream = stream;
        if let Some(tls) = self.tls_of(&stream) {
            let handshake = timeout(limits.header_timeout, tls.accept(stream, Offer::All)).await;
            stream = match handshake {
                Ok(Began::Secured(stream)) => stream,
                Ok(Began::Plain(stream)) => {
                    let gate = Box::new(Gate::new(stream, Some(permit), limits.header_size));
                    return self.refuse_plain(gate, &limits).await;
                }
                Ok(Began::Failed) | Err(_) => {
                    let failed = &self.http.counters.tls_handshakes;
                    failed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            if stream.selected_alpn_proto() != Some(ALPN::H2) {
                preface = b"";
            }
        }
        let must_be_http2 = !preface.is_empty() && stream.get_ssl_digest().is_some();
        let mut gate = Box::new(Gate::new(stream, Some(permit), limits.header_size));
        // One wait for the whole connection: to begin one for each request would cost a lock.
        let mut draining = self.draining.clone();
        let stop = async move {
            // The sender lives as long as the server; without it there is no reason to stay either.
            let _ = draining.wait_for(|draining| *draining).await.is_ok();
        };
        let mut stop = std::pin::pin!(stop.fuse());
        let shared = Arc::new(Shared::default());
        gate.tunnel().under(Arc::clone(&shared.terms));
        gate.listener().to(Arc::clone(&shared.silence));
        let mut patience = limits.header_timeout;
        while has_bytes(&mut gate, patience, &mut stop).await {
            let _busy = self.http.counters.busy();
            limits = **self.limits.load();
            let mut searched = 0;
            // An ordinary head comes whole, and needs no deadline then.
            let mut start = read_start(&mut gate, preface, &limits, &mut searched);
            if matches!(start, Ok(None)) {
                let whole = wait_for_start(&mut gate, preface, &limits, &mut searched);
                start = match timeout(limits.header_timeout, whole).await {
                    Ok(start) => start,
                    Err(_) => Err(Refusal::RequestTimeout),
                };
            }
            gate = match start {
                Err(refusal) => {
                    self.http.counters.refused(refusal);
                    return self.answer(gate, refusal).await;
                }
                Ok(None) => return,
                Ok(Some(Start::Http2)) => break,
                // RFC 9113 section 3.3: who has chosen HTTP/2 by ALPN begins with its preface.
                Ok(Some(Start::Request { .. })) if must_be_http2 => {
                    self.http.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(Some(Start::Request { head, body })) => {
                    match self.exchange(gate, head, body, &shared).await {
                        Some(gate) => gate,
                        None => return,
                    }
                }
            };
            patience = IDLE;
            // Only the first bytes of a connection can be the preface.
            preface = b"";
        }
        if gate.is_http2() {
            ServerApp::process_new(&self.http, gate, &self.draining).await;
        }
    }

    /// Lets Pingora answer one request. Gives the connection back if it is good for another.
    async fn exchange(
        &self,
        mut gate: Box<Gate>,
        head: BytesMut,
        body: Body,
        shared: &Arc<Shared>,
    ) -> Option<Box<Gate>> {
        gate.open(body);
        let arrival = Arrival {
            shared: Arc::clone(shared),
            is_whole: body == Body::Length(0),
        };
        let mut session = ServerSession::new_http1(gate);
        session.set_pipelined_prefix(head);
        // The gate tells of the client's end only when nobody can be waiting for the answer.
        session.set_abort_on_close(true);
        shared.reached.store(false, Ordering::Relaxed);
        session.set_connection_user_context(Some(Box::new(arrival)));
        let reused = self
            .http
            .proxy
            .process_new_http(session, &self.draining)
            .await;
        if !shared.reached.load(Ordering::Relaxed) {
            self.http.counters.malformed.fetch_add(1, Ordering::Relaxed);
        }
        let (stream, _) = reused?.consume();
        let mut gate: Box<Gate> = stream.into_any().downcast().ok()?;
        // Whatever it was, all of it has been read.
        gate.open(Body::Length(0));
        Some(gate)
    }

    /// Answers a connection that has no place. One that speaks HTTP/2 is closed: it would take the
    /// answer for a fault of ours.
    async fn refuse_connection(&self, stream: Stream, limits: &Limits) {
        self.http.counters.refused(Refusal::Overloaded);
        let Some(_refusing) = self.http.counters.refusing() else {
            return;
        };
        let mut preface = PREFACE;
        let mut stream = stream;
        if let Some(tls) = self.tls_of(&stream) {
            let handshake = timeout(REFUSAL, tls.accept(stream, Offer::Http1)).await;
            let Ok(Began::Secured(secured) | Began::Plain(secured)) = handshake else {
                return;
            };
            stream = secured;
            preface = b"";
        }
        let mut gate = Box::new(Gate::new(stream, None, limits.header_size));
        // Clients take an answer before their request for a fault of the connection.
        let start = timeout(REFUSAL, wait_for_start(&mut gate, preface, limits, &mut 0)).await;
        if !matches!(start, Ok(Ok(None | Some(Start::Http2)))) {
            self.answer(gate, Refusal::Overloaded).await;
        }
    }

    /// Answers a plain request on a listener that speaks TLS: browsers and curl show it, where they
    /// would show an alert as a riddle.
    async fn refuse_plain(&self, mut gate: Box<Gate>, limits: &Limits) {
        self.http.counters.refused(Refusal::PlainHttp);
        let whole = timeout(REFUSAL, wait_for_start(&mut gate, b"", limits, &mut 0)).await;
        if !matches!(whole, Ok(Ok(None))) {
            self.answer(gate, Refusal::PlainHttp).await;
        }
    }

    /// Answers and closes.
    async fn answer(&self, mut gate: Box<Gate>, refusal: Refusal) {
        let digest = gate.get_socket_digest();
        let peer = digest.and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let Answer { status, body } = (self.refuse.0)(refusal, peer);
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nDate: {}\r\nContent-Type: application/problem+json\r\n\
             Cache-Control: no-store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            date::get_cached_date().to_str().unwrap_or_default(),
            body.len(),
        )
        .into_bytes();
        if !gate.is_head() {
            answer.extend_from_slice(&body);
        }
        let sent = async {
            gate.write_all(&answer).await?;
            gate.flush().await
        };
        if matches!(timeout(REFUSAL, sent).await, Ok(Ok(()))) {
            gate.linger();
        }
    }
}

#[async_trait]
impl<P> ServerApp for Front<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    /// Serves a connection to its end. The watch given here says when the listeners close; that a
    /// stop has begun is told by the front's own.
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        self.serve(stream).await;
        None
    }
}

#[async_trait]
impl<P> HttpServerApp for Http<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        draining: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _busy = self.counters.busy();
        self.proxy.process_new_http(session, draining).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        // Options of one's own lose Pingora's safe values, so they start from those.
        let mut options = default_h2_options();
        let size = self.limits.load().header_size;
        options.max_header_list_size(u32::try_from(size).unwrap_or(u32::MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server_options)
    }
}

/// What the bytes read so far begin with; `None`: more are needed. `searched` of them hold no end
/// of a head.
fn read_start(
    gate: &mut Gate,
    preface: &[u8],
    limits: &Limits,
    searched: &mut usize,
) -> Result<Option<Start>, Refusal> {
    let ahead = gate.ahead();
    if !preface.is_empty() && ahead.starts_with(preface) {
        gate.open(Body::Http2);
        return Ok(Some(Start::Http2));
    }
    if !preface.is_empty() && preface.starts_with(ahead) {
        return Ok(None);
    }
    if gate.skip_blank_lines() {
        *searched = 0;
    }
    let ahead = gate.ahead();
    if let Some(end) = head::end(ahead, *searched) {
        let body = check(&ahead[..end], limits)?;
        let head = gate.take(end);
        return Ok(Some(Start::Request { head, body }));
    }
    if ahead.len() > limits.header_size {
        return Err(Refusal::HeaderTooLarge);
    }
    *searched = ahead.len();
    Ok(None)
}

/// Reads until a head is whole. `None`: the client has gone.
async fn wait_for_start(
    gate: &mut Gate,
    preface: &[u8],
    limits: &Limits,
    searched: &mut usize,
) -> Result<Option<Start>, Refusal> {
    loop {
        if let Some(start) = read_start(gate, preface, limits, searched)? {
            return Ok(Some(start));
        }
        if !gate.fill().await {
            return Ok(None);
        }
    }
}

/// Checks a whole head and says what follows it.
fn check(head: &[u8], limits: &Limits) -> Result<Body, Refusal> {
    let outline = head::Outline::read(head);
    if head.len() > limits.header_size || outline.fields > limits.header_count {
        return Err(Refusal::HeaderTooLarge);
    }
    if !outline.target_is_clean {
        return Err(Refusal::MalformedTarget);
    }
    Ok(outline.body)
}

/// Waits for the first byte of a head. False: there will be none. `stop` is ready once, when the
/// program begins to stop.
async fn has_bytes(
    gate: &mut Gate,
    patience: Duration,
    stop: &mut Pin<&mut Fuse<impl Future<Output = ()>>>,
) -> bool {
    if !gate.ahead().is_empty() {
        return true;
    }
    let idle_since = Instant::now();
    if !stop.is_terminated() {
        tokio::select! {
            biased;
            read = gate.fill_by(idle_since + patience) => return read.unwrap_or(false),
            () = &mut *stop => {}
        }
    }
    let left = LINGER.saturating_sub(idle_since.elapsed());
    matches!(timeout(left, gate.fill()).await, Ok(true))
}

#[cfg(test)]
mod tests;
