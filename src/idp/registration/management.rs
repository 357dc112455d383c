//! What RFC 7592 needs to manage a client later, as it is kept between two operations.

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use url::Url;

use super::{Issued, Management, asking::Asking, returned::Returned};
use crate::{idp::discovery::is_allowed, model::credential::Secret};

/// The names are those of RFC 7591 section 3.2.1.
const URI: &str = "registration_client_uri";
const TOKEN: &str = "registration_access_token";
/// Our own: by which a secret is known again, so that one given anew is noticed.
const DIGEST: &str = "client_secret_digest";

/// Our own: what the server said of the client last, which an update has to repeat.
const METADATA: &str = "metadata";

/// Members that the server alone sets, and the secret, which an update must not change (RFC 7592
/// section 2.2).
pub(super) const SERVERS_OWN: [&str; 6] = [
    "client_id",
    "client_id_issued_at",
    "client_secret",
    "client_secret_expires_at",
    TOKEN,
    URI,
];

/// Where a client is managed, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) uri: Url,
    pub(super) token: Secret,
}

/// What is kept of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// `None`: the server gave no way to manage the client, or none that may be used.
    pub(super) place: Option<Place>,
    /// Digest of the secret that was given last.
    digest: Option<String>,
    /// Its metadata as the server told it last, without what the server alone sets.
    pub(super) metadata: Map<String, Value>,
}

impl Record {
    /// Of a client that was registered at this endpoint.
    pub(super) fn new(asking: &Asking<'_>, endpoint: &Url, returned: &Returned) -> Self {
        let uri = returned.text(URI).and_then(|text| {
            let uri = Url::parse(text).ok();
            let usable = uri.filter(|uri| is_at(asking, endpoint, uri));
            if usable.is_none() {
                tracing::warn!(
                    identity_provider = &*asking.provider().config().name,
                    endpoint = %endpoint,
                    "the registration_client_uri is not at the registration endpoint's own origin: \
                     it is not used, and the client cannot be managed"
                );
            }
            usable
        });
        let token = returned.text(TOKEN).filter(|token| is_header(token));
        let place = uri.zip(token).map(|(uri, token)| Place {
            uri,
            token: Secret::new(token),
        });
        Self {
            place,
            digest: None,
            metadata: metadata_of(returned),
        }
    }

    /// What was kept; nothing of what cannot be read.
    pub(super) fn open(management: &Management) -> Self {
        let kept: Value = serde_json::from_str(management.0.expose()).unwrap_or_default();
        let text = |name: &str| kept.get(name).and_then(Value::as_str);
        let uri = text(URI).and_then(|uri| Url::parse(uri).ok());
        let place = uri.zip(text(TOKEN)).map(|(uri, token)| Place {
            uri,
            token: Secret::new(token),
        });
        Self {
            place,
            digest: text(DIGEST).map(str::to_owned),
            metadata: (kept.get(METADATA).and_then(Value::as_object).cloned()).unwrap_or_default(),
        }
    }

    /// Whether nothing is known of the client but its id.
    pub(super) fn is_blank(&self) -> bool {
        self.digest.is_none()
    }

    /// As it is kept.
    pub(super) fn seal(&self) -> Management {
        let mut kept = json!({});
        if let Some(place) = &self.place {
            kept[URI] = json!(place.uri.as_str());
            kept[TOKEN] = json!(place.token.expose());
        }
        if let Some(digest) = &self.digest {
            kept[DIGEST] = json!(digest);
        }
        if !self.metadata.is_empty() {
            kept[METADATA] = Value::Object(self.metadata.clone());
        }
        Management(Secret::new(kept.to_string()))
    }

    /// The same, with the secret that is good now.
    pub(super) fn with_secret(mut self, secret: &Secret) -> Self {
        self.digest = Some(digest_of(secret));
        self
    }

    /// What an answer to a later call makes of it, and the secret that came with it, where it is
    /// another one (RFC 7592 section 3: the old ones must not be used any more).
    pub(super) fn renewed(
        &self,
        asking: &Asking<'_>,
        returned: &Returned,
    ) -> (Self, Option<Issued>) {
        let mut newer = self.clone();
        if let Some(place) = &mut newer.place {
            let given = returned.text(URI).and_then(|text| Url::parse(text).ok());
            if let Some(uri) = given.filter(|uri| is_at(asking, &place.uri, uri)) {
                place.uri = uri;
            }
            if let Some(token) = returned.text(TOKEN).filter(|token| is_header(token)) {
                place.token = Secret::new(token);
            }
        }
        let metadata = metadata_of(returned);
        if !metadata.is_empty() {
            newer.metadata = metadata;
        }
        let issued = returned.issued().filter(|issued| {
            let is_known = self.digest.as_ref() == Some(&digest_of(&issued.secret));
            // Of a secret that was never seen nobody can say whether it is another one.
            !is_known && self.digest.is_some()
        });
        if let Some(issued) = &issued {
            newer.digest = Some(digest_of(&issued.secret));
        }
        (newer, issued)
    }
}

/// What an update may repeat: an absent member and one that is null are the same there.
fn metadata_of(returned: &Returned) -> Map<String, Value> {
    let mut metadata = returned.members().clone();
    metadata.retain(|name, value| !value.is_null() && !SERVERS_OWN.contains(&name.as_str()));
    metadata
}

/// Whether a client may be managed at a URI: it is on the server that made the client, and holds no
/// name and password.
fn is_at(asking: &Asking<'_>, endpoint: &Url, uri: &Url) -> bool {
    // An endpoint that is configured may be plain http by a switch, and so may its neighbour.
    uri.origin() == endpoint.origin()
        && uri.origin().is_tuple()
        && uri.username().is_empty()
        && uri.password().is_none()
        && (is_allowed(uri, asking.provider().config()) || asking.config().endpoint.is_some())
}

/// Whether a token can stand in a header.
fn is_header(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A secret has more randomness than could be tried, so its digest tells nothing of it.
fn digest_of(secret: &Secret) -> String {
    let digest = digest::digest(&digest::SHA256, secret.expose().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}
