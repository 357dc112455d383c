//! Signing in and out.

use askama::Template;
use axum::{extract::State, response::Response};

use super::super::{
    form::{Field, Form, Sent, Spare},
    page::{Done, Frame},
    who::{Guest, Post, Who as _},
};
use crate::{
    model::credential::Secret,
    portal::{
        Portal,
        accounts::SignedIn,
        api::{
            body::{Body, understand},
            my::{
                account::Authenticate,
                visit::{CookieKind, Me},
            },
            problem::{Kind, Problem},
        },
    },
};

const TITLE: &str = "Sign in";

#[derive(Template)]
#[template(path = "sign_in.html", config = ".askama.toml")]
struct Page {
    form: Form,
    done: Option<&'static str>,
    refused: Option<&'static str>,
    elsewhere: bool,
    asks: bool,
    operators: bool,
}

/// Leads on to where somebody can begin.
pub(super) async fn home(me: Result<Me, Problem>, guest: Guest) -> Result<Response, Problem> {
    match me {
        Ok(me) => Ok(me.frame().go("/apps")),
        Err(problem) if problem.kind() == Kind::SessionRequired => Ok(guest.frame().go("/sign-in")),
        Err(problem) => Err(problem),
    }
}

pub(super) async fn show(
    State(portal): State<Portal>,
    guest: Guest,
    link: Sent,
) -> Result<Response, Problem> {
    let frame = guest.frame();
    let page = Page {
        done: done(link.raw("done")),
        refused: Some(link.raw("refused"))
            .filter(|code| !code.is_empty())
            .map(refused),
        ..page(&portal, form(&frame, link.raw("to")))
    };
    frame.page(TITLE, &page)
}

pub(super) async fn enter(
    State(portal): State<Portal>,
    Post(guest, sent): Post<Guest>,
) -> Result<Response, Problem> {
    let frame = guest.frame();
    let to = place(sent.raw("to"));
    let form = form(&frame, to);
    let entered = entered(&portal, &guest, &form, &sent).await;
    match entered {
        Ok(session) => {
            let cookie = guest.visit.begun(CookieKind::Session, &session);
            Ok(frame.with_cookie(cookie).go(to))
        }
        Err(problem) => {
            let form = form.refused(&sent, &problem, guest.id.as_str());
            let page = page(&portal, form);
            Ok(frame.answer(Done::refused(TITLE, &page, problem)?))
        }
    }
}

async fn entered(
    portal: &Portal,
    guest: &Guest,
    form: &Form,
    sent: &Sent,
) -> Result<SignedIn, Problem> {
    let body: Body<Authenticate> = understand(form.body(sent, Spare::LeftOut))?;
    let Authenticate { username, password } = body.value;
    let password = Secret::new(password);
    let (from, id) = (guest.visit.address, guest.id.as_str());
    Ok(portal.sign_in(from, id, &username, password).await?)
}

/// Signs out. Whoever has no session any more is out as well.
pub(super) async fn leave(
    State(portal): State<Portal>,
    Post(me, _): Post<Me>,
) -> Result<Response, Problem> {
    if let Some(token) = &me.visit.session {
        let id = me.asking.request_id();
        portal.sign_out(id.as_str(), token).await?;
    }
    let over = me.visit.ended(CookieKind::Session);
    Ok(me.frame().with_cookie(over).go("/sign-in?done=signed-out"))
}

fn form(frame: &Frame, to: &str) -> Form {
    let password = Field::secret("password", "Password", "current-password").required();
    Form::new("/sign-in", &frame.csrf, TITLE)
        .hidden("to", place(to))
        .field(Field::email("username", "E-mail address").required())
        .field(password)
}

fn page(portal: &Portal, form: Form) -> Page {
    Page {
        form,
        done: None,
        refused: None,
        elsewhere: portal.has_sign_in_elsewhere(),
        asks: portal.takes_requests(),
        operators: portal.has_operators(),
    }
}

/// Where to go after a sign-in: to one of the developer's pages, whatever a link says.
fn place(to: &str) -> &str {
    let known = to
        .strip_prefix("/apps")
        .or_else(|| to.strip_prefix("/account"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-".contains(&byte);
    match known {
        Some(rest) if (rest.is_empty() || rest.starts_with('/')) && to.bytes().all(plain) => to,
        _ => "/apps",
    }
}

fn done(word: &str) -> Option<&'static str> {
    match word {
        "password-set" => Some("Your password is set. Sign in with it."),
        "signed-out" => Some("You have signed out."),
        _ => None,
    }
}

/// Why somebody who came back from the identity provider is not signed in.
fn refused(code: &str) -> &'static str {
    match code {
        "account_closed" => "Your account is closed. Ask the operator of this portal about it.",
        "account_pending" => {
            "Your account waits for the operator of this portal. Sign in again once it is open."
        }
        "another_identity" => {
            "There is an account with your e-mail address that belongs to somebody else there. Ask the operator of this portal about it."
        }
        "email_not_verified" => {
            "There, your e-mail address is missing or not verified. Verify it, then sign in again."
        }
        "registration_closed" => {
            "Accounts are by invitation. Ask the operator of this portal for one."
        }
        "identity_provider_timeout" | "identity_provider_unavailable" => {
            "The place where you sign in did not answer. Try again in a minute."
        }
        _ => "Signing in there did not work. Try it once more.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_pages_of_our_own_alone() {
        for to in ["/apps", "/apps/new", "/account", "/apps/0c7c1f0e-3d1f/edit"] {
            assert_eq!(place(to), to);
        }
        for to in [
            "",
            "/",
            "//evil.test",
            "/apps//evil.test\\",
            "https://evil.test",
            "/appsx",
            "/operator",
            "/apps\r\nx",
            "/apps?x=1",
        ] {
            assert_eq!(place(to), "/apps", "{to:?}");
        }
    }
}
