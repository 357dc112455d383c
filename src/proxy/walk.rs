//! A request that nobody sent, walked to its verdict: the way of a real one, with every check told.
//!
//! Nothing is placed at an upstream. Whatever an identity provider has to say it is asked for.

use std::{net::SocketAddr, sync::Arc};

use http::{header, request::Parts};

use super::{
    Ctx,
    api::Api,
    connection::head::is_clean,
    denial::{Code, Denial},
    head::host,
    hop::{Hop, Scheme},
    judge::{self, Verdict},
    state::State,
};
use crate::{
    config::Role,
    model::{
        check::Check,
        credential::{ClientId, Credential},
    },
    telemetry::checks::{Checks, Step},
};

/// What a walk came to.
#[derive(Debug)]
pub struct Walk {
    /// The API that takes the request, where one does.
    pub api: Option<Arc<str>>,
    /// Every check that was made, in order.
    pub steps: Vec<Step>,
    /// How it ended.
    pub verdict: Result<Passed, Denial>,
}

/// A request that is not refused.
#[derive(Debug)]
pub enum Passed {
    /// The gateway answers it by itself; the word says what it is.
    Answered(&'static str),
    /// It would be sent to the upstream.
    Forwarded(Option<Who>),
}

/// Who calls.
#[derive(Debug)]
pub struct Who {
    /// The name of the strategy that judged.
    pub strategy: Arc<str>,
    /// The method used.
    pub method: &'static str,
    /// The client.
    pub client_id: String,
    /// The application's id and name, where the directory knows it.
    pub application: Option<(uuid::Uuid, Box<str>)>,
}

/// Walks a request to its verdict. `target` is what would stand in its first line, as it would
/// stand there; `scheme` is that of the listener. It comes from nowhere in particular.
pub async fn walk(state: &Arc<State>, request: &Parts, target: &[u8], scheme: Scheme) -> Walk {
    let checks = Checks::recording();
    let mut ctx = Ctx::new();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let proxies = &state.config.trusted_proxies;
    ctx.hop = Hop::new(proxies, nowhere, None, scheme, &request.headers);
    ctx.host = host(request).into();
    ctx.state = Some(Arc::clone(state));
    ctx.checks = checks.clone();
    let verdict = match front(state, request, target, &checks) {
        Ok(()) => judge::judge(request, target, false, &mut ctx).await,
        Err(denial) => Err(denial),
    };
    let verdict = verdict.map(|verdict| match verdict {
        Verdict::Answer(_, what) => Passed::Answered(what),
        Verdict::Permit(permit) => Passed::Forwarded(permit.caller().map(|caller| {
            Who {
                strategy: Arc::clone(&caller.strategy.config.name),
                method: caller.method.name(),
                client_id: caller.verified.facts.client_id.as_str().to_owned(),
                application: caller
                    .application
                    .as_ref()
                    .map(|known| (known.id, known.name.clone())),
            }
        })),
    });
    if let (Err(denial), Some(api)) = (&verdict, &ctx.api) {
        tell_elsewhere(&checks, state, api, denial, request);
    }
    Walk {
        api: ctx.api.map(|api| Arc::clone(&api.config.name)),
        steps: checks.steps(),
        verdict,
    }
}

/// Refuses what the gateway's front refuses before there is a request. A guard has no front.
fn front(state: &State, request: &Parts, target: &[u8], checks: &Checks) -> Result<(), Denial> {
    /// Spaces, version and line end of a first line; colon, space and line end of a field.
    const OF_LINE: (usize, usize) = ("  HTTP/1.1\r\n".len(), ": \r\n".len());
    if state.config.role == Role::Guard {
        return Ok(());
    }
    let fields = request.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + OF_LINE.1);
    let line = request.method.as_str().len() + target.len() + OF_LINE.0;
    let size = line + fields.sum::<usize>() + "\r\n".len();
    let limit = state.config.limits.header_size;
    if size > limit {
        checks.failed(Check::Head, || {
            format!("{size} bytes, and limits.header_size is {limit}")
        });
        return Err(Denial::new(Code::HeaderTooLarge, "head"));
    }
    if !is_clean(target) {
        checks.failed(Check::Head, || {
            "the target holds a space, a control character or #".to_owned()
        });
        return Err(Denial::new(Code::InvalidRequest, "malformed_target"));
    }
    Ok(())
}

/// Tells of strategies that know a client which those of the API do not: an application under
/// another strategy is an easy mistake to make.
fn tell_elsewhere(checks: &Checks, state: &State, api: &Api, denial: &Denial, request: &Parts) {
    if !["unknown_client", "unknown_application"].contains(&denial.reason) {
        return;
    }
    let line = request.headers.get(header::AUTHORIZATION);
    let presented = || match Credential::parse(line?.as_bytes()) {
        Ok(Credential::Basic(id, _)) => Some(id),
        _ => None,
    };
    let Some(id): Option<ClientId> = denial.client_id.as_deref().cloned().or_else(presented) else {
        return;
    };
    let mut names: Vec<&str> = state
        .strategies
        .values()
        .filter(|strategy| strategy.applications.knows(id.as_str()))
        .map(|strategy| &*strategy.config.name)
        .collect();
    names.sort_unstable();
    for name in names {
        let lists = api
            .config
            .auth_strategies
            .iter()
            .any(|known| **known == *name);
        checks.skipped(Check::Strategy, || match lists {
            true => format!("{name}: it has an application with this client id, but did not judge"),
            false => format!(
                "{name}: it has an application with this client id, but API {} does not list it",
                api.config.name
            ),
        });
    }
}
