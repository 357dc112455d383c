//! The developers' address: from where they come, whether their own page sent them, how much they
//! may ask. Who they are is asked by each route.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    extract::{ConnectInfo, Request, State as Extract},
    http::{HeaderMap, Method, header},
    middleware::{self, Next},
    response::Response,
};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use moka::sync::Cache;
use tokio_rustls::TlsAcceptor;

use super::{
    door::{self, Visitor},
    shutdown::Shutdown,
    socket::Bound,
};
use crate::{
    model::{credential::Secret, origin::Origin},
    portal::{
        Portal,
        api::{
            my::visit::{CookieKind, Visit},
            problem::{Kind, Problem},
            request::{REQUEST_ID, RequestId},
        },
        pages,
    },
    proxy::{
        hop::{Hop, Scheme},
        session::{is_cross_site, named},
        state::State,
    },
};

/// Requests of an address in a second, and at once; IPv6 by /64. A page asks for some tens.
const REQUESTS: NonZeroU32 = number(50);
const BURST: NonZeroU32 = number(200);

/// Addresses remembered at most; old ones are forgotten first.
const REMEMBERED: u64 = 10_000;

const fn number(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// What developers are served. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// The configuration at work.
    pub(super) state: Arc<ArcSwap<State>>,
    /// What can be done.
    pub(super) portal: Portal,
    /// Whether the program is stopping.
    pub(super) shutdown: Shutdown,
}

/// How much each address asked.
type Asked = Cache<Origin, Arc<DefaultDirectRateLimiter>>;

impl Desk {
    /// Answers on a bound socket until the program ends or another takes its place.
    pub(super) async fn serve(self, socket: Bound, tls: Option<TlsAcceptor>) {
        let shutdown = self.shutdown.clone();
        let asked: Asked = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_idle(Duration::from_secs(60))
            .build();
        let router = pages::router(self.portal.clone());
        let state = Arc::clone(&self.state);
        let shares = door::Shares::new(move |address| {
            let proxies = &state.load().config.trusted_proxies;
            proxies.iter().any(|proxy| proxy.contains(&address))
        });
        let guard = middleware::from_fn_with_state((self, asked), guard);
        door::serve(router.layer(guard), socket, tls, Some(shares), &shutdown).await;
    }
}

/// Lets through what comes whole, not too often, and not from a page of another site.
async fn guard(
    Extract((desk, asked)): Extract<(Desk, Asked)>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    // The routes find the same id.
    request.headers_mut().insert(REQUEST_ID, id.as_field());
    match admitted(&desk, &asked, &visitor, request).await {
        Ok(request) => {
            let working = visitor.work.begin();
            let response = next.run(request).await;
            drop(working);
            response
        }
        Err(problem) => problem.answer(&id),
    }
}

async fn admitted(
    desk: &Desk,
    asked: &Asked,
    visitor: &Visitor,
    mut request: Request,
) -> Result<Request, Problem> {
    let scheme = match visitor.secure {
        true => Scheme::Https,
        false => Scheme::Http,
    };
    let hop = {
        let proxies = &desk.state.load().config.trusted_proxies;
        Hop::new(proxies, visitor.address, None, scheme, request.headers())
    };
    let fresh = || {
        Arc::new(RateLimiter::direct(
            Quota::per_second(REQUESTS).allow_burst(BURST),
        ))
    };
    let limiter = asked.get_with(Origin::from(hop.client), fresh);
    if let Err(not_until) = limiter.check() {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        return Err(Problem::new(Kind::TooManyRequests).after(wait));
    }
    let head = request.headers();
    let host = head.get(header::HOST).and_then(|host| host.to_str().ok());
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    // Of requests without a cookie too: a page of another site must not sign anybody in either.
    if !reads && is_cross_site(head, host.unwrap_or_default()) {
        return Err(Problem::new(Kind::CrossSiteRequest));
    }
    let visit = Visit {
        address: hop.client,
        secure: hop.secure,
        session: cookie(head, CookieKind::Session.name(hop.secure)),
        sign_in: cookie(head, CookieKind::SignIn.name(hop.secure)),
        operator: cookie(head, CookieKind::Operator.name(hop.secure)),
        guest: cookie(head, CookieKind::Guest.name(hop.secure)),
        path: request.uri().path().to_owned(),
        operation: desk.shutdown.operation(),
    };
    request.extensions_mut().insert(desk.shutdown.operation());
    request.extensions_mut().insert(visit);
    door::arrived(request).await
}

/// A cookie's value. One that comes twice is none: somebody else may have set it.
fn cookie(head: &HeaderMap, name: &str) -> Option<Secret> {
    let mut found = named(head, name);
    match (found.next(), found.next()) {
        (Some(value), None) => Some(Secret::new(value)),
        _ => None,
    }
}
