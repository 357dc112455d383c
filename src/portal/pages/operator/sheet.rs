//! Pages that are a form: what it is about, and what goes with it.

use askama::Template;
use axum::response::Response;
use serde_json::{Map, Value};

use super::super::{
    form::{Form, Sent, Spare},
    page::{Done, Frame},
    trouble::Trouble,
};
use crate::portal::{api::problem::Problem, record};

/// Items on a page of a list.
const MOST: u64 = 100;

/// A link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) path: String,
    pub(super) name: String,
}

impl Link {
    pub(super) fn new(path: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
        }
    }
}

/// Why there is nothing to send.
#[derive(Debug)]
struct Hindrance {
    why: &'static str,
    /// What is in the way.
    others: Vec<Link>,
    /// Where to go instead.
    back: String,
}

/// A page that is a form.
#[derive(Debug, Template)]
#[template(path = "operator_sheet.html", config = ".askama.toml")]
pub(super) struct Sheet {
    title: String,
    lead: String,
    /// What is chosen, and what could be in its place.
    choices: Vec<(Link, bool)>,
    hindrance: Option<Hindrance>,
    form: Option<Form>,
    trouble: Option<Trouble>,
}

impl Sheet {
    pub(super) fn new(title: impl Into<String>, lead: impl Into<String>, form: Form) -> Self {
        Self {
            title: title.into(),
            lead: lead.into(),
            choices: Vec::new(),
            hindrance: None,
            form: Some(form),
            trouble: None,
        }
    }

    /// With other ways to the same end; whether one is this page.
    pub(super) fn choices(self, choices: Vec<(Link, bool)>) -> Self {
        Self { choices, ..self }
    }

    /// With what is in the way, if anything is: then there is nothing to send.
    pub(super) fn unless(self, why: &'static str, others: Vec<Link>, back: String) -> Self {
        match others.is_empty() {
            true => self,
            false => Self {
                lead: String::new(),
                hindrance: Some(Hindrance { why, others, back }),
                form: None,
                ..self
            },
        }
    }

    /// The form, as it was asked.
    pub(super) fn map(self, change: impl FnOnce(Form) -> Form) -> Self {
        Self {
            form: self.form.map(change),
            ..self
        }
    }

    /// The JSON body that was sent with the form.
    pub(super) fn body(&self, sent: &Sent, spare: Spare) -> Map<String, Value> {
        let form = self.form.as_ref();
        form.map(|form| form.body(sent, spare)).unwrap_or_default()
    }

    /// With why it was not done, above what is in the way.
    pub(super) fn telling(self, problem: &Problem, request_id: &str) -> Self {
        Self {
            trouble: Some(Trouble::new(problem, request_id).told_to_operator(true)),
            ..self
        }
    }

    /// The page that shows what was wrong.
    pub(super) fn refused(self, title: &'static str, problem: Problem) -> Result<Done, Problem> {
        Done::refused(title, &self, problem)
    }

    pub(super) fn page(self, frame: Frame, title: &'static str) -> Result<Response, Problem> {
        frame.page(title, &self)
    }
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    /// The pages beside it.
    pub(super) beside: Beside,
}

/// Pages beside one of a list.
#[derive(Debug, Template)]
#[template(path = "operator_beside.html", config = ".askama.toml")]
pub(super) struct Beside {
    path: &'static str,
    before: Option<u64>,
    after: Option<u64>,
}

/// The part of a list that `page` of a link names.
pub(super) fn part<T>(all: Vec<T>, path: &'static str, page: &str) -> Part<T> {
    let number = page.parse().unwrap_or(1).clamp(1, 1_000);
    let found = record::Page { number, size: MOST }.of(all);
    Part {
        beside: Beside {
            path,
            before: (number > 1).then(|| number - 1),
            after: (number * MOST < found.total).then(|| number + 1),
        },
        items: found.items,
    }
}
