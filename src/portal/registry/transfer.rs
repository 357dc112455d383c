//! Moving applications in from a file, and out to one.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Change, Error, Registry, database::within, read, row::Word};
use crate::{
    clock,
    directory::Entry,
    model::time::Timestamp,
    portal::record::{Actor, Application, Life, Origin, Page, Registration, RegistrationFilter},
};

/// Why an import was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The registry does not answer, or refuses.
    #[error(transparent)]
    Registry(#[from] Error),
    /// Applications that cannot be taken over, each with its reason.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// What an import does, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Applications that were not there.
    pub new: u64,
    /// Applications that were there, and otherwise.
    pub changed: u64,
    /// Applications that were there just so.
    pub unchanged: u64,
}

/// Whether an import is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// It is.
    Done,
    /// It is only tried: what it would do is told.
    Tried,
}

/// The applications as a file can hold them.
#[derive(Debug)]
pub struct Exported {
    /// Those that are ready, by strategy and client id.
    pub entries: Vec<Entry>,
    /// How many of the clients are managed at their IdP, which a file cannot tell.
    pub managed: u64,
    /// How many applications are being made or deleted and so are left out.
    pub unfinished: u64,
}

impl Registry {
    /// Every application, for a file.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn export(&self) -> Result<Exported, Error> {
        let mut entries = self.since(0).await?.entries;
        entries.sort_by(|one, other| {
            let key = |entry: &Entry| (entry.strategy.clone(), entry.client_id.to_string());
            key(one).cmp(&key(other))
        });
        let mut connection = self.connection().await?;
        let mut count = async |condition: &str| {
            let sql = format!("SELECT COUNT(*) FROM applications WHERE {condition}");
            let count = within(read::number(&mut connection, sql)).await?;
            Ok::<_, Error>(u64::try_from(count).unwrap_or_default())
        };
        Ok(Exported {
            entries,
            managed: count("life = 'ready' AND management IS NOT NULL").await?,
            unfinished: count("life <> 'ready'").await?,
        })
    }

    /// Takes over applications in one transaction, by strategy and client id: those that are there
    /// get name, developer, status and registrations as given, the others are made. What was
    /// refused from some time on stays refused: `credentials_valid_from` only rises. Applications
    /// that are not given stay as they are.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import(
        &self,
        entries: Vec<Entry>,
        import: Import,
    ) -> Result<Imported, ImportError> {
        let mut change = self.change(&Actor::Command("import"), None).await?;
        let (mut done, mut refused) = (Imported::default(), Vec::new());
        for entry in entries {
            match change.take_over(entry).await? {
                TakenOver::Changed => done.changed += 1,
                TakenOver::New => done.new += 1,
                TakenOver::Refused(reason) => refused.push(reason),
                TakenOver::Unchanged => done.unchanged += 1,
            }
        }
        if !refused.is_empty() {
            return Err(ImportError::Refused(refused));
        }
        let is_needed = done.new > 0 || done.changed > 0;
        if import == Import::Done && is_needed {
            change.commit().await?;
        }
        Ok(done)
    }
}

/// What became of one application.
enum TakenOver {
    Changed,
    New,
    Refused(String),
    Unchanged,
}

impl Change {
    async fn take_over(&mut self, entry: Entry) -> Result<TakenOver, Error> {
        let Entry {
            strategy,
            client_id,
            application: given,
        } = entry;
        let refused = |reason: &str| {
            let client = client_id.as_str();
            let text = format!("client_id: {client:?} of {strategy:?}: {reason}");
            Ok(TakenOver::Refused(text))
        };
        let now = clock::now();
        let known = self.application_of(&strategy, &client_id).await?;
        // An id that the file does not name is made of strategy and client, and says nothing.
        let is_named = given.id
            != crate::model::application::Application::default_id(&strategy, client_id.as_str());
        let (before, mut application) = match known {
            Some(known) if known.life != Life::Ready => {
                return refused("it is being made or deleted: try again when that has ended");
            }
            Some(known) if is_named && known.id != given.id => {
                return refused(&format!("its id in the registry is {}", known.id));
            }
            Some(known) => {
                let registrations = self.registrations_of(known.id).await?;
                (Some(shown(&known, &registrations)), known)
            }
            None => {
                if self.application(given.id).await?.is_some() {
                    let id = given.id;
                    return refused(&format!("the id {id} is another application's"));
                }
                let new = Application {
                    id: given.id,
                    name: String::new(),
                    description: String::new(),
                    developer: String::new(),
                    strategy: strategy.to_string(),
                    client_id: Some(client_id.clone()),
                    origin: Origin::Given,
                    provider: None,
                    management: None,
                    life: Life::Ready,
                    status: given.status,
                    scopes: Vec::new(),
                    labels: std::collections::BTreeMap::new(),
                    credentials_valid_from: Timestamp::default(),
                    created_at: now,
                    updated_at: now,
                    revision: 0,
                };
                (None, new)
            }
        };
        application.name = given.name.into();
        application.developer = given.developer.into();
        application.status = given.status;
        application.credentials_valid_from = application
            .credentials_valid_from
            .max(given.credentials_valid_from);
        let wanted = given.registrations.iter();
        let kept = self.registrations_of(application.id).await?;
        let registrations: Vec<Registration> = wanted
            .map(|(api, state)| {
                let known = kept.iter().find(|known| known.api == **api);
                Registration {
                    id: known.map_or_else(Uuid::new_v4, |known| known.id),
                    application: application.id,
                    api: api.to_string(),
                    state: *state,
                    created_at: known.map_or(now, |known| known.created_at),
                    updated_at: now,
                    revision: 0,
                }
            })
            .collect();
        let after = shown(&application, &registrations);
        if before.as_ref() == Some(&after) {
            return Ok(TakenOver::Unchanged);
        }
        application.updated_at = now;
        self.put_application(&application).await?;
        for old in &kept {
            if !registrations.iter().any(|new| new.id == old.id) {
                self.delete_registration(old.id).await?;
            }
        }
        for new in &registrations {
            let known = kept.iter().find(|known| known.id == new.id);
            if known.is_none_or(|known| known.state != new.state) {
                self.put_registration(new).await?;
            }
        }
        let is_new = before.is_none();
        let id = application.id.to_string();
        self.audit(
            "application.import",
            "application",
            &id,
            before,
            Some(after),
        )
        .await?;
        Ok(match is_new {
            true => TakenOver::New,
            false => TakenOver::Changed,
        })
    }

    async fn registrations_of(&mut self, application: Uuid) -> Result<Vec<Registration>, Error> {
        let filter = RegistrationFilter {
            application: Some(application),
            ..RegistrationFilter::default()
        };
        let all = Page {
            number: 1,
            size: u64::MAX,
        };
        Ok(self.registrations(&filter, all).await?.items)
    }
}

/// What an import may change.
fn shown(application: &Application, registrations: &[Registration]) -> Json {
    let registrations = registrations.iter();
    let registrations: serde_json::Map<String, Json> = registrations
        .map(|one| (one.api.clone(), one.state.word().into()))
        .collect();
    json!({
        "name": application.name,
        "developer": application.developer,
        "auth_strategy": application.strategy,
        "client_id": application.client_id.as_ref().map(|id| id.as_str()),
        "status": application.status.word(),
        "registrations": registrations,
        "credentials_valid_from": application.credentials_valid_from.millis(),
    })
}
