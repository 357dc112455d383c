//! Forms: how they look, what was sent, and the JSON body that it makes. The routes of the REST hold
//! that body against its schema, so that pages and programs are told the same.

use std::{convert::Infallible, fmt::Write as _};

use askama::Template;
use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Map, Value};
use url::form_urlencoded;
use uuid::Uuid;

use super::trouble::Trouble;
use crate::portal::api::problem::Problem;

/// The name of the field that shows that a page of ours sent the form.
pub(super) const CSRF: &str = "csrf";
/// That of the key by which a creation is known when it comes again.
pub(super) const ONCE: &str = "once";
/// That of the revision that was read.
pub(super) const REVISION: &str = "revision";

/// What a form sent, or a link says behind its path.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    /// Reads `application/x-www-form-urlencoded`. Lines end as they do everywhere else here, and
    /// what stands around a value was not meant.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes);
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
                .collect(),
        )
    }

    /// A value as it was sent, or nothing.
    pub(super) fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Whether there is a value, empty or not.
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A value without the spaces around it.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Sent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self::read(query.as_bytes()))
    }
}

/// Something to choose.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// What is sent.
    pub(super) value: String,
    /// For people.
    pub(super) name: String,
}

impl Choice {
    pub(super) fn new(value: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            name: name.into(),
        }
    }
}

/// How a value is given.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// A line of text.
    Text {
        /// `type` of the input.
        kind: &'static str,
        /// `autocomplete` of the input.
        complete: &'static str,
        /// Characters at most.
        most: usize,
    },
    /// Several lines.
    Area {
        /// Shown at once.
        rows: usize,
        /// Characters at most.
        most: usize,
    },
    /// One of a list.
    One(Vec<Choice>),
    /// Any of a list.
    Several(Vec<Choice>),
    /// Yes or no.
    Switch,
}

/// What the value is in the JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Words,
    /// Each line is an item.
    Lines,
    /// A whole number.
    Number,
    /// JSON as it stands.
    Json,
    Truth,
}

/// One value of a form. Its name says where it stands in the JSON body: `dcr_config.api_key`.
#[derive(Clone, Debug, Template)]
#[template(path = "field.html", config = ".askama.toml")]
pub(super) struct Field {
    name: &'static str,
    label: &'static str,
    control: Control,
    shape: Shape,
    hint: Option<String>,
    required: bool,
    secret: bool,
    clears: bool,
    values: Vec<String>,
    fault: Option<String>,
}

impl Field {
    fn new(name: &'static str, label: &'static str, control: Control, shape: Shape) -> Self {
        Self {
            name,
            label,
            control,
            shape,
            hint: None,
            required: false,
            secret: false,
            clears: false,
            values: Vec::new(),
            fault: None,
        }
    }

    /// A line of text of at most 256 characters.
    pub(super) fn text(name: &'static str, label: &'static str) -> Self {
        Self::line(name, label, "text", "off", 256)
    }

    /// An e-mail address.
    pub(super) fn email(name: &'static str, label: &'static str) -> Self {
        Self::line(name, label, "email", "username", 254)
    }

    /// A web address.
    pub(super) fn url(name: &'static str, label: &'static str) -> Self {
        Self::line(name, label, "url", "off", 2048)
    }

    /// Something that is never shown again; what browsers know it as.
    pub(super) fn secret(name: &'static str, label: &'static str, complete: &'static str) -> Self {
        Self {
            secret: true,
            ..Self::line(name, label, "password", complete, 4096)
        }
    }

    fn line(
        name: &'static str,
        label: &'static str,
        kind: &'static str,
        complete: &'static str,
        most: usize,
    ) -> Self {
        let control = Control::Text {
            kind,
            complete,
            most,
        };
        Self::new(name, label, control, Shape::Text)
    }

    /// Several lines of text.
    pub(super) fn area(name: &'static str, label: &'static str, rows: usize, most: usize) -> Self {
        Self::new(name, label, Control::Area { rows, most }, Shape::Text)
    }

    /// Words with spaces between them, which make an array.
    pub(super) fn words(name: &'static str, label: &'static str) -> Self {
        Self {
            shape: Shape::Words,
            ..Self::line(name, label, "text", "off", 4096)
        }
    }

    /// Lines of text, each an item of an array.
    pub(super) fn lines(name: &'static str, label: &'static str, rows: usize) -> Self {
        Self {
            shape: Shape::Lines,
            ..Self::area(name, label, rows, 4096)
        }
    }

    /// A whole number.
    pub(super) fn number(name: &'static str, label: &'static str) -> Self {
        Self {
            shape: Shape::Number,
            ..Self::line(name, label, "text", "off", 10)
        }
    }

    /// A value of JSON.
    pub(super) fn json_text(name: &'static str, label: &'static str, rows: usize) -> Self {
        Self {
            shape: Shape::Json,
            ..Self::area(name, label, rows, 16_384)
        }
    }

    /// One of a list.
    pub(super) fn one(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Control::One(choices), Shape::Text)
    }

    /// Any of a list, which make an array.
    pub(super) fn several(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Control::Several(choices), Shape::Words)
    }

    /// Yes or no.
    pub(super) fn switch(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Control::Switch, Shape::Truth)
    }

    /// Not sent without a value.
    pub(super) fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// Left empty in a change it is null there, which takes away what it was.
    pub(super) fn clears(self) -> Self {
        Self {
            clears: true,
            ..self
        }
    }

    /// What else is to be said of it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// What it is at first.
    pub(super) fn with(self, value: impl Into<String>) -> Self {
        Self {
            values: vec![value.into()],
            ..self
        }
    }

    /// What it is in JSON at first; null is nothing.
    pub(super) fn with_json(self, value: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match (self.shape, value) {
            (_, Value::Null) => self,
            (Shape::Json, value) => {
                let text = serde_json::to_string_pretty(value);
                self.with(text.unwrap_or_default())
            }
            (_, Value::Array(items)) => self.with_all(items.iter().map(text)),
            (_, value) => self.with(text(value)),
        }
    }

    /// What is chosen at first.
    pub(super) fn with_all<S: Into<String>>(self, values: impl IntoIterator<Item = S>) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        match (&self.control, self.shape) {
            (Control::Several(_), _) => Self { values, ..self },
            (_, Shape::Lines) => self.with(values.join("\n")),
            _ => self.with(values.join(" ")),
        }
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|known| known == value)
    }

    /// Attributes. Names are of our own, so nothing in them has to be escaped.
    fn state(&self) -> String {
        let mut text = String::new();
        let one = !matches!(self.control, Control::Several(_));
        if self.required && one {
            text.push_str(" required");
        }
        if self.fault.is_some() && one {
            text.push_str(" aria-invalid=\"true\"");
        }
        let ids = [
            ("hint", self.hint.is_some()),
            ("fault", self.fault.is_some()),
        ];
        let ids = ids.iter().filter(|(_, is_there)| *is_there);
        let ids: Vec<_> = ids.map(|(id, _)| format!("{}-{id}", self.name)).collect();
        if !ids.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(text, " aria-describedby=\"{}\"", ids.join(" "));
        }
        text
    }

    /// The value that the JSON body has for it; `None`: none.
    fn json(&self, sent: &Sent) -> Option<Value> {
        let text = match self.secret {
            true => sent.raw(self.name),
            false => sent.text(self.name),
        };
        match self.shape {
            // Its schema says what it wants of one that was emptied.
            Shape::Text if self.required && !sent.has(self.name) => None,
            Shape::Text => Some(Value::from(text)),
            Shape::Words => {
                let all = sent.all(self.name).flat_map(str::split_whitespace);
                Some(Value::Array(all.map(Value::from).collect()))
            }
            Shape::Lines => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                Some(Value::Array(lines.map(Value::from).collect()))
            }
            // What is neither goes on as the text that it is, and its schema says what it wants.
            Shape::Number => match text.parse::<u64>() {
                Ok(number) => Some(Value::from(number)),
                Err(_) => Some(Value::from(text)),
            },
            Shape::Json => Some(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
            Shape::Truth => Some(Value::Bool(text == "true")),
        }
    }
}

/// A form, as it is shown.
#[derive(Clone, Debug, Template)]
#[template(path = "form.html", config = ".askama.toml")]
pub(super) struct Form {
    action: String,
    csrf: String,
    hidden: Vec<(&'static str, String)>,
    account: Option<String>,
    fields: Vec<Field>,
    /// Those that few need.
    more: Vec<Field>,
    submit: &'static str,
    danger: bool,
    back: Option<(String, &'static str)>,
    trouble: Option<Trouble>,
}

impl Form {
    /// An empty form that is sent there; the word on its button.
    pub(super) fn new(action: impl Into<String>, csrf: &str, submit: &'static str) -> Self {
        Self {
            action: action.into(),
            csrf: csrf.to_owned(),
            hidden: Vec::new(),
            account: None,
            fields: Vec::new(),
            more: Vec::new(),
            submit,
            danger: false,
            back: None,
            trouble: None,
        }
    }

    /// With one more field.
    pub(super) fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// With several more.
    pub(super) fn fields(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// With several more that few need: they are folded away while they are empty.
    pub(super) fn more(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.more.extend(fields);
        self
    }

    /// Whether what few need is shown at once.
    fn opens(&self) -> bool {
        let mut more = self.more.iter();
        more.any(|field| field.fault.is_some() || !field.value().is_empty())
    }

    /// With a value that nobody sees.
    pub(super) fn hidden(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.hidden.push((name, value.into()));
        self
    }

    /// Of an account: so that a browser that keeps passwords knows whose this one is.
    pub(super) fn of_account(self, name: impl Into<String>) -> Self {
        Self {
            account: Some(name.into()),
            ..self
        }
    }

    /// With a key by which it is known when it comes again.
    pub(super) fn once(self) -> Self {
        self.hidden(ONCE, Uuid::new_v4().to_string())
    }

    /// Of a thing as it was read: what somebody else has changed meanwhile is not overwritten.
    pub(super) fn of_revision(self, revision: i64) -> Self {
        self.hidden(REVISION, revision.to_string())
    }

    /// One that cannot be undone.
    pub(super) fn danger(self) -> Self {
        Self {
            danger: true,
            ..self
        }
    }

    /// With a way out.
    pub(super) fn back(self, path: impl Into<String>, name: &'static str) -> Self {
        Self {
            back: Some((path.into(), name)),
            ..self
        }
    }

    /// The JSON body that was sent. What may be left out and is empty is left out where `spare` says
    /// so, else it is there as an empty text.
    pub(super) fn body(&self, sent: &Sent, spare: Spare) -> Map<String, Value> {
        let mut body = Map::new();
        for field in self.fields.iter().chain(&self.more) {
            let Some(mut value) = field.json(sent) else {
                continue;
            };
            let is_empty = value == "" || value.as_array().is_some_and(Vec::is_empty);
            // What is never shown is not emptied either: nobody could know that it is there.
            if is_empty && (spare == Spare::LeftOut || field.secret) {
                continue;
            }
            if is_empty && field.clears {
                value = Value::Null;
            }
            put(&mut body, field.name, value);
        }
        body
    }

    /// The same form with what was sent, and why that was refused.
    pub(super) fn refused(mut self, sent: &Sent, problem: &Problem, request_id: &str) -> Self {
        let is_operators = self.action.starts_with("/operator/");
        let mut trouble = Trouble::new(problem, request_id).told_to_operator(is_operators);
        for field in self.fields.iter_mut().chain(&mut self.more) {
            if !field.secret {
                field.values = sent.all(field.name).map(str::to_owned).collect();
            }
            field.fault = trouble.take(field.name);
        }
        for (name, value) in &mut self.hidden {
            // The same key for the same request, but another one is another request.
            if *name == ONCE && problem.is_transient() {
                *value = sent.raw(ONCE).to_owned();
            }
        }
        self.trouble = Some(trouble);
        self
    }
}

/// What becomes of values that were left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    /// They are empty: a change empties what was there.
    Emptied,
    /// They are left out: a creation has its defaults.
    LeftOut,
}

/// Puts a value where a dotted name says.
fn put(body: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(body.insert(name.to_owned(), value)),
        Some((first, rest)) => {
            let inner = body
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Form {
        Form::new("/apps", "token", "Create")
            .field(Field::text("name", "Name").required())
            .field(Field::area("description", "Description", 3, 512))
            .field(Field::words("configs.openid-connect.scopes", "Scopes"))
            .field(Field::secret("dcr_config.token", "Token", "off"))
            .field(Field::switch("auto", "At once"))
    }

    #[test]
    fn a_body_stands_as_the_names_say() {
        let sent = Sent::read(
            b"name=+A+%26+B+&description=a%0D%0Ab&configs.openid-connect.scopes=x++y\
              &dcr_config.token=+s+&auto=true&csrf=c&other=1",
        );
        assert_eq!(
            Value::Object(form().body(&sent, Spare::LeftOut)),
            json!({
                "name": "A & B", "description": "a\nb", "auto": true,
                "configs": {"openid-connect": {"scopes": ["x", "y"]}},
                "dcr_config": {"token": " s "},
            })
        );
    }

    #[test]
    fn what_is_empty_is_left_out_or_emptied_and_a_secret_stays() {
        let sent = Sent::read(b"name=&description=&dcr_config.token=");
        let new = Value::Object(form().body(&sent, Spare::LeftOut));
        assert_eq!(new, json!({"auto": false}));
        let changed = Value::Object(form().body(&sent, Spare::Emptied));
        assert_eq!(
            changed,
            json!({
                "name": "", "description": "", "auto": false, "configs": {"openid-connect": {"scopes": []}},
            })
        );
    }

    #[test]
    fn numbers_lines_and_json_stand_as_such_and_what_clears_is_null() {
        let form = Form::new("/x", "token", "Save")
            .field(Field::number("a.leeway", "Leeway").clears())
            .field(Field::lines("rules", "Rules", 2))
            .more([Field::json_text("metadata", "Metadata", 2).clears()]);
        let body = |sent: &[u8]| Value::Object(form.body(&Sent::read(sent), Spare::Emptied));
        for (sent, expected) in [
            (
                &b"a.leeway=+30&rules=a+b%0D%0A%0D%0A+c&metadata=%7B%22k%22%3A+%5B1%5D%7D"[..],
                json!({"a": {"leeway": 30}, "rules": ["a b", "c"], "metadata": {"k": [1]}}),
            ),
            (
                b"a.leeway=&rules=&metadata=",
                json!({"a": {"leeway": null}, "rules": [], "metadata": null}),
            ),
            (
                b"a.leeway=-1&rules=x&metadata=%7Bk",
                json!({"a": {"leeway": "-1"}, "rules": ["x"], "metadata": "{k"}),
            ),
        ] {
            assert_eq!(body(sent), expected);
        }
    }

    #[test]
    fn what_was_sent_is_shown_again_but_for_secrets() {
        let sent = Sent::read(b"name=%3Cb%3E&dcr_config.token=hush&auto=true");
        let problem = Problem::new(crate::portal::api::problem::Kind::Taken);
        let shown = form().refused(&sent, &problem, "r1").to_string();
        assert!(shown.contains("value=\"&#60;b&#62;\""), "{shown}");
        assert!(shown.contains("checked"), "{shown}");
        assert!(!shown.contains("hush") && !shown.contains("<b>"), "{shown}");
    }
}
