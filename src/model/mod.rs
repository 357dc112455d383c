//! The domain's words. Pure: no I/O, no clock, no lock, nothing async.
//!
//! What is built here was checked when it was built, so code that holds a [`credential::ClientId`]
//! or a [`claims::ClaimPath`] need not look again.

pub mod application;
pub mod check;
pub mod claims;
pub mod credential;
pub mod fault;
pub mod origin;
pub mod scope;
pub mod time;
pub mod traffic;
