//! Every reason for refusing: status, code, challenge, body. Each answer that is the gateway's own
//! is made here, and reads as a table.
//!
//! Always true: an answer repeats nothing that the client sent and tells nothing of what lies
//! behind the gateway. Detail goes to the log as a fixed word.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{authenticate::Method, strategy::Strategy};
use crate::model::credential::ClientId;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal,)+) => {
        /// How a request ended for the gateway: let through, or refused for one stable reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// How many there are, for tables indexed by `code as usize`.
            pub const COUNT: usize = [$($code),+].len();

            /// The stable name: in answers, logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The status answered with. [`Code::Permit`] answers with the upstream's own.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// What it means, for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// All codes.
            #[cfg(test)]
            const ALL: [Self; Self::COUNT] = [$(Self::$name),+];

            /// The body of an answer with it, as a [`Problem`] writes it, up to the request's id.
            const fn problem(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(
                        r#"{"type":"urn:dcr-gateway:problem:"#, $code,
                        r#"","title":""#, $title,
                        r#"","status":"#, $status,
                        r#","code":""#, $code,
                        r#"","request_id":""#,
                    ),)+
                }
            }
        }
    };
}

codes! {
    /// Every reading of the path must name the same route.
    AmbiguousPath = 400 "ambiguous_path" "The path can be read in more than one way",
    /// See design section 5: on every access level but public.
    ApplicationSuspended = 403 "application_suspended" "The application is suspended",
    /// `limits.body_size`.
    BodyTooLarge = 413 "body_too_large" "The request body is too large",
    /// Neither credential nor session.
    CredentialsRequired = 401 "credentials_required" "This API needs a credential",
    /// A page of another site sent an unsafe request with a cookie.
    CrossSiteRequest = 403 "cross_site_request" "The request comes from another site",
    /// The IdP knows the client and denies it the grant.
    GrantRefused = 403 "grant_refused" "The identity provider denies this client access",
    /// `limits.header_size`, `limits.header_count`.
    HeaderTooLarge = 431 "header_too_large" "The request header is too large",
    /// Plain HTTP on a listener that speaks TLS.
    HttpsRequired = 400 "https_required" "This port speaks https",
    /// The gateway's own settings at the IdP are wrong.
    IdentityProviderMisconfigured = 502 "identity_provider_misconfigured"
        "The gateway and the identity provider do not fit together",
    /// The IdP gave no usable answer.
    IdentityProviderUnavailable = 503 "identity_provider_unavailable"
        "The identity provider cannot be reached",
    /// RFC 6750 section 3.1.
    InsufficientScope = 403 "insufficient_scope" "The credential lacks a scope",
    /// The gateway's own fault.
    Internal = 500 "internal" "The gateway failed",
    /// Wrong client id or secret.
    InvalidClient = 401 "invalid_client" "The client id or the secret is wrong",
    /// The request itself is malformed.
    InvalidRequest = 400 "invalid_request" "The request is malformed",
    /// A session that does not open, has ended, or was revoked.
    InvalidSession = 401 "invalid_session" "The session has ended",
    /// RFC 6750 section 3.1.
    InvalidToken = 401 "invalid_token" "The token is not valid",
    /// The route does not list this method.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    /// No route for this host and path.
    NoRoute = 404 "no_route" "There is no API at this address",
    /// The directory is not loaded yet.
    NotReady = 503 "not_ready" "The gateway is not ready yet",
    /// Too many connections or calls.
    Overloaded = 503 "overloaded" "The gateway is overloaded",
    /// Let through to the upstream.
    Permit = 200 "permit" "Let through",
    /// The operator has not decided yet.
    RegistrationPending = 403 "registration_pending"
        "The registration for this API waits for approval",
    /// The operator said no.
    RegistrationRejected = 403 "registration_rejected" "The registration for this API was rejected",
    /// The application never asked for this API.
    RegistrationRequired = 403 "registration_required"
        "The application is not registered for this API",
    /// The operator took it back.
    RegistrationRevoked = 403 "registration_revoked" "The registration for this API was revoked",
    /// `limits.header_timeout`, or a body of which the rest does not come.
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive",
    /// Wrong secrets from this address, or inactive tokens.
    TooManyAttempts = 429 "too_many_attempts" "Too many wrong credentials",
    /// A good credential of nobody we know.
    UnknownApplication = 403 "unknown_application" "No application has this client id",
    /// The upstream broke the exchange.
    UpstreamFailed = 502 "upstream_failed" "The upstream failed",
    /// The upstream was too slow.
    UpstreamTimeout = 504 "upstream_timeout" "The upstream took too long",
    /// No target can be tried.
    UpstreamUnavailable = 503 "upstream_unavailable" "No upstream is available",
}

/// What was found in a verified credential, and what is needed instead.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// What it holds.
    pub found: String,
    /// What it would have to hold.
    pub needed: String,
}

/// A refusal, with what its answer and its log line need.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The reason that everybody may know.
    pub code: Code,
    /// The detail, for the log alone: a fixed word.
    pub reason: &'static str,
    /// What an operator can do about it, where that is known; for the log alone.
    pub cure: Option<&'static str>,
    /// What a credential that was verified holds, where something else is needed; for `/explain`
    /// alone.
    pub mismatch: Option<Box<Mismatch>>,
    /// The strategy that judged, where one did.
    pub strategy: Option<Arc<Strategy>>,
    /// The method that was tried, where one was.
    pub method: Option<Method>,
    /// The client, where the credential proved it or the directory knows the id that it gave.
    pub client_id: Option<Box<ClientId>>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// For `insufficient_scope`: the scopes to ask for.
    pub scope: Option<Box<str>>,
    /// For `method_not_allowed`.
    pub allow: Option<Box<HeaderValue>>,
    /// The Set-Cookie line that clears the session.
    pub clear: Option<Box<HeaderValue>>,
}

impl Denial {
    /// A refusal of this kind, with the detail for the log.
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            cure: None,
            mismatch: None,
            strategy: None,
            method: None,
            client_id: None,
            retry_after: None,
            scope: None,
            allow: None,
            clear: None,
        }
    }

    /// Says who judged.
    #[must_use]
    pub fn by(mut self, strategy: &Arc<Strategy>, method: Method) -> Self {
        self.strategy = Some(Arc::clone(strategy));
        self.method = Some(method);
        self
    }

    /// Says when trying again may help.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// What an API says to those who bring no good credential, prepared once.
#[derive(Clone, Debug)]
pub struct Challenges {
    basic: Option<HeaderValue>,
    bearer: Option<HeaderValue>,
    invalid_request: Option<HeaderValue>,
    invalid_token: Option<HeaderValue>,
    realm: String,
}

impl Challenges {
    /// Prepares the challenges of an API. Its name is the realm (RFC 9110 section 11.5).
    pub fn new(api: &str, basic: bool, bearer: bool) -> Self {
        let realm: String = api
            .chars()
            .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
            .collect();
        let value = |text: String| HeaderValue::try_from(text).ok();
        Self {
            basic: basic
                .then(|| value(format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")))
                .flatten(),
            bearer: bearer
                .then(|| value(format!("Bearer realm=\"{realm}\"")))
                .flatten(),
            invalid_request: error(&realm, "invalid_request", ""),
            invalid_token: error(&realm, "invalid_token", ""),
            realm,
        }
    }

    /// The challenges for a refusal (RFC 6750 section 3, RFC 7617 section 2). A page's own fetch is
    /// not offered Basic where bearer will do: the browser would open a password box in the page.
    fn of(&self, denial: &Denial, page_fetch: bool) -> impl Iterator<Item = HeaderValue> {
        let bearer = || self.bearer.clone();
        let basic = || {
            self.basic
                .clone()
                .filter(|_| !(page_fetch && self.bearer.is_some()))
        };
        let (first, second) = match denial.code {
            Code::CredentialsRequired | Code::InvalidSession => (bearer(), basic()),
            Code::InvalidClient => (basic().or_else(bearer), None),
            // An API that asks for nothing is not the place to say how to ask.
            Code::InvalidRequest if self.basic.is_none() && self.bearer.is_none() => (None, None),
            Code::InvalidRequest => (self.invalid_request.clone(), None),
            Code::InvalidToken => (self.invalid_token.clone(), None),
            Code::InsufficientScope => {
                // A scope rule holds legal scope characters only, so it cannot break out.
                let scope = denial
                    .scope
                    .as_ref()
                    .map(|scope| format!(", scope=\"{scope}\""));
                let more = scope.unwrap_or_default();
                (error(&self.realm, "insufficient_scope", &more), None)
            }
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// A challenge that says what was wrong (RFC 6750 section 3.1).
fn error(realm: &str, error: &str, more: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Bearer realm=\"{realm}\", error=\"{error}\"{more}")).ok()
}

/// The body of an answer of our own (RFC 9457), in the order in which people read it; a refused
/// request's id comes last.
#[derive(Clone, Debug, Serialize)]
pub struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
}

impl<'a> Problem<'a> {
    /// Puts a body together.
    pub fn new(status: u16, code: &'a str, title: &'a str) -> Self {
        Self {
            r#type: format!("urn:dcr-gateway:problem:{code}"),
            title,
            status,
            code,
        }
    }

    /// The body as JSON.
    pub fn to_bytes(&self) -> Bytes {
        // Strings and numbers always serialise.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A whole answer of our own.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head, `Content-Length` left out.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body; not sent to HEAD.
    pub body: Bytes,
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Fields of nearly all answers, the challenges of two methods among them.
const FIELDS: usize = 5;

/// Makes the answer to a refusal (RFC 9457). The request's id is the gateway's own, of digits, letters
/// and hyphens.
pub fn answer(
    denial: &Denial,
    challenges: Option<&Challenges>,
    page_fetch: bool,
    request_id: &str,
) -> Answer {
    let code = denial.code;
    let mut headers = Vec::with_capacity(FIELDS);
    headers.push((header::CONTENT_TYPE, PROBLEM));
    headers.push((header::CACHE_CONTROL, NO_STORE));
    if let Some(challenges) = challenges {
        let challenges = challenges.of(denial, page_fetch);
        headers.extend(challenges.map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
    }
    let retry_after = denial
        .retry_after
        .or_else(|| matches!(code.status(), 429 | 503).then_some(Duration::from_secs(1)));
    if let Some(wait) = retry_after {
        // Rounded up: who comes back a moment too early only meets the same answer again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.push((header::RETRY_AFTER, HeaderValue::from(seconds.max(1))));
    }
    if let Some(allow) = &denial.allow {
        headers.push((header::ALLOW, HeaderValue::clone(allow)));
    }
    headers.extend(
        denial
            .clear
            .iter()
            .map(|cookie| (header::SET_COOKIE, HeaderValue::clone(cookie))),
    );
    Answer {
        status: StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        body: Bytes::from([code.problem(), request_id, "\"}"].concat()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_refusal_is_the_problem_of_its_code_with_the_id_of_the_request() {
        for code in Code::ALL {
            let answer = answer(&Denial::new(code, ""), None, false, "0b0a8d0e-6f3c");
            let problem = Problem::new(code.status(), code.name(), code.title());
            let mut expected: Value = serde_json::from_slice(&problem.to_bytes()).unwrap();
            expected["request_id"] = json!("0b0a8d0e-6f3c");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body, expected, "{code:?}");
            assert_eq!(answer.status, code.status(), "{code:?}");
            let order = problem.to_bytes();
            assert!(
                answer.body.starts_with(&order[..order.len() - 1]),
                "{code:?}"
            );
        }
    }
}
