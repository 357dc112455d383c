//! A portal developer's program and what it may call.

use std::sync::Arc;

use uuid::Uuid;

use super::time::Timestamp;

/// Whether an application may call anything at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Calls are judged by its registrations.
    #[default]
    Active,
    /// Every call is refused until it is active again.
    Suspended,
}

/// How far an application's request to use one API has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registration {
    /// May call the API.
    Approved,
    /// Waits for the operator.
    Pending,
    /// The operator said no.
    Rejected,
    /// Was approved once; no longer.
    Revoked,
}

/// One application as the data plane knows it. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Stable id; by default a UUIDv5 of strategy and client id ([`Application::default_id`]).
    pub id: Uuid,
    /// The name its developer gave it, as written.
    pub name: Box<str>,
    /// The developer's id, often an e-mail address.
    pub developer: Box<str>,
    /// Active or suspended.
    pub status: Status,
    /// State of each registration, by API name; few, so a list. Those of many applications are
    /// alike, and may be shared.
    pub registrations: Arc<[(Arc<str>, Registration)]>,
    /// Credentials, cookies and tokens made before this are refused. The epoch: none are.
    pub credentials_valid_from: Timestamp,
}

impl Application {
    /// The id of an application whose source names none: UUIDv5 over strategy and client id,
    /// length-prefixed so that no two pairs can share one.
    pub fn default_id(strategy: &str, client_id: &str) -> Uuid {
        let name = format!("{}:{strategy}{client_id}", strategy.len());
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
    }

    /// The state of its registration for an API, if it has asked for one.
    pub fn registration(&self, api: &str) -> Option<Registration> {
        self.registrations
            .iter()
            .find(|(name, _)| &**name == api)
            .map(|(_, state)| *state)
    }
}
