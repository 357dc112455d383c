//! Secrets of an application: each is shown once, in the answer that made it. What its developer
//! does with them, the operator does too.

use askama::Template;
use axum::{extract::State, response::Response};
use uuid::Uuid;

use super::{
    super::{
        form::{Field, Form, Sent, Spare},
        page::{Done, Frame},
        progress,
        who::{Post, Who as _},
    },
    app::{Call, FormPage, calls, client_id},
};
use crate::{
    model::credential::Secret,
    portal::{
        Created, Portal,
        api::{
            applications::issued,
            body::{Body, understand},
            my::{credentials::New, visit::Me},
            path::{Id, Ids},
            problem::{Kind, Problem},
            request::Asking,
        },
        record::Application,
    },
};

/// The page with a secret.
#[derive(Template)]
#[template(path = "secret.html", config = ".askama.toml")]
pub(in crate::portal::pages) struct Secrets {
    app: Application,
    client_id: String,
    /// `None`: it was shown before.
    secret: Option<Secret>,
    is_new: bool,
    /// Whether its secret is managed elsewhere.
    is_elsewhere: bool,
    calls: Vec<Call>,
    csrf: String,
    /// Where the application's pages are.
    path: String,
    is_operators: bool,
}

impl Secrets {
    pub(in crate::portal::pages) fn new(
        frame: &Frame,
        app: &Application,
        secret: Option<Secret>,
        calls: Vec<Call>,
    ) -> Self {
        Self {
            client_id: client_id(app),
            app: app.clone(),
            secret,
            is_new: false,
            is_elsewhere: false,
            calls,
            csrf: frame.csrf.clone(),
            path: frame.application(app.id),
            is_operators: frame.is_operators(),
        }
    }

    /// Of an application that was made just now.
    pub(in crate::portal::pages) fn of_new_app(
        frame: &Frame,
        made: &Created<Application>,
        calls: Vec<Call>,
    ) -> Self {
        let secret = issued(made).map(|issued| issued.secret.clone());
        Self {
            is_new: true,
            is_elsewhere: secret.is_none() && !made.repeated,
            ..Self::new(frame, &made.value, secret, calls)
        }
    }

    pub(in crate::portal::pages) fn done(&self) -> Result<Done, Problem> {
        let title = match (&self.secret, self.is_new) {
            (None, true) if !self.is_elsewhere => "It was made before",
            (_, true) => "The new app",
            (_, false) => "The new secret",
        };
        Done::page(title, self)
    }
}

const ROTATE: &str = "New secret";

pub(super) async fn rotate(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    to_rotate(me.frame(), &app)
}

/// The page that asks whether an application gets a new secret.
pub(in crate::portal::pages) fn to_rotate(
    frame: Frame,
    app: &Application,
) -> Result<Response, Problem> {
    let path = frame.application(app.id);
    let page = FormPage {
        title: format!("A new secret for {}?", app.name),
        lead: "The secret of today, and what was signed in with it, stops working at once. \
               The new one is shown on the next page, once."
            .to_owned(),
        form: Form::new(format!("{path}/rotate"), &frame.csrf, "Make a new secret")
            .danger()
            .back(path, "Keep the old one"),
    };
    frame.page(ROTATE, &page)
}

pub(super) async fn rotated(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(me, _): Post<Me>,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    Ok(rotating(portal, me.frame(), me.asking, app).await)
}

/// Gives an application a new secret, and shows it.
pub(in crate::portal::pages) async fn rotating(
    portal: Portal,
    frame: Frame,
    asking: Asking,
    app: Application,
) -> Response {
    let (around, told) = (frame.clone(), asking.request_id());
    let words = (ROTATE, "The identity provider makes a new secret.");
    let work = async move {
        // Read before: once there is a secret, nothing may keep it from being shown.
        let calls = calls(&portal, &app.strategy, Some(app.id)).await?;
        let made = portal.rotate(&asking.caller(), app.id).await?;
        let secret = shown(&made)?;
        Secrets::new(&frame, &made.value, Some(secret), calls).done()
    };
    progress::shown(around, told, words, work).await
}

fn shown<T>(made: &Created<T>) -> Result<Secret, Problem> {
    let issued = issued(made).ok_or_else(|| Problem::new(Kind::Internal))?;
    Ok(issued.secret.clone())
}

const ADD: &str = "Add a secret";

pub(super) async fn add(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    to_add(me.frame(), &app)
}

/// The page that asks for the name of one more secret.
pub(in crate::portal::pages) fn to_add(
    frame: Frame,
    app: &Application,
) -> Result<Response, Problem> {
    let page = add_page(&frame, app);
    frame.page(ADD, &page)
}

fn add_page(frame: &Frame, app: &Application) -> FormPage {
    let path = frame.application(app.id);
    FormPage {
        title: format!("One more secret for {}", app.name),
        lead: "The others go on working: put the new one to use, then delete the old one."
            .to_owned(),
        form: Form::new(format!("{path}/secrets"), &frame.csrf, "Make it")
            .once()
            .field(Field::text("display_name", "Name").hint("So that you know it again."))
            .back(path, "Cancel"),
    }
}

pub(super) async fn added(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(me, sent): Post<Me>,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    Ok(adding(portal, me.frame(), me.asking, app, sent).await)
}

/// Gives an application one more secret, and shows it.
pub(in crate::portal::pages) async fn adding(
    portal: Portal,
    frame: Frame,
    asking: Asking,
    app: Application,
    sent: Sent,
) -> Response {
    let (around, told) = (frame.clone(), asking.request_id());
    let request = told.clone();
    let words = (ADD, "The identity provider makes a new secret.");
    let work = async move {
        let page = add_page(&frame, &app);
        match add_one(&portal, &frame, asking, &app, &page.form, &sent).await {
            Ok(secret) => secret.done(),
            Err(problem) => {
                let form = page.form.refused(&sent, &problem, request.as_str());
                Done::refused(ADD, &FormPage { form, ..page }, problem)
            }
        }
    };
    progress::shown(around, told, words, work).await
}

async fn add_one(
    portal: &Portal,
    frame: &Frame,
    asking: Asking,
    app: &Application,
    form: &Form,
    sent: &Sent,
) -> Result<Secrets, Problem> {
    let body: Body<New> = understand(form.body(sent, Spare::LeftOut))?;
    let caller = sent.asking(asking).creator(&body.given);
    let calls = calls(portal, &app.strategy, Some(app.id)).await?;
    let name = body.value.display_name.unwrap_or_default();
    let made = portal.add_credential(&caller, app.id, &name).await?;
    let secret = issued(&made).map(|issued| issued.secret.clone());
    Ok(Secrets::new(frame, app, secret, calls))
}

const DELETE: &str = "Delete a secret";

pub(super) async fn delete(
    State(portal): State<Portal>,
    me: Me,
    Ids(id, secret): Ids,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    to_delete(&portal, me.frame(), &app, secret).await
}

/// The page that asks whether one of an application's secrets goes.
pub(in crate::portal::pages) async fn to_delete(
    portal: &Portal,
    frame: Frame,
    app: &Application,
    secret: Uuid,
) -> Result<Response, Problem> {
    let all = portal.credentials(app.id).await?;
    let found = all.into_iter().find(|one| one.id == secret);
    let found = found.ok_or_else(|| Problem::new(Kind::NotFound))?;
    let name = match found.name.is_empty() {
        true => "this secret",
        false => &found.name,
    };
    let path = frame.application(app.id);
    let action = format!("{path}/secrets/{secret}/delete");
    let page = FormPage {
        title: format!("Delete {name}?"),
        lead: format!(
            "What uses this secret of {} is refused from now on.",
            app.name
        ),
        form: Form::new(action, &frame.csrf, "Delete secret")
            .danger()
            .back(path, "Keep it"),
    };
    frame.page(DELETE, &page)
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Ids(id, secret): Ids,
    Post(me, _): Post<Me>,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    Ok(deleting(portal, me.frame(), me.asking, id, secret).await)
}

/// Ends one of an application's secrets.
pub(in crate::portal::pages) async fn deleting(
    portal: Portal,
    frame: Frame,
    asking: Asking,
    id: Uuid,
    secret: Uuid,
) -> Response {
    let told = asking.request_id();
    let words = (
        DELETE,
        "The secret is being deleted at the identity provider.",
    );
    let path = frame.application(id);
    let work = async move {
        let deleted = portal.delete_credential(&asking.caller(), id, secret).await;
        let there = |()| Done::Elsewhere(format!("{path}?done=secret-deleted"));
        deleted.map(there).map_err(Problem::from)
    };
    progress::shown(frame, told, words, work).await
}
