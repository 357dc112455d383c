//! Konnect's shapes of providers and strategies, read into what this gateway is configured with.
//!
//! A DCR provider becomes an identity provider and the gateway's access to its registration; an auth
//! strategy becomes a strategy, in the words of the configuration file, so that the same code checks
//! both. Option names are those of Konnect's `openid-connect` where it has one, else the file's own.
//! What this gateway does not know is refused: an option that restricts must not be dropped.

pub mod provider;
pub mod strategy;

use serde_json::{Value, json};

use super::record::{Api, Provider, Strategy};
use crate::config::Additions;

/// What the registry's providers, strategies and APIs add to the configuration.
pub fn additions(providers: &[Provider], strategies: &[Strategy], apis: &[Api]) -> Additions {
    let mut additions = Additions::default();
    let own = providers
        .iter()
        .filter(|known| provider::reached_through(known) == known.name);
    additions.identity_providers.extend(own.map(|provider| {
        json!({
            "name": provider.name,
            "vendor": provider::vendor(provider),
            "issuer": provider.issuer,
        })
    }));
    for strategy in strategies {
        let provider = strategy.provider;
        let provider = provider.and_then(|id| providers.iter().find(|known| known.id == id));
        let (identity_provider, entry) = strategy::translate(strategy, provider);
        additions.identity_providers.extend(identity_provider);
        additions.auth_strategies.push(entry);
    }
    let with_strategies = apis.iter().filter(|api| !api.strategies.is_empty());
    additions
        .apis
        .extend(with_strategies.map(|api| (api.name.clone(), api.strategies.clone())));
    additions
}

/// A value that is there and not null.
fn given<'a>(settings: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    settings.get(name).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests;
