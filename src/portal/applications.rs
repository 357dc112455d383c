//! Applications: made with their client at the IdP, changed, and ended with it.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ApplicationPatch, Caller, Client, Created, Error, Fault, Kept, NewApplication, Portal, file_id,
    label,
    lifecycle::{Left, Todo, next_second},
    record::{
        Actor, Application, ApplicationFilter, Credential, Developer, DeveloperFilter, Life,
        Listed, Origin, Page, Provider, Step, Strategy,
    },
    registry::{self, Change},
};
use crate::{
    clock,
    directory::{Directory, Entry},
    idp::registration::{self, Issued, Management, Registrar},
    model::{application::Status, credential::ClientId, time::Timestamp},
};

pub(super) const KIND: &str = "application";

/// How long a deletion waits for the IdP before it goes on by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Operations on applications.
impl Portal {
    /// Some of them, the latest first.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn applications(
        &self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        match &self.0.kept {
            Kept::File { directory, .. } => Ok(listed(directory, filter, page)),
            Kept::Registry(live) => Ok(live.registry().applications(filter, page).await?),
        }
    }

    /// One.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn application(&self, id: Uuid) -> Result<Application, Error> {
        let found = match &self.0.kept {
            Kept::File { directory, .. } => {
                let mut entries = directory.entries().into_iter().map(of_file);
                entries.find(|known| known.id == id)
            }
            Kept::Registry(live) => live.registry().application(id).await?,
        };
        found.ok_or(Error::NotFound("application"))
    }

    /// Who has applications or an account, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn developers(
        &self,
        filter: &DeveloperFilter,
        page: Page,
    ) -> Result<Listed<Developer>, Error> {
        match &self.0.kept {
            Kept::Registry(live) => Ok(live.registry().developers(filter, page).await?),
            Kept::File { directory, .. } => {
                let entries = directory.entries();
                let mut names: Vec<_> = entries
                    .into_iter()
                    .map(|entry| entry.application.developer)
                    .collect();
                names.sort_unstable();
                names.dedup();
                let is_wanted = |name: &str| filter.name.as_ref().is_none_or(|is| is == name);
                // Nobody in a file has an account.
                names.retain(|name| filter.status.is_none() && is_wanted(name));
                let developer = |name: Box<str>| Developer {
                    id: file_id("developer", &name),
                    name: name.into(),
                    created_at: Timestamp::default(),
                    account: None,
                };
                Ok(page.of(names.into_iter().map(developer).collect()))
            }
        }
    }

    /// Makes one, and its client where it is to be registered.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_application(
        &self,
        caller: &Caller,
        new: NewApplication,
    ) -> Result<Created<Application>, Error> {
        self.registry()?;
        if let Some(id) = self.repeated(caller, KIND).await? {
            let application = self.application(id).await?;
            return match application.life {
                Life::Creating => Err(Error::Registry(registry::Error::Busy)),
                Life::Deleting | Life::Ready => Ok(Created::before(application)),
            };
        }
        let strategy = self
            .strategy(new.strategy)
            .await
            .map_err(|error| match error {
                Error::NotFound(_) => Error::Invalid(vec![Fault::new(
                    "auth_strategy_id",
                    "reference",
                    "expected the id of an auth strategy",
                )]),
                other => other,
            })?;
        let provider = self.provider_of(&strategy).await?;
        let now = clock::now();
        let application = Application {
            id: Uuid::new_v4(),
            name: new.name,
            description: new.description,
            developer: new.developer,
            strategy: strategy.name.clone(),
            client_id: None,
            origin: Origin::Given,
            provider: None,
            management: None,
            life: Life::Ready,
            // Whose client it is cannot be shown: else somebody could have another's calls as
            // their own, and end them.
            status: match (&caller.actor, &new.client) {
                (Actor::Developer(_), Client::Given(_)) => Status::Suspended,
                _ => Status::Active,
            },
            scopes: match new.scopes.is_empty() {
                true => self.scopes_of(&strategy),
                false => new.scopes,
            },
            labels: new.labels,
            credentials_valid_from: Timestamp::default(),
            created_at: now,
            updated_at: now,
            revision: 0,
        };
        match (new.client, provider) {
            (Client::Register, Some(provider)) => {
                self.register_client(caller, application, &strategy, provider, new.redirect_uris)
                    .await
            }
            (Client::Register, None) => Err(Error::Invalid(vec![Fault::new(
                "client_id",
                "required",
                "the strategy has no DCR provider: expected the id of an existing client",
            )])),
            (Client::Given(client_id), None) => {
                let application = Application {
                    client_id: Some(client_id),
                    ..application
                };
                self.keep(caller, application, &strategy).await
            }
            (Client::Given(_), Some(_)) => Err(Error::Invalid(vec![Fault::new(
                "client_id",
                "forbidden",
                "the strategy has a DCR provider, which makes the client: expected dcr_client_id \
                 to adopt one",
            )])),
            (Client::Adopt(_), None) => Err(Error::Invalid(vec![Fault::new(
                "dcr_client_id",
                "forbidden",
                "the strategy has no DCR provider: expected client_id",
            )])),
            (Client::Adopt(client_id), Some(provider)) => {
                self.is_free(&client_id, &provider).await?;
                let registrar = self.registrar(&provider).await?;
                let management = match registrar.adopt(&client_id).await {
                    Ok(management) => Some(management),
                    // Nobody can manage it from here, but it may call.
                    Err(registration::Error::Impossible(_)) => None,
                    Err(registration::Error::Gone) => {
                        return Err(Error::Invalid(vec![Fault::new(
                            "dcr_client_id",
                            "reference",
                            "expected the id of a client that the identity provider knows",
                        )]));
                    }
                    Err(error) => return Err(error.into()),
                };
                let application = Application {
                    client_id: Some(client_id),
                    origin: Origin::Adopted,
                    provider: management.is_some().then_some(provider.name),
                    management,
                    ..application
                };
                self.keep(caller, application, &strategy).await
            }
        }
    }

    /// Whether a client may be adopted: it is no other application's, under whichever strategy, and
    /// not the gateway's own.
    async fn is_free(&self, client_id: &ClientId, provider: &Provider) -> Result<(), Error> {
        let filter = ApplicationFilter {
            client_id: Some(client_id.to_string()),
            ..ApplicationFilter::default()
        };
        let page = Page {
            number: 1,
            size: 100,
        };
        let others = self.registry()?.applications(&filter, page).await?.items;
        let is_managed = |other: &Application| other.provider.as_ref() == Some(&provider.name);
        let own = provider.settings.get("initial_client_id");
        if others.iter().any(is_managed) || own.and_then(Value::as_str) == Some(client_id.as_str())
        {
            return Err(Error::Conflict {
                code: "client_taken",
                detail: "another application, or the gateway itself, is this client".to_owned(),
            });
        }
        Ok(())
    }

    /// Keeps an application whose client is there already.
    async fn keep(
        &self,
        caller: &Caller,
        mut application: Application,
        strategy: &Strategy,
    ) -> Result<Created<Application>, Error> {
        let mut change = caller.change(self.registry()?).await?;
        self.keeps_strategy(&mut change, strategy).await?;
        application.revision = change.revision();
        change.put_application(&application).await.map_err(taken)?;
        caller.answered(&mut change, KIND, application.id).await?;
        audit(&mut change, "application.create", None, Some(&application)).await?;
        self.commit(change).await?;
        Ok(Created::now(application, None))
    }

    /// Registers a client for an application: the intent is written first, and taken away in the
    /// transaction that keeps the client.
    async fn register_client(
        &self,
        caller: &Caller,
        application: Application,
        strategy: &Strategy,
        provider: Provider,
        redirect_uris: Vec<String>,
    ) -> Result<Created<Application>, Error> {
        let registry = self.registry()?;
        let registrar = self.registrar(&provider).await?;
        let mut application = Application {
            origin: Origin::Registered,
            provider: Some(provider.name),
            life: Life::Creating,
            ..application
        };
        let mut request = self.request(&application);
        request.redirect_uris = redirect_uris;
        let mut change = caller.change(registry).await?;
        self.keeps_strategy(&mut change, strategy).await?;
        application.revision = change.revision();
        change.put_application(&application).await?;
        caller.answered(&mut change, KIND, application.id).await?;
        let todo = self.todo(&application, Step::Create)?;
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;

        let registered = match registrar.create(&request).await {
            Ok(registered) => registered,
            Err(error) => return Err(self.not_made(todo, error).await),
        };
        todo.left = Some(Left::new(&registered.client_id, &registered.management));
        application.client_id = Some(registered.client_id);
        application.management = Some(registered.management);
        application.life = Life::Ready;
        if let Some(scopes) = registered.scopes {
            application.scopes = scopes;
        }
        match self
            .keep_registered(caller, &mut application, &registered.issued, &todo)
            .await
        {
            Ok(()) => Ok(Created::now(application, Some(registered.issued))),
            Err(error) => {
                // The secret will never be shown, so nobody may be left with the client.
                todo.revision = Some(application.revision);
                self.finish_later(todo);
                Err(error)
            }
        }
    }

    async fn keep_registered(
        &self,
        caller: &Caller,
        application: &mut Application,
        issued: &Issued,
        todo: &Todo,
    ) -> Result<(), Error> {
        let mut change = caller.change(self.registry()?).await?;
        todo.take(&mut change).await?;
        application.revision = change.revision();
        change.put_application(application).await.map_err(taken)?;
        let credential = credential(application, issued, "");
        change.put_credential(&credential).await?;
        audit(&mut change, "application.create", None, Some(application)).await?;
        self.commit(change).await
    }

    /// Changes one; a name is told to the IdP where that leaves the secret alone. One that replaces
    /// it all the same gives the new one, shown once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_application(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: ApplicationPatch,
    ) -> Result<Created<Application>, Error> {
        let registry = self.registry()?;
        let mut change = caller.change(registry).await?;
        let before = ready(&mut change, id).await?;
        caller.expects(before.revision)?;
        let edit = |application: &mut Application| {
            if let Some(name) = patch.name {
                application.name = name;
            }
            if let Some(description) = patch.description {
                application.description = description;
            }
            if let Some(developer) = patch.developer {
                application.developer = developer;
            }
            if let Some(status) = patch.status {
                application.status = status;
            }
            label(&mut application.labels, patch.labels);
        };
        let (_, application) = revise(&mut change, id, edit).await?;
        let action = match (before.status, application.status) {
            (Status::Active, Status::Suspended) => "application.suspend",
            (Status::Suspended, Status::Active) => "application.resume",
            _ => "application.update",
        };
        audit(&mut change, action, Some(&before), Some(&application)).await?;
        let told = |application: &Application| {
            let Application {
                name, description, ..
            } = application;
            (name.clone(), description.clone())
        };
        let tells = application.provider.is_some() && told(&before) != told(&application);
        if !tells {
            self.commit(change).await?;
            return Ok(Created::now(application, None));
        }
        let todo = self.todo(&application, Step::Update)?;
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;
        // What the portal says holds; the IdP is told as soon as it listens.
        if let Err(error) = self.finish(&mut todo).await {
            tracing::warn!(application = %id, %error, "the identity provider is not told yet");
            self.finish_later(todo);
            return Ok(Created::now(self.application(id).await?, None));
        }
        let issued = todo.issued.take();
        if issued.is_some() {
            tokio::time::sleep(next_second().since(clock::now())).await;
        }
        Ok(Created::now(self.application(id).await?, issued))
    }

    /// Ends one: the gateway serves it no more, then the client is deleted at the IdP. With `force`
    /// the application goes even where the IdP does not delete the client, which then stays there;
    /// log, metric and audit say so.
    ///
    /// # Errors
    /// See [`Error`]. Where the IdP does not answer, the application is refused from now on, and
    /// without `force` its client is deleted as soon as that is possible.
    pub async fn delete_application(
        &self,
        caller: &Caller,
        id: Uuid,
        force: bool,
    ) -> Result<(), Error> {
        match self.delete(caller, id, force).await {
            Err(Error::Unfinished | Error::Idp(_) | Error::Conflict { .. }) if force => {
                self.abandon(caller, id).await
            }
            told => told,
        }
    }

    async fn delete(&self, caller: &Caller, id: Uuid, force: bool) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut change = caller.change(registry).await?;
        let before = change.application(id).await?;
        let before = before.ok_or(Error::NotFound("application"))?;
        match before.life {
            Life::Ready => {}
            // It is being tried all the time.
            Life::Deleting if force => return Err(Error::Unfinished),
            _ => return Err(Error::Registry(registry::Error::Busy)),
        }
        caller.expects(before.revision)?;
        audit(&mut change, "application.delete", Some(&before), None).await?;
        if before.provider.is_none() {
            change.delete_application(id).await?;
            return self.commit(change).await;
        }
        let deleting = |application: &mut Application| application.life = Life::Deleting;
        let (_, application) = revise(&mut change, id, deleting).await?;
        // A new name that is not told yet need not be told any more.
        change.drop_intent(id, Step::Update).await?;
        let todo = self.todo(&application, Step::Delete)?;
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;
        let portal = self.clone();
        let finished = tokio::spawn(async move {
            let finished = portal.finish(&mut todo).await;
            if finished.is_err() {
                portal.finish_later(todo);
            }
            finished
        });
        // The application is refused already; nobody need wait for an IdP that takes its time.
        match tokio::time::timeout(PATIENCE, finished).await {
            Ok(Ok(finished)) => finished,
            Ok(Err(_)) | Err(_) => Err(Error::Unfinished),
        }
    }

    /// Ends an application whose client the IdP does not delete, or has deleted unheard.
    async fn abandon(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let mut change = caller.change(self.registry()?).await?;
        // Gone: it was done just now.
        let Some(before) = change.application(id).await? else {
            return Ok(());
        };
        if before.life != Life::Deleting {
            return Err(Error::Registry(registry::Error::Busy));
        }
        audit(&mut change, "application.client_left", Some(&before), None).await?;
        // With it goes what was begun, and whoever is at it stops.
        change.delete_application(id).await?;
        self.commit(change).await?;
        if let Some(client) = &before.client_id {
            self.orphan(&format!("client {:?}", client.as_str()));
        }
        Ok(())
    }

    /// What an IdP is told of an application.
    pub(super) fn request(&self, application: &Application) -> registration::Request {
        let view = self.surroundings().view();
        let mut strategies = view.strategies.iter();
        let strategy = strategies.find(|known| *known.name == *application.strategy);
        registration::Request {
            application: application.id,
            name: application.name.clone(),
            description: application.description.clone(),
            developer: application.developer.clone(),
            strategy: application.strategy.clone(),
            scopes: application.scopes.clone(),
            audience: strategy.and_then(|strategy| strategy.audience.clone()),
            redirect_uris: Vec::new(),
        }
    }

    /// The registrar that manages an application's client.
    pub(super) async fn manager(&self, application: &Application) -> Result<Registrar, Error> {
        match &application.provider {
            Some(name) => self.manager_named(name).await,
            None => Err(Error::Conflict {
                code: "unmanaged_client",
                detail: "its client is managed elsewhere".to_owned(),
            }),
        }
    }

    /// The registrar of a DCR provider by its name.
    pub(super) async fn manager_named(&self, name: &str) -> Result<Registrar, Error> {
        let all = self.providers().await?;
        let provider = all.iter().find(|provider| provider.name == name);
        let provider = provider.ok_or_else(|| Error::Conflict {
            code: "provider_missing",
            detail: format!("DCR provider {name:?} is no longer configured"),
        })?;
        self.registrar(provider).await
    }

    fn scopes_of(&self, strategy: &Strategy) -> Vec<String> {
        let view = self.surroundings().view();
        let mut strategies = view.strategies.into_iter();
        let found = strategies.find(|known| *known.name == *strategy.name);
        found.map(|known| known.scopes).unwrap_or_default()
    }
}

/// An application that nothing else happens to.
pub(super) async fn ready(change: &mut Change, id: Uuid) -> Result<Application, Error> {
    let application = change.application(id).await?;
    let application = application.ok_or(Error::NotFound("application"))?;
    match application.life {
        Life::Ready => Ok(application),
        Life::Creating | Life::Deleting => Err(Error::Registry(registry::Error::Busy)),
    }
}

/// The client of an application that is managed here.
pub(super) fn managed(application: &Application) -> Result<(ClientId, Management), Error> {
    match (&application.client_id, &application.management) {
        (Some(client_id), Some(management)) => Ok((client_id.clone(), management.clone())),
        _ => Err(Error::Conflict {
            code: "unmanaged_client",
            detail: "its client is managed elsewhere".to_owned(),
        }),
    }
}

/// Changes an application as it is now, since others may have changed it since it was read; how it
/// was, and how it is.
pub(super) async fn revise(
    change: &mut Change,
    id: Uuid,
    edit: impl FnOnce(&mut Application),
) -> Result<(Application, Application), Error> {
    let before = change.application(id).await?;
    let before = before.ok_or(Error::NotFound("application"))?;
    let mut application = before.clone();
    edit(&mut application);
    application.updated_at = clock::now();
    application.revision = change.revision();
    change.put_application(&application).await?;
    Ok((before, application))
}

/// What is known of a secret.
pub(super) fn credential(application: &Application, issued: &Issued, name: &str) -> Credential {
    Credential {
        id: Uuid::new_v4(),
        application: application.id,
        at_idp: issued.id.clone(),
        name: name.to_owned(),
        created_at: clock::now(),
        expires_at: issued.expires_at,
    }
}

/// One line of the audit trail about an application.
pub(super) async fn audit(
    change: &mut Change,
    action: &str,
    before: Option<&Application>,
    after: Option<&Application>,
) -> Result<(), registry::Error> {
    let Some(subject) = after.or(before) else {
        return Ok(());
    };
    let id = subject.id.to_string();
    change
        .audit(action, KIND, &id, before.map(shown), after.map(shown))
        .await
}

fn taken(error: registry::Error) -> Error {
    match error {
        registry::Error::Taken(_) => Error::Conflict {
            code: "client_taken",
            detail: "another application of this strategy has this client".to_owned(),
        },
        other => other.into(),
    }
}

/// An application as the audit trail shows it.
fn shown(application: &Application) -> Value {
    json!({
        "name": application.name,
        "description": application.description,
        "developer": application.developer,
        "auth_strategy": application.strategy,
        "client_id": application.client_id.as_ref().map(|id| id.as_str()),
        "dcr_provider": application.provider,
        "status": match application.status {
            Status::Active => "active",
            Status::Suspended => "suspended",
        },
        "scopes": application.scopes,
        "labels": application.labels,
        "credentials_valid_from": application.credentials_valid_from.rfc3339().to_string(),
    })
}

/// A page of what the file says.
fn listed(directory: &Directory, filter: &ApplicationFilter, page: Page) -> Listed<Application> {
    let mut all: Vec<_> = directory.entries().into_iter().map(of_file).collect();
    all.retain(|known| filter.fits(known));
    all.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    page.of(all)
}

/// An application of the file.
fn of_file(entry: Entry) -> Application {
    Application {
        id: entry.application.id,
        name: entry.application.name.into(),
        description: String::new(),
        developer: entry.application.developer.into(),
        strategy: entry.strategy.to_string(),
        client_id: Some(entry.client_id),
        origin: Origin::Given,
        provider: None,
        management: None,
        life: Life::Ready,
        status: entry.application.status,
        scopes: Vec::new(),
        labels: Default::default(),
        credentials_valid_from: entry.application.credentials_valid_from,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: 0,
    }
}
