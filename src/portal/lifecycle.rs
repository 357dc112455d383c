//! Keeps registry and IdP in step.
//!
//! Whatever is about to change at an IdP is written down first ([`Todo`]), and taken away in the
//! transaction that keeps the outcome. What is written down and not taken away was interrupted: by an
//! IdP that does not answer, and then the process that wrote it tries again until it does; or with
//! the process, and then another one, or the next, finishes or undoes it.

pub(super) mod proof;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Error, Portal,
    applications::{audit, credential, revise},
    record::{Actor, Application, Intent, Life, Step},
    registry::{self, Change},
};
use crate::{
    clock,
    idp::registration::{self, Issued, Management, Registrar, Rotation, Trace},
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
};

/// How often interrupted work of others is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// First and longest time until unfinished work is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A client at an IdP that is to be removed, or whose management is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    client_id: ClientId,
    management: Management,
}

impl Left {
    pub(super) fn new(client_id: &ClientId, management: &Management) -> Self {
        Self {
            client_id: client_id.clone(),
            management: management.clone(),
        }
    }
}

/// What an intent keeps sealed beside its columns.
#[derive(Default, Serialize, Deserialize)]
struct Data {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    management: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<String>,
}

/// Something that is about to be done at an IdP.
#[derive(Clone, Debug)]
pub(super) struct Todo {
    id: Uuid,
    application: Uuid,
    /// The name of the DCR provider, as far as known.
    provider: Option<String>,
    step: Step,
    process: Uuid,
    /// See [`Left`]: of a creation or rotation the new client, of a deletion one that is deleted
    /// without its application.
    pub(super) left: Option<Left>,
    /// The secret that is to be removed, as the IdP calls it.
    pub(super) secret_id: Option<String>,
    /// Whether the IdP has said that it did nothing.
    pub(super) nothing_made: bool,
    /// A secret that the IdP gave in place of the old one, though nobody had asked for it.
    pub(super) issued: Option<Issued>,
}

impl Todo {
    pub(super) fn new(application: &Application, step: Step, process: Uuid) -> Self {
        Self {
            id: Uuid::new_v4(),
            application: application.id,
            provider: application.provider.clone(),
            step,
            process,
            left: None,
            secret_id: None,
            nothing_made: false,
            issued: None,
        }
    }

    /// What somebody wrote down.
    fn of(intent: &Intent, process: Uuid) -> Self {
        let data = intent.data.as_ref();
        let data: Data = data
            .and_then(|data| serde_json::from_str(data.expose()).ok())
            .unwrap_or_default();
        let left = data
            .client_id
            .and_then(ClientId::new)
            .map(|client_id| Left {
                client_id,
                management: Management(Secret::new(data.management.unwrap_or_default())),
            });
        Self {
            id: intent.id,
            application: intent.application,
            provider: None,
            step: intent.step,
            process,
            left,
            secret_id: data.secret_id,
            nothing_made: false,
            issued: None,
        }
    }

    /// Writes it down.
    pub(super) async fn write(&self, change: &mut Change) -> Result<(), registry::Error> {
        let data = Data {
            client_id: self.left.as_ref().map(|left| left.client_id.to_string()),
            management: self
                .left
                .as_ref()
                .map(|left| left.management.0.expose().to_owned()),
            secret_id: self.secret_id.clone(),
        };
        let has_data = self.left.is_some() || self.secret_id.is_some();
        let data = has_data.then(|| serde_json::to_string(&data)).transpose();
        let data = data.map_err(|error| registry::Error::Unreadable(error.to_string()))?;
        let intent = Intent {
            id: self.id,
            application: self.application,
            step: self.step,
            process: self.process,
            data: data.map(Secret::new),
            created_at: clock::now(),
        };
        change.put_intent(&intent).await
    }

    /// Takes it away; whoever took it over keeps the outcome then, not this process.
    pub(super) async fn take(&self, change: &mut Change) -> Result<(), Error> {
        match change.take_intent(self.id).await? {
            true => Ok(()),
            false => Err(Error::Conflict {
                code: "operation_interrupted",
                detail: "another gateway took this change for interrupted and undid it: try again"
                    .to_owned(),
            }),
        }
    }
}

impl Portal {
    /// Finishes what others have left unfinished, for as long as it is polled.
    pub async fn reconcile(self) {
        let Ok(registry) = self.registry().cloned() else {
            return;
        };
        loop {
            if let Ok(intents) = registry.orphaned_intents().await {
                for intent in intents {
                    self.take_over(&registry, &intent).await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn take_over(&self, registry: &registry::Registry, intent: &Intent) {
        let claimed = async {
            let mut change = registry.change(&Actor::Gateway, None).await?;
            let claimed = change.claim_intent(intent.id).await?;
            if claimed {
                change.commit().await?;
            }
            Ok::<_, registry::Error>(claimed)
        };
        if let Ok(true) = claimed.await {
            tracing::warn!(
                application = %intent.application,
                step = ?intent.step,
                "a change was interrupted; it is finished or undone now"
            );
            self.finish_later(Todo::of(intent, registry.process()));
        }
    }

    /// Goes on trying in the background until it is done.
    pub(super) fn finish_later(&self, mut todo: Todo) {
        let portal = self.clone();
        tokio::spawn(async move {
            portal.0.metrics.unfinished.inc();
            let mut pause = AGAIN.0;
            while let Err(error) = portal.finish(&mut todo).await {
                if let Error::Conflict {
                    code: "operation_interrupted",
                    ..
                } = error
                {
                    break;
                }
                tracing::warn!(
                    application = %todo.application,
                    step = ?todo.step,
                    %error,
                    "a change at the identity provider is not finished; it is tried again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN.1);
            }
            portal.0.metrics.unfinished.dec();
        });
    }

    /// Finishes what can be, and undoes what cannot.
    pub(super) async fn finish(&self, todo: &mut Todo) -> Result<(), Error> {
        let registry = self.registry()?;
        let Some(application) = registry.application(todo.application).await? else {
            // Somebody else has undone it; a client that was made since then is nobody's.
            if let (Some(left), Some(provider)) = (&todo.left, &todo.provider) {
                let registrar = self.manager_named(provider).await?;
                registrar.delete(&left.client_id, &left.management).await?;
            }
            return Ok(());
        };
        match todo.step {
            Step::AddSecret => self.forget_added_secret(todo, &application).await,
            Step::Create => self.undo_creation(todo, &application).await,
            Step::Delete => self.finish_deletion(todo, &application).await,
            Step::RemoveSecret => self.finish_removal(todo, &application).await,
            Step::Rotate => self.settle_rotation(todo, &application).await,
            Step::Update => self.finish_update(todo, &application).await,
        }
    }

    fn orphan(&self, what: &str) {
        self.0.metrics.orphans.inc();
        tracing::error!(
            what,
            "an interrupted registration may have left this at the identity provider: look there, \
             and delete it"
        );
    }

    async fn undo_creation(&self, todo: &Todo, application: &Application) -> Result<(), Error> {
        let registry = self.registry()?;
        if application.life == Life::Ready {
            // Its keeping was not answered but done. Nobody was shown the secret.
            let mut change = registry.change(&Actor::Gateway, None).await?;
            let deleting = |application: &mut Application| application.life = Life::Deleting;
            let (_, application) = revise(&mut change, application.id, deleting).await?;
            let mut deletion = Todo::new(&application, Step::Delete, registry.process());
            deletion.write(&mut change).await?;
            self.commit(change).await?;
            return Box::pin(self.finish_deletion(&mut deletion, &application)).await;
        }
        let mut unknown = false;
        if !todo.nothing_made {
            let registrar = self.manager(application).await?;
            unknown = match &todo.left {
                Some(left) => {
                    registrar.delete(&left.client_id, &left.management).await?;
                    false
                }
                None => !self.remove_traces(&registrar, application).await?,
            };
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        change.delete_application(application.id).await?;
        // Whoever sends the request again, under the same idempotency key, wants it done.
        change.forget_answered(application.id).await?;
        let action = match unknown {
            true => "application.create_undone_in_doubt",
            false => "application.create_undone",
        };
        audit(&mut change, action, Some(application), None).await?;
        self.commit(change).await?;
        if unknown {
            self.orphan(&format!("client named {:?}", application.name));
        }
        Ok(())
    }

    /// Deletes what an interrupted creation has left; false where the IdP cannot be asked for it.
    async fn remove_traces(
        &self,
        registrar: &Registrar,
        application: &Application,
    ) -> Result<bool, Error> {
        let request = self.request(application);
        match registrar.trace(&request).await? {
            Trace::Unknowable => Ok(false),
            Trace::Nothing => Ok(true),
            Trace::Found(clients) => {
                for (client_id, management) in clients {
                    if application.client_id.as_ref() != Some(&client_id) {
                        registrar.delete(&client_id, &management).await?;
                    }
                }
                Ok(true)
            }
        }
    }

    pub(super) async fn finish_deletion(
        &self,
        todo: &mut Todo,
        application: &Application,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let whole = todo.left.is_none();
        let left = todo.left.clone().or_else(|| {
            let client_id = application.client_id.clone()?;
            let management = application.management.clone()?;
            Some(Left {
                client_id,
                management,
            })
        });
        if let Some(left) = left {
            let registrar = self.manager(application).await?;
            registrar.delete(&left.client_id, &left.management).await?;
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        if whole {
            change.delete_application(application.id).await?;
        }
        self.commit(change).await
    }

    /// A rotation whose outcome was not kept: the new secret is lost, and the old one perhaps too.
    async fn settle_rotation(&self, todo: &Todo, application: &Application) -> Result<(), Error> {
        let registry = self.registry()?;
        let registrar = self.manager(application).await?;
        let replaces = registrar.rotation() == Rotation::Replacement;
        let mut unknown = false;
        let mut management = None;
        match &todo.left {
            Some(left) if application.client_id.as_ref() == Some(&left.client_id) => {
                management = Some(left.management.clone());
            }
            Some(left) => registrar.delete(&left.client_id, &left.management).await?,
            None if replaces && !todo.nothing_made => {
                unknown = !self.remove_traces(&registrar, application).await?;
            }
            None => {}
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        // A new client that was removed again leaves the old secret good.
        let ends = !replaces && !todo.nothing_made;
        let edit = |application: &mut Application| {
            if let Some(management) = management {
                application.management = Some(management);
            }
            if ends {
                application.credentials_valid_from = next_second();
            }
        };
        let (before, after) = revise(&mut change, application.id, edit).await?;
        if ends {
            change.delete_credentials(application.id).await?;
        }
        let action = match unknown {
            true => "credential.rotate_undone_in_doubt",
            false => "credential.rotate_undone",
        };
        audit(&mut change, action, Some(&before), Some(&after)).await?;
        self.commit(change).await?;
        if unknown {
            self.orphan(&format!("a second client named {:?}", application.name));
        }
        Ok(())
    }

    /// A secret that was added and never shown is of no use to anybody.
    async fn forget_added_secret(
        &self,
        todo: &Todo,
        application: &Application,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut kept_management = None;
        if let (Some(client_id), Some(management), false) = (
            &application.client_id,
            application.management.clone(),
            todo.nothing_made,
        ) {
            let registrar = self.manager(application).await?;
            let mut management = management;
            let kept = registry.credentials(application.id).await?;
            for secret in registrar.secrets(client_id, &management).await? {
                if !kept
                    .iter()
                    .any(|known| known.at_idp.as_ref() == Some(&secret.id))
                {
                    let removed = registrar.remove_secret(client_id, &management, &secret.id);
                    management = removed.await?;
                }
            }
            kept_management = Some(management);
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        if kept_management.is_some() {
            let edit = |application: &mut Application| application.management = kept_management;
            revise(&mut change, application.id, edit).await?;
        }
        self.commit(change).await
    }

    pub(super) async fn finish_removal(
        &self,
        todo: &Todo,
        application: &Application,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let (Some(client_id), Some(management), Some(secret)) = (
            &application.client_id,
            &application.management,
            todo.secret_id.as_deref(),
        ) else {
            return Ok(());
        };
        let registrar = self.manager(application).await?;
        let removed = registrar.remove_secret(client_id, management, secret).await;
        let management = match removed {
            Ok(management) => Some(management),
            // It was removed before.
            Err(registration::Error::Gone) => None,
            Err(error) => return Err(error.into()),
        };
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        let edit = |application: &mut Application| {
            application.management = management.or(application.management.take());
            application.credentials_valid_from = next_second();
        };
        let (before, after) = revise(&mut change, application.id, edit).await?;
        for known in change.credentials(application.id).await? {
            if known.at_idp.as_deref() == Some(secret) {
                change.delete_credential(known.id).await?;
            }
        }
        let action = "credential.delete";
        audit(&mut change, action, Some(&before), Some(&after)).await?;
        self.commit(change).await
    }

    async fn finish_update(&self, todo: &mut Todo, application: &Application) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut management = None;
        if let (Some(client_id), Some(known)) = (&application.client_id, &application.management) {
            let registrar = self.manager(application).await?;
            let request = self.request(application);
            management = match registrar.update(client_id, known, &request).await {
                Ok(told) => {
                    todo.issued = told.issued;
                    told.management
                }
                // Where it would cost the secret, or will never be accepted, the name at the IdP
                // stays the old one.
                Err(registration::Error::Impossible(_)) => None,
                Err(error @ (registration::Error::Refused(_) | registration::Error::Gone)) => {
                    tracing::warn!(application = %application.id, %error, "the identity provider does not take the new name");
                    None
                }
                Err(error) => return Err(error.into()),
            };
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        let ends = todo.issued.is_some();
        if ends || management.is_some() {
            let edit = |application: &mut Application| {
                application.management = management.or(application.management.take());
                if ends {
                    application.credentials_valid_from = next_second();
                }
            };
            let (before, after) = revise(&mut change, application.id, edit).await?;
            if let Some(issued) = &todo.issued {
                change.delete_credentials(after.id).await?;
                change
                    .put_credential(&credential(&after, issued, ""))
                    .await?;
                let action = "credential.replaced_by_identity_provider";
                audit(&mut change, action, Some(&before), Some(&after)).await?;
            }
        }
        self.commit(change).await
    }
}

/// The beginning of the next second: `iat` has whole seconds, so a token of the second that is
/// under way may be older than what happens now. Nobody may get a new secret before it.
pub(super) fn next_second() -> Timestamp {
    Timestamp::from_secs(clock::now().secs().saturating_add(1))
}
