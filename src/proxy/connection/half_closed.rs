//! A client that has closed its sending half.
//!
//! RFC 9112 section 9.6 lets it wait for its answer all the same, and to us one that has left looks
//! just like it. The one that waits is given time; the other must not hold its connection's place
//! and its upstream's for as long as the upstream may take.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::alarm::Alarm;

/// How long nothing may have been sent to such a client before it counts as gone. Shorter, scripts
/// that close their half at once lose answers that take a moment; longer, requests that were given
/// up hold places.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures that time.
#[derive(Debug)]
pub(super) struct HalfClosed {
    /// When bytes were last sent: who takes them is there.
    sent: Instant,
    alarm: Alarm,
}

impl HalfClosed {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self {
            sent: Instant::now(),
            alarm: Alarm::default(),
        }
    }

    /// Begins again: the client was sent something.
    pub(super) fn sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Ready once the client counts as gone.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll_at(self.sent + PATIENCE, context)
    }
}
