//! Who asks for a page, and that a page of ours sent a form.

use aws_lc_rs::{digest, rand};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderValue, request::Parts};
use subtle::ConstantTimeEq as _;

use super::{
    form::{CSRF, ONCE, REVISION, Sent},
    page::{Frame, Side},
};
use crate::{
    model::credential::Secret,
    portal::{
        Portal,
        api::{
            my::visit::{CookieKind, Me, Visit},
            problem::{Kind, Problem},
            request::{Asking, RequestId},
        },
    },
};

/// How long a browser keeps what its forms show: as long as it is open.
const GUEST_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Somebody in a browser.
pub(super) trait Who: FromRequestParts<Portal, Rejection = Problem> + Send {
    /// What is around their pages.
    fn frame(&self) -> Frame;
}

/// Whoever it is.
#[derive(Debug)]
pub(super) struct Guest {
    /// How they come.
    pub(super) visit: Visit,
    /// The request's id.
    pub(super) id: RequestId,
    /// What their forms show.
    token: Secret,
    /// For a browser that has none.
    cookie: Option<HeaderValue>,
}

/// An operator who has signed in.
#[derive(Debug)]
pub(super) struct Operator {
    /// How they come.
    pub(super) visit: Visit,
    /// The request, in the operator's name.
    pub(super) asking: Asking,
}

/// What somebody sent with a form that a page of ours has shown them. There is no other way to a
/// form's values.
#[derive(Debug)]
pub(super) struct Post<W>(pub(super) W, pub(super) Sent);

impl Who for Guest {
    fn frame(&self) -> Frame {
        let csrf = csrf(&self.token);
        Frame::new(Side::Guest, &self.visit, csrf).with_cookie(self.cookie.clone())
    }
}

impl Who for Me {
    fn frame(&self) -> Frame {
        let token = self.visit.session.as_ref();
        let csrf = token.map(csrf).unwrap_or_default();
        let name = self.developer.name.clone();
        Frame::new(Side::Developer(name), &self.visit, csrf)
    }
}

impl Who for Operator {
    fn frame(&self) -> Frame {
        let token = self.visit.operator.as_ref();
        let csrf = token.map(csrf).unwrap_or_default();
        Frame::new(Side::Operator, &self.visit, csrf)
    }
}

impl FromRequestParts<Portal> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Problem> {
        let visit = Visit::from_request_parts(parts, portal).await?;
        let Ok(id) = RequestId::from_request_parts(parts, portal).await;
        let (token, cookie) = match &visit.guest {
            Some(token) => (token.clone(), None),
            None => {
                let mut bytes = [0; 16];
                rand::fill(&mut bytes).map_err(|_| Problem::new(Kind::Internal))?;
                let token = Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes));
                let cookie = visit.cookie(CookieKind::Guest, token.expose(), GUEST_FOR);
                (token, cookie)
            }
        };
        Ok(Self {
            visit,
            id,
            token,
            cookie,
        })
    }
}

impl FromRequestParts<Portal> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Problem> {
        let visit = Visit::from_request_parts(parts, portal).await?;
        let required = || Problem::new(Kind::OperatorRequired);
        let token = visit.operator.clone().ok_or_else(required)?;
        if !portal.is_operator(&token).await? {
            return Err(required());
        }
        let asking = Asking::from_request_parts(parts, portal).await?;
        Ok(Self { visit, asking })
    }
}

impl<W: Who> FromRequest<Portal> for Post<W> {
    type Rejection = Problem;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let who = W::from_request_parts(&mut parts, portal).await?;
        let read = Bytes::from_request(Request::from_parts(parts, body), portal).await;
        let sent = Sent::read(&read.map_err(|_| crate::portal::api::body::too_large())?);
        let (shown, expected) = (sent.raw(CSRF).as_bytes(), who.frame().csrf);
        match !expected.is_empty() && bool::from(shown.ct_eq(expected.as_bytes())) {
            true => Ok(Self(who, sent)),
            false => Err(Problem::new(Kind::FormExpired)),
        }
    }
}

impl Sent {
    /// The request with what the form says of it: that it may come twice, and what was read.
    pub(super) fn asking(&self, asking: Asking) -> Asking {
        let once = Some(self.raw(ONCE)).filter(|key| (1..=64).contains(&key.len()));
        // One that cannot be read is none that anything has.
        let revision = Some(self.raw(REVISION)).filter(|text| !text.is_empty());
        let revision = revision.map(|text| text.parse().unwrap_or(-1));
        asking.with(once.map(str::to_owned), revision)
    }
}

/// What the forms of a session show: only those who have its cookie could have made it, and it gives
/// nothing away of that.
fn csrf(cookie: &Secret) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"dcr-gateway form\0");
    context.update(cookie.expose().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(context.finish())
}
