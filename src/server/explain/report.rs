//! What a walk came to, as text for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::question::Question;
use crate::{
    proxy::{
        denial::Denial,
        explanation,
        walk::{Passed, Walk},
    },
    telemetry::checks::{Step, plain_json},
};

/// Columns of the text.
const WIDTH: usize = 100;

/// One request and what would become of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    method: String,
    url: String,
    credential: &'static str,
    api: Option<String>,
    checks: Vec<Told>,
    verdict: Verdict,
    /// What the gateway would have logged.
    log: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Told {
    name: &'static str,
    outcome: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Verdict {
    /// The gateway answers by itself.
    Answered { what: &'static str },
    /// Forwarded. A public API has no caller.
    Passed {
        #[serde(skip_serializing_if = "Option::is_none")]
        caller: Option<Caller>,
    },
    /// Refused.
    Refused {
        status: u16,
        code: &'static str,
        reason: &'static str,
        meaning: &'static str,
        cure: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        strategy: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        auth_method: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
}

#[derive(Debug, Serialize)]
struct Caller {
    strategy: String,
    auth_method: &'static str,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<Application>,
}

#[derive(Debug, Serialize)]
struct Application {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct All<'a> {
    passed: bool,
    requests: &'a [Report],
}

impl Report {
    /// Puts a report together.
    pub(super) fn new(question: Question, walk: Walk, log: Vec<String>) -> Self {
        let verdict = match walk.verdict {
            Ok(Passed::Answered(what)) => Verdict::Answered { what },
            Ok(Passed::Forwarded(who)) => Verdict::Passed {
                caller: who.map(|who| Caller {
                    strategy: who.strategy.to_string(),
                    auth_method: who.method,
                    client_id: who.client_id,
                    application: who.application.map(|(id, name)| Application {
                        id: id.to_string(),
                        name: name.into(),
                    }),
                }),
            },
            Err(denial) => Verdict::refused(&denial),
        };
        let told = |step: Step| Told {
            name: step.check.name(),
            outcome: step.outcome.name(),
            detail: step.detail,
        };
        Self {
            method: question.method.to_string(),
            url: question.url,
            credential: question.credential,
            api: walk.api.map(|api| api.to_string()),
            checks: walk.steps.into_iter().map(told).collect(),
            verdict,
            log,
        }
    }

    /// Whether it is not refused.
    pub(super) fn is_passed(&self) -> bool {
        !matches!(self.verdict, Verdict::Refused { .. })
    }
}

impl Verdict {
    fn refused(denial: &Denial) -> Self {
        let explanation = explanation::of(denial.code, denial.reason);
        Self::Refused {
            status: denial.code.status(),
            code: denial.code.name(),
            reason: denial.reason,
            meaning: explanation.meaning,
            cure: denial.cure.unwrap_or(explanation.cure),
            strategy: denial.strategy.as_ref().map(|s| s.config.name.to_string()),
            auth_method: denial.method.map(|method| method.name()),
            client_id: denial.client_id.as_ref().map(ToString::to_string),
        }
    }
}

/// All reports as one JSON object.
pub(super) fn json(reports: &[Report]) -> String {
    let all = All {
        passed: reports.iter().all(Report::is_passed),
        requests: reports,
    };
    // Strings and numbers always serialise.
    let text = serde_json::to_string_pretty(&all).unwrap_or_default();
    let mut text = plain_json(&text);
    text.push('\n');
    text
}

/// All reports for people.
pub(super) fn text(reports: &[Report]) -> String {
    let reports: Vec<String> = reports.iter().map(one).collect();
    reports.join("\n")
}

fn one(report: &Report) -> String {
    let mut text = String::new();
    let credential = match report.credential {
        "basic" => "with client id and secret",
        "cookie" => "with a cookie",
        "token" => "with a bearer token",
        _ => "without a credential",
    };
    let Report { method, url, .. } = report;
    wrap(&mut text, "", &format!("{method} {url} {credential}"));
    text.push('\n');
    let widest = report.checks.iter().map(|check| check.name.len()).max();
    let widest = widest.unwrap_or_default();
    for check in &report.checks {
        let Told { name, outcome, .. } = check;
        wrap(
            &mut text,
            &format!("  {outcome:7}  {name:widest$}  "),
            &check.detail,
        );
    }
    if !report.log.is_empty() {
        text.push_str("\nlogged:\n");
        for line in &report.log {
            wrap(&mut text, "  ", line);
        }
    }
    text.push('\n');
    match &report.verdict {
        Verdict::Answered { what } => {
            let _ = writeln!(text, "passed: the gateway answers by itself: {what}");
        }
        Verdict::Passed { caller: None } => {
            text.push_str("passed: forwarded, without a caller\n");
        }
        Verdict::Passed {
            caller: Some(caller),
        } => {
            let Caller {
                strategy,
                auth_method,
                client_id,
                application,
            } = caller;
            let application = match application {
                Some(known) => format!("application {:?}", known.name),
                None => "no application".to_owned(),
            };
            let who = format!(
                "client {client_id:?}, {application}, by {auth_method} under strategy {strategy}"
            );
            wrap(&mut text, "passed: ", &who);
        }
        Verdict::Refused {
            status,
            code,
            reason,
            meaning,
            cure,
            ..
        } => {
            let _ = writeln!(text, "refused: {status} {code}, reason {reason}");
            wrap(&mut text, "  why   ", meaning);
            wrap(&mut text, "  cure  ", cure);
        }
    }
    text
}

/// Writes a text behind a label, broken at spaces and set under itself.
pub(in crate::server) fn wrap(out: &mut String, label: &str, text: &str) {
    let indent = label.chars().count();
    let room = WIDTH.saturating_sub(indent).max(20);
    out.push_str(label);
    let mut left = 0;
    for word in text.split(' ') {
        let mut word = word;
        while !word.is_empty() || left == 0 {
            let length = word.chars().count();
            if left > 0 && left + 1 + length <= room {
                out.push(' ');
                out.push_str(word);
                left += 1 + length;
                break;
            }
            if left > 0 {
                let _ = write!(out, "\n{:indent$}", "");
            }
            // What fits on no line is cut.
            let end = word
                .char_indices()
                .nth(room)
                .map_or(word.len(), |(at, _)| at);
            out.push_str(&word[..end]);
            left = length.min(room);
            word = &word[end..];
            if word.is_empty() {
                break;
            }
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(label: &str, text: &str) -> String {
        let mut out = String::new();
        wrap(&mut out, label, text);
        out
    }

    #[test]
    fn long_texts_are_set_under_themselves() {
        let long = "word ".repeat(40);
        let text = wrapped("  label  ", long.trim());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("  label  word"));
        assert!(lines[1].starts_with("         word"));
        assert_eq!(text.split_whitespace().count(), 41);
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_nothing_is_lost(text in "[a-z ]{0,300}|[a-z☂]{0,300}") {
            let out = wrapped("  passed  name  ", &text);
            prop_assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{}", out);
            let letters = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(letters(&out), letters(&format!("passed name {text}")));
        }
    }
}
