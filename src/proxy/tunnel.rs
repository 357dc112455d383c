//! How long an upgraded connection may stay: as long as a new one would be let in.
//!
//! The credential is read once, at the upgrade. Its own time, a logout, and what the directory says
//! of the application count for as long as the tunnel is open. An open tunnel is use, so the idle
//! deadline of a session does not end it.

use std::{sync::Arc, time::Duration};

use pingora::{Error, ErrorSource, ErrorType, proxy::Session};

use super::{
    api::Api,
    authenticate::{Caller, Permit, recheck},
    connection::{Arrival, Lease},
    state::State,
};
use crate::clock;

/// How soon a tunnel notices what has changed. Shorter, thousands of idle tunnels cost CPU; longer,
/// a suspended application goes on for that much longer.
const LOOK: Duration = Duration::from_secs(1);

/// The lease of a tunnel to an API; `None` where nobody in particular opened it.
pub fn lease(state: &Arc<State>, api: &Arc<Api>, permit: &Permit) -> Option<Lease> {
    let caller: Caller = permit.caller()?.clone();
    let (state, api) = (Arc::clone(state), Arc::clone(api));
    Some(Lease::new(move || {
        let now = clock::now();
        recheck(&state, &api, &caller, now)?;
        Ok(caller.ends().since(now).min(LOOK))
    }))
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
