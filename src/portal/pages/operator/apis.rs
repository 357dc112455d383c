//! APIs of the configuration: which strategies they accept, and who approves registrations.

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        page::Frame,
        who::{Operator, Post, Who as _},
    },
    sheet::{Beside, Sheet, part},
};
use crate::{
    model::application::Registration as Decision,
    portal::{
        ApiView, Portal,
        api::{
            apis::{self, Patch},
            body::{Body, understand},
            path::Name,
            problem::Problem,
        },
        record::{Page, RegistrationFilter, Strategy},
    },
};

/// Where they are.
const PATH: &str = "/operator/apis";

/// An API in the list.
struct Line {
    api: ApiView,
    approved: u64,
    waiting: u64,
}

#[derive(Template)]
#[template(path = "operator_apis.html", config = ".askama.toml")]
struct List {
    done: bool,
    lines: Vec<Line>,
    has_strategies: bool,
    beside: Beside,
}

const TITLE: &str = "APIs";

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let mut all = portal.apis().await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let found = part(all, PATH, link.raw("page"));
    let mut lines = Vec::with_capacity(found.items.len());
    for api in found.items {
        lines.push(Line {
            approved: count(&portal, &api.name, Decision::Approved).await?,
            waiting: count(&portal, &api.name, Decision::Pending).await?,
            api,
        });
    }
    let page = List {
        done: link.raw("done") == "changed",
        lines,
        has_strategies: !portal.strategies().await?.is_empty(),
        beside: found.beside,
    };
    operator.frame().page(TITLE, &page)
}

/// How many applications are registered for an API, and how far that has come.
async fn count(portal: &Portal, api: &str, state: Decision) -> Result<u64, Problem> {
    let filter = RegistrationFilter {
        api: Some(api.to_owned()),
        state: Some(state),
        ..RegistrationFilter::default()
    };
    let first = Page { number: 1, size: 1 };
    Ok(portal.registrations(&filter, first).await?.total)
}

/// Who may call an API, in words.
fn access(api: &ApiView) -> &'static str {
    match api.access {
        "application" => "Every active app of its strategies may call it.",
        "client" => "Every client of its strategies may call it, an app of this portal or not.",
        "public" => "Anybody may call it, without a credential.",
        _ => "Apps that are registered for it may call it.",
    }
}

const EDIT: &str = "Edit API";

pub(super) async fn edit(
    State(portal): State<Portal>,
    operator: Operator,
    Name(name): Name,
) -> Result<Response, Problem> {
    let api = portal.api(&name).await?;
    let frame = operator.frame();
    sheet(&frame, &api, &portal.strategies().await?).page(frame, EDIT)
}

fn sheet(frame: &Frame, api: &ApiView, strategies: &[Strategy]) -> Sheet {
    let kept = &api.kept.strategies;
    let is_free = |one: &&Strategy| {
        let listed = kept.contains(&one.name) || api.file_strategies.contains(&one.name);
        !listed
    };
    let named = |name: &String| {
        let known = strategies.iter().find(|one| one.name == *name);
        let shown = known.map_or(name, |one| &one.display_name);
        Choice::new(&**name, &**shown)
    };
    // Those that it accepts come first, as they are tried first.
    let mut choices: Vec<_> = kept.iter().map(named).collect();
    let free = strategies.iter().filter(is_free);
    choices.extend(free.map(|one| Choice::new(&*one.name, &*one.display_name)));
    let is_public = api.access == "public";
    let has_choices = !choices.is_empty() && !is_public;
    let label = match api.file_strategies.is_empty() {
        true => "Strategies that it accepts",
        false => "Further strategies that it accepts",
    };
    let accepted = Field::several("auth_strategies", label, choices);
    let approval = Field::switch(
        "auto_approve_registrations",
        "Approve registrations at once",
    );
    let approval = approval.hint("Else each one waits until you decide.");
    let mut fields = Vec::new();
    if has_choices {
        fields.push(accepted.with_all(kept.iter().cloned()));
    }
    if api.access == "registered" {
        fields.push(match api.kept.auto_approve {
            true => approval.with("true"),
            false => approval,
        });
    }
    let path = format!("{PATH}/{}/edit", api.name);
    let form = Form::new(path, &frame.csrf, "Save")
        .of_revision(api.kept.revision)
        .fields(fields)
        .back(PATH, "Cancel");
    let lead = match api.file_strategies.is_empty() {
        true => access(api).to_owned(),
        false => format!(
            "{} By the configuration file it accepts {}.",
            access(api),
            api.file_strategies.join(", ")
        ),
    };
    Sheet::new(format!("Edit {}", api.name), lead, form)
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Name(name): Name,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let api = portal.api(&name).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let sheet = sheet(&frame, &api, &portal.strategies().await?);
    match changed(&portal, operator, &name, &sheet, &sent).await {
        Ok(()) => Ok(frame.go(format!("{PATH}?done=changed"))),
        Err(problem) => {
            let sheet = sheet.map(|form| form.refused(&sent, &problem, told.as_str()));
            Ok(frame.answer(sheet.refused(EDIT, problem)?))
        }
    }
}

async fn changed(
    portal: &Portal,
    operator: Operator,
    name: &str,
    sheet: &Sheet,
    sent: &Sent,
) -> Result<(), Problem> {
    let body: Body<Patch> = understand(sheet.body(sent, Spare::Emptied))?;
    let caller = sent.asking(operator.asking).caller();
    apis::change(portal, &caller, name, body.value).await?;
    Ok(())
}
