//! The session cookie: read from a request, set on an answer, ended by logout.
//!
//! Always true: the cookie is the session, sealed; nothing but revoked ids is stored. It stands for
//! the credential that earned it and never for more: application, registration and scopes are
//! judged on each request, and it ends with the token that it was made from. What was opened is
//! remembered for as long as the configuration stays the same; that skips the opening only.

use std::{sync::Arc, time::Duration};

use cookie::Cookie;
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, header};

use super::{
    api::Api,
    authenticate::{Caller, Method, Request, is_withdrawn},
    cache::{Key, Memory},
    denial::{Code, Denial},
    details,
    state::State,
    strategy::{SameSite, Secure, SessionConfig, Strategy},
    verified::Verified,
};
use crate::{
    model::{
        application::Application,
        check::Check,
        claims::{Audience, Facts},
        time::Timestamp,
    },
    telemetry::checks::Checks,
    token::{
        self,
        session::{self, KeyRing, Session, SessionId},
    },
};

/// Opened sessions that are remembered, each in some 2 KB. One that is not is opened again.
const OPENED: u64 = 10_000;

/// The keys of cookies, and what they have opened.
#[derive(Debug)]
pub struct Sessions {
    /// Seal and open.
    pub keys: KeyRing,
    opened: Memory<Arc<Opened>>,
}

/// A session whose cookie was opened.
#[derive(Debug)]
struct Opened {
    /// The cookie: what it is found by is a part of its value only.
    name: Box<str>,
    value: Box<str>,
    session: Arc<Session>,
    /// What the session says, as a credential.
    verified: Arc<Verified>,
}

impl Sessions {
    /// Nothing is opened yet.
    pub fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            opened: Memory::new(OPENED),
        }
    }

    /// Opens a cookie, or finds it opened. Says nothing about whether the session still lasts.
    ///
    /// # Errors
    /// See [`KeyRing::open`].
    fn open(&self, name: &str, value: &str, now: Timestamp) -> Result<Arc<Opened>, token::Error> {
        // All of the tag and some of what it authenticates: nobody finds what they cannot seal.
        let key: Option<&Key> = value.as_bytes().last_chunk();
        if let Some(opened) = key.and_then(|key| self.opened.find(key, now))
            && *opened.value == *value
            && *opened.name == *name
        {
            return Ok(opened);
        }
        let session = self.keys.open(value, name)?;
        let facts = Facts {
            client_id: session.client_id.clone(),
            audience: Audience::new(),
            scopes: session.scopes.clone(),
            expires: session.absolute_end,
            not_before: None,
            issued: Some(session.begun),
            header_claims: session.header_claims.clone(),
        };
        let verified = Verified::new(facts, None, session.begun, session.absolute_end, None);
        let opened = Arc::new(Opened {
            name: name.into(),
            value: value.into(),
            session: Arc::new(session),
            verified: Arc::new(verified),
        });
        if let Some(key) = key {
            let until = opened.session.idle_end;
            self.opened.keep(*key, Arc::clone(&opened), until, now);
        }
        Ok(opened)
    }

    /// Forgets what has ended.
    pub fn tidy(&self, now: Timestamp) {
        self.opened.tidy(now);
    }
}

/// Names and attributes of one strategy's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// On plain http.
    plain: String,
    /// On https: browsers take this name only with `Secure`, `Path=/` and without a domain.
    host: String,
    same_site: SameSite,
    always_secure: bool,
}

impl Cookies {
    /// Prepares the names.
    pub fn new(config: &SessionConfig) -> Self {
        Self {
            plain: config.cookie_name.clone(),
            host: format!("__Host-{}", config.cookie_name),
            same_site: config.same_site,
            always_secure: config.secure == Secure::Always,
        }
    }

    /// The name on a request of this scheme; each name counts on its own scheme only.
    pub fn name(&self, secure: bool) -> &str {
        if secure || self.always_secure {
            &self.host
        } else {
            &self.plain
        }
    }

    /// Both names, for hiding them from upstreams and clients.
    pub fn names(&self) -> [&str; 2] {
        [&self.plain, &self.host]
    }

    /// A Set-Cookie line; an empty value clears.
    fn line(&self, secure: bool, value: &str, max_age: Duration) -> Option<HeaderValue> {
        let secure = secure || self.always_secure;
        let same_site = match self.same_site {
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::Strict => cookie::SameSite::Strict,
        };
        let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((self.name(secure), value))
            .path("/")
            .secure(secure)
            .http_only(true)
            .same_site(same_site)
            .max_age(cookie::time::Duration::seconds(max_age));
        HeaderValue::try_from(cookie.to_string()).ok()
    }

    /// The Set-Cookie line that clears the cookie on this scheme.
    pub fn clear(&self, secure: bool) -> Option<HeaderValue> {
        self.line(secure, "", Duration::ZERO)
    }
}

/// Every cookie of a request, in all its lines, as name and value. One that is no UTF-8 is none of
/// ours and hides no other.
///
/// Only space and tab are white space, as in browsers: they guard the prefix `__Host-` where the
/// name begins, and a name that begins with any other kind of space is free for all.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    all(headers).filter_map(|(name, value)| Some((text(name)?, text(value)?)))
}

/// The values of the cookies of one name, in all its lines.
pub fn named<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    all(headers)
        .filter(move |(found, _)| *found == name.as_bytes())
        .filter_map(|(_, value)| text(value))
}

fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(|pair| {
            let end = memchr::memchr(b'=', pair)?;
            Some((trim(&pair[..end]), trim(&pair[end + 1..])))
        })
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Where browsers say from which site's page a request comes.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The parts of a Cookie line. Most of it are values, and those are long.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let Some(end) = memchr::memchr(b';', line) else {
            return rest.take();
        };
        rest = Some(&line[end + 1..]);
        Some(&line[..end])
    })
}

/// The caller whose session a request for an API brings; `None` where no cookie of it counts here.
///
/// # Errors
/// The [`Denial`] that answers a cookie that must not be used: it stands twice, does not open, has
/// ended or was revoked, or comes with a request of another site.
pub fn presented(
    state: &State,
    api: &Api,
    request: &Request<'_>,
) -> Result<Option<Caller>, Denial> {
    let with_session = || {
        api.strategies
            .iter()
            .filter(|strategy| strategy.config.session)
    };
    let mut opened: Option<Denial> = None;
    let checks = request.checks;
    details::credential::cookies(checks, request.headers, with_session(), request.secure);
    for (index, strategy) in with_session().enumerate() {
        let name = strategy.cookies.name(request.secure);
        let mut before = with_session().take(index);
        if before.any(|strategy| strategy.cookies.name(request.secure) == name) {
            continue;
        }
        let mut values = named(request.headers, name);
        let Some(value) = values.next() else {
            continue;
        };
        if values.next().is_some() {
            checks.failed(Check::Credential, || format!("two cookies named {name}"));
            return Err(Denial::new(Code::InvalidRequest, "session_cookie_twice"));
        }
        let ended = |reason: &'static str| {
            let mut denial = Denial::new(Code::InvalidSession, reason);
            denial.clear = strategy.cookies.clear(request.secure).map(Box::new);
            denial
        };
        let presented = match state.sessions.open(name, value, request.now) {
            Ok(presented) => presented,
            Err(error) => {
                details::session::sealed(checks, state, name);
                opened.get_or_insert(ended(error.reason()));
                continue;
            }
        };
        // A cookie of a strategy that this API does not accept counts as absent.
        let session = &presented.session;
        let Some(strategy) = with_session().find(|s| *s.config.name == *session.strategy) else {
            details::session::foreign_session(checks, session);
            continue;
        };
        details::session::opened(checks, session);
        match caller(state, strategy, &presented, request.now, checks) {
            Ok(caller) => {
                let foreign = is_unsafe(request.method, request.headers)
                    && is_cross_site(request.headers, request.host)
                    && !api.trusts_origin(request.headers);
                details::session::cross_site(checks, request, foreign);
                if foreign {
                    let denial = Denial::new(Code::CrossSiteRequest, "cross_site_request");
                    return Err(denial.by(strategy, Method::Session));
                }
                return Ok(Some(caller));
            }
            Err(reason) => {
                opened.get_or_insert(ended(reason).by(strategy, Method::Session));
            }
        }
    }
    opened.map_or(Ok(None), Err)
}

/// The caller that a session stands for, or the word for why it does not hold.
fn caller(
    state: &State,
    strategy: &Arc<Strategy>,
    opened: &Opened,
    now: Timestamp,
    checks: &Checks,
) -> Result<Caller, &'static str> {
    let Opened {
        session, verified, ..
    } = opened;
    let held = check(state, strategy, session, now);
    let told = held.as_ref().map(|_| ()).map_err(|reason| *reason);
    details::session::session(checks, strategy, session, now, told);
    let application = held?;
    Ok(Caller::new(
        strategy,
        Method::Session,
        Arc::clone(verified),
        application,
        Some(Arc::clone(session)),
    ))
}

/// Whether an opened session holds: bound to the strategy as it is now, within its times, not
/// revoked, and younger than the credentials of its application, which is given where it is known.
fn check(
    state: &State,
    strategy: &Strategy,
    session: &Session,
    now: Timestamp,
) -> Result<Option<Arc<Application>>, &'static str> {
    if session.binding != strategy.binding {
        return Err("strategy_changed");
    }
    session.judge(now).map_err(|error| error.reason())?;
    if state.revocations.covers(session) {
        return Err("logged_out");
    }
    let application = strategy.applications.find(session.client_id.as_str());
    if is_withdrawn(application.as_deref(), Some(session.begun)) {
        return Err("credentials_changed");
    }
    Ok(application)
}

/// The Set-Cookie line for the answer to a caller that was let through; `None` where none is due.
/// `Err` where the session is too large for a cookie.
///
/// # Errors
/// [`TooLarge`], for the metric.
pub fn renewal(
    state: &State,
    api: &Api,
    caller: &Caller,
    request: &Request<'_>,
) -> Result<Option<HeaderValue>, TooLarge> {
    let strategy = &caller.strategy;
    if !strategy.config.session {
        return Ok(None);
    }
    let numbers = &strategy.config.cookie;
    let now = request.now;
    let name = strategy.cookies.name(request.secure);
    let facts = &caller.verified.facts;
    let is_fresh = |session: &Session| now.since(session.sealed) < numbers.idle_timeout / 4;
    if caller.session.as_deref().is_some_and(is_fresh) {
        return Ok(None);
    }
    if from_other_site(request.headers) && !api.trusts_origin(request.headers) {
        return Ok(None);
    }
    let present = caller.session.clone();
    let present = present.or_else(|| brought(state, strategy, caller, request));
    let mut session = match present {
        Some(session) if is_fresh(&session) => return Ok(None),
        Some(session) => Session::clone(&session),
        None => {
            let Ok(id) = SessionId::random() else {
                return Ok(None);
            };
            Session {
                strategy: (*strategy.config.name).into(),
                binding: strategy.binding,
                client_id: facts.client_id.clone(),
                id,
                method: match caller.method {
                    Method::ClientCredentials => session::Method::ClientCredentials,
                    Method::Bearer | Method::Session => session::Method::Bearer,
                },
                scopes: facts.scopes.clone(),
                header_claims: facts.header_claims.clone(),
                begun: now,
                sealed: now,
                idle_end: now,
                absolute_end: now.plus(numbers.absolute_timeout).min(facts.expires),
            }
        }
    };
    session.sealed = now;
    session.idle_end = now.plus(numbers.idle_timeout).min(session.absolute_end);
    let life = session.idle_end.since(now);
    if life < Duration::from_secs(1) {
        return Ok(None);
    }
    let sealed = state
        .sessions
        .keys
        .seal(&session, name)
        .map_err(|_| TooLarge)?;
    Ok(strategy.cookies.line(request.secure, &sealed, life))
}

/// The session is larger than a cookie may be.
#[derive(Clone, Copy, Debug)]
pub struct TooLarge;

/// The session that a request brings beside another credential, where it is of the same client.
fn brought(
    state: &State,
    strategy: &Strategy,
    caller: &Caller,
    request: &Request<'_>,
) -> Option<Arc<Session>> {
    let name = strategy.cookies.name(request.secure);
    let mut values = named(request.headers, name);
    let value = values.next()?;
    let opened = state.sessions.open(name, value, request.now).ok()?;
    let session = &opened.session;
    let fits = values.next().is_none()
        && *session.strategy == *strategy.config.name
        && session.client_id == caller.verified.facts.client_id
        && check(state, strategy, session, request.now).is_ok();
    fits.then(|| Arc::clone(session))
}

/// Whether a request may change something (RFC 9110 section 9.2.1), or opens a tunnel that may.
fn is_unsafe(method: &HttpMethod, headers: &HeaderMap) -> bool {
    !matches!(
        *method,
        HttpMethod::GET | HttpMethod::HEAD | HttpMethod::OPTIONS
    ) || headers.contains_key(header::UPGRADE)
}

/// Whether the browser says that a page of another site sent this.
fn from_other_site(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .any(|site| site == "cross-site")
}

/// Whether a request cannot be shown to come from this very origin (design section 3.3).
/// `Sec-Fetch-Site` decides where it is; else `Origin`, absent outside browsers, must name the Host.
pub fn is_cross_site(headers: &HeaderMap, host: &str) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = sites.next() {
        return sites.next().is_some() || !(site == "same-origin" || site == "none");
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => false,
        (Some(origin), None) => !origin.to_str().is_ok_and(|origin| names(origin, host)),
        (Some(_), Some(_)) => true,
    }
}

/// Whether an Origin names the host and port of a Host; the scheme's own port may be left out.
fn names(origin: &str, host: &str) -> bool {
    let (port, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (":443", authority),
        Some(("http", authority)) => (":80", authority),
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_must_name_host_and_port() {
        for (origin, host, same) in [
            ("https://api.test", "api.test", true),
            ("https://API.test", "api.TEST", true),
            ("http://api.test", "api.test", true),
            ("https://api.test", "api.test:443", true),
            ("http://127.0.0.1:8000", "127.0.0.1:8000", true),
            ("https://api.test:8443", "api.test", false),
            ("https://evil.test", "api.test", false),
            ("https://api.test.evil.test", "api.test", false),
            ("null", "api.test", false),
            ("https://", "", false),
        ] {
            assert_eq!(names(origin, host), same, "{origin} {host}");
        }
    }

    #[test]
    fn cookies_are_found_in_all_lines() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; b=x=y ;c".parse().unwrap());
        headers.append(header::COOKIE, "a=2".parse().unwrap());
        let found: Vec<_> = cookies(&headers).collect();
        assert_eq!(found, [("a", "1"), ("b", "x=y"), ("a", "2")]);
    }

    #[test]
    fn a_strange_cookie_hides_no_other_and_only_blanks_are_white() {
        let mut headers = HeaderMap::new();
        let line = b"old=caf\xe9;\ta = 1 ;\xc2\xa0b=2; \xe3\x80\x80c=3";
        headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        let found: Vec<_> = cookies(&headers).collect();
        assert_eq!(found, [("a", "1"), ("\u{a0}b", "2"), ("\u{3000}c", "3")]);
    }
}
