//! What went wrong between the gateway and an upstream, as a fixed word for the log and the status
//! for the client.

use pingora::{Error, ErrorType};

use crate::proxy::denial::Code;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What the client is told.
    pub(crate) code: Code,
    /// The reason in the log.
    pub(crate) reason: &'static str,
}

impl Trouble {
    /// The kind of an error whose source is the upstream.
    pub(crate) fn of(error: &Error) -> Self {
        let (code, reason) = match error.etype() {
            ErrorType::ConnectTimedout => (Code::UpstreamTimeout, "connect_timed_out"),
            ErrorType::TLSHandshakeTimedout => (Code::UpstreamTimeout, "tls_timed_out"),
            ErrorType::ReadTimedout => (Code::UpstreamTimeout, "read_timed_out"),
            ErrorType::WriteTimedout => (Code::UpstreamTimeout, "write_timed_out"),
            ErrorType::ConnectRefused => (Code::UpstreamFailed, "connect_refused"),
            ErrorType::ConnectNoRoute => (Code::UpstreamFailed, "connect_no_route"),
            ErrorType::ConnectError => (Code::UpstreamFailed, "connect_failed"),
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => {
                (Code::UpstreamFailed, tls(&error.to_string()))
            }
            ErrorType::InvalidHTTPHeader | ErrorType::H1Error => {
                (Code::UpstreamFailed, "malformed_answer")
            }
            ErrorType::H2Error | ErrorType::H2Downgrade | ErrorType::InvalidH2 => {
                (Code::UpstreamFailed, "http2_failed")
            }
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => {
                (Code::UpstreamFailed, "connection_lost")
            }
            ErrorType::Custom(reason) => (Code::UpstreamFailed, *reason),
            // The system gave no socket: too many open files, no free port.
            ErrorType::InternalError => (Code::Internal, "no_socket"),
            _ => (Code::UpstreamFailed, "upstream"),
        };
        Self { code, reason }
    }

    /// Whether the upstream is to blame, not this machine.
    pub(crate) fn is_theirs(self) -> bool {
        self.code != Code::Internal
    }
}

/// Why a TLS handshake failed. Pingora hands on rustls' error as text only.
fn tls(error: &str) -> &'static str {
    let Some((_, certificate)) = error.split_once("invalid peer certificate: ") else {
        return "tls_failed";
    };
    let is = |words: &str| certificate.starts_with(words);
    // An authority of a trusted name with another key signs wrongly.
    if is("UnknownIssuer") || is("BadSignature") {
        "tls_certificate_untrusted"
    } else if is("certificate not valid for name") || is("NotValidForName") {
        "tls_certificate_name"
    } else if is("certificate expired") || is("Expired") {
        "tls_certificate_expired"
    } else if is("certificate not valid yet") || is("NotValidYet") {
        "tls_certificate_not_valid_yet"
    } else {
        "tls_certificate_invalid"
    }
}

/// What the system or rustls says about a failed connect, for the log. Nothing was sent and nothing
/// of an answer read by then, so it holds nothing of either.
pub(crate) fn detail(error: &Error) -> Box<str> {
    const MOST: usize = 300;
    let whole = error.to_string();
    // The innermost words say most; what Pingora puts around them repeats the whole peer.
    let text = match whole.split_once("TLS connect() failed:") {
        Some((_, rest)) => {
            let rest = rest.split(", SNI: ").next().unwrap_or(rest);
            rest.rsplit("cause: ").next().unwrap_or(rest).to_owned()
        }
        None => error.root_cause().to_string(),
    };
    text.trim().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_failures_have_names() {
        for (text, reason) in [
            ("TLS connect() failed: eof, SNI: a", "tls_failed"),
            (
                "x invalid peer certificate: UnknownIssuer, SNI: a",
                "tls_certificate_untrusted",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is \
                 only valid for DnsName(\"b\")",
                "tls_certificate_name",
            ),
            (
                "invalid peer certificate: certificate expired: verification time 5 (UNIX)",
                "tls_certificate_expired",
            ),
            (
                "invalid peer certificate: certificate not valid yet: x",
                "tls_certificate_not_valid_yet",
            ),
            (
                "invalid peer certificate: BadSignature",
                "tls_certificate_untrusted",
            ),
            (
                "invalid peer certificate: BadEncoding",
                "tls_certificate_invalid",
            ),
        ] {
            assert_eq!(tls(text), reason, "{text}");
        }
    }
}
