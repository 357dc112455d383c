//! Konnect's HTTP DCR bridge, as its client: a small web service of the operator's own that makes
//! clients wherever it likes.
//!
//! It is told ids where this gateway has names: portal, organization, developer, strategy, provider
//! and API are UUIDs there. A name that is one is sent as it is; of any other name it is the UUIDv5
//! in the OID namespace over kind, line feed and name, always the same. The portal and the
//! organization are the identity provider's name; `client_metadata` can name others.

use std::time::Duration;

use ::http::HeaderValue;
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Access, Change, Error, Issued, Management, Registered, Request, Rotated, Told,
    asked::{auth_method, below, id, overlay},
    asking::{Asking, Safety, Subject},
    returned::{Returned, undo},
};
use crate::{
    clock,
    idp::call::{Answer, Trouble},
    model::credential::{ClientId, Secret},
};

/// The header that holds the key.
const KEY: &str = "X-API-KEY";

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let mut asked = ids(asking, request);
    let members = [
        ("client_name", json!(request.name)),
        ("redirect_uris", json!(request.redirect_uris)),
        ("grant_types", json!(["client_credentials"])),
        ("scopes", json!(request.scopes)),
        (
            "token_endpoint_auth_method",
            json!(auth_method(asking).await?),
        ),
        ("application_description", json!(request.description)),
    ];
    asked.extend(members.map(|(name, value)| (name.to_owned(), value)));
    overlay(&mut asked, asking, &[]);
    let url = base(asking)?;
    let answer = send(asking, "client", Safety::Once, || {
        asking.http().post(url.clone()).json(&asked)
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Endpoint));
    }
    let made = Returned::read(&answer)?;
    let unnamed = Trouble::Unreadable("the new client has no client_id");
    let client_id = (made.client_id()).ok_or(unnamed.after(Duration::from_secs(1)))?;
    // A bridge has its own word for scopes; what it tells is compared as any other answer.
    let mut compared = asked.clone();
    compared.insert("scope".to_owned(), json!(request.scopes));
    match made.check(&compared, clock::now()) {
        Ok(issued) => Ok(Registered {
            client_id,
            issued,
            management: nothing(),
            scopes: made.scopes(),
        }),
        Err(why) => {
            if let Some(issued) = made.issued() {
                asking.hide(&issued.secret);
            }
            let undoing = asking.to_undo();
            let kept = nothing();
            let removal = delete(&undoing, &client_id, &kept);
            let cause = Error::Unusable(why);
            Err(undo(asking, client_id.clone(), nothing(), cause, removal).await)
        }
    }
}

/// Tells a bridge that listens; the client itself is its own business.
pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    if asking.config().event_hooks {
        let members = [("redirect_uris", json!(request.redirect_uris))];
        tell(asking, client_id, request, "update_application", members).await?;
    }
    Ok(Told {
        metadata: Map::new(),
        management: None,
        issued: None,
    })
}

pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
    _request: &Request,
) -> Result<Rotated, Error> {
    if !asking.config().refresh_secret {
        return Err(Error::Impossible(
            "a new secret (the bridge is configured without it: refresh_secret)",
        ));
    }
    let url = at(asking, client_id, &["new-secret"])?;
    // Whoever asks twice holds the last secret, and no other is good.
    let answer = send(asking, "rotation", Safety::Repeatable, || {
        asking.http().post(url.clone())
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    let made = Returned::read(&answer)?;
    let missing = Trouble::Unreadable("the answer holds no client_secret");
    let issued = made.issued().ok_or(missing.after(Duration::from_secs(1)))?;
    Ok(Rotated {
        client_id: made.client_id().unwrap_or_else(|| client_id.clone()),
        issued,
        management: nothing(),
    })
}

pub(super) async fn add_secret(
    _asking: &Asking<'_>,
    _client_id: &ClientId,
    _management: &Management,
) -> Result<(Issued, Management), Error> {
    Err(Error::Impossible(
        "a second secret (the published interface of HTTP bridges has no call for it; rotate the \
         secret instead)",
    ))
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<(), Error> {
    let url = at(asking, client_id, &[])?;
    let answer = send(asking, "removal", Safety::Repeatable, || {
        asking.http().delete(url.clone())
    });
    let answer = answer.await?;
    match answer.status.as_u16() {
        404 | 410 => Ok(()),
        _ if answer.status.is_success() => Ok(()),
        _ => Err(refused(asking, &answer, Subject::Client)),
    }
}

/// A bridge needs the client's id alone; whether it has the client shows when it is asked for
/// something.
pub(super) async fn adopt(
    _asking: &Asking<'_>,
    _client_id: &ClientId,
) -> Result<Management, Error> {
    Ok(nothing())
}

pub(super) async fn registration_changed(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
    request: &Request,
    api: &str,
    change: Change,
) -> Result<(), Error> {
    let event = match change {
        Change::Added => "add_registration",
        Change::Removed => "remove_registration",
    };
    let api = ("api_product_version_id", json!(id("api", api)));
    let audience = request.audience.as_ref();
    let audience = audience.map(|audience| ("audience", json!(audience)));
    let members = [api].into_iter().chain(audience);
    tell(asking, client_id, request, event, members).await
}

/// `POST /{id}/event-hook`.
async fn tell(
    asking: &Asking<'_>,
    client_id: &ClientId,
    request: &Request,
    event: &str,
    members: impl IntoIterator<Item = (&str, Value)>,
) -> Result<(), Error> {
    let mut told = ids(asking, request);
    let own = [
        ("event_type", json!(event)),
        ("client_id", json!(client_id.as_str())),
        ("application_id", json!(request.application.to_string())),
        ("application_name", json!(request.name)),
        ("application_description", json!(request.description)),
    ];
    let all = own.into_iter().chain(members);
    told.extend(all.map(|(name, value)| (name.to_owned(), value)));
    let url = at(asking, client_id, &["event-hook"])?;
    let answer = send(asking, "event", Safety::Repeatable, || {
        asking.http().post(url.clone()).json(&told)
    });
    let answer = answer.await?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(refused(asking, &answer, Subject::Client)),
    }
}

/// The ids that every call names; those of `client_metadata` instead of ours.
fn ids(asking: &Asking<'_>, request: &Request) -> Map<String, Value> {
    let provider = &*asking.provider().config().name;
    let ids = [
        ("portal_id", id("portal", provider)),
        ("organization_id", id("organization", provider)),
        ("developer_id", id("developer", &request.developer)),
        ("auth_strategy_id", id("strategy", &request.strategy)),
        ("dcr_provider_id", id("provider", provider)),
    ];
    let configured = &asking.config().client_metadata;
    let ids = ids.map(|(name, id)| {
        let value = configured.get(name).cloned().unwrap_or_else(|| json!(id));
        (name.to_owned(), value)
    });
    ids.into_iter().collect()
}

/// A client's id is all that a bridge needs.
fn nothing() -> Management {
    Management(Secret::new("{}"))
}

/// Where the bridge is; a bridge is nowhere by default.
fn base(asking: &Asking<'_>) -> Result<Url, Error> {
    if asking.config().endpoint.is_none() {
        return Err(Error::Impossible(
            "registering without the bridge's address (registration.endpoint, dcr_base_url)",
        ));
    }
    asking.base()
}

/// An address of one client, its id percent-encoded.
fn at(asking: &Asking<'_>, client_id: &ClientId, rest: &[&str]) -> Result<Url, Error> {
    below(base(asking)?, [&[client_id.as_str()], rest].concat())
}

async fn send(
    asking: &Asking<'_>,
    what: &'static str,
    safety: Safety,
    make: impl Fn() -> RequestBuilder,
) -> Result<Answer, Error> {
    let key = match &asking.config().access {
        Access::ApiKey(key) | Access::InitialAccessToken(key) => Some(key),
        Access::Open => None,
        Access::InitialClient { .. } => {
            return Err(Error::Impossible(
                "registering with an initial client (a bridge takes an API key, dcr_token)",
            ));
        }
    };
    let key = key.map(|key| {
        let mut value = HeaderValue::try_from(key.expose()).map_err(|_| {
            Error::Access("the API key holds a character that no header may hold".to_owned())
        })?;
        value.set_sensitive(true);
        Ok::<_, Error>(value)
    });
    let key = key.transpose()?;
    let make = || match &key {
        Some(key) => make().header(KEY, key.clone()),
        None => make(),
    };
    asking.send(what, safety, make).await
}

/// What a refusal means, and what helps.
fn refused(asking: &Asking<'_>, answer: &Answer, subject: Subject) -> Error {
    match answer.status.as_u16() {
        401 | 403 => Error::Access(format!(
            "{}; the key that the bridge expects in {KEY} has to be the one configured \
             (registration.api_key, dcr_token)",
            asking.told(answer)
        )),
        _ => asking.refused(answer, subject),
    }
}
