//! Writes `applications.yaml` as [`super::load`] reads it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use uuid::Uuid;

use super::{Entry, REGISTRATIONS, STATUSES};
use crate::model::time::Timestamp;

#[derive(Serialize)]
struct Document<'a> {
    applications: Vec<Row<'a>>,
}

/// Read by [`super::Row`].
#[derive(Serialize)]
struct Row<'a> {
    id: Uuid,
    name: &'a str,
    developer: &'a str,
    auth_strategy: &'a str,
    client_id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    registrations: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_valid_from: Option<String>,
}

/// Writes applications in the order in which they come.
///
/// # Errors
/// There is no room for the text.
pub fn write(entries: &[Entry], mut out: impl fmt::Write) -> fmt::Result {
    let applications = entries.iter().map(row).collect();
    let document = Document { applications };
    serde_saphyr::to_fmt_writer(&mut out, &document).map_err(|_| fmt::Error)
}

fn row(entry: &Entry) -> Row<'_> {
    let application = &entry.application;
    let registrations = application.registrations.iter();
    let from = application.credentials_valid_from;
    Row {
        id: application.id,
        name: &application.name,
        developer: &application.developer,
        auth_strategy: &entry.strategy,
        client_id: entry.client_id.as_str(),
        status: word(&STATUSES, application.status),
        registrations: registrations
            .map(|(api, state)| (&**api, word(&REGISTRATIONS, *state)))
            .collect(),
        credentials_valid_from: (from > Timestamp::default()).then(|| from.rfc3339().to_string()),
    }
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}
