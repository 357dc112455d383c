//! How pages write what the registry holds.

use crate::{
    model::{
        application::{Registration, Status},
        time::Timestamp,
    },
    portal::record::{AccountStatus, Application, Life},
};

/// A state, as a page shows it: its word, and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) word: &'static str,
    pub(super) look: &'static str,
}

const fn badge(word: &'static str, look: &'static str) -> Badge {
    Badge { word, look }
}

impl From<Registration> for Badge {
    fn from(state: Registration) -> Self {
        match state {
            Registration::Approved => badge("Approved", "good"),
            Registration::Pending => badge("Waiting", "wait"),
            Registration::Rejected => badge("Rejected", "bad"),
            Registration::Revoked => badge("Revoked", "bad"),
        }
    }
}

/// Why an application is not simply at work; `None`: it is.
pub(super) fn state(application: &Application) -> Option<Badge> {
    match (application.life, application.status) {
        (Life::Creating, _) => Some(badge("Being made", "wait")),
        (Life::Deleting, _) => Some(badge("Being deleted", "wait")),
        (Life::Ready, Status::Suspended) => Some(badge("Suspended", "bad")),
        (Life::Ready, Status::Active) => None,
    }
}

impl From<Status> for Badge {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => badge("Active", "good"),
            Status::Suspended => badge("Suspended", "bad"),
        }
    }
}

impl From<AccountStatus> for Badge {
    fn from(status: AccountStatus) -> Self {
        match status {
            AccountStatus::Approved => badge("Open", "good"),
            AccountStatus::Pending => badge("Waiting", "wait"),
            AccountStatus::Rejected => badge("Rejected", "bad"),
            AccountStatus::Revoked => badge("Closed", "bad"),
        }
    }
}

impl From<Life> for Badge {
    fn from(life: Life) -> Self {
        match life {
            Life::Creating => badge("Being made", "wait"),
            Life::Deleting => badge("Being deleted", "wait"),
            Life::Ready => badge("Ready", "good"),
        }
    }
}

/// A time to the minute, in UTC.
pub(super) fn time(time: &Timestamp) -> String {
    let text = time.rfc3339().to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

/// A time to the second, in UTC, where something else says that.
pub(super) fn moment(time: &Timestamp) -> String {
    let text = time.rfc3339().to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(second)) => format!("{day} {second}"),
        _ => text,
    }
}

/// Text as one word of a shell (POSIX 2.2.2): nothing in single quotes means anything but itself.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_by_people() {
        assert_eq!(
            time(&Timestamp::from_millis(1_795_000_000_123)),
            "2026-11-18 11:06 UTC"
        );
        assert_eq!(time(&Timestamp::default()), "1970-01-01 00:00 UTC");
        assert_eq!(
            moment(&Timestamp::from_millis(1_795_000_000_123)),
            "2026-11-18 11:06:40"
        );
    }

    #[test]
    fn a_word_of_a_shell_is_one_whatever_is_in_it() {
        for (text, word) in [
            ("a b", "'a b'"),
            ("$(x)`y`", "'$(x)`y`'"),
            ("a'b", "'a'\\''b'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
