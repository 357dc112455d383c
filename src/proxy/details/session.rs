//! What a session cookie says, and whether it holds.

use crate::{
    model::{check::Check, time::Timestamp},
    proxy::{authenticate::Request, state::State, strategy::Strategy},
    telemetry::checks::{Checks, quoted},
    token::session::Session,
};

use super::away;

/// Tells of a cookie that does not open.
pub(in crate::proxy) fn sealed(checks: &Checks, state: &State, name: &str) {
    checks.failed(Check::SessionOpens, || {
        let keys = match state.config.session_keys.len() {
            0 => "the key that was made at start; session_keys are not configured".to_owned(),
            1 => "the one session key".to_owned(),
            count => format!("any of the {count} session keys"),
        };
        format!("{name} was not sealed by {keys}, or not under this name, or was changed or cut")
    });
}

/// Tells of a session of a strategy that the API does not list.
pub(in crate::proxy) fn foreign_session(checks: &Checks, session: &Session) {
    checks.skipped(Check::SessionOpens, || {
        format!(
            "it opens, but is of the strategy {}, which this API does not list or which does not \
             list session: it counts as absent",
            quoted(&session.strategy)
        )
    });
}

/// Tells of a session that was opened.
pub(in crate::proxy) fn opened(checks: &Checks, session: &Session) {
    checks.passed(Check::SessionOpens, || {
        format!(
            "{}: client {}",
            session.strategy,
            quoted(session.client_id.as_str())
        )
    });
}

/// Tells whether an opened session holds, in the order in which that was judged.
pub(in crate::proxy) fn session(
    checks: &Checks,
    strategy: &Strategy,
    session: &Session,
    now: Timestamp,
    held: Result<(), &'static str>,
) {
    if !checks.is_on() {
        return;
    }
    let name = &strategy.config.name;
    if held == Err("strategy_changed") {
        return checks.failed(Check::SessionBinding, || {
            format!(
                "{name}: its issuer, credential_claim, audience or claim_headers have changed \
                 since the session began"
            )
        });
    }
    checks.passed(Check::SessionBinding, || format!("{name}: as it was"));
    let times = || {
        format!(
            "begun {}, last sealed {}, ends {} at the latest, {} if it is not used",
            away(session.begun, now),
            away(session.sealed, now),
            away(session.absolute_end, now),
            away(session.idle_end, now),
        )
    };
    if let Err(error) = session.judge(now) {
        return checks.failed(Check::SessionTimes, || format!("{error}: {}", times()));
    }
    checks.passed(Check::SessionTimes, times);
    if held == Err("logged_out") {
        return checks.failed(Check::SessionLogout, || "it was logged out".to_owned());
    }
    checks.skipped(Check::SessionLogout, || {
        "no logout is known here; a running gateway knows those that came to it".to_owned()
    });
    let application = strategy.applications.find(session.client_id.as_str());
    let withdrawn = held == Err("credentials_changed");
    let application = application.as_deref();
    super::application::valid_from(checks, application, Some(session.begun), withdrawn);
}

/// Tells whether a request comes from a page that may not use the cookie.
pub(in crate::proxy) fn cross_site(checks: &Checks, request: &Request<'_>, foreign: bool) {
    let field = |name: &str| {
        let value = request.headers.get(name).map(|value| value.as_bytes());
        value.map_or("absent".to_owned(), |value| {
            quoted(&String::from_utf8_lossy(value))
        })
    };
    let detail = || {
        format!(
            "{}, Sec-Fetch-Site {}, Origin {}",
            quoted(request.method.as_str()),
            field("sec-fetch-site"),
            field("origin")
        )
    };
    match foreign {
        true => checks.failed(Check::CrossSite, detail),
        false => checks.passed(Check::CrossSite, detail),
    }
}
