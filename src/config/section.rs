//! A walk through the configuration's tree: each step knows its key path and place, so that every
//! fault says where it is, and one fault never hides the next.
//!
//! Whoever reads a key reports its faults here and goes on with a default; [`Report::finish`] is
//! the one place that decides whether there was any.

use std::{
    cell::RefCell,
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Additions, Role,
    document::{Entry, Node, Value},
    schema::Asked,
};
use crate::model::fault::{Fault, Place, Warning, one_line};

/// What was found so far in one file.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<Path>,
    role: Role,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Warning>>,
    files: RefCell<Vec<PathBuf>>,
    asked: Option<RefCell<Vec<(String, Asked)>>>,
}

impl Report {
    /// Begins the report on a file, as the operator named it, and read for this role.
    pub(crate) fn new(file: &Arc<Path>, role: Role) -> Self {
        Self {
            file: file.clone(),
            role,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            files: RefCell::new(vec![absolute(file)]),
            asked: None,
        }
    }

    /// As [`Report::new`] for the gateway, and takes down what the walk asks for.
    pub(crate) fn with_questions(file: &Arc<Path>) -> Self {
        Self {
            asked: Some(RefCell::default()),
            ..Self::new(file, Role::Gateway)
        }
    }

    /// What was asked for and where, in order.
    pub(crate) fn into_questions(self) -> Vec<(String, Asked)> {
        self.asked.map(RefCell::into_inner).unwrap_or_default()
    }

    /// What the file is read for.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// A path of the configuration: relative ones are relative to the file.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        absolute(&self.file.parent().unwrap_or(Path::new("")).join(path))
    }

    /// Notes that the configuration was made from this file too.
    pub(crate) fn note_file(&self, path: &Path) {
        let mut files = self.files.borrow_mut();
        if !files.iter().any(|known| known == path) {
            files.push(path.to_owned());
        }
    }

    /// The files noted so far.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// The value with all warnings and the files that were read, or every fault, in the file's
    /// order.
    pub(crate) fn finish(self) -> Result<(Vec<Warning>, Vec<PathBuf>), Vec<Fault>> {
        let mut faults = self.faults.into_inner();
        if !faults.is_empty() {
            faults.sort_by_key(|fault| (fault.place.line, fault.place.column));
            return Err(faults);
        }
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|warning| (warning.place.line, warning.place.column));
        Ok((warnings, self.files.into_inner()))
    }

    fn place(&self, line: u64, column: u64) -> Place {
        // What a registry adds stands on no line of the file.
        if line == 0 {
            return Place {
                file: Arc::from(Path::new(Additions::PLACE)),
                line,
                column,
            };
        }
        Place {
            file: self.file.clone(),
            line,
            column,
        }
    }
}

/// One value with its key path.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    report: &'a Report,
    path: String,
    node: &'a Node,
}

impl<'a> At<'a> {
    /// The document itself.
    pub(crate) fn top(report: &'a Report, node: &'a Node) -> Self {
        Self {
            report,
            path: String::new(),
            node,
        }
    }

    /// The report that this walk writes.
    pub(crate) fn report(&self) -> &'a Report {
        self.report
    }

    /// Reports that something else was expected here, and shows what there is.
    pub(crate) fn expected(&self, expected: impl Display) {
        let found = match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Null => "nothing".to_owned(),
            Value::Text(text) => shown(text),
        };
        self.fault(format_args!("{found}: expected {expected}"));
    }

    /// Reports a fault of this value.
    pub(crate) fn fault(&self, message: impl Display) {
        let (place, message) = (self.place(), self.message(message));
        self.report
            .faults
            .borrow_mut()
            .push(Fault { place, message });
    }

    /// Warns of this value.
    pub(crate) fn warn(&self, message: impl Display) {
        let (place, message) = (self.place(), self.message(message));
        self.report
            .warnings
            .borrow_mut()
            .push(Warning { place, message });
    }

    /// One line that begins with the key path; keys are whatever stands in the file.
    fn message(&self, message: impl Display) -> String {
        let message = match self.path.as_str() {
            "" => message.to_string(),
            path => format!("{path}: {message}"),
        };
        one_line(&message).into_owned()
    }

    /// Where this value stands.
    pub(crate) fn place(&self) -> Place {
        self.report.place(self.node.line, self.node.column)
    }

    /// Takes down what is asked for here, where anybody wants to know.
    pub(crate) fn ask(&self, asked: impl FnOnce() -> Asked) {
        if let Some(list) = &self.report.asked {
            list.borrow_mut().push((self.path.clone(), asked()));
        }
    }

    /// Whether there is no value; a key without one counts as absent.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// Whether this is a map, of keys or empty.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether this is one word that has a meaning of its own here.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.ask(|| Asked::Words(vec![word.to_owned()]));
        self.as_text() == Some(word)
    }

    /// Reports a list without elements.
    pub(crate) fn fill(&self, expected: &str) {
        self.ask(|| Asked::Filled);
        if self.is_empty_list() {
            self.expected(expected);
        }
    }

    /// Whether this is a list without elements.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// The value, where it is text, number or boolean, as written. No fault where it is not.
    pub(crate) fn as_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as text.
    pub(crate) fn text(&self, expected: &str) -> Option<&'a str> {
        self.ask(|| Asked::Text(expected.to_owned()));
        let text = self.as_text();
        if text.is_none() {
            self.expected(expected);
        }
        text
    }

    /// The value as something made of its text.
    pub(crate) fn parse<T>(
        &self,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        self.ask(|| Asked::Text(expected.to_owned()));
        let value = self.as_text().and_then(read);
        if value.is_none() {
            self.expected(expected);
        }
        value
    }

    /// The value as one of a closed set of words.
    pub(crate) fn choose<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        self.ask(|| Asked::Words(words.iter().map(|(word, _)| (*word).to_owned()).collect()));
        let found = self.as_text().and_then(|text| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        });
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.expected(words.join(" or "));
        }
        found
    }

    /// The elements of a list.
    pub(crate) fn list(&self, expected: &str) -> Vec<Self> {
        self.ask(|| Asked::List);
        let Value::List(items) = &self.node.value else {
            self.expected(expected);
            return Vec::new();
        };
        let step = |(index, node)| Self {
            path: format!("{}[{index}]", self.path),
            node,
            ..*self
        };
        items.iter().enumerate().map(step).collect()
    }

    /// The keys of a map whose names the operator chooses.
    pub(crate) fn entries(&self, expected: &str) -> Vec<(&'a str, Self)> {
        self.ask(|| Asked::Entries);
        let Value::Map(entries) = &self.node.value else {
            self.expected(expected);
            return Vec::new();
        };
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), self.below(entry)))
            .collect()
    }

    /// The value as JSON, where it is passed on as it stands: numbers and booleans without quotes
    /// are that, whatever else looks like one is text.
    pub(crate) fn json(&self) -> serde_json::Value {
        json(self.node)
    }

    /// The value of a key of a map, without asking whether it is known. No fault where there is
    /// none.
    pub(crate) fn child(&self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(self.below(entry)).filter(|at| !at.is_null())
    }

    /// The elements of a list. No fault where it is something else.
    pub(crate) fn items(&self) -> Vec<Self> {
        match self.node.value {
            Value::List(_) => self.list(""),
            _ => Vec::new(),
        }
    }

    /// The value as a section with known keys; one without any where it is something else.
    pub(crate) fn section(self) -> Section<'a> {
        self.ask(|| Asked::Section);
        let entries: &[Entry] = match &self.node.value {
            Value::Map(entries) => entries,
            // A section that says nothing is one with defaults.
            Value::Null => &[],
            _ => {
                self.expected("a section with keys");
                &[]
            }
        };
        let usable = matches!(self.node.value, Value::Map(_) | Value::Null);
        Section {
            at: self,
            entries,
            usable,
            known: Vec::new(),
        }
    }

    fn below(&self, entry: &'a Entry) -> Self {
        let path = match self.path.as_str() {
            "" => entry.key.clone(),
            path => format!("{path}.{}", entry.key),
        };
        Self {
            path,
            node: &entry.value,
            ..*self
        }
    }
}

/// A map with a fixed set of keys. [`Section::end`] must be called when all were asked for.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// The section itself, for faults of the whole.
    pub(crate) at: At<'a>,
    entries: &'a [Entry],
    usable: bool,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of a key, unless it is absent or has none.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<At<'a>> {
        self.present(key).filter(|at| !at.is_null())
    }

    /// The value of a key whose mere presence means something: one that says nothing is there too.
    pub(crate) fn present(&mut self, key: &'static str) -> Option<At<'a>> {
        self.known.push(key);
        self.at.ask(|| Asked::Key(key));
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.at.below(entry))
    }

    /// The value of a key that must be there.
    pub(crate) fn required(&mut self, key: &'static str, expected: &str) -> Option<At<'a>> {
        self.at.ask(|| Asked::Required(key));
        let value = self.get(key);
        // What is no section at all was reported as that.
        if value.is_none() && self.usable {
            self.at
                .fault(format_args!("`{key}` is missing: expected {expected}"));
        }
        value
    }

    /// The value of a key that only the gateway lives by: a guard warns of it and goes on without.
    /// It is read all the same, so that its faults show.
    pub(crate) fn gateways(&mut self, key: &'static str) -> Option<At<'a>> {
        let at = self.get(key)?;
        if self.at.report.role == Role::Guard {
            at.warn("has no effect: the program around the guard decides this itself");
        }
        Some(at)
    }

    /// The same for a key that the gateway must have.
    pub(crate) fn required_of_gateway(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<At<'a>> {
        match self.at.report.role {
            Role::Gateway => self.required(key, expected),
            Role::Guard => self.gateways(key),
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn end(self) {
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&&*entry.key))
        {
            let node = Node {
                line: entry.line,
                column: entry.column,
                is_typed: false,
                value: Value::Null,
            };
            let below = self.at.below(entry);
            let at = At {
                report: below.report,
                path: below.path,
                node: &node,
            };
            at.fault(format_args!(
                "unknown key: expected one of {}",
                self.known.join(", ")
            ));
        }
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter();
            entries
                .map(|entry| (entry.key.clone(), json(&entry.value)))
                .collect()
        }
        Value::Null => serde_json::Value::Null,
        Value::Text(text) if node.is_typed => {
            // YAML writes some that JSON does not: 0x1f, .inf, True.
            let json = serde_json::from_str(&text.to_ascii_lowercase());
            json.unwrap_or_else(|_| text.as_str().into())
        }
        Value::Text(text) => text.as_str().into(),
    }
}

/// A text as a fault shows it: quoted, on one line, and not without end.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The path from the root, symlinks kept: a watcher must see them swapped.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
