//! What the checks of a request found, in words: for whoever asks why it was refused.
//!
//! Nothing here decides anything, and where nobody asks nothing is done. Always true: a secret, a
//! signature, a whole token and a cookie's value are not shown, and what is shown of a token that
//! was not verified yet is marked so.

pub(super) mod application;
pub(super) mod credential;
pub(super) mod route;
pub(super) mod session;
pub(super) mod strategy;
pub(super) mod token;

use std::time::Duration;

use crate::model::time::Timestamp;

/// How far a time lies from another, for people.
fn away(time: Timestamp, now: Timestamp) -> String {
    let whole = |duration: Duration| {
        let seconds = Duration::from_secs(duration.as_secs());
        humantime::format_duration(seconds).to_string()
    };
    if time > now {
        format!("in {}", whole(time.since(now)))
    } else {
        format!("{} ago", whole(now.since(time)))
    }
}
