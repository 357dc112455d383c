//! What an answer of the upstream may be on the client's connection: interim, a change of protocol,
//! or framed in a way that the client cannot read.

use http::{StatusCode, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::KEEPALIVE;

/// What one exchange has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing {
    /// The request that was sent asks to change the protocol.
    upgrades: bool,
    /// An interim answer came on a connection that was to be kept.
    continued: bool,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer itself.
    Final,
    /// 1xx: another one follows.
    Interim,
    /// 101: a tunnel from here on.
    Switch,
}

/// Prepares a client's connection for what may come back: interim answers came with HTTP/1.1
/// (RFC 9110 section 15.2), and an older client would take one for the answer.
pub fn prepare(session: &mut Session) {
    if session.req_header().version < Version::HTTP_11 {
        session.as_downstream_mut().set_ignore_info_resp(true);
    }
}

impl Framing {
    /// Notes what is sent to the upstream.
    pub fn sent(&mut self, request: &RequestHeader) {
        self.upgrades = request.headers.contains_key(header::UPGRADE);
    }

    /// Says what an answer is, and makes it one that the client can read.
    ///
    /// # Errors
    /// A 101 that nobody asked for (RFC 9110 section 15.2.2), whose tunnel no hook has judged.
    pub fn received(
        &mut self,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> pingora::Result<Kind> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            if self.upgrades {
                return Ok(Kind::Switch);
            }
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "unasked 101").into_up());
        }
        if response.status.is_informational() {
            self.continued = session.get_keepalive().is_some();
            return Ok(Kind::Interim);
        }
        if self.continued && session.is_body_done() {
            // Pingora takes an interim answer for one before the end of the request, and would
            // close the connection although all of the body was read since.
            session.set_keepalive(Some(KEEPALIVE));
        }
        if session.req_header().version < Version::HTTP_11 {
            // RFC 9112 section 6.1: such a client reads no chunks, but up to the end.
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        Ok(Kind::Final)
    }
}
