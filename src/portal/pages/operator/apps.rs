//! Applications: all of them, and a new one on behalf of a developer.

use askama::Template;
use axum::{extract::State, response::Response};
use uuid::Uuid;

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        my::{app::calls, secret::Secrets},
        page::{Done, Frame},
        progress,
        who::{Operator, Post, Who as _},
        words::{Badge, moment},
    },
    list::{self, Filter, Turn},
};
use crate::{
    model::application::Status,
    portal::{
        Portal,
        api::{
            applications::{New, make},
            body::{Body, understand},
            problem::{Kind, Problem},
            request::Asking,
        },
        record::{Application, ApplicationFilter, Life, Strategy},
    },
};

const PATH: &str = "/operator/applications";
const STATUSES: &[(&str, Status)] = &[("active", Status::Active), ("suspended", Status::Suspended)];

#[derive(Template)]
#[template(path = "operator_apps.html", config = ".askama.toml")]
struct List {
    done: bool,
    filter: Filter,
    lines: Vec<Line>,
    total: u64,
    /// Whether there is a strategy for a new one.
    can_make: bool,
    turn: Turn,
}

/// An application in the list.
struct Line {
    app: Application,
    badge: Badge,
    calls: u64,
    last: Option<String>,
}

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let developer = list::text(&link, "developer")?;
    // Accounts own applications whatever the case of the address; databases differ beyond ASCII.
    let (owner, developer) = match developer {
        Some(name) if name.is_ascii() => (Some(name.to_ascii_lowercase()), None),
        name => (None, name),
    };
    let asked = ApplicationFilter {
        name_contains: list::text(&link, "name")?,
        owner,
        developer,
        strategy: list::text(&link, "strategy")?,
        status: list::word(&link, "status", STATUSES)?,
        ..ApplicationFilter::default()
    };
    let page = list::page(&link);
    let found = portal.applications(&asked, page).await?;
    let strategies = portal.strategies().await?;
    let mut ways = vec![Choice::new("", "All")];
    ways.extend(
        strategies
            .iter()
            .map(|one| Choice::new(&*one.name, &*one.display_name)),
    );
    let statuses = [
        ("", "All"),
        ("active", "Active"),
        ("suspended", "Suspended"),
    ];
    let statuses = statuses.map(|(value, name)| Choice::new(value, name));
    let fields = vec![
        Field::text("name", "Name holds"),
        Field::text("developer", "Developer"),
        Field::one("strategy", "Strategy", ways),
        Field::one("status", "Status", statuses.to_vec()),
    ];
    let filter = Filter::new(PATH, &link, fields);
    let line = |app: Application| {
        let traffic = portal.surroundings().traffic(app.id);
        Line {
            badge: badge(&app),
            calls: traffic.as_ref().map_or(0, |known| known.calls()),
            last: traffic.map(|known| moment(&known.last)),
            app,
        }
    };
    let page = List {
        done: link.raw("done") == "deleted",
        turn: filter.turn(&link, page, found.total),
        filter,
        lines: found.items.into_iter().map(line).collect(),
        total: found.total,
        can_make: !strategies.is_empty(),
    };
    operator.frame().page("Applications", &page)
}

/// How an application is.
pub(super) fn badge(app: &Application) -> Badge {
    match app.life {
        Life::Ready => app.status.into(),
        life => life.into(),
    }
}

#[derive(Template)]
#[template(path = "operator_app_new.html", config = ".askama.toml")]
struct NewPage {
    choices: Vec<Choice>,
    form: Option<Form>,
}

const NEW: &str = "New application";

pub(super) async fn new(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let all = portal.strategies().await?;
    let strategy = match (link.raw("strategy"), all.as_slice()) {
        ("", [only]) => Some(only),
        ("", _) => None,
        (id, all) => {
            let id = Uuid::try_parse(id).ok();
            let found = all.iter().find(|one| Some(one.id) == id);
            Some(found.ok_or_else(|| Problem::new(Kind::NotFound))?)
        }
    };
    let frame = operator.frame();
    let form = strategy.map(|strategy| form(&frame, strategy, link.text("developer")));
    let choice = |one: &Strategy| Choice::new(one.id.to_string(), &*one.display_name);
    let page = NewPage {
        choices: match &form {
            Some(_) => Vec::new(),
            None => all.iter().map(choice).collect(),
        },
        form,
    };
    frame.page(NEW, &page)
}

fn form(frame: &Frame, strategy: &Strategy, developer: &str) -> Form {
    let owner = Field::text("owner.id", "Developer").required();
    let form = Form::new(PATH, &frame.csrf, "Create application")
        .once()
        .hidden("auth_strategy_id", strategy.id.to_string())
        .field(owner.with(developer).hint(
            "Whose it is: the e-mail address of the account, if there is one. APIs are told it.",
        ))
        .field(Field::text("name", "Name").required())
        .field(Field::area("description", "What it is for", 2, 512));
    let client = match strategy.provider {
        Some(_) => Field::text("dcr_client_id", "Existing client id").hint(
            "To take over a client that the provider has already. Left empty, one is registered.",
        ),
        None => Field::text("client_id", "Client id")
            .required()
            .hint("Of a client that exists at the identity provider: its secret is managed there."),
    };
    let scopes = strategy
        .settings
        .get("scopes")
        .and_then(|list| list.as_array());
    let scopes = scopes
        .into_iter()
        .flatten()
        .filter_map(|scope| scope.as_str());
    let scopes: Vec<_> = scopes.collect();
    let form = match scopes.is_empty() {
        true => form,
        false => {
            let choices = scopes.iter().map(|scope| Choice::new(*scope, *scope));
            form.field(
                Field::several("scopes", "Scopes", choices.collect())
                    .with_all(scopes.clone())
                    .hint("What its tokens may say. With none chosen it gets all of them."),
            )
        }
    };
    form.field(client).back(PATH, "Cancel")
}

pub(super) async fn create(
    State(portal): State<Portal>,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let id = operator.asking.request_id();
    let chosen = Uuid::try_parse(sent.raw("auth_strategy_id")).ok();
    let all = portal.strategies().await?;
    let strategy = all.into_iter().find(|one| Some(one.id) == chosen);
    let strategy = strategy.ok_or_else(|| Problem::new(Kind::FormExpired))?;
    let frame = operator.frame();
    let words = (
        NEW,
        "The application is being registered at the identity provider.",
    );
    let (around, told) = (frame.clone(), id.clone());
    let work = async move {
        match created(&portal, operator.asking, &frame, &strategy, &sent).await {
            Ok(page) => page.done(),
            Err(problem) => {
                let form = form(&frame, &strategy, "").refused(&sent, &problem, told.as_str());
                let page = NewPage {
                    choices: Vec::new(),
                    form: Some(form),
                };
                Done::refused(NEW, &page, problem)
            }
        }
    };
    Ok(progress::shown(around, id, words, work).await)
}

async fn created(
    portal: &Portal,
    asking: Asking,
    frame: &Frame,
    strategy: &Strategy,
    sent: &Sent,
) -> Result<Secrets, Problem> {
    let mut body = form(frame, strategy, "").body(sent, Spare::LeftOut);
    super::app::of_developer(&mut body);
    let id = strategy.id.to_string();
    body.insert("auth_strategy_id".to_owned(), id.into());
    let body: Body<New> = understand(body)?;
    let caller = sent.asking(asking).creator(&body.given);
    // Read before: once there is a secret, nothing may keep it from being shown.
    let calls = calls(portal, &strategy.name, None).await?;
    let made = make(portal, &caller, body.value).await?;
    Ok(Secrets::of_new_app(frame, &made, calls))
}
