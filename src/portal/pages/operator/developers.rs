//! Developers: who has an account, who asks for one, and the invitation that opens it.

use askama::Template;
use axum::{extract::State, response::Response};
use http::{HeaderMap, header};
use serde_json::Map;

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        my::app::FormPage,
        page::{Done, Frame},
        who::{Operator, Post, Who as _},
        words::{Badge, time},
    },
    audit::{self, Lines},
    list::{self, Filter, Turn},
    not_done,
};
use crate::{
    model::credential::Secret,
    portal::{
        Portal,
        accounts::Invited,
        api::{
            body::{Body, understand},
            developers::{New, Patch, make},
            my::visit::Visit,
            path::Id,
            problem::Problem,
        },
        record::{AccountStatus, Developer, DeveloperFilter, Page},
    },
};

const PATH: &str = "/operator/developers";
const TITLE: &str = "Developers";

/// The words of links and forms, which are those of the REST.
const STATUSES: &[(&str, AccountStatus)] = &[
    ("pending", AccountStatus::Pending),
    ("approved", AccountStatus::Approved),
    ("rejected", AccountStatus::Rejected),
    ("revoked", AccountStatus::Revoked),
];

#[derive(Template)]
#[template(path = "operator_developers.html", config = ".askama.toml")]
struct List {
    done: Option<&'static str>,
    filter: Filter,
    lines: Vec<Line>,
    total: u64,
    csrf: String,
    turn: Turn,
}

/// A developer in the list.
struct Line {
    developer: Developer,
    full_name: String,
    badge: Option<Badge>,
    waits: bool,
    revision: i64,
}

impl From<Developer> for Line {
    fn from(developer: Developer) -> Self {
        let account = developer.account.as_ref();
        let status = account.map(|account| account.status);
        Self {
            full_name: account.map_or_else(String::new, |account| account.full_name.clone()),
            badge: status.map(Badge::from),
            waits: status == Some(AccountStatus::Pending),
            revision: account.map_or(0, |account| account.revision),
            developer,
        }
    }
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "approved" => Some("The account is open."),
        "deleted" => Some("The developer is deleted."),
        "rejected" => Some("The account is rejected: nobody signs in with it."),
        "revoked" => {
            Some("The account is closed: its sessions have ended, its applications go on.")
        }
        _ => None,
    }
}

pub(super) async fn list(
    State(portal): State<Portal>,
    operator: Operator,
    link: Sent,
) -> Result<Response, Problem> {
    let asked = DeveloperFilter {
        // As accounts are kept.
        name: list::text(&link, "name")?,
        status: list::word(&link, "status", STATUSES)?,
    };
    let page = list::page(&link);
    let found = portal.developers(&asked, page).await?;
    let statuses = [
        ("", "All"),
        ("pending", "Waiting"),
        ("approved", "Open"),
        ("rejected", "Rejected"),
        ("revoked", "Closed"),
    ];
    let statuses = statuses.map(|(value, name)| Choice::new(value, name));
    let fields = vec![
        Field::one("status", "Account", statuses.to_vec()),
        Field::text("name", "E-mail address, or name, in full"),
    ];
    let filter = Filter::new(PATH, &link, fields);
    let frame = operator.frame();
    let page = List {
        done: done(link.raw("done")),
        turn: filter.turn(&link, page, found.total).of_names(),
        filter,
        lines: found.items.into_iter().map(Line::from).collect(),
        total: found.total,
        csrf: frame.csrf.clone(),
    };
    frame.page(TITLE, &page)
}

#[derive(Template)]
#[template(path = "operator_developer.html", config = ".askama.toml")]
struct One {
    line: Line,
    status: Option<AccountStatus>,
    sign_in: &'static str,
    applications: u64,
    /// The list of them.
    applications_path: String,
    /// The form that invites, where there is no account.
    invite_path: String,
    audit: Lines,
    csrf: String,
    done: Option<&'static str>,
}

impl One {
    fn is(&self, status: AccountStatus) -> bool {
        self.status == Some(status)
    }
}

pub(super) async fn show(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let developer = portal.developer(id).await?;
    let frame = operator.frame();
    let one = Page { number: 1, size: 1 };
    let own = Portal::applications_of(&developer);
    let with = |path: &str, name: &str| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair(name, &developer.name);
        format!("{path}?{}", query.finish())
    };
    let account = developer.account.as_ref();
    let page = One {
        applications: portal.applications(&own, one).await?.total,
        applications_path: with("/operator/applications", "developer"),
        invite_path: with("/operator/developers/new", "email"),
        audit: audit::last(&portal, Some(id.to_string())).await?,
        status: account.map(|account| account.status),
        sign_in: match account {
            None => "not at all: an application names them, and there is no account",
            Some(account) => match (account.has_password, &account.identity) {
                (true, Some(_)) => "with a password, or at your identity provider",
                (true, None) => "with a password",
                (false, Some(_)) => "at your identity provider",
                (false, None) => "not yet: no password is set",
            },
        },
        csrf: frame.csrf.clone(),
        done: done(link.raw("done")),
        line: developer.into(),
    };
    frame.page("Developer", &page)
}

const INVITE: &str = "Invite a developer";

pub(super) async fn new(operator: Operator, link: Sent) -> Result<Response, Problem> {
    let frame = operator.frame();
    let page = invite_page(invite_form(&frame, link.text("email")));
    frame.page(INVITE, &page)
}

fn invite_form(frame: &Frame, email: &str) -> Form {
    Form::new(PATH, &frame.csrf, "Invite")
        .once()
        .field(
            Field::email("email", "E-mail address")
                .required()
                .with(email),
        )
        .field(Field::text("full_name", "Name").required())
        .back(PATH, "Cancel")
}

fn invite_page(form: Form) -> FormPage {
    FormPage {
        title: INVITE.to_owned(),
        lead:
            "The next page shows a link, once. Send it to the developer, who sets a password with \
               it and signs in from then on."
                .to_owned(),
        form,
    }
}

/// The page with the link of an invitation.
#[derive(Template)]
#[template(path = "operator_invitation.html", config = ".askama.toml")]
struct Invitation {
    developer: Developer,
    /// `None`: it was shown before.
    link: Option<Secret>,
    until: String,
}

impl Invitation {
    fn new(portal: &Portal, visit: &Visit, head: &HeaderMap, invited: Invited) -> Self {
        let made = invited.invitation;
        let origin = origin(portal, visit, head);
        let link = |token: &Secret| {
            let token = token.expose();
            Secret::new(format!("{origin}/invitation?token={token}"))
        };
        Self {
            developer: invited.developer,
            link: made.as_ref().map(|made| link(&made.token)),
            until: made.map_or_else(String::new, |made| time(&made.until)),
        }
    }

    fn done(&self) -> Result<Done, Problem> {
        Done::page("Invitation", self)
    }
}

/// Where browsers reach the portal: as the configuration tells, else as this one does.
fn origin(portal: &Portal, visit: &Visit, head: &HeaderMap) -> String {
    if let Some(url) = portal.surroundings().public_url() {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let scheme = match visit.secure {
        true => "https",
        false => "http",
    };
    let host = head.get(header::HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

pub(super) async fn invite(
    State(portal): State<Portal>,
    head: HeaderMap,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let form = invite_form(&frame, "");
    let asking = operator.asking;
    let made = async {
        let body: Body<New> = understand(form.body(&sent, Spare::LeftOut))?;
        let caller = sent.asking(asking).creator(&body.given);
        make(&portal, &caller, body.value).await
    };
    match made.await {
        Ok(made) => {
            let page = Invitation::new(&portal, &operator.visit, &head, made.value);
            Ok(frame.answer(page.done()?))
        }
        Err(problem) => {
            let page = invite_page(form.refused(&sent, &problem, told.as_str()));
            Ok(frame.answer(Done::refused(INVITE, &page, problem)?))
        }
    }
}

/// Decides on an account, as the button says that was pressed.
pub(super) async fn decide(
    State(portal): State<Portal>,
    head: HeaderMap,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let path = format!("{PATH}/{id}");
    let asking = operator.asking;
    let decided = async {
        let mut body = Map::new();
        body.insert("status".to_owned(), sent.raw("status").into());
        let body: Body<Patch> = understand(body)?;
        let caller = sent.asking(asking).caller();
        let decided = portal.patch_account(&caller, id, body.value.into());
        Ok::<_, Problem>(decided.await?)
    };
    match decided.await {
        Ok(decided) if decided.invitation.is_some() => {
            let page = Invitation::new(&portal, &operator.visit, &head, decided);
            Ok(frame.answer(page.done()?))
        }
        Ok(decided) => {
            let status = decided.developer.account.map(|account| account.status);
            let mut words = STATUSES.iter();
            let word = words.find(|(_, known)| Some(*known) == status);
            let word = word.map_or("", |(word, _)| word);
            Ok(frame.go(format!("{path}?done={word}")))
        }
        Err(problem) => not_done(frame, &told, problem, (path, "Look at the developer")),
    }
}

pub(super) async fn invite_again(
    State(portal): State<Portal>,
    head: HeaderMap,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let caller = sent.asking(operator.asking).caller();
    match portal.invite_again(&caller, id).await {
        Ok(invited) => {
            let page = Invitation::new(&portal, &operator.visit, &head, invited);
            Ok(frame.answer(page.done()?))
        }
        Err(error) => {
            let back = (format!("{PATH}/{id}"), "Look at the developer");
            not_done(frame, &told, error.into(), back)
        }
    }
}

pub(super) async fn close(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let line = Line::from(portal.developer(id).await?);
    let frame = operator.frame();
    let path = format!("{PATH}/{id}");
    let page = FormPage {
        title: format!("Close the account of {}?", line.developer.name),
        lead:
            "Its sessions end at once, and nobody signs in with it any more. Its applications go \
               on: suspend or delete those that should not. You can open the account again later."
                .to_owned(),
        form: Form::new(&*path, &frame.csrf, "Close account")
            .of_revision(line.revision)
            .hidden("status", "revoked")
            .danger()
            .back(&*path, "Leave it open"),
    };
    frame.page("Close an account", &page)
}

const DELETE: &str = "Delete a developer";

pub(super) async fn delete(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let line = Line::from(portal.developer(id).await?);
    let frame = operator.frame();
    let path = format!("{PATH}/{id}");
    let page = FormPage {
        title: format!("Delete {}?", line.developer.name),
        lead:
            "The account goes, with its password and sessions. This cannot be undone. A developer \
               who has applications is not deleted: delete those first, or give them to another."
                .to_owned(),
        form: Form::new(format!("{path}/delete"), &frame.csrf, "Delete developer")
            .of_revision(line.revision)
            .danger()
            .back(&*path, "Keep it"),
    };
    frame.page(DELETE, &page)
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let caller = sent.asking(operator.asking).caller();
    match portal.delete_developer(&caller, id).await {
        Ok(()) => Ok(frame.go(format!("{PATH}?done=deleted"))),
        Err(error) => {
            let back = (format!("{PATH}/{id}"), "Look at the developer");
            not_done(frame, &told, error.into(), back)
        }
    }
}

/// How many accounts wait for the operator.
pub(super) async fn waiting(portal: &Portal) -> Result<u64, Problem> {
    let filter = DeveloperFilter {
        status: Some(AccountStatus::Pending),
        ..DeveloperFilter::default()
    };
    let one = Page { number: 1, size: 1 };
    Ok(portal.developers(&filter, one).await?.total)
}
