//! YAML files that an operator writes, and what is wrong with them as [`Fault`]s.

use std::{borrow::Cow, marker::PhantomData, path::Path, sync::Arc};

use serde::{Deserialize, de::DeserializeSeed};
use serde_saphyr::{
    Budget, DefaultMessageFormatter, Error, Location, MessageFormatter, NonFiniteFloatPolicy,
};

use crate::model::fault::{Fault, Place, one_line};

/// Reads a whole file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(file: &Arc<Path>) -> Result<Vec<u8>, Fault> {
    std::fs::read(file).map_err(|error| {
        let message = format!("cannot be read: {}", reason(&error));
        Fault {
            place: Place::whole(file),
            message,
        }
    })
}

/// The content of a file as text; `file` is its name in messages.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text<'a>(file: &Arc<Path>, content: &'a [u8]) -> Result<&'a str, Fault> {
    std::str::from_utf8(content).map_err(|error| {
        let good = &content[..error.valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let line = good.matches('\n').count() as u64 + 1;
        let column = good
            .rsplit('\n')
            .next()
            .map_or(0, |last| last.chars().count() as u64)
            + 1;
        let place = Place {
            file: file.clone(),
            line,
            column,
        };
        Fault {
            place,
            message: "expected UTF-8".to_owned(),
        }
    })
}

/// Makes a value of one document; `file` is its name in messages.
///
/// # Errors
/// The first fault of syntax or type. A key that is there twice is one.
pub(crate) fn parse<'a, T: Deserialize<'a>>(file: &Arc<Path>, text: &'a str) -> Result<T, Fault> {
    parse_into(file, text, PhantomData)
}

/// As [`parse`], but hands the document's parts to `seed` as they are read.
///
/// # Errors
/// As [`parse`]; what was handed over before the fault counts for nothing.
pub(crate) fn parse_into<'a, S: DeserializeSeed<'a>>(
    file: &Arc<Path>,
    text: &'a str,
    seed: S,
) -> Result<S::Value, Fault> {
    // The default budget ends at 250,000 nodes, fewer than 20,000 applications have. No node is
    // shorter than a byte, so the file's own length bounds an honest file. Aliases keep their
    // limits: with them a short file can ask for endless work.
    let mut budget = Budget::default();
    budget.max_nodes = budget.max_nodes.max(text.len());
    budget.max_events = budget.max_events.max(text.len().saturating_mul(2));
    budget.max_total_scalar_bytes = budget.max_total_scalar_bytes.max(text.len());
    budget.max_total_comment_bytes = budget.max_total_comment_bytes.max(text.len());
    let options = serde_saphyr::options! {
        budget: Some(budget),
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |document| {
        seed.deserialize(document)
    });
    read.map_err(|error| {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        Fault {
            place: place(file, at),
            message: message(error.without_snippet()),
        }
    })
}

/// A place of the YAML reader as one of ours.
pub(crate) fn place(file: &Arc<Path>, at: Location) -> Place {
    Place {
        file: file.clone(),
        line: at.line(),
        column: at.column(),
    }
}

/// What the system says of a file, without its error number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// In what the parser says where the indentation of a line is often the reason.
const SPACED: [&str; 2] = ["mapping values are not allowed", "did not find expected"];

/// One line, without the place, which stands in front of it already.
fn message(error: &Error) -> String {
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            Cow::Owned(format!("{key}: expected each key once"))
        }
        error => DefaultMessageFormatter.format_message(error),
    };
    let hint = match SPACED.iter().any(|part| message.contains(part)) {
        true => "; is this line, or the one above, indented as those beside it?",
        false => "",
    };
    format!("{}{hint}", one_line(&message))
}
