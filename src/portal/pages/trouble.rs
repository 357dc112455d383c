//! What a page says where something was refused: what happened, and what to do.

use askama::Template;

use crate::portal::api::problem::Problem;

/// A refusal, as people read it.
#[derive(Clone, Debug, Template)]
#[template(path = "trouble.html", config = ".askama.toml")]
pub(super) struct Trouble {
    title: &'static str,
    detail: Option<String>,
    /// What the operator is told in its place.
    whole: Option<String>,
    advice: Option<String>,
    /// Where, and what was expected: those that no field shows.
    faults: Vec<(String, String)>,
    code: &'static str,
    /// For whoever has to find it in the log.
    request_id: Option<String>,
}

impl Trouble {
    /// Of a problem.
    pub(super) fn new(problem: &Problem, request_id: &str) -> Self {
        let faults = problem.faults();
        Self {
            title: problem.title(),
            detail: problem.clone().for_developers().detail().map(sentence),
            whole: problem.detail().map(sentence),
            advice: advice(problem),
            faults: faults
                .map(|(field, reason)| (field.to_owned(), reason.to_owned()))
                .collect(),
            code: problem.code(),
            request_id: problem
                .status()
                .is_server_error()
                .then(|| request_id.to_owned()),
        }
    }

    /// The same for the operator, if it is one who reads it.
    pub(super) fn told_to_operator(self, is_operator: bool) -> Self {
        if !is_operator {
            return self;
        }
        let advice = match self.code {
            "client_gone" => {
                "The client was deleted there by somebody else. Delete this application, and make a new one."
            }
            "identity_provider_access" | "identity_provider_refused" => {
                "Nothing was kept. Look at what it says here, and verify the provider on its page."
            }
            "identity_provider_unusable" => {
                "Nothing was kept. Verify the provider on its page: it says what is missing."
            }
            "identity_provider_timeout" | "identity_provider_unavailable" => {
                "Nothing was kept. Try again in a minute; if it stays so, verify the provider on its page."
            }
            "internal" | "registry_unreadable" => {
                "The gateway's log says more, under the request's id."
            }
            "unfinished" => {
                "The gateway refuses its calls already, and goes on asking the identity provider to delete the client."
            }
            _ => "",
        };
        let own = (!advice.is_empty()).then(|| advice.to_owned());
        Self {
            detail: self.whole.clone(),
            advice: own.or(self.advice),
            ..self
        }
    }

    /// Takes out what is wrong with a field, to be shown beside it.
    pub(super) fn take(&mut self, field: &str) -> Option<String> {
        let is_of = |known: &str| {
            known
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let place = self.faults.iter().position(|(known, _)| is_of(known))?;
        Some(sentence(&self.faults.remove(place).1))
    }
}

/// A part of a sentence as a whole one.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let mut whole = first.unwrap_or_default() + letters.as_str();
    if !whole.ends_with(['.', '!', '?']) {
        whole.push('.');
    }
    whole
}

/// What to do about it, where the problem does not say so itself.
fn advice(problem: &Problem) -> Option<String> {
    let text = match problem.code() {
        "changed" => {
            "Somebody has changed it since this page was opened. Open it again, and make your change there."
        }
        "form_expired" | "idempotency_key_reused" => "Open the page again, and send it once more.",
        "client_gone" => "Delete this application and make a new one.",
        "identity_provider_access" | "identity_provider_refused" | "identity_provider_unusable" => {
            "Nothing was kept. Tell the operator of this portal what it says here."
        }
        "identity_provider_timeout" | "identity_provider_unavailable" => {
            "Nothing was kept. Try again in a minute; if it stays so, tell the operator of this portal."
        }
        "internal" | "registry_unreadable" => "Tell the operator of this portal the request's id.",
        "invalid_parameters" => "Mend what is marked, and send it again.",
        "invitation_over" => "Invitations are good once, for seven days.",
        "operation_in_progress" => "Wait a few seconds, then look again.",
        "registry_unavailable" | "overloaded" => "Try again in a minute.",
        "too_many_attempts" | "too_many_requests" => {
            let wait = problem.retry_after().map_or(60, |wait| wait.as_secs() + 1);
            return Some(format!("Try again in {wait} seconds."));
        }
        "wrong_password" => {
            "Look for typing errors. The operator of this portal can send you a new invitation, with which you set a new password."
        }
        "wrong_token" => "It is the value of admin.token in the gateway's configuration.",
        _ => return None,
    };
    Some(text.to_owned())
}
