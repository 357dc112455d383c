//! A developer's account: asking for one, the invitation, the password.

use askama::Template;
use axum::{extract::State, response::Response};
use uuid::Uuid;

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
                account::{ChangePassword, Register, ResetPassword, address},
                visit::{CookieKind, Me},
            },
            problem::{Kind, Problem},
        },
        record::Developer,
    },
};

/// What passwords have to be, as the schema has it.
const RULE: &str =
    "At least 12 characters. A few words that do not belong together are easy to keep in mind.";

#[derive(Template)]
#[template(path = "narrow.html", config = ".askama.toml")]
struct Narrow {
    title: &'static str,
    lead: &'static str,
    form: Option<Form>,
}

#[derive(Template)]
#[template(path = "account.html", config = ".askama.toml")]
struct Account {
    developer: Developer,
    done: bool,
    form: Option<Form>,
}

const ASK: &str = "Ask for an account";

pub(super) async fn ask(State(portal): State<Portal>, guest: Guest) -> Result<Response, Problem> {
    if !portal.takes_requests() {
        return Err(Problem::new(Kind::NotFound));
    }
    let frame = guest.frame();
    let form = ask_form(&frame);
    frame.page(ASK, &asking(Some(form)))
}

pub(super) async fn asked(
    State(portal): State<Portal>,
    Post(guest, sent): Post<Guest>,
) -> Result<Response, Problem> {
    let frame = guest.frame();
    let form = ask_form(&frame);
    match noted(&portal, &guest, &form, &sent).await {
        Ok(()) => {
            let page = Narrow {
                title: "It is noted",
                lead: "Once the operator of this portal agrees, you get an e-mail with a link that sets your password.",
                form: None,
            };
            frame.page("It is noted", &page)
        }
        Err(problem) => {
            let form = form.refused(&sent, &problem, guest.id.as_str());
            Ok(frame.answer(Done::refused(ASK, &asking(Some(form)), problem)?))
        }
    }
}

async fn noted(portal: &Portal, guest: &Guest, form: &Form, sent: &Sent) -> Result<(), Problem> {
    let body: Body<Register> = understand(form.body(sent, Spare::LeftOut))?;
    let Register { email, full_name } = body.value;
    let email = address(&email)?;
    let (from, id) = (guest.visit.address, guest.id.as_str());
    let noted = portal.ask_for_account(from, id, &email, &full_name);
    Ok(noted.await?)
}

fn ask_form(frame: &Frame) -> Form {
    Form::new("/register", &frame.csrf, "Ask")
        .field(Field::text("full_name", "Your name").required())
        .field(Field::email("email", "E-mail address").required())
        .back("/sign-in", "Back")
}

fn asking(form: Option<Form>) -> Narrow {
    Narrow {
        title: ASK,
        lead: "The operator of this portal looks at it, and sends an invitation to your e-mail address.",
        form,
    }
}

const INVITED: &str = "Set your password";

pub(super) async fn invited(guest: Guest, link: Sent) -> Result<Response, Problem> {
    let Ok(token) = Uuid::try_parse(link.raw("token")) else {
        let detail = "open the whole link of your invitation";
        return Err(Problem::new(Kind::InvitationOver).detailed(detail));
    };
    let frame = guest.frame();
    let form = invitation_form(&frame, &token.to_string());
    frame.page(INVITED, &setting(form))
}

pub(super) async fn accept(
    State(portal): State<Portal>,
    Post(guest, sent): Post<Guest>,
) -> Result<Response, Problem> {
    let frame = guest.frame();
    let form = invitation_form(&frame, sent.raw("token"));
    let body = form.body(&sent, Spare::LeftOut);
    let set = async {
        let mut body = body;
        body.insert("token".to_owned(), sent.raw("token").into());
        let body: Body<ResetPassword> = understand(body)?;
        let ResetPassword { token, password } = body.value;
        let (token, password) = (Secret::new(token.to_string()), Secret::new(password));
        let (from, id) = (guest.visit.address, guest.id.as_str());
        let set = portal.set_password(from, id, &token, password).await;
        Ok::<_, Problem>(set?)
    };
    match set.await {
        Ok(()) => Ok(frame.go("/sign-in?done=password-set")),
        Err(problem) => {
            let form = form.refused(&sent, &problem, guest.id.as_str());
            Ok(frame.answer(Done::refused(INVITED, &setting(form), problem)?))
        }
    }
}

fn invitation_form(frame: &Frame, token: &str) -> Form {
    let password = Field::secret("password", "New password", "new-password");
    Form::new("/invitation", &frame.csrf, "Set password")
        .hidden("token", token)
        .field(password.required().hint(RULE))
}

fn setting(form: Form) -> Narrow {
    Narrow {
        title: INVITED,
        lead: "With it you sign in from now on.",
        form: Some(form),
    }
}

const TITLE: &str = "Account";

pub(super) async fn show(me: Me, link: Sent) -> Result<Response, Problem> {
    let frame = me.frame();
    let page = Account {
        done: link.raw("done") == "password-changed",
        form: has_password(&me.developer).then(|| password_form(&frame, &me.developer)),
        developer: me.developer,
    };
    frame.page(TITLE, &page)
}

pub(super) async fn change(
    State(portal): State<Portal>,
    Post(me, sent): Post<Me>,
) -> Result<Response, Problem> {
    let frame = me.frame();
    let form = password_form(&frame, &me.developer);
    match changed(&portal, &me, &form, &sent).await {
        Ok(session) => {
            let cookie = me.visit.begun(CookieKind::Session, &session);
            Ok(frame
                .with_cookie(cookie)
                .go("/account?done=password-changed"))
        }
        Err(problem) => {
            let id = me.asking.request_id();
            let page = Account {
                done: false,
                form: Some(form.refused(&sent, &problem, id.as_str())),
                developer: me.developer,
            };
            Ok(frame.answer(Done::refused(TITLE, &page, problem)?))
        }
    }
}

async fn changed(portal: &Portal, me: &Me, form: &Form, sent: &Sent) -> Result<SignedIn, Problem> {
    let body: Body<ChangePassword> = understand(form.body(sent, Spare::LeftOut))?;
    let ChangePassword {
        old_password,
        password,
    } = body.value;
    let (old, new) = (Secret::new(old_password), Secret::new(password));
    let (caller, from) = (me.asking.clone().caller(), me.visit.address);
    let changed = portal.change_password(&caller, from, &me.developer, old, new);
    Ok(changed.await?)
}

fn password_form(frame: &Frame, developer: &Developer) -> Form {
    let old = Field::secret("old_password", "Password of today", "current-password");
    let new = Field::secret("password", "New password", "new-password");
    Form::new("/account", &frame.csrf, "Change password")
        .of_account(&*developer.name)
        .field(old.required())
        .field(new.required().hint(RULE))
}

fn has_password(developer: &Developer) -> bool {
    developer
        .account
        .as_ref()
        .is_some_and(|account| account.has_password)
}
