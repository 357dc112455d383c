//! An API: a named product, its routes, who may call it, and its upstream.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::{
    authenticate, cors,
    denial::{Challenges, Code},
    strategy::Strategy,
    upstream::{self, Upstream},
};
use crate::{
    model::scope::ScopeRule,
    telemetry::metrics::{Metrics, Slot},
};

/// Who may call an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any active application.
    Application,
    /// Any verified client, known to the directory or not.
    Client,
    /// Anyone; no credential is read.
    Public,
    /// Applications with an approved registration.
    Registered,
}

/// Oddities of a path that an upstream needs as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathsAsSent {
    /// `%252f` and the like pass.
    pub double_encoding: bool,
    /// `//` passes.
    pub double_slash: bool,
    /// `%2f` passes.
    pub encoded_slash: bool,
}

/// One entry of `apis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name that registrations refer to; unique.
    pub name: Arc<str>,
    /// Who may call.
    pub access: Access,
    /// Names of the strategies accepted, in order; empty only where `access` is public.
    pub auth_strategies: Vec<Arc<str>>,
    /// Scopes needed beside those of the strategy.
    pub scopes_required: ScopeRule,
    /// Where requests for this API arrive.
    pub routes: Vec<RouteConfig>,
    /// Whether the matched prefix is cut off before forwarding.
    pub strip_prefix: bool,
    /// Path oddities that pass.
    pub paths_as_sent: PathsAsSent,
    /// What becomes of preflights that are not answered here. Default authenticate.
    pub preflight: cors::Unanswered,
    /// Which origins' pages may read answers, and so whose preflights are answered here. Default
    /// nobody's.
    pub cors: Option<cors::Config>,
    /// Sends the verified token upstream as Bearer.
    pub forward_access_token: bool,
    /// On public APIs: passes the client's Authorization line.
    pub forward_authorization: bool,
    /// Where requests go; `None` behind a guard, which leaves that to the program around it.
    pub upstream: Option<upstream::config::Config>,
}

/// One entry of `apis[].routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Exact names or `*.suffix`, lower case, without port; empty: any host.
    pub hosts: Vec<String>,
    /// Prefixes on segment boundaries, or exact paths written `=/x`. At least one.
    pub paths: Vec<String>,
    /// Methods accepted; empty: all that the gateway passes.
    pub methods: Vec<Method>,
}

/// An API at work.
#[derive(Debug)]
pub struct Api {
    /// What was configured.
    pub config: Config,
    /// Its strategies, in the configured order.
    pub strategies: Vec<Arc<Strategy>>,
    /// Where its requests go; `None` behind a guard.
    pub upstream: Option<Arc<Upstream>>,
    /// What it says to those without a good credential.
    pub challenges: Challenges,
    /// Whose pages may read its answers.
    pub cors: Option<cors::Policy>,
    requests: [Slot; Code::COUNT],
}

impl Api {
    /// Puts an API together.
    pub fn new(
        config: Config,
        strategies: Vec<Arc<Strategy>>,
        upstream: Option<Arc<Upstream>>,
    ) -> Self {
        let any = |has: fn(&Strategy) -> bool| strategies.iter().any(|strategy| has(strategy));
        let basic = any(|strategy| strategy.config.client_credentials);
        let bearer = any(|strategy| strategy.config.bearer);
        Self {
            challenges: Challenges::new(&config.name, basic, bearer),
            cors: config.cors.as_ref().map(cors::Policy::new),
            requests: std::array::from_fn(|_| Slot::default()),
            strategies,
            upstream,
            config,
        }
    }

    /// Whether a strategy of this API accepts a method.
    pub fn accepts(&self, method: authenticate::Method) -> bool {
        let mut strategies = self.strategies.iter();
        strategies.any(|strategy| strategy.accepts(method))
    }

    /// Whether pages of the request's origin may act with the session cookie.
    pub fn trusts_origin(&self, request: &HeaderMap) -> bool {
        (self.cors.as_ref()).is_some_and(|cors| cors.trusts(request))
    }

    /// Counts how a request ended.
    pub fn count(&self, metrics: &Metrics, code: Code) {
        self.requests[code as usize].count(&metrics.requests, &[&self.config.name, code.name()]);
    }
}
