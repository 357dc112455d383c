//! The calls to Microsoft Graph that managing an application takes, and how its answers are read.
//!
//! Always true: the token goes to the configured base alone, whatever a link in an answer says.

use std::time::Duration;

use http::{StatusCode, header};
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    super::{
        Access, Error, Issued,
        asking::{Asking, Safety, Subject},
        returned::date,
    },
    application::Application,
    refusal,
};
use crate::{
    idp::{
        call::{Answer, Trouble},
        vendor::DEFAULT,
    },
    model::credential::{ClientId, Secret},
    token::json,
};

/// The base of Graph in the worldwide cloud.
const BASE: &str = "https://graph.microsoft.com/v1.0";

/// First and longest wait for what the directory has not spread yet: it takes seconds.
pub(super) const SPREADING: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(4));

/// What is asked for of an application. Certificates are not: Graph throttles those who look.
const SELECTED: &str = "id,appId,displayName,description,notes,tags,signInAudience,api,web,\
                        createdDateTime,isFallbackPublicClient,requiredResourceAccess,\
                        passwordCredentials";

/// Pages that are followed: with the tag as filter there is one.
const PAGES: usize = 20;

/// What secrets are named by, for whoever looks at them in the portal of Entra.
pub(super) const SECRET_NAME: &str = "dcr-gateway";

/// Graph, for one operation.
pub(super) struct Graph<'a> {
    pub(super) asking: &'a Asking<'a>,
    base: Url,
}

/// An application, by one of its ids.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    /// The client id.
    Client(&'a ClientId),
    /// The object id.
    Object(&'a str),
}

/// How long an application has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Made in this operation: what does not know it yet will.
    New,
    /// Made before: what does not know it says that it is gone.
    Old,
}

impl<'a> Graph<'a> {
    /// Speaks for this operation.
    pub(super) fn of(asking: &'a Asking<'a>) -> Result<Self, Error> {
        let configured = asking.config().endpoint.clone();
        let base = configured.or_else(|| Url::parse(BASE).ok());
        let base = base.filter(|base| !base.cannot_be_a_base());
        let base = base.ok_or(Error::Impossible("finding Microsoft Graph"))?;
        Ok(Self { asking, base })
    }

    /// The scope that every application of a tenant may ask for.
    pub(super) fn scope(&self) -> String {
        let configured = match &self.asking.config().access {
            Access::InitialClient { scope, .. } => scope.clone(),
            _ => None,
        };
        configured
            .unwrap_or_else(|| format!("{}{DEFAULT}", self.base.origin().ascii_serialization()))
    }

    /// `POST /applications`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] leaves open whether it was made.
    pub(super) async fn create(&self, asked: &Map<String, Value>) -> Result<Application, Error> {
        let url = self.url(&["applications"]);
        let answer = self
            .call("application", Safety::Once, || {
                self.asking.http().post(url.clone()).json(asked)
            })
            .await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::OK => Application::read(object(&answer)?),
            _ => Err(self.refused(&answer, Subject::Endpoint)),
        }
    }

    /// `GET /applications/…`.
    ///
    /// # Errors
    /// [`Error::Gone`] where there is none.
    pub(super) async fn application(&self, named: Named<'_>) -> Result<Application, Error> {
        let mut url = self.of_application(named, None);
        url.query_pairs_mut().append_pair("$select", SELECTED);
        let answer = self
            .call("application", Safety::Repeatable, || {
                self.asking.http().get(url.clone())
            })
            .await?;
        match answer.status {
            StatusCode::OK => Application::read(object(&answer)?),
            _ => Err(self.refused(&answer, Subject::Client)),
        }
    }

    /// `GET /applications?$filter=`: all that have a tag.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Vec<Application>, Error> {
        let mut url = self.url(&["applications"]);
        url.query_pairs_mut()
            .append_pair("$filter", &format!("tags/any(t:t eq '{}')", quoted(tag)))
            .append_pair("$select", SELECTED);
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let answer = self
                .call("applications", Safety::Repeatable, || {
                    self.asking.http().get(url.clone())
                })
                .await?;
            if answer.status != StatusCode::OK {
                return Err(self.refused(&answer, Subject::Endpoint));
            }
            let mut page = object(&answer)?;
            let Some(Value::Array(entries)) = page.remove("value") else {
                return Err(unreadable("a list of Microsoft Graph holds no value"));
            };
            for entry in entries {
                let Value::Object(members) = entry else {
                    return Err(unreadable("a list of Microsoft Graph holds no objects"));
                };
                found.push(Application::read(members)?);
            }
            let Some(next) = page.get("@odata.nextLink").and_then(Value::as_str) else {
                return Ok(found);
            };
            let next = Url::parse(next).ok();
            url = next
                .filter(|next| next.origin() == self.base.origin())
                .ok_or(unreadable("the next page of Microsoft Graph is elsewhere"))?;
        }
        Err(unreadable("Microsoft Graph lists too many pages"))
    }

    /// `PATCH /applications/…`.
    pub(super) async fn change(
        &self,
        named: Named<'_>,
        changes: &Map<String, Value>,
    ) -> Result<(), Error> {
        let url = self.of_application(named, None);
        let make = || self.asking.http().patch(url.clone()).json(changes);
        let answer = self.call("change", Safety::Repeatable, make).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(&answer, Subject::Client)),
        }
    }

    /// `POST /servicePrincipals`, without which nobody can act for an application: its id. One
    /// that is there already is found.
    pub(super) async fn principal(&self, client_id: &ClientId) -> Result<String, Error> {
        let what = "service principal";
        let url = self.url(&["servicePrincipals"]);
        let body = json!({"appId": client_id.as_str()});
        let mut pause = SPREADING.0;
        let answer = loop {
            // One that was made although its answer was lost is found below.
            let make = || self.asking.http().post(url.clone()).json(&body);
            let answer = self.call(what, Safety::Repeatable, make).await?;
            match answer.status {
                StatusCode::CREATED | StatusCode::OK => break answer,
                StatusCode::CONFLICT => {
                    let name = format!("servicePrincipals(appId='{}')", quoted(client_id.as_str()));
                    let url = self.url(&[&name]);
                    let make = || self.asking.http().get(url.clone());
                    let found = self.call(what, Safety::Repeatable, make).await?;
                    match found.status {
                        StatusCode::OK => break found,
                        StatusCode::NOT_FOUND => self.spread(what, &mut pause).await?,
                        _ => return Err(self.refused(&found, Subject::Endpoint)),
                    }
                }
                StatusCode::BAD_REQUEST if refusal::lacks_application(&answer) => {
                    self.spread(what, &mut pause).await?;
                }
                _ => return Err(self.refused(&answer, Subject::Endpoint)),
            }
        };
        let members = object(&answer)?;
        if members.get("accountEnabled") == Some(&Value::Bool(false)) {
            return Err(Error::Unusable(
                "its service principal is disabled".to_owned(),
            ));
        }
        let id = members.get("id").and_then(Value::as_str).map(str::to_owned);
        id.ok_or(unreadable("a service principal has no id"))
    }

    /// `POST /applications/…/addPassword`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] leaves open whether the application has one more.
    pub(super) async fn add_password(&self, named: Named<'_>, age: Age) -> Result<Issued, Error> {
        let url = self.of_application(named, Some("addPassword"));
        let body = json!({"passwordCredential": {"displayName": SECRET_NAME}});
        let mut pause = SPREADING.0;
        loop {
            let make = || self.asking.http().post(url.clone()).json(&body);
            let answer = self.call("secret", Safety::Once, make).await?;
            match answer.status {
                StatusCode::OK | StatusCode::CREATED => return self.issued(&answer),
                StatusCode::NOT_FOUND if age == Age::New => {
                    self.spread("secret", &mut pause).await?;
                }
                _ => return Err(self.refused(&answer, Subject::Client)),
            }
        }
    }

    /// `POST /applications/…/removePassword`. One that is not there is no error.
    pub(super) async fn remove_password(&self, named: Named<'_>, key: &str) -> Result<(), Error> {
        let url = self.of_application(named, Some("removePassword"));
        let body = json!({"keyId": key});
        let make = || self.asking.http().post(url.clone()).json(&body);
        let answer = self.call("old secret", Safety::Repeatable, make).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let refused = self.refused(&answer, Subject::Client);
        if answer.status == StatusCode::BAD_REQUEST {
            // What Graph says of a key that it does not know it says of much else.
            let passwords = self.application(named).await?.passwords();
            if passwords.iter().all(|known| known.id != key) {
                return Ok(());
            }
        }
        Err(refused)
    }

    /// `DELETE /applications/…`, its service principal included, and then for good, as far as
    /// Graph lets: what can be restored counts against what the gateway's own client may own.
    ///
    /// # Errors
    /// [`Error::Gone`] where there is none; where it is new it may only not have got about.
    pub(super) async fn delete(&self, named: Named<'_>, object: Option<&str>) -> Result<(), Error> {
        let url = self.of_application(named, None);
        let make = || self.asking.http().delete(url.clone());
        let answer = self.call("deletion", Safety::Repeatable, make).await?;
        let deleted = match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(&answer, Subject::Client)),
        };
        if matches!(deleted, Ok(()) | Err(Error::Gone))
            && let Some(object) = object
        {
            self.purge(object).await;
        }
        deleted
    }

    /// `DELETE /directory/deletedItems/…`, of which nothing depends.
    async fn purge(&self, object: &str) {
        let url = self.url(&["directory", "deletedItems", object]);
        let make = || self.asking.http().delete(url.clone());
        let told = match self.call("purge", Safety::Repeatable, make).await {
            Ok(answer) if answer.status.is_success() => return,
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => return,
            Ok(answer) => self.asking.told(&answer),
            Err(error) => error.to_string(),
        };
        tracing::info!(
            identity_provider = &*self.asking.provider().config().name,
            object,
            error = told,
            "a deleted application can be restored for 30 days: it was not deleted for good"
        );
    }

    /// Waits for what the directory has not spread yet, longer each time.
    pub(super) async fn spread(
        &self,
        what: &'static str,
        pause: &mut Duration,
    ) -> Result<(), Error> {
        self.asking.wait(what, *pause).await?;
        *pause = (*pause * 2).min(SPREADING.1);
        Ok(())
    }

    /// What a refusal means, and what an operator can do about it where that is known.
    pub(super) fn refused(&self, answer: &Answer, subject: Subject) -> Error {
        refusal::cured(self.asking.refused(answer, subject), answer)
    }

    /// Sends a request with the management token. Where two changes of one object meet, the
    /// request has done nothing and is sent again.
    async fn call(
        &self,
        what: &'static str,
        safety: Safety,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let mut pause = SPREADING.0;
        loop {
            let answer = self
                .asking
                .send_with_token(what, safety, |token| {
                    make()
                        .bearer_auth(token.expose())
                        .header(header::ACCEPT, "application/json")
                })
                .await?;
            if refusal::code(&answer).as_deref() != Some("Directory_ConcurrencyViolation") {
                return Ok(answer);
            }
            self.spread(what, &mut pause).await?;
        }
    }

    /// A new secret, hidden from here on.
    fn issued(&self, answer: &Answer) -> Result<Issued, Error> {
        let members = object(answer)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let secret = text("secretText").filter(|text| !text.is_empty());
        let secret = Secret::new(secret.ok_or(unreadable("a new secret is not told"))?);
        self.asking.hide(&secret);
        if secret.expose().chars().any(char::is_control) {
            return Err(Error::Unusable(
                "its secret holds a control character".to_owned(),
            ));
        }
        Ok(Issued {
            id: text("keyId").map(str::to_owned),
            secret,
            expires_at: text("endDateTime").and_then(date),
        })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn of_application(&self, named: Named<'_>, action: Option<&str>) -> Url {
        let mut url = match named {
            Named::Client(id) => {
                self.url(&[&format!("applications(appId='{}')", quoted(id.as_str()))])
            }
            Named::Object(id) => self.url(&["applications", id]),
        };
        if let (Some(action), Ok(mut path)) = (action, url.path_segments_mut()) {
            path.push(action);
        }
        url
    }
}

/// A text as it stands between single quotes of OData.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

fn object(answer: &Answer) -> Result<Map<String, Value>, Error> {
    let members = json::object(&answer.body);
    members.map_err(|_| unreadable("an answer of Microsoft Graph is no JSON object"))
}

pub(super) fn unreadable(what: &'static str) -> Error {
    Trouble::Unreadable(what)
        .after(Duration::from_secs(1))
        .into()
}
