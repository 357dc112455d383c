//! Registrations: those that wait are decided here.

use std::collections::{HashMap, hash_map::Entry};

use askama::Template;
use axum::{extract, response::Response};
use serde_json::Map;
use uuid::Uuid;

use super::{
    super::{
        form::{Choice, Field, Form, Sent},
        my::app::FormPage,
        who::{Operator, Post, Who as _},
        words::{Badge, time},
    },
    list::{self, Filter, Turn},
    not_done,
};
use crate::{
    model::application::Registration as State,
    portal::{
        Error, Portal,
        api::{
            body::{Body, understand},
            path::Id,
            problem::Problem,
            registrations::Patch,
        },
        record::{Page, Registration, RegistrationFilter},
    },
};

const PATH: &str = "/operator/registrations";
const TITLE: &str = "Registrations";

/// The words of links and forms, which are those of the REST.
const STATES: &[(&str, State)] = &[
    ("pending", State::Pending),
    ("approved", State::Approved),
    ("rejected", State::Rejected),
    ("revoked", State::Revoked),
];

#[derive(Template)]
#[template(path = "operator_registrations.html", config = ".askama.toml")]
struct List {
    done: Option<&'static str>,
    filter: Filter,
    /// Those that wait; `None` where they are not apart from the others.
    waiting: Option<Table>,
    others: Table,
    turn: Turn,
}

/// Some of them.
#[derive(Template)]
#[template(path = "operator_registrations_table.html", config = ".askama.toml")]
struct Table {
    caption: String,
    lines: Vec<Line>,
    csrf: String,
}

/// A registration, as a list shows it.
struct Line {
    registration: Registration,
    application: String,
    developer: String,
    badge: Badge,
}

impl Line {
    fn is(&self, state: State) -> bool {
        self.registration.state == state
    }
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "approved" => Some("It is approved: the application may call the API from now on."),
        "rejected" => Some("It is rejected: the API does not let the application in."),
        "revoked" => Some("It is revoked: the API lets the application in no more."),
        "pending" => Some("It waits again: the API does not let the application in."),
        _ => None,
    }
}

pub(super) async fn list(
    extract::State(portal): extract::State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let frame = operator.frame();
    let filter = RegistrationFilter {
        owner: None,
        application: None,
        api: list::text(&link, "api")?,
        state: list::word(&link, "state", STATES)?,
    };
    let page = list::page(&link);
    let mut names = Names::new(&portal);
    let csrf = frame.csrf.clone();
    let found = portal.registrations(&filter, page).await?;
    let is_apart = filter.state.is_none() && page.number == 1;
    let waiting = match is_apart {
        true => {
            let pending = RegistrationFilter {
                state: Some(State::Pending),
                ..filter.clone()
            };
            let found = portal.registrations(&pending, page).await?;
            Some(Table {
                caption: match found.total {
                    1 => "1 waits for you".to_owned(),
                    total => format!("{total} wait for you"),
                },
                lines: names.lines(found.items).await?,
                csrf: csrf.clone(),
            })
        }
        false => None,
    };
    let mut items = found.items;
    items.retain(|one| !is_apart || one.state != State::Pending);
    let shown = self::filter(&portal, &link).await?;
    let page = List {
        done: done(link.raw("done")),
        turn: shown.turn(&link, page, found.total),
        filter: shown,
        waiting,
        others: Table {
            caption: match filter.state {
                Some(State::Pending) => "Those that wait, the latest first".to_owned(),
                _ => "Decided, the latest first".to_owned(),
            },
            lines: names.lines(items).await?,
            csrf,
        },
    };
    frame.page(TITLE, &page)
}

async fn filter(portal: &Portal, link: &Sent) -> Result<Filter, Problem> {
    let states = [
        ("", "All"),
        ("pending", "Waiting"),
        ("approved", "Approved"),
        ("rejected", "Rejected"),
        ("revoked", "Revoked"),
    ];
    let states = states.map(|(value, name)| Choice::new(value, name));
    let mut apis = vec![Choice::new("", "All")];
    let of_name = |api: crate::portal::ApiView| Choice::new(&*api.name, &*api.name);
    apis.extend(portal.apis().await?.into_iter().map(of_name));
    let fields = vec![
        Field::one("state", "State", states.to_vec()),
        Field::one("api", "API", apis),
    ];
    Ok(Filter::new(PATH, link, fields))
}

/// Decides on one, as the button says that was pressed.
pub(super) async fn decide(
    extract::State(portal): extract::State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let known = portal.registration(id).await?;
    let path = format!("/operator/applications/{}", known.application);
    // Back to where the button was.
    let to = match sent.raw("from") {
        "application" => path.clone(),
        _ => PATH.to_owned(),
    };
    let decided = async {
        let mut body = Map::new();
        body.insert("status".to_owned(), sent.raw("status").into());
        let body: Body<Patch> = understand(body)?;
        let caller = sent.asking(operator.asking).caller();
        let decided = portal.decide(&caller, id, body.value.verdict());
        Ok::<_, Problem>(decided.await?)
    };
    match decided.await {
        Ok(decided) => {
            let word = STATES.iter().find(|(_, state)| *state == decided.state);
            let word = word.map_or("", |(word, _)| word);
            Ok(frame.go(format!("{to}?done={word}")))
        }
        Err(problem) => not_done(frame, &told, problem, (path, "Look at the application")),
    }
}

pub(super) async fn revoke(
    extract::State(portal): extract::State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let frame = operator.frame();
    let known = portal.registration(id).await?;
    let app = portal.application(known.application).await?;
    let (from, back) = match link.raw("from") {
        "application" => ("application", frame.application(app.id)),
        _ => ("", PATH.to_owned()),
    };
    let form = Form::new(format!("{PATH}/{id}"), &frame.csrf, "Revoke");
    let page = FormPage {
        title: format!("Revoke {} for {}?", known.api, app.name),
        lead: format!(
            "The API {} refuses every call of {} from now on. You can approve it again later.",
            known.api, app.name
        ),
        form: form
            .of_revision(known.revision)
            .hidden("status", "revoked")
            .hidden("from", from)
            .danger()
            .back(back, "Leave it"),
    };
    frame.page("Revoke a registration", &page)
}

/// What applications are called, and whose they are.
struct Names<'p> {
    portal: &'p Portal,
    known: HashMap<Uuid, (String, String)>,
}

impl<'p> Names<'p> {
    fn new(portal: &'p Portal) -> Self {
        let known = HashMap::new();
        Self { portal, known }
    }

    async fn lines(&mut self, items: Vec<Registration>) -> Result<Vec<Line>, Problem> {
        let mut lines = Vec::with_capacity(items.len());
        for registration in items {
            let (application, developer) = match self.known.entry(registration.application) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(entry) => {
                    let found = match self.portal.application(registration.application).await {
                        Ok(app) => (app.name, app.developer),
                        // It went away a moment ago.
                        Err(Error::NotFound(_)) => Default::default(),
                        Err(error) => return Err(error.into()),
                    };
                    entry.insert(found).clone()
                }
            };
            lines.push(Line {
                badge: registration.state.into(),
                registration,
                application,
                developer,
            });
        }
        Ok(lines)
    }
}

/// How many wait for the operator.
pub(super) async fn waiting(portal: &Portal) -> Result<u64, Problem> {
    let filter = RegistrationFilter {
        owner: None,
        state: Some(State::Pending),
        ..RegistrationFilter::default()
    };
    let one = Page { number: 1, size: 1 };
    Ok(portal.registrations(&filter, one).await?.total)
}
