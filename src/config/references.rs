//! What spans sections: names that must exist, and choices that do not go together.

use std::{collections::HashMap, sync::Arc};

use super::{Config, mistakes, section::At, strategy::introspects, top::Others, value};
use crate::{
    directory::file::Known,
    idp::Config as Provider,
    model::fault::Place,
    proxy::{
        api::Access,
        strategy::{Config as Strategy, Verify},
    },
};

/// The names that entries give themselves, taken before the entries are read: a fault elsewhere
/// in an entry must not make its name unknown too.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) providers: Set,
    pub(crate) strategies: Set,
    pub(crate) apis: Set,
}

/// The names of one kind of entry, each with its place.
#[derive(Debug, Default)]
pub(crate) struct Set(HashMap<String, Place>);

impl Set {
    /// Takes the names; a fault where one is there twice.
    pub(crate) fn read(&mut self, entries: &[At<'_>]) {
        for entry in entries {
            let Some(at) = entry.child("name") else {
                continue;
            };
            let Some(name) = at.as_text().and_then(value::name) else {
                continue;
            };
            let place = at.place();
            match self.0.get(name) {
                None => drop(self.0.insert(name.to_owned(), place)),
                Some(Place { file, line, .. }) if *file == place.file => {
                    at.expected(format_args!(
                        "another name: line {line} has this one already"
                    ));
                }
                // One of the two is the registry's.
                Some(Place { file, line, .. }) => at.expected(format_args!(
                    "another name: {}:{line} has this one already",
                    file.display()
                )),
            }
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The end of a message that says which names there are.
    pub(crate) fn list(&self) -> String {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        match names.as_slice() {
            [] => "there is none".to_owned(),
            names => names.join(", "),
        }
    }
}

/// Checks the configuration as a whole and reports at the entries that it was read from.
pub(crate) fn check(
    config: &mut Config,
    names: &Names,
    strategies_at: &[At<'_>],
    apis_at: &[At<'_>],
    others: Others,
    whole: &At<'_>,
) {
    for at in strategies_at {
        if let Some(at) = at.child("identity_provider")
            && let Some(name) = at.as_text()
            && !names.providers.has(name)
        {
            at.expected(format_args!(
                "one of identity_providers: {}",
                names.providers.list()
            ));
        }
        if let Some(strategy) = find(config, at) {
            check_strategy(config, strategy, at);
        }
    }
    for at in apis_at {
        check_api(config, names, others, at);
    }
    if others != Others::None {
        for api in &mut config.apis {
            api.auth_strategies
                .retain(|name| names.strategies.has(name));
            if others == Others::Known
                && api.auth_strategies.is_empty()
                && api.access != Access::Public
            {
                whole.warn(format_args!(
                    "apis: {:?}: accepts no strategy yet, so it is not ready",
                    api.name
                ));
            }
        }
    }
    if apis_at.is_empty() {
        whole.warn("no apis: every request is answered with 404");
    }
    if config.session_keys.is_empty() && config.auth_strategies.iter().any(|s| s.session) {
        whole.warn(
            "no session_keys: one is made at start, so all sessions end with the process and no \
             other gateway knows them",
        );
    }
}

/// The strategy that was read from an entry.
fn find<'a>(config: &'a Config, at: &At<'_>) -> Option<&'a Strategy> {
    strategy_named(config, at.child("name")?.as_text()?)
}

fn strategy_named<'a>(config: &'a Config, name: &str) -> Option<&'a Strategy> {
    config
        .auth_strategies
        .iter()
        .find(|strategy| *strategy.name == *name)
}

fn provider_of<'a>(config: &'a Config, strategy: &Strategy) -> Option<&'a Provider> {
    let mut providers = config.identity_providers.iter();
    providers.find(|provider| provider.name == strategy.identity_provider)
}

fn check_strategy(config: &Config, strategy: &Strategy, at: &At<'_>) {
    let provider = provider_of(config, strategy);
    let has_client = provider.is_some_and(|provider| provider.client.is_some());
    if strategy.tokens.verify == Verify::Introspection && provider.is_some() && !has_client {
        at.fault(format_args!(
            "bearer.verify is introspection: expected identity provider {:?} to have a client, \
             as which the gateway asks",
            strategy.identity_provider
        ));
    }
    let introspects = introspects(strategy, has_client);
    if let Some(provider) = provider {
        for mistake in mistakes::find(provider, strategy, introspects) {
            at.warn(mistake);
        }
    }
    if introspects && strategy.audience.is_empty() && strategy.scopes_required.is_empty() {
        at.fault(
            "introspects tokens, and any active token of the identity provider would pass: \
             expected audience or scopes_required (or bearer: {verify: jwt})",
        );
    }
}

fn check_api(config: &Config, names: &Names, others: Others, at: &At<'_>) {
    let public = at
        .child("access")
        .is_some_and(|at| at.as_text() == Some("public"));
    let Some(list) = at.child("auth_strategies") else {
        return;
    };
    let mut introspecting: Option<&Arc<str>> = None;
    let mut with_session = None;
    for item in list.items() {
        let Some(name) = item.as_text() else { continue };
        match others {
            _ if names.strategies.has(name) => {}
            Others::None => item.expected(format_args!(
                "one of auth_strategies: {}",
                names.strategies.list()
            )),
            Others::Known => item.warn(format_args!(
                "{name:?}: no such strategy, neither in this file nor in the registry, yet"
            )),
            Others::Unknown => {}
        }
        let Some(strategy) = strategy_named(config, name) else {
            continue;
        };
        if strategy.session {
            with_session = Some(&strategy.name);
        }
        let provider = provider_of(config, strategy);
        let has_client = provider.is_some_and(|provider| provider.client.is_some());
        if strategy.bearer && introspects(strategy, has_client) {
            match introspecting {
                Some(first) if *first != strategy.name => item.fault(format_args!(
                    "{name:?}: introspects tokens and so does {first:?}: expected one such \
                     strategy, so that a token never goes to two identity providers (set bearer: \
                     {{verify: jwt}} in the other)"
                )),
                _ => introspecting = Some(&strategy.name),
            }
        }
    }
    if let Some(name) = with_session
        && !public
        && let Some(at) = at.child("forward_access_token")
        && value::is_on(&at)
    {
        at.fault(format_args!(
            "strategy {name:?} lists session, and a session holds no token to forward: remove one \
             of the two"
        ));
    }
}

impl Config {
    /// What the applications may refer to.
    pub fn known(&self) -> Known {
        let strategies = self
            .auth_strategies
            .iter()
            .map(|strategy| strategy.name.clone());
        let apis = self
            .apis
            .iter()
            .map(|api| (api.name.clone(), api.auth_strategies.clone()));
        Known::new(strategies, apis)
    }
}
