//! A connection that lets Pingora read one request and no further.
//!
//! Pingora reads as much as there is. What belongs to the next request it would drop, closing the
//! connection, or even take for a fault of the request under way. So it gets each connection
//! behind a [`Gate`], which ends where the request ends and keeps the rest.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::{
    prelude::timeout,
    protocols::{
        ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
        Stream, TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    runtime::Handle,
    time::Instant,
};

use super::{
    alarm::Alarm, count::Permit, half_closed::HalfClosed, head::Body, silence::Listener,
    tunnel::Tunnel,
};

/// Room for an ordinary head, so that it is read at once.
const HEAD: usize = 4096;

/// How long, and for how many bytes, what a client still sends is thrown away after its last
/// answer. A connection closed over unread bytes is reset, and that can destroy the answer
/// before the client has read it (RFC 9112 section 9.6).
const DISCARD: (Duration, usize) = (Duration::from_secs(1), 1 << 20);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Gate {
    /// `None` only while being dropped.
    stream: Option<Stream>,
    permit: Option<Permit>,
    /// Read and not yet passed on.
    ahead: BytesMut,
    ahead_limit: usize,
    body: Body,
    /// Where the client's half was seen to end during the request under way.
    half_closed: Option<HalfClosed>,
    listener: Listener,
    /// For the next bytes of the client, or of its answer: never for both at once.
    alarm: Alarm,
    tunnel: Tunnel,
    lingers: bool,
}

impl Gate {
    /// Puts the gate, closed, before a connection. Bytes that come while a request is under way
    /// and are not part of it are kept up to about `ahead_limit`.
    pub(super) fn new(stream: Stream, permit: Option<Permit>, ahead_limit: usize) -> Self {
        Self {
            stream: Some(stream),
            permit,
            ahead: BytesMut::new(),
            ahead_limit,
            body: Body::Length(0),
            half_closed: None,
            listener: Listener::default(),
            alarm: Alarm::default(),
            tunnel: Tunnel::default(),
            lingers: false,
        }
    }

    /// What was read and belongs to no request yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Whether what was read asks for no body in the answer.
    pub(super) fn is_head(&self) -> bool {
        self.ahead.starts_with(b"HEAD ")
    }

    /// Whether HTTP/2 is spoken.
    pub(super) fn is_http2(&self) -> bool {
        self.body == Body::Http2
    }

    /// Reads more. False: the client has gone.
    pub(super) async fn fill(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut() else {
            return false;
        };
        self.ahead.reserve(HEAD);
        matches!(stream.read_buf(&mut self.ahead).await, Ok(1..))
    }

    /// The same, until a deadline: `None` then. Whoever stops waiting loses no bytes.
    pub(super) async fn fill_by(&mut self, deadline: Instant) -> Option<bool> {
        let mut alarm = std::mem::take(&mut self.alarm);
        let read = {
            let mut fill = pin!(self.fill());
            poll_fn(|context| match fill.as_mut().poll(context) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => alarm.poll_at(deadline, context).map(|()| None),
            })
            .await
        };
        self.alarm = alarm;
        read
    }

    /// Removes blank lines before a head (RFC 9112 section 2.2).
    pub(super) fn skip_blank_lines(&mut self) -> bool {
        let before = self.ahead.len();
        loop {
            match *self.ahead {
                [b'\n', ..] => self.ahead.advance(1),
                [b'\r', b'\n', ..] => self.ahead.advance(2),
                _ => return self.ahead.len() < before,
            }
        }
    }

    /// Takes the first bytes of what was read.
    pub(super) fn take(&mut self, length: usize) -> BytesMut {
        if length == self.ahead.len() {
            // Splitting would make both parts shared, which costs an allocation.
            return std::mem::take(&mut self.ahead);
        }
        self.ahead.split_to(length)
    }

    /// Lets a body through to Pingora.
    pub(super) fn open(&mut self, body: Body) {
        self.body = body;
        self.half_closed = None;
        self.listener.reset();
    }

    /// What may end the wait for an answer.
    pub(super) fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// What may end the connection once it is a tunnel.
    pub(super) fn tunnel(&mut self) -> &mut Tunnel {
        &mut self.tunnel
    }

    /// Throws away what the client still sends before the connection is closed.
    pub(super) fn linger(&mut self) {
        self.lingers = true;
    }

    /// What happens while an answer is waited for: nothing, unless the client has gone or the
    /// upstream has been silent for too long.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(gone) = self.poll_beyond(context) {
            return Poll::Ready(gone);
        }
        match self.listener.check(&mut self.alarm, context) {
            Ok(()) => Poll::Pending,
            Err(silent) => Poll::Ready(Err(silent)),
        }
    }

    /// Reads past the end of the request, to see whether the client is still there. Never ready
    /// but for its end, and for that only once the client counts as gone.
    fn poll_beyond(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let mut space = [MaybeUninit::uninit(); 1024];
        while self.half_closed.is_none() && self.ahead.len() < self.ahead_limit {
            let mut chunk = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                // There may be further requests before it, which are still to be answered. The end
                // will be read again after them.
                self.half_closed = Some(HalfClosed::new());
            }
            self.ahead.extend_from_slice(chunk.filled());
        }
        match &mut self.half_closed {
            Some(half_closed) => half_closed.poll_gone(context).map(Ok),
            // Nobody is woken, and nobody needs to be: the answer under way goes on by itself.
            None => Poll::Pending,
        }
    }

    /// The end of the client's half where only the reader knows whether the request was whole. What
    /// has become a tunnel ends at once.
    fn poll_open_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.tunnel.is_open() {
            return Poll::Ready(());
        }
        let half_closed = self.half_closed.get_or_insert_with(HalfClosed::new);
        half_closed.poll_gone(context)
    }

    /// Notes what came of sending bytes.
    fn sent<T>(&mut self, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Ok(_)) = sent {
            self.listener.heard();
            if let Some(half_closed) = &mut self.half_closed {
                half_closed.sent();
            }
        }
        sent
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        let allowed = match gate.body {
            Body::Length(0) => return gate.poll_answer(context),
            Body::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Body::Http2 => usize::MAX,
            Body::Open => {
                gate.tunnel.check(context)?;
                if gate.half_closed.is_some() {
                    return gate.poll_open_end(context).map(Ok);
                }
                usize::MAX
            }
        };
        let allowed = allowed.min(buffer.remaining());
        let read = if !gate.ahead.is_empty() {
            let read = allowed.min(gate.ahead.len());
            buffer.put_slice(&gate.ahead[..read]);
            gate.ahead.advance(read);
            read
        } else if let Some(stream) = gate.stream.as_mut() {
            let stream = Pin::new(stream);
            if allowed == buffer.remaining() {
                let before = buffer.filled().len();
                ready!(stream.poll_read(context, buffer))?;
                buffer.filled().len() - before
            } else {
                let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
                ready!(stream.poll_read(context, &mut part))?;
                let read = part.filled().len();
                buffer.advance(read);
                read
            }
        } else {
            0
        };
        match &mut gate.body {
            Body::Length(left) => *left = left.saturating_sub(read as u64),
            Body::Open if read == 0 && allowed > 0 => {
                return gate.poll_open_end(context).map(Ok);
            }
            Body::Open | Body::Http2 => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.body == Body::Open {
            self.tunnel.check(context)?;
        }
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let sent = Pin::new(stream).poll_write(context, bytes);
        self.sent(sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.body == Body::Open {
            self.tunnel.check(context)?;
        }
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let sent = Pin::new(stream).poll_write_vectored(context, slices);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let unread = match self.body {
            Body::Http2 => false,
            Body::Length(left) => left > 0,
            Body::Open => true,
        };
        if !unread && !self.lingers && self.ahead.is_empty() {
            return;
        }
        if let (Some(stream), Ok(runtime)) = (self.stream.take(), Handle::try_current()) {
            runtime.spawn(discard(stream, self.permit.take()));
        }
    }
}

#[async_trait]
impl Shutdown for Gate {
    async fn shutdown(&mut self) {
        if let Some(stream) = self.stream.as_mut() {
            Shutdown::shutdown(&mut **stream).await;
        }
    }
}

impl UniqueID for Gate {
    fn id(&self) -> UniqueIDType {
        self.stream.as_ref().map_or(-1, |stream| stream.id())
    }
}

impl Ssl for Gate {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.as_ref()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.as_ref()?.selected_alpn_proto()
    }
}

/// Nothing is peeked at here: the preface was seen before.
impl Peek for Gate {}

impl GetTimingDigest for Gate {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        let stream = self.stream.as_ref();
        stream
            .map(|stream| stream.get_timing_digest())
            .unwrap_or_default()
    }

    fn get_read_pending_time(&self) -> Duration {
        let stream = self.stream.as_ref();
        stream
            .map(|stream| stream.get_read_pending_time())
            .unwrap_or_default()
    }

    fn get_write_pending_time(&self) -> Duration {
        let stream = self.stream.as_ref();
        stream
            .map(|stream| stream.get_write_pending_time())
            .unwrap_or_default()
    }
}

impl GetProxyDigest for Gate {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.as_ref()?.get_proxy_digest()
    }
}

impl GetSocketDigest for Gate {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.as_ref()?.get_socket_digest()
    }
}

/// Closes our half, and the other when the client does or its time is over.
async fn discard(mut stream: Stream, _permit: Option<Permit>) {
    let (time, mut bytes) = DISCARD;
    let read = async {
        Shutdown::shutdown(&mut *stream).await;
        let mut space = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut space).await {
            bytes = bytes.saturating_sub(read);
            if bytes == 0 {
                return;
            }
        }
    };
    // Whichever comes first, the connection is dropped now.
    let _ = timeout(time, read).await;
}
