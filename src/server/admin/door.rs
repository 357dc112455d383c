//! How connections to the operator's address are taken, and lost.

use std::{
    fs::File,
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

/// How long a connection may neither read nor write. Shorter than scrapers pause, who connect
/// anew.
const PATIENCE: Duration = Duration::from_secs(10);

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
    _place: Option<OwnedSemaphorePermit>,
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
            _place: place,
        };
        (guest, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
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
            self.patience.as_mut().reset(Instant::now() + PATIENCE);
            return done;
        }
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
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
        self.patient(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
