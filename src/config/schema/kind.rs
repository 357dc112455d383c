//! A schema as JSON Schema writes it: the keywords that this one needs.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Number, Value};

/// A schema, in the order in which people read one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Types::is_any")]
    pub(super) types: Types,
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub(super) words: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minimum: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maximum: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) any_of: Vec<Self>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_items: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Box<Self>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) required: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "in_order")]
    pub(super) properties: Vec<(&'static str, Self)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) additional_properties: Option<Additional>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_properties: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_properties: Option<u32>,
}

impl Schema {
    /// Any value of a type.
    pub(super) fn of(kind: &'static str) -> Self {
        Self {
            types: Types::One(kind),
            ..Self::default()
        }
    }

    /// The same that has to match an expression.
    pub(super) fn matching(self, pattern: &'static str) -> Self {
        Self {
            pattern: Some(pattern),
            ..self
        }
    }

    /// A whole number.
    pub(super) fn number(least: u64, most: u64) -> Self {
        Self {
            types: Types::One("integer"),
            minimum: Some(least.into()),
            maximum: Some(most.into()),
            ..Self::default()
        }
    }

    /// One of these.
    pub(super) fn words(words: Vec<Value>) -> Self {
        Self {
            words,
            ..Self::default()
        }
    }
}

/// The types that a value may have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Types {
    #[default]
    Any,
    One(&'static str),
    Several(&'static [&'static str]),
}

impl Types {
    /// Whether the type does not matter.
    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

/// What keys may stand in a map beside its `properties`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Additional {
    /// Any, with values of this kind.
    Each(Box<Schema>),
    /// None, which JSON Schema writes as `false`.
    None(bool),
}

fn in_order<S: Serializer>(
    properties: &[(&'static str, Schema)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(properties.len()))?;
    for (key, value) in properties {
        map.serialize_entry(key, value)?;
    }
    map.end()
}
