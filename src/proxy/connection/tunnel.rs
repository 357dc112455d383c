//! A tunnel that ends when what opened it no longer holds.
//!
//! After an upgrade (RFC 9110 section 7.8) a connection carries bytes that are no requests: no hook
//! judges them, and none runs at all while nobody says anything. So the connection itself asks,
//! with or without traffic, whether it may go on.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Sleep;

/// Asked while a tunnel is open: how long to wait before it is asked again, or, as a fixed word for
/// the log, why the tunnel ends now.
pub struct Lease(Box<dyn Fn() -> Result<Duration, &'static str> + Send + Sync>);

/// What a connection and the hooks share about its tunnel.
#[derive(Debug, Default)]
pub(super) struct Terms {
    lease: OnceLock<Lease>,
    ended: OnceLock<&'static str>,
}

/// The connection's side of it. Costs nothing before there is a lease.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    terms: Option<Arc<Terms>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lease {
    /// Wraps the function. It must not block.
    pub fn new(ask: impl Fn() -> Result<Duration, &'static str> + Send + Sync + 'static) -> Self {
        Self(Box::new(ask))
    }

    /// Asks whether the tunnel may go on, and for how long without asking again.
    ///
    /// # Errors
    /// Why it ends now.
    pub fn ask(&self) -> Result<Duration, &'static str> {
        self.0()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

impl Terms {
    /// Sets the lease; a connection is upgraded once at most.
    pub(super) fn hold(&self, lease: Lease) {
        let _ = self.lease.set(lease);
    }

    /// Why the tunnel was to end, if it was. The lease is asked once more: where neither side takes
    /// bytes, a time-out may end the tunnel before its connection is looked at again.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.ask()?.err()
    }

    /// What the lease says; `None` without one. Asked again while the connection is being taken
    /// down, its first word counts.
    fn ask(&self) -> Option<Result<Duration, &'static str>> {
        if let Some(reason) = self.ended.get() {
            return Some(Err(reason));
        }
        let answer = self.lease.get()?.ask();
        Some(answer.inspect_err(|reason| {
            let _ = self.ended.set(reason);
        }))
    }
}

impl Tunnel {
    /// Looks at these terms from now on.
    pub(super) fn under(&mut self, terms: Arc<Terms>) {
        self.terms = Some(terms);
    }

    /// Whether there is a tunnel: one begins with its lease.
    pub(super) fn is_open(&self) -> bool {
        let terms = self.terms.as_ref();
        terms.is_some_and(|terms| terms.lease.get().is_some())
    }

    /// An error once the lease is over; wakes the task of `context` then, so that a connection that
    /// waits for bytes ends too.
    pub(super) fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_end(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(terms) = &self.terms else {
            return Poll::Pending;
        };
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
                self.timer = None;
            }
            match terms.ask() {
                None => return Poll::Pending,
                Some(Ok(wait)) => self.timer = Some(Box::pin(tokio::time::sleep(wait))),
                Some(Err(_)) => return Poll::Ready(()),
            }
        }
    }
}
