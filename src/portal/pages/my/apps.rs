//! A developer's applications: all of them, and a new one.

use askama::Template;
use axum::{extract::State, response::Response};
use uuid::Uuid;

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        page::{Done, Frame},
        progress,
        who::{Post, Who as _},
        words::{self, Badge},
    },
    app::calls,
    secret::Secrets,
};
use crate::{
    model::application,
    portal::{
        Portal,
        api::{
            body::{Body, understand},
            my::{
                applications::{New, make},
                registrations,
                strategies::{Told, offered},
                visit::Me,
            },
            problem::{Kind, Problem},
        },
        record::{Application, Page, Strategy},
    },
};

/// Shown at once: more than most developers ever have.
const MOST: u64 = 100;

#[derive(Template)]
#[template(path = "apps.html", config = ".askama.toml")]
struct List {
    done: Option<&'static str>,
    apps: Vec<Line>,
    can_make: bool,
    earlier: Option<u64>,
    later: Option<u64>,
}

/// An application in the list.
struct Line {
    app: Application,
    status: Option<Badge>,
    approved: usize,
    waiting: usize,
}

pub(super) async fn list(
    State(portal): State<Portal>,
    me: Me,
    link: Sent,
) -> Result<Response, Problem> {
    let number = link.raw("page").parse().unwrap_or(1).clamp(1, 1_000);
    let page = Page { number, size: MOST };
    let own = Portal::applications_of(&me.developer);
    let found = portal.applications(&own, page).await?;
    let all = registrations::of_developer(&portal, &me.developer).await?;
    let line = |app: Application| {
        let own = || all.iter().filter(|one| one.application == app.id);
        let count = |state| own().filter(|one| one.state == state).count();
        Line {
            status: words::state(&app),
            approved: count(application::Registration::Approved),
            waiting: count(application::Registration::Pending),
            app,
        }
    };
    let apps = found.items.into_iter().map(line).collect();
    let list = List {
        done: done(link.raw("done")),
        apps,
        can_make: !offered(&portal).await?.is_empty(),
        earlier: (number > 1).then(|| number - 1),
        later: (number * MOST < found.total).then(|| number + 1),
    };
    me.frame().page("My apps", &list)
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "deleted" => Some("The app is deleted. Its credentials open nothing any more."),
        "deleting" => Some(
            "The app's credentials open nothing any more. Its client is deleted as soon as the identity provider answers.",
        ),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "app_new.html", config = ".askama.toml")]
struct NewPage {
    choices: Vec<Choice>,
    form: Option<Form>,
}

const NEW: &str = "New app";

pub(super) async fn new(
    State(portal): State<Portal>,
    me: Me,
    link: Sent,
) -> Result<Response, Problem> {
    let all = offered(&portal).await?;
    let chosen = Uuid::try_parse(link.raw("strategy")).ok();
    let strategy = match (chosen, all.as_slice()) {
        (Some(id), all) => {
            let found = all.iter().find(|one| one.id == id);
            Some(found.ok_or_else(|| Problem::new(Kind::NotFound))?)
        }
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let frame = me.frame();
    let page = NewPage {
        form: strategy.map(|strategy| form(&frame, strategy)),
        choices: match strategy {
            Some(_) => Vec::new(),
            None => all.iter().map(choice).collect(),
        },
    };
    frame.page(NEW, &page)
}

fn choice(strategy: &Strategy) -> Choice {
    Choice::new(strategy.id.to_string(), &*strategy.display_name)
}

fn form(frame: &Frame, strategy: &Strategy) -> Form {
    let name = Field::text("name", "Name").required();
    let description = Field::area("description", "What it is for", 2, 512);
    let form = Form::new("/apps", &frame.csrf, "Create app")
        .once()
        .hidden("auth_strategy_id", strategy.id.to_string())
        .field(name.hint("You and the operator of this portal see it."))
        .field(description);
    let form = match strategy.provider {
        Some(_) => form,
        None => form.field(Field::text("reference_id", "Client id").required().hint(
            "Of a client that you have already: its secret is managed where it was made. The \
                 operator of this portal activates the app once it is clear that the client is \
                 yours.",
        )),
    };
    let scopes = Told::from(strategy).available_scopes;
    let form = match scopes.is_empty() {
        true => form,
        false => {
            let choices = scopes.iter().map(|scope| Choice::new(scope, scope));
            form.field(
                Field::several("scopes", "Scopes", choices.collect())
                    .with_all(scopes.clone())
                    .hint("What its tokens may say. With none chosen it gets all of them."),
            )
        }
    };
    form.back("/apps", "Cancel")
}

pub(super) async fn create(
    State(portal): State<Portal>,
    Post(me, sent): Post<Me>,
) -> Result<Response, Problem> {
    let id = me.asking.request_id();
    let chosen = Uuid::try_parse(sent.raw("auth_strategy_id")).ok();
    let all = offered(&portal).await?;
    let strategy = all.into_iter().find(|one| Some(one.id) == chosen);
    let strategy = strategy.ok_or_else(|| Problem::new(Kind::FormExpired))?;
    let frame = me.frame();
    let words = (NEW, "The app is being registered at the identity provider.");
    let (around, told) = (frame.clone(), id.clone());
    let work = async move {
        match created(&portal, me, &frame, &strategy, &sent).await {
            Ok(page) => page.done(),
            Err(problem) => {
                let form = form(&frame, &strategy).refused(&sent, &problem, told.as_str());
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
    me: Me,
    frame: &Frame,
    strategy: &Strategy,
    sent: &Sent,
) -> Result<Secrets, Problem> {
    let mut body = form(frame, strategy).body(sent, Spare::LeftOut);
    body.insert(
        "auth_strategy_id".to_owned(),
        strategy.id.to_string().into(),
    );
    let body: Body<New> = understand(body)?;
    let caller = sent.asking(me.asking).creator(&body.given);
    // Read before: once there is a secret, nothing may keep it from being shown.
    let calls = calls(portal, &strategy.name, None).await?;
    let made = make(portal, me.developer, &caller, body.value).await?;
    Ok(Secrets::of_new_app(frame, &made, calls))
}

/// When something was made, for the list.
fn day(app: &Application) -> String {
    words::time(&app.created_at).chars().take(10).collect()
}
