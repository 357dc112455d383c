//! From a request to a verdict: which credential counts, who judges it, and what it may do.
//!
//! Always true: a [`Permit`] is made in this file and nowhere else, after every check of design
//! section 2, on every request, whatever was remembered.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    api::{Access, Api},
    bearer,
    cors::{Preflight, Unanswered},
    denial::{Code, Denial, Mismatch},
    details, exchange,
    hop::Hop,
    identity::Identity,
    recent::Recent,
    session,
    state::State,
    strategy::Strategy,
    verified::Verified,
};
use crate::{
    idp::call::{Trouble, Unavailable},
    model::{
        application::{Application, Registration, Status},
        check::Check,
        credential::{ClientId, Credential},
        origin::Origin,
        time::Timestamp,
    },
    telemetry::checks::Checks,
    token,
};

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A bearer token.
    Bearer,
    /// Client id and secret.
    ClientCredentials,
    /// The session cookie.
    Session,
}

impl Method {
    /// The name in headers, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::ClientCredentials => "client_credentials",
            Self::Session => "session",
        }
    }
}

impl From<token::session::Method> for Method {
    fn from(method: token::session::Method) -> Self {
        match method {
            token::session::Method::Bearer => Self::Bearer,
            token::session::Method::ClientCredentials => Self::ClientCredentials,
        }
    }
}

/// What of a request its verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a http::Method,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The Host that it names, as sent.
    pub host: &'a str,
    /// Where it comes from, as trusted proxies tell.
    pub address: IpAddr,
    /// Whether it came over https, as the listener sees it or a trusted proxy tells.
    pub secure: bool,
    /// When it came.
    pub now: Timestamp,
    /// What its connection remembers; nothing where others may use it at the same time.
    pub recent: Option<&'a Recent>,
    /// Where it is told what each check found: off but for those who ask why.
    pub checks: &'a Checks,
}

/// The right to be forwarded. Without one nothing is.
#[derive(Debug)]
pub struct Permit {
    caller: Option<Caller>,
}

impl Permit {
    /// Who calls; nobody in particular on a public API, and with a preflight that was passed.
    pub const fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Whether it is that of a passed preflight, which may do nothing but ask.
    pub fn is_of_preflight(&self, api: &Api) -> bool {
        self.caller.is_none() && api.config.access != Access::Public
    }
}

/// Who calls, and how that was proved.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The strategy that judged.
    pub strategy: Arc<Strategy>,
    /// The method used.
    pub method: Method,
    /// The credential's content.
    pub verified: Arc<Verified>,
    /// The application, where the directory knows it.
    pub application: Option<Arc<Application>>,
    /// The session, where a cookie was the credential.
    pub session: Option<Arc<token::session::Session>>,
    /// Headers for the upstream, where the application has changed since they were made first.
    changed: Option<Arc<Identity>>,
}

/// Judges a request for an API.
///
/// # Errors
/// The [`Denial`] that answers it.
pub async fn authenticate(
    state: &State,
    api: &Api,
    request: &Request<'_>,
) -> Result<Permit, Denial> {
    let checks = request.checks;
    checks.passed(Check::Access, || details::strategy::access(api));
    if api.config.access == Access::Public {
        return Ok(Permit { caller: None });
    }
    details::application::directory(checks, &state.directory);
    if !state.directory.is_loaded() {
        return Err(Denial::new(Code::NotReady, "directory_not_loaded"));
    }
    if api.strategies.is_empty() {
        // The registry has yet to bring one that the file names.
        return Err(Denial::new(Code::NotReady, "no_strategy_yet"));
    }
    let mut lines = request.headers.get_all(header::AUTHORIZATION).iter();
    let (line, more) = (lines.next(), lines.next());
    if more.is_some() {
        checks.failed(Check::Credential, || "two Authorization lines".to_owned());
        return Err(Denial::new(Code::InvalidRequest, "authorization_twice"));
    }
    let caller = match line.map(|line| Credential::parse(line.as_bytes())) {
        Some(parsed) => match details::credential::credential(checks, parsed) {
            Ok(Credential::Basic(id, secret)) => exchange::caller(api, request, id, secret).await?,
            Ok(Credential::Bearer(token)) => bearer::caller(api, request, token).await?,
            Ok(Credential::Unknown) => {
                return Err(Denial::new(Code::CredentialsRequired, "unknown_scheme"));
            }
            Err(malformed) => return Err(Denial::new(Code::InvalidRequest, malformed.reason())),
        },
        None => session::presented(state, api, request)?
            .ok_or(Denial::new(Code::CredentialsRequired, "no_credential"))?,
    };
    authorise(api, &caller, caller.application.as_deref(), checks)?;
    Ok(Permit {
        caller: Some(caller),
    })
}

/// Puts a caller together from what was verified and is remembered, and looks its application up.
pub fn caller(strategy: &Arc<Strategy>, method: Method, verified: Arc<Verified>) -> Caller {
    let application = strategy
        .applications
        .find(verified.facts.client_id.as_str());
    Caller::new(strategy, method, verified, application, None)
}

/// The permit of a preflight that the API leaves to its upstream: nobody's, like one for a public
/// API. Without a preflight to show, and a bare one, there is none.
pub fn pass(api: &Api, preflight: &Preflight<'_>, has_body: bool) -> Option<Permit> {
    let passes = api.config.preflight == Unanswered::Pass && preflight.is_bare(has_body);
    passes.then_some(Permit { caller: None })
}

/// Whether a caller that was let through, and has a connection open since, would be let through
/// still: its credential has not ended, its key and its application still hold.
///
/// # Errors
/// A fixed word for the log.
pub fn recheck(
    state: &State,
    api: &Api,
    caller: &Caller,
    now: Timestamp,
) -> Result<(), &'static str> {
    if now >= caller.ends() {
        return Err("credential_ended");
    }
    let (strategy, verified) = (&caller.strategy, &caller.verified);
    let holds_key = |key| strategy.provider.holds_key(key, now);
    if !verified.key.is_none_or(holds_key) {
        return Err("key_withdrawn");
    }
    let session = caller.session.as_deref();
    if session.is_some_and(|session| state.revocations.covers(session)) {
        return Err("logged_out");
    }
    let application = strategy
        .applications
        .find(verified.facts.client_id.as_str());
    if is_withdrawn(application.as_deref(), caller.made()) {
        return Err("credentials_changed");
    }
    authorise(api, caller, application.as_deref(), Checks::OFF).map_err(|denial| denial.reason)
}

/// Whether a verified caller may call this API: application, then registration, then scopes.
fn authorise(
    api: &Api,
    caller: &Caller,
    application: Option<&Application>,
    checks: &Checks,
) -> Result<(), Denial> {
    let denied = |code: Code| {
        let mut denial = Denial::new(code, code.name()).by(&caller.strategy, caller.method);
        denial.client_id = Some(Box::new(caller.verified.facts.client_id.clone()));
        denial.cure = caller.strategy.preset().cure(denial.reason);
        denial
    };
    match application {
        None => {
            // A cookie may do what the credential that earned it may.
            let earned = caller
                .session
                .as_ref()
                .map_or(caller.method, |s| s.method.into());
            let detail = || details::application::unknown_application(api, caller);
            if api.config.access != Access::Client || earned != Method::Bearer {
                checks.failed(Check::Application, detail);
                return Err(denied(Code::UnknownApplication));
            }
            checks.passed(Check::Application, detail);
        }
        Some(application) => {
            details::application::application(checks, caller, application);
            if application.status == Status::Suspended {
                return Err(denied(Code::ApplicationSuspended));
            }
            details::application::registration(checks, api, application);
            if api.config.access == Access::Registered {
                match application.registration(&api.config.name) {
                    Some(Registration::Approved) => {}
                    Some(Registration::Pending) => {
                        return Err(denied(Code::RegistrationPending));
                    }
                    Some(Registration::Rejected) => {
                        return Err(denied(Code::RegistrationRejected));
                    }
                    Some(Registration::Revoked) => {
                        return Err(denied(Code::RegistrationRevoked));
                    }
                    None => return Err(denied(Code::RegistrationRequired)),
                }
            }
        }
    }
    let granted = &caller.verified.facts.scopes;
    let rules = [
        &caller.strategy.config.scopes_required,
        &api.config.scopes_required,
    ];
    let allowed = rules.iter().all(|rule| rule.allows(granted));
    details::application::scopes(checks, granted, rules, allowed);
    if allowed {
        return Ok(());
    }
    let mut denial = denied(Code::InsufficientScope);
    // RFC 6750 section 3.1: all that is needed, at once.
    let needed: Vec<&str> = rules.iter().filter_map(|rule| rule.first()).collect();
    let needed = needed.join(" ");
    denial.mismatch = Some(Box::new(Mismatch {
        found: granted.as_str().to_owned(),
        needed: needed.clone(),
    }));
    denial.scope = Some(needed.into());
    Err(denial)
}

/// Whether credentials made at `made` are from before the application's were changed.
pub fn is_withdrawn(application: Option<&Application>, made: Option<Timestamp>) -> bool {
    application.is_some_and(|application| {
        let valid_from = application.credentials_valid_from;
        valid_from > Timestamp::default() && made.is_none_or(|made| made < valid_from)
    })
}

/// Since when the credentials of a client are as they are; the epoch where nothing is known.
pub fn valid_from(strategy: &Strategy, client_id: &ClientId) -> Timestamp {
    let application = strategy.applications.find(client_id.as_str());
    application.map_or(Timestamp::default(), |known| known.credentials_valid_from)
}

/// The answer where nobody could judge: never a 401, since no caller is to blame.
pub fn unavailable(unavailable: &Unavailable) -> Denial {
    let code = match unavailable.kind {
        Trouble::Busy => Code::Overloaded,
        _ => Code::IdentityProviderUnavailable,
    };
    Denial::new(code, unavailable.kind.reason()).after(unavailable.retry_after)
}

impl Caller {
    /// Puts a caller together, with its application as the directory has it now.
    pub fn new(
        strategy: &Arc<Strategy>,
        method: Method,
        verified: Arc<Verified>,
        application: Option<Arc<Application>>,
        session: Option<Arc<token::session::Session>>,
    ) -> Self {
        Self {
            changed: verified.changed(strategy, application.as_ref()),
            strategy: Arc::clone(strategy),
            method,
            verified,
            application,
            session,
        }
    }

    /// The headers that tell the upstream who calls.
    pub fn identity(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let identity = match &self.changed {
            Some(changed) => changed,
            None => (self.verified).identity(&self.strategy, self.application.as_ref()),
        };
        identity.fields(&self.strategy, self.method)
    }

    /// When the credential's own time is over: a token's `exp` with the leeway that it is forgiven
    /// on every request, the absolute end of a session. For a pair it is that of the token that the
    /// IdP gave for it.
    pub fn ends(&self) -> Timestamp {
        match &self.session {
            Some(session) => session.absolute_end,
            None => (self.verified.facts.expires).plus(self.strategy.rules().leeway),
        }
    }

    /// When the credential was made, as far as it tells: a change of the application's credentials
    /// after that withdraws it.
    fn made(&self) -> Option<Timestamp> {
        match self.method {
            Method::Bearer => self.verified.facts.issued,
            Method::ClientCredentials | Method::Session => Some(self.verified.made),
        }
    }
}

impl<'a> Request<'a> {
    /// Takes what counts of a request that reached us over `hop`.
    pub const fn new(
        method: &'a http::Method,
        headers: &'a HeaderMap,
        host: &'a str,
        hop: &Hop,
        now: Timestamp,
    ) -> Self {
        Self {
            method,
            headers,
            host,
            address: hop.client,
            secure: hop.secure,
            now,
            recent: None,
            checks: Checks::OFF,
        }
    }

    /// The same, on a connection that remembers.
    #[must_use]
    pub const fn on(self, recent: Option<&'a Recent>) -> Self {
        Self { recent, ..self }
    }

    /// The same, telling what each check finds.
    #[must_use]
    pub const fn told(self, checks: &'a Checks) -> Self {
        Self { checks, ..self }
    }

    /// Where it comes from, as guesses are counted.
    pub fn origin(&self) -> Origin {
        self.address.into()
    }
}
