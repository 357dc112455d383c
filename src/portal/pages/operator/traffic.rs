//! An application's calls of the last hour, as a chart and a table.

use askama::Template;

use super::super::words::moment;
use crate::model::traffic::{MINUTES, Minute, Traffic};

/// Height of the chart, in its own units; each minute is ten wide.
const HEIGHT: u64 = 100;

/// The part of an application's page.
#[derive(Template)]
#[template(path = "operator_traffic.html", config = ".askama.toml")]
pub(super) struct Chart {
    /// `None`: it has not called.
    seen: Option<Seen>,
    /// The application's page.
    path: String,
    /// Whether the page loads itself again and again.
    is_live: bool,
}

struct Seen {
    last: String,
    most: u64,
    calls: u64,
    bars: Vec<Bar>,
    rows: Vec<Row>,
}

/// A piece of a minute's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bar {
    look: &'static str,
    x: usize,
    y: u64,
    height: u64,
}

/// What a span of time brought.
struct Row {
    name: &'static str,
    calls: u64,
    passed: u64,
    client_errors: u64,
    server_errors: u64,
    unanswered: u64,
    refused: u64,
    /// Why, and how often.
    codes: Vec<(&'static str, u64)>,
}

impl Chart {
    /// Of what is known of an application.
    pub(super) fn new(traffic: Option<Traffic>, path: String, is_live: bool) -> Self {
        let seen = traffic.map(|traffic| Seen::new(&traffic));
        Self {
            seen,
            path,
            is_live,
        }
    }
}

impl Seen {
    fn new(traffic: &Traffic) -> Self {
        let most = traffic.minutes.iter().map(Minute::calls).max();
        let most = most.unwrap_or_default();
        let spans = [
            ("This minute", 1),
            ("Last 5 minutes", 5),
            ("Last 60 minutes", MINUTES),
        ];
        Self {
            last: moment(&traffic.last),
            most,
            calls: traffic.calls(),
            bars: bars(traffic, most),
            rows: spans.map(|(name, span)| row(traffic, name, span)).into(),
        }
    }
}

/// Each minute's column, from below: passed, errors of the upstream, refused.
fn bars(traffic: &Traffic, most: u64) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (place, minute) in traffic.minutes.iter().enumerate() {
        let answered = u64::from(minute.passed) + u64::from(minute.unanswered);
        let errors = u64::from(minute.client_errors) + u64::from(minute.server_errors);
        let pieces = [
            ("passed", answered),
            ("errors", errors),
            ("refused", u64::from(minute.refused)),
        ];
        let mut below = 0;
        for (look, count) in pieces.into_iter().filter(|(_, count)| *count > 0) {
            // From sum to sum, so that the pieces add up whatever is rounded.
            let at = |count: u64| (count * HEIGHT).checked_div(most).unwrap_or(0);
            // A single call among thousands is seen too.
            let height = (at(below + count) - at(below)).max(1);
            bars.push(Bar {
                look,
                x: place * 10 + 1,
                y: HEIGHT.saturating_sub(at(below) + height),
                height,
            });
            below += count;
        }
    }
    bars
}

fn row(traffic: &Traffic, name: &'static str, span: usize) -> Row {
    let minutes = traffic.of_last(span);
    let sum = |part: fn(&Minute) -> u32| minutes.iter().map(|one| u64::from(part(one))).sum();
    let mut codes: Vec<(&'static str, u64)> = Vec::new();
    for refused in traffic.refused.iter().filter(|one| one.age < span) {
        let count = u64::from(refused.count);
        match codes.iter_mut().find(|(code, _)| *code == refused.code) {
            Some((_, sum)) => *sum += count,
            None => codes.push((refused.code, count)),
        }
    }
    codes.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    Row {
        name,
        calls: minutes.iter().map(Minute::calls).sum(),
        passed: sum(|one| one.passed),
        client_errors: sum(|one| one.client_errors),
        server_errors: sum(|one| one.server_errors),
        unanswered: sum(|one| one.unanswered),
        refused: sum(|one| one.refused),
        codes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{time::Timestamp, traffic::Refused};

    fn traffic() -> Traffic {
        let mut minutes = [Minute::default(); MINUTES];
        minutes[59] = Minute {
            passed: 3,
            client_errors: 1,
            refused: 4,
            ..Minute::default()
        };
        minutes[55] = Minute {
            passed: 4,
            ..Minute::default()
        };
        minutes[0] = Minute {
            refused: 1,
            ..Minute::default()
        };
        let refused = |age, code, count| Refused { age, code, count };
        Traffic {
            last: Timestamp::default(),
            minutes,
            refused: vec![refused(59, "b", 1), refused(0, "a", 1), refused(0, "b", 3)],
        }
    }

    #[test]
    fn a_column_is_made_of_its_pieces() {
        let bar = |look, x, y, height| Bar { look, x, y, height };
        assert_eq!(
            bars(&traffic(), 8),
            [
                bar("refused", 1, 88, 12),
                bar("passed", 551, 50, 50),
                bar("passed", 591, 63, 37),
                bar("errors", 591, 50, 13),
                bar("refused", 591, 0, 50),
            ]
        );
    }

    #[test]
    fn a_span_has_its_own_minutes_only() {
        let row = |span| {
            let row = row(&traffic(), "", span);
            (row.calls, row.passed, row.refused, row.codes)
        };
        assert_eq!(row(1), (8, 3, 4, vec![("b", 3), ("a", 1)]));
        assert_eq!(row(5), (12, 7, 4, vec![("b", 3), ("a", 1)]));
        assert_eq!(row(60), (13, 7, 5, vec![("b", 4), ("a", 1)]));
    }
}
