//! The running program: bound sockets, Pingora's services, the stop.
//!
//! [`socket`] binds, [`service`] runs the proxy on what was bound, [`shutdown`] ends it without
//! losing a request.

pub mod service;
pub mod shutdown;
pub mod socket;

#[cfg(test)]
pub(crate) mod world;
