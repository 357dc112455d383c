//! The JSON Schema of the configuration (draft 2020-12), for editors and for checks before a file
//! reaches a gateway.
//!
//! It is what the readers ask for: they walk `conf/gateway.yaml`, which sets every key, and each
//! of their questions is taken down with its words, range and default (`Asked`). So it says
//! nothing that they do not do. What a key means is in `super::docs`. What spans keys (names that
//! must exist, choices that exclude each other), the ranges of durations, and what is in files are
//! left to `dcr-gateway check`. In two things the schema is the stricter one: it wants numbers
//! without quotes, and something behind every key.

mod kind;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde_json::Value;

use self::kind::{Additional, Schema, Types};
use super::{
    docs, document,
    section::{At, Report},
    top,
};
use crate::model::fault::Fault;

/// The file that sets every key.
const EVERY_KEY: &str = include_str!("../../conf/gateway.yaml");

/// What it cannot set beside what it does.
const OTHERS: [&str; 3] = [
    "portal: { address: 127.0.0.1:8002, tls: { certificates: [{ certificate: portal.crt, key: portal.key }] }, accounts: { registration: approval, idle_timeout: 1h, absolute_timeout: 12h, operators: true }, public_url: https://portal.example.com, gateway_url: https://api.example.com, oidc: { identity_provider: keycloak, client: { id: portal, secret: { env: PORTAL_SECRET } }, registration: approval } }",
    "registry: { sqlite: data/registry.db, keys: [{ env: REGISTRY_KEY }] }",
    "registry: { postgres: { env: DATABASE_URL } }",
];

/// Nothing below it can be read, so that the walk does not depend on what lies around.
const NOWHERE: &str = "/dev/null/gateway.yaml";

/// A duration as `humantime` reads it. One from zero may be `0` without a unit too.
const DURATION: &str = r"^\s*([0-9][0-9\s]*(\.[0-9\s]+)?[A-Za-zµ]+\s*)+$";

/// A size as `bytesize` reads it.
const SIZE: &str = r"^[0-9.]+\s*([kKmMgGtTpPeE]?[iI]?[bB]?)$";

/// Whatever is neither list nor map is taken as it is written.
const SCALAR: Types = Types::Several(&["string", "number", "boolean"]);

/// A question of a reader about one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Text whose characters match an expression; a number may be such a text.
    Characters(&'static str),
    /// What an absent value means.
    Default(String),
    /// A duration with its unit.
    Duration {
        least: Duration,
        most: Duration,
        default: Duration,
    },
    /// A map whose keys the operator chooses.
    Entries,
    /// A list that is not empty.
    Filled,
    /// The value of a key of a section.
    Key(&'static str),
    /// A list.
    List,
    /// A whole number.
    Number { least: u64, most: u64, default: u64 },
    /// Text that matches an expression, which no number does.
    Pattern(&'static str),
    /// The value of a key that must be there.
    Required(&'static str),
    /// A reference to a secret.
    Secret,
    /// A section with known keys.
    Section,
    /// A size in bytes.
    Size { least: u64, most: u64 },
    /// Yes or no.
    Switch { default: bool },
    /// Text, with what is expected of it.
    Text(String),
    /// One of these words.
    Words(Vec<String>),
}

/// The schema, as text.
///
/// # Errors
/// The file that sets every key is no YAML, or the schema cannot be written as JSON: neither
/// happens in a program that passed its tests.
pub fn json() -> Result<String, Error> {
    let schema = Schema {
        schema: Some("https://json-schema.org/draft/2020-12/schema"),
        title: Some("The configuration of dcr-gateway"),
        ..build()?
    };
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Why there is no schema.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that sets every key is no YAML.
    #[error("{0}")]
    Example(Fault),
    /// JSON could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn build() -> Result<Schema, Error> {
    let file: Arc<Path> = Path::new(NOWHERE).into();
    let report = Report::with_questions(&file);
    for text in [EVERY_KEY].iter().chain(&OTHERS) {
        let document = document::parse(&file, text).map_err(Error::Example)?;
        top::read(At::top(&report, &document), None);
    }
    let mut place = Place::default();
    for (path, asked) in report.into_questions() {
        let known = &mut place.at(&path).asked;
        if !known.contains(&asked) {
            known.push(asked);
        }
    }
    Ok(place.schema(""))
}

/// What was asked about one value, and about those below it: `[]` is every element of a list, `*`
/// every key of a map whose keys the operator chooses.
#[derive(Debug, Default)]
struct Place {
    asked: Vec<Asked>,
    below: BTreeMap<String, Self>,
}

impl Place {
    /// The place of a path of the walk, as in `apis[0].routes[1].paths`.
    fn at(&mut self, path: &str) -> &mut Self {
        let mut place = self;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            let (key, indexes) = step.split_at(step.find('[').unwrap_or(step.len()));
            let key = match place.asked.contains(&Asked::Entries) {
                true => "*",
                false => key,
            };
            place = place.below.entry(key.to_owned()).or_default();
            for _ in indexes.matches('[') {
                place = place.below.entry("[]".to_owned()).or_default();
            }
        }
        place
    }

    fn schema(&self, path: &str) -> Schema {
        let mut kinds = self.kinds(path);
        let mut schema = match kinds.len() {
            1 => kinds.remove(0),
            _ => Schema {
                any_of: kinds,
                ..Schema::default()
            },
        };
        for asked in &self.asked {
            match asked {
                Asked::Default(text) => schema.default = Some(text.as_str().into()),
                Asked::Duration { default, .. } => {
                    schema.default = Some(duration(*default).into());
                }
                Asked::Number { default, .. } => schema.default = Some((*default).into()),
                Asked::Switch { default } => schema.default = Some((*default).into()),
                _ => {}
            }
        }
        schema.description = self.description(path, schema.default.as_ref());
        schema
    }

    /// The kinds of value that may stand here.
    fn kinds(&self, path: &str) -> Vec<Schema> {
        let mut kinds: Vec<Schema> = Vec::new();
        let mut add = |kind: Schema| {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        };
        let exact = self.asked.iter().any(Asked::is_more_than_text);
        for asked in &self.asked {
            match asked {
                Asked::Duration { least, .. } => {
                    add(Schema::of("string").matching(DURATION));
                    if least.is_zero() {
                        add(Schema::words(vec![0.into()]));
                    }
                }
                Asked::Entries => add(Schema {
                    types: Types::One("object"),
                    additional_properties: Some(Additional::Each(self.each("*", path))),
                    ..Schema::default()
                }),
                Asked::List => add(Schema {
                    types: Types::One("array"),
                    items: Some(self.each("[]", path)),
                    min_items: self.asked.contains(&Asked::Filled).then_some(1),
                    ..Schema::default()
                }),
                Asked::Number { least, most, .. } => add(Schema::number(*least, *most)),
                Asked::Secret => add(secret()),
                Asked::Section if !self.asked.contains(&Asked::Secret) => add(self.section(path)),
                Asked::Size { least, most } => {
                    add(Schema::number(*least, *most));
                    add(Schema::of("string").matching(SIZE));
                }
                Asked::Switch { .. } => {
                    let words = ["on", "off", "yes", "no"].map(Value::from);
                    add(Schema::words(
                        [Value::Bool(true), Value::Bool(false)]
                            .into_iter()
                            .chain(words)
                            .collect(),
                    ));
                }
                Asked::Text(_) if !exact => {
                    let described = self.asked.iter().find_map(|asked| match asked {
                        Asked::Characters(pattern) => Some((SCALAR, Some(*pattern))),
                        Asked::Pattern(pattern) => Some((Types::One("string"), Some(*pattern))),
                        _ => None,
                    });
                    let (types, pattern) = described.unwrap_or((SCALAR, None));
                    add(Schema {
                        types,
                        pattern,
                        ..Schema::default()
                    });
                }
                Asked::Words(words) => {
                    add(Schema::words(
                        words.iter().map(|word| word.as_str().into()).collect(),
                    ));
                }
                _ => {}
            }
        }
        kinds
    }

    fn section(&self, path: &str) -> Schema {
        let mut schema = Schema {
            types: Types::One("object"),
            additional_properties: Some(Additional::None(false)),
            ..Schema::default()
        };
        for asked in &self.asked {
            match asked {
                Asked::Key(key) if !schema.properties.iter().any(|(known, _)| known == key) => {
                    let below = match path {
                        "" => (*key).to_owned(),
                        path => format!("{path}.{key}"),
                    };
                    let place = self.below.get(*key);
                    let value = place.map(|place| place.schema(&below));
                    schema.properties.push((key, value.unwrap_or_default()));
                }
                Asked::Required(key) if !schema.required.contains(key) => {
                    schema.required.push(key);
                }
                _ => {}
            }
        }
        schema
    }

    fn each(&self, step: &str, path: &str) -> Box<Schema> {
        let path = match step {
            "*" => format!("{path}.*"),
            _ => format!("{path}{step}"),
        };
        let place = self.below.get(step);
        Box::new(place.map(|place| place.schema(&path)).unwrap_or_default())
    }

    /// What the value means, what is expected of it, and what it is where it is absent.
    fn description(&self, path: &str, default: Option<&Value>) -> Option<String> {
        let mut text = docs::of(path)?.to_owned();
        for asked in &self.asked {
            match asked {
                Asked::Duration { least, most, .. } => {
                    text += &format!(" From {} to {}.", duration(*least), duration(*most));
                }
                Asked::Number { least, most, .. } => text += &format!(" From {least} to {most}."),
                Asked::Size { least, most } => {
                    text += &format!(" From {} to {}.", size(*least), size(*most));
                }
                _ => {}
            }
        }
        match default {
            Some(Value::String(default)) => text += &format!(" Default: {default}."),
            Some(default) => text += &format!(" Default: {default}."),
            None => {}
        }
        Some(text)
    }
}

impl Asked {
    /// Whether this says more than that there is text.
    fn is_more_than_text(&self) -> bool {
        matches!(
            self,
            Self::Duration { .. } | Self::Number { .. } | Self::Size { .. } | Self::Switch { .. }
        )
    }
}

/// What [`super::secret`] reads.
fn secret() -> Schema {
    let key = |name, doc: &str, pattern| {
        let schema = Schema {
            types: SCALAR,
            description: Some(doc.to_owned()),
            pattern,
            ..Schema::default()
        };
        (name, schema)
    };
    Schema {
        types: Types::One("object"),
        properties: vec![
            key(
                "env",
                "The environment variable that holds the secret.",
                Some("^[A-Za-z0-9_]+$"),
            ),
            key(
                "file",
                "The file that holds the secret, read again when it changes; its final line break \
                 does not count.",
                None,
            ),
        ],
        additional_properties: Some(Additional::None(false)),
        min_properties: Some(1),
        max_properties: Some(1),
        ..Schema::default()
    }
}

/// A duration in the largest unit that leaves no remainder.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        (24 * 3_600_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    // A day is 24h to whoever reads it beside hours.
    let unit = units
        .iter()
        .find(|(unit, name)| millis.is_multiple_of(*unit) && (*name != "d" || millis > *unit));
    match unit {
        Some(_) if millis == 0 => "0s".to_owned(),
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// A size in the largest unit that leaves no remainder.
pub(crate) fn size(bytes: u64) -> String {
    let units = [
        (1 << 50, "PiB"),
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
        (1, "B"),
    ];
    let unit = units.iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    let (unit, name) = unit.copied().unwrap_or((1, "B"));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests;
