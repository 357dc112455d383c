//! JSON bodies: read strictly, and held against the very schemas that the OpenAPI document shows.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::IntoResponse as _,
};
use http::{StatusCode, header};
use jsonschema::{
    Draft, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::Location,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    document, my,
    problem::{Kind, Problem, Source},
    shape,
};
use crate::{portal::Fault, token};

/// Bytes of the largest body: the largest application is a hundredth of it.
pub const LIMIT: usize = 64 * 1024;

/// Faults told at once. Who makes more has not read the document.
const FAULTS: usize = 20;

/// A body that a route takes.
pub(in crate::portal) trait Form: DeserializeOwned {
    /// The name of its schema in the document.
    const SCHEMA: &'static str;

    /// What is there, but not for this request to change.
    const FIXED: &'static [&'static str] = &[];

    /// Whether it may be left out, which says the same as `{}`.
    const OPTIONAL: bool = false;

    /// Which schema this body has to fit, where there are several.
    ///
    /// # Errors
    /// It fits none, and why.
    fn schema(body: &Map<String, Value>) -> Result<&'static str, Fault> {
        let _ = body;
        Ok(Self::SCHEMA)
    }
}

/// A body that fits its schema.
#[derive(Debug)]
pub(in crate::portal) struct Body<T> {
    /// What it says.
    pub(in crate::portal) value: T,
    /// What it says, as it was sent.
    pub(in crate::portal) given: Value,
}

impl<T: Form, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = request.headers().get(header::CONTENT_TYPE).cloned();
        let read = Bytes::from_request(request, state).await;
        let bytes = read.map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Problem::new(Kind::MalformedJson).detailed("the body broke off"),
        })?;
        if T::OPTIONAL && bytes.is_empty() {
            return understand(Map::new());
        }
        let form = form.as_ref().and_then(|line| line.to_str().ok());
        let essence = form.and_then(|line| line.split(';').next()).map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(Kind::UnsupportedMediaType));
        }
        understand(parse(&bytes)?)
    }
}

/// The answer to a body that passes [`LIMIT`].
pub fn too_large() -> Problem {
    Problem::new(Kind::BodyTooLarge).detailed(format!("expected at most {LIMIT} bytes"))
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    token::json::object(bytes).map_err(|fault| {
        let problem = Problem::new(Kind::MalformedJson);
        match fault {
            token::json::Fault::NotObject => {
                let fault = Fault {
                    field: String::new(),
                    rule: "type",
                    reason: "expected an object".to_owned(),
                };
                Problem::invalid(Source::Body, vec![fault])
            }
            token::json::Fault::Syntax => match serde_json::from_slice::<Value>(bytes) {
                // Says what was expected and where, and nothing of what is there.
                Err(error) => problem.detailed(error.to_string()),
                Ok(_) => problem.detailed("a number is out of range"),
            },
            token::json::Fault::Depth | token::json::Fault::Repeated => {
                problem.detailed(fault.to_string())
            }
        }
    })
}

pub(in crate::portal) fn understand<T: Form>(body: Map<String, Value>) -> Result<Body<T>, Problem> {
    let refuse = |faults| Problem::invalid(Source::Body, faults);
    let schema = T::schema(&body).map_err(|fault| refuse(vec![fault]))?;
    let mut given = Value::Object(body);
    make_whole(&mut given);
    let faults = faults(schema, &given, T::FIXED)?;
    if !faults.is_empty() {
        return Err(refuse(faults));
    }
    match T::deserialize(&given) {
        Ok(value) => Ok(Body { value, given }),
        // Where schema and type differ; the message may repeat a value.
        Err(_) => Err(Problem::new(Kind::InvalidParameters)),
    }
}

/// Writes whole numbers as such: to JSON Schema 60.0 is an integer (draft 2020-12, validation
/// section 6.1.1).
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Doubles are exact up to here, and no limit of the document lies beyond.
            let whole = number.as_f64().filter(|_| number.is_f64());
            let whole = whole.filter(|whole| whole.fract() == 0.0 && whole.abs() < 9e15);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is whole and within the range"
            )]
            if let Some(whole) = whole {
                *number = (whole as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(members) => members.values_mut().for_each(make_whole),
        _ => {}
    }
}

pub(super) fn faults(schema: &str, body: &Value, fixed: &[&str]) -> Result<Vec<Fault>, Problem> {
    let Some(rules) = rule(schema) else {
        return Err(Problem::new(Kind::Internal));
    };
    let errors = rules.iter_errors(body);
    Ok(errors
        .flat_map(|error| told(&error, fixed))
        .take(FAULTS)
        .collect())
}

/// A schema of a document, and what holds bodies against it once the first one comes: to make all of
/// them would keep the very first request waiting.
type Rule = (&'static Value, OnceLock<Option<Validator>>);

/// Each schema of the two documents. Of a name that stands in both, both say the same.
static RULES: LazyLock<BTreeMap<&'static str, Rule>> = LazyLock::new(|| {
    let documents = [my::document::json(), document::json()];
    let schemas = documents.into_iter().flat_map(|document| {
        let components = &document["components"];
        let names = components["schemas"].as_object().into_iter().flatten();
        names.map(move |(name, _)| (name.as_str(), (components, OnceLock::new())))
    });
    schemas.collect()
});

/// The validator of a schema; `None` where there is no such schema.
fn rule(name: &str) -> Option<&'static Validator> {
    let (components, rule) = RULES.get(name)?;
    let rule = rule.get_or_init(|| {
        let schema = json!({
            "$ref": format!("#/components/schemas/{name}"),
            "components": components,
        });
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true);
        options.build(&schema).ok()
    });
    rule.as_ref()
}

/// The schemas that bodies can be held against.
#[cfg(test)]
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    RULES.keys().copied().filter(|name| rule(name).is_some())
}

/// What is wrong, without the value that is.
fn told(error: &ValidationError<'_>, fixed: &[&str]) -> Vec<Fault> {
    let place = dotted(error.instance_path());
    let inside = |name: &str| match place.is_empty() {
        true => name.to_owned(),
        false => format!("{place}.{name}"),
    };
    let one = |rule, reason: String| {
        let field = place.clone();
        vec![Fault {
            field,
            rule,
            reason,
        }]
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| {
                let (rule, reason) = match place.is_empty() && fixed.contains(&&**name) {
                    true => ("immutable", "cannot be changed"),
                    false => ("unknown_property", "there is no such member"),
                };
                Fault {
                    field: inside(name),
                    rule,
                    reason: reason.to_owned(),
                }
            })
            .collect(),
        ValidationErrorKind::Required { property } => vec![Fault {
            field: inside(property.as_str().unwrap_or_default()),
            rule: "required",
            reason: "expected it to be there".to_owned(),
        }],
        ValidationErrorKind::Type { kind } => one("type", format!("expected {}", types(kind))),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().collect();
            let words = options.iter().filter_map(|word| word.as_str());
            let words: Vec<_> = words.collect();
            one("enum", format!("expected one of: {}", words.join(", ")))
        }
        ValidationErrorKind::MaxLength { limit } => {
            one("max_length", format!("expected at most {limit} characters"))
        }
        ValidationErrorKind::MinLength { limit } => one(
            "min_length",
            format!("expected at least {limit} characters"),
        ),
        ValidationErrorKind::MaxItems { limit } => {
            one("max_items", format!("expected at most {limit} items"))
        }
        ValidationErrorKind::MinItems { limit } => {
            one("min_items", format!("expected at least {limit} items"))
        }
        ValidationErrorKind::MaxProperties { limit } => one(
            "max_properties",
            format!("expected at most {limit} members"),
        ),
        ValidationErrorKind::MinProperties { limit } => one(
            "min_properties",
            format!("expected at least {limit} members"),
        ),
        ValidationErrorKind::Minimum { limit } => {
            one("minimum", format!("expected at least {limit}"))
        }
        ValidationErrorKind::Maximum { limit } => {
            one("maximum", format!("expected at most {limit}"))
        }
        ValidationErrorKind::UniqueItems => {
            one("unique_items", "expected no item twice".to_owned())
        }
        ValidationErrorKind::Pattern { pattern } => one(
            "pattern",
            match shape::words(pattern) {
                Some(words) => format!("expected {words}"),
                None => format!("expected a text that fits {pattern}"),
            },
        ),
        ValidationErrorKind::Format { format } => one("format", format!("expected a {format}")),
        ValidationErrorKind::PropertyNames { .. } => one(
            "property_names",
            "expected names as the document describes them".to_owned(),
        ),
        ValidationErrorKind::Not { schema } => {
            let names = schema["required"].as_array().into_iter().flatten();
            let names: Vec<_> = names.filter_map(Value::as_str).collect();
            one(
                "exclusive",
                format!("expected not all of: {}", names.join(", ")),
            )
        }
        ValidationErrorKind::Constant { expected_value } => {
            one("const", format!("expected {expected_value}"))
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let ways: Vec<_> = context.iter().filter_map(|way| missing(way)).collect();
            if !ways.is_empty() {
                return one("required", format!("expected {}", ways.join(", or ")));
            }
            // The one that the value comes closest to.
            let closest = context.iter().min_by_key(|way| way.len());
            let errors = closest.into_iter().flatten();
            errors.flat_map(|error| told(error, fixed)).collect()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            one("exclusive", "expected one way only".to_owned())
        }
        _ => one("schema", "does not fit its schema".to_owned()),
    }
}

/// What a value needs for one of several ways, where that is all that is wrong with it.
fn missing(way: &[ValidationError<'_>]) -> Option<String> {
    let names = way.iter().map(|error| match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        _ => None,
    });
    let names: Vec<_> = names.collect::<Option<_>>()?;
    Some(names.join(" and "))
}

fn types(kind: &TypeKind) -> String {
    let name = |name: &str| match name {
        "array" | "integer" | "object" => format!("an {name}"),
        "null" => name.to_owned(),
        _ => format!("a {name}"),
    };
    match kind {
        TypeKind::Single(one) => name(one.as_str()),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|one| name(one.as_str())).collect();
            names.join(" or ")
        }
    }
}

/// `/dcr_config/api_key` as `dcr_config.api_key`.
fn dotted(place: &Location) -> String {
    let steps = place.as_str().split('/').skip(1);
    let steps: Vec<_> = steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    steps.join(".")
}
