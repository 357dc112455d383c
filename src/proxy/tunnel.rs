//! How long an upgraded connection may stay: as long as a new one would be let in.
//!
//! The credential is read once, at the upgrade. Its own time, a logout, what the directory says of
//! the application, and what a newer configuration asks count for as long as the tunnel is open. An
//! open tunnel is use, so the idle deadline of a session does not end it.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use pingora::{Error, ErrorSource, ErrorType, proxy::Session};

use super::{
    Ctx,
    api::{Access, Api},
    authenticate::{Caller, recheck},
    connection::{Arrival, Lease},
    state::State,
    visit,
};
use crate::{clock, token::session::KeyHint};

/// How soon a tunnel notices what has changed. Shorter, thousands of idle tunnels cost CPU; longer,
/// a suspended application goes on for that much longer.
const LOOK: Duration = Duration::from_secs(1);

/// Why a tunnel ends that the configuration in force would not have let in.
const CHANGED: &str = "configuration_changed";

/// What a tunnel is judged by.
struct Held {
    /// Under which configuration it was found. Weak, or each tunnel would keep alive all that its
    /// own configuration made.
    state: Weak<State>,
    api: Arc<Api>,
    /// Nobody in particular on a public API.
    caller: Option<Caller>,
    /// One of these keys sealed the caller's session, if that is what let it in.
    keys: Vec<KeyHint>,
}

/// The lease of the tunnel that a request opens; `states` are what takes the place of its own.
///
/// # Errors
/// Without a permit.
pub(crate) fn lease(states: &Arc<ArcSwap<State>>, ctx: &Ctx) -> pingora::Result<Lease> {
    let (Some(permit), Some(api), Some(state)) = (&ctx.permit, &ctx.api, &ctx.state) else {
        return Err(visit::no_permit());
    };
    let states = Arc::clone(states);
    let caller = permit.caller().cloned();
    let is_session = caller.as_ref().is_some_and(|c| c.session.is_some());
    let held = Mutex::new(Held {
        state: Arc::downgrade(state),
        api: Arc::clone(api),
        caller,
        keys: state.sessions.keys.hints().filter(|_| is_session).collect(),
    });
    Ok(Lease::new(move || {
        let state = states.load();
        // Nobody else takes it at the same time: it is asked by its connection alone.
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.state.as_ptr() != Arc::as_ptr(&state) {
            held.move_to(&state).ok_or(CHANGED)?;
        }
        let Some(caller) = &held.caller else {
            return Ok(LOOK);
        };
        let now = clock::now();
        recheck(&state, &held.api, caller, now)?;
        Ok(caller.ends().since(now).min(LOOK))
    }))
}

impl Held {
    /// Finds API and strategy again in another configuration; `None` where it would judge the same
    /// credential otherwise, or would not read it at all. What it asks of the caller is not looked
    /// at here.
    fn move_to(&mut self, state: &Arc<State>) -> Option<()> {
        let api = state.api(&self.api.config.name)?;
        let keeps = |key: &KeyHint| state.sessions.keys.hints().any(|kept| kept == *key);
        if !self.keys.iter().all(keeps) {
            return None;
        }
        match &mut self.caller {
            None if api.config.access != Access::Public => return None,
            None => {}
            Some(caller) => {
                let name = &caller.strategy.config.name;
                let mut strategies = api.strategies.iter();
                let strategy = strategies.find(|strategy| strategy.config.name == *name)?;
                if !strategy.judges_like(&caller.strategy) || !strategy.accepts(caller.method) {
                    return None;
                }
                caller.strategy = Arc::clone(strategy);
            }
        }
        self.api = Arc::clone(api);
        self.state = Arc::downgrade(state);
        Some(())
    }
}

/// A tunnel on a connection that cannot ask by itself: its lease is asked whenever bytes flow. One on
/// which nobody speaks stays, and nothing passes through it.
#[derive(Debug)]
pub struct Watched {
    lease: Lease,
    /// When the lease is to be asked again.
    due: Instant,
    ended: Option<&'static str>,
}

impl Watched {
    /// Watches a tunnel from its first byte on.
    pub(crate) fn new(lease: Lease) -> Self {
        Self {
            lease,
            due: clock::instant(),
            ended: None,
        }
    }

    /// Why it has ended, if it has.
    pub(crate) const fn ended(&self) -> Option<&'static str> {
        self.ended
    }

    /// Asks whether bytes may pass.
    ///
    /// # Errors
    /// Where they may not; it has [ended](Self::ended) then.
    pub(crate) fn check(&mut self) -> pingora::Result<()> {
        let now = clock::instant();
        if self.ended.is_none() {
            if now < self.due {
                return Ok(());
            }
            match self.lease.ask() {
                Ok(wait) => {
                    self.due = now + wait;
                    return Ok(());
                }
                Err(reason) => self.ended = Some(reason),
            }
        }
        let reason = self.ended.unwrap_or_default();
        Err(Error::explain(ErrorType::Custom("tunnel_ended"), reason))
    }
}

/// Why a tunnel ended, where that is nobody's failure: its lease is over, or nobody has said
/// anything for `timeouts.read`.
pub fn end(session: &Session, error: &Error, arrival: Option<&Arrival>) -> Option<&'static str> {
    if !session.was_upgraded() {
        return None;
    }
    let of_upstream = *error.esource() == ErrorSource::Upstream;
    let is_idle = of_upstream && *error.etype() == ErrorType::ReadTimedout;
    let idle = is_idle.then_some("tunnel_idle");
    arrival.and_then(Arrival::ended).or(idle)
}
