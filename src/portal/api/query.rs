//! What a list is asked for: `filter[…]`, `sort`, `page[number]`, `page[size]`, as Konnect writes
//! them. Whatever is not known is refused, so that a misspelt filter never shows everything.

use std::cmp::Ordering;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::{Problem, Source};
use crate::portal::{
    Fault,
    record::{Listed, Page},
};

/// Items on a page where nobody says how many.
const PAGE_SIZE: u64 = 10;

/// Items on the largest page.
const LARGEST_PAGE: u64 = 100;

/// The last page's number: beyond it no list of this program goes.
const LAST_PAGE: u64 = 1_000_000;

/// Longest value of a filter, in characters.
const LONGEST_FILTER: usize = 256;

/// By what a list can be narrowed: what the document shows, and what is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// The `field` of `filter[field]`.
    pub(super) field: &'static str,
    /// What is compared.
    pub(super) by: By,
}

/// How a filter compares.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// A part of a text, without case.
    Contains,
    /// A text, exactly.
    Exact,
    /// An id.
    Id,
    /// A text, exactly or a part of it.
    Text,
    /// One of a few words.
    Words(&'static [&'static str]),
}

impl Filter {
    /// Of a field, compared so.
    pub(super) const fn new(field: &'static str, by: By) -> Self {
        Self { field, by }
    }

    /// Of a text.
    pub(super) const fn text(field: &'static str) -> Self {
        Self::new(field, By::Text)
    }

    /// Of one of a few words.
    pub(super) const fn words(field: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(field, By::Words(words))
    }

    /// The parameters that say it, with their schemas.
    pub(super) fn parameters(&self) -> Vec<Value> {
        let Self { field, by } = self;
        let text = json!({"type": "string", "minLength": 1, "maxLength": LONGEST_FILTER,
            "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]+$"});
        let parameter = |operator: &str, schema: &Value, about: &str| {
            json!({"name": format!("filter[{field}]{operator}"), "in": "query", "required": false,
                "description": about, "schema": schema})
        };
        let is = format!("Only those where it is this; `filter[{field}][eq]` says the same.");
        let holds = "Only those where it holds this, without case.";
        let short = format!("{holds} `filter[{field}][contains]` says the same.");
        match by {
            By::Contains => vec![parameter("", &text, &short)],
            By::Exact => vec![parameter("", &text, &is)],
            By::Id => {
                let id = json!({"type": "string", "format": "uuid"});
                vec![parameter("", &id, &is)]
            }
            By::Text => vec![
                parameter("", &text, &is),
                parameter("[contains]", &text, holds),
            ],
            By::Words(words) => {
                let word = json!({"type": "string", "enum": words});
                vec![parameter("", &word, &is)]
            }
        }
    }
}

/// The parameters of every list.
pub(super) fn paging() -> Vec<Value> {
    let number = |name: &str, default: u64, most: u64, about: &str| {
        json!({"name": name, "in": "query", "required": false, "description": about, "schema":
            {"type": "integer", "minimum": 1, "maximum": most, "default": default}})
    };
    vec![
        number("page[number]", 1, LAST_PAGE, "Which page, from 1."),
        number("page[size]", PAGE_SIZE, LARGEST_PAGE, "Items on a page."),
    ]
}

/// The parameter of a list that is sorted by one of these fields, the first by default.
pub(super) fn sorting(fields: &[&str]) -> Value {
    let each = fields.iter();
    let words = each.flat_map(|field| ["", " asc", " desc"].map(|way| format!("{field}{way}")));
    let words: Vec<_> = words.collect();
    json!({"name": "sort", "in": "query", "required": false,
        "description": "In which order.", "schema": {"type": "string", "enum": words}})
}

/// About a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meta {
    page: PageMeta,
}

/// About a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageMeta {
    /// Which page this is, from 1.
    #[schema(minimum = 1)]
    number: u64,
    /// Items on a whole page.
    #[schema(minimum = 1)]
    size: u64,
    /// Items in the whole list.
    #[schema(minimum = 0)]
    total: u64,
}

/// A query, taken apart piece by piece. Whatever is left at the end is a fault.
#[derive(Debug)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

/// A filter of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    /// It holds this, without case.
    Contains(String),
    /// It is this.
    Is(String),
}

/// All that is asked of a text; nothing asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matches(Vec<Match>);

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Meta {
    /// Of one page of a list.
    pub(super) fn of(page: Page, total: u64) -> Self {
        let Page { number, size } = page;
        Self {
            page: PageMeta {
                number,
                size,
                total,
            },
        }
    }
}

impl Matches {
    /// Whether a text passes.
    pub(super) fn pass(&self, text: &str) -> bool {
        self.0.iter().all(|rule| rule.passes(text))
    }
}

impl Match {
    fn passes(&self, text: &str) -> bool {
        match self {
            Self::Contains(part) => text.to_lowercase().contains(&part.to_lowercase()),
            Self::Is(whole) => text == whole,
        }
    }
}

impl Direction {
    /// An order in this direction.
    pub(super) fn of(self, order: Ordering) -> Ordering {
        match self {
            Self::Ascending => order,
            Self::Descending => order.reverse(),
        }
    }
}

impl Asked {
    /// Takes a query apart.
    fn new(query: &str) -> Self {
        Self {
            pairs: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            faults: Vec::new(),
        }
    }

    /// Which page.
    pub(super) fn page(&mut self) -> Page {
        Page {
            number: self.number("page[number]", 1, LAST_PAGE),
            size: self.number("page[size]", PAGE_SIZE, LARGEST_PAGE),
        }
    }

    /// `filter[field]=text` or `filter[field][eq]=text`.
    pub(super) fn is(&mut self, field: &str) -> Option<String> {
        let short = self.text(&format!("filter[{field}]"));
        let long = self.text(&format!("filter[{field}][eq]"));
        self.one_of(field, short, long)
    }

    /// `filter[field]=text` or `filter[field][contains]=text`.
    pub(super) fn contains(&mut self, field: &str) -> Option<String> {
        let short = self.text(&format!("filter[{field}]"));
        let long = self.text(&format!("filter[{field}][contains]"));
        self.one_of(field, short, long)
    }

    /// [`Asked::is`] and `filter[field][contains]=text`, which both count.
    pub(super) fn matches(&mut self, field: &str) -> Matches {
        let (is, contains) = self.text_filter(field);
        let contains = contains.map(Match::Contains);
        Matches(is.map(Match::Is).into_iter().chain(contains).collect())
    }

    /// [`Asked::matches`] for whoever looks it up: what it is, and what it holds.
    pub(super) fn text_filter(&mut self, field: &str) -> (Option<String>, Option<String>) {
        let is = self.is(field);
        (is, self.text(&format!("filter[{field}][contains]")))
    }

    /// A filter whose value is one of these words.
    pub(super) fn word<'w>(&mut self, field: &str, words: &[&'w str]) -> Option<&'w str> {
        let text = self.is(field)?;
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let reason = format!("expected one of: {}", words.join(", "));
            self.fault(&format!("filter[{field}]"), "enum", reason);
        }
        found.copied()
    }

    /// `name=true` or `name=false`; false where it is not there.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.take(name).as_deref() {
            Some("true") => true,
            None | Some("false") => false,
            Some(_) => {
                self.fault(name, "type", "expected true or false".to_owned());
                false
            }
        }
    }

    /// A filter whose value is an id.
    pub(super) fn id(&mut self, field: &str) -> Option<Uuid> {
        let text = self.is(field)?;
        let id = Uuid::try_parse(&text).ok();
        if id.is_none() {
            let reason = "expected a uuid".to_owned();
            self.fault(&format!("filter[{field}]"), "format", reason);
        }
        id
    }

    /// `sort=field`, `sort=field asc`, `sort=field desc`; the first of these fields by default.
    pub(super) fn sort(&mut self, fields: &[&'static str]) -> (&'static str, Direction) {
        let first = fields.first().copied().unwrap_or_default();
        let Some(text) = self.take("sort") else {
            return (first, Direction::Ascending);
        };
        let (name, direction) = match text.split_once(' ') {
            None => (text.as_str(), Some(Direction::Ascending)),
            Some((name, "asc")) => (name, Some(Direction::Ascending)),
            Some((name, "desc")) => (name, Some(Direction::Descending)),
            Some((name, _)) => (name, None),
        };
        let known = fields.iter().find(|field| **field == name);
        if let (Some(field), Some(direction)) = (known, direction) {
            return (field, direction);
        }
        let names = fields.join(", ");
        let reason = format!("expected one of {names}, perhaps followed by asc or desc");
        self.fault("sort", "enum", reason);
        (first, Direction::Ascending)
    }

    /// Refuses what was not understood, and what was not asked about.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            let name: String = name.chars().take(64).collect();
            let reason = "there is no such parameter".to_owned();
            self.fault(&name, "unknown_property", reason);
        }
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(Problem::invalid(Source::Query, self.faults)),
        }
    }

    fn one_of<T>(&mut self, field: &str, one: Option<T>, other: Option<T>) -> Option<T> {
        if one.is_some() && other.is_some() {
            let reason = "expected one condition for it".to_owned();
            self.fault(&format!("filter[{field}]"), "exclusive", reason);
        }
        one.or(other)
    }

    fn number(&mut self, name: &str, default: u64, most: u64) -> u64 {
        let Some(text) = self.take(name) else {
            return default;
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number));
        if let Some(number) = number.filter(|_| digits) {
            return number;
        }
        self.fault(name, "range", format!("expected a number from 1 to {most}"));
        default
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let text = self.take(name)?;
        let reason = if text.is_empty() {
            "expected a text"
        } else if text.chars().any(char::is_control) {
            "expected no control characters"
        } else if text.chars().count() > LONGEST_FILTER {
            "expected at most 256 characters"
        } else {
            return Some(text);
        };
        self.fault(name, "pattern", reason.to_owned());
        None
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let mut found = self.pairs.extract_if(.., |(known, _)| known == name);
        let (_, first) = found.next()?;
        let others = found.count();
        if others > 0 {
            self.fault(name, "unique", "expected it once".to_owned());
        }
        Some(first)
    }

    fn fault(&mut self, field: &str, rule: &'static str, reason: String) {
        let field = field.to_owned();
        self.faults.push(Fault {
            field,
            rule,
            reason,
        });
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::new(parts.uri.query().unwrap_or_default()))
    }
}

/// One page of a list that is in memory whole.
pub(super) fn page_of<T>(items: Vec<T>, page: Page) -> Listed<T> {
    let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
    let before = page.number.saturating_sub(1).saturating_mul(page.size);
    let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let items = items.into_iter().skip(index(before)).take(index(page.size));
    Listed {
        items: items.collect(),
        total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(asked: Asked) -> Vec<(String, &'static str)> {
        let faults = asked.faults.into_iter();
        faults.map(|fault| (fault.field, fault.rule)).collect()
    }

    #[test]
    fn pages() {
        for (query, number, size) in [
            ("", 1, 10),
            ("page[number]=3&page[size]=100", 3, 100),
            ("page%5Bnumber%5D=2", 2, 10),
            ("page[size]=1", 1, 1),
        ] {
            let mut asked = Asked::new(query);
            assert_eq!(asked.page(), Page { number, size }, "{query}");
            assert!(asked.end().is_ok(), "{query}");
        }
        for bad in [
            "0",
            "-1",
            "x",
            "",
            "101",
            "1.0",
            "+1",
            "99999999999999999999",
        ] {
            let mut asked = Asked::new(&format!("page[size]={bad}"));
            assert_eq!(asked.page().size, 10);
            assert_eq!(rules(asked), [("page[size]".to_owned(), "range")], "{bad}");
        }
        let mut asked = Asked::new("page[number]=1&page[number]=2");
        asked.page();
        assert_eq!(rules(asked), [("page[number]".to_owned(), "unique")]);
    }

    #[test]
    fn filters() {
        let name = |query: &str| {
            let mut asked = Asked::new(query);
            let found = asked.matches("name");
            asked.end().map(|()| found).map_err(|_| ())
        };
        let is = |text: &str| Ok(Matches(vec![Match::Is(text.to_owned())]));
        let contains = |text: &str| Match::Contains(text.to_owned());
        for (query, found) in [
            ("", Ok(Matches(Vec::new()))),
            ("filter[name]=a", is("a")),
            ("filter[name][eq]=a%20b", is("a b")),
            ("filter[name][contains]=a", Ok(Matches(vec![contains("a")]))),
            (
                "filter[name]=a&filter[name][contains]=b",
                Ok(Matches(vec![Match::Is("a".to_owned()), contains("b")])),
            ),
            ("filter[name]=a&filter[name][eq]=a", Err(())),
            ("filter[name]=", Err(())),
            ("filter[name]=%00", Err(())),
            ("filter[nome]=a", Err(())),
            ("filter=a", Err(())),
            ("name=a", Err(())),
        ] {
            assert_eq!(name(query), found, "{query}");
        }
        assert!(Match::Contains("lAn".to_owned()).passes("Trip Planner"));
        assert!(!Match::Contains("x".to_owned()).passes("Trip Planner"));
        assert!(Match::Is("a".to_owned()).passes("a"));
        assert!(!Match::Is("a".to_owned()).passes("A"));
    }

    #[test]
    fn words_and_ids() {
        let words = ["one", "two"];
        assert_eq!(Asked::new("filter[n]=two").word("n", &words), Some("two"));
        let mut asked = Asked::new("filter[n]=three");
        assert_eq!(asked.word("n", &words), None);
        assert_eq!(rules(asked), [("filter[n]".to_owned(), "enum")]);
        let id = Uuid::new_v4();
        assert_eq!(Asked::new(&format!("filter[i]={id}")).id("i"), Some(id));
        let mut asked = Asked::new("filter[i]=7");
        assert_eq!(asked.id("i"), None);
        assert_eq!(rules(asked), [("filter[i]".to_owned(), "format")]);
    }

    #[test]
    fn orders() {
        let fields = ["name", "created_at"];
        for (query, sorted) in [
            ("", ("name", Direction::Ascending)),
            ("sort=created_at", ("created_at", Direction::Ascending)),
            (
                "sort=created_at%20asc",
                ("created_at", Direction::Ascending),
            ),
            ("sort=name+desc", ("name", Direction::Descending)),
        ] {
            let mut asked = Asked::new(query);
            assert_eq!(asked.sort(&fields), sorted, "{query}");
            assert!(asked.end().is_ok(), "{query}");
        }
        for bad in [
            "sort=",
            "sort=x",
            "sort=name+down",
            "sort=name+desc+x",
            "sort=NAME",
        ] {
            let mut asked = Asked::new(bad);
            asked.sort(&fields);
            assert_eq!(rules(asked), [("sort".to_owned(), "enum")], "{bad}");
        }
        assert_eq!(Direction::Descending.of(Ordering::Less), Ordering::Greater);
    }

    #[test]
    fn a_page_beyond_the_end_is_empty() {
        let page = |number, size| page_of(vec![1, 2, 3], Page { number, size });
        assert_eq!(page(1, 2).items, [1, 2]);
        assert_eq!(page(2, 2).items, [3]);
        assert_eq!(page(LAST_PAGE, 100).items, [0; 0]);
        assert_eq!(page(3, 2).total, 3);
    }
}
