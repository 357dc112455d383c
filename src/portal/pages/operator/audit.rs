//! What was done, by whom, when.

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::Value;

use super::{
    super::{
        form::{Field, Sent},
        who::{Operator, Who as _},
        words::moment,
    },
    list::{self, Filter, Turn},
};
use crate::portal::{
    Portal,
    api::problem::Problem,
    record::{Audit, AuditFilter, Page},
};

#[derive(Template)]
#[template(path = "operator_audit.html", config = ".askama.toml")]
struct List {
    filter: Filter,
    lines: Lines,
    turn: Turn,
}

/// Lines of the audit trail.
#[derive(Template)]
#[template(path = "operator_audit_lines.html", config = ".askama.toml")]
pub(super) struct Lines {
    caption: &'static str,
    lines: Vec<Line>,
}

/// One of them.
struct Line {
    at: String,
    id: String,
    actor: String,
    action: String,
    kind: String,
    /// What people call it, or its id.
    subject: String,
    /// Its page, where there is one.
    path: Option<String>,
    changes: Vec<Change>,
    request_id: Option<String>,
}

/// A member of what was changed.
struct Change {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let asked = AuditFilter {
        action: list::text(&link, "action")?,
        actor: list::text(&link, "actor")?,
        subject: list::text(&link, "subject")?,
    };
    let page = list::page(&link);
    let found = portal.audit(&asked, page).await?;
    let fields = vec![
        Field::text("action", "What").hint("As it stands below: registration.approve"),
        Field::text("actor", "Who").hint("operator, or developer and the e-mail address"),
        Field::text("subject", "To what").hint("The id, as it stands in the details"),
    ];
    let filter = Filter::new("/operator/audit", &link, fields);
    let page = List {
        turn: filter.turn(&link, page, found.total),
        filter,
        lines: Lines::new("The latest first, in UTC", found.items),
    };
    operator.frame().page("Audit", &page)
}

/// The last lines, of one thing or of all.
pub(super) async fn last(portal: &Portal, subject: Option<String>) -> Result<Lines, Problem> {
    let filter = AuditFilter {
        subject,
        ..AuditFilter::default()
    };
    let page = Page {
        number: 1,
        size: 10,
    };
    let found = portal.audit(&filter, page).await?;
    Ok(Lines::new("The last ten, in UTC", found.items))
}

impl Lines {
    fn new(caption: &'static str, lines: Vec<Audit>) -> Self {
        let lines = lines.into_iter().map(Line::from).collect();
        Self { caption, lines }
    }
}

impl From<Audit> for Line {
    fn from(line: Audit) -> Self {
        let named = |name: &str| {
            let sides = [&line.after, &line.before];
            let mut found = sides
                .into_iter()
                .flatten()
                .filter_map(|side| side.get(name));
            found.find_map(|name| name.as_str()).map(str::to_owned)
        };
        let names = ["name", "full_name", "api"];
        let subject = names.into_iter().find_map(named);
        let application = named("application_id");
        Self {
            at: moment(&line.at),
            id: line.subject.clone(),
            path: path(&line, application.as_deref()),
            subject: subject.unwrap_or_else(|| line.subject.clone()),
            changes: changes(line.before.as_ref(), line.after.as_ref()),
            actor: line.actor,
            action: line.action,
            kind: line.subject_kind.replace('_', " "),
            request_id: line.request_id,
        }
    }
}

/// The page of what a line is about, unless the line says that it is gone.
fn path(line: &Audit, application: Option<&str>) -> Option<String> {
    if line.action.ends_with(".delete") && line.subject_kind != "registration" {
        return None;
    }
    let id = &line.subject;
    match line.subject_kind.as_str() {
        "api" => Some("/operator/apis".to_owned()),
        "application" => Some(format!("/operator/applications/{id}")),
        "auth_strategy" => Some(format!("/operator/strategies/{id}")),
        "dcr_provider" => Some(format!("/operator/providers/{id}")),
        "developer" => Some(format!("/operator/developers/{id}")),
        "registration" => application.map(|id| format!("/operator/applications/{id}")),
        _ => None,
    }
}

/// What differs, member by member.
fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let members = |side: Option<&Value>| side.and_then(Value::as_object).cloned();
    let (before, after) = (members(before), members(after));
    let both = before.is_some() && after.is_some();
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &String| Change {
        name: name.replace('_', " "),
        before: before.get(name).map(text),
        after: after.get(name).map(text),
    };
    let all = names.into_iter().map(change);
    all.filter(|change| !both || change.before != change.after)
        .collect()
}

/// A value for people.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter();
            let each = members.map(|(name, value)| format!("{name}: {}", text(value)));
            each.collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => number.to_string(),
    };
    match text.is_empty() {
        true => "nothing".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(before: Value, after: Value) -> Vec<(String, Option<String>, Option<String>)> {
        let side = |side: &Value| (!side.is_null()).then(|| side.clone());
        let (before, after) = (side(&before), side(&after));
        let all = changes(before.as_ref(), after.as_ref()).into_iter();
        all.map(|one| (one.name, one.before, one.after)).collect()
    }

    #[test]
    fn only_what_differs_is_told_of_a_change_and_all_of_what_is_made() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told(
                json!({"status": "pending", "api": "flights", "scopes": ["a"]}),
                json!({"status": "approved", "api": "flights", "scopes": []}),
            ),
            [
                ("scopes".to_owned(), some("a"), some("nothing")),
                ("status".to_owned(), some("pending"), some("approved")),
            ]
        );
        assert_eq!(
            told(
                Value::Null,
                json!({"has_password": false, "labels": {"a": "b"}})
            ),
            [
                ("has password".to_owned(), None, some("no")),
                ("labels".to_owned(), None, some("a: b")),
            ]
        );
        assert_eq!(told(Value::Null, Value::Null), []);
    }
}
