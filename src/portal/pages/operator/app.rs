//! One application: how it is, what it may call, its secrets, its traffic, its end.

use askama::Template;
use axum::{extract::State, response::Response};
use http::HeaderValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    super::{
        form::{Choice, Field, Form, Sent, Spare},
        my::{
            app::{Call, FormPage, calls, client_id},
            secret,
        },
        page::{Done, Frame},
        progress,
        who::{Operator, Post, Who as _},
        words::{Badge, time},
    },
    apps::badge,
    audit::{self, Lines},
    not_done,
    traffic::Chart,
};
use crate::{
    model::application::{Registration as Registered, Status},
    portal::{
        Portal,
        api::{
            applications::Patch,
            body::{Body, understand},
            my::registrations,
            path::{Id, Ids},
            problem::Problem,
            registrations::{New as NewRegistration, make},
        },
        record::{Application, Credential, Life, Registration},
    },
};

#[derive(Template)]
#[template(path = "operator_app.html", config = ".askama.toml")]
struct Page {
    app: Application,
    path: String,
    client_id: String,
    badge: Badge,
    is_ready: bool,
    is_suspended: bool,
    is_deleting: bool,
    strategy: String,
    strategy_id: Option<Uuid>,
    credentials: Vec<Credential>,
    /// Why its secrets cannot be told, if they cannot.
    silent: Option<&'static str>,
    is_managed: bool,
    has_several: bool,
    rights: Vec<Right>,
    register: Option<Form>,
    chart: Chart,
    audit: Lines,
    csrf: String,
    done: Option<&'static str>,
}

/// An API for which it is registered.
struct Right {
    registration: Registration,
    badge: Badge,
    call: Option<String>,
    /// Whether the API still takes its kind of credential.
    is_accepted: bool,
}

impl Right {
    fn is(&self, state: Registered) -> bool {
        self.registration.state == state
    }
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "activated" => Some("It is active: its calls are judged by its registrations again."),
        "approved" => Some("It may call the API from now on."),
        "changed" => Some("It is changed."),
        "pending" => Some("The registration waits for you."),
        "rejected" => Some("The registration is rejected."),
        "revoked" => Some("The API lets it in no more."),
        "secret-deleted" => Some("The secret opens nothing any more."),
        "suspended" => Some("It is suspended: every call of it is refused from now on."),
        _ => None,
    }
}

pub(super) async fn show(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let frame = operator.frame();
    let is_live = link.raw("live") == "1";
    let page = Page {
        done: done(link.raw("done")),
        ..Page::read(&portal, &frame, app, is_live).await?
    };
    let mut response = frame.page("Application", &page)?;
    if is_live {
        let fields = response.headers_mut();
        fields.insert(http::header::REFRESH, HeaderValue::from_static("5"));
    }
    Ok(response)
}

impl Page {
    async fn read(
        portal: &Portal,
        frame: &Frame,
        app: Application,
        is_live: bool,
    ) -> Result<Self, Problem> {
        let path = frame.application(app.id);
        let all = portal.strategies().await?;
        let strategy = all.into_iter().find(|one| one.name == app.strategy);
        let is_ready = app.life == Life::Ready;
        let is_managed = app.provider.is_some();
        let has_several = match &strategy {
            Some(strategy) if is_managed => portal.has_several_secrets(strategy).await?,
            _ => false,
        };
        // What an identity provider does not tell must not hide all else.
        let (credentials, silent) = match is_ready {
            true => match portal.credentials(app.id).await {
                Ok(known) => (known, None),
                Err(error) => (Vec::new(), Some(Problem::from(error).title())),
            },
            false => (Vec::new(), None),
        };
        let all = calls(portal, &app.strategy, Some(app.id)).await?;
        let rights = rights(portal, &app, &all).await?;
        Ok(Self {
            client_id: client_id(&app),
            badge: badge(&app),
            is_ready,
            is_suspended: app.status == Status::Suspended,
            is_deleting: app.life == Life::Deleting,
            strategy_id: strategy.as_ref().map(|one| one.id),
            strategy: strategy.map_or_else(|| app.strategy.clone(), |one| one.display_name),
            credentials,
            silent,
            is_managed,
            has_several,
            register: is_ready.then(|| register_form(frame, &app, all)).flatten(),
            rights,
            chart: Chart::new(portal.surroundings().traffic(app.id), path.clone(), is_live),
            audit: audit::last(portal, Some(app.id.to_string())).await?,
            csrf: frame.csrf.clone(),
            path,
            done: None,
            app,
        })
    }
}

async fn rights(portal: &Portal, app: &Application, calls: &[Call]) -> Result<Vec<Right>, Problem> {
    let mut known = registrations::all(portal, app.id).await?;
    known.sort_by(|a, b| a.api.cmp(&b.api));
    let right = |registration: Registration| {
        let call = calls.iter().find(|call| call.api == registration.api);
        Right {
            badge: registration.state.into(),
            is_accepted: call.is_some(),
            call: call.map(|call| call.url.clone()),
            registration,
        }
    };
    Ok(known.into_iter().map(right).collect())
}

/// The form that registers it for one more API; `None` where there is none.
fn register_form(frame: &Frame, app: &Application, calls: Vec<Call>) -> Option<Form> {
    let free = calls
        .into_iter()
        .filter(|call| !call.is_open && call.registration.is_none());
    let free: Vec<_> = free
        .map(|call| Choice::new(&*call.api, &*call.api))
        .collect();
    if free.is_empty() {
        return None;
    }
    let states = [
        ("approved", "Approved: it may call at once"),
        ("pending", "Waiting: it is decided later"),
    ];
    let states = states.map(|(value, name)| Choice::new(value, name));
    let path = frame.application(app.id);
    let form = Form::new(format!("{path}/apis"), &frame.csrf, "Register")
        .once()
        .field(Field::one("api_id", "API", free))
        .field(Field::one("status", "State", states.to_vec()));
    Some(form)
}

/// Registers it for an API.
pub(super) async fn register(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let path = frame.application(id);
    let calls = calls(&portal, &app.strategy, Some(id)).await?;
    let registered = async {
        let mut body = Map::new();
        for name in ["api_id", "status"] {
            body.insert(name.to_owned(), sent.text(name).into());
        }
        let body: Body<NewRegistration> = understand(body)?;
        let caller = sent.asking(operator.asking).creator(&body.given);
        make(&portal, &caller, id, body.value).await
    };
    match registered.await {
        Ok(made) => {
            let word = match made.value.state {
                Registered::Approved => "approved",
                _ => "pending",
            };
            Ok(frame.go(format!("{path}?done={word}")))
        }
        Err(problem) => match register_form(&frame, &app, calls) {
            Some(form) => {
                let page = FormPage {
                    title: format!("Register {}", app.name),
                    lead: String::new(),
                    form: form
                        .refused(&sent, &problem, told.as_str())
                        .back(path, "Cancel"),
                };
                Ok(frame.answer(Done::refused("Register", &page, problem)?))
            }
            None => not_done(frame, &told, problem, (path, "Back to the application")),
        },
    }
}

const EDIT: &str = "Edit application";

pub(super) async fn edit(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let frame = operator.frame();
    let page = edit_page(edit_form(&frame, &app));
    frame.page(EDIT, &page)
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let words = (EDIT, "The identity provider is told.");
    let (around, request) = (frame.clone(), told.clone());
    let work = async move {
        let form = edit_form(&frame, &app);
        let mut body = form.body(&sent, Spare::Emptied);
        of_developer(&mut body);
        match changed(&portal, operator, &app, body, &sent, "changed").await {
            Ok(done) => Ok(done),
            Err(problem) => {
                let form = form.refused(&sent, &problem, request.as_str());
                Done::refused(EDIT, &edit_page(form), problem)
            }
        }
    };
    Ok(progress::shown(around, told, words, work).await)
}

/// Says that an owner is a developer: there is no other kind.
pub(super) fn of_developer(body: &mut Map<String, Value>) {
    if let Some(Value::Object(owner)) = body.get_mut("owner") {
        owner.insert("type".to_owned(), "developer".into());
    }
}

async fn changed(
    portal: &Portal,
    operator: Operator,
    app: &Application,
    body: Map<String, Value>,
    sent: &Sent,
    word: &'static str,
) -> Result<Done, Problem> {
    let body: Body<Patch> = understand(body)?;
    let frame = operator.frame();
    // As in a creation: some identity providers replace the secret when they are told a new name.
    let calls = calls(portal, &app.strategy, Some(app.id)).await?;
    let caller = sent.asking(operator.asking).caller();
    let changed = portal.patch_application(&caller, app.id, body.value.into());
    let changed = changed.await?;
    match changed.issued {
        Some(issued) => {
            let secret = Some(issued.secret);
            secret::Secrets::new(&frame, &changed.value, secret, calls).done()
        }
        None => {
            let path = frame.application(app.id);
            Ok(Done::Elsewhere(format!("{path}?done={word}")))
        }
    }
}

fn edit_form(frame: &Frame, app: &Application) -> Form {
    let path = frame.application(app.id);
    let owner = Field::text("owner.id", "Developer").required();
    Form::new(format!("{path}/edit"), &frame.csrf, "Save")
        .of_revision(app.revision)
        .field(Field::text("name", "Name").required().with(&*app.name))
        .field(Field::area("description", "What it is for", 2, 512).with(&*app.description))
        .field(
            owner
                .with(&*app.developer)
                .hint("Whose it is: whoever has the account with this e-mail address manages it."),
        )
        .back(path, "Cancel")
}

fn edit_page(form: Form) -> FormPage {
    FormPage {
        title: EDIT.to_owned(),
        lead: String::new(),
        form,
    }
}

pub(super) async fn suspend(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let frame = operator.frame();
    let path = frame.application(id);
    let page = FormPage {
        title: format!("Suspend {}?", app.name),
        lead: "Every call of it is refused from now on, until you activate it again. Its client, \
               its secrets and its registrations stay."
            .to_owned(),
        form: Form::new(format!("{path}/suspend"), &frame.csrf, "Suspend")
            .of_revision(app.revision)
            .danger()
            .back(path, "Leave it active"),
    };
    frame.page("Suspend an application", &page)
}

pub(super) async fn suspended(
    portal: State<Portal>,
    id: Id,
    post: Post<Operator>,
) -> Result<Response, Problem> {
    set_status(portal, id, post, "suspended", "suspended").await
}

pub(super) async fn activated(
    portal: State<Portal>,
    id: Id,
    post: Post<Operator>,
) -> Result<Response, Problem> {
    set_status(portal, id, post, "active", "activated").await
}

async fn set_status(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
    status: &str,
    word: &'static str,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let mut body = Map::new();
    body.insert("status".to_owned(), status.into());
    match changed(&portal, operator, &app, body, &sent, word).await {
        Ok(done) => Ok(frame.answer(done)),
        Err(problem) => {
            let back = (frame.application(id), "Back to the application");
            not_done(frame, &told, problem, back)
        }
    }
}

pub(super) async fn rotate(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    secret::to_rotate(operator.frame(), &app)
}

pub(super) async fn rotated(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, _): Post<Operator>,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    Ok(secret::rotating(portal, operator.frame(), operator.asking, app).await)
}

pub(super) async fn add_secret(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    secret::to_add(operator.frame(), &app)
}

pub(super) async fn secret_added(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    Ok(secret::adding(portal, operator.frame(), operator.asking, app, sent).await)
}

pub(super) async fn delete_secret(
    State(portal): State<Portal>,
    operator: Operator,
    Ids(id, which): Ids,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    secret::to_delete(&portal, operator.frame(), &app, which).await
}

pub(super) async fn secret_deleted(
    State(portal): State<Portal>,
    Ids(id, which): Ids,
    Post(operator, _): Post<Operator>,
) -> Result<Response, Problem> {
    portal.application(id).await?;
    Ok(secret::deleting(portal, operator.frame(), operator.asking, id, which).await)
}

const DELETE: &str = "Delete application";

pub(super) async fn delete(
    State(portal): State<Portal>,
    operator: Operator,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application(id).await?;
    let frame = operator.frame();
    let path = frame.application(id);
    let form = |submit| Form::new(format!("{path}/delete"), &frame.csrf, submit).danger();
    let page = match app.life {
        Life::Deleting => FormPage {
            title: format!("Delete {} though its client may stay?", app.name),
            lead: "The gateway refuses it already, and goes on asking the identity provider to \
                   delete the client. If you delete it here now, nobody asks any more: look there \
                   for the client and delete it by hand."
                .to_owned(),
            form: form("Delete it here")
                .hidden("force", "true")
                .back(&*path, "Go on asking"),
        },
        _ => FormPage {
            title: format!("Delete {}?", app.name),
            lead: "Its client is deleted at the identity provider, its secrets stop working at \
                   once, and its registrations go with it. This cannot be undone."
                .to_owned(),
            form: form(DELETE)
                .of_revision(app.revision)
                .back(&*path, "Keep it"),
        },
    };
    frame.page(DELETE, &page)
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(operator, sent): Post<Operator>,
) -> Result<Response, Problem> {
    let (frame, told) = (operator.frame(), operator.asking.request_id());
    let words = (
        DELETE,
        "The client is being deleted at the identity provider.",
    );
    let (around, request) = (frame.clone(), told.clone());
    let work = async move {
        let force = sent.raw("force") == "true";
        let caller = sent.asking(operator.asking).caller();
        match portal.delete_application(&caller, id, force).await {
            Ok(()) => Ok(Done::Elsewhere(
                "/operator/applications?done=deleted".to_owned(),
            )),
            Err(error) => {
                let back = (frame.application(id), "Back to the application");
                super::not_done_yet(&request, error.into(), back)
            }
        }
    };
    Ok(progress::shown(around, told, words, work).await)
}
