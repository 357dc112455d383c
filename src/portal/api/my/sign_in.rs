//! `/api/v2/developer/authenticate/sso`: signing in at the operator's own identity provider.

use std::time::Duration;

use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use url::form_urlencoded;

use super::{
    super::{
        Refused,
        problem::{Kind, Problem},
        request::RequestId,
    },
    account::TAG,
    visit::{CookieKind, Visit},
};
use crate::{
    idp::sign_in::{Answer, Pending},
    portal::{Portal, accounts::SignedIn},
};

/// Where browsers come back to.
pub const CALLBACK: &str = "/api/v2/developer/authenticate/sso/callback";

/// How long somebody may take to sign in there.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends the browser to the identity provider.
#[utoipa::path(
    get,
    path = "/api/v2/developer/authenticate/sso",
    operation_id = "authenticate-sso",
    tag = TAG,
    security(()),
    responses(
        (status = 302, description = "There it goes on"),
        (status = 404, description = "Nobody signs in elsewhere"),
    ),
)]
pub(super) async fn begin(
    State(portal): State<Portal>,
    visit: Visit,
    head: HeaderMap,
) -> Result<Response, Problem> {
    match portal.begin_sign_in().await {
        Ok((url, pending)) => {
            let cookie = visit.cookie(CookieKind::SignIn, pending.to_text().expose(), PATIENCE);
            redirect(url.as_str(), [cookie])
        }
        Err(error) => refused(error.into(), &head, None),
    }
}

/// Takes the browser back from the identity provider: sets the session's cookie, and sends it to the
/// portal.
#[utoipa::path(
    get,
    path = "/api/v2/developer/authenticate/sso/callback",
    operation_id = "authenticate-sso-callback",
    tag = TAG,
    security(()),
    params(
        ("state" = Option<String>, Query, description = "As it was sent"),
        ("code" = Option<String>, Query, description = "To be redeemed"),
        ("error" = Option<String>, Query, description = "Why there is no code"),
        ("iss" = Option<String>, Query, description = "Who answers (RFC 9207)"),
    ),
    responses(
        (status = 302, description = "Signed in"),
        (status = 403, description = "It did not come about, or there is no open account"),
        (status = 404, description = "Nobody signs in elsewhere"),
    ),
)]
pub(super) async fn end(
    State(portal): State<Portal>,
    visit: Visit,
    id: RequestId,
    uri: Uri,
    head: HeaderMap,
) -> Result<Response, Problem> {
    let ended = session(&portal, &visit, &id, uri.query().unwrap_or_default()).await;
    let over = visit.ended(CookieKind::SignIn);
    match ended {
        Ok(session) => redirect("/", [visit.session_cookie(&session), over]),
        Err(problem) => refused(problem, &head, over),
    }
}

/// Says no: where a browser goes there to show it (Fetch Metadata section 2.3), on the page, in words.
fn refused(
    problem: Problem,
    head: &HeaderMap,
    cookie: Option<HeaderValue>,
) -> Result<Response, Problem> {
    let mode = head.get("sec-fetch-mode");
    if mode.is_none_or(|mode| mode != "navigate") {
        return Err(problem);
    }
    let mut response = redirect(&format!("/sign-in?refused={}", problem.code()), [cookie])?;
    response.extensions_mut().insert(Refused(problem));
    Ok(response)
}

async fn session(
    portal: &Portal,
    visit: &Visit,
    id: &RequestId,
    query: &str,
) -> Result<SignedIn, Problem> {
    let pending = visit.sign_in.as_ref().and_then(Pending::of);
    let (Some(pending), Some(answer)) = (pending, answer(query)) else {
        let detail = "begin again: this browser has no sign-in under way";
        return Err(Problem::new(Kind::Forbidden).detailed(detail));
    };
    Ok(portal.end_sign_in(id.as_str(), pending, answer).await?)
}

/// What the provider says; `None` where it says something twice (RFC 6749 section 3.1). What else
/// there is does not matter.
fn answer(query: &str) -> Option<Answer> {
    let mut answer = Answer::default();
    let mut state = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "state" => &mut state,
            "code" => &mut answer.code,
            "error" => &mut answer.error,
            "iss" => &mut answer.issuer,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    answer.state = state.unwrap_or_default();
    Some(answer)
}

fn redirect<const N: usize>(
    place: &str,
    cookies: [Option<HeaderValue>; N],
) -> Result<Response, Problem> {
    let internal = || Problem::new(Kind::Internal);
    let place = HeaderValue::try_from(place).map_err(|_| internal())?;
    let lines = cookies.into_iter().flatten();
    let lines: Vec<_> = lines.map(|line| (header::SET_COOKIE, line)).collect();
    let location = [(header::LOCATION, place)];
    Ok((StatusCode::FOUND, location, AppendHeaders(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let told = answer("state=a&code=b&iss=https%3A%2F%2Fidp.test&session_state=c&x=1&x=2");
        let told = told.unwrap();
        assert_eq!(
            (told.state.as_str(), told.code.as_deref()),
            ("a", Some("b"))
        );
        assert_eq!(told.issuer.as_deref(), Some("https://idp.test"));
        for twice in [
            "state=a&state=a",
            "code=a&code=b",
            "iss=a&iss=",
            "error=a&error=a",
        ] {
            assert!(answer(twice).is_none(), "{twice}");
        }
    }
}
