//! What is wrong in a file that an operator wrote, and where.

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

/// A position in a file, as an editor counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: Arc<Path>,
    /// Line, from 1; 0 where the fault is the whole file's.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl Place {
    /// The file as a whole, for one that cannot be read.
    pub fn whole(file: &Arc<Path>) -> Self {
        Self {
            file: file.clone(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}:{}", self.column),
        }
    }
}

/// Something that keeps a file from being used. `Display` is one line: place, key path, what is
/// there, what was expected. It never shows a secret. `Debug` is the same: a `main` that returns an
/// error prints that.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// Key path, value and expectation.
    pub message: String,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a configuration is not used: every fault, a line each.
pub fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    format!("the configuration cannot be used:\n{}", lines.join("\n"))
}

/// A text with its control characters escaped: what a file holds must not end a message's line or
/// speak to a terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// Something that works and may not be what the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it is.
    pub place: Place,
    /// Key path and what follows from it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: warning: {}", self.place, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_that_returns_a_fault_prints_what_people_can_read() {
        let place = Place {
            file: Path::new("guard.yaml").into(),
            line: 9,
            column: 24,
        };
        let message = "key: \"a\": expected \"b\"".to_owned();
        let fault = Fault { place, message };
        assert_eq!(
            format!("{fault:?}"),
            "guard.yaml:9:24: key: \"a\": expected \"b\""
        );
    }
}
