//! JSON as a security decision needs it: one reading or none.
//!
//! Two readers of a text must never disagree about what it says, so a member name that occurs
//! twice, at any level and however escaped, refuses the whole text (RFC 8725 section 2.4, RFC
//! 7519 section 4). So does a number that does not fit a double, which some readers make
//! infinite.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, de::Read};

use crate::model::claims::{Claims, Value};

/// Levels of nesting that are read. Claims nest two or three deep, `realm_access.roles` for one;
/// what is deeper is meant to exhaust the stack.
const DEPTH_LIMIT: u8 = 32;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Objects and arrays nest too deep.
    #[error("nested too deep")]
    Depth,
    /// It is JSON, but no object.
    #[error("not an object")]
    NotObject,
    /// A member name occurs twice in one object.
    #[error("a member name is repeated")]
    Repeated,
    /// It is no JSON text in UTF-8 (RFC 8259), or something follows it.
    #[error("not JSON")]
    Syntax,
}

/// Reads one JSON object and nothing after it. Stack use is bounded.
///
/// # Errors
/// One case for each variant of [`Fault`].
pub fn object(text: &[u8]) -> Result<Map<String, serde_json::Value>, Fault> {
    claims(text).map(Map::from)
}

/// [`object`] for who only looks into it: its texts stay where they are.
///
/// # Errors
/// As [`object`].
pub fn claims(text: &[u8]) -> Result<Claims<'_>, Fault> {
    // What is UTF-8 as a whole need not be looked at text by text.
    match std::str::from_utf8(text) {
        Ok(text) => read(&mut serde_json::Deserializer::from_str(text)),
        Err(_) => read(&mut serde_json::Deserializer::from_slice(text)),
    }
}

fn read<'t, R: Read<'t>>(reader: &mut serde_json::Deserializer<R>) -> Result<Claims<'t>, Fault> {
    let fault = Cell::new(Fault::Syntax);
    let value = Strict {
        depth: 0,
        fault: &fault,
    }
    .deserialize(&mut *reader);
    let value = value.map_err(|_| fault.get())?;
    reader.end().map_err(|_| Fault::Syntax)?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::NotObject),
    }
}

/// Builds one value at some depth; says through `fault` why it stopped, because the error type of
/// serde_json carries text only.
#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: u8,
    fault: &'f Cell<Fault>,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_LIMIT {
            self.fault.set(Fault::Depth);
            return Err(E::custom(Fault::Depth));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value<'de>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not finite"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let is_top = self.depth == 0;
        let mut members = Vec::with_capacity(if is_top { USUAL } else { 0 });
        while let Some(Name(name)) = object.next_key()? {
            members.push((name, object.next_value_seed(inner)?));
        }
        let Some(members) = Claims::new(members) else {
            self.fault.set(Fault::Repeated);
            return Err(A::Error::custom(Fault::Repeated));
        };
        Ok(Value::Object(members))
    }
}

/// Claims of a token for which there is room before they are read.
const USUAL: usize = 12;

/// The name of a member.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Fault, object};

    fn nested(depth: usize) -> String {
        format!("{}{}", r#"{"a":"#.repeat(depth), "1").to_owned() + &"}".repeat(depth)
    }

    #[test]
    fn one_object_is_read_strictly() {
        let table: &[(&str, &[u8], Result<Value, Fault>)] = &[
            ("empty object", b"{}", Ok(json!({}))),
            (
                "white space",
                b" \t\r\n{ \"a\" : [ 1 , true ] }\n",
                Ok(json!({"a": [1, true]})),
            ),
            (
                "escapes",
                br#"{"\u0061":"\u00e9\ud83d\ude00"}"#,
                Ok(json!({"a": "é😀"})),
            ),
            (
                "fraction",
                br#"{"a":1.5,"b":-2}"#,
                Ok(json!({"a": 1.5, "b": -2})),
            ),
            ("null", br#"{"a":null}"#, Ok(json!({"a": null}))),
            (
                "same name on two levels",
                br#"{"a":{"a":1}}"#,
                Ok(json!({"a": {"a": 1}})),
            ),
            ("repeated name", br#"{"a":1,"a":1}"#, Err(Fault::Repeated)),
            (
                "repeated by escape",
                br#"{"a":1,"\u0061":1}"#,
                Err(Fault::Repeated),
            ),
            (
                "repeated inside",
                br#"{"x":{"a":1,"a":2}}"#,
                Err(Fault::Repeated),
            ),
            (
                "repeated in an array",
                br#"{"x":[[{"a":1,"a":2}]]}"#,
                Err(Fault::Repeated),
            ),
            (
                "empty name repeated",
                br#"{"":1,"":2}"#,
                Err(Fault::Repeated),
            ),
            ("array", b"[]", Err(Fault::NotObject)),
            ("string", b"\"a\"", Err(Fault::NotObject)),
            ("null alone", b"null", Err(Fault::NotObject)),
            ("empty", b"", Err(Fault::Syntax)),
            ("two objects", b"{}{}", Err(Fault::Syntax)),
            ("trailing byte", b"{}\0", Err(Fault::Syntax)),
            ("trailing comma", br#"{"a":1,}"#, Err(Fault::Syntax)),
            ("byte order mark", b"\xef\xbb\xbf{}", Err(Fault::Syntax)),
            ("UTF-16", b"{\0}\0", Err(Fault::Syntax)),
            ("not UTF-8", b"{\"a\":\"\xff\"}", Err(Fault::Syntax)),
            ("lone surrogate", br#"{"a":"\ud800"}"#, Err(Fault::Syntax)),
            ("control character", b"{\"a\":\"\n\"}", Err(Fault::Syntax)),
            ("infinite", br#"{"a":1e400}"#, Err(Fault::Syntax)),
            ("minus infinite", br#"{"a":-1e400}"#, Err(Fault::Syntax)),
            ("NaN", br#"{"a":NaN}"#, Err(Fault::Syntax)),
            ("leading zero", br#"{"a":01}"#, Err(Fault::Syntax)),
            ("comment", b"{/**/}", Err(Fault::Syntax)),
        ];
        for (name, text, expected) in table {
            assert_eq!(object(text).map(Value::Object), *expected, "{name}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(object(nested(32).as_bytes()).is_ok());
        assert_eq!(object(nested(33).as_bytes()), Err(Fault::Depth));
        assert_eq!(object(nested(100_000).as_bytes()), Err(Fault::Depth));
        for text in [
            "[".repeat(100_000),
            format!("{{\"a\":{}", "[".repeat(100_000)),
        ] {
            assert_eq!(object(text.as_bytes()), Err(Fault::Depth));
        }
    }

    proptest! {
        #[test]
        fn a_repeated_name_is_seen_among_few_and_many(names in prop::collection::vec("[a-e]{0,3}", 0..40)) {
            let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
            let unique: std::collections::HashSet<&String> = names.iter().collect();
            let read = object(format!("{{{}}}", members.join(",")).as_bytes());
            match unique.len() == names.len() {
                true => prop_assert_eq!(read.map(|members| members.len()), Ok(names.len())),
                false => prop_assert_eq!(read, Err(Fault::Repeated)),
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<Vec<u8>>()) {
            let _ = object(&text);
        }

        #[test]
        fn json_like_text_is_read_without_panic(text in r#"[{}\[\]:,"\\u0-9a-f.eE+\- ]{0,60}"#) {
            let _ = object(text.as_bytes());
        }

        #[test]
        fn what_serde_json_writes_is_read_back(
            members in prop::collection::btree_map(".*", any::<(i64, bool, String)>(), 0..24)
        ) {
            let value = json!(members);
            prop_assert_eq!(Value::Object(object(value.to_string().as_bytes()).unwrap()), value);
        }
    }
}
