//! A reverse proxy that lets through only credentials issued by Dynamic Client Registration.

pub mod config;
pub mod idp;
pub mod model;
pub mod proxy;
pub mod server;
pub mod token;
