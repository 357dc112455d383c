//! Requests that their own clients do not finish. An upstream that waits for the rest of one is not
//! slow, and nothing may count against it: any client could take it from the others that way.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::header;
use pingora::{Error, ErrorSource, ErrorType, proxy::Session};

use super::Ctx;

/// Whether what ended as the upstream's silence was the client's: part of the body is missing, and
/// no answer has begun. After an answer's head both may go on for as long as they like.
pub(super) fn stalled(session: &mut Session, ctx: &Ctx, error: &Error) -> bool {
    let silence = *error.etype() == ErrorType::ReadTimedout;
    if !silence || *error.esource() != ErrorSource::Upstream || ctx.answered.is_some() {
        return false;
    }
    let fields = &session.req_header().headers;
    // Pingora takes what may follow an upgrade for a body.
    let has_body = session.is_http2()
        || fields.contains_key(header::CONTENT_LENGTH)
        || fields.contains_key(header::TRANSFER_ENCODING);
    // RFC 9110 section 10.1.1: this client waits to be told to go on.
    let waits = fields.contains_key(header::EXPECT) && !ctx.framing.heard();
    let untold = waits && ctx.body_received == 0;
    has_body && !untold && !session.is_body_done() && !has_more(session)
}

/// Whether more of the body has come than was taken: over HTTP/2 an upstream that takes nothing
/// makes the client wait.
fn has_more(session: &mut Session) -> bool {
    let read = pin!(session.as_downstream_mut().read_request_body());
    let polled = read.poll(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(Ok(Some(_))))
}
