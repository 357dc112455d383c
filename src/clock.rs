//! The one place that reads the time. Everything else is handed it, so that tests can choose it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::Timestamp;

/// The time of day, for comparing with what tokens and files say.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn now() -> Timestamp {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Timestamp::from_millis(millis)
}

/// A steady clock, for durations: it never jumps when somebody sets the time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn instant() -> Instant {
    Instant::now()
}
