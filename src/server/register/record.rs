//! The file by which a client is managed later. It holds the token for that, so only its owner may
//! read it, and it is never half written: another one is written beside it and takes its place.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    idp::registration::Management,
    model::credential::{ClientId, Secret},
};

/// A file of more is none of ours.
const MOST_BYTES: u64 = 1024 * 1024;
/// The one version of it that there is.
const VERSION: u32 = 1;

/// What is kept of a client.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    pub(super) client_id: String,
    /// Whose server it is, in the words of `--vendor`.
    pub(super) vendor: String,
    pub(super) issuer: String,
    /// What the registration gave for managing the client.
    management: Value,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file is there already.
    #[error("{}: exists already, and may be the only key to another client", .0.display())]
    Exists(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {}", .0.display(), crate::yaml::reason(.1))]
    File(PathBuf, io::Error),
    /// It is no record.
    #[error("{}: expected the file that `dcr-gateway register` wrote for a client", .0.display())]
    Unreadable(PathBuf),
}

impl Record {
    /// Of a client that was registered.
    pub(super) fn new(
        client_id: &ClientId,
        vendor: &str,
        issuer: &str,
        management: &Management,
    ) -> Self {
        let text = management.0.expose();
        let kept = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        Self {
            version: VERSION,
            client_id: client_id.as_str().to_owned(),
            vendor: vendor.to_owned(),
            issuer: issuer.to_owned(),
            management: kept,
        }
    }

    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut text = Zeroizing::new(String::new());
        let file = File::open(path).map_err(|error| Error::File(path.to_owned(), error))?;
        let read = file.take(MOST_BYTES).read_to_string(&mut text);
        read.map_err(|error| Error::File(path.to_owned(), error))?;
        let record: Option<Self> = serde_json::from_str(&text).ok();
        record
            .filter(|record| record.version == VERSION)
            .ok_or_else(|| Error::Unreadable(path.to_owned()))
    }

    /// For managing the client.
    pub(super) fn management(&self) -> Management {
        let text = match &self.management {
            Value::String(text) => text.clone(),
            kept => kept.to_string(),
        };
        Management(Secret::new(text))
    }

    /// The same after a call that changed how the client is managed.
    pub(super) fn with(self, management: &Management) -> Self {
        let client_id = ClientId::new(self.client_id.as_str());
        match client_id {
            Some(id) => Self::new(&id, &self.vendor, &self.issuer, management),
            None => self,
        }
    }

    /// Writes the file, all of it or nothing.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let written = text.and_then(|text| {
            let text = Zeroizing::new(text + "\n");
            let beside = beside(path);
            let result = private(&beside).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&beside, path)
            });
            if result.is_err() {
                let _ = fs::remove_file(&beside);
            }
            result
        });
        written.map_err(|error| Error::File(path.to_owned(), error))
    }
}

/// Makes sure that a file can be written, before anything is done that it has to hold.
pub(super) fn probe(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists(path.to_owned()));
    }
    let beside = beside(path);
    let made = private(&beside).and_then(|_| fs::remove_file(&beside));
    made.map_err(|error| Error::File(path.to_owned(), error))
}

/// The usual name of a client's file. An id may be a URL.
pub(super) fn usual(client_id: &ClientId) -> PathBuf {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let id = client_id.as_str().chars();
    let name: String = id
        .map(|c| if legal(c) { c } else { '_' })
        .take(100)
        .collect();
    let name = name.trim_start_matches('.');
    PathBuf::from(format!("{name}.registration.json"))
}

/// A new file that its owner alone may read.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
