//! DCR providers: identity providers at which applications are registered.

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    super::{
        form::{Field, Form, Sent, Spare},
        page::{Done, Frame},
        progress,
        trouble::sentence,
        who::{Operator, Post, Who as _},
        words::time,
    },
    sheet::{Beside, Link, Sheet, part},
    vendor::{self, VENDORS, Vendor, Way},
};
use crate::portal::{
    Portal,
    api::{
        body::{Body, understand},
        path::Id,
        problem::{Kind, Problem},
        providers::{New, Patch},
    },
    record::{self, AuditFilter, Provider, Source, Strategy},
};

/// Where they are.
const PATH: &str = "/operator/providers";

#[derive(Template)]
#[template(path = "operator_providers.html", config = ".askama.toml")]
struct List {
    done: bool,
    providers: Vec<(Provider, usize)>,
    beside: Beside,
}

const TITLE: &str = "Providers";

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let strategies = portal.strategies().await?;
    let found = part(portal.providers().await?, PATH, link.raw("page"));
    let with_users = |provider: Provider| {
        let users = users(&strategies, provider.id).count();
        (provider, users)
    };
    let page = List {
        done: link.raw("done") == "deleted",
        providers: found.items.into_iter().map(with_users).collect(),
        beside: found.beside,
    };
    operator.frame().page(TITLE, &page)
}

fn users(strategies: &[Strategy], id: Uuid) -> impl Iterator<Item = &Strategy> {
    let uses = move |strategy: &&Strategy| strategy.provider == Some(id);
    strategies.iter().filter(uses)
}

#[derive(Template)]
#[template(path = "operator_provider_types.html", config = ".askama.toml")]
struct Types {
    vendors: &'static [Vendor],
}

const NEW: &str = "New provider";

/// The first step is what it speaks, the second one its form.
pub(super) async fn new(operator: Operator, link: Sent) -> Result<Response, Problem> {
    let frame = operator.frame();
    match vendor::vendor(link.raw("type")) {
        Some(vendor) => {
            let sheet = new_sheet(&frame, vendor, vendor.way(link.raw("way")));
            sheet.page(frame, NEW)
        }
        None => frame.page(NEW, &Types { vendors: &VENDORS }),
    }
}

fn new_sheet(frame: &Frame, vendor: &'static Vendor, way: Way) -> Sheet {
    let form = Form::new(PATH, &frame.csrf, "Add provider")
        .once()
        .hidden("provider_type", vendor.word)
        .hidden("way", way.word())
        .field(name_field("as in auth0"))
        .field(Field::text("display_name", "Name for people").hint("By default the name."))
        .field(vendor.issuer())
        .fields(vendor.access(way, false))
        .more(vendor.more(way))
        .back(format!("{PATH}/new"), "Choose another type");
    let lead = format!("What you need from there: {}", vendor.needs);
    let path = format!("{PATH}/new?type={}&way=", vendor.word);
    Sheet::new(format!("New provider: {}", vendor.name), lead, form)
        .choices(ways(vendor, way, &path))
}

/// The name of something by which the configuration knows it.
pub(super) fn name_field(example: &str) -> Field {
    let field = Field::text("name", "Name").required();
    field.hint(format!(
        "Letters, digits, dots, dashes and underscores, {example}. It stays as it is."
    ))
}

fn ways(vendor: &Vendor, chosen: Way, path: &str) -> Vec<(Link, bool)> {
    if vendor.ways.len() < 2 {
        return Vec::new();
    }
    let each = vendor.ways.iter().map(|way| {
        let link = Link::new(format!("{path}{}", way.word()), vendor.way_name(*way));
        (link, *way == chosen)
    });
    each.collect()
}

pub(super) async fn create(
    State(portal): State<Portal>,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let vendor = vendor::vendor(sent.raw("provider_type"));
    let vendor = vendor.ok_or_else(|| Problem::new(Kind::FormExpired))?;
    let way = vendor.way(sent.raw("way"));
    let (frame, id) = (operator.frame(), operator.asking.request_id());
    let sheet = new_sheet(&frame, vendor, way);
    match created(&portal, operator, vendor, way, &sheet, &sent).await {
        Ok(provider) => Ok(frame.go(format!("{PATH}/{provider}?done=made"))),
        Err(problem) => {
            let sheet = sheet.map(|form| form.refused(&sent, &problem, id.as_str()));
            Ok(frame.answer(sheet.refused(NEW, problem)?))
        }
    }
}

async fn created(
    portal: &Portal,
    operator: Operator,
    vendor: &Vendor,
    way: Way,
    sheet: &Sheet,
    sent: &Sent,
) -> Result<Uuid, Problem> {
    let mut body = sheet.body(sent, Spare::LeftOut);
    vendor.settle(&mut body, way, false);
    body.insert("provider_type".to_owned(), vendor.word.into());
    let body: Body<New> = understand(body)?;
    let caller = sent.asking(operator.asking).creator(&body.given);
    let made = portal.create_provider(&caller, body.value.into()).await?;
    Ok(made.value.id)
}

#[derive(Template)]
#[template(path = "operator_provider.html", config = ".askama.toml")]
struct Page {
    provider: Provider,
    is_own: bool,
    type_name: String,
    /// What of `dcr_config` may be shown, by its name for people.
    settings: Vec<(String, String)>,
    secrets: Vec<String>,
    users: Vec<Link>,
    /// When it was verified last, and whether it worked.
    verified: Option<(String, bool)>,
    csrf: String,
    done: Option<&'static str>,
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "made" => Some("The provider is there. Verify it now: that shows whether all of it works."),
        "changed" => Some("It is changed. Verify it again."),
        _ => None,
    }
}

const ONE: &str = "Provider";

pub(super) async fn show(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let provider = portal.provider(id).await?;
    let frame = operator.frame();
    let page = Page {
        is_own: provider.source == Source::Registry,
        type_name: vendor::name(&provider.provider_type).to_owned(),
        settings: settings(&provider.settings),
        secrets: provider.secrets.keys().map(|name| label(name)).collect(),
        users: user_links(&portal, id).await?,
        verified: verified(&portal, id).await?,
        csrf: frame.csrf.clone(),
        done: done(link.raw("done")),
        provider,
    };
    frame.page(ONE, &page)
}

fn label(member: &str) -> String {
    vendor::label(member).to_owned()
}

fn settings(all: &Map<String, Value>) -> Vec<(String, String)> {
    let shown = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (label(name), text)
    };
    all.iter().map(shown).collect()
}

async fn user_links(portal: &Portal, id: Uuid) -> Result<Vec<Link>, Problem> {
    let strategies = portal.strategies().await?;
    let link = |one: &Strategy| {
        let path = format!("/operator/strategies/{}", one.id);
        Link::new(path, &*one.display_name)
    };
    Ok(users(&strategies, id).map(link).collect())
}

/// When it was verified last, and whether it worked, as the audit trail tells.
async fn verified(portal: &Portal, id: Uuid) -> Result<Option<(String, bool)>, Problem> {
    let filter = AuditFilter {
        action: Some("dcr_provider.verify".to_owned()),
        subject: Some(id.to_string()),
        ..AuditFilter::default()
    };
    let last = record::Page { number: 1, size: 1 };
    let found = portal.audit(&filter, last).await?;
    let line = found.items.into_iter().next();
    Ok(line.map(|line| {
        let after = line.after.unwrap_or_default();
        let errors = after["errors"].as_array().map_or(0, Vec::len);
        (time(&line.at), errors == 0)
    }))
}

/// What `verify` found.
#[derive(Template)]
#[template(path = "operator_verified.html", config = ".askama.toml")]
struct Verdict {
    provider: Provider,
    is_own: bool,
    errors: Vec<(&'static str, String)>,
    users: Vec<Link>,
    csrf: String,
}

const VERIFY: &str = "Verify a provider";

pub(super) async fn verify(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, _): Post<Operator>,
) -> Result<Response, Problem> {
    let provider = portal.provider(id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let csrf = frame.csrf.clone();
    let words = (
        VERIFY,
        "A client is registered at the identity provider, gets a token, and is deleted again.",
    );
    let work = async move {
        let caller = operator.asking.caller();
        let found = portal.verify_provider(&caller, id).await?;
        let verdict = Verdict {
            is_own: provider.source == Source::Registry,
            errors: found.errors.iter().map(|error| step(error)).collect(),
            users: user_links(&portal, id).await?,
            provider,
            csrf,
        };
        Done::page(VERIFY, &verdict)
    };
    Ok(progress::shown(frame, told, words, work).await)
}

/// Which step failed, and why.
fn step(error: &str) -> (&'static str, String) {
    let steps = [
        ("register: ", "No client could be registered"),
        ("token: ", "A client was registered, but gets no token"),
        ("delete: ", "The client could not be deleted"),
    ];
    let found = steps
        .iter()
        .find_map(|(mark, name)| Some((*name, error.strip_prefix(mark)?)));
    let (name, why) = found.unwrap_or(("It cannot be used", error));
    (name, sentence(why))
}

const EDIT: &str = "Edit provider";

pub(super) async fn edit(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let (provider, vendor) = own(&portal, id).await?;
    let frame = operator.frame();
    let way = chosen(vendor, &provider, link.raw("way"));
    edit_sheet(&frame, &provider, vendor, way).page(frame, EDIT)
}

/// One that can be changed here, and its type.
async fn own(portal: &Portal, id: Uuid) -> Result<(Provider, &'static Vendor), Problem> {
    let provider = portal.provider(id).await?;
    if provider.source == Source::File {
        return Err(crate::portal::providers::in_file("DCR provider", &provider.name).into());
    }
    let vendor = vendor::vendor(&provider.provider_type);
    let vendor = vendor.ok_or_else(|| Problem::new(Kind::Internal))?;
    Ok((provider, vendor))
}

/// The way that a link or a form names, else that of now.
fn chosen(vendor: &Vendor, provider: &Provider, word: &str) -> Way {
    match word {
        "" => vendor.way_of(provider),
        word => vendor.way(word),
    }
}

fn edit_sheet(frame: &Frame, provider: &Provider, vendor: &'static Vendor, way: Way) -> Sheet {
    let path = format!("{PATH}/{}", provider.id);
    let is_kept = way == vendor.way_of(provider);
    let name = Field::text("display_name", "Name for people").required();
    let known = |field: Field| {
        let member = field.name().strip_prefix("dcr_config.");
        match member.and_then(|member| provider.settings.get(member)) {
            Some(value) => field.with_json(value),
            None => field,
        }
    };
    let form = Form::new(format!("{path}/edit"), &frame.csrf, "Save")
        .of_revision(provider.revision)
        .hidden("way", way.word())
        .field(name.with(&*provider.display_name))
        .field(vendor.issuer().with(&*provider.issuer))
        .fields(vendor.access(way, is_kept).into_iter().map(known))
        .more(vendor.more(way).into_iter().map(known))
        .back(&*path, "Cancel");
    let lead = "Secrets are not shown. Where an address changes, they are asked for anew.";
    let title = format!("Edit {}", provider.display_name);
    let links = format!("{path}/edit?way=");
    Sheet::new(title, lead, form).choices(ways(vendor, way, &links))
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (provider, vendor) = own(&portal, id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let way = chosen(vendor, &provider, sent.raw("way"));
    let sheet = edit_sheet(&frame, &provider, vendor, way);
    match changed(&portal, operator, id, vendor, way, &sheet, &sent).await {
        Ok(()) => Ok(frame.go(format!("{PATH}/{id}?done=changed"))),
        Err(problem) => {
            let sheet = sheet.map(|form| form.refused(&sent, &problem, told.as_str()));
            Ok(frame.answer(sheet.refused(EDIT, problem)?))
        }
    }
}

async fn changed(
    portal: &Portal,
    operator: Operator,
    id: Uuid,
    vendor: &Vendor,
    way: Way,
    sheet: &Sheet,
    sent: &Sent,
) -> Result<(), Problem> {
    let mut body = sheet.body(sent, Spare::Emptied);
    vendor.settle(&mut body, way, true);
    let body: Body<Patch> = understand(body)?;
    let caller = sent.asking(operator.asking).caller();
    portal
        .patch_provider(&caller, id, body.value.into())
        .await?;
    Ok(())
}

const DELETE: &str = "Delete provider";

pub(super) async fn delete(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let (provider, _) = own(&portal, id).await?;
    let frame = operator.frame();
    let sheet = delete_sheet(&portal, &frame, &provider).await?;
    sheet.page(frame, DELETE)
}

async fn delete_sheet(
    portal: &Portal,
    frame: &Frame,
    provider: &Provider,
) -> Result<Sheet, Problem> {
    let path = format!("{PATH}/{}", provider.id);
    let form = Form::new(format!("{path}/delete"), &frame.csrf, "Delete provider")
        .of_revision(provider.revision)
        .danger()
        .back(&*path, "Keep it");
    let title = format!("Delete {}?", provider.display_name);
    let lead = "The gateway forgets how to register clients there, its secrets included. \
                Nothing is deleted at the identity provider.";
    let why = "It cannot be deleted while a strategy uses it. Give these strategies another \
               provider, or delete them first:";
    let users = user_links(portal, provider.id).await?;
    Ok(Sheet::new(title, lead, form).unless(why, users, path))
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (provider, _) = own(&portal, id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let caller = sent.asking(operator.asking).caller();
    match portal.delete_provider(&caller, id).await {
        Ok(()) => Ok(frame.go(format!("{PATH}?done=deleted"))),
        Err(error) => {
            let problem = Problem::from(error);
            let sheet = delete_sheet(&portal, &frame, &provider).await?;
            let sheet = sheet.telling(&problem, told.as_str());
            Ok(frame.answer(sheet.refused(DELETE, problem)?))
        }
    }
}
