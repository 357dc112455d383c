//! An application as Microsoft Graph tells of it.

use serde_json::{Map, Value};

use super::{
    super::{Error, Known, returned::date},
    graph::{SECRET_NAME, unreadable},
};
use crate::model::credential::ClientId;

/// An application as Graph tells of it.
#[derive(Debug)]
pub(super) struct Application {
    /// Its object id.
    pub(super) object: String,
    /// Its client id.
    pub(super) client_id: ClientId,
    /// All that is told, without secrets.
    pub(super) members: Map<String, Value>,
}

impl Application {
    pub(super) fn read(mut members: Map<String, Value>) -> Result<Self, Error> {
        let text = |name: &str| {
            let text = members.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let object = text("id").map(str::to_owned);
        let client_id = text("appId").and_then(ClientId::new);
        let (Some(object), Some(client_id)) = (object, client_id) else {
            return Err(unreadable("an application has no id or no appId"));
        };
        // Graph shows none here; should it ever, nobody sees it.
        if let Some(Value::Array(passwords)) = members.get_mut("passwordCredentials") {
            for password in passwords.iter_mut().filter_map(Value::as_object_mut) {
                password.remove("secretText");
            }
        }
        Ok(Self {
            object,
            client_id,
            members,
        })
    }

    /// Its secrets, without them.
    pub(super) fn passwords(&self) -> Vec<Known> {
        let known = self.listed().filter_map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str);
            Some(Known {
                id: text("keyId")?.to_owned(),
                hint: text("hint").map(str::to_owned),
                created_at: text("startDateTime").and_then(date),
                expires_at: text("endDateTime").and_then(date),
            })
        });
        known.collect()
    }

    /// The ids of those of its secrets that the gateway made.
    pub(super) fn own_passwords(&self) -> Vec<String> {
        let own = self
            .listed()
            .filter(|entry| entry.get("displayName").and_then(Value::as_str) == Some(SECRET_NAME));
        own.filter_map(|entry| Some(entry.get("keyId")?.as_str()?.to_owned()))
            .collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Value> {
        let listed = self.members.get("passwordCredentials");
        listed.and_then(Value::as_array).into_iter().flatten()
    }
}
