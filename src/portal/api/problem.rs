//! Every answer that says no: one table from what went wrong to status, code and words.
//!
//! The form is RFC 9457 with Konnect's members. What a client sent is never repeated, and details
//! of the registry go to the log only; what an identity provider said is told, since whoever reads
//! it has to mend it there.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::RequestId;
use crate::{
    idp::{call::Trouble, registration},
    portal::{Error, Fault, registry},
};

/// When to come back where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal,)+) => {
        /// What went wrong, of what this protocol itself can refuse.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name,)+
        }

        impl Kind {
            const fn row(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$name => ($status, $code, $title),)+ }
            }
        }
    };
}

kinds! {
    /// More than a request may bring.
    BodyTooLarge = 413 "body_too_large" "The request body is too large",
    /// `If-Match` names another revision.
    Changed = 412 "changed" "It has changed since it was read",
    /// A page of another site sent it.
    CrossSiteRequest = 403 "cross_site_request" "The request comes from another site",
    /// As things stand it cannot be done; the code is the error's own.
    Conflict = 409 "conflict" "It cannot be done as things stand",
    /// Who asks may not; the code is the error's own.
    Forbidden = 403 "forbidden" "This is not allowed",
    /// The identity provider refuses the gateway.
    IdpAccess = 502 "identity_provider_access" "The identity provider refuses the gateway's access",
    /// The form is not of this browser's session.
    FormExpired = 403 "form_expired" "This page is no longer good",
    /// The client is no longer there.
    IdpClientGone = 409 "client_gone" "The identity provider no longer knows the client",
    /// The identity provider cannot do this.
    IdpImpossible = 409 "not_supported" "The identity provider cannot do this",
    /// The identity provider refuses the request.
    IdpRefused = 502 "identity_provider_refused" "The identity provider refuses the request",
    /// No answer within the deadline.
    IdpTimeout = 504 "identity_provider_timeout" "The identity provider took too long",
    /// No answer.
    IdpUnavailable = 503 "identity_provider_unavailable" "The identity provider cannot be reached",
    /// What came back cannot be used.
    IdpUnusable = 502 "identity_provider_unusable"
        "The identity provider made a client that cannot be used",
    /// The program's own fault.
    Internal = 500 "internal" "The gateway failed",
    /// A value of the request.
    InvalidParameters = 400 "invalid_parameters" "The request cannot be used as it is",
    /// `Idempotency-Key` came with another request before.
    KeyReused = 422 "idempotency_key_reused" "The idempotency key was used for another request",
    /// The invitation can no longer be used.
    InvitationOver = 410 "invitation_over" "The invitation is over: ask the operator for another",
    /// The body is not JSON.
    MalformedJson = 400 "malformed_json" "The request body is not JSON",
    /// The path has other methods.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    /// No such path, or no such thing.
    NotFound = 404 "not_found" "There is no such thing",
    /// Another change of the same application is under way.
    OperationInProgress = 409 "operation_in_progress" "Another change of it is under way",
    /// More is asked than there is room for.
    Overloaded = 503 "overloaded" "Too much is asked at once",
    /// Applications come from a file.
    RegistryReadOnly = 409 "registry_read_only" "Applications come from a file: edit that",
    /// The registry does not answer.
    RegistryUnavailable = 503 "registry_unavailable" "The registry cannot be reached",
    /// The registry holds what this program cannot read.
    RegistryUnreadable = 500 "registry_unreadable" "The registry cannot be read",
    /// The rest of the body does not come.
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive",
    /// The client is managed elsewhere.
    ScopesUnknown = 422 "scopes_unknown" "The client is managed elsewhere: its scopes are not known",
    /// No operator has signed in, on a page.
    OperatorRequired = 401 "operator_required" "Sign in as the operator first",
    /// Nobody has signed in.
    SessionRequired = 401 "session_required" "Sign in first",
    /// Something with this key is there.
    Taken = 409 "taken" "It is there already",
    /// The admin token is missing or wrong.
    TokenRequired = 401 "token_required" "This address needs the admin token",
    /// Wrong tokens or passwords from this address.
    TooManyAttempts = 429 "too_many_attempts" "Too many attempts",
    /// More requests than are answered.
    TooManyRequests = 429 "too_many_requests" "Too many requests",
    /// What was begun holds, and goes on by itself.
    Unfinished = 503 "unfinished" "It is begun, and goes on by itself",
    /// The body is of another type.
    UnsupportedMediaType = 415 "unsupported_media_type" "The request body has to be application/json",
    /// Not the admin token, on a page.
    WrongToken = 401 "wrong_token" "That is not the admin token",
    /// Password and account do not go together.
    WrongPassword = 401 "wrong_password" "Wrong e-mail address or password",
}

/// An answer that says no. [`Problem::answer`] gives it its body.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    code: &'static str,
    detail: Option<String>,
    invalid: Vec<InvalidParameter>,
    retry_after: Option<Duration>,
    logged: Option<String>,
}

/// What a refused request is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "status": 404,
    "title": "There is no such thing",
    "type": "urn:dcr-gateway:problem:not_found",
    "instance": "urn:dcr-gateway:request:6f4f3b0e-6b0c-4f3e-9b43-0d7b8a3a9c55",
    "detail": "no such application",
    "code": "not_found",
    "request_id": "6f4f3b0e-6b0c-4f3e-9b43-0d7b8a3a9c55",
}))]
pub struct Told<'a> {
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, for people; the same for every problem of this type.
    title: &'a str,
    /// Identifies the kind of problem.
    #[schema(format = "uri")]
    r#type: String,
    /// Identifies this occurrence.
    #[schema(format = "uri")]
    instance: String,
    /// What happened this time, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<&'a str>,
    /// A stable name of the kind of problem, for programs.
    code: &'a str,
    /// The request's id, as in the log and the audit trail.
    request_id: &'a str,
    /// What of the request cannot be used.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    invalid_parameters: &'a [InvalidParameter],
}

/// One value that cannot be used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InvalidParameter {
    /// Where: `dcr_config.initial_client_id`, `filter[name]`, `If-Match`.
    field: String,
    /// Which rule it breaks: `required`, `type`, `enum`, `max_length`, `unknown_property`, …
    rule: &'static str,
    /// What was expected, for people.
    reason: String,
    /// In which part of the request it stands.
    source: Source,
}

/// Parts of a request.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = ParameterSource)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The JSON body.
    Body,
    /// A field of the head.
    Header,
    /// The query.
    Query,
}

impl Problem {
    /// A problem that its kind tells whole.
    pub fn new(kind: Kind) -> Self {
        let (status, code, _) = kind.row();
        Self {
            kind,
            code,
            detail: None,
            invalid: Vec::new(),
            retry_after: matches!(status, 429 | 503 | 504).then_some(SOON),
            logged: None,
        }
    }

    /// Values that cannot be used.
    pub(in crate::portal) fn invalid(source: Source, faults: Vec<Fault>) -> Self {
        let invalid = faults.into_iter().map(|fault| InvalidParameter {
            field: fault.field,
            rule: fault.rule,
            reason: fault.reason,
            source,
        });
        Self {
            invalid: invalid.collect(),
            ..Self::new(Kind::InvalidParameters)
        }
    }

    /// The same with what happened this time.
    pub fn detailed(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The same, to be tried again after a time.
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same for a developer: how the gateway fares with an identity provider, and where that is,
    /// is for the operator and the log.
    pub(in crate::portal) fn for_developers(self) -> Self {
        let is_own = matches!(
            self.kind,
            Kind::IdpAccess | Kind::IdpTimeout | Kind::IdpUnavailable
        );
        match is_own {
            true => Self {
                logged: self.logged.or(self.detail),
                detail: None,
                ..self
            },
            false => self,
        }
    }

    /// What only the log is told.
    pub(in crate::portal) fn logged(&self) -> Option<&str> {
        self.logged.as_deref().or(self.detail.as_deref())
    }

    /// What happened, for people; the same for every problem of its kind.
    pub(in crate::portal) fn title(&self) -> &'static str {
        self.kind.row().2
    }

    /// What happened this time, for people.
    pub(in crate::portal) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// What of the request cannot be used: where, and what was expected.
    pub(in crate::portal) fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.invalid.iter();
        all.map(|one| (one.field.as_str(), one.reason.as_str()))
    }

    /// When to come back.
    pub(in crate::portal) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Its kind.
    pub(in crate::portal) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the same request may fare better in a while.
    pub(in crate::portal) fn is_transient(&self) -> bool {
        self.status().is_server_error() || self.kind == Kind::OperationInProgress
    }

    /// What of the request cannot be used.
    #[cfg(test)]
    pub(super) fn invalid_parameters(&self) -> &[InvalidParameter] {
        &self.invalid
    }

    /// Its status.
    pub(in crate::portal) fn status(&self) -> StatusCode {
        let (status, ..) = self.kind.row();
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its stable name.
    pub(in crate::portal) fn code(&self) -> &'static str {
        self.code
    }

    /// Head and body for a request.
    pub fn answer(&self, request_id: &RequestId) -> Response {
        let (status, _, title) = self.kind.row();
        let told = Told {
            status,
            title,
            r#type: format!("urn:dcr-gateway:problem:{}", self.code),
            instance: format!("urn:dcr-gateway:request:{request_id}"),
            detail: self.detail.as_deref(),
            code: self.code,
            request_id: request_id.as_str(),
            invalid_parameters: &self.invalid,
        };
        // Strings and numbers always serialise.
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut fields = HeaderMap::new();
        let form = HeaderValue::from_static("application/problem+json");
        fields.insert(header::CONTENT_TYPE, form);
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let challenge = match self.kind {
            Kind::SessionRequired | Kind::WrongPassword => Some("Cookie realm=\"portal\""),
            Kind::TokenRequired => Some("Bearer realm=\"admin\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            let challenge = HeaderValue::from_static(challenge);
            fields.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up: who comes back a moment too early only meets the same answer again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        fields.insert(super::request::REQUEST_ID, request_id.as_field());
        (self.status(), fields, body).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(what) => Self::new(Kind::NotFound).detailed(format!("no such {what}")),
            Error::Conflict { code, detail } => Self {
                code,
                ..Self::new(Kind::Conflict).detailed(detail)
            },
            Error::Forbidden { code, detail } => Self {
                code,
                ..Self::new(Kind::Forbidden).detailed(detail)
            },
            Error::InvitationOver => Self::new(Kind::InvitationOver),
            Error::Overloaded => Self::new(Kind::Overloaded),
            Error::TooManyAttempts(wait) => Self::new(Kind::TooManyAttempts).after(wait),
            Error::WrongPassword => Self::new(Kind::WrongPassword),
            Error::WrongToken => Self::new(Kind::WrongToken),
            Error::Invalid(faults) => Self::invalid(Source::Body, faults),
            Error::Changed => Self::new(Kind::Changed),
            Error::KeyReused => Self::new(Kind::KeyReused),
            Error::ReadOnly => Self::new(Kind::RegistryReadOnly),
            Error::Unfinished => Self::new(Kind::Unfinished).after(Duration::from_secs(30)),
            Error::Registry(error) => error.into(),
            Error::Idp(error) => error.into(),
        }
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        let kind = match &error {
            registry::Error::Unavailable(_) => Kind::RegistryUnavailable,
            registry::Error::Busy => Kind::OperationInProgress,
            registry::Error::Taken(_) => {
                return Self::new(Kind::Taken).detailed(error.to_string());
            }
            registry::Error::Keyless
            | registry::Error::Sealed
            | registry::Error::Unreadable(_)
            | registry::Error::Newer(_) => Kind::RegistryUnreadable,
        };
        Self {
            logged: Some(error.to_string()),
            ..Self::new(kind)
        }
    }
}

impl From<registration::Error> for Problem {
    fn from(error: registration::Error) -> Self {
        let detail = error.to_string();
        match error {
            registration::Error::Impossible(_) => Self::new(Kind::IdpImpossible),
            registration::Error::Gone => Self::new(Kind::IdpClientGone),
            registration::Error::Access(_) => Self::new(Kind::IdpAccess),
            registration::Error::Refused(_) => Self::new(Kind::IdpRefused),
            registration::Error::Unusable(_) => Self::new(Kind::IdpUnusable),
            registration::Error::Unavailable(trouble) | registration::Error::Untouched(trouble) => {
                let kind = match trouble.kind {
                    Trouble::TimedOut => Kind::IdpTimeout,
                    _ => Kind::IdpUnavailable,
                };
                Self::new(kind).after(trouble.retry_after)
            }
            registration::Error::LeftBehind { cause, .. } => Self::from(*cause),
        }
        .detailed(detail)
    }
}

impl IntoResponse for Problem {
    /// The bare status; who answers gives it the body that needs the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
