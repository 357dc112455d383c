//! What a guarded proxy may know of a request that was let through.

use std::sync::Arc;

use http::HeaderValue;
use pingora::proxy::Session;

use crate::{
    model::{application::Application, scope::Scopes},
    proxy::{
        Ctx,
        api::Api,
        authenticate::{self, Method},
        verified::Verified,
    },
};

/// A request that the guard has let through: for which API, and who calls.
///
/// It travels with the request, in the extensions of its head. Each hook of the guarded proxy from
/// `request_filter` on finds it with [`Visit::of`]. Changing the head does not lose it; putting
/// another head in its place does, and changes nothing of what the guard does.
#[derive(Clone, Debug)]
pub struct Visit {
    id: HeaderValue,
    api: Arc<Api>,
    caller: Option<Caller>,
}

/// Who calls, and how that was proved.
#[derive(Clone, Debug)]
pub struct Caller {
    method: Method,
    strategy: Arc<str>,
    verified: Arc<Verified>,
    application: Option<Arc<Application>>,
}

impl Visit {
    /// What the guard knows of a request; `None` before it has let it through.
    pub fn of(session: &Session) -> Option<&Self> {
        session.req_header().extensions.get()
    }

    pub(super) fn new(request: &Ctx) -> pingora::Result<Option<Self>> {
        let caller = request.permit()?.caller().map(Caller::new);
        let visit = |api: &Arc<Api>| Self {
            id: request.id().clone(),
            api: Arc::clone(api),
            caller,
        };
        Ok(request.api().map(visit))
    }

    /// The name of the API whose route took the request: `apis[].name`.
    pub fn api(&self) -> &str {
        &self.api.config.name
    }

    /// Who calls; `None` on a public API, and for a browser's preflight that was passed on.
    pub const fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// What identifies this request in the guard's log lines and answers, and towards the upstream:
    /// `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Caller {
    fn new(caller: &authenticate::Caller) -> Self {
        Self {
            method: caller.method,
            strategy: Arc::clone(&caller.strategy.config.name),
            verified: Arc::clone(&caller.verified),
            application: caller.application.clone(),
        }
    }

    /// Its application, as the registry had it when the request was judged: id, name, developer.
    /// `None` only on an API with `access: client`, whose clients need not be in the registry.
    pub fn application(&self) -> Option<&Application> {
        self.application.as_deref()
    }

    /// The client id that the identity provider issued.
    pub fn client_id(&self) -> &str {
        self.verified.facts.client_id.as_str()
    }

    /// How it proved who it is.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The scopes that were granted to it.
    pub fn scopes(&self) -> &Scopes {
        &self.verified.facts.scopes
    }

    /// The strategy that judged: `auth_strategies[].name`.
    pub fn strategy(&self) -> &str {
        &self.strategy
    }
}
