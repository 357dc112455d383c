//! Who visits: from where, and with which session.

use std::{net::IpAddr, time::Duration};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use cookie::{Cookie, SameSite};
use http::{HeaderValue, StatusCode, header, request::Parts};

use super::super::{
    problem::{Kind, Problem},
    request::{Asking, Operation},
};
use crate::{
    clock,
    model::credential::Secret,
    portal::{
        Portal,
        accounts::SignedIn,
        record::{Actor, Developer},
    },
};

/// How a request came. Whoever serves the routes puts it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The client's address, as trusted proxies tell.
    pub address: IpAddr,
    /// Whether the client came over https, as the listener sees it or a trusted proxy tells.
    pub secure: bool,
    /// The cookie of this scheme.
    pub session: Option<Secret>,
    /// The cookie of a sign-in at an identity provider that is under way.
    pub sign_in: Option<Secret>,
    /// The cookie of an operator's session.
    pub operator: Option<Secret>,
    /// The cookie of a browser in which nobody need have signed in.
    pub guest: Option<Secret>,
    /// The path that was asked for.
    pub path: String,
    /// What a stop of the program waits for.
    pub operation: Operation,
}

/// The cookies of the developers' address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// Of a browser in which nobody need have signed in: what its forms show to be its own.
    Guest,
    /// An operator's session.
    Operator,
    /// A developer's session.
    Session,
    /// A sign-in at an identity provider that is under way.
    SignIn,
}

impl CookieKind {
    /// Its name: with the prefix on https, where no other host and no plain http can set it
    /// (RFC 6265bis section 4.1.3.2).
    pub const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Guest, true) => "__Host-dcr_portal_guest",
            (Self::Guest, false) => "dcr_portal_guest",
            (Self::Operator, true) => "__Host-dcr_portal_operator",
            (Self::Operator, false) => "dcr_portal_operator",
            (Self::Session, true) => "__Host-dcr_portal",
            (Self::Session, false) => "dcr_portal",
            (Self::SignIn, true) => "__Host-dcr_portal_sign_in",
            (Self::SignIn, false) => "dcr_portal_sign_in",
        }
    }
}

impl Visit {
    /// Answers 204 and sets the cookie of a session.
    pub(super) fn begin(&self, session: &SignedIn) -> Response {
        answered(self.session_cookie(session))
    }

    /// Answers 204 and clears the cookie.
    pub(super) fn end(&self) -> Response {
        answered(self.ended(CookieKind::Session))
    }

    /// The cookie of a session.
    pub(super) fn session_cookie(&self, session: &SignedIn) -> Option<HeaderValue> {
        self.begun(CookieKind::Session, session)
    }

    /// The cookie of a developer's or operator's session.
    pub(in crate::portal) fn begun(
        &self,
        kind: CookieKind,
        session: &SignedIn,
    ) -> Option<HeaderValue> {
        let age = session.until.since(clock::now());
        self.cookie(kind, session.token.expose(), age)
    }

    /// Clears a cookie.
    pub(in crate::portal) fn ended(&self, kind: CookieKind) -> Option<HeaderValue> {
        self.cookie(kind, "", Duration::ZERO)
    }

    /// A cookie of this scheme; `None` where the value cannot be one.
    pub(in crate::portal) fn cookie(
        &self,
        kind: CookieKind,
        value: &str,
        age: Duration,
    ) -> Option<HeaderValue> {
        let name = kind.name(self.secure);
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((name, value))
            .path("/")
            .secure(self.secure)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(age));
        HeaderValue::try_from(cookie.to_string()).ok()
    }
}

/// 204 with a cookie.
fn answered(cookie: Option<HeaderValue>) -> Response {
    match cookie {
        Some(line) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, line)]).into_response(),
        None => Problem::new(Kind::Internal).into_response(),
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Problem::new(Kind::Internal))
    }
}

/// A developer who has signed in.
#[derive(Debug)]
pub(in crate::portal) struct Me {
    /// Who.
    pub(in crate::portal) developer: Developer,
    /// How.
    pub(in crate::portal) visit: Visit,
    /// The request, in the developer's name.
    pub(in crate::portal) asking: Asking,
}

impl FromRequestParts<Portal> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Problem> {
        let visit = Visit::from_request_parts(parts, portal).await?;
        let required = || Problem::new(Kind::SessionRequired);
        let token = visit.session.clone().ok_or_else(required)?;
        let developer = portal.signed_in(&token).await?.ok_or_else(required)?;
        let asking = Asking::from_request_parts(parts, portal).await?;
        let actor = Actor::Developer(developer.name.clone());
        Ok(Self {
            asking: asking.by(actor),
            developer,
            visit,
        })
    }
}
