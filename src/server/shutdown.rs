//! The stop: readiness first, then every client is told, then the listeners close, then the end.
//!
//! 1. [`Shutdown::is_draining`] turns true: readiness fails, every HTTP/1 answer says
//!    `Connection: close`, HTTP/2 clients get GOAWAY. The listeners stay open, so that nobody is
//!    turned away while load balancers are still finding out.
//! 2. The listeners close when no client is left and none has come for a moment, at the latest
//!    after half the grace period or 5 s.
//! 3. What is in flight is waited for, within the grace period. Connections that have asked
//!    nothing for [`LINGER`] are cut by the front itself.
//!
//! Without traffic this takes a quarter of a second. A second signal ends it at once.
//!
//! Where another process has taken this one's place ([`super::upgrade`]), readiness does not fail,
//! since whoever asks is answered there, and the listeners are let go at once: they live on.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, sleep},
};

use super::{service::Live, systemd};
use crate::{
    portal::api::request::Operation,
    proxy::connection::{Counters, LINGER},
};

/// How long the listeners stay open at most. Load balancers that look less often have to be told
/// before the signal is sent.
const ACCEPT: Duration = Duration::from_secs(5);

/// How long nobody may have come for traffic to count as over.
const QUIET: Duration = Duration::from_millis(250);

/// How long a connection that was just accepted may take to be counted.
const SETTLE: Duration = Duration::from_millis(50);

/// A second signal so soon after the first is the same one.
const TWICE: Duration = Duration::from_secs(1);

/// How often the counters are looked at, which happens only while stopping.
const LOOK: Duration = Duration::from_millis(10);

/// Asks for, and tells of, the stop of the whole program. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Steps>);

#[derive(Debug, Default)]
struct Steps {
    operation: Operation,
    requested: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    closing: watch::Sender<bool>,
    closed: watch::Sender<bool>,
    handed_over: watch::Sender<bool>,
    serving: watch::Sender<bool>,
}

/// What Pingora waits on: the signals, and then the drain.
pub(super) struct Signals {
    pub(super) shutdown: Shutdown,
    pub(super) counters: Arc<Counters>,
    pub(super) live: Arc<Live>,
}

impl Shutdown {
    /// A program that goes on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the stop, as SIGTERM and SIGINT do.
    pub fn request(&self) {
        self.0.requested.send_replace(true);
    }

    /// Begins the stop of a program whose place another has taken.
    pub(super) fn hand_over(&self) {
        self.0.handed_over.send_replace(true);
        self.request();
    }

    /// What is being done for operators and developers holds one of these.
    pub(super) fn operation(&self) -> Operation {
        self.0.operation.clone()
    }

    /// Waits until nothing is done for operators and developers any more, no longer than this: an
    /// identity provider may have made a secret that nobody would ever see.
    pub(super) async fn operations_end(&self, patience: Duration) {
        let start = Instant::now();
        let has_some = || self.0.operation.others() > 0;
        if !has_some() {
            return;
        }
        while has_some() && start.elapsed() < patience {
            sleep(LOOK).await;
        }
        let others = self.0.operation.others();
        if others > 0 {
            tracing::warn!(operations = others, "stopped in the midst of operations");
        }
        // So that their answers go out.
        sleep(SETTLE).await;
    }

    /// Turns true when another program has taken this one's place.
    pub(super) fn handed_over(&self) -> watch::Receiver<bool> {
        self.0.handed_over.subscribe()
    }

    /// Whether the stop has begun and no other program has taken this one's place: what readiness
    /// asks.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.draining.borrow() && !*self.0.handed_over.borrow()
    }

    /// Turns true when the stop begins.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.0.draining.subscribe()
    }

    /// Turns true when the proxy accepts connections.
    pub(super) fn serving(&self) -> watch::Receiver<bool> {
        self.0.serving.subscribe()
    }

    /// The proxy accepts connections.
    pub(super) fn set_serving(&self) {
        self.0.serving.send_replace(true);
    }

    /// The proxy accepts none any more.
    pub(super) fn set_closed(&self) {
        self.0.closed.send_replace(true);
    }

    /// Turns true when the proxy's listeners are to close.
    pub(super) fn closing(&self) -> ShutdownWatch {
        self.0.closing.subscribe()
    }

    async fn requested(&self) {
        // The sender is a field of this handle, so the wait cannot fail.
        let _ = self
            .0
            .requested
            .subscribe()
            .wait_for(|requested| *requested)
            .await
            .is_ok();
    }
}

impl Signals {
    async fn drain(&self) {
        let start = Instant::now();
        let counters = &*self.counters;
        tracing::info!(
            connections = counters.open.load(Relaxed),
            requests = counters.in_flight.load(Relaxed),
            "stopping"
        );
        let handed_over = *self.shutdown.0.handed_over.borrow();
        if !handed_over {
            systemd::stopping();
        }
        self.shutdown.0.draining.send_replace(true);

        let grace_period = **self.live.grace_period.load();
        let accept = match handed_over {
            true => Duration::ZERO,
            false => ACCEPT.min(grace_period / 2),
        };
        let mut last_seen = start;
        let mut accepted = counters.accepted.load(Relaxed);
        while start.elapsed() < accept && last_seen.elapsed() < QUIET {
            sleep(LOOK).await;
            let now = counters.accepted.load(Relaxed);
            if now != accepted || counters.open.load(Relaxed) > 0 {
                last_seen = Instant::now();
                accepted = now;
            }
        }
        self.shutdown.0.closing.send_replace(true);
        // Who was accepted last is counted only when its task has run.
        let mut closed = self.shutdown.0.closed.subscribe();
        let settled = async {
            // The sender is a field of this handle, so the wait cannot fail.
            let _ = closed.wait_for(|closed| *closed).await.is_ok();
            sleep(SETTLE).await;
        };
        let _ = tokio::time::timeout(grace_period.min(QUIET), settled)
            .await
            .is_ok();

        // A little longer than a connection lingers, so that the front is the one that cuts.
        let lingers = LINGER + QUIET;
        while start.elapsed() < grace_period {
            let idle = counters.in_flight.load(Relaxed) == 0 && start.elapsed() > lingers;
            if idle || counters.open.load(Relaxed) == 0 {
                break;
            }
            sleep(LOOK).await;
        }
        tracing::info!(
            connections = counters.open.load(Relaxed),
            requests = counters.in_flight.load(Relaxed),
            seconds = start.elapsed().as_secs_f32(),
            "stopped"
        );
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        self.shutdown.requested().await;
        // Whoever ends a process and its group sends the same signal twice.
        let again = async {
            sleep(TWICE).await;
            signalled().await;
        };
        tokio::select! {
            () = self.drain() => {}
            () = again => tracing::warn!("stopping at once on a second signal"),
        }
        // All waiting was done here; any other answer would make Pingora sleep.
        ShutdownSignal::FastShutdown
    }
}

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// Listens for them from now on: neither ends the process any more.
    ///
    /// # Errors
    /// The system says no.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signalled() {
    let Ok(mut stops) = Stops::listen() else {
        // Without handlers the signals keep their default, which is to end the process.
        return std::future::pending().await;
    };
    stops.next().await;
}
