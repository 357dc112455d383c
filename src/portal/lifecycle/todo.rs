//! Something that is about to be done at an identity provider, as it is written down and as the
//! process that does it knows it.
//!
//! A process holds each of its own until the operation ends ([`Held`]). What it wrote and does not
//! hold was left by an operation that ended early, and is finished like that of a dead process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock,
    idp::registration::{Issued, Management},
    model::credential::{ClientId, Secret},
    portal::{
        Error,
        record::{Application, Intent, Step},
        registry::{self, Change},
    },
};

/// A client at an IdP that is to be removed, or whose management is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::portal) struct Left {
    pub(super) client_id: ClientId,
    pub(super) management: Management,
}

impl Left {
    pub(in crate::portal) fn new(client_id: &ClientId, management: &Management) -> Self {
        Self {
            client_id: client_id.clone(),
            management: management.clone(),
        }
    }
}

/// The intents at which this process works.
#[derive(Clone, Debug, Default)]
pub(in crate::portal) struct AtWork(Arc<Mutex<HashSet<Uuid>>>);

impl AtWork {
    /// Whether somebody works at this one.
    pub(super) fn holds(&self, intent: Uuid) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(&intent)
    }

    fn hold(&self, intent: Uuid) -> Arc<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(intent);
        Arc::new(Held {
            intent,
            at_work: self.clone(),
        })
    }
}

/// While there is one, its intent is being worked at.
#[derive(Debug)]
struct Held {
    intent: Uuid,
    at_work: AtWork,
}

impl Drop for Held {
    fn drop(&mut self) {
        let all = self.at_work.0.lock();
        all.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.intent);
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
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Vec<String>>,
}

/// Something that is about to be done at an IdP.
#[derive(Clone, Debug)]
pub(in crate::portal) struct Todo {
    pub(super) id: Uuid,
    pub(super) application: Uuid,
    /// The name of the DCR provider, as far as known.
    pub(super) provider: Option<String>,
    /// What managed the client before, as far as known.
    pub(super) managed: Option<Management>,
    pub(super) step: Step,
    process: Uuid,
    /// See [`Left`]: of a creation, rotation or update the client as the IdP has it now, of a
    /// deletion one that is deleted without its application.
    pub(in crate::portal) left: Option<Left>,
    /// The secret that is to be removed, or was added, as the IdP calls it.
    pub(in crate::portal) secret_id: Option<String>,
    /// The secrets that there were before, where a client may have several: others are nobody's.
    pub(in crate::portal) known: Option<Vec<String>>,
    /// Whether the IdP has said that it did nothing.
    pub(in crate::portal) nothing_made: bool,
    /// Whether an attempt was made whose outcome is not known.
    pub(super) in_doubt: bool,
    /// A secret that the IdP gave in place of the old one, though nobody had asked for it.
    pub(in crate::portal) issued: Option<Issued>,
    /// The application's revision with which the outcome was to be kept.
    pub(in crate::portal) revision: Option<i64>,
    _held: Arc<Held>,
}

impl Todo {
    pub(super) fn new(
        application: &Application,
        step: Step,
        process: Uuid,
        at_work: &AtWork,
    ) -> Self {
        let id = Uuid::new_v4();
        Self {
            id,
            application: application.id,
            provider: application.provider.clone(),
            managed: application.management.clone(),
            step,
            process,
            left: None,
            secret_id: None,
            known: None,
            nothing_made: false,
            in_doubt: false,
            issued: None,
            revision: None,
            _held: at_work.hold(id),
        }
    }

    /// What somebody wrote down.
    pub(super) fn of(intent: &Intent, process: Uuid, at_work: &AtWork) -> Self {
        let data = intent.data.as_ref();
        let data: Data = data
            .and_then(|data| serde_json::from_str(data.expose()).ok())
            .unwrap_or_default();
        let management = Management(Secret::new(data.management.unwrap_or_default()));
        let client_id = data.client_id.and_then(ClientId::new);
        Self {
            id: intent.id,
            application: intent.application,
            provider: None,
            managed: None,
            step: intent.step,
            process,
            left: client_id.map(|client_id| Left {
                client_id,
                management,
            }),
            secret_id: data.secret_id,
            known: data.known,
            nothing_made: false,
            in_doubt: true,
            issued: None,
            revision: None,
            _held: at_work.hold(intent.id),
        }
    }

    /// Writes it down.
    pub(in crate::portal) async fn write(
        &self,
        change: &mut Change,
    ) -> Result<(), registry::Error> {
        let left = self.left.as_ref();
        let data = Data {
            client_id: left.map(|left| left.client_id.to_string()),
            management: left.map(|left| left.management.0.expose().to_owned()),
            secret_id: self.secret_id.clone(),
            known: self.known.clone(),
        };
        let has_data = left.is_some() || self.secret_id.is_some() || self.known.is_some();
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
    pub(in crate::portal) async fn take(&self, change: &mut Change) -> Result<(), Error> {
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
