//! How connections to the operator's address are taken, and lost.

use std::{
    fs::File,
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

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

/// A listener with so many places. Who comes beyond them waits to be accepted.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    reserve: Vec<File>,
}

/// A connection that has a place, and loses it when nothing happens.
pub(super) struct Guest {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    work: Work,
    /// Since when something comes in without an answer going out.
    hearing_since: Option<Instant>,
    _place: Option<OwnedSemaphorePermit>,
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
    /// What is done for them.
    pub(super) work: Work,
}

impl Door {
    /// Gives a listener places.
    pub(super) fn new(listener: TcpListener, places: usize) -> Self {
        Self {
            listener,
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
        let (stream, peer) = loop {
            match self.listener.accept().await {
                Ok(accepted) => break accepted,
                // The proxy's connections have taken the last descriptor. It looks for another one
                // only now and then, so this one is ours.
                Err(_) if self.reserve.pop().is_some() => {}
                Err(error) => {
                    tracing::warn!(%error, "the operator's address cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let guest = Guest {
            stream,
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            work: Work::default(),
            hearing_since: None,
            _place: place,
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
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
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
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        if done.is_ready() {
            self.hearing_since = None;
        }
        self.patient(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
