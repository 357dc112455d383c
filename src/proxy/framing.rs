//! What an answer of the upstream may be on the client's connection: interim, a change of protocol,
//! or framed in a way that the client cannot read.

use http::{StatusCode, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::KEEPALIVE;

/// Most interim answers to one request: each is work, and none of them ends the wait.
const MOST_INTERIM: u8 = 100;

/// What one exchange has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing {
    /// The request that was sent asks to change the protocol.
    upgrades: bool,
    /// An interim answer came on a connection that was to be kept.
    continued: bool,
    /// Interim answers to this try.
    interim: u8,
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

/// What is wrong with a 101 that nobody may have asked for.
pub fn unasked() -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, "unasked 101").into_up()
}

impl Framing {
    /// Notes what is sent to the upstream, anew for each try.
    pub fn sent(&mut self, request: &RequestHeader) {
        self.interim = 0;
        self.upgrades = request.headers.contains_key(header::UPGRADE);
    }

    /// Whether an interim answer came.
    pub fn heard(&self) -> bool {
        self.interim > 0
    }

    /// Says what an answer is, and makes it one that the client can read.
    ///
    /// # Errors
    /// A 101 that nobody asked for (RFC 9110 section 15.2.2), whose tunnel no hook has judged; a
    /// body whose end may be read in two ways; more interim answers than anybody needs.
    pub fn received(
        &mut self,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> pingora::Result<Kind> {
        check_coding(response)?;
        if response.version < Version::HTTP_11 {
            // Ours is the version on the client's connection (RFC 9110 section 2.5).
            response.set_version(Version::HTTP_11);
        }
        if response.status.is_informational() || response.status == StatusCode::NO_CONTENT {
            // RFC 9110 section 8.6, RFC 9112 section 6.1: there is no body to measure.
            response.remove_header(&header::TRANSFER_ENCODING);
            response.remove_header(&header::CONTENT_LENGTH);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            if self.upgrades {
                return Ok(Kind::Switch);
            }
            return Err(unasked());
        }
        if response.status.is_informational() {
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                let endless = ErrorType::Custom("too_many_interim_answers");
                return Err(Error::explain(endless, "1xx without end").into_up());
            }
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

/// A receiver behind us may know codings that we do not, or none, and then finds the end of the body
/// elsewhere (RFC 9112 section 6.1).
fn check_coding(response: &ResponseHeader) -> pingora::Result<()> {
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if chunked && codings.next().is_none() && response.version >= Version::HTTP_11 {
        return Ok(());
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "unfit Transfer-Encoding").into_up())
}
