//! A reverse proxy that lets through only credentials issued by Dynamic Client Registration.

pub mod clock;
pub mod config;
pub mod directory;
pub mod idp;
pub mod model;
pub mod proxy;
pub mod server;
pub mod telemetry;
pub mod token;
mod yaml;
