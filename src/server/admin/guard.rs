//! Who is let in: the admin token, how often it may be guessed, how much may be asked.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State as Extract},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use moka::sync::Cache;
use subtle::ConstantTimeEq as _;

use super::{Admin, explain};
use crate::{
    model::origin::Origin,
    portal::api::{
        problem::{Kind, Problem},
        request::{REQUEST_ID, RequestId},
    },
    server::door::{self, Visitor},
};

/// Wrong tokens that an address may try in a minute, IPv6 by /64.
const WRONG_TOKENS: NonZeroU32 = number(10);

/// How long a right token marks an address: a mistake of one program there must not lock out the
/// others.
const PROVEN: Duration = Duration::from_secs(24 * 3600);

/// Addresses remembered at most; old ones are forgotten first.
const REMEMBERED: u64 = 10_000;

/// Requests with the token in a second, and at once. A page of a console asks for some tens; a
/// script in a loop must not keep the registry from the data plane.
const REQUESTS: NonZeroU32 = number(100);
const BURST: NonZeroU32 = number(200);

const fn number(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// What was tried and asked.
#[derive(Debug)]
pub(super) struct Guard {
    requests: DefaultDirectRateLimiter,
    wrong: Cache<Origin, Arc<DefaultDirectRateLimiter>>,
    proven: Cache<Origin, ()>,
}

/// How a request may go on.
enum Verdict {
    Operator,
    Stranger,
    /// One that has to wait.
    Guesser(Duration),
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            requests: RateLimiter::direct(Quota::per_second(REQUESTS).allow_burst(BURST)),
            wrong: Cache::builder()
                .max_capacity(REMEMBERED)
                // Whoever has been silent for so long has all attempts again.
                .time_to_idle(Duration::from_secs(60))
                .build(),
            proven: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(PROVEN)
                .build(),
        }
    }
}

impl Guard {
    /// Judges a token. Where an address has never known the right one, each attempt is counted
    /// before it is looked at: once they are used up not even the right one opens, else there
    /// would be no limit to guessing.
    fn judge(&self, address: IpAddr, is_right: impl FnOnce() -> bool) -> Verdict {
        let origin = Origin::from(address);
        let count = || {
            let fresh = || Arc::new(RateLimiter::direct(Quota::per_minute(WRONG_TOKENS)));
            self.wrong.get_with(origin, fresh).check().map_err(wait)
        };
        let is_proven = self.proven.contains_key(&origin);
        if !is_proven && let Err(wait) = count() {
            return Verdict::Guesser(wait);
        }
        if is_right() {
            if !is_proven {
                self.proven.insert(origin, ());
                // What was counted was the right one.
                self.wrong.invalidate(&origin);
            }
            return Verdict::Operator;
        }
        match is_proven.then(count) {
            Some(Err(wait)) => Verdict::Guesser(wait),
            _ => Verdict::Stranger,
        }
    }
}

fn wait(
    not_until: governor::NotUntil<<DefaultClock as governor::clock::Clock>::Instant>,
) -> Duration {
    not_until.wait_time_from(DefaultClock::default().now())
}

/// Lets operators through, and what they send only when it is there whole.
pub(super) async fn guard(
    Extract((admin, guard)): Extract<(Admin, Arc<Guard>)>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    // The routes find the same id.
    request.headers_mut().insert(REQUEST_ID, id.as_field());
    match admitted(&admin, &guard, &visitor, request).await {
        Ok(Admitted::Answered(response)) => response,
        Ok(Admitted::Whole(mut request)) => {
            request.extensions_mut().insert(admin.shutdown.operation());
            let working = visitor.work.begin();
            let response = next.run(request).await;
            drop(working);
            response
        }
        Err(problem) => problem.answer(&id),
    }
}

/// How far a request of an operator came.
enum Admitted {
    Answered(Response),
    Whole(Request),
}

async fn admitted(
    admin: &Admin,
    guard: &Guard,
    visitor: &Visitor,
    request: Request,
) -> Result<Admitted, Problem> {
    let Some(token) = token(request.headers()) else {
        return Err(Problem::new(Kind::TokenRequired));
    };
    let is_right = || admin.is_token(token);
    match guard.judge(visitor.address.ip(), is_right) {
        Verdict::Operator => {}
        Verdict::Stranger => {
            // As often as an address may guess, and no oftener.
            tracing::warn!(client = %visitor.address.ip(), "a wrong admin token");
            return Err(Problem::new(Kind::TokenRequired));
        }
        Verdict::Guesser(wait) => return Err(Problem::new(Kind::TooManyAttempts).after(wait)),
    }
    if let Err(not_until) = guard.requests.check() {
        return Err(Problem::new(Kind::TooManyRequests).after(wait(not_until)));
    }
    if let Some(response) = explain::answer(admin, &request) {
        return Ok(Admitted::Answered(response));
    }
    let writes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    // Said of every write, before anybody wonders what is wrong with this one.
    if writes && request.uri().path().starts_with("/v2/") && admin.portal.live().is_none() {
        return Err(Problem::new(Kind::RegistryReadOnly));
    }
    door::arrived(request).await.map(Admitted::Whole)
}

/// The token of a request; `None` where it brings none, which is no guess.
fn token(head: &HeaderMap) -> Option<&[u8]> {
    let line = head.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, token) = line.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

impl Admin {
    /// Whether this is the configured token. Without a configured one, none is.
    fn is_token(&self, presented: &[u8]) -> bool {
        let state = self.state.load();
        let token = state.config.admin_token.as_ref();
        token.is_some_and(|token| bool::from(presented.ct_eq(token.expose().as_bytes())))
    }
}
