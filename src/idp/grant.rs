//! Exchanging a client id and secret for an access token (RFC 6749 section 4.4).

use super::{
    Provider,
    call::{Answer, Endpoint, Trouble, Unavailable},
    told::{self, repeated::repeats},
    vendor::{Class, Preset, Wanted},
};
use crate::{
    model::{
        check::Check,
        claims::{Claims, Value},
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
    GrantRefused(Refused),
    /// What the gateway asked for is wrong: scope, audience, address.
    #[error("the identity provider refuses what the gateway asks for: {0}")]
    Misconfigured(Refused),
    /// No usable answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The IdP does not know the id with this secret.
    #[error("the identity provider refuses the client id and secret: {0}")]
    WrongSecret(Refused),
}

/// What the token endpoint said, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{told}")]
pub struct Refused {
    /// Status and error code, fit for the log.
    pub told: String,
    /// What an operator can do about it, where that is known.
    pub cure: Option<&'static str>,
}

impl Error {
    /// The same, fit for the log where the IdP has sent the secret back.
    fn without(mut self, secret: &Secret) -> Self {
        if let Self::GrantRefused(refused)
        | Self::Misconfigured(refused)
        | Self::WrongSecret(refused) = &mut self
            && repeats(&refused.told, secret.expose())
        {
            refused.told = "an answer that repeats the secret".to_owned();
        }
        self
    }
}

/// Asks the token endpoint.
///
/// # Errors
/// See [`Error`]; only [`Error::WrongSecret`] says anything about the pair.
pub async fn exchange<'a>(
    provider: &Provider,
    client_id: &'a ClientId,
    secret: &'a Secret,
    wanted: &Wanted<'a>,
    asked: Timestamp,
    checks: &Checks,
) -> Result<Granted, Error> {
    let (metadata, url) = provider.endpoint(Endpoint::Token, checks).await?;
    let method = provider.token_auth(&metadata);
    let preset = provider.config().vendor.preset();
    let mut fields = vec![("grant_type", "client_credentials".into())];
    fields.extend(preset.fields(wanted, &url));
    told::request(checks, Check::TokenRequest, &url, method, &fields);
    let request = provider.form(url, method, client_id, secret, fields);
    let answer = provider.caller().send(Endpoint::Token, request).await;
    let granted = match &answer {
        Ok(answer) => read(answer, preset, asked),
        Err(unavailable) => Err(unavailable.clone().into()),
    };
    let granted = granted.map_err(|error| error.without(secret));
    let hidden = || {
        let secret = secret.expose();
        // The id alone may show.
        vec![secret.to_owned()]
    };
    told::granted(checks, answer.as_ref(), granted.as_ref().err(), hidden);
    granted
}

/// Reads the token endpoint's answer (RFC 6749 sections 5.1 and 5.2), tolerantly in what does not
/// matter: the status may be 201, `expires_in` a text, `token_type` absent or in any case.
///
/// # Errors
/// As [`exchange`], whose calls have sorted out the statuses that are no answer.
pub fn read(answer: &Answer, preset: &Preset, asked: Timestamp) -> Result<Granted, Error> {
    let claims = json::claims(&answer.body).ok();
    let text = |name| {
        claims
            .as_ref()
            .and_then(|claims| claims.get(name)?.as_str())
    };
    let error = text("error");
    if !matches!(answer.status.as_u16(), 200 | 201) || error.is_some() {
        let description = text("error_description").unwrap_or_default();
        return Err(refusal(answer, error, description, preset));
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
        Some(_) => {
            return Err(Error::Misconfigured(Refused {
                told: "token_type is not Bearer".to_owned(),
                cure: Some("let the client have bearer tokens, bound to no key (DPoP, mTLS)"),
            }));
        }
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
fn expires_in(claims: &Claims<'_>) -> Result<Option<i64>, ()> {
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

/// Whose fault a refusal is (design sections 2 and 3.1). Never read from the description, which
/// picks the advice alone.
fn refusal(answer: &Answer, error: Option<&str>, description: &str, preset: &Preset) -> Error {
    let status = answer.status.as_u16();
    let code = error.unwrap_or_default();
    let class = match (status, error) {
        (401, _) | (400 | 200 | 201, Some("invalid_client")) => Class::WrongSecret,
        (403, None) if answer.body.is_empty() => Class::WrongSecret,
        (408, _) => {
            let retry = std::time::Duration::from_secs(1);
            return Trouble::Status(status).after(retry).into();
        }
        _ => preset.class(status, code).unwrap_or(match code {
            "unauthorized_client" | "access_denied" => Class::GrantRefused,
            _ => Class::Misconfigured,
        }),
    };
    let refused = Refused {
        told: format!("status {status}, error {:?}", printable(code)),
        cure: preset.advice(code, description),
    };
    match class {
        Class::GrantRefused => Error::GrantRefused(refused),
        Class::Misconfigured => Error::Misconfigured(refused),
        Class::WrongSecret => Error::WrongSecret(refused),
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
    use crate::idp::vendor::Vendor;

    fn answer(status: u16, body: &str) -> Result<Granted, Error> {
        answer_of(Vendor::Generic, status, body)
    }

    fn answer_of(vendor: Vendor, status: u16, body: &str) -> Result<Granted, Error> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        read(&answer, vendor.preset(), Timestamp::default())
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
        let (grant, misconfigured) = (Some(Class::GrantRefused), Some(Class::Misconfigured));
        let wrong = Some(Class::WrongSecret);
        let generic = [
            (401, "", wrong),
            (401, "<html>", wrong),
            (401, r#"{"error":"access_denied"}"#, wrong),
            (401, r#"{"error":"unauthorized_client"}"#, wrong),
            (400, r#"{"error":"invalid_client"}"#, wrong),
            (403, "", wrong),
            (400, r#"{"error":"unauthorized_client"}"#, grant),
            (403, r#"{"error":"access_denied"}"#, grant),
            (400, r#"{"error":"invalid_scope"}"#, misconfigured),
            (400, r#"{"error":"invalid_target"}"#, misconfigured),
            (400, "", misconfigured),
            (404, "", misconfigured),
            (302, "", misconfigured),
            (
                200,
                r#"{"access_token":"t","token_type":"mac"}"#,
                misconfigured,
            ),
            (200, "", None),
            (200, "[]", None),
            (200, r#"{"access_token":1}"#, None),
            (200, r#"{"access_token":"t","access_token":"u"}"#, None),
            (200, r#"{"access_token":"t","expires_in":[]}"#, None),
        ];
        let own = [
            (
                Vendor::Auth0,
                403,
                r#"{"error":"access_denied"}"#,
                misconfigured,
            ),
            (Vendor::Auth0, 401, r#"{"error":"access_denied"}"#, wrong),
            (
                Vendor::Auth0,
                403,
                r#"{"error":"unauthorized_client"}"#,
                grant,
            ),
            (
                Vendor::Azure,
                400,
                r#"{"error":"unauthorized_client"}"#,
                wrong,
            ),
            (Vendor::Azure, 400, r#"{"error":"invalid_grant"}"#, grant),
            (Vendor::Okta, 400, r#"{"error":"access_denied"}"#, grant),
        ];
        let generic = generic.map(|(status, body, class)| (Vendor::Generic, status, body, class));
        for (vendor, status, body, class) in generic.into_iter().chain(own) {
            let error = answer_of(vendor, status, body).unwrap_err();
            let found = match &error {
                Error::GrantRefused(_) => Some(Class::GrantRefused),
                Error::Misconfigured(_) => Some(Class::Misconfigured),
                Error::WrongSecret(_) => Some(Class::WrongSecret),
                Error::Unavailable(_) => None,
            };
            assert_eq!(found, class, "{vendor:?} {status} {body}: {error:?}");
        }
    }
}
