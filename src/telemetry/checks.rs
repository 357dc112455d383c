//! What the checks of one request found, for whoever asks why it was refused.
//!
//! A request on the wire records nothing: its [`Checks`] are off, which costs a compare, and no
//! text is made. Details come from closures that run where somebody listens. Always true: what is
//! told here is cut and printable, and never a secret, a token or a cookie.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::check::Check;

/// Characters shown of one text that came from outside.
const SHOWN: usize = 200;
/// Entries shown of one list that came from outside.
const LISTED: usize = 8;
/// Characters of a whole detail.
const LONGEST: usize = 2_000;
/// Steps of one walk. An honest one has some thirty for each strategy that is tried.
const STEPS: usize = 1_000;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the way.
    Failed,
    /// Nothing stands in the way.
    Passed,
    /// Not made, or it decides nothing here; the detail says why.
    Skipped,
}

impl Outcome {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Skipped => "skipped",
        }
    }
}

/// One check that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub check: Check,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, and what was wanted.
    pub detail: String,
}

/// Where checks are written down, if anywhere. Clones write into the same list.
#[derive(Clone, Debug, Default)]
pub struct Checks(Option<Arc<Mutex<Vec<Step>>>>);

impl Checks {
    /// Nobody listens.
    pub const OFF: &'static Self = &OFF;

    /// A new list.
    pub fn recording() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether somebody listens.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes down that a check passed.
    pub fn passed(&self, check: Check, detail: impl FnOnce() -> String) {
        self.note(check, Outcome::Passed, detail);
    }

    /// Writes down that a check failed.
    pub fn failed(&self, check: Check, detail: impl FnOnce() -> String) {
        self.note(check, Outcome::Failed, detail);
    }

    /// Writes down that a check was not made, or decided nothing.
    pub fn skipped(&self, check: Check, detail: impl FnOnce() -> String) {
        self.note(check, Outcome::Skipped, detail);
    }

    /// Writes down how a check ended.
    pub fn note(&self, check: Check, outcome: Outcome, detail: impl FnOnce() -> String) {
        let Some(steps) = &self.0 else { return };
        let step = Step {
            check,
            outcome,
            detail: plain(&detail(), LONGEST),
        };
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < STEPS {
            steps.push(step);
        }
    }

    /// What was written down so far, in order.
    pub fn steps(&self) -> Vec<Step> {
        let steps = self.0.as_ref().map(|steps| {
            let steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.clone()
        });
        steps.unwrap_or_default()
    }
}

static OFF: Checks = Checks(None);

/// A text from outside, cut and in quotes. What a terminal would not print as it stands is escaped.
pub fn quoted(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN).map(|(end, _)| end);
    match end {
        Some(end) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A list of such texts.
pub fn listed<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut texts = texts.into_iter();
    let shown: Vec<String> = texts
        .by_ref()
        .take(LISTED)
        .map(|text| quoted(text.as_ref()))
        .collect();
    let left = texts.count();
    match (shown.is_empty(), left) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, left) => format!("{} and {left} more", shown.join(", ")),
    }
}

/// A text that may hold anything: as it is where it is printable, else escaped, and never longer
/// than `longest` characters and a sign that it was cut.
pub fn plain(text: &str, longest: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(longest));
    let mut length = 0;
    for c in text.chars() {
        let quote = matches!(c, '"' | '\'' | '\\');
        // Of the printable ones `escape_debug` escapes these three, which do no harm here.
        let escaped: Vec<char> = if quote {
            vec![c]
        } else {
            c.escape_debug().collect()
        };
        length += escaped.len();
        if length > longest {
            plain.push('…');
            return plain;
        }
        plain.extend(escaped);
    }
    plain
}

/// A JSON text with what a terminal might obey as an escape of JSON: texts from outside may hold
/// it, and JSON itself escapes no more than the first control characters.
pub fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        // All else that is not ASCII stands inside strings.
        if c == '\u{7f}' || (!c.is_ascii() && c.escape_debug().len() > 1) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_nobody_listens_no_detail_is_made() {
        Checks::OFF.passed(Check::Head, || panic!("nobody asked"));
        assert!(Checks::OFF.steps().is_empty());
    }

    #[test]
    fn clones_write_into_one_list_in_order() {
        let checks = Checks::recording();
        checks.passed(Check::Head, || "a".to_owned());
        checks.clone().failed(Check::Path, || "b".to_owned());
        let found: Vec<_> = checks
            .steps()
            .into_iter()
            .map(|step| (step.check.name(), step.outcome.name(), step.detail))
            .collect();
        assert_eq!(
            found,
            [
                ("head", "passed", "a".to_owned()),
                ("path", "failed", "b".to_owned())
            ]
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\r\nb\0", "a\\r\\nb\\0"),
            ("it's \"plain\" \\ text", "it's \"plain\" \\ text"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("caf\u{e9} ☂", "caf\u{e9} ☂"),
        ] {
            assert_eq!(plain(text, 100), shown);
        }
        assert_eq!(plain("abcdef", 3), "abc…");
        assert_eq!(
            listed(["a"; 10]),
            "\"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\" and 2 more"
        );
        assert_eq!(listed([""; 0]), "none");
    }

    proptest! {
        #[test]
        fn plain_json_says_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let plain = plain_json(&json);
            prop_assert!(!plain.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
        }

        #[test]
        fn nothing_unprintable_and_nothing_long_gets_through(text in any::<String>(), many in 0usize..400) {
            let text = text.repeat(many.min(4) + 1);
            let shown = plain(&quoted(&text), LONGEST);
            prop_assert!(!shown.chars().any(char::is_control));
            // A character takes ten at most, as in \u{10ffff}, once more where `plain` meets it.
            prop_assert!(quoted(&text).chars().count() <= SHOWN * 10 + 3);
            prop_assert!(plain(&text, 50).chars().count() <= 51);
        }
    }
}
