//! Asking the IdP whether a token is active (RFC 7662).

use super::{
    AuthMethod, Provider,
    call::{self, Endpoint, Trouble, Unavailable},
    told,
};
use crate::{
    model::{check::Check, credential::Token},
    telemetry::checks::Checks,
    token::json,
};

/// What the endpoint said, not yet judged.
#[derive(Debug)]
pub enum Answer {
    /// A JSON body that says more.
    Body(Vec<u8>),
    /// Not a token of this endpoint: Curity answers 204 for one that is not active, RFC 7009
    /// section 2.2.1 gives `unsupported_token_type`.
    NotSupported,
}

/// Asks the introspection endpoint with the gateway's own credentials. The token goes in the form,
/// never in the address (RFC 7662 section 4).
///
/// # Errors
/// [`Unavailable`] where the IdP gave no answer to the question. A refusal of the gateway's own
/// credentials is one too, and an alarm: no caller is to blame.
pub async fn ask(
    provider: &Provider,
    token: Token<'_>,
    checks: &Checks,
) -> Result<Answer, Unavailable> {
    let (metadata, url) = provider.endpoint(Endpoint::Introspection, checks).await?;
    let retry = std::time::Duration::from_secs(1);
    let Some((id, secret)) = &provider.config().client else {
        return Err(Trouble::UnknownAddress(Endpoint::Introspection).after(retry));
    };
    let config = provider.config();
    let method = (config.introspection_endpoint_auth_method)
        .or(config.token_endpoint_auth_method)
        .or(metadata.introspection_auth)
        .or(config.vendor.preset().introspection)
        .unwrap_or(AuthMethod::ClientSecretPost);
    let fields = vec![
        ("token", token.expose().into()),
        ("token_type_hint", "access_token".into()),
    ];
    told::request(checks, Check::IntrospectionRequest, &url, method, &fields);
    let request = provider.form(url, method, id, secret, fields);
    let answer = provider
        .caller()
        .send(Endpoint::Introspection, request)
        .await;
    let refused = answer.as_ref().is_ok_and(|answer| !is_answer(answer));
    let problem = refused.then_some("it refuses the gateway itself: check `client`");
    let hidden = || vec![token.expose().to_owned(), secret.expose().to_owned()];
    told::answer(
        checks,
        Check::IntrospectionAnswer,
        answer.as_ref(),
        problem,
        hidden,
    );
    let answer = answer?;
    match answer.status.as_u16() {
        200 => Ok(Answer::Body(answer.body)),
        204 => Ok(Answer::NotSupported),
        400 if is_unsupported(&answer.body) => Ok(Answer::NotSupported),
        status => {
            tracing::error!(
                identity_provider = &*provider.config().name,
                status,
                "the introspection endpoint refuses the gateway itself: check `client`"
            );
            Err(Trouble::Status(status).after(retry))
        }
    }
}

/// Whether it says something of the token.
fn is_answer(answer: &call::Answer) -> bool {
    matches!(answer.status.as_u16(), 200 | 204)
        || answer.status.as_u16() == 400 && is_unsupported(&answer.body)
}

fn is_unsupported(body: &[u8]) -> bool {
    json::claims(body).is_ok_and(|claims| {
        claims.get("error").and_then(|error| error.as_str()) == Some("unsupported_token_type")
    })
}
