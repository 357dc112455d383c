//! What all pages have around what they are about.

use askama::Template;
use axum::{
    body::Body,
    response::{AppendHeaders, IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use uuid::Uuid;

use super::{asset::ASSETS, trouble::Trouble};
use crate::portal::api::{
    Asked, Refused,
    my::visit::Visit,
    problem::{Kind, Problem},
    request::Operation,
};

/// Nothing but what this program serves; forms go here alone, and nobody else shows a page of ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Whose pages these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A developer's, by e-mail address.
    Developer(String),
    /// Of somebody who has not signed in.
    Guest,
    /// The operator's.
    Operator,
}

/// One of the pages that can be reached from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    path: &'static str,
    name: &'static str,
}

const fn place(path: &'static str, name: &'static str) -> Place {
    Place { path, name }
}

const OF_DEVELOPERS: &[Place] = &[place("/apps", "My apps"), place("/account", "Account")];

const OF_OPERATORS: &[Place] = &[
    place("/operator", "Overview"),
    place("/operator/registrations", "Registrations"),
    place("/operator/applications", "Applications"),
    place("/operator/developers", "Developers"),
    place("/operator/apis", "APIs"),
    place("/operator/strategies", "Strategies"),
    place("/operator/providers", "Providers"),
    place("/operator/audit", "Audit"),
];

/// What is around a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    side: Side,
    path: String,
    /// What its forms show.
    pub(super) csrf: String,
    cookies: Vec<HeaderValue>,
    /// What a stop of the program waits for.
    pub(super) operation: Operation,
}

/// What a page shows, or where it is.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// Somewhere else, by its path.
    Elsewhere(String),
    /// Here.
    Shown(Shown),
}

/// What a page shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    status: StatusCode,
    title: &'static str,
    main: String,
    refused: Option<Problem>,
}

#[derive(Template)]
#[template(path = "layout.html", config = ".askama.toml")]
struct Layout<'a> {
    frame: &'a Frame,
    title: &'a str,
    assets: &'static super::asset::Assets,
    main: &'a str,
}

impl Frame {
    /// Around the page that a visit asks for.
    pub(super) fn new(side: Side, visit: &Visit, csrf: String) -> Self {
        Self {
            side,
            path: visit.path.clone(),
            csrf,
            cookies: Vec::new(),
            operation: visit.operation.clone(),
        }
    }

    /// Sets a cookie.
    pub(super) fn with_cookie(mut self, cookie: Option<HeaderValue>) -> Self {
        self.cookies.extend(cookie);
        self
    }

    /// Whether they are the operator's.
    pub(super) fn is_operators(&self) -> bool {
        self.side == Side::Operator
    }

    /// Where an application's pages are.
    pub(super) fn application(&self, id: Uuid) -> String {
        match self.side {
            Side::Operator => format!("/operator/applications/{id}"),
            _ => format!("/apps/{id}"),
        }
    }

    /// A page.
    pub(super) fn page(
        self,
        title: &'static str,
        main: &impl Template,
    ) -> Result<Response, Problem> {
        Ok(self.answer(Done::page(title, main)?))
    }

    /// Where the browser goes next, with GET (RFC 9110 section 15.4.4).
    pub(super) fn go(self, path: impl Into<String>) -> Response {
        self.answer(Done::Elsewhere(path.into()))
    }

    /// What was done, as an answer.
    pub(super) fn answer(self, done: Done) -> Response {
        let cookies = self.cookies.clone();
        let cookies = AppendHeaders(cookies.into_iter().map(|line| (header::SET_COOKIE, line)));
        match done {
            Done::Elsewhere(path) => {
                let Ok(path) = HeaderValue::try_from(path) else {
                    return Problem::new(Kind::Internal).into_response();
                };
                (StatusCode::SEE_OTHER, [(header::LOCATION, path)], cookies).into_response()
            }
            Done::Shown(shown) => {
                let html = html(Body::from(self.whole(shown.title, &shown.main)));
                let mut response = (shown.status, cookies, html).into_response();
                if let Some(problem) = shown.refused {
                    response.extensions_mut().insert(Refused(problem));
                }
                response
            }
        }
    }

    /// The page's text.
    pub(super) fn whole(&self, title: &str, main: &str) -> String {
        let layout = Layout {
            frame: self,
            title,
            assets: &ASSETS,
            main,
        };
        // Writing to a string does not fail.
        layout.render().unwrap_or_default()
    }

    /// The path that was asked for.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn brand(&self) -> &'static str {
        match self.side {
            Side::Operator => "Operator",
            _ => "My Apps",
        }
    }

    fn home(&self) -> &'static str {
        match self.side {
            Side::Operator => "/operator",
            _ => "/",
        }
    }

    fn sign_out(&self) -> &'static str {
        match self.side {
            Side::Operator => "/operator/sign-out",
            _ => "/sign-out",
        }
    }

    fn name(&self) -> Option<&str> {
        match &self.side {
            Side::Developer(name) => Some(name),
            Side::Guest => None,
            Side::Operator => Some("signed in"),
        }
    }

    fn places(&self) -> &'static [Place] {
        match self.side {
            Side::Developer(_) => OF_DEVELOPERS,
            Side::Guest => &[],
            Side::Operator => OF_OPERATORS,
        }
    }

    fn is_at(&self, place: &&'static str) -> bool {
        let below = self.path.strip_prefix(place);
        let is_first = *place == "/operator";
        below.is_some_and(|rest| rest.is_empty() || (!is_first && rest.starts_with('/')))
    }
}

impl Done {
    /// A page.
    pub(super) fn page(title: &'static str, main: &impl Template) -> Result<Self, Problem> {
        Ok(Self::Shown(Shown {
            status: StatusCode::OK,
            title,
            main: render(main)?,
            refused: None,
        }))
    }

    /// A page that only says why there is no other.
    pub(super) fn nothing(problem: &Problem, asked: &Asked<'_>) -> Self {
        let is_operators = asked.path == "/operator" || asked.path.starts_with("/operator/");
        let nothing = Nothing {
            trouble: Trouble::new(problem, asked.id.as_str()).told_to_operator(is_operators),
            home: if is_operators { "/operator" } else { "/" },
        };
        Self::Shown(Shown {
            status: problem.status(),
            title: problem.title(),
            // Writing to a string does not fail.
            main: nothing.render().unwrap_or_default(),
            refused: Some(problem.clone()),
        })
    }

    /// Why it says no.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Elsewhere(_) => None,
            Self::Shown(shown) => shown.refused.as_ref(),
        }
    }

    /// A page that says no.
    pub(super) fn refused(
        title: &'static str,
        main: &impl Template,
        problem: Problem,
    ) -> Result<Self, Problem> {
        Ok(Self::Shown(Shown {
            status: problem.status(),
            title,
            main: render(main)?,
            refused: Some(problem),
        }))
    }
}

impl Shown {
    /// What it shows.
    pub(super) fn main(&self) -> &str {
        &self.main
    }
}

/// A template's text.
pub(super) fn render(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|_| Problem::new(Kind::Internal))
}

/// A body of HTML.
pub(super) fn html(body: Body) -> Response {
    let form = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, form)], body).into_response()
}

/// A page that only says why there is no other.
#[derive(Template)]
#[template(path = "refused.html", config = ".askama.toml")]
struct Nothing {
    trouble: Trouble,
    home: &'static str,
}

/// The page in place of one that was refused, or the way to the sign-in. Programs are answered as
/// the REST does it.
pub(super) fn tell(problem: &Problem, asked: &Asked<'_>) -> Response {
    if asked.path.starts_with("/api/") {
        return problem.answer(asked.id);
    }
    let sign_in = match problem.kind() {
        Kind::SessionRequired => Some("/sign-in"),
        Kind::OperatorRequired => Some("/operator/sign-in"),
        _ => None,
    };
    let frame = Frame {
        side: Side::Guest,
        path: asked.path.to_owned(),
        csrf: String::new(),
        cookies: Vec::new(),
        operation: Operation::default(),
    };
    let mut response = match sign_in {
        Some(sign_in) => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            if *asked.method == http::Method::GET {
                query.append_pair("to", asked.path);
            }
            frame.go(format!("{sign_in}?{}", query.finish()).trim_end_matches('?'))
        }
        None => frame.answer(Done::nothing(problem, asked)),
    };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(crate::portal::api::request::REQUEST_ID, asked.id.as_field());
    if let Some(wait) = problem.retry_after() {
        fields.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    response
}

/// Gives every answer what keeps browsers from doing anything else with it.
pub(super) async fn harden(mut response: Response) -> Response {
    const FIELDS: [(HeaderName, &str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Of another site nobody learns where the browser was; our own forms are known by it.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in FIELDS {
        let fields = response.headers_mut();
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}
