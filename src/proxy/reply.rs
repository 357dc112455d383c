//! Answers that are the gateway's own, and when they are sent.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode, header};
use pingora::{Error, ErrorSource, ErrorType, http::ResponseHeader, proxy::Session};

use super::{
    Ctx, cors,
    denial::{self, Answer, Code, Denial},
    head::declared_length,
    headers,
    upstream::trouble::Trouble,
};

/// Declared bodies up to this size are read before a refusal is sent, so that the connection can
/// stay; a larger one costs the client its connection.
const DRAINED: u64 = 64 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Where browsers say whether a person goes somewhere or a page fetches something.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Sends an answer of our own; the connection stays where nothing of the request is left on it.
pub(super) async fn send(session: &mut Session, ctx: &Ctx, answer: Answer) -> pingora::Result<()> {
    let head = session.req_header().method == Method::HEAD;
    let expects = session.req_header().headers.contains_key(header::EXPECT);
    let declared = declared_length(session.req_header());
    if declared.is_some_and(|length| length > 0 && length <= DRAINED) && !expects {
        session
            .as_downstream_mut()
            .set_total_drain_timeout(Some(DRAIN_TIME));
        // A body that does not come costs the client its connection, nothing else.
        let _ = session.as_downstream_mut().drain_request_body().await;
    }
    let (mut response, ()) = http::Response::new(()).into_parts();
    response.status = answer.status;
    let fields = &mut response.headers;
    // Pingora adds two or three.
    fields.reserve(answer.headers.len() + 5);
    for (name, value) in answer.headers {
        fields.append(name, value);
    }
    if answer.status != StatusCode::NO_CONTENT {
        fields.insert(header::CONTENT_LENGTH, answer.body.len().into());
    }
    fields.insert(headers::REQUEST_ID, ctx.id.clone());
    let response = ResponseHeader::from(response);
    let empty = head || answer.body.is_empty();
    session
        .write_response_header(Box::new(response), empty)
        .await?;
    if !empty {
        session.write_response_body(Some(answer.body), true).await?;
    }
    Ok(())
}

/// Refuses a request and remembers why.
pub(super) async fn refuse(
    session: &mut Session,
    ctx: &mut Ctx,
    denial: Denial,
) -> pingora::Result<()> {
    let mode = session.req_header().headers.get(SEC_FETCH_MODE);
    let page_fetch = mode.is_some_and(|mode| mode != "navigate");
    let challenges = ctx.api.as_ref().map(|api| &api.challenges);
    let id = ctx.id.to_str().unwrap_or_default();
    let mut answer = denial::answer(&denial, challenges, page_fetch, id);
    if let Some(cors) = ctx.api.as_ref().and_then(|api| api.cors.as_ref()) {
        let fields = cors.fields(&session.req_header().headers);
        answer.headers.extend(fields);
        let vary = cors.varies().then_some((header::VARY, cors::VARY));
        answer.headers.extend(vary);
    }
    ctx.code = denial.code;
    ctx.denial = Some(denial);
    send(session, ctx, answer).await
}

/// Whose fault a failed exchange is; `None` where the client itself went away.
pub(super) fn failure(error: &Error) -> Option<Denial> {
    let denial = match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(413)) => Denial::new(Code::BodyTooLarge, "body"),
        (ErrorSource::Upstream, _) => {
            let Trouble { code, reason } = Trouble::of(error);
            Denial::new(code, reason)
        }
        (
            ErrorSource::Downstream,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error,
        ) => return None,
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => {
            Denial::new(Code::RequestTimeout, "body_too_slow")
        }
        (ErrorSource::Downstream, _) => Denial::new(Code::InvalidRequest, "malformed"),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Denial::new(Code::Internal, "proxy"),
    };
    Some(denial)
}
