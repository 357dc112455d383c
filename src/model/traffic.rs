//! How much an application called of late.

use super::time::Timestamp;

/// Minutes that are remembered, the running one among them.
pub const MINUTES: usize = 60;

/// Calls of one minute, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Passed on, and answered by the upstream with a status below 400.
    pub passed: u32,
    /// Passed on, and answered by the upstream with a 4xx.
    pub client_errors: u32,
    /// Passed on, and answered by the upstream with a 5xx.
    pub server_errors: u32,
    /// Passed on, and given up by the client before there was an answer.
    pub unanswered: u32,
    /// Answered by the gateway: refused, or failed on the way to the upstream.
    pub refused: u32,
}

/// Calls of one minute that the gateway answered itself, with one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many minutes ago, 0 in the running one.
    pub age: usize,
    /// The stable name of the reason.
    pub code: &'static str,
    /// How many.
    pub count: u32,
}

/// An application's calls in the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// When the last call ended, however long ago.
    pub last: Timestamp,
    /// By minute: the running one last.
    pub minutes: [Minute; MINUTES],
    /// Refusals by minute and code, the oldest first.
    pub refused: Vec<Refused>,
}

impl Minute {
    /// All of them.
    pub fn calls(&self) -> u64 {
        let Self {
            passed,
            client_errors,
            server_errors,
            unanswered,
            refused,
        } = *self;
        let all = [passed, client_errors, server_errors, unanswered, refused];
        all.into_iter().map(u64::from).sum()
    }
}

impl Traffic {
    /// The last of its minutes, the running one among them.
    pub fn of_last(&self, minutes: usize) -> &[Minute] {
        &self.minutes[MINUTES.saturating_sub(minutes)..]
    }

    /// Calls in the last hour.
    pub fn calls(&self) -> u64 {
        self.minutes.iter().map(Minute::calls).sum()
    }
}
