//! The vendors of the mission: an emulation of each, and what every kind of credential gets in each
//! way. Adding a vendor is adding its emulation and its table here.
//!
//! [`emulation`] is what the emulations share, [`site`] a gateway configured for one in the few lines
//! that its preset leaves to write, [`shared`] what holds for all of them, [`table`] the driver of the
//! tables.

pub(crate) mod bridge;
mod check;
pub(crate) mod emulation;
pub(crate) mod faithful;
mod managed;
mod shared;
mod site;
mod table;

pub(crate) mod auth0;
pub(crate) mod azure;
pub(crate) mod curity;
pub(crate) mod generic;
pub(crate) mod okta;
pub(crate) mod wso2;
