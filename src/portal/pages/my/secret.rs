//! Secrets of an application: each is shown once, in the answer that made it.

use askama::Template;
use axum::{extract::State, response::Response};

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
        },
        record::Application,
    },
};

/// The page with a secret.
#[derive(Template)]
#[template(path = "secret.html", config = ".askama.toml")]
pub(super) struct Secrets {
    app: Application,
    client_id: String,
    /// `None`: it was shown before.
    secret: Option<Secret>,
    is_new: bool,
    calls: Vec<Call>,
    csrf: String,
}

impl Secrets {
    pub(super) fn new(
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
            calls,
            csrf: frame.csrf.clone(),
        }
    }

    /// Of an application that was made just now.
    pub(super) fn of_new_app(self) -> Self {
        Self {
            is_new: true,
            ..self
        }
    }

    pub(super) fn done(&self) -> Result<Done, Problem> {
        let title = match (&self.secret, self.is_new) {
            (None, true) => "It was made before",
            (_, true) => "Your new app",
            (_, false) => "Your new secret",
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
    let frame = me.frame();
    let path = format!("/apps/{id}");
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
    let (frame, told) = (me.frame(), me.asking.request_id());
    let around = frame.clone();
    let words = (ROTATE, "The identity provider makes a new secret.");
    let work = async move {
        // Read before: once there is a secret, nothing may keep it from being shown.
        let calls = calls(&portal, &app.strategy, Some(id)).await?;
        let made = portal.rotate(&me.asking.caller(), id).await?;
        let secret = shown(&made)?;
        Secrets::new(&frame, &made.value, Some(secret), calls).done()
    };
    Ok(progress::shown(around, told, words, work).await)
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
    let frame = me.frame();
    let page = add_page(&frame, &app);
    frame.page(ADD, &page)
}

fn add_page(frame: &Frame, app: &Application) -> FormPage {
    let path = format!("/apps/{}", app.id);
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
    let (frame, told) = (me.frame(), me.asking.request_id());
    let (around, request) = (frame.clone(), told.clone());
    let words = (ADD, "The identity provider makes a new secret.");
    let work = async move {
        let page = add_page(&frame, &app);
        match add_one(&portal, me, &app, &page.form, &sent).await {
            Ok(secret) => secret.done(),
            Err(problem) => {
                let form = page.form.refused(&sent, &problem, request.as_str());
                Done::refused(ADD, &FormPage { form, ..page }, problem)
            }
        }
    };
    Ok(progress::shown(around, told, words, work).await)
}

async fn add_one(
    portal: &Portal,
    me: Me,
    app: &Application,
    form: &Form,
    sent: &Sent,
) -> Result<Secrets, Problem> {
    let body: Body<New> = understand(form.body(sent, Spare::LeftOut))?;
    let frame = me.frame();
    let caller = sent.asking(me.asking).creator(&body.given);
    let calls = calls(portal, &app.strategy, Some(app.id)).await?;
    let name = body.value.display_name.unwrap_or_default();
    let made = portal.add_credential(&caller, app.id, &name).await?;
    let secret = issued(&made).map(|issued| issued.secret.clone());
    Ok(Secrets::new(&frame, app, secret, calls))
}

const DELETE: &str = "Delete a secret";

pub(super) async fn delete(
    State(portal): State<Portal>,
    me: Me,
    Ids(id, secret): Ids,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let all = portal.credentials(id).await?;
    let found = all.into_iter().find(|one| one.id == secret);
    let found = found.ok_or_else(|| Problem::new(Kind::NotFound))?;
    let name = match found.name.is_empty() {
        true => "this secret",
        false => &found.name,
    };
    let frame = me.frame();
    let path = format!("/apps/{id}");
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
    let (frame, told) = (me.frame(), me.asking.request_id());
    let words = (
        DELETE,
        "The secret is being deleted at the identity provider.",
    );
    let work = async move {
        let caller = me.asking.caller();
        let deleted = portal.delete_credential(&caller, id, secret).await;
        let there = |()| Done::Elsewhere(format!("/apps/{id}?done=secret-deleted"));
        deleted.map(there).map_err(Problem::from)
    };
    Ok(progress::shown(frame, told, words, work).await)
}
