//! Exchanging a client id and secret for an access token (RFC 6749 section 4.4).

use serde_json::Value;

use super::{
    AuthMethod, Provider,
    call::{Answer, Endpoint, Trouble, Unavailable},
    told,
};
use crate::{
    model::{
        check::Check,
        claims::Claims,
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    telemetry::checks::Checks,
    token::json,
};

/// What the IdP granted.
#[derive(Debug)]
pub struct Granted {
    /// The access token.
    pub token: Secret,
    /// `expires_in` in seconds, as told.
    pub expires_in: Option<i64>,
    /// `scope`, as told.
    pub scope: Option<String>,
    /// When it was asked for: the token is younger than this.
    pub asked: Timestamp,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The client may not use this grant; its secret is right.
    #[error("the identity provider denies this client the grant: {0}")]
    GrantRefused(String),
    /// What the gateway asked for is wrong: scope, audience, address.
    #[error("the identity provider refuses what the gateway asks for: {0}")]
    Misconfigured(String),
    /// No usable answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The IdP does not know the id with this secret.
    #[error("the identity provider refuses the client id and secret")]
    WrongSecret,
}

/// Form fields of a token request beside the grant type and the client's own.
pub type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Asks the token endpoint.
///
/// # Errors
/// See [`Error`]; only [`Error::WrongSecret`] says anything about the pair.
pub async fn exchange<'a>(
    provider: &Provider,
    client_id: &'a ClientId,
    secret: &'a Secret,
    mut fields: Fields<'a>,
    asked: Timestamp,
    checks: &Checks,
) -> Result<Granted, Error> {
    let (metadata, url) = provider.endpoint(Endpoint::Token, checks).await?;
    let method = (provider.config().token_endpoint_auth_method)
        .or(metadata.token_auth)
        .unwrap_or(AuthMethod::ClientSecretPost);
    fields.insert(0, ("grant_type", "client_credentials"));
    told::request(checks, Check::TokenRequest, &url, method, &fields);
    let request = provider.form(url, method, client_id, secret, fields);
    let answer = provider.caller().send(Endpoint::Token, request).await;
    let granted = match &answer {
        Ok(answer) => read(answer, asked),
        Err(unavailable) => Err(unavailable.clone().into()),
    };
    let problem = granted.as_ref().err().map(Error::to_string);
    let hidden = || {
        vec![
            secret.expose().to_owned(),
            format!("{client_id}:{}", secret.expose()),
        ]
    };
    told::answer(
        checks,
        Check::TokenAnswer,
        answer.as_ref(),
        problem.as_deref(),
        hidden,
    );
    granted
}

/// Reads the token endpoint's answer (RFC 6749 sections 5.1 and 5.2), tolerantly in what does not
/// matter: the status may be 201, `expires_in` a text, `token_type` absent or in any case.
///
/// # Errors
/// As [`exchange`], whose calls have sorted out the statuses that are no answer.
pub fn read(answer: &Answer, asked: Timestamp) -> Result<Granted, Error> {
    let claims = json::object(&answer.body).ok();
    let error = claims
        .as_ref()
        .and_then(|claims| claims.get("error"))
        .and_then(Value::as_str);
    if !matches!(answer.status.as_u16(), 200 | 201) || error.is_some() {
        return Err(refusal(
            answer.status.as_u16(),
            error,
            answer.body.is_empty(),
        ));
    }
    let retry = std::time::Duration::from_secs(1);
    let unreadable = |what| Trouble::Unreadable(what).after(retry);
    let claims = claims.ok_or(unreadable("the token answer is no JSON object"))?;
    let token = claims
        .get("access_token")
        .and_then(Value::as_str)
        .filter(|token| !token.is_empty());
    let token = token.ok_or(unreadable("the token answer holds no access_token"))?;
    match claims.get("token_type") {
        None => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err(Error::Misconfigured("token_type is not Bearer".to_owned())),
    }
    let expires_in = expires_in(&claims)
        .map_err(|()| unreadable("expires_in of the token answer is no number"))?;
    let scope = claims
        .get("scope")
        .and_then(Value::as_str)
        .map(str::to_owned);
    Ok(Granted {
        token: Secret::new(token),
        expires_in,
        scope,
        asked,
    })
}

/// A number or, from some IdPs, a number as text.
fn expires_in(claims: &Claims) -> Result<Option<i64>, ()> {
    let seconds = match claims.get("expires_in") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let seconds = seconds
        .filter(|seconds: &f64| seconds.is_finite())
        .ok_or(())?;
    // The cast saturates; a life of centuries is cut to `cache_time` anyway.
    Ok(Some(seconds as i64))
}

/// Whose fault a refusal is (design sections 2 and 3.1). Never read from the text.
fn refusal(status: u16, error: Option<&str>, empty: bool) -> Error {
    let told = || {
        format!(
            "status {status}, error {:?}",
            printable(error.unwrap_or(""))
        )
    };
    match (status, error) {
        (401, _) | (400 | 200 | 201, Some("invalid_client")) => Error::WrongSecret,
        (403, None) if empty => Error::WrongSecret,
        (_, Some("unauthorized_client" | "access_denied")) => Error::GrantRefused(told()),
        (408, _) => Trouble::Status(status)
            .after(std::time::Duration::from_secs(1))
            .into(),
        _ => Error::Misconfigured(told()),
    }
}

/// An error code as the log may show it: short and plain, whatever the IdP sent.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic())
        .take(60)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Granted, Error> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        read(&answer, Timestamp::default())
    }

    #[test]
    fn answers_are_read_tolerantly() {
        for (body, expires_in) in [
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":"3599"}"#,
                Some(3599),
            ),
            (
                r#"{"access_token":"t","token_type":"Bearer","expires_in":60.5}"#,
                Some(60),
            ),
            (r#"{"access_token":"t","expires_in":-1}"#, Some(-1)),
            (r#"{"access_token":"t","token_type":"BEARER"}"#, None),
        ] {
            for status in [200, 201] {
                let granted = answer(status, body).unwrap();
                assert_eq!(granted.expires_in, expires_in, "{body}");
                assert_eq!(granted.token.expose(), "t");
            }
        }
    }

    #[test]
    fn each_refusal_has_its_class() {
        enum Class {
            Grant,
            Misconfigured,
            Unavailable,
            Wrong,
        }
        use Class::{Grant, Misconfigured, Unavailable, Wrong};
        for (status, body, class) in [
            (401, "", Wrong),
            (401, "<html>", Wrong),
            (401, r#"{"error":"access_denied"}"#, Wrong),
            (401, r#"{"error":"unauthorized_client"}"#, Wrong),
            (400, r#"{"error":"invalid_client"}"#, Wrong),
            (403, "", Wrong),
            (400, r#"{"error":"unauthorized_client"}"#, Grant),
            (403, r#"{"error":"access_denied"}"#, Grant),
            (400, r#"{"error":"invalid_scope"}"#, Misconfigured),
            (400, r#"{"error":"invalid_target"}"#, Misconfigured),
            (400, "", Misconfigured),
            (404, "", Misconfigured),
            (302, "", Misconfigured),
            (
                200,
                r#"{"access_token":"t","token_type":"mac"}"#,
                Misconfigured,
            ),
            (200, "", Unavailable),
            (200, "[]", Unavailable),
            (200, r#"{"access_token":1}"#, Unavailable),
            (
                200,
                r#"{"access_token":"t","access_token":"u"}"#,
                Unavailable,
            ),
            (200, r#"{"access_token":"t","expires_in":[]}"#, Unavailable),
        ] {
            let error = answer(status, body).unwrap_err();
            let fits = match class {
                Grant => matches!(error, Error::GrantRefused(_)),
                Misconfigured => matches!(error, Error::Misconfigured(_)),
                Unavailable => matches!(error, Error::Unavailable(_)),
                Wrong => error == Error::WrongSecret,
            };
            assert!(fits, "{status} {body}: {error:?}");
        }
    }
}
