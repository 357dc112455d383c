//! JSON shapes that several resources share.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type},
    },
};
use uuid::Uuid;

use crate::{model::time::Timestamp, portal::record};

/// Labels on one thing, and characters in one of their names or values; Konnect's limits.
const LABELS: usize = 50;
const LABEL: usize = 63;
/// How a label is written: Konnect's form.
const LABEL_FORM: &str = "^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$";

/// A time in UTC, as RFC 3339 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T13:30:00.000Z")]
pub struct Time(Timestamp);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.rfc3339())
    }
}

/// The operator's own marks.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(value_type = LabelsForm)]
pub struct Labels(pub BTreeMap<String, String>);

/// Marks to set; null removes one.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(value_type = LabelsPatchForm)]
pub struct LabelsPatch(pub BTreeMap<String, Option<String>>);

/// The schema of [`Labels`].
#[derive(Debug)]
pub struct LabelsForm;

/// The schema of [`LabelsPatch`].
#[derive(Debug)]
pub struct LabelsPatchForm;

impl ToSchema for LabelsForm {}
impl ToSchema for LabelsPatchForm {}

impl PartialSchema for LabelsForm {
    fn schema() -> RefOr<Schema> {
        labels(SchemaType::Type(Type::String))
    }
}

impl PartialSchema for LabelsPatchForm {
    fn schema() -> RefOr<Schema> {
        labels(SchemaType::from_iter([Type::String, Type::Null]))
    }
}

fn labels(kind: SchemaType) -> RefOr<Schema> {
    let text = |kind| {
        ObjectBuilder::new()
            .schema_type(kind)
            .max_length(Some(LABEL))
            .pattern(Some(LABEL_FORM))
            .build()
    };
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(Schema::Object(text(Type::String.into()))))
        .additional_properties(Some(AdditionalProperties::from(Schema::Object(text(kind)))))
        .max_properties(Some(LABELS))
        .into()
}

macro_rules! texts {
    ($(
        $(#[$doc:meta])*
        $name:ident = $least:literal..=$most:literal, $pattern:literal, $words:literal;
    )+) => {
        /// What the pattern of a schema wants, in words.
        pub(super) fn words(pattern: &str) -> Option<&'static str> {
            let mut known = [$(($pattern, $words)),+].into_iter();
            known.find(|(own, _)| *own == pattern).map(|(_, words)| words)
        }


        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;

            impl ToSchema for $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .min_length(Some($least))
                        .max_length(Some($most))
                        .pattern(Some($pattern))
                        .into()
                }
            }
        )+
    };
}

// Kinds of text, as schemas. Control characters are nowhere: they could forge lines of logs, and
// PostgreSQL keeps no NUL.
texts! {
    /// The key of a bridge: Konnect's lengths.
    BridgeKey = 12..=256, "^[!-~]+$",
        "printable ASCII characters without spaces";
    /// An e-mail address, as `<input type=email>` takes one.
    EmailAddress = 3..=254, "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
        "an e-mail address";
    /// An https address without query and fragment, http within this machine only.
    HttpAddress = 1..=256, "^(https://(([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?[.])*[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?|(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3})|http://(localhost|127[.]0[.]0[.]1|\\[::1\\]))(:[1-9][0-9]{0,3}|:[1-5][0-9]{4}|:6[0-5][0-9]{3})?(/[a-zA-Z0-9._~!$&*+,;=:@-]+)*/?$",
        "an https address without query and fragment (http for this machine only)";
    /// A name or an id.
    Line = 1..=256, "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        "a text of one line, without control characters";
    /// A name to which configuration refers.
    Name = 1..=100, "^[A-Za-z0-9_.-]+$",
        "letters, digits, dots, dashes and underscores only";
    /// A text that may be empty.
    Note = 0..=2048, "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        "a text of one line, without control characters";
    /// A password as it is shown; what it must be like may have been another once.
    OldPassword = 1..=256, "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        "a text of one line, without control characters";
    /// A password to be (NIST SP 800-63B section 3.1.1.2): long, and of any characters.
    Password = 12..=256, "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        "a text of one line, without control characters";
    /// A scope (RFC 6749 section 3.3).
    Scope = 1..=256, "^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$",
        "printable ASCII characters without spaces, quotes and backslashes";
    /// Taken, kept sealed, and never shown.
    Sealed = 1..=4096, "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        "a text of one line, without control characters";
}

/// Where a thing stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the configuration file: it can only be read here.
    File,
    /// In the registry.
    Registry,
}

impl From<record::Source> for Source {
    fn from(source: record::Source) -> Self {
        match source {
            record::Source::File => Self::File,
            record::Source::Registry => Self::Registry,
        }
    }
}

/// A DCR provider where something else names it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DcrProviderReference {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display_name: String,
    /// What it speaks.
    #[schema(value_type = super::providers::ProviderType)]
    pub provider_type: String,
}

impl From<&record::Provider> for DcrProviderReference {
    fn from(provider: &record::Provider) -> Self {
        Self {
            id: provider.id,
            name: provider.name.clone(),
            display_name: provider.display_name.clone(),
            provider_type: provider.provider_type.clone(),
        }
    }
}

/// Reads a member that may be absent, null, or there: `None`, `Some(None)`, `Some(Some(_))`.
pub(super) fn nullable<'de, T, D>(reader: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(reader).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_whatever_they_are() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-5, "1970-01-01T00:00:00.000Z"),
            (1_795_267_800_001, "2026-11-21T13:30:00.001Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Time::from(Timestamp::from_millis(millis));
            assert_eq!(serde_json::to_value(time).unwrap(), text);
        }
    }
}
