//! What a request says of itself beside its body: its id, that it may come twice, what it believes
//! to change.

use std::{
    convert::Infallible,
    fmt::{self, Write as _},
    sync::Arc,
};

use aws_lc_rs::digest;
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use serde_json::Value;
use uuid::Uuid;

use super::problem::{Kind, Problem, Source};
use crate::portal::{Caller, Fault, Idempotency, record::Actor};

/// The field that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The field by which a creation may come twice.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest id that is taken over from a client.
const LONGEST_ID: usize = 128;

/// Longest idempotency key.
const LONGEST_KEY: usize = 255;

/// A request's id: the client's own where it can stand in a log, else a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id of the request with this head.
    pub fn of(head: &HeaderMap) -> Self {
        let mut lines = head.get_all(REQUEST_ID).iter();
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte);
        let own = match (lines.next(), lines.next()) {
            (Some(line), None) => line.to_str().ok(),
            _ => None,
        };
        let own = own
            .filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(legal));
        Self(own.map_or_else(|| Uuid::new_v4().to_string().into(), Into::into))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as the value of a field.
    pub fn as_field(&self) -> HeaderValue {
        // Every character was looked at.
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("none"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lasts as long as something is being done that is not to be cut off. Whoever serves the routes puts
/// one into each request's extensions.
#[derive(Clone, Debug, Default)]
pub struct Operation(Arc<()>);

impl Operation {
    /// How many others there are.
    pub fn others(&self) -> usize {
        Arc::strong_count(&self.0).saturating_sub(1)
    }
}

/// Who asks, and how; the body's part of it comes later.
#[derive(Clone, Debug)]
pub(in crate::portal) struct Asking {
    actor: Actor,
    request_id: RequestId,
    key: Option<String>,
    expected: Option<i64>,
    method: Method,
    path: String,
}

impl Asking {
    /// The same in somebody else's name than the operator's.
    pub(super) fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// The same with what a form says in place of the head: the key by which it may come twice, and
    /// the revision that was read.
    pub(in crate::portal) fn with(self, key: Option<String>, expected: Option<i64>) -> Self {
        Self {
            key,
            expected,
            ..self
        }
    }

    /// The request's id.
    pub(in crate::portal) fn request_id(&self) -> RequestId {
        self.request_id.clone()
    }

    /// Of a request that makes nothing new.
    pub(in crate::portal) fn caller(self) -> Caller {
        Caller {
            actor: self.actor,
            request_id: self.request_id.as_str().to_owned(),
            idempotency: None,
            expected: self.expected,
        }
    }

    /// Of a request that makes something, with the body by which its repetition is known again.
    pub(in crate::portal) fn creator(self, body: &Value) -> Caller {
        let digest = digest_of(&self.method, &self.path, body);
        let idempotency = self.key.clone().map(|key| Idempotency {
            key: match &self.actor {
                Actor::Developer(name) => format!("developer {name} {key}"),
                _ => format!("operator {key}"),
            },
            digest,
        });
        Caller {
            idempotency,
            ..self.caller()
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(request_id) = RequestId::from_request_parts(parts, state).await;
        Ok(Self {
            actor: Actor::Operator,
            request_id,
            key: idempotency_key(&parts.headers)?,
            expected: expected(&parts.headers)?,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>();
        Ok(known.cloned().unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

/// The entity tag of a revision in the form of `body`: strong, since both are in it (RFC 9110
/// section 8.8.1). The form can change alone, when something that it names changes.
pub(super) fn tag(revision: i64, body: &[u8]) -> HeaderValue {
    let digest = digest::digest(&digest::SHA256, body);
    let form = hex(digest.as_ref().get(..4).unwrap_or_default());
    // Digits, letters, a dot and two quotes.
    HeaderValue::from_str(&format!("\"{revision}.{form}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` names this tag (RFC 9110 section 13.1.2: compared weakly).
pub(super) fn is_known(head: &HeaderMap, tag: &HeaderValue) -> bool {
    let lines = head.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|one| one.trim_ascii());
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes())
}

fn idempotency_key(head: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = head.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let key = line.to_str().ok().filter(|key| {
        (1..=LONGEST_KEY).contains(&key.len())
            && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    });
    match (key, lines.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(header_fault(
            "Idempotency-Key",
            "pattern",
            "expected one key of 1 to 255 printable ASCII characters",
        )),
    }
}

/// The revision that `If-Match` names (RFC 9110 section 13.1.1); `*` asks for nothing, since what
/// is not there cannot be changed anyway.
fn expected(head: &HeaderMap) -> Result<Option<i64>, Problem> {
    let mut lines = head.get_all(header::IF_MATCH).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let line = line.to_str().unwrap_or_default().trim_ascii();
    if line == "*" {
        return Ok(None);
    }
    let (weak, quoted) = match line.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, line),
    };
    let text = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| !text.contains('"') && lines.next().is_none());
    let Some(text) = text else {
        return Err(header_fault(
            "If-Match",
            "pattern",
            "expected one entity tag as ETag gave it, in its quotes, or *",
        ));
    };
    let revision = text.split_once('.').map_or(text, |(revision, _)| revision);
    match revision.parse() {
        Ok(revision) if !weak => Ok(Some(revision)),
        // A tag that was never given, and a weak one, match nothing.
        _ => Err(Problem::new(Kind::Changed)),
    }
}

fn header_fault(field: &str, rule: &'static str, reason: &str) -> Problem {
    let fault = Fault {
        field: field.to_owned(),
        rule,
        reason: reason.to_owned(),
    };
    Problem::invalid(Source::Header, vec![fault])
}

/// SHA-256 over method, path and body. The members of an object stand in an order of their own,
/// so that a client may write them in any.
fn digest_of(method: &Method, path: &str, body: &Value) -> String {
    let mut text = format!("{method}\n{path}\n");
    write_canonical(body, &mut text);
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.iter().collect();
            names.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in names {
                let _ = write!(text, "{}:", Value::String(name.clone()));
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        // Writing to a string does not fail.
        other => drop(write!(text, "{other}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in fields {
            head.append(name, HeaderValue::from_str(value).unwrap());
        }
        head
    }

    #[test]
    fn an_id_is_taken_over_where_it_can_stand_in_a_log() {
        for good in [
            "a",
            "6f4f3b0e-6b0c",
            "svc:1.2_3-4".replace('_', "-").as_str(),
        ] {
            assert_eq!(RequestId::of(&head(&[(REQUEST_ID, good)])).as_str(), good);
        }
        let long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "a/b", "{}", &long] {
            let id = RequestId::of(&head(&[(REQUEST_ID, bad)]));
            assert!(Uuid::try_parse(id.as_str()).is_ok(), "{bad:?}");
        }
        let twice = RequestId::of(&head(&[(REQUEST_ID, "a"), (REQUEST_ID, "b")]));
        assert!(Uuid::try_parse(twice.as_str()).is_ok());
    }

    #[test]
    fn if_match_names_one_revision() {
        let told = |value: &str| expected(&head(&[(header::IF_MATCH, value)]));
        for (value, revision) in [
            ("\"7\"", Some(7)),
            ("\"7.0badcafe\"", Some(7)),
            (" \"12\" ", Some(12)),
            ("*", None),
        ] {
            assert_eq!(told(value).unwrap(), revision, "{value}");
        }
        for (value, status) in [
            ("\"\"", 412),
            ("\"seven\"", 412),
            ("W/\"7\"", 412),
            ("\"99999999999999999999\"", 412),
            ("7", 400),
            ("\"7", 400),
            ("\"7\", \"8\"", 400),
            ("", 400),
        ] {
            let problem = told(value).unwrap_err();
            assert_eq!(problem.status().as_u16(), status, "{value}");
        }
        assert_eq!(expected(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn what_is_known_is_compared_weakly() {
        let tag = tag(7, b"{}");
        let text = tag.to_str().unwrap();
        let weak = format!("W/{text}");
        let listed = format!("\"1\", {text}");
        for (value, known) in [
            (text, true),
            (&weak, true),
            (&listed, true),
            ("*", true),
            ("\"7\"", false),
            ("7", false),
        ] {
            let head = head(&[(header::IF_NONE_MATCH, value)]);
            assert_eq!(is_known(&head, &tag), known, "{value}");
        }
    }

    #[test]
    fn a_digest_knows_a_request_again_however_it_is_written() {
        let of = |path, body| digest_of(&Method::POST, path, &body);
        let first = of("/a", json!({"x": 1, "y": {"b": [1, 2], "a": null}}));
        assert_eq!(
            first,
            of("/a", json!({"y": {"a": null, "b": [1, 2]}, "x": 1}))
        );
        for (path, body) in [
            ("/b", json!({"x": 1, "y": {"b": [1, 2], "a": null}})),
            ("/a", json!({"x": 1, "y": {"b": [2, 1], "a": null}})),
            ("/a", json!({"x": "1", "y": {"b": [1, 2], "a": null}})),
            ("/a", json!({"x": 1, "y": {"b": [1, 2]}})),
        ] {
            assert_ne!(first, of(path, body));
        }
    }

    #[test]
    fn keys_are_printable_and_come_once() {
        let told = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|v| (IDEMPOTENCY_KEY, *v)).collect();
            idempotency_key(&head(&fields))
        };
        let longest = "k".repeat(255);
        for good in ["k", "a b~!", longest.as_str()] {
            assert_eq!(told(&[good]).unwrap().as_deref(), Some(good));
        }
        let long = "k".repeat(256);
        for bad in [&[""][..], &["a\tb"], &[&long], &["a", "b"]] {
            assert_eq!(told(bad).unwrap_err().status().as_u16(), 400, "{bad:?}");
        }
        assert_eq!(told(&[]).unwrap(), None);
    }
}
