//! Secrets, which stand in the configuration by reference only: `{env: NAME}` or `{file: PATH}`.
//!
//! Whatever stands where a secret belongs is never shown: it may be one.

use std::path::Path;

use zeroize::Zeroizing;

use super::{schema::Asked, section::At};
use crate::{model::credential::Secret, yaml};

const EXPECTED: &str = "{env: NAME} or {file: PATH}";

/// A secret file may not be larger; a path that was mistaken for one would be.
const MOST_BYTES: u64 = 64 * 1024;

/// Reads what a reference names. The final line break of a file does not count.
pub(crate) fn read(at: &At<'_>) -> Option<Secret> {
    at.ask(|| Asked::Secret);
    if at.as_text().is_some() {
        at.fault(format_args!(
            "expected {EXPECTED}: a secret does not stand in this file itself"
        ));
        return None;
    }
    let mut section = at.clone().section();
    let (env, file) = (section.get("env"), section.get("file"));
    section.end();
    match (env, file) {
        (Some(name), None) => from_env(&name),
        (None, Some(path)) => from_file(&path),
        _ => {
            // What is no section at all was reported as that.
            if at.is_map() {
                at.fault(format_args!("expected one of {EXPECTED}"));
            }
            None
        }
    }
}

fn from_env(at: &At<'_>) -> Option<Secret> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = at
        .as_text()
        .filter(|name| !name.is_empty() && name.chars().all(legal));
    let Some(name) = name else {
        // Not shown: `{env: s3cret}` is a likely slip.
        at.fault("expected the name of an environment variable, in letters, digits and \"_\"");
        return None;
    };
    let found = std::env::var_os(name).map(|value| value.into_string().map(Zeroizing::new));
    let Some(found) = found else {
        at.fault("expected the name of an environment variable that is set");
        return None;
    };
    let Ok(text) = found else {
        at.fault("expected an environment variable that holds UTF-8");
        return None;
    };
    checked(at, &text)
}

fn from_file(at: &At<'_>) -> Option<Secret> {
    let path = at.report().resolve(at.text("the path of a file")?);
    at.report().note_file(&path);
    let text = Zeroizing::new(contents(at, &path, MOST_BYTES)?);
    let Ok(text) = std::str::from_utf8(&text) else {
        at.expected("a file that holds UTF-8");
        return None;
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    checked(at, text.strip_suffix('\r').unwrap_or(text))
}

fn checked(at: &At<'_>, text: &str) -> Option<Secret> {
    if text.is_empty() {
        at.fault("the secret is empty");
        return None;
    }
    if text.chars().any(char::is_control) {
        at.fault("the secret holds a control character, a line break perhaps");
        return None;
    }
    Some(Secret::new(text))
}

/// The bytes of a small file that a key names.
pub(crate) fn contents(at: &At<'_>, path: &Path, most: u64) -> Option<Vec<u8>> {
    let read = std::fs::metadata(path).and_then(|metadata| {
        // A pipe or device could hold the reader up for ever.
        if !metadata.is_file() || metadata.len() > most {
            return Ok(None);
        }
        std::fs::read(path).map(Some)
    });
    match read {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => at.expected(format_args!("a regular file of at most {most} bytes")),
        Err(error) => at.expected(format_args!(
            "a file that can be read ({})",
            yaml::reason(&error)
        )),
    }
    None
}
