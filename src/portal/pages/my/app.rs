//! One application of a developer, and the APIs that it may call.

use askama::Template;
use axum::{extract::State, response::Response};
use uuid::Uuid;

use super::super::{
    form::{Field, Form, Sent, Spare},
    page::{Done, Frame},
    progress,
    trouble::Trouble,
    who::{Post, Who as _},
    words::{Badge, quoted, state, time},
};
use crate::{
    model::{application, credential::ClientId},
    portal::{
        Error, Portal,
        api::{
            body::{Body, understand},
            my::{
                applications::Patch,
                registrations::{self, own},
                visit::Me,
            },
            path::{Id, Ids},
            problem::{Kind, Problem},
        },
        record::{Application, Credential, Life, Registration},
    },
};

/// An API that an application can call, and how.
#[derive(Clone, Debug)]
pub(in crate::portal::pages) struct Call {
    pub(in crate::portal::pages) api: String,
    /// Where it is, as far as it is known.
    pub(in crate::portal::pages) url: String,
    /// Whether it lets every application in.
    pub(in crate::portal::pages) is_open: bool,
    pub(in crate::portal::pages) registration: Option<Registration>,
}

impl Call {
    /// A line for a shell.
    pub(in crate::portal::pages) fn line(&self, client_id: &str, secret: &str) -> String {
        let pair = quoted(&format!("{client_id}:{secret}"));
        format!("curl -u {pair} {}", quoted(&self.url))
    }

    /// Whether its developer may give it up: what the operator has refused stays so.
    fn can_leave(&self) -> bool {
        use application::Registration::{Approved, Pending};
        let state = self.registration.as_ref().map(|known| known.state);
        matches!(state, Some(Approved | Pending))
    }

    pub(in crate::portal::pages) fn badge(&self) -> Option<Badge> {
        let registration = self.registration.as_ref();
        registration.map(|known| known.state.into())
    }
}

/// The APIs that accept a strategy, by name, with the registrations of an application.
pub(in crate::portal::pages) async fn calls(
    portal: &Portal,
    strategy: &str,
    application: Option<Uuid>,
) -> Result<Vec<Call>, Problem> {
    let known = match application {
        Some(id) => registrations::all(portal, id).await?,
        None => Vec::new(),
    };
    let mut apis = portal.apis().await?;
    apis.retain(|api| {
        let mut accepted = api.file_strategies.iter().chain(&api.kept.strategies);
        matches!(api.access, "application" | "registered") && accepted.any(|name| name == strategy)
    });
    apis.sort_by(|a, b| a.name.cmp(&b.name));
    let call = |api: crate::portal::ApiView| Call {
        registration: known.iter().find(|one| one.api == api.name).cloned(),
        url: api
            .url
            .unwrap_or_else(|| format!("https://GATEWAY/{}", api.name)),
        is_open: api.access == "application",
        api: api.name,
    };
    Ok(apis.into_iter().map(call).collect())
}

#[derive(Template)]
#[template(path = "app.html", config = ".askama.toml")]
struct Page {
    app: Application,
    client_id: String,
    status: Option<Badge>,
    strategy: String,
    credentials: Vec<Credential>,
    is_managed: bool,
    has_several: bool,
    calls: Vec<Call>,
    csrf: String,
    /// Where its pages are.
    path: String,
    done: Option<&'static str>,
    trouble: Option<Trouble>,
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "changed" => Some("It is changed."),
        "registered" => Some("It may call the API from now on."),
        "requested" => Some("It is asked for. The operator of this portal decides."),
        "left" => Some("The API no longer lets this app in."),
        "secret-deleted" => Some("The secret opens nothing any more."),
        _ => None,
    }
}

pub(super) async fn show(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
    link: Sent,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let frame = me.frame();
    let page = Page {
        done: done(link.raw("done")),
        ..Page::read(&portal, &frame, app).await?
    };
    frame.page("App", &page)
}

impl Page {
    async fn read(portal: &Portal, frame: &Frame, app: Application) -> Result<Self, Problem> {
        let all = portal.strategies().await?;
        let strategy = all.into_iter().find(|one| one.name == app.strategy);
        let has_several = match (&strategy, &app.provider) {
            (Some(strategy), Some(_)) => portal.has_several_secrets(strategy).await?,
            _ => false,
        };
        Ok(Self {
            client_id: client_id(&app),
            status: state(&app),
            strategy: strategy.map_or_else(|| app.strategy.clone(), |one| one.display_name),
            credentials: portal.credentials(app.id).await?,
            is_managed: app.provider.is_some(),
            has_several,
            calls: calls(portal, &app.strategy, Some(app.id)).await?,
            csrf: frame.csrf.clone(),
            path: frame.application(app.id),
            done: None,
            trouble: None,
            app,
        })
    }
}

pub(in crate::portal::pages) fn client_id(app: &Application) -> String {
    let id = app.client_id.as_ref().map(ClientId::as_str);
    id.unwrap_or_default().to_owned()
}

#[derive(Template)]
#[template(path = "form_page.html", config = ".askama.toml")]
pub(in crate::portal::pages) struct FormPage {
    pub(in crate::portal::pages) title: String,
    /// What is to be known before.
    pub(in crate::portal::pages) lead: String,
    pub(in crate::portal::pages) form: Form,
}

const EDIT: &str = "Edit app";

pub(super) async fn edit(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let frame = me.frame();
    frame
        .clone()
        .page(EDIT, &edit_page(edit_form(&frame, &app)))
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(me, sent): Post<Me>,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let frame = me.frame();
    let told = me.asking.request_id();
    let words = (EDIT, "The identity provider is told.");
    let (around, request) = (frame.clone(), told.clone());
    let work = async move {
        let form = edit_form(&frame, &app);
        match changed(&portal, me, id, &form, &sent).await {
            Ok(done) => Ok(done),
            Err(problem) => {
                let form = form.refused(&sent, &problem, request.as_str());
                Done::refused(EDIT, &edit_page(form), problem)
            }
        }
    };
    Ok(progress::shown(around, told, words, work).await)
}

async fn changed(
    portal: &Portal,
    me: Me,
    id: Uuid,
    form: &Form,
    sent: &Sent,
) -> Result<Done, Problem> {
    let body: Body<Patch> = understand(form.body(sent, Spare::Emptied))?;
    let frame = me.frame();
    let caller = sent.asking(me.asking).caller();
    // As in a creation: some identity providers replace the secret when they are told a new name.
    let app = portal.application(id).await?;
    let calls = calls(portal, &app.strategy, Some(id)).await?;
    let changed = portal
        .patch_application(&caller, id, body.value.into())
        .await?;
    match changed.issued {
        Some(issued) => {
            let secret = Some(issued.secret);
            super::secret::Secrets::new(&frame, &changed.value, secret, calls).done()
        }
        None => Ok(Done::Elsewhere(format!("/apps/{id}?done=changed"))),
    }
}

fn edit_form(frame: &Frame, app: &Application) -> Form {
    let path = format!("/apps/{}", app.id);
    Form::new(format!("{path}/edit"), &frame.csrf, "Save")
        .of_revision(app.revision)
        .field(Field::text("name", "Name").required().with(&*app.name))
        .field(Field::area("description", "What it is for", 2, 512).with(&*app.description))
        .back(path, "Cancel")
}

fn edit_page(form: Form) -> FormPage {
    FormPage {
        title: EDIT.to_owned(),
        lead: String::new(),
        form,
    }
}

const DELETE: &str = "Delete app";

pub(super) async fn delete(
    State(portal): State<Portal>,
    me: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let frame = me.frame();
    frame.clone().page(DELETE, &delete_page(&frame, &app))
}

pub(super) async fn deleted(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(me, _): Post<Me>,
) -> Result<Response, Problem> {
    portal.application_of(&me.developer, id).await?;
    let (frame, told) = (me.frame(), me.asking.request_id());
    let words = (
        DELETE,
        "The client is being deleted at the identity provider.",
    );
    let work = async move {
        let caller = me.asking.caller();
        match portal.delete_application(&caller, id, false).await {
            Ok(()) => Ok(Done::Elsewhere("/apps?done=deleted".to_owned())),
            // Nothing is left to do for anybody who reads this.
            Err(Error::Unfinished) => Ok(Done::Elsewhere("/apps?done=deleting".to_owned())),
            Err(error) => Err(error.into()),
        }
    };
    Ok(progress::shown(frame, told, words, work).await)
}

fn delete_page(frame: &Frame, app: &Application) -> FormPage {
    let path = format!("/apps/{}", app.id);
    let form = Form::new(format!("{path}/delete"), &frame.csrf, "Delete app");
    FormPage {
        title: format!("Delete {}?", app.name),
        lead: "Its client id and secrets stop working at once, and its APIs let it in no more. \
               This cannot be undone."
            .to_owned(),
        form: form.danger().back(path, "Keep it"),
    }
}

/// Asks for the right to call an API.
pub(super) async fn ask(
    State(portal): State<Portal>,
    Id(id): Id,
    Post(me, sent): Post<Me>,
) -> Result<Response, Problem> {
    let app = portal.application_of(&me.developer, id).await?;
    let frame = me.frame();
    let told = me.asking.request_id();
    let api = sent.raw("api");
    let calls = calls(&portal, &app.strategy, None).await?;
    if !calls.iter().any(|call| call.api == api && !call.is_open) {
        return Err(Problem::new(Kind::NotFound).detailed("no such API"));
    }
    let caller = me.asking.caller();
    match portal.register(&caller, id, api, None).await {
        Ok(made) => {
            let word = match made.value.state {
                crate::model::application::Registration::Approved => "registered",
                _ => "requested",
            };
            Ok(frame.go(format!("/apps/{id}?done={word}")))
        }
        Err(error) => {
            let problem = Problem::from(error);
            let page = Page {
                trouble: Some(Trouble::new(&problem, told.as_str())),
                ..Page::read(&portal, &frame, app).await?
            };
            Ok(frame.answer(Done::refused("App", &page, problem)?))
        }
    }
}

const LEAVE: &str = "Stop using an API";

pub(super) async fn leave(
    State(portal): State<Portal>,
    me: Me,
    Ids(id, registration): Ids,
) -> Result<Response, Problem> {
    let (app, found) = own(&portal, &me, id, registration).await?;
    let frame = me.frame();
    let path = format!("/apps/{id}");
    let action = format!("{path}/apis/{registration}/delete");
    let page = FormPage {
        title: format!("Stop using {}?", found.api),
        lead: format!(
            "The API lets {} in no more, from now on. You can ask again later.",
            app.name
        ),
        form: Form::new(action, &frame.csrf, "Stop using it")
            .danger()
            .back(path, "Keep it"),
    };
    frame.page(LEAVE, &page)
}

pub(super) async fn left(
    State(portal): State<Portal>,
    Ids(id, registration): Ids,
    Post(me, _): Post<Me>,
) -> Result<Response, Problem> {
    let frame = me.frame();
    registrations::leave(&portal, me, id, registration).await?;
    Ok(frame.go(format!("/apps/{id}?done=left")))
}
