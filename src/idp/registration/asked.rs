//! What a client of this gateway is asked to be, where the dialects agree.

use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::{Error, asking::Asking};
use crate::idp::AuthMethod;

/// How clients send their secret, in the words of RFC 7591: as the gateway itself will when it
/// exchanges their pairs.
pub(super) async fn auth_method(asking: &Asking<'_>) -> Result<&'static str, Error> {
    Ok(match asking.token_auth().await? {
        AuthMethod::BasicRaw | AuthMethod::ClientSecretBasic => "client_secret_basic",
        AuthMethod::ClientSecretPost => "client_secret_post",
    })
}

/// Lays the operator's `client_metadata` over what is asked for. By the `fixed` members a client is
/// found again: they stay as they are.
pub(super) fn overlay(asked: &mut Map<String, Value>, asking: &Asking<'_>, fixed: &[&str]) {
    for (name, value) in &asking.config().client_metadata {
        if !fixed.contains(&name.as_str()) {
            asked.insert(name.clone(), value.clone());
        }
    }
}

/// An address below another one, each segment percent-encoded: an id that looks like a path stays
/// one segment.
///
/// # Errors
/// [`Error::Refused`] for a segment that no URL can hold (RFC 3986 section 3.3): without it another
/// resource would be meant.
pub(super) fn below<'a>(
    mut url: Url,
    segments: impl IntoIterator<Item = &'a str>,
) -> Result<Url, Error> {
    let segments: Vec<&str> = segments.into_iter().collect();
    let is_lost = |segment: &&&str| matches!(**segment, "" | "." | "..");
    if let Some(segment) = segments.iter().find(is_lost) {
        let told = format!("the id {segment:?} cannot stand in a URL");
        return Err(Error::Refused(told));
    }
    let mut path = url.path_segments_mut().map_err(|()| {
        Error::Refused("the address of the management API can have no path".to_owned())
    })?;
    path.pop_if_empty().extend(segments);
    drop(path);
    Ok(url)
}

/// The first `limit` characters of a text.
pub(super) fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

/// A UUID for what has a name here and needs one elsewhere: the name itself where it is one, else
/// a UUIDv5 over kind and name, so always the same.
pub(super) fn id(kind: &str, name: &str) -> String {
    let made = || Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}\n{name}").as_bytes());
    Uuid::try_parse(name).unwrap_or_else(|_| made()).to_string()
}
