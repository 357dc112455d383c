//! What an IdP returns for a client that it made or changed, in the shape of RFC 7591 section
//! 3.2.1, and whether such a client can be used: confidential, with the grants asked for and no
//! others, its scopes no wider.
//!
//! Members that nobody knows are ignored, and nulls count as absent. No URL among them is called.

use std::{collections::HashSet, time::Duration};

use serde_json::{Map, Value};

use super::{Error, Issued, Management, asking::Asking};
use crate::{
    idp::call::{Answer, Trouble},
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    token::{introspection::is_for_management, json},
};

/// Members that hold a secret or a token, or lead to one.
const SECRET: [&str; 3] = [
    "client_secret",
    "registration_access_token",
    "registration_client_uri",
];

/// Seconds since 1970 that are in fact milliseconds: the year 5138 and later.
const MILLIS: f64 = 1e11;

/// A client as the IdP returned it.
#[derive(Debug)]
pub struct Returned {
    members: Map<String, Value>,
}

impl Returned {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it is no JSON object, which leaves open what was done.
    pub fn read(answer: &Answer) -> Result<Self, Error> {
        let unreadable = Trouble::Unreadable("the registration answer is no JSON object");
        let members = json::object(&answer.body);
        let members = members.map_err(|_| unreadable.after(Duration::from_secs(1)))?;
        Ok(Self { members })
    }

    /// One that was told already.
    pub fn of(members: Map<String, Value>) -> Self {
        Self { members }
    }

    /// All of it.
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// A member that is there and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// A member that is a text with something in it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Its id.
    pub fn client_id(&self) -> Option<ClientId> {
        ClientId::new(self.text("client_id")?)
    }

    /// Its secret, where there is one in the answer.
    pub fn issued(&self) -> Option<Issued> {
        Some(Issued {
            id: None,
            secret: Secret::new(self.text("client_secret")?),
            expires_at: self.get("client_secret_expires_at").and_then(end),
        })
    }

    /// The scopes that it has, where they are told.
    pub fn scopes(&self) -> Option<Vec<String>> {
        self.get("scope").and_then(words)
    }

    /// What of it may be shown.
    pub fn shown(mut self) -> Map<String, Value> {
        for name in SECRET {
            self.members.remove(name);
        }
        self.members
    }

    /// Whether the client can be used: what was asked for and what came back, compared.
    ///
    /// # Errors
    /// Why not, for an operator.
    pub fn check(&self, asked: &Map<String, Value>, now: Timestamp) -> Result<Issued, String> {
        if self.text("token_endpoint_auth_method") == Some("none") {
            return Err("it is public: its token_endpoint_auth_method is none".to_owned());
        }
        let issued = self.issued().ok_or("it has no client_secret")?;
        if issued.secret.expose().chars().any(char::is_control) {
            return Err("its client_secret holds a control character".to_owned());
        }
        if issued.expires_at.is_some_and(|end| end <= now) {
            return Err("its client_secret has expired already".to_owned());
        }
        self.check_grants(asked)?;
        self.check_scopes(asked)?;
        Ok(issued)
    }

    /// Whether a client that exists can be taken over: confidential, and with the grant
    /// `client_credentials`. What else it may do is its makers' decision.
    ///
    /// # Errors
    /// Why not, for an operator.
    pub fn check_adopted(&self) -> Result<(), String> {
        if self.text("token_endpoint_auth_method") == Some("none") {
            return Err("it is public: its token_endpoint_auth_method is none".to_owned());
        }
        let grants = self.get("grant_types").and_then(words);
        match grants {
            Some(grants) if !grants.iter().any(|grant| grant == "client_credentials") => {
                Err("it may not use the grant client_credentials".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Grants: `client_credentials`, and none that was not asked for.
    ///
    /// # Errors
    /// Which grant is missing or too many.
    pub fn check_grants(&self, asked: &Map<String, Value>) -> Result<(), String> {
        let Some(grants) = self.get("grant_types").and_then(words) else {
            return Ok(());
        };
        let asked = asked.get("grant_types").and_then(words).unwrap_or_default();
        if !grants.iter().any(|grant| grant == "client_credentials") {
            return Err("it may not use the grant client_credentials".to_owned());
        }
        match grants.into_iter().find(|grant| !asked.contains(grant)) {
            Some(grant) => Err(format!(
                "it may use the grant {grant:?}, which was not asked for"
            )),
            None => Ok(()),
        }
    }

    /// Scopes: none that was not asked for, where some were; never one to manage clients with.
    ///
    /// # Errors
    /// Which scope is too many.
    pub fn check_scopes(&self, asked: &Map<String, Value>) -> Result<(), String> {
        let Some(scopes) = self.scopes() else {
            return Ok(());
        };
        if let Some(scope) = scopes.iter().find(|scope| is_for_management(scope)) {
            return Err(format!("it may manage clients: its scope holds {scope:?}"));
        }
        let asked: Option<HashSet<String>> = asked
            .get("scope")
            .and_then(words)
            .map(|asked| asked.into_iter().collect());
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return Ok(());
        };
        match scopes.into_iter().find(|scope| !asked.contains(scope)) {
            Some(scope) => Err(format!(
                "its scope holds {scope:?}, which was not asked for"
            )),
            None => Ok(()),
        }
    }
}

/// What is told of an answer that names a client which belongs to somebody already.
pub fn of_somebody_else() -> Error {
    let told = "it answered with the id of a client that another application has, so nothing was \
                deleted there";
    Error::Unusable(told.to_owned())
}

/// Removes a client that cannot be used or finished; what is to be told then.
pub(super) async fn undo(
    asking: &Asking<'_>,
    client_id: ClientId,
    management: Management,
    cause: Error,
    removal: impl Future<Output = Result<(), Error>>,
) -> Error {
    if asking.is_of_somebody_else(&client_id) {
        return of_somebody_else();
    }
    match removal.await {
        Ok(()) => cause,
        Err(error) => {
            tracing::error!(
                client_id = client_id.as_str(),
                error = %error,
                "a half-made client could not be removed at the identity provider"
            );
            Error::LeftBehind {
                client_id,
                management,
                cause: Box::new(cause),
            }
        }
    }
}

/// When a secret ends: seconds since 1970 as number or text, or a date as RFC 3339 writes it; 0,
/// and what is none of these, is never (RFC 7591 section 3.2.1).
pub fn end(value: &Value) -> Option<Timestamp> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => match text.trim().parse() {
            Ok(seconds) => seconds,
            Err(_) => return date(text.trim()),
        },
        _ => return None,
    };
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    let millis = if seconds >= MILLIS {
        seconds
    } else {
        seconds * 1000.0
    };
    // The cast saturates.
    Some(Timestamp::from_millis(millis as i64))
}

/// A point in time as RFC 3339 section 5.6 writes it, or with a space for its `T`; without an offset,
/// which some servers forget, it is UTC.
pub fn date(text: &str) -> Option<Timestamp> {
    let mut text = text.replacen(' ', "T", 1);
    if !text.get(10..)?.contains(['+', '-', 'Z', 'z']) {
        text.push('Z');
    }
    Timestamp::of_rfc3339(&text)
}

/// Words of a list, or of a text that separates them by spaces.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect()
        }
        Value::String(text) => Some(text.split_ascii_whitespace().map(str::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
