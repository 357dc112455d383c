//! What a refusal means and what can be done about it, for operators: a sentence each for every
//! reason that the log can give.
//!
//! A [`Denial`](super::denial::Denial) that knows its cure better says so itself. Nothing here is
//! ever told to clients.

mod reasons;

use super::denial::Code;
use reasons::{BY_CODE_AND_REASON, BY_REASON};

/// A refusal in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub cure: &'static str,
}

/// Explains a refusal: by code and reason, else by reason, else by code.
pub fn of(code: Code, reason: &str) -> Explanation {
    let of_code = BY_CODE_AND_REASON
        .iter()
        .find(|(known, word, ..)| *known == code && *word == reason)
        .map(|(_, _, meaning, cure)| Explanation { meaning, cure });
    let of_reason = || {
        let row = BY_REASON.iter().find(|(word, ..)| *word == reason)?;
        Some(Explanation {
            meaning: row.1,
            cure: row.2,
        })
    };
    of_code.or_else(of_reason).unwrap_or_else(|| by_code(code))
}

/// What a code means where nothing is known of the reason.
fn by_code(code: Code) -> Explanation {
    let (meaning, cure) = match code {
        Code::AmbiguousPath => (
            "The path could be read in several ways.",
            "Have the client send a plain path, or see paths_as_sent.",
        ),
        Code::ApplicationSuspended
        | Code::InsufficientScope
        | Code::RegistrationPending
        | Code::RegistrationRejected
        | Code::RegistrationRequired
        | Code::RegistrationRevoked
        | Code::UnknownApplication => (
            "The client is known, and may not call this API as it is.",
            "Look at the application in the file of applications.",
        ),
        Code::BodyTooLarge | Code::HeaderTooLarge | Code::RequestTimeout => {
            ("The request passes one of the limits.", "See limits.")
        }
        Code::CredentialsRequired => (
            "The API needs a credential of one of its strategies.",
            "Have the client send one; see auth_methods of the API's strategies.",
        ),
        Code::CrossSiteRequest => (
            "The request comes from a page of another site.",
            "See cors of the API.",
        ),
        Code::GrantRefused => (
            "The identity provider denies this client access.",
            "Look at the client's grants and policies at the identity provider.",
        ),
        Code::HttpsRequired => ("The port speaks https.", "Have the client ask by https://."),
        Code::IdentityProviderMisconfigured => (
            "The gateway and the identity provider do not fit together; no caller is to blame.",
            "Compare the strategy with what the identity provider issues; see the log.",
        ),
        Code::IdentityProviderUnavailable => (
            "The identity provider gave no usable answer, and nothing is remembered.",
            "Look at the identity provider; see the log.",
        ),
        Code::Internal => ("The gateway failed.", "Report it with the log."),
        Code::InvalidClient => (
            "The client id or the secret is wrong.",
            "Check both, and that the application stands under this strategy.",
        ),
        Code::InvalidRequest => ("The request is malformed.", "Look at the client."),
        Code::InvalidSession => (
            "The session does not hold any more.",
            "Have the client authenticate again.",
        ),
        Code::InvalidToken => (
            "The token is not accepted.",
            "Have the client get a new one; `dcr-gateway explain` shows each check.",
        ),
        Code::MethodNotAllowed => (
            "The route does not list the method.",
            "See methods of the route.",
        ),
        Code::NoRoute => (
            "No API has this host and path.",
            "See hosts and paths of apis[].routes.",
        ),
        Code::NotReady => (
            "The gateway is not ready yet.",
            "See /readyz on the admin address.",
        ),
        Code::Overloaded => (
            "As much is under way as may be.",
            "Look at what is slow, or raise the limit.",
        ),
        Code::Permit => ("The request was let through.", "Nothing is to be done."),
        Code::TooManyAttempts => (
            "Too many wrong credentials came.",
            "Correct the client, and wait for as long as Retry-After says.",
        ),
        Code::UpstreamFailed | Code::UpstreamTimeout | Code::UpstreamUnavailable => (
            "The upstream failed; the credential was good.",
            "Look at the upstream; see the log.",
        ),
    };
    Explanation { meaning, cure }
}

#[cfg(test)]
mod tests;
