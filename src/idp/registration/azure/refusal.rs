//! What Microsoft Graph refuses, and what an operator can do about it.

use super::super::Error;
use crate::{idp::call::Answer, token::json};

/// A refusal with what an operator can do about it, where that is known.
pub(super) fn cured(refused: Error, answer: &Answer) -> Error {
    let code = code(answer);
    let known = CURES
        .iter()
        .find(|(known, _)| code.as_deref() == Some(*known));
    let Some((code, cure)) = known else {
        return refused;
    };
    match refused {
        // Not a matter of access, whatever its status.
        Error::Access(told) if !is_about_access(code) => Error::Refused(format!("{told}: {cure}")),
        Error::Access(told) => Error::Access(format!("{told}: {cure}")),
        Error::Refused(told) => Error::Refused(format!("{told}: {cure}")),
        other => other,
    }
}

/// What an operator can do about a refusal, by its code.
const CURES: [(&str, &str); 6] = [
    (
        "Authorization_RequestDenied",
        "the gateway's client needs the application permission Application.ReadWrite.OwnedBy of \
         Microsoft Graph with an administrator's consent, and is an owner only of the applications \
         that it made (Application.ReadWrite.All is for all)",
    ),
    (
        "InvalidAuthenticationToken",
        "its token is not for Microsoft Graph: check the scope of the initial client and endpoint",
    ),
    ("CredentialInvalidLifetimeAsPerAppPolicy", POLICY),
    ("CredentialTypeNotAllowedAsPerAppPolicy", POLICY),
    (
        "Directory_QuotaExceeded",
        "the gateway's client owns as many objects as it may: delete applications for good, or \
         raise its quota",
    ),
    (
        "Request_UnsupportedQuery",
        "this cloud's Microsoft Graph cannot look for an application by its tag",
    ),
];

const POLICY: &str = "a policy of the tenant forbids such secrets: exempt the applications of the \
                      gateway from it (app management policy)";

fn is_about_access(code: &str) -> bool {
    ["Authorization_RequestDenied", "InvalidAuthenticationToken"].contains(&code)
}

/// `error.code` of a refusal.
pub(super) fn code(answer: &Answer) -> Option<String> {
    if answer.status.is_success() {
        return None;
    }
    let members = json::claims(&answer.body).ok()?;
    Some(members.get("error")?.get("code")?.as_str()?.to_owned())
}

/// Whether a refused service principal only lacks its application, which the directory has not
/// spread yet. Nothing but its words tells this from a request that is wrong for good.
pub(super) fn lacks_application(answer: &Answer) -> bool {
    let Ok(members) = json::claims(&answer.body) else {
        return false;
    };
    let message = members
        .get("error")
        .and_then(|error| error.get("message")?.as_str());
    message.is_some_and(|message| message.contains("does not reference a valid application object"))
}
