//! Auth strategies: which credentials count, and where applications get theirs.

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        page::Frame,
        who::{Operator, Post, Who as _},
        words::time,
    },
    providers::name_field,
    sheet::{Beside, Link, Sheet, part},
    vendor::{self, ELSEWHERE},
};
use crate::portal::{
    ApiView, Portal,
    api::{
        body::{Body, understand},
        path::Id,
        problem::{Kind, Problem},
        strategies::{New, Patch},
    },
    record::{self, ApplicationFilter, Provider, Source, Strategy},
};

/// Where they are.
const PATH: &str = "/operator/strategies";

/// One in the list.
struct Line {
    strategy: Strategy,
    /// Its provider's name; `None`: clients are made elsewhere.
    provider: Option<String>,
    /// APIs that accept it.
    apis: usize,
}

#[derive(Template)]
#[template(path = "operator_strategies.html", config = ".askama.toml")]
struct List {
    done: bool,
    lines: Vec<Line>,
    has_providers: bool,
    beside: Beside,
}

const TITLE: &str = "Strategies";

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let (providers, apis) = (portal.providers().await?, portal.apis().await?);
    let found = part(portal.strategies().await?, PATH, link.raw("page"));
    let line = |strategy: Strategy| Line {
        provider: provider_of(&providers, &strategy).map(|known| known.display_name.clone()),
        apis: apis.iter().filter(|api| accepts(api, &strategy)).count(),
        strategy,
    };
    let page = List {
        done: link.raw("done") == "deleted",
        lines: found.items.into_iter().map(line).collect(),
        has_providers: !providers.is_empty(),
        beside: found.beside,
    };
    operator.frame().page(TITLE, &page)
}

fn provider_of<'p>(providers: &'p [Provider], strategy: &Strategy) -> Option<&'p Provider> {
    let mut providers = providers.iter();
    providers.find(|known| strategy.provider == Some(known.id))
}

fn accepts(api: &ApiView, strategy: &Strategy) -> bool {
    let mut accepted = api.file_strategies.iter().chain(&api.kept.strategies);
    accepted.any(|name| *name == strategy.name)
}

#[derive(Template)]
#[template(path = "operator_strategy_providers.html", config = ".askama.toml")]
struct Providers {
    providers: Vec<Provider>,
}

const NEW: &str = "New strategy";

/// In a link: no provider.
const NONE: &str = "none";

/// The first step is where its apps get their clients, the second one its form.
pub(super) async fn new(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let frame = operator.frame();
    let providers = portal.providers().await?;
    if link.raw("provider").is_empty() {
        return frame.page(NEW, &Providers { providers });
    }
    let provider = named(&providers, link.raw("provider"))?;
    new_sheet(&frame, provider).page(frame, NEW)
}

/// The provider that a link or a form names, if it names one.
fn named<'p>(providers: &'p [Provider], word: &str) -> Result<Option<&'p Provider>, Problem> {
    if word == NONE {
        return Ok(None);
    }
    let id = Uuid::try_parse(word).ok();
    let found = providers.iter().find(|known| Some(known.id) == id);
    match found {
        Some(provider) => Ok(Some(provider)),
        None => Err(Problem::new(Kind::NotFound).detailed("no such DCR provider")),
    }
}

fn new_sheet(frame: &Frame, provider: Option<&Provider>) -> Sheet {
    let word = provider.map_or_else(|| NONE.to_owned(), |known| known.id.to_string());
    let issuer = provider.map(|known| Value::from(&*known.issuer));
    let methods = Value::from(vec!["client_credentials", "bearer"]);
    let known = |field: Field| match (field.name(), &issuer) {
        (ISSUER, Some(issuer)) => field.with_json(issuer),
        (METHODS, _) => field.with_json(&methods),
        _ => field,
    };
    let form = Form::new(PATH, &frame.csrf, "Add strategy")
        .once()
        .hidden("provider", word)
        .field(
            Field::text("display_name", "Name for people")
                .hint("Developers choose by it how their apps sign in. By default the name."),
        )
        .field(name_field("as in partners"))
        .fields(options(provider).into_iter().map(&known))
        .more(more().into_iter().map(&known))
        .back(format!("{PATH}/new"), "Choose another provider");
    let lead = match provider {
        Some(provider) => format!("Apps get their clients at {}.", provider.display_name),
        None => "Apps bring a client id of a client that was made elsewhere.".to_owned(),
    };
    Sheet::new(NEW, lead, form)
}

const ISSUER: &str = "configs.openid-connect.issuer";
const METHODS: &str = "configs.openid-connect.auth_methods";

/// The options that most strategies have.
fn options(provider: Option<&Provider>) -> Vec<Field> {
    let vendor = provider.and_then(|known| vendor::vendor(&known.provider_type));
    let hints = vendor.map_or(ELSEWHERE, |vendor| vendor.strategy);
    let issuer = match provider {
        Some(_) => "Of the tokens. That of the provider, unless you know better.",
        None => {
            "Who issues the tokens: what its metadata calls issuer, the part before \
                 /.well-known/openid-configuration."
        }
    };
    let methods = [
        ("client_credentials", "Client id and secret, as Basic"),
        ("bearer", "An access token, as Bearer"),
        (
            "session",
            "A session cookie, which one of the other two begins",
        ),
    ];
    let methods = methods.map(|(word, name)| Choice::new(word, name));
    vec![
        Field::url(ISSUER, "Issuer").required().hint(issuer),
        Field::several(METHODS, "What apps may show", methods.into()),
        Field::words("configs.openid-connect.scopes", "Scopes to ask for")
            .clears()
            .hint(format!("With spaces between them. {}", hints.scopes)),
        Field::words("configs.openid-connect.audience_required", "Audience")
            .clears()
            .hint(format!(
                "What has to be in aud of the tokens; of several, with spaces between them, one. {}",
                hints.audience
            )),
        Field::words("configs.openid-connect.credential_claim", "Credential claim")
            .clears()
            .hint(format!(
                "The claim of the token that holds the client id: {}",
                hints.claim
            )),
    ]
}

/// The options that few need.
fn more() -> Vec<Field> {
    let same_site = [
        ("", "By default Lax"),
        (
            "Lax",
            "Lax: also when a user follows a link from another site",
        ),
        ("Strict", "Strict: from pages of the same site alone"),
    ];
    let same_site = same_site.map(|(word, name)| Choice::new(word, name));
    let of = |field: Field, hint: &str| field.clears().hint(hint);
    vec![
        of(
            Field::lines(
                "configs.openid-connect.scopes_required",
                "Scopes that a token must have",
                2,
            ),
            "Each line is one way in: scopes with spaces between them, all of which it takes.",
        ),
        of(
            Field::words("configs.openid-connect.scopes_claim", "Claim of the scopes"),
            "The names that lead to it. By default scope and scp; with Entra ID scp or roles.",
        ),
        of(
            Field::words("configs.openid-connect.audience", "Audience to ask for"),
            "Where it is another one than the first that has to be in aud.",
        ),
        of(
            Field::number("configs.openid-connect.cache_ttl_max", "Pairs are kept for"),
            "The longest that a good pair of id and secret is remembered, in seconds. \
             By default 3600.",
        ),
        of(
            Field::number("configs.openid-connect.leeway", "Clocks may differ by"),
            "Seconds, at most 300. By default 30.",
        ),
        of(
            Field::number(
                "configs.openid-connect.session_idling_timeout",
                "Unused sessions end after",
            ),
            "Seconds. By default 900.",
        ),
        of(
            Field::number(
                "configs.openid-connect.session_absolute_timeout",
                "Every session ends after",
            ),
            "Seconds. By default 86400.",
        ),
        of(
            Field::text(
                "configs.openid-connect.session_cookie_name",
                "Name of the session cookie",
            ),
            "By default dcr_session.",
        ),
        Field::one(
            "configs.openid-connect.session_cookie_same_site",
            "Session cookie of another site's page",
            same_site.into(),
        )
        .clears(),
        of(
            Field::text("configs.openid-connect.identity_provider", "Reached as"),
            "The name of an identity provider in the configuration file with the same issuer, to \
             use its private CA, its proxy or its introspection client.",
        ),
    ]
}

pub(super) async fn create(
    State(portal): State<Portal>,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let providers = portal.providers().await?;
    let provider = named(&providers, sent.raw("provider"))?;
    let (frame, id) = (operator.frame(), operator.asking.request_id());
    let sheet = new_sheet(&frame, provider);
    let provider = provider.map(|known| known.id);
    match created(&portal, operator, provider, &sheet, &sent).await {
        Ok(made) => Ok(frame.go(format!("{PATH}/{made}?done=made"))),
        Err(problem) => {
            let sheet = sheet.map(|form| form.refused(&sent, &problem, id.as_str()));
            Ok(frame.answer(sheet.refused(NEW, problem)?))
        }
    }
}

async fn created(
    portal: &Portal,
    operator: Operator,
    provider: Option<Uuid>,
    sheet: &Sheet,
    sent: &Sent,
) -> Result<Uuid, Problem> {
    let mut body = sheet.body(sent, Spare::LeftOut);
    body.insert("strategy_type".to_owned(), "openid_connect".into());
    let provider = provider.map(|id| id.to_string());
    body.insert("dcr_provider_id".to_owned(), provider.into());
    let body: Body<New> = understand(body)?;
    let caller = sent.asking(operator.asking).creator(&body.given);
    let made = portal.create_strategy(&caller, body.value.into()).await?;
    Ok(made.value.id)
}

#[derive(Template)]
#[template(path = "operator_strategy.html", config = ".askama.toml")]
struct Page {
    strategy: Strategy,
    is_own: bool,
    provider: Option<Link>,
    settings: Vec<(String, String)>,
    has_several: bool,
    apis: Vec<Link>,
    apps: u64,
    done: Option<&'static str>,
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "made" => Some("The strategy is there, and in force."),
        "changed" => Some("It is changed, and in force."),
        _ => None,
    }
}

const ONE: &str = "Strategy";

pub(super) async fn show(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let strategy = portal.strategy(id).await?;
    let providers = portal.providers().await?;
    let provider = provider_of(&providers, &strategy).map(|known| {
        let path = format!("/operator/providers/{}", known.id);
        Link::new(path, &*known.display_name)
    });
    let page = Page {
        is_own: strategy.source == Source::Registry,
        provider,
        settings: settings(&strategy.settings),
        has_several: portal.has_several_secrets(&strategy).await?,
        apis: api_links(&portal, &strategy).await?,
        apps: apps(&portal, &strategy).await?,
        done: done(link.raw("done")),
        strategy,
    };
    operator.frame().page(ONE, &page)
}

async fn api_links(portal: &Portal, strategy: &Strategy) -> Result<Vec<Link>, Problem> {
    let mut apis = portal.apis().await?;
    apis.retain(|api| accepts(api, strategy));
    apis.sort_by(|a, b| a.name.cmp(&b.name));
    let link = |api: ApiView| Link::new(format!("/operator/apis/{}/edit", api.name), api.name);
    Ok(apis.into_iter().map(link).collect())
}

/// How many applications have it.
async fn apps(portal: &Portal, strategy: &Strategy) -> Result<u64, Problem> {
    let filter = ApplicationFilter {
        strategy: Some(strategy.name.clone()),
        ..ApplicationFilter::default()
    };
    let first = record::Page { number: 1, size: 1 };
    Ok(portal.applications(&filter, first).await?.total)
}

fn settings(all: &Map<String, Value>) -> Vec<(String, String)> {
    let item = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join(", "),
            other => item(other),
        };
        (label(name).to_owned(), text)
    };
    let told = |(_, text): &(String, String)| !text.is_empty();
    all.iter().map(shown).filter(told).collect()
}

/// An option as people know it; others are called as the configuration file does.
fn label(option: &str) -> &str {
    match option {
        "audience" => "Audience to ask for",
        "audience_required" => "Audience",
        "auth_methods" => "What apps may show",
        "cache_ttl_max" => "Pairs are kept for (s)",
        "credential_claim" => "Credential claim",
        "identity_provider" => "Reached as",
        "issuer" => "Issuer",
        "leeway" => "Clocks may differ by (s)",
        "scopes" => "Scopes to ask for",
        "scopes_claim" => "Claim of the scopes",
        "scopes_required" => "Scopes that a token must have",
        "session_absolute_timeout" => "Every session ends after (s)",
        "session_cookie_name" => "Session cookie",
        "session_cookie_same_site" => "Session cookie, SameSite",
        "session_idling_timeout" => "Unused sessions end after (s)",
        other => other,
    }
}

const EDIT: &str = "Edit strategy";

pub(super) async fn edit(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let strategy = own(&portal, id).await?;
    let frame = operator.frame();
    edit_sheet(&frame, &strategy, &portal.providers().await?).page(frame, EDIT)
}

/// One that can be changed here.
async fn own(portal: &Portal, id: Uuid) -> Result<Strategy, Problem> {
    let strategy = portal.strategy(id).await?;
    match strategy.source {
        Source::Registry => Ok(strategy),
        Source::File => {
            Err(crate::portal::providers::in_file("auth strategy", &strategy.name).into())
        }
    }
}

fn edit_sheet(frame: &Frame, strategy: &Strategy, providers: &[Provider]) -> Sheet {
    let path = format!("{PATH}/{}", strategy.id);
    let name = Field::text("display_name", "Name for people").required();
    let mut choices = vec![Choice::new("", "None: clients are made elsewhere")];
    let of = |known: &Provider| Choice::new(known.id.to_string(), &*known.display_name);
    choices.extend(providers.iter().map(of));
    let provider = Field::one("dcr_provider_id", "Provider", choices)
        .clears()
        .hint("Cannot be changed once there are apps.");
    let known = |field: Field| {
        let option = field.name().strip_prefix("configs.openid-connect.");
        match option.and_then(|option| strategy.settings.get(option)) {
            Some(value) => field.with_json(value),
            None => field,
        }
    };
    let at = provider_of(providers, strategy);
    let chosen = strategy.provider.map(|id| id.to_string());
    let form = Form::new(format!("{path}/edit"), &frame.csrf, "Save")
        .of_revision(strategy.revision)
        .field(name.with(&*strategy.display_name))
        .field(provider.with(chosen.unwrap_or_default()))
        .fields(options(at).into_iter().map(known))
        .more(more().into_iter().map(known))
        .back(path, "Cancel");
    let title = format!("Edit {}", strategy.display_name);
    let lead = "What you save is in force at once, for every app that has this strategy.";
    Sheet::new(title, lead, form)
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let strategy = own(&portal, id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let sheet = edit_sheet(&frame, &strategy, &portal.providers().await?);
    match changed(&portal, operator, id, &sheet, &sent).await {
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
    sheet: &Sheet,
    sent: &Sent,
) -> Result<(), Problem> {
    let body: Body<Patch> = understand(sheet.body(sent, Spare::Emptied))?;
    let caller = sent.asking(operator.asking).caller();
    portal
        .patch_strategy(&caller, id, body.value.into())
        .await?;
    Ok(())
}

const DELETE: &str = "Delete strategy";

pub(super) async fn delete(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let strategy = own(&portal, id).await?;
    let frame = operator.frame();
    let sheet = delete_sheet(&portal, &frame, &strategy).await?;
    sheet.page(frame, DELETE)
}

async fn delete_sheet(
    portal: &Portal,
    frame: &Frame,
    strategy: &Strategy,
) -> Result<Sheet, Problem> {
    let path = format!("{PATH}/{}", strategy.id);
    let form = Form::new(format!("{path}/delete"), &frame.csrf, "Delete strategy")
        .of_revision(strategy.revision)
        .danger()
        .back(&*path, "Keep it");
    let title = format!("Delete {}?", strategy.display_name);
    let lead = "Its credentials count no more, from now on. This cannot be undone.";
    let mut users = api_links(portal, strategy).await?;
    match apps(portal, strategy).await? {
        0 => {}
        1 => users.push(Link::new("/operator/applications", "1 application")),
        many => {
            let name = format!("{many} applications");
            users.push(Link::new("/operator/applications", name));
        }
    }
    let why = "It cannot be deleted while an API accepts it or an application has it. \
               Change these first:";
    Ok(Sheet::new(title, lead, form).unless(why, users, path))
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let strategy = own(&portal, id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let caller = sent.asking(operator.asking).caller();
    match portal.delete_strategy(&caller, id).await {
        Ok(()) => Ok(frame.go(format!("{PATH}?done=deleted"))),
        Err(error) => {
            let problem = Problem::from(error);
            let sheet = delete_sheet(&portal, &frame, &strategy).await?;
            let sheet = sheet.telling(&problem, told.as_str());
            Ok(frame.answer(sheet.refused(DELETE, problem)?))
        }
    }
}
