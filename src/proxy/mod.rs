//! The data plane.

pub mod api;
pub mod connection;
pub mod path;
pub mod route;
pub mod strategy;
