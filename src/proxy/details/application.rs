//! What a verified client may do.

use crate::{
    directory::Directory,
    model::{
        application::{Application, Registration, Status},
        check::Check,
        scope::{ScopeRule, Scopes},
        time::Timestamp,
    },
    proxy::{
        api::{Access, Api},
        authenticate::Caller,
    },
    telemetry::checks::{Checks, Outcome, quoted},
};

use super::away;

fn outcome(good: bool) -> Outcome {
    match good {
        true => Outcome::Passed,
        false => Outcome::Failed,
    }
}

/// Tells whether there are applications at all.
pub(in crate::proxy) fn directory(checks: &Checks, directory: &Directory) {
    let loaded = directory.is_loaded();
    checks.note(Check::Directory, outcome(loaded), || match loaded {
        true => match directory.len() {
            1 => "1 application".to_owned(),
            count => format!("{count} applications"),
        },
        false => "the applications could not be read yet".to_owned(),
    });
}

/// A client that stands in no application.
pub(in crate::proxy) fn unknown_application(api: &Api, caller: &Caller) -> String {
    let id = quoted(caller.verified.facts.client_id.as_str());
    let strategy = &caller.strategy.config.name;
    match api.config.access {
        Access::Client => format!("none of {strategy} has the client id {id}; access: client"),
        _ => format!("none of {strategy} has the client id {id}"),
    }
}

/// Tells which application a client is, and whether it is active.
pub(in crate::proxy) fn application(checks: &Checks, caller: &Caller, known: &Application) {
    checks.passed(Check::Application, || {
        let id = quoted(caller.verified.facts.client_id.as_str());
        format!(
            "{} of {}, {}, client id {id}",
            quoted(&known.name),
            quoted(&known.developer),
            known.id
        )
    });
    let active = known.status == Status::Active;
    checks.note(Check::ApplicationStatus, outcome(active), || match active {
        true => "active".to_owned(),
        false => "suspended".to_owned(),
    });
}

/// Tells how far an application's registration has come.
pub(in crate::proxy) fn registration(checks: &Checks, api: &Api, known: &Application) {
    let name = &api.config.name;
    if api.config.access != Access::Registered {
        return checks.skipped(Check::Registration, || {
            format!("the access of {name} asks for none")
        });
    }
    let found = known.registration(name);
    let good = found == Some(Registration::Approved);
    checks.note(Check::Registration, outcome(good), || {
        let word = match found {
            Some(Registration::Approved) => "approved",
            Some(Registration::Pending) => "pending",
            Some(Registration::Rejected) => "rejected",
            Some(Registration::Revoked) => "revoked",
            None => "none",
        };
        format!("for {name}: {word}")
    });
}

/// Tells which scopes are granted, and which are needed.
pub(in crate::proxy) fn scopes(
    checks: &Checks,
    granted: &Scopes,
    rules: [&ScopeRule; 2],
    allowed: bool,
) {
    checks.note(Check::Scopes, outcome(allowed), || {
        let granted = quoted(granted.as_str());
        let needed: Vec<String> = ["strategy", "API"]
            .iter()
            .zip(rules)
            .filter(|(_, rule)| !rule.is_empty())
            .map(|(of, rule)| format!("the {of} asks for {rule}"))
            .collect();
        match needed.is_empty() {
            true => format!("granted {granted}; none is asked for"),
            false => format!("granted {granted}; {}", needed.join(", ")),
        }
    });
}

/// Tells whether a credential is older than a change of the application's.
pub(in crate::proxy) fn valid_from(
    checks: &Checks,
    known: Option<&Application>,
    made: Option<Timestamp>,
    withdrawn: bool,
) {
    let changed = known.map(|known| known.credentials_valid_from);
    let Some(changed) = changed.filter(|changed| *changed > Timestamp::default()) else {
        return;
    };
    checks.note(Check::CredentialsValidFrom, outcome(!withdrawn), || {
        let made = match made {
            // Seen from the change, not from now.
            Some(made) if made < changed => {
                format!("{} before", away(changed, made).replace("in ", ""))
            }
            Some(_) => "after".to_owned(),
            None => "nobody knows whether after".to_owned(),
        };
        format!("the credential was made {made} credentials_valid_from")
    });
}
