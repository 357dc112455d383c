//! Writes `applications.yaml` as [`super::load`] reads it.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;
use uuid::Uuid;

use super::{Entry, REGISTRATIONS, STATUSES};
use crate::model::time::Timestamp;

/// 9999-12-31T23:59:59.999Z: RFC 3339 has no later year.
const LAST: i64 = 253_402_300_799_999;

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
        credentials_valid_from: (from > Timestamp::default()).then(|| time(from)),
    }
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

fn time(time: Timestamp) -> String {
    let millis = u64::try_from(time.millis().min(LAST)).unwrap_or_default();
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
