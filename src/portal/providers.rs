//! DCR providers: those of the file, which are read only, and those of the registry.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Caller, Created, Error, Fault, NewProvider, Portal, ProviderPatch, Verified, file_id, konnect,
    label,
    lifecycle::proof,
    record::{Provider, Source},
    registry,
};
use crate::{
    clock,
    config::Additions,
    idp::{self, registration::Registrar},
    model::{credential::ClientId, time::Timestamp},
};

const KIND: &str = "dcr_provider";

/// Operations on DCR providers, those of the file included, which can only be read.
impl Portal {
    /// All of them, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn providers(&self) -> Result<Vec<Provider>, Error> {
        let mut providers = match self.live() {
            Some(live) => live.registry().providers().await?,
            None => Vec::new(),
        };
        let kept: Vec<String> = providers.iter().map(|known| known.name.clone()).collect();
        for idp in self.surroundings().view().identity_providers {
            let config = idp.config();
            if !kept.iter().any(|name| *name == *config.name) {
                providers.extend(of_file(config));
            }
        }
        providers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(providers)
    }

    /// One.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn provider(&self, id: Uuid) -> Result<Provider, Error> {
        let all = self.providers().await?;
        let found = all.into_iter().find(|provider| provider.id == id);
        found.ok_or(Error::NotFound("DCR provider"))
    }

    /// Makes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_provider(
        &self,
        caller: &Caller,
        new: NewProvider,
    ) -> Result<Created<Provider>, Error> {
        let registry = self.registry()?;
        if let Some(id) = self.repeated(caller, KIND).await? {
            return Ok(Created::before(self.provider(id).await?));
        }
        let known = registry.providers().await?;
        if known.iter().any(|known| known.name == new.name) {
            return Err(taken(registry::Error::Taken("a DCR provider")));
        }
        let split = konnect::provider::split(&new.provider_type, new.dcr_config);
        let (settings, secrets) = split.map_err(Error::Invalid)?;
        let now = clock::now();
        let mut provider = Provider {
            id: Uuid::new_v4(),
            name: new.name,
            display_name: new.display_name,
            provider_type: new.provider_type,
            issuer: new.issuer,
            settings,
            secrets,
            labels: new.labels,
            source: Source::Registry,
            created_at: now,
            updated_at: now,
            revision: 0,
        };
        self.check_provider(&provider).await?;
        let mut change = caller.change(registry).await?;
        provider.revision = change.revision();
        change.put_provider(&provider).await.map_err(taken)?;
        caller.answered(&mut change, KIND, provider.id).await?;
        let (id, after) = (provider.id.to_string(), shown(&provider));
        let created = "dcr_provider.create";
        change.audit(created, KIND, &id, None, Some(after)).await?;
        self.commit(change).await?;
        Ok(Created::now(provider, None))
    }

    /// Changes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_provider(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: ProviderPatch,
    ) -> Result<Provider, Error> {
        let registry = self.registry()?;
        let mut provider = self.own_provider(id).await?;
        caller.expects(provider.revision)?;
        let (before, was) = (shown(&provider), provider.clone());
        if let Some(name) = patch.display_name {
            provider.display_name = name;
        }
        if let Some(issuer) = patch.issuer {
            provider.issuer = issuer;
        }
        let places = |provider: &Provider| {
            let url = |name: &str| provider.settings.get(name).cloned();
            let urls = ["endpoint", "dcr_base_url", "identity_provider"].map(url);
            (provider.issuer.clone(), urls)
        };
        let told: Vec<String> = patch
            .dcr_config
            .iter()
            .flat_map(Map::keys)
            .cloned()
            .collect();
        let place = places(&was);
        if let Some(members) = patch.dcr_config {
            // Read whole, so that what does not go together is seen.
            let mut whole = provider.settings.clone();
            for (name, secret) in &provider.secrets {
                whole.insert(name.clone(), json!(secret.expose()));
            }
            whole.extend(members);
            let split = konnect::provider::split(&provider.provider_type, whole);
            (provider.settings, provider.secrets) = split.map_err(Error::Invalid)?;
        }
        if places(&provider) != place {
            // Else whoever may change a provider, but was never told its secrets, could have them
            // sent to a place of his own.
            let kept = provider.secrets.keys().filter(|name| !told.contains(name));
            let faults: Vec<_> = kept
                .map(|name| {
                    let reason = "the provider's address changes: expected its secrets anew";
                    Fault::new(format!("dcr_config.{name}"), "required", reason)
                })
                .collect();
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
        }
        label(&mut provider.labels, patch.labels);
        provider.updated_at = clock::now();
        self.check_provider(&provider).await?;
        let mut change = caller.change(registry).await?;
        // Between reading and this transaction somebody else may have changed it.
        let known = change.providers().await?;
        if !known
            .iter()
            .any(|now| now.id == id && now.revision == provider.revision)
        {
            return Err(Error::Changed);
        }
        provider.revision = change.revision();
        change.put_provider(&provider).await?;
        let (id, after) = (provider.id.to_string(), Some(shown(&provider)));
        let patched = "dcr_provider.update";
        change
            .audit(patched, KIND, &id, Some(before), after)
            .await?;
        self.commit(change).await?;
        Ok(provider)
    }

    /// Deletes one that no strategy uses and at which no application is registered.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_provider(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let registry = self.registry()?;
        let provider = self.own_provider(id).await?;
        caller.expects(provider.revision)?;
        let mut change = caller.change(registry).await?;
        // Every application that is registered there has such a strategy.
        let strategies = change.strategies().await?;
        if let Some(user) = strategies.iter().find(|user| user.provider == Some(id)) {
            return Err(Error::Conflict {
                code: "provider_in_use",
                detail: format!("strategy {:?} uses it", user.name),
            });
        }
        change.delete_provider(id).await?;
        let (name, before) = (id.to_string(), Some(shown(&provider)));
        let deleted = "dcr_provider.delete";
        change.audit(deleted, KIND, &name, before, None).await?;
        self.commit(change).await?;
        self.forget_registrar(id);
        Ok(())
    }

    /// Registers a client, gets a token, deletes it.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read; what the IdP does is no error.
    pub async fn verify_provider(&self, caller: &Caller, id: Uuid) -> Result<Verified, Error> {
        let provider = self.provider(id).await?;
        let errors = match self.registrar(&provider).await {
            Ok(registrar) => {
                let view = self.surroundings().view();
                let strategies = self.strategies().await?;
                let user = strategies.iter().find(|user| user.provider == Some(id));
                let user = user.and_then(|user| {
                    let mut known = view.strategies.iter();
                    known.find(|known| *known.name == *user.name)
                });
                proof::run(&registrar, user).await
            }
            Err(error) => vec![error.to_string()],
        };
        if let Ok(registry) = self.registry() {
            let mut change = caller.change(registry).await?;
            let after = json!({"errors": errors});
            let id = id.to_string();
            let verified = "dcr_provider.verify";
            change.audit(verified, KIND, &id, None, Some(after)).await?;
            self.commit(change).await?;
        }
        Ok(Verified { errors })
    }

    /// One of the registry's own.
    async fn own_provider(&self, id: Uuid) -> Result<Provider, Error> {
        let provider = self.provider(id).await?;
        match provider.source {
            Source::Registry => Ok(provider),
            Source::File => Err(in_file("DCR provider", &provider.name)),
        }
    }

    /// What the configuration says of a provider that is to be put beside it.
    async fn check_provider(&self, provider: &Provider) -> Result<(), Error> {
        if !url::Url::parse(&provider.issuer).is_ok_and(|url| konnect::provider::is_usable(&url)) {
            return Err(Error::Invalid(vec![Fault::new(
                "issuer",
                "url",
                "expected an absolute https URL (http for this machine only)",
            )]));
        }
        let view = self.surroundings().view();
        if konnect::provider::reached_through(provider) != provider.name {
            let name = konnect::provider::reached_through(provider);
            let mut known = view.identity_providers.iter();
            let Some(idp) = known.find(|idp| *idp.config().name == *name) else {
                return Err(Error::Invalid(vec![Fault::new(
                    "dcr_config.identity_provider",
                    "reference",
                    "expected the name of one of identity_providers of the configuration file",
                )]));
            };
            if idp.config().issuer != provider.issuer {
                return Err(Error::Invalid(vec![Fault::new(
                    "issuer",
                    "reference",
                    "expected the issuer of the identity provider that is named",
                )]));
            }
            return Ok(());
        }
        let registry = self.registry()?;
        let mut providers = registry.providers().await?;
        providers.retain(|known| known.id != provider.id);
        providers.push(provider.clone());
        let strategies = registry.strategies().await?;
        let apis = registry.apis().await?;
        let additions = konnect::additions(&providers, &strategies, &apis);
        let entry = ("identity_providers", &*provider.name);
        self.check_additions(additions, &[entry], |key| match key {
            "issuer" | "name" => key.to_owned(),
            key => format!("dcr_config.{key}"),
        })
        .await
    }

    /// Whether the configuration would be good with these. Faults of `entries`, each by its section
    /// and its name, are told by the fields of the request.
    pub(super) async fn check_additions(
        &self,
        additions: Additions,
        entries: &[(&str, &str)],
        field: impl Fn(&str) -> String,
    ) -> Result<(), Error> {
        let position = |section: &str, name: &str| {
            let list = match section {
                "identity_providers" => &additions.identity_providers,
                _ => &additions.auth_strategies,
            };
            let named = |entry: &Value| entry.get("name").and_then(Value::as_str) == Some(name);
            // The one that is asked about stands last.
            let found = (1_u64..).zip(list).filter(|(_, entry)| named(entry)).last();
            found.map(|(position, _)| position)
        };
        let places: Vec<_> = entries
            .iter()
            .map(|(section, name)| (*section, position(section, name)))
            .collect();
        let Err(faults) = self.surroundings().check(additions).await else {
            return Ok(());
        };
        let mut invalid = Vec::new();
        let mut other = Vec::new();
        for fault in faults {
            let added = fault.place.file.as_os_str() == Additions::PLACE;
            // `auth_strategies[2].session.idle_timeout: "x": expected …`
            let own = places
                .iter()
                .filter(|(_, position)| added && *position == Some(fault.place.column))
                .find_map(|(section, _)| fault.message.strip_prefix(section)?.split_once(']'));
            match own {
                Some((_, rest)) => {
                    let (key, reason) = rest.split_once(": ").unwrap_or(("", rest));
                    invalid.push(Fault::new(
                        field(key.trim_start_matches('.')),
                        "value",
                        reason,
                    ));
                }
                None => other.push(fault.to_string()),
            }
        }
        if !invalid.is_empty() {
            return Err(Error::Invalid(invalid));
        }
        Err(Error::Conflict {
            code: "configuration_faulty",
            detail: format!(
                "the configuration file cannot be used now: {}",
                other.join("; ")
            ),
        })
    }

    /// Speaks for a provider.
    pub(super) async fn registrar(&self, provider: &Provider) -> Result<Registrar, Error> {
        match (self.registrar_in_force(provider), self.live()) {
            // A neighbour may have brought it just now.
            (Err(Error::Conflict { .. }), Some(live)) => {
                live.catch_up().await?;
                self.registrar_in_force(provider)
            }
            (told, _) => told,
        }
    }

    fn registrar_in_force(&self, provider: &Provider) -> Result<Registrar, Error> {
        let view = self.surroundings().view();
        let name = konnect::provider::reached_through(provider);
        let mut known = view.identity_providers.iter();
        let idp = known.find(|idp| *idp.config().name == *name);
        let idp = idp.ok_or_else(|| Error::Conflict {
            code: "configuration_faulty",
            detail: format!("identity provider {name:?} is not in force: see the log"),
        })?;
        let config = match (&provider.source, &idp.config().registration) {
            (Source::File, Some(config)) => config.clone(),
            (_, _) => konnect::provider::registration(provider)
                .map_err(|fault| Error::Invalid(vec![fault]))?,
        };
        let mut registrars = self
            .0
            .registrars
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        if let Some(kept) = registrars.get(&provider.id)
            && *kept.config() == config
            && kept.provider().is(idp)
        {
            return Ok(kept.clone());
        }
        let directory = self.directory().clone();
        let belong = move |client: &ClientId| directory.has_client(client.as_str());
        let registrar = Registrar::sparing(idp.clone(), config, belong);
        registrars.insert(provider.id, registrar.clone());
        Ok(registrar)
    }

    fn forget_registrar(&self, id: Uuid) {
        let registrars = self.0.registrars.lock();
        registrars
            .unwrap_or_else(|broken| broken.into_inner())
            .remove(&id);
    }
}

/// What cannot be changed here.
pub(super) fn in_file(what: &str, name: &str) -> Error {
    Error::Conflict {
        code: "read_only",
        detail: format!("{what} {name:?} stands in the configuration file: edit that"),
    }
}

fn taken(error: registry::Error) -> Error {
    match error {
        registry::Error::Taken(_) => Error::Conflict {
            code: "name_taken",
            detail: "a DCR provider has this name already".to_owned(),
        },
        other => other.into(),
    }
}

/// A provider of the file, if registrations are configured there.
fn of_file(config: &idp::Config) -> Option<Provider> {
    let registration = config.registration.as_ref()?;
    let mut settings = Map::new();
    if let idp::registration::Access::InitialClient { id, .. } = &registration.access {
        settings.insert("initial_client_id".to_owned(), json!(id.as_str()));
    }
    Some(Provider {
        id: file_id(KIND, &config.name),
        name: config.name.to_string(),
        display_name: config.name.to_string(),
        provider_type: konnect::provider::provider_type(registration.dialect).to_owned(),
        issuer: config.issuer.clone(),
        settings,
        secrets: Default::default(),
        labels: Default::default(),
        source: Source::File,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 0,
    })
}

/// A provider as the audit trail shows it.
fn shown(provider: &Provider) -> Value {
    json!({
        "name": provider.name,
        "display_name": provider.display_name,
        "provider_type": provider.provider_type,
        "issuer": provider.issuer,
        "dcr_config": provider.settings,
        "secrets": provider.secrets.keys().collect::<Vec<_>>(),
        "labels": provider.labels,
    })
}
