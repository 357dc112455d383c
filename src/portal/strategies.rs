//! Auth strategies: those of the file, which are read only, and those of the registry.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Caller, Created, Error, Fault, NewStrategy, Portal, StrategyPatch, file_id, konnect, label,
    providers::in_file,
    record::{ApplicationFilter, Page, Provider, Source, Strategy},
    registry::{self, Change},
};
use crate::{clock, model::time::Timestamp};

const KIND: &str = "auth_strategy";

/// Operations on auth strategies, those of the file included, which can only be read.
impl Portal {
    /// All of them, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn strategies(&self) -> Result<Vec<Strategy>, Error> {
        let mut strategies = match self.live() {
            Some(live) => live.registry().strategies().await?,
            None => Vec::new(),
        };
        let kept: Vec<String> = strategies.iter().map(|known| known.name.clone()).collect();
        let view = self.surroundings().view();
        for strategy in view.strategies {
            if kept.iter().any(|name| *name == *strategy.name) {
                continue;
            }
            let mut idps = view.identity_providers.iter();
            let idp = idps.find(|idp| idp.config().name == strategy.identity_provider);
            let registers = idp.is_some_and(|idp| idp.config().registration.is_some());
            strategies.push(Strategy {
                id: file_id(KIND, &strategy.name),
                name: strategy.name.to_string(),
                display_name: strategy.name.to_string(),
                settings: strategy.settings,
                provider: registers.then(|| file_id("dcr_provider", &strategy.identity_provider)),
                labels: Default::default(),
                source: Source::File,
                created_at: Timestamp::default(),
                updated_at: Timestamp::default(),
                revision: 0,
            });
        }
        strategies.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(strategies)
    }

    /// One.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn strategy(&self, id: Uuid) -> Result<Strategy, Error> {
        let all = self.strategies().await?;
        let found = all.into_iter().find(|strategy| strategy.id == id);
        found.ok_or(Error::NotFound("auth strategy"))
    }

    /// Makes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_strategy(
        &self,
        caller: &Caller,
        new: NewStrategy,
    ) -> Result<Created<Strategy>, Error> {
        let registry = self.registry()?;
        if let Some(id) = self.repeated(caller, KIND).await? {
            return Ok(Created::before(self.strategy(id).await?));
        }
        let known = registry.strategies().await?;
        if known.iter().any(|known| known.name == new.name) {
            return Err(taken(registry::Error::Taken("an auth strategy")));
        }
        let now = clock::now();
        let mut strategy = Strategy {
            id: Uuid::new_v4(),
            name: new.name,
            display_name: new.display_name,
            settings: new.settings,
            provider: new.provider,
            labels: new.labels,
            source: Source::Registry,
            created_at: now,
            updated_at: now,
            revision: 0,
        };
        self.check_strategy(&mut strategy).await?;
        let mut change = caller.change(registry).await?;
        self.keeps_provider(&mut change, &strategy).await?;
        strategy.revision = change.revision();
        change.put_strategy(&strategy).await.map_err(taken)?;
        caller.answered(&mut change, KIND, strategy.id).await?;
        let (id, after) = (strategy.id.to_string(), shown(&strategy));
        let created = "auth_strategy.create";
        change.audit(created, KIND, &id, None, Some(after)).await?;
        self.commit(change).await?;
        Ok(Created::now(strategy, None))
    }

    /// Changes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_strategy(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: StrategyPatch,
    ) -> Result<Strategy, Error> {
        let registry = self.registry()?;
        let mut strategy = self.own_strategy(id).await?;
        caller.expects(strategy.revision)?;
        let before = shown(&strategy);
        if let Some(name) = patch.display_name {
            strategy.display_name = name;
        }
        if let Some(members) = patch.settings {
            if patch.whole {
                strategy.settings.clear();
            }
            strategy.settings.extend(members);
            strategy.settings.retain(|_, value| !value.is_null());
        }
        if let Some(provider) = patch.provider {
            strategy.provider = provider;
        }
        label(&mut strategy.labels, patch.labels);
        strategy.updated_at = clock::now();
        self.check_strategy(&mut strategy).await?;
        let mut change = caller.change(registry).await?;
        let known = change.strategies().await?;
        if !known
            .iter()
            .any(|now| now.id == id && now.revision == strategy.revision)
        {
            return Err(Error::Changed);
        }
        self.keeps_provider(&mut change, &strategy).await?;
        let moves = known
            .iter()
            .any(|now| now.id == id && now.provider != strategy.provider);
        if moves && change.applications(&users(&strategy), ONE).await?.total > 0 {
            return Err(Error::Conflict {
                code: "strategy_in_use",
                detail: "its applications are registered at the DCR provider that it has: delete \
                         them first"
                    .to_owned(),
            });
        }
        strategy.revision = change.revision();
        change.put_strategy(&strategy).await?;
        let (id, after) = (strategy.id.to_string(), Some(shown(&strategy)));
        let patched = "auth_strategy.update";
        change
            .audit(patched, KIND, &id, Some(before), after)
            .await?;
        self.commit(change).await?;
        Ok(strategy)
    }

    /// Deletes one that no API lists and no application uses.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_strategy(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let registry = self.registry()?;
        let strategy = self.own_strategy(id).await?;
        caller.expects(strategy.revision)?;
        let in_use = |detail: String| Error::Conflict {
            code: "strategy_in_use",
            detail,
        };
        let view = self.surroundings().view();
        let lists = |strategies: &[std::sync::Arc<str>]| {
            strategies.iter().any(|name| **name == *strategy.name)
        };
        if let Some(api) = view.apis.iter().find(|api| lists(&api.strategies)) {
            return Err(in_use(format!("API {:?} accepts it", api.name)));
        }
        let mut change = caller.change(registry).await?;
        if change.applications(&users(&strategy), ONE).await?.total > 0 {
            return Err(in_use("applications use it: delete them first".to_owned()));
        }
        change.delete_strategy(id).await?;
        let (name, before) = (id.to_string(), Some(shown(&strategy)));
        let deleted = "auth_strategy.delete";
        change.audit(deleted, KIND, &name, before, None).await?;
        self.commit(change).await
    }

    /// Whether its applications may have several secrets at once.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn has_several_secrets(&self, strategy: &Strategy) -> Result<bool, Error> {
        let Some(provider) = self.provider_of(strategy).await? else {
            return Ok(false);
        };
        let registrar = self.registrar(&provider).await;
        Ok(registrar.is_ok_and(|registrar| registrar.has_several_secrets()))
    }

    /// The DCR provider of a strategy, if it has one.
    pub(super) async fn provider_of(&self, strategy: &Strategy) -> Result<Option<Provider>, Error> {
        match strategy.provider {
            Some(id) => match self.provider(id).await {
                // One that somebody else took out of the registry.
                Err(Error::NotFound(_)) => Ok(None),
                found => found.map(Some),
            },
            None => Ok(None),
        }
    }

    /// Whether the provider of a strategy is still there, now that nobody else can change that.
    async fn keeps_provider(&self, change: &mut Change, strategy: &Strategy) -> Result<(), Error> {
        let Some(id) = strategy.provider else {
            return Ok(());
        };
        let kept = change.providers().await?;
        let view = self.surroundings().view();
        let mut of_file = view.identity_providers.iter();
        if kept.iter().any(|known| known.id == id)
            || of_file.any(|idp| file_id("dcr_provider", &idp.config().name) == id)
        {
            return Ok(());
        }
        Err(Error::Changed)
    }

    /// Whether a strategy is still what it was when it was read, now that nobody else can change it.
    pub(super) async fn keeps_strategy(
        &self,
        change: &mut Change,
        strategy: &Strategy,
    ) -> Result<(), Error> {
        let kept = change.strategies().await?;
        let same = |now: &Strategy| now.id == strategy.id && now.provider == strategy.provider;
        match strategy.source == Source::File || kept.iter().any(same) {
            true => Ok(()),
            false => Err(Error::Conflict {
                code: "strategy_changed",
                detail: "the auth strategy was changed or deleted meanwhile: try again".to_owned(),
            }),
        }
    }

    async fn own_strategy(&self, id: Uuid) -> Result<Strategy, Error> {
        let strategy = self.strategy(id).await?;
        match strategy.source {
            Source::Registry => Ok(strategy),
            Source::File => Err(in_file("auth strategy", &strategy.name)),
        }
    }

    /// Whether the configuration is good with it. One whose DCR provider stands in the file goes by
    /// that one's settings of the identity provider.
    async fn check_strategy(&self, strategy: &mut Strategy) -> Result<(), Error> {
        let faults = konnect::strategy::check(&strategy.settings);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let registry = self.registry()?;
        let providers = registry.providers().await?;
        if let Some(id) = strategy.provider
            && !providers.iter().any(|known| known.id == id)
        {
            match self.provider(id).await {
                Ok(provider) => {
                    let settings = &mut strategy.settings;
                    let entry = settings.entry("identity_provider");
                    entry.or_insert_with(|| json!(provider.name));
                }
                Err(Error::NotFound(_)) => {
                    return Err(Error::Invalid(vec![Fault::new(
                        "dcr_provider_id",
                        "reference",
                        "expected the id of a DCR provider",
                    )]));
                }
                Err(other) => return Err(other),
            }
        }
        if let Some(named) = strategy.settings.get("identity_provider") {
            let view = self.surroundings().view();
            let mut idps = view.identity_providers.iter();
            let idp = idps.find(|idp| named.as_str() == Some(&idp.config().name));
            let issuer = strategy.settings.get("issuer").and_then(Value::as_str);
            let fault = match idp {
                None => Some((
                    "identity_provider",
                    "expected the name of an identity provider",
                )),
                Some(idp) if Some(&*idp.config().issuer) != issuer => Some((
                    "issuer",
                    "expected the issuer of the identity provider in the configuration file",
                )),
                Some(_) => None,
            };
            if let Some((name, reason)) = fault {
                let field = format!("configs.openid-connect.{name}");
                return Err(Error::Invalid(vec![Fault::new(field, "reference", reason)]));
            }
        }
        let mut strategies = registry.strategies().await?;
        strategies.retain(|known| known.id != strategy.id);
        strategies.push(strategy.clone());
        let apis = registry.apis().await?;
        let additions = konnect::additions(&providers, &strategies, &apis);
        let own_issuer = konnect::strategy::own_issuer(strategy);
        let entries = [
            ("auth_strategies", &*strategy.name),
            ("identity_providers", &*own_issuer),
        ];
        self.check_additions(additions, &entries, |key| match key {
            "name" => key.to_owned(),
            key => format!("configs.openid-connect.{key}"),
        })
        .await
    }
}

/// One is enough to know that there are some.
const ONE: Page = Page { number: 1, size: 1 };

/// Who uses a strategy.
fn users(strategy: &Strategy) -> ApplicationFilter {
    ApplicationFilter {
        strategy: Some(strategy.name.clone()),
        ..ApplicationFilter::default()
    }
}

fn taken(error: registry::Error) -> Error {
    match error {
        registry::Error::Taken(_) => Error::Conflict {
            code: "name_taken",
            detail: "an auth strategy has this name already".to_owned(),
        },
        other => other.into(),
    }
}

/// A strategy as the audit trail shows it.
fn shown(strategy: &Strategy) -> Value {
    json!({
        "name": strategy.name,
        "display_name": strategy.display_name,
        "configs": {"openid-connect": strategy.settings},
        "dcr_provider_id": strategy.provider,
        "labels": strategy.labels,
    })
}
