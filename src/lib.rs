//! A reverse proxy that lets through only credentials issued by Dynamic Client Registration.
//!
//! A request brings a client id and secret, a bearer token, or the session cookie that one of those
//! earned. The gateway finds the identity provider (IdP) that issued it, verifies it, maps it to an
//! application, checks that the application is registered for the API, and tells the upstream who
//! is calling. The module list below is in reading order: from the words of the domain up to the
//! running program. To follow one request instead, begin at [`proxy`].
//!
//! # As a library
//!
//! Another Pingora program puts this authentication in front of its own proxy with two calls:
//!
//! ```no_run
//! # use pingora::{proxy::{ProxyHttp, http_proxy_service}, server::Server};
//! # fn embed<P>(server: &mut Server, my_proxy: P) -> Result<(), dcr_gateway::guard::Error>
//! # where P: ProxyHttp + Send + Sync + 'static, P::CTX: Send + Sync {
//! let guard = dcr_gateway::guard::Guard::load("guard.yaml")?;
//! let mut service = http_proxy_service(&server.configuration, guard.protect(my_proxy));
//! # service.add_tcp("127.0.0.1:8000");
//! # server.add_service(service);
//! # Ok(())
//! # }
//! ```
//!
//! The file is the gateway's own, without listeners and upstreams. [`guard`] tells the rest: a whole
//! program, what the guard does in each hook, how a hook learns who calls, and what stays the
//! program's own work. That module is what this crate offers to others; the other modules are public
//! for the program of this crate, its benches and its tests, and change as those need it.
//!
//! # Floors
//!
//! | floor | modules | what they do |
//! | --- | --- | --- |
//! | 5 | [`server`], [`guard`] | the two ways to run it: as a program, which binds, replaces and stops everything and has an operator's address; in another's |
//! | 4 | [`reload`] | applies edited files, and what a registry brings |
//! | 3 | [`proxy`], [`portal`] | the data plane: judges requests and forwards them; the control plane: registers applications, and keeps them in a registry. They do not know each other: they meet in the directory |
//! | 2 | [`idp`], [`directory`] | what is said to IdPs, registering clients included; every application in memory |
//! | 1 | [`token`], [`telemetry`] | tokens, keys and cookies; log lines and metrics |
//! | 0 | [`model`], [`clock`] | the domain's words; the one reader of the time |
//!
//! A module uses what lies below its floor. [`config`] stands beside them: it reads the file into
//! the `Config` types that the floors define, and the finished [`config::Config`], which decides
//! nothing any more, is read by whoever is set up from it. `model` and `token` are pure: no I/O, no
//! clock, no lock, nothing async; bytes, keys and `now` go in, facts come out.
//!
//! # Life of a request
//!
//! 1. [`proxy::connection`] counts the connection, makes the TLS handshake where the listener speaks
//!    TLS, and reads the head within its limits and its deadline; only then does Pingora see it.
//! 2. [`proxy::Gateway`] (in another program, [`guard::Guarded`]) takes the [`proxy::state::State`] of the moment, which the request keeps,
//!    however often the configuration changes meanwhile.
//! 3. [`proxy::path`] refuses paths that can be read in two ways; [`proxy::route`] finds the API.
//!    [`proxy::hop`] has read what trusted proxies tell of the client; a browser's preflight is for
//!    the request that it announces, and [`proxy::cors`] answers it where the API says so.
//! 4. [`proxy::authenticate`] picks the one credential that counts and hands it to
//!    [`proxy::exchange`], [`proxy::bearer`] or [`proxy::session`]. What they verify is remembered in
//!    a [`proxy::cache`]; what they need from the IdP they ask of an [`idp::Provider`].
//! 5. The verified client is looked up in the [`directory`] and authorised: application,
//!    registration, scopes. That gives a [`proxy::authenticate::Permit`] or a
//!    [`proxy::denial::Denial`], whose answer is sent at once.
//! 6. [`proxy::headers`] hides the credential and sets who is calling; [`proxy::upstream`] has picked
//!    the target; Pingora streams both ways. An upgraded connection goes on for as long
//!    as [`proxy::tunnel`] says that its credential holds.
//! 7. On the way back a session cookie is set where one is due. [`proxy::record`] counts how it all
//!    ended, for its application in [`proxy::traffic`] too, and writes one line; [`proxy::refusals`] keeps why, for whoever asks by the request's id.
//!
//! Each check on that way has a name ([`model::check`]). [`proxy::walk`] takes a request that nobody
//! sent the same way and tells what every check finds ([`telemetry::checks`]): that is what
//! `dcr-gateway explain` prints.
//!
//! # Life of an application
//!
//! 1. [`portal::api`] reads an operator's request and asks a [`portal::Portal`] for what it says.
//! 2. Before an IdP is asked to change anything, the intent is written to the
//!    [`portal::registry`]. An [`idp::registration::Registrar`] then speaks the IdP's dialect, and
//!    one transaction keeps the outcome and takes the intent away. What is interrupted in between
//!    is finished or undone, by this process or by the next.
//! 3. [`portal::live`] puts every change to work before anybody is answered: applications in the
//!    [`directory`], strategies through [`reload`], ended sessions in the data plane. Other gateways
//!    that share the registry follow it the same way.
//!
//! # Always true
//!
//! - Nothing is forwarded without a permit; one function makes permits, for each request anew. What
//!   a cache remembers is that a credential was genuine, never that it may pass.
//! - A header that vouches for something is removed from the request before it is set, on every way
//!   to an upstream.
//! - An IdP's failure is never a 401, and a bad credential never a 5xx.
//! - No token, secret or cookie is in a log line, a metric, an error or `Debug` output.
//! - A faulty file changes nothing. A good one is applied whole, between two requests.
//! - A client's secret is in the one answer that makes it, and nowhere else. What clients are managed
//!   with is kept sealed.
//! - What was taken away is refused before the answer says that it was.
//! - On the request path of a known credential there is no lock that another request can hold for
//!   long, no system call of our own but the wait for such a lock, and no metric looked up by its
//!   labels.

pub mod model;

pub mod clock;

pub mod token;

pub mod telemetry;

pub mod directory;

pub mod idp;

pub mod proxy;

pub mod portal;

pub mod config;

pub mod reload;

pub mod guard;

pub mod server;

mod yaml;
