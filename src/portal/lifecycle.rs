//! Keeps registry and IdP in step.
//!
//! Whatever is about to change at an IdP is written down first ([`Todo`]), and taken away in the
//! transaction that keeps the outcome. What is written down and not taken away was interrupted: by an
//! IdP that does not answer, and then the process that wrote it tries again until it does; or with
//! the process, and then another one, or the next, finishes or undoes it.

pub(super) mod proof;
mod todo;

use std::time::Duration;

pub(super) use todo::{AtWork, Left, Todo};

use super::{
    Error, Portal,
    applications::{self, audit, credential, revise},
    record::{Actor, Application, Intent, Life, Step},
    registry::{self, Change},
};
use crate::{
    clock,
    idp::{
        call::Trouble,
        registration::{self, Management, Registrar, Rotation, Trace},
    },
    model::{credential::ClientId, time::Timestamp},
};

/// How often interrupted work of others is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// First and longest time until unfinished work is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Portal {
    /// What this process is about to do at an IdP.
    pub(super) fn todo(&self, application: &Application, step: Step) -> Result<Todo, Error> {
        let process = self.registry()?.process();
        Ok(Todo::new(application, step, process, &self.0.at_work))
    }

    /// Makes an intent visible, before the IdP is asked for anything. Where the registry does not
    /// say whether it is, it is taken away as soon as the registry answers again.
    pub(super) async fn begin(&self, change: Change, mut todo: Todo) -> Result<Todo, Error> {
        match self.commit(change).await {
            Ok(()) => Ok(todo),
            Err(error) => {
                todo.nothing_made = true;
                self.finish_later(todo);
                Err(error)
            }
        }
    }

    /// Finishes what nobody works at any more, for as long as it is polled.
    pub async fn reconcile(self) {
        let Ok(registry) = self.registry().cloned() else {
            return;
        };
        loop {
            let is_held = |intent| self.0.at_work.holds(intent);
            if let Ok(intents) = registry.orphaned_intents(is_held).await {
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
            self.finish_later(Todo::of(intent, registry.process(), &self.0.at_work));
        }
    }

    /// Goes on trying in the background until it is done.
    pub(super) fn finish_later(&self, mut todo: Todo) {
        let portal = self.clone();
        tokio::spawn(async move {
            portal.0.metrics.unfinished.inc();
            let mut pause = AGAIN.0;
            while let Err(error) = portal.finish(&mut todo).await {
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

    /// What becomes of a change that the IdP has not made, or has left open; what is told then.
    pub(super) async fn not_made(&self, mut todo: Todo, error: registration::Error) -> Error {
        let error = match error {
            registration::Error::LeftBehind {
                client_id,
                management,
                cause,
            } => {
                todo.left = Some(Left::new(&client_id, &management));
                *cause
            }
            other => other,
        };
        todo.nothing_made =
            todo.left.is_none() && !matches!(error, registration::Error::Unavailable(_));
        if self.finish(&mut todo).await.is_err() {
            self.finish_later(todo);
        }
        error.into()
    }

    /// Finishes what can be, and undoes what cannot.
    pub(super) async fn finish(&self, todo: &mut Todo) -> Result<(), Error> {
        let registry = self.registry()?;
        // Writers take turns, so this one sees how an earlier one ended of which nobody heard.
        let mut change = registry.change(&Actor::Gateway, None).await?;
        let is_ours = change.holds_intent(todo.id).await?;
        let application = change.application(todo.application).await?;
        drop(change);
        let Some(application) = application.filter(|_| is_ours) else {
            return self.let_go(todo).await;
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

    /// Puts right what only this process knows of a change that is no longer its own: another one
    /// has undone it meanwhile, or it was kept and nobody heard of it.
    async fn let_go(&self, todo: &mut Todo) -> Result<(), Error> {
        let registry = self.registry()?;
        let application = registry.application(todo.application).await?;
        if let (Some(secret), Some(application), Step::AddSecret) =
            (&todo.secret_id, &application, todo.step)
        {
            let kept = registry.credentials(application.id).await?;
            let is_kept = kept
                .iter()
                .any(|known| known.at_idp.as_deref() == Some(secret));
            return match is_kept {
                true => Ok(()),
                false => self.remove_secret(application, secret).await.map(drop),
            };
        }
        let (Some(left), Step::Create | Step::Rotate | Step::Update) = (&todo.left, todo.step)
        else {
            return Ok(());
        };
        let of_it = |known: &&Application| known.client_id.as_ref() == Some(&left.client_id);
        match (application.as_ref().filter(of_it), todo.step) {
            (Some(application), Step::Create) => {
                // Nobody was shown its secret, unless somebody has had to do with it since.
                if application.life == Life::Ready && todo.revision == Some(application.revision) {
                    return self.withdraw(todo.application).await;
                }
                Ok(())
            }
            (Some(_), _) => self.renew_management(todo, left).await,
            (None, Step::Update) => Ok(()),
            (None, _) => {
                let known = application.and_then(|application| application.provider);
                let Some(provider) = known.or_else(|| todo.provider.clone()) else {
                    return Ok(());
                };
                let registrar = self.manager_named(&provider).await?;
                if !remove(&registrar, left).await? {
                    self.orphan(&format!("client {:?}", left.client_id.as_str()));
                }
                Ok(())
            }
        }
    }

    /// Ends an application that was kept although its creation was answered with an error.
    async fn withdraw(&self, application: uuid::Uuid) -> Result<(), Error> {
        let mut change = self.registry()?.change(&Actor::Gateway, None).await?;
        let deleting = |application: &mut Application| application.life = Life::Deleting;
        let (before, application) = revise(&mut change, application, deleting).await?;
        let mut deletion = self.todo(&application, Step::Delete)?;
        deletion.write(&mut change).await?;
        change.forget_answered(application.id).await?;
        let action = "application.create_undone";
        audit(&mut change, action, Some(&before), None).await?;
        self.commit(change).await?;
        if Box::pin(self.finish(&mut deletion)).await.is_err() {
            self.finish_later(deletion);
        }
        Ok(())
    }

    /// Keeps the token that the IdP gave in place of the one that this process began with; nobody
    /// else has it. Whatever secret came with it was shown to nobody.
    async fn renew_management(&self, todo: &Todo, left: &Left) -> Result<(), Error> {
        let mut change = self.registry()?.change(&Actor::Gateway, None).await?;
        let now = change.application(todo.application).await?;
        let now = now.and_then(|application| application.management);
        if now != todo.managed || now.as_ref() == Some(&left.management) {
            return Ok(());
        }
        let ends = todo.step == Step::Rotate || todo.issued.is_some();
        let edit = |application: &mut Application| {
            application.management = Some(left.management.clone());
            if ends {
                application.credentials_valid_from = next_second();
            }
        };
        let (before, after) = revise(&mut change, todo.application, edit).await?;
        if ends {
            change.delete_credentials(after.id).await?;
            let action = "credential.rotate_undone";
            audit(&mut change, action, Some(&before), Some(&after)).await?;
        }
        self.commit(change).await
    }

    pub(super) fn orphan(&self, what: &str) {
        self.0.metrics.orphans.inc();
        tracing::error!(
            what,
            "this may be left at the identity provider: look there, and delete it once nobody needs \
             it"
        );
    }

    async fn undo_creation(&self, todo: &Todo, application: &Application) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut in_doubt = false;
        if !todo.nothing_made {
            let registrar = self.manager(application).await?;
            let is_removed = match &todo.left {
                Some(left) => remove(&registrar, left).await?,
                None => false,
            };
            in_doubt = !self.remove_traces(&registrar, application).await? && !is_removed;
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        change.delete_application(application.id).await?;
        // Who sends the request again is to get an application.
        change.forget_answered(application.id).await?;
        let action = match in_doubt {
            true => "application.create_undone_in_doubt",
            false => "application.create_undone",
        };
        audit(&mut change, action, Some(application), None).await?;
        self.commit(change).await?;
        if in_doubt {
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
        for _ in 0..2 {
            let clients = match registrar.trace(&request).await? {
                Trace::Found(clients) => clients,
                Trace::Nothing => return Ok(true),
                Trace::Unknowable => return Ok(false),
            };
            let is_other = |id: &ClientId| application.client_id.as_ref() != Some(id);
            let others: Vec<_> = clients.into_iter().filter(|(id, _)| is_other(id)).collect();
            if others.is_empty() {
                return Ok(true);
            }
            for (client_id, management) in others {
                if !remove(registrar, &Left::new(&client_id, &management)).await? {
                    return Ok(false);
                }
            }
        }
        // An IdP whose parts take their time to agree says of a new client that there is none, and
        // shows it all the same.
        Err(registration::Error::from(Trouble::Deadline.after(AGAIN.0)).into())
    }

    pub(super) async fn finish_deletion(
        &self,
        todo: &mut Todo,
        application: &Application,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let whole = todo.left.is_none();
        let left = todo.left.clone().or_else(|| {
            let (client_id, management) = applications::managed(application).ok()?;
            Some(Left::new(&client_id, &management))
        });
        let mut staying = None;
        if let Some(left) = left {
            let registrar = self.manager(application).await?;
            if !remove(&registrar, &left).await? {
                staying = Some(left);
            }
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        if whole {
            change.delete_application(application.id).await?;
        }
        if staying.is_some() {
            let action = "application.client_left";
            audit(&mut change, action, Some(application), None).await?;
        }
        self.commit(change).await?;
        if let Some(left) = staying {
            self.orphan(&format!("client {:?}", left.client_id.as_str()));
        }
        Ok(())
    }

    /// A rotation whose outcome was not kept: the new secret is lost, and the old one perhaps too.
    async fn settle_rotation(&self, todo: &Todo, application: &Application) -> Result<(), Error> {
        let registry = self.registry()?;
        let registrar = self.manager(application).await?;
        let replaces = registrar.rotation() == Rotation::Replacement;
        let mut in_doubt = false;
        let mut management = None;
        let mut staying = Vec::new();
        match &todo.left {
            Some(left) if application.client_id.as_ref() == Some(&left.client_id) => {
                management = Some(left.management.clone());
            }
            Some(left) => in_doubt = !remove(&registrar, left).await?,
            None if replaces && !todo.nothing_made => {
                in_doubt = !self.remove_traces(&registrar, application).await?;
            }
            None => {}
        }
        if !todo.nothing_made && todo.known.is_some() {
            let now = management.as_ref().or(application.management.as_ref());
            (staying, management) = self.remove_unknown(todo, application, now).await?;
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
            for known in change.credentials(after.id).await? {
                if !known.at_idp.is_some_and(|id| staying.contains(&id)) {
                    change.delete_credential(known.id).await?;
                }
            }
        }
        let action = match in_doubt {
            true => "credential.rotate_undone_in_doubt",
            false => "credential.rotate_undone",
        };
        audit(&mut change, action, Some(&before), Some(&after)).await?;
        self.commit(change).await?;
        if in_doubt {
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
        let mut management = None;
        if let (false, Some(secret)) = (todo.nothing_made, &todo.secret_id) {
            management = self.remove_secret(application, secret).await?;
        } else if !todo.nothing_made && todo.known.is_some() {
            let now = application.management.as_ref();
            (_, management) = self.remove_unknown(todo, application, now).await?;
        }
        let mut change = registry.change(&Actor::Gateway, None).await?;
        todo.take(&mut change).await?;
        if management.is_some() {
            let edit = |application: &mut Application| application.management = management;
            revise(&mut change, application.id, edit).await?;
        }
        self.commit(change).await
    }

    /// Removes the secrets that the client has not had when something was begun, and that were
    /// shown to nobody since; those that it has then, and what manages it.
    async fn remove_unknown(
        &self,
        todo: &Todo,
        application: &Application,
        management: Option<&Management>,
    ) -> Result<(Vec<String>, Option<Management>), Error> {
        let (Some(client_id), Some(management)) = (&application.client_id, management) else {
            return Ok((Vec::new(), None));
        };
        let registrar = self.manager(application).await?;
        let kept = self.registry()?.credentials(application.id).await?;
        let mut management = management.clone();
        let mut staying = Vec::new();
        for secret in registrar.secrets(client_id, &management).await? {
            let mut known = todo.known.iter().flatten();
            let is_known = known.any(|id| *id == secret.id)
                || kept
                    .iter()
                    .any(|known| known.at_idp.as_ref() == Some(&secret.id));
            if is_known {
                staying.push(secret.id);
                continue;
            }
            match registrar
                .remove_secret(client_id, &management, &secret.id)
                .await
            {
                Ok(newer) => management = newer,
                // It took the place of the last one, and no client is without.
                Err(registration::Error::Refused(_)) => staying.push(secret.id),
                Err(registration::Error::Gone) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((staying, Some(management)))
    }

    /// Removes one secret; what manages the client then, or nothing where the secret was gone.
    async fn remove_secret(
        &self,
        application: &Application,
        secret: &str,
    ) -> Result<Option<Management>, Error> {
        let (client_id, management) = applications::managed(application)?;
        let registrar = self.manager(application).await?;
        let removed = registrar.remove_secret(&client_id, &management, secret);
        match removed.await {
            Ok(management) => Ok(Some(management)),
            Err(registration::Error::Gone) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn finish_removal(
        &self,
        todo: &Todo,
        application: &Application,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let secret = todo.secret_id.as_deref().unwrap_or_default();
        let management = self.remove_secret(application, secret).await?;
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
        let mut is_lost = false;
        if let (None, Ok((client_id, known))) = (&todo.left, applications::managed(application)) {
            let registrar = self.manager(application).await?;
            let request = self.request(application);
            match registrar.update(&client_id, &known, &request).await {
                Ok(told) => {
                    // Kept here too: a token that a registry which is away misses is lost else.
                    let management = told.management.unwrap_or(known);
                    todo.left = Some(Left::new(&client_id, &management));
                    todo.issued = told.issued;
                }
                // Where it would cost the secret, or will never be accepted, the name at the IdP
                // stays the old one.
                Err(registration::Error::Impossible(_)) => {}
                Err(error @ (registration::Error::Refused(_) | registration::Error::Gone)) => {
                    tracing::warn!(application = %application.id, %error, "the identity provider does not take the new name");
                }
                Err(error @ registration::Error::Access(_))
                    if registrar.has_tokens_of_clients() =>
                {
                    tracing::warn!(application = %application.id, %error, "the identity provider does not take the new name");
                    // An earlier attempt may have been answered with another token, unheard.
                    is_lost = todo.in_doubt;
                }
                Err(error) => {
                    todo.in_doubt |= matches!(error, registration::Error::Unavailable(_));
                    return Err(error.into());
                }
            }
        }
        let left = todo.left.as_ref();
        let management = left.map(|left| left.management.clone());
        let management = management.filter(|now| application.management.as_ref() != Some(now));
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
        if is_lost {
            let action = "application.update_in_doubt";
            audit(&mut change, action, Some(application), Some(application)).await?;
        }
        self.commit(change).await?;
        if is_lost {
            let id = application.client_id.as_ref().map(|id| id.as_str());
            let id = id.unwrap_or_default();
            self.orphan(&format!(
                "client {id:?}, which works but can no longer be managed from here"
            ));
        }
        Ok(())
    }
}

/// Deletes a client at the IdP; false where that cannot be done from here.
async fn remove(registrar: &Registrar, left: &Left) -> Result<bool, Error> {
    match registrar.delete(&left.client_id, &left.management).await {
        Ok(()) => Ok(true),
        Err(registration::Error::Impossible(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The beginning of the next second: `iat` has whole seconds, so a token of the second that is
/// under way may be older than what happens now. Nobody may get a new secret before it.
pub(super) fn next_second() -> Timestamp {
    Timestamp::from_secs(clock::now().secs().saturating_add(1))
}
