//! How connections to the addresses of operators and developers are taken, and lost.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    future::Future as _,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, connect_info::Connected},
    http::header,
    serve::IncomingStream,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};
use tokio_rustls::{Accept, TlsAcceptor};

use super::{shutdown::Shutdown, socket::Bound};
use crate::{
    model::origin::Origin,
    portal::api::{
        body,
        problem::{Kind, Problem},
    },
};

/// Connections at once to one of these addresses. Operators need a handful, and each keeps a
/// descriptor that a client of the proxy may need.
const PLACES: usize = 256;

/// Of those, connections from one address where strangers come; IPv6 by /64. Browsers open six.
const EACH: usize = 64;

/// How long a whole body may take to arrive; shorter than the patience of a silent connection, so
/// that its client is told.
const ARRIVAL: Duration = Duration::from_secs(9);

/// How long a connection may neither read nor write while nothing is done for it. Shorter than
/// scrapers pause, who connect anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a whole request may take to come in. Else a byte now and then would keep a place for
/// ever.
const WHOLE: Duration = Duration::from_secs(20);

/// Descriptors kept back, so that operators are answered when clients have taken all others.
const RESERVE: usize = 8;

/// How long to wait where there is none of those either.
const PAUSE: Duration = Duration::from_millis(100);

/// So many connections each address has, and no more than its share. Proxies in front have as many as
/// they need.
pub(super) struct Shares {
    is_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    taken: Arc<Mutex<HashMap<Origin, usize>>>,
}

/// One connection of an address's share.
#[derive(Debug)]
struct Share {
    origin: Origin,
    taken: Arc<Mutex<HashMap<Origin, usize>>>,
}

impl Shares {
    /// Where these addresses are proxies in front.
    pub(super) fn new(is_proxy: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self {
            is_proxy: Box::new(is_proxy),
            taken: Arc::default(),
        }
    }

    /// One more connection of an address.
    ///
    /// # Errors
    /// It has all that it may have.
    fn take(&self, address: IpAddr) -> Result<Option<Share>, ()> {
        if (self.is_proxy)(address) {
            return Ok(None);
        }
        let origin = Origin::from(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(origin).or_default();
        if *own >= EACH {
            return Err(());
        }
        *own += 1;
        let taken = Arc::clone(&self.taken);
        Ok(Some(Share { origin, taken }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut own) = taken.entry(self.origin) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

/// A listener with so many places. Who comes beyond them waits to be accepted.
struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shares: Option<Shares>,
    places: Arc<Semaphore>,
    reserve: Vec<File>,
}

/// A connection that has a place, and loses it when nothing happens.
struct Guest {
    wire: Wire,
    secure: bool,
    patience: Pin<Box<Sleep>>,
    work: Work,
    /// Since when something comes in without an answer going out.
    hearing_since: Option<Instant>,
    _place: Option<OwnedSemaphorePermit>,
    _share: Option<Share>,
}

/// A connection, on which the handshake may not be made yet.
enum Wire {
    Open(Box<dyn Stream>),
    Shaking(Box<Accept<TcpStream>>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Wire {
    /// The stream, once the handshake is made.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut (dyn Stream + 'static)>>> {
        if let Self::Shaking(accept) = self {
            let stream = ready!(Pin::new(accept).poll(context))?;
            *self = Self::Open(Box::new(stream));
        }
        Poll::Ready(match self {
            Self::Open(stream) => Ok(Pin::new(&mut **stream)),
            Self::Shaking(_) => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

/// What is being done for a connection at this moment. An operation at a slow identity provider
/// takes longer than the connection's patience, and meanwhile there is nothing to read or write.
#[derive(Clone, Debug, Default)]
pub(super) struct Work(Arc<AtomicUsize>);

/// Lasts as long as something is done for a connection.
#[derive(Debug)]
pub(super) struct Working(Work);

/// Who comes through the door.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// From where.
    pub(super) address: SocketAddr,
    /// Over our own TLS.
    pub(super) secure: bool,
    /// What is done for them.
    pub(super) work: Work,
}

/// Answers on a bound socket until the program ends or another takes its place. Where strangers come,
/// each address has its share of the connections.
pub(super) async fn serve(
    router: Router,
    socket: Bound,
    tls: Option<TlsAcceptor>,
    shares: Option<Shares>,
    shutdown: &Shutdown,
) {
    let address = socket.address();
    let listener = match TcpListener::from_std(socket.into_socket()) {
        Ok(listener) => Door::new(listener, tls, shares, PLACES),
        Err(error) => {
            tracing::error!(%address, %error, "the address cannot be served");
            return;
        }
    };
    let mut handed_over = shutdown.handed_over();
    let answered_elsewhere = async move {
        // The sender lives as long as the program; without it nobody has taken its place.
        if handed_over.wait_for(|handed| *handed).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let service = router.into_make_service_with_connect_info::<Visitor>();
    let served = axum::serve(listener, service).with_graceful_shutdown(answered_elsewhere);
    if let Err(error) = served.await {
        tracing::error!(%address, %error, "the address is no longer served");
    }
}

/// The request with its whole body.
pub(super) async fn arrived(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let limit = body::LIMIT;
    if length.is_some_and(|length| length > limit as u64) {
        return Err(body::too_large());
    }
    let Ok(read) = tokio::time::timeout(ARRIVAL, to_bytes(body, limit)).await else {
        return Err(Problem::new(Kind::RequestTimeout));
    };
    // With a length that is within the limit, it broke off; nobody may be there to read this.
    let bytes = read.map_err(|_| match length {
        Some(_) => Problem::new(Kind::MalformedJson).detailed("the body broke off"),
        None => body::too_large(),
    })?;
    Ok(Request::from_parts(head, Body::from(bytes)))
}

impl Door {
    /// Gives a listener places.
    fn new(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        shares: Option<Shares>,
        places: usize,
    ) -> Self {
        Self {
            listener,
            tls,
            shares,
            places: Arc::new(Semaphore::new(places)),
            reserve: Vec::new(),
        }
    }

    /// Keeps descriptors back while there are any.
    fn fill_reserve(&mut self) {
        while self.reserve.len() < RESERVE {
            match File::open("/dev/null") {
                Ok(file) => self.reserve.push(file),
                Err(_) => return,
            }
        }
    }
}

impl axum::serve::Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        self.fill_reserve();
        let (stream, peer, share) = loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match &self.shares {
                    None => break (stream, peer, None),
                    // Closed at once: to wait for the others would take their place.
                    Some(shares) => match shares.take(peer.ip()) {
                        Ok(share) => break (stream, peer, share),
                        Err(()) => drop(stream),
                    },
                },
                // The proxy's connections have taken the last descriptor. It looks for another one
                // only now and then, so this one is ours.
                Err(_) if self.reserve.pop().is_some() => {}
                Err(error) => {
                    tracing::warn!(%error, "an address of operators or developers cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let guest = Guest {
            secure: self.tls.is_some(),
            // The handshake goes on with the first read, so that nobody holds up the others.
            wire: match &self.tls {
                Some(tls) => Wire::Shaking(Box::new(tls.accept(stream))),
                None => Wire::Open(Box::new(stream)),
            },
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            work: Work::default(),
            hearing_since: None,
            _place: place,
            _share: share,
        };
        (guest, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self {
            address: *stream.remote_addr(),
            secure: stream.io().secure,
            work: stream.io().work.clone(),
        }
    }
}

impl Work {
    /// From now on, until what this gives is dropped, nobody loses patience. For work that is
    /// bounded by itself, and only once the whole request is there: a client that sends slowly is
    /// one for which nothing is done.
    pub(super) fn begin(&self) -> Working {
        self.0.fetch_add(1, Ordering::Relaxed);
        Working(self.clone())
    }

    fn is_going_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    /// Passes on what came of reading or writing, and gives up where nothing did for too long.
    fn patient<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            let limit = self.limit();
            self.patience.as_mut().reset(limit);
            return done;
        }
        loop {
            ready!(self.patience.as_mut().poll(context));
            if !self.work.is_going_on() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.patience.as_mut().reset(Instant::now() + PATIENCE);
        }
    }

    /// When patience ends if nothing happens; for what comes in drop by drop, no later than
    /// [`WHOLE`] after its first drop.
    fn limit(&self) -> Instant {
        let idle = Instant::now() + PATIENCE;
        match self.hearing_since {
            Some(since) => idle.min(since + WHOLE),
            None => idle,
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let open = self.wire.poll_open(context);
        let done = flat(open.map_ok(|stream| stream.poll_read(context, buffer)));
        if done.is_ready() {
            let since = *self.hearing_since.get_or_insert_with(Instant::now);
            if Instant::now() > since + WHOLE && !self.work.is_going_on() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        self.patient(context, done)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let open = self.wire.poll_open(context);
        let done = flat(open.map_ok(|stream| stream.poll_write(context, bytes)));
        if done.is_ready() {
            self.hearing_since = None;
        }
        self.patient(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let open = self.wire.poll_open(context);
        flat(open.map_ok(|stream| stream.poll_flush(context)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let open = self.wire.poll_open(context);
        flat(open.map_ok(|stream| stream.poll_shutdown(context)))
    }
}

/// What came of an operation for which the connection had to be open.
fn flat<T>(done: Poll<io::Result<Poll<io::Result<T>>>>) -> Poll<io::Result<T>> {
    match done {
        Poll::Ready(Ok(done)) => done,
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
