//! What a token says, once it was verified.

use std::borrow::Cow;

use serde_json::{Map, Number};
use smallvec::SmallVec;

use super::{
    credential::{ClientId, ShortText},
    scope::Scopes,
    time::Timestamp,
};

/// The members of a token's payload or of an introspection answer, in their order, each name once.
/// Texts without escapes stay where they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims<'t>(Vec<(Cow<'t, str>, Value<'t>)>);

/// A value of such a member (RFC 8259).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that fits a double.
    Number(Number),
    /// A string, without its escapes.
    String(Cow<'t, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Claims<'t>),
}

impl<'t> Claims<'t> {
    /// The members that these are; `None` where a name stands twice.
    pub fn new(members: Vec<(Cow<'t, str>, Value<'t>)>) -> Option<Self> {
        let claims = Self(members);
        (!claims.repeats_a_name()).then_some(claims)
    }

    fn repeats_a_name(&self) -> bool {
        let members = &self.0;
        if members.len() <= FEW {
            let before = |place: usize| &members[..place];
            let repeats = |place| {
                before(place)
                    .iter()
                    .any(|(name, _)| *name == members[place].0)
            };
            return (1..members.len()).any(repeats);
        }
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value<'t>> {
        let member = self.0.iter().find(|(found, _)| *found == name);
        member.map(|(_, value)| value)
    }

    /// Whether there is a member of this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

/// Members that are compared with one another sooner than they are sorted.
const FEW: usize = 16;

impl<'t> Value<'t> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The values of an array, if it is one.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The members of an object, if it is one.
    pub fn as_object(&self) -> Option<&Claims<'t>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value of a member, if it is an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// The number, if it is a whole one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }
}

/// A copy that borrows nothing.
impl From<Claims<'_>> for Map<String, serde_json::Value> {
    fn from(claims: Claims<'_>) -> Self {
        let members = claims.0.into_iter();
        members
            .map(|(name, value)| (name.into_owned(), value.into()))
            .collect()
    }
}

/// A copy that borrows nothing.
impl From<Value<'_>> for serde_json::Value {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text.into_owned()),
            Value::Array(values) => values.into_iter().map(Self::from).collect(),
            Value::Object(members) => Self::Object(members.into()),
        }
    }
}

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
    pub fn find<'a, 't>(&self, claims: &'a Claims<'t>) -> Option<&'a Value<'t>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?, |value, name| value.get(name))
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

/// For whom a token is: nearly always one text.
pub type Audience = SmallVec<[ShortText; 1]>;

/// What the gateway needs to know of a verified credential, however it was verified. Time,
/// audience and scopes are judged again from this on each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The value of the credential claim.
    pub client_id: ClientId,
    /// `aud`, as a list; empty where absent.
    pub audience: Audience,
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
