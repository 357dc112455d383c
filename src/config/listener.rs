//! `listeners`, with the certificates that they show.

use super::{
    Listener,
    secret::contents,
    section::{At, Section},
    top::{Addresses, address},
};
use crate::{
    clock,
    proxy::connection::tls::{Certificate, Error},
};

/// A chain of certificates, or a key, is some thousand bytes.
const MOST_BYTES: u64 = 256 * 1024;

/// Reads all of them.
pub(crate) fn all(section: &mut Section<'_>, addresses: &mut Addresses) -> Vec<Listener> {
    let Some(at) = section.required_of_gateway("listeners", "at least one listener") else {
        return Vec::new();
    };
    at.fill("at least one listener");
    let mut listeners = Vec::new();
    for item in at.list("a list of listeners, as in [{address: 127.0.0.1:8000}]") {
        let mut section = item.clone().section();
        let found = address(&mut section);
        // `tls:` with nothing behind it must never mean plain http.
        let certificates = section.present("tls").map(tls);
        section.end();
        if let Some(address) = found {
            addresses.take(&item, address, "a listener");
            listeners.push(Listener {
                address,
                certificates,
            });
        }
    }
    listeners
}

/// Reads `tls`.
pub(crate) fn tls(at: At<'_>) -> Vec<Certificate> {
    const EXPECTED: &str =
        "at least one certificate, as in [{certificate: tls/server.crt, key: tls/server.key}]";
    let mut section = at.section();
    let list = section.required("certificates", EXPECTED);
    section.end();
    let Some(at) = list else { return Vec::new() };
    at.fill(EXPECTED);
    let items = at.list(EXPECTED).into_iter();
    items.filter_map(certificate).collect()
}

fn certificate(at: At<'_>) -> Option<Certificate> {
    let mut section = at.section();
    let chain_at = section.required("certificate", "the path of a file of PEM certificates");
    let key_at = section.required("key", "the path of a file with its PEM private key");
    section.end();
    let (chain_at, key_at) = (chain_at?, key_at?);
    let (chain, key) = (file(&chain_at), file(&key_at));
    match Certificate::from_pem(&chain?, &key?) {
        Ok(certificate) => {
            if certificate.not_after() < clock::now() {
                chain_at.warn("the certificate has expired");
            }
            if !certificate.has_names() {
                chain_at.warn("the certificate names no host (subjectAltName): clients refuse it");
            }
            Some(certificate)
        }
        Err(error) => {
            let at = match error {
                Error::Age | Error::Certificate => chain_at,
                Error::Mismatch | Error::PrivateKey | Error::Versions => key_at,
            };
            at.expected(format_args!("a file with {error}"));
            None
        }
    }
}

fn file(at: &At<'_>) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let path = at.report().resolve(at.text("the path of a file")?);
    at.report().note_file(&path);
    contents(at, &path, MOST_BYTES).map(zeroize::Zeroizing::new)
}
