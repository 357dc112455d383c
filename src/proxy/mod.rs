//! The data plane.

pub mod api;
pub mod strategy;
