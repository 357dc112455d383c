//! Operators sign in with the admin token, and out.

use askama::Template;
use axum::{extract::State, response::Response};

use super::super::{
    form::{Field, Form, Sent},
    page::{Done, Frame},
    who::{Guest, Operator, Post, Who as _},
};
use crate::{
    model::credential::Secret,
    portal::{
        Portal,
        api::{
            my::visit::CookieKind,
            problem::{Kind, Problem},
        },
    },
};

const TITLE: &str = "Operator sign-in";

#[derive(Template)]
#[template(path = "operator_sign_in.html", config = ".askama.toml")]
struct Page {
    done: bool,
    form: Form,
}

pub(super) async fn show(
    State(portal): State<Portal>,
    guest: Guest,
    link: Sent,
) -> Result<Response, Problem> {
    if !portal.has_operators() {
        return Err(Problem::new(Kind::NotFound));
    }
    let frame = guest.frame();
    let page = Page {
        done: link.raw("done") == "signed-out",
        form: form(&frame, link.raw("to")),
    };
    frame.page(TITLE, &page)
}

pub(super) async fn enter(
    State(portal): State<Portal>,
    Post(guest, sent): Post<Guest>,
) -> Result<Response, Problem> {
    if !portal.has_operators() {
        return Err(Problem::new(Kind::NotFound));
    }
    let frame = guest.frame();
    let to = place(sent.raw("to"));
    let token = Secret::new(sent.text("token"));
    let (from, id) = (guest.visit.address, guest.id.as_str());
    match portal.sign_in_operator(from, id, &token).await {
        Ok(session) => {
            let cookie = guest.visit.begun(CookieKind::Operator, &session);
            Ok(frame.with_cookie(cookie).go(to))
        }
        Err(error) => {
            let problem = Problem::from(error);
            let page = Page {
                done: false,
                form: form(&frame, to).refused(&sent, &problem, id),
            };
            Ok(frame.answer(Done::refused(TITLE, &page, problem)?))
        }
    }
}

pub(super) async fn leave(
    State(portal): State<Portal>,
    Post(operator, _): Post<Operator>,
) -> Result<Response, Problem> {
    if let Some(token) = &operator.visit.operator {
        let id = operator.asking.request_id();
        portal.sign_out_operator(id.as_str(), token).await?;
    }
    let over = operator.visit.ended(CookieKind::Operator);
    let frame = operator.frame().with_cookie(over);
    Ok(frame.go("/operator/sign-in?done=signed-out"))
}

fn form(frame: &Frame, to: &str) -> Form {
    let token = Field::secret("token", "Admin token", "current-password");
    Form::new("/operator/sign-in", &frame.csrf, "Sign in")
        .hidden("to", place(to))
        .field(
            token
                .required()
                .hint("The value of admin.token in the gateway's configuration."),
        )
}

/// Where to go after a sign-in: to one of the operator's pages, whatever a link says.
fn place(to: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    match to.strip_prefix("/operator") {
        Some(rest) if (rest.is_empty() || rest.starts_with('/')) && to.bytes().all(plain) => to,
        _ => "/operator",
    }
}
