//! Black-box tests: the built program, an identity provider, an upstream, and clients that know
//! the configuration and HTTP only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod harness;

mod answers;
mod applications;
mod attacks;
mod basic;
mod bearer;
mod browser;
mod chaos;
mod check;
mod conf;
mod corpus;
mod cors;
mod embed;
mod explain;
mod forwarding;
mod framing;
mod grpc;
mod h2c;
mod headers;
mod introspection;
mod library;
mod limits;
mod methods;
mod monitoring;
mod my;
mod nginx;
mod outages;
mod portal;
mod quickstart;
mod real_idp;
mod registration;
mod registry;
mod reload;
mod routes;
mod secrets;
mod session;
mod shutdown;
mod smuggling;
mod stalls;
mod status;
mod streaming;
mod systemd;
mod tls;
mod upgrade;
mod upstreams;
mod vendors;
mod websocket;
