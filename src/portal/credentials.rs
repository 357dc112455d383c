//! The secrets of applications' clients: which there are, new ones, and their end.

use uuid::Uuid;

use super::{
    Caller, Created, Error, Kept, Portal,
    applications::{audit, credential, managed, ready, revise},
    lifecycle::{Left, Todo, next_second},
    record::{Application, Credential, Step},
};
use crate::{
    clock,
    idp::registration::{self, Known, Rotated},
    model::time::Timestamp,
};

/// Operations on credentials.
impl Portal {
    /// What is known of its secrets; of an IdP that lists them, as it tells now.
    ///
    /// # Errors
    /// There is no such application, or the registry cannot be read. An IdP that does not answer is
    /// no error: what the registry knows is told then.
    pub async fn credentials(&self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let application = self.application(application).await?;
        let Kept::Registry(live) = &self.0.kept else {
            return Ok(Vec::new());
        };
        let kept = live.registry().credentials(application.id).await?;
        match self.at_idp(&application).await {
            Ok(told) => Ok(merged(&application, kept, told)),
            Err(Error::Idp(registration::Error::Impossible(_)) | Error::Conflict { .. }) => {
                Ok(kept)
            }
            Err(error) => {
                tracing::warn!(application = %application.id, %error, "its secrets cannot be listed");
                Ok(kept)
            }
        }
    }

    async fn at_idp(&self, application: &Application) -> Result<Vec<Known>, Error> {
        let registrar = self.manager(application).await?;
        let (client_id, management) = managed(application)?;
        if !registrar.has_several_secrets() {
            return Err(registration::Error::Impossible("listing secrets").into());
        }
        Ok(registrar.secrets(&client_id, &management).await?)
    }

    /// The ids of the secrets that the IdP tells of, where a client may have several.
    async fn ids_at_idp(&self, application: Uuid) -> Result<Option<Vec<String>>, Error> {
        let application = self.application(application).await?;
        match self.at_idp(&application).await {
            Ok(told) => Ok(Some(told.into_iter().map(|known| known.id).collect())),
            Err(
                Error::Idp(registration::Error::Access(_) | registration::Error::Impossible(_))
                | Error::Conflict { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Another name for one secret.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rename_credential(
        &self,
        caller: &Caller,
        application: Uuid,
        id: Uuid,
        name: &str,
    ) -> Result<Credential, Error> {
        let registry = self.registry()?;
        let known = self.credentials(application).await?;
        let found = known.into_iter().find(|known| known.id == id);
        let mut credential = found.ok_or(Error::NotFound("credential"))?;
        name.clone_into(&mut credential.name);
        let mut change = caller.change(registry).await?;
        let application = ready(&mut change, application).await?;
        change.put_credential(&credential).await?;
        let same = Some(&application);
        audit(&mut change, "credential.rename", same, same).await?;
        self.commit(change).await?;
        Ok(credential)
    }

    /// A new secret in place of all others.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rotate(
        &self,
        caller: &Caller,
        application: Uuid,
    ) -> Result<Created<Application>, Error> {
        let registry = self.registry()?;
        let known = self.ids_at_idp(application).await?;
        let mut change = caller.change(registry).await?;
        let before = ready(&mut change, application).await?;
        caller.expects(before.revision)?;
        let (client_id, management) = managed(&before)?;
        let registrar = self.manager(&before).await?;
        let mut todo = self.todo(&before, Step::Rotate)?;
        todo.known = known;
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;

        let request = self.request(&before);
        let rotated = match registrar.rotate(&client_id, &management, &request).await {
            Ok(rotated) => rotated,
            Err(error) => return Err(self.not_made(todo, error).await),
        };
        todo.left = Some(Left::new(&rotated.client_id, &rotated.management));
        let valid_from = next_second();
        match self
            .keep_rotated(caller, &before, &rotated, &todo, valid_from)
            .await
        {
            Ok((after, replaced)) => {
                if let Some(mut replaced) = replaced
                    && let Err(error) = self.finish(&mut replaced).await
                {
                    tracing::warn!(%application, %error, "the old client is not deleted yet");
                    self.finish_later(replaced);
                }
                // A token by the new secret must not look like one by the old.
                let valid_from = after.credentials_valid_from;
                tokio::time::sleep(valid_from.since(clock::now())).await;
                Ok(Created::now(after, Some(rotated.issued)))
            }
            Err(error) => {
                self.finish_later(todo);
                Err(error)
            }
        }
    }

    /// Keeps what a rotation gave. Where a new client took the old one's place, the old one's end is
    /// written down in the same transaction.
    async fn keep_rotated(
        &self,
        caller: &Caller,
        before: &Application,
        rotated: &Rotated,
        todo: &Todo,
        valid_from: Timestamp,
    ) -> Result<(Application, Option<Todo>), Error> {
        let registry = self.registry()?;
        let mut change = caller.change(registry).await?;
        todo.take(&mut change).await?;
        let edit = |application: &mut Application| {
            // What the old client has goes with its id. Nothing of a new one is from before, and
            // not every IdP tells when a token was made.
            application.credentials_valid_from =
                match application.client_id.as_ref() == Some(&rotated.client_id) {
                    true => valid_from,
                    false => Timestamp::default(),
                };
            application.client_id = Some(rotated.client_id.clone());
            application.management = Some(rotated.management.clone());
        };
        let (was, after) = revise(&mut change, before.id, edit).await?;
        change.delete_credentials(after.id).await?;
        let secret = credential(&after, &rotated.issued, "");
        change.put_credential(&secret).await?;
        audit(&mut change, "credential.rotate", Some(&was), Some(&after)).await?;
        let mut replaced = None;
        if was.client_id.as_ref() != Some(&rotated.client_id)
            && let (Some(client_id), Some(management)) = (&was.client_id, &was.management)
        {
            let mut old = self.todo(&after, Step::Delete)?;
            old.left = Some(Left::new(client_id, management));
            old.write(&mut change).await?;
            replaced = Some(old);
        }
        self.commit(change).await?;
        Ok((after, replaced))
    }

    /// One more secret, where the IdP can.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn add_credential(
        &self,
        caller: &Caller,
        application: Uuid,
        name: &str,
    ) -> Result<Created<Credential>, Error> {
        let registry = self.registry()?;
        if let Some(id) = self.repeated(caller, "credential").await? {
            let kept = registry.credentials(application).await?;
            let found = kept.into_iter().find(|known| known.id == id);
            return Ok(Created::before(found.ok_or(Error::NotFound("credential"))?));
        }
        let known = self.ids_at_idp(application).await?;
        let mut change = caller.change(registry).await?;
        let before = ready(&mut change, application).await?;
        caller.expects(before.revision)?;
        let (client_id, management) = managed(&before)?;
        let registrar = self.manager(&before).await?;
        if !registrar.has_several_secrets() {
            return Err(Error::Conflict {
                code: "single_credential",
                detail: "a client has one secret at this identity provider: rotate it".to_owned(),
            });
        }
        let mut todo = self.todo(&before, Step::AddSecret)?;
        todo.known = known;
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;

        let (issued, management) = match registrar.add_secret(&client_id, &management).await {
            Ok(added) => added,
            Err(error) => return Err(self.not_made(todo, error).await),
        };
        todo.secret_id.clone_from(&issued.id);
        let kept = async {
            let mut change = caller.change(registry).await?;
            todo.take(&mut change).await?;
            let edit = |application: &mut Application| application.management = Some(management);
            let (was, after) = revise(&mut change, application, edit).await?;
            let secret = credential(&after, &issued, name);
            change.put_credential(&secret).await?;
            caller
                .answered(&mut change, "credential", secret.id)
                .await?;
            audit(&mut change, "credential.create", Some(&was), Some(&after)).await?;
            self.commit(change).await?;
            Ok(secret)
        };
        match kept.await {
            Ok(secret) => Ok(Created::now(secret, Some(issued))),
            Err(error) => {
                self.finish_later(todo);
                Err(error)
            }
        }
    }

    /// Ends one of several.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_credential(
        &self,
        caller: &Caller,
        application: Uuid,
        id: Uuid,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        let known = self.credentials(application).await?;
        let found = known.iter().find(|known| known.id == id);
        let found = found.ok_or(Error::NotFound("credential"))?;
        if known.len() < 2 {
            return Err(Error::Conflict {
                code: "last_credential",
                detail: "the application would have no secret left: rotate it, or suspend or \
                         delete the application"
                    .to_owned(),
            });
        }
        let Some(secret) = &found.at_idp else {
            return Err(registration::Error::Impossible("removing one of several secrets").into());
        };
        let mut change = caller.change(registry).await?;
        let before = ready(&mut change, application).await?;
        managed(&before)?;
        let mut todo = self.todo(&before, Step::RemoveSecret)?;
        todo.secret_id = Some(secret.clone());
        todo.write(&mut change).await?;
        let mut todo = self.begin(change, todo).await?;
        match self.finish(&mut todo).await {
            Err(Error::Idp(error @ registration::Error::Refused(_))) => {
                // It will be refused again.
                let mut change = caller.change(registry).await?;
                todo.take(&mut change).await?;
                self.commit(change).await?;
                Err(error.into())
            }
            Err(error) => {
                self.finish_later(todo);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

/// What the IdP tells, with what the registry knows of it. A secret that was made elsewhere gets an
/// id that stays the same.
fn merged(application: &Application, kept: Vec<Credential>, told: Vec<Known>) -> Vec<Credential> {
    let known = |secret: Known| {
        let mine = kept
            .iter()
            .find(|known| known.at_idp.as_ref() == Some(&secret.id));
        match mine {
            Some(mine) => Credential {
                expires_at: secret.expires_at,
                ..mine.clone()
            },
            None => Credential {
                id: Uuid::new_v5(&application.id, secret.id.as_bytes()),
                application: application.id,
                name: String::new(),
                created_at: secret.created_at.unwrap_or_default(),
                expires_at: secret.expires_at,
                at_idp: Some(secret.id),
            },
        }
    };
    told.into_iter().map(known).collect()
}
