//! One HTTP client for each identity provider, and how much it may ask of it.
//!
//! Always true: no redirect is followed, no answer larger than [`ANSWER_LIMIT`] is read, no call
//! outlives the configured time-out, no more than `calls` are in flight
//! for tokens, and an endpoint that
//! keeps failing is left alone for a while.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, header};
use prometheus::IntCounterVec;
use reqwest::RequestBuilder;
use tokio::sync::Semaphore;

use super::Config;
use crate::{clock, model::time::Timestamp};

/// Bytes of the largest answer read: design section 3.2 gives key sets 1 MiB, and no other answer
/// of an IdP comes near it.
pub const ANSWER_LIMIT: usize = 1024 * 1024;

/// Failures in a row after which an endpoint is left alone.
const FAILURES: u32 = 5;
/// First and longest time for which it is.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long a connection is kept for the next call. Servers close one that is idle, gunicorn after
/// two seconds, Node.js, Apache and uvicorn after five; one that is busy closes it when the next
/// request is there already, and answers nothing. Whether that was done nobody knows then.
const KEPT: Duration = Duration::from_secs(1);
/// Longest `Retry-After` that is obeyed: an IdP that names a day must not switch an API off.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What the gateway asks an IdP for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Where browsers are sent (RFC 6749). The gateway itself never asks there.
    Authorization,
    /// Metadata (RFC 8414, OIDC Discovery).
    Discovery,
    /// Introspection (RFC 7662).
    Introspection,
    /// The key set (RFC 7517).
    Jwks,
    /// Where clients are made and managed (RFC 7591, RFC 7592), or a vendor's management API.
    Registration,
    /// The token endpoint (RFC 6749).
    Token,
    /// What is known of a person (OpenID Connect Core).
    Userinfo,
}

impl Endpoint {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Discovery => "discovery",
            Self::Introspection => "introspection",
            Self::Jwks => "jwks",
            Self::Registration => "registration",
            Self::Token => "token",
            Self::Userinfo => "userinfo",
        }
    }
}

/// The IdP gave no usable answer; nobody's credential is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Unavailable {
    /// What went wrong.
    pub kind: Trouble,
    /// When asking again may help.
    pub retry_after: Duration,
    /// Whether the IdP itself named that time: then it has done nothing of what was asked.
    pub is_told: bool,
}

/// What went wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// As many calls are in flight as are allowed.
    #[error("too many calls are in flight")]
    Busy,
    /// What was waited for did not come about within the deadline of the whole operation.
    #[error("the identity provider was not ready within the deadline of the operation")]
    Deadline,
    /// The call ended without an answer inside the gateway.
    #[error("the call was lost")]
    Lost,
    /// Where the metadata may lie something else answers, at first with this status.
    #[error("there is no metadata where it should be: status {0}")]
    NoMetadata(u16),
    /// The endpoint failed too often and is left alone.
    #[error("the endpoint failed before and is left alone for a moment")]
    Paused,
    /// A status that says to come back later, or a server error.
    #[error("the endpoint answered with status {0}")]
    Status(u16),
    /// The limit of `timeout` passed.
    #[error("the call took too long")]
    TimedOut,
    /// The answer passed [`ANSWER_LIMIT`].
    #[error("the answer is larger than {ANSWER_LIMIT} bytes")]
    TooLarge,
    /// No connection, or it broke.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// No connection was made, so that nothing was sent.
    #[error("the connection failed: {0}")]
    Unreached(String),
    /// The metadata has not been read yet, or does not name the endpoint.
    #[error("the address of the {} endpoint is not known", .0.name())]
    UnknownAddress(Endpoint),
    /// The answer is not what the endpoint has to answer.
    #[error("the answer is not readable: {0}")]
    Unreadable(&'static str),
}

impl Trouble {
    /// As an error to ask again about after `retry_after`.
    pub const fn after(self, retry_after: Duration) -> Unavailable {
        Unavailable {
            kind: self,
            retry_after,
            is_told: false,
        }
    }

    /// The name in logs and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Deadline => "deadline",
            Self::Lost => "lost",
            Self::NoMetadata(_) => "no_metadata",
            Self::Paused => "paused",
            Self::Status(_) => "error_status",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
            Self::Transport(_) | Self::Unreached(_) => "transport",
            Self::UnknownAddress(_) => "unknown_address",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// A whole answer, whatever its status below 500 (and not 429).
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body, at most [`ANSWER_LIMIT`] bytes.
    pub body: Vec<u8>,
}

/// The calls to one IdP.
#[derive(Debug)]
pub struct Caller {
    idp: std::sync::Arc<str>,
    /// For building requests; they are sent with [`Caller::send`].
    pub http: reqwest::Client,
    slots: Semaphore,
    timeout: Duration,
    /// Where the vendor tells when to come back, if not in `Retry-After`.
    reset_field: Option<&'static str>,
    breakers: [Mutex<Breaker>; 7],
    calls: IntCounterVec,
}

impl Caller {
    /// Makes the client of one IdP. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the CA certificates or the proxy of the configuration cannot be used.
    pub fn new(config: &Config, calls: IntCounterVec) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeout)
            .timeout(config.timeout)
            .pool_idle_timeout(KEPT)
            .user_agent(concat!("dcr-gateway/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(proxy) = &config.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str())?);
        }
        if let Some(ca) = &config.ca {
            for certificate in reqwest::Certificate::from_pem_bundle(ca)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            idp: config.name.clone(),
            http: builder.build()?,
            slots: Semaphore::new(config.calls),
            timeout: config.timeout,
            reset_field: config.vendor.preset().reset_field,
            breakers: Default::default(),
            calls,
        })
    }

    /// An endpoint whose last call failed, and why.
    pub fn failing(&self) -> Option<(Endpoint, Trouble)> {
        let all = [
            Endpoint::Discovery,
            Endpoint::Introspection,
            Endpoint::Jwks,
            Endpoint::Registration,
            Endpoint::Token,
            Endpoint::Userinfo,
        ];
        all.into_iter().find_map(|endpoint| {
            let trouble = lock(&self.breakers[endpoint as usize]).last.clone();
            trouble.map(|trouble| (endpoint, trouble))
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Unavailable`] for whatever is no answer to the question: transport, time-out, 5xx, 429,
    /// too large.
    pub async fn send(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Answer, Unavailable> {
        let result = self.send_uncounted(endpoint, request).await;
        let outcome = match &result {
            Ok(answer) if answer.status.is_success() => "ok",
            Ok(_) => "refused",
            Err(unavailable) => unavailable.kind.reason(),
        };
        self.calls
            .with_label_values(&[&*self.idp, endpoint.name(), outcome])
            .inc();
        if let Err(Unavailable { kind, .. }) = &result
            && !matches!(kind, Trouble::Busy | Trouble::Paused)
        {
            tracing::warn!(
                identity_provider = &*self.idp,
                endpoint = endpoint.name(),
                error = %kind,
                "a call to the identity provider failed"
            );
        }
        result
    }

    async fn send_uncounted(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Answer, Unavailable> {
        let breaker = &self.breakers[endpoint as usize];
        lock(breaker).admit(clock::instant())?;
        let slot = match endpoint {
            Endpoint::Authorization
            | Endpoint::Introspection
            | Endpoint::Registration
            | Endpoint::Token
            | Endpoint::Userinfo => Some(
                self.slots
                    .try_acquire()
                    .map_err(|_| Trouble::Busy.after(PAUSE.0))?,
            ),
            // One of each is in flight at most, and everything else depends on them.
            Endpoint::Discovery | Endpoint::Jwks => None,
        };
        let call = exchange(request, self.reset_field);
        let result = tokio::time::timeout(self.timeout, call)
            .await
            .unwrap_or_else(|_| Err(Trouble::TimedOut.after(PAUSE.0)));
        drop(slot);
        lock(breaker).learn(clock::instant(), result.as_ref().err());
        result
    }
}

fn lock(breaker: &Mutex<Breaker>) -> std::sync::MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn exchange(
    request: RequestBuilder,
    reset_field: Option<&str>,
) -> Result<Answer, Unavailable> {
    let mut response = request.send().await.map_err(trouble)?;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let throttled = reset_field.filter(|_| status == StatusCode::TOO_MANY_REQUESTS);
        let headers = response.headers();
        let told = retry_after(headers).or_else(|| until_reset(headers, throttled?));
        return Err(Unavailable {
            is_told: told.is_some(),
            ..Trouble::Status(status.as_u16()).after(told.unwrap_or(PAUSE.0))
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(trouble)? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(Trouble::TooLarge.after(PAUSE.0));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

/// An error's own text may hold the URL, which is ours, and nothing that was sent.
fn trouble(error: reqwest::Error) -> Unavailable {
    if error.is_timeout() {
        return Trouble::TimedOut.after(PAUSE.0);
    }
    let host = error.url().and_then(|url| {
        let host = url.host_str()?;
        let port = url.port().map(|port| format!(":{port}"));
        Some(format!("{host}{}", port.unwrap_or_default()))
    });
    let made = match error.is_connect() {
        true => Trouble::Unreached,
        false => Trouble::Transport,
    };
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let text = told(host, causes);
    made(text).after(PAUSE.0)
}

/// Where, and why, without the layers of the client that only say that something is wrong below.
fn told(host: Option<String>, mut causes: Vec<String>) -> String {
    let whole = causes.join(": ");
    causes.retain(|cause| {
        !cause.starts_with("client error (")
            && !["error sending request", "error resolving DNS"].contains(&cause.as_str())
    });
    let why = match causes.is_empty() {
        true => whole,
        false => causes.join(": "),
    };
    host.into_iter().chain([why]).collect::<Vec<_>>().join(": ")
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); the form with a date is rare and ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The time that a vendor's own field names, in seconds since 1970. One that has passed says
/// nothing.
fn until_reset(headers: &HeaderMap, field: &str) -> Option<Duration> {
    let reset = headers.get(field)?.to_str().ok()?.trim().parse().ok()?;
    let wait = Timestamp::from_secs(reset).since(clock::now());
    (!wait.is_zero()).then_some(wait.min(LONGEST_RETRY_AFTER))
}

/// Leaves an endpoint alone after [`FAILURES`] in a row, or for as long as it asks.
#[derive(Debug, Default)]
struct Breaker {
    /// What the last call ended with, if not with an answer.
    last: Option<Trouble>,
    failures: u32,
    closed_until: Option<Instant>,
    /// Until when the endpoint itself asked to be left alone. Calls that were under way then and
    /// end well say nothing against it.
    told_until: Option<Instant>,
}

impl Breaker {
    fn admit(&mut self, now: Instant) -> Result<(), Unavailable> {
        if let Some(told) = self.told_until.filter(|told| *told > now) {
            return Err(Trouble::Paused.after(told - now));
        }
        let Some(until) = self.closed_until else {
            return Ok(());
        };
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return Err(Trouble::Paused.after(left));
        }
        // One call tries whether the endpoint is back; the others wait for what it finds.
        self.closed_until = (self.failures >= FAILURES).then(|| now + PAUSE.0);
        Ok(())
    }

    fn learn(&mut self, now: Instant, trouble: Option<&Unavailable>) {
        let Some(trouble) = trouble else {
            self.failures = 0;
            self.closed_until = None;
            self.last = None;
            return;
        };
        self.last = Some(trouble.kind.clone());
        match trouble.kind {
            Trouble::Status(429) => self.told_until = Some(now + trouble.retry_after),
            Trouble::Status(_) if trouble.retry_after > PAUSE.0 => {
                self.failures = self.failures.saturating_add(1);
                self.told_until = Some(now + trouble.retry_after);
            }
            // Too large is an answer of an endpoint that is well.
            Trouble::TooLarge => {}
            _ => {
                self.failures = self.failures.saturating_add(1);
                if let Some(doublings) = self.failures.checked_sub(FAILURES) {
                    let pause = PAUSE.0 * 2u32.saturating_pow(doublings.min(8));
                    self.closed_until = Some(now + pause.min(PAUSE.1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Trouble) -> Unavailable {
        kind.after(PAUSE.0)
    }

    #[test]
    fn a_failed_connection_is_told_by_place_and_cause() {
        for (host, causes, expected) in [
            (
                Some("idp.test:9443"),
                &[
                    "error sending request",
                    "client error (Connect)",
                    "no route",
                ][..],
                "idp.test:9443: no route",
            ),
            (
                Some("idp.test"),
                &["error sending request", "client error (SendRequest)"],
                "idp.test: error sending request: client error (SendRequest)",
            ),
            (
                None,
                &["request or response body error", "cut"],
                "request or response body error: cut",
            ),
        ] {
            let causes = causes.iter().map(ToString::to_string).collect();
            assert_eq!(told(host.map(str::to_owned), causes), expected);
        }
    }

    #[test]
    fn five_failures_in_a_row_pause_an_endpoint_longer_each_time() {
        let mut breaker = Breaker::default();
        let mut now = clock::instant();
        for _ in 0..4 {
            breaker.learn(now, Some(&failure(Trouble::TimedOut)));
            assert_eq!(breaker.admit(now), Ok(()));
        }
        for pause in [1, 2, 4, 8, 10, 10] {
            breaker.learn(now, Some(&failure(Trouble::TimedOut)));
            let pause = Duration::from_secs(pause);
            assert_eq!(breaker.admit(now), Err(Trouble::Paused.after(pause)));
            now += pause;
            assert_eq!(breaker.admit(now), Ok(()), "one call tries");
            assert!(breaker.admit(now).is_err(), "the others wait");
        }
        breaker.learn(now, None);
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let mut breaker = Breaker::default();
        let now = clock::instant();
        for _ in 0..10 {
            breaker.learn(now, Some(&failure(Trouble::Status(500))));
            breaker.learn(now, None);
        }
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn retry_after_is_obeyed_at_once() {
        let mut breaker = Breaker::default();
        let now = clock::instant();
        let wait = Duration::from_secs(7);
        for status in [429, 503] {
            breaker.learn(now, Some(&Trouble::Status(status).after(wait)));
            assert_eq!(breaker.admit(now), Err(Trouble::Paused.after(wait)));
            // A call that was under way ends well.
            breaker.learn(now, None);
            assert_eq!(breaker.admit(now), Err(Trouble::Paused.after(wait)));
            assert_eq!(breaker.admit(now + wait), Ok(()));
        }
    }
}
