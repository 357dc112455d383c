//! What a token says, once it was verified.

use serde_json::{Map, Value};

use super::{credential::ClientId, scope::Scopes, time::Timestamp};

/// The members of a token's payload or of an introspection answer.
pub type Claims = Map<String, Value>;

/// Names leading from the top of the claims to one value, `[user, groups]` for
/// `{"user": {"groups": …}}`. Never empty, and no name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Box<[Box<str>]>);

impl ClaimPath {
    /// Makes a path of its names; `None` where there is none or one is empty.
    pub fn new(names: impl IntoIterator<Item = String>) -> Option<Self> {
        let names: Box<[Box<str>]> = names.into_iter().map(String::into_boxed_str).collect();
        (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(Self(names))
    }

    /// The value at the end of the path. A name is never split at dots and arrays are not entered.
    pub fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(&**first)?, |value, name| value.get(&**name))
    }

    /// Its names, from the outside in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether this is the one top-level name.
    pub fn is(&self, name: &str) -> bool {
        self.0.len() == 1 && &*self.0[0] == name
    }
}

impl std::fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0.join(", "))
    }
}

/// What the gateway needs to know of a verified credential, however it was verified. Time,
/// audience and scopes are judged again from this on each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The value of the credential claim.
    pub client_id: ClientId,
    /// `aud`, as a list; empty where absent.
    pub audience: Vec<String>,
    /// Granted scopes.
    pub scopes: Scopes,
    /// `exp`, or the end that an exchange or introspection gave.
    pub expires: Timestamp,
    /// `nbf`, where present.
    pub not_before: Option<Timestamp>,
    /// `iat`, where present.
    pub issued: Option<Timestamp>,
    /// Values for the strategy's `claim_headers`, in that order; strings, numbers and booleans as
    /// text, lists of them joined by commas, anything else `None`.
    pub header_claims: Vec<Option<String>>,
}
