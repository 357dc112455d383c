//! What lists of the operator have in common: what narrows them, and how one turns their pages.

use askama::Template;
use url::form_urlencoded::Serializer;

use super::super::form::{Field, Sent};
use crate::portal::{
    api::problem::{Kind, Problem},
    record::Page,
};

/// Lines on a page.
const SIZE: u64 = 100;

/// Characters of the longest value that narrows a list, as in the REST.
const LONGEST: usize = 256;

/// What narrows a list.
#[derive(Template)]
#[template(path = "operator_filter.html", config = ".askama.toml")]
pub(super) struct Filter {
    path: &'static str,
    fields: Vec<Field>,
    is_narrowed: bool,
}

/// The ways to the pages before and after.
#[derive(Template)]
#[template(path = "operator_turn.html", config = ".askama.toml")]
pub(super) struct Turn {
    words: (&'static str, &'static str),
    before: Option<String>,
    after: Option<String>,
}

/// Which page a link asks for.
pub(super) fn page(link: &Sent) -> Page {
    let number = link.raw("page").parse().unwrap_or(1).clamp(1, 1_000_000);
    Page { number, size: SIZE }
}

/// A text that narrows a list, if there is one.
///
/// # Errors
/// It cannot stand in what is listed: nothing would be found.
pub(super) fn text(link: &Sent, name: &str) -> Result<Option<String>, Problem> {
    let text = link.text(name);
    match text.chars().any(char::is_control) || text.chars().count() > LONGEST {
        true => Err(unknown()),
        false => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
    }
}

/// One of a few words that narrows a list, if there is one.
///
/// # Errors
/// It is none of them: a misspelt one must not show everything.
pub(super) fn word<T: Copy>(
    link: &Sent,
    name: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, Problem> {
    let text = link.text(name);
    if text.is_empty() {
        return Ok(None);
    }
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| Some(*value)).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(Kind::InvalidParameters).detailed("the list cannot be narrowed like this")
}

impl Filter {
    /// Of a list at this path, with what a link says of it.
    pub(super) fn new(path: &'static str, link: &Sent, fields: Vec<Field>) -> Self {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|field| {
                let value = link.text(field.name()).to_owned();
                field.with(value)
            })
            .collect();
        let mut names = fields.iter().map(Field::name);
        let is_narrowed = names.any(|name| !link.text(name).is_empty());
        Self {
            path,
            fields,
            is_narrowed,
        }
    }

    /// Whether it leaves anything out.
    pub(super) const fn is_narrowed(&self) -> bool {
        self.is_narrowed
    }

    /// The ways to the pages around this one, narrowed alike.
    pub(super) fn turn(&self, link: &Sent, page: Page, total: u64) -> Turn {
        let to = |number: u64| {
            let mut query = Serializer::new(String::new());
            for name in self.fields.iter().map(Field::name) {
                let value = link.text(name);
                if !value.is_empty() {
                    query.append_pair(name, value);
                }
            }
            query.append_pair("page", &number.to_string());
            format!("{}?{}", self.path, query.finish())
        };
        Turn {
            words: ("Newer", "Older"),
            before: (page.number > 1).then(|| to(page.number - 1)),
            after: (page.number * page.size < total).then(|| to(page.number + 1)),
        }
    }
}

impl Turn {
    /// Of a list that is not in order of time.
    pub(super) fn of_names(self) -> Self {
        Self {
            words: ("Previous", "Next"),
            ..self
        }
    }
}
