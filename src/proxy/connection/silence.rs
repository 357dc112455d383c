//! An upstream that says nothing while a client waits for its answer.
//!
//! Pingora would set a timer for each wait, and most answers come long before. A client's connection
//! is looked at for as long as it waits, so one [`Alarm`] of its own does for all of its requests.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Context,
    time::Duration,
};

use tokio::time::Instant;

use super::alarm::Alarm;

/// How much longer than its time an upstream has, at most. Where we were late ourselves, its answer may
/// have come long ago, and may be found in this.
const GRACE: Duration = Duration::from_millis(50);

/// What a connection and the hooks share about the answer that is waited for. One task uses it all, one
/// step after the other.
#[derive(Debug)]
pub(super) struct Silence {
    /// What the others are counted from.
    origin: Instant,
    /// When it has lasted too long, in nanoseconds; [`NEVER`] while nobody waits.
    end: AtomicU64,
    /// How long it may last, in nanoseconds.
    limit: AtomicU64,
    /// Nobody has listened yet: the request may have been sent just now.
    is_new: AtomicBool,
    /// Its time is over, and [`GRACE`] runs.
    is_late: AtomicBool,
    /// That is over, too.
    is_over: AtomicBool,
}

const NEVER: u64 = u64::MAX;

/// The connection's side of it. Nothing is waited for before it is told of a [`Silence`].
#[derive(Debug, Default)]
pub(super) struct Listener {
    silence: Option<Arc<Silence>>,
    /// Bytes were passed on since it last listened.
    heard: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            end: AtomicU64::new(NEVER),
            limit: AtomicU64::new(NEVER),
            is_new: AtomicBool::new(false),
            is_late: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }
}

impl Silence {
    /// Begins to wait: from then on nothing may be heard for so long.
    pub(super) fn begin(&self, from: Instant, limit: Duration) {
        self.limit.store(nanoseconds(limit), Relaxed);
        self.is_over.store(false, Relaxed);
        self.is_new.store(true, Relaxed);
        self.begin_again(from);
    }

    /// Whether it has lasted too long.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Something was heard, and what was waited for is waited for again.
    fn begin_again(&self, from: Instant) {
        self.is_late.store(false, Relaxed);
        self.end_after(from, self.limit());
    }

    fn limit(&self) -> Duration {
        Duration::from_nanos(self.limit.load(Relaxed))
    }

    fn end_after(&self, from: Instant, time: Duration) {
        let from = nanoseconds(from.saturating_duration_since(self.origin));
        let end = from.saturating_add(nanoseconds(time));
        self.end.store(end, Relaxed);
    }

    /// When it will have lasted too long; `None` where it may last for ever.
    fn end(&self) -> Option<Instant> {
        let end = self.end.load(Relaxed);
        (end != NEVER)
            .then(|| self.origin.checked_add(Duration::from_nanos(end)))
            .flatten()
    }
}

impl Listener {
    /// Listens to this one from now on.
    pub(super) fn to(&mut self, silence: Arc<Silence>) {
        self.silence = Some(silence);
    }

    /// A new request: nothing is waited for yet.
    pub(super) fn reset(&mut self) {
        self.heard = false;
        if let Some(silence) = &self.silence {
            silence.end.store(NEVER, Relaxed);
        }
    }

    /// Notes that bytes were passed on.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// An error once it has lasted too long; wakes the task of `context` then.
    pub(super) fn check(&mut self, alarm: &mut Alarm, context: &mut Context<'_>) -> io::Result<()> {
        let Some(silence) = &self.silence else {
            return Ok(());
        };
        if silence.end().is_none() {
            return Ok(());
        }
        // The clock is read when somebody waits again, not at each byte: most answers are whole by then.
        if std::mem::take(&mut self.heard) {
            silence.begin_again(Instant::now());
        }
        while let Some(end) = silence.end() {
            if alarm.poll_at(end, context).is_pending() {
                silence.is_new.store(false, Relaxed);
                return Ok(());
            }
            if silence.is_new.swap(false, Relaxed) {
                silence.begin_again(Instant::now());
                continue;
            }
            if silence.is_late.swap(true, Relaxed) {
                silence.is_over.store(true, Relaxed);
                return Err(io::ErrorKind::TimedOut.into());
            }
            silence.end_after(Instant::now(), silence.limit().min(GRACE));
        }
        Ok(())
    }
}

/// As many as fit: some centuries.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
