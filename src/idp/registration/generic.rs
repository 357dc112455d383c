//! RFC 7591 and 7592, for any server that keeps to them.
//!
//! Always true: a client is managed at the very URI that the server gave for it, with the token
//! that it gave for that, and only where the URI is on the server that registered it; what a server
//! gives anew takes the place of what it gave before.

use ::http::header;
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Access, Error, Management, Registered, Request, Rotated, Told,
    asking::{Asking, Safety, Subject},
    management::{Place, Record},
    returned::{Returned, undo},
};
use crate::{
    clock,
    idp::{AuthMethod, call::Answer},
    model::credential::{ClientId, Secret},
};

/// Registers a client (RFC 7591 section 3.1).
pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let endpoint = asking.registration_endpoint().await?;
    let asked = metadata(asking, request).await?;
    let post = || asking.http().post(endpoint.clone()).json(&asked);
    let step = "registration";
    let answer = match asking.config().access {
        Access::Open => asking.send(step, Safety::Once, post).await?,
        _ => {
            let make = |token: &Secret| bearer(post(), token);
            asking.send_with_token(step, Safety::Once, make).await?
        }
    };
    registered(asking, &endpoint, &asked, &answer).await
}

/// What a registration or a full update says of a client (RFC 7591 section 2). What the operator
/// configured stands as it is, a software statement too.
pub(super) async fn metadata(
    asking: &Asking<'_>,
    request: &Request,
) -> Result<Map<String, Value>, Error> {
    let method = match asking.token_auth().await? {
        AuthMethod::ClientSecretPost => "client_secret_post",
        AuthMethod::BasicRaw | AuthMethod::ClientSecretBasic => "client_secret_basic",
    };
    let mut metadata = Map::new();
    let mut set = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    set("client_name", json!(request.name));
    set("grant_types", json!(["client_credentials"]));
    set("response_types", json!([]));
    set("redirect_uris", json!(request.redirect_uris));
    set("token_endpoint_auth_method", json!(method));
    if !request.scopes.is_empty() {
        set("scope", json!(request.scopes.join(" ")));
    }
    metadata.extend(asking.config().client_metadata.clone());
    Ok(metadata)
}

/// Takes over the client that a registration answers with, or removes it again where it cannot be
/// used.
pub(super) async fn registered(
    asking: &Asking<'_>,
    endpoint: &Url,
    asked: &Map<String, Value>,
    answer: &Answer,
) -> Result<Registered, Error> {
    if !matches!(answer.status.as_u16(), 200 | 201) {
        return Err(asking.refused(answer, Subject::Endpoint));
    }
    let returned = Returned::read(answer)?;
    let record = Record::new(asking, endpoint, &returned);
    if let Some(place) = &record.place {
        asking.hide(&place.token);
    }
    let Some(client_id) = returned.client_id() else {
        // Nobody could name it again, but it may be known by its place.
        let removed = match &record.place {
            Some(place) => remove(&asking.to_undo(), place).await.is_ok(),
            None => false,
        };
        let left = if removed {
            ""
        } else {
            ", and it is left there"
        };
        let told = format!("its answer names no client_id{left}");
        return Err(Error::Unusable(told));
    };
    match returned.check(asked, clock::now()) {
        Ok(issued) => Ok(Registered {
            client_id,
            management: record.with_secret(&issued.secret).seal(),
            scopes: returned.scopes(),
            issued,
        }),
        Err(reason) => {
            let management = record.seal();
            let removal = super::remove(asking.to_undo(), client_id.clone(), management.clone());
            let cause = Error::Unusable(reason);
            Err(undo(asking, client_id, management, cause, removal).await)
        }
    }
}

/// Reads a client (RFC 7592 section 2.1).
pub(super) async fn read(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<Told, Error> {
    let (record, place) = managed(asking, management, "reading a client")?;
    let make = || bearer(asking.http().get(place.uri.clone()), &place.token);
    let answer = asking.send("read", Safety::Repeatable, make).await?;
    told(asking, client_id, &record, &answer, "reading a client")
}

/// Updates a client (RFC 7592 section 2.2): the whole set of its metadata as the server told it last,
/// with what is to change, and without what the server alone sets. No secret is sent, so it stays.
pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    let (record, place) = managed(asking, management, "changing a client")?;
    let mut asked = record.metadata.clone();
    if asked.is_empty() {
        asked = metadata(asking, request).await?;
    }
    asked.insert("client_name".to_owned(), json!(request.name));
    if !request.scopes.is_empty() {
        asked.insert("scope".to_owned(), json!(request.scopes.join(" ")));
    }
    if !request.redirect_uris.is_empty() {
        asked.insert("redirect_uris".to_owned(), json!(request.redirect_uris));
    }
    asked.extend(asking.config().client_metadata.clone());
    asked.insert("client_id".to_owned(), json!(client_id.as_str()));
    let make = || {
        let put = asking.http().put(place.uri.clone()).json(&asked);
        bearer(put, &place.token)
    };
    let answer = asking.send("update", Safety::Repeatable, make).await?;
    let told = told(asking, client_id, &record, &answer, "changing a client")?;
    // The change stands. What the gateway lets through does not depend on it.
    let returned = Returned::of(told.metadata.clone());
    let wider = (returned.check_grants(&asked)).and_then(|()| returned.check_scopes(&asked));
    if let Err(reason) = wider {
        tracing::warn!(
            identity_provider = &*asking.provider().config().name,
            client_id = client_id.as_str(),
            reason,
            "the identity provider made something else of an update than was asked for"
        );
    }
    Ok(told)
}

/// Registers a new client to take the old one's place: RFC 7592 knows no other way to a new secret.
pub(super) async fn rotate(
    asking: &Asking<'_>,
    _client_id: &ClientId,
    _management: &Management,
    request: &Request,
) -> Result<Rotated, Error> {
    let registered = create(asking, request).await?;
    Ok(Rotated {
        client_id: registered.client_id,
        issued: registered.issued,
        management: registered.management,
    })
}

/// Deletes a client (RFC 7592 section 2.3).
pub(super) async fn delete(
    asking: &Asking<'_>,
    _client_id: &ClientId,
    management: &Management,
) -> Result<(), Error> {
    let (_, place) = managed(asking, management, "deleting a client")?;
    remove(asking, &place).await
}

/// Nobody but its owner has the token with which a client is managed.
pub(super) async fn adopt(
    _asking: &Asking<'_>,
    _client_id: &ClientId,
) -> Result<Management, Error> {
    Err(Error::Impossible(
        "managing a client without its registration access token",
    ))
}

/// Deletes what is managed at a place. What is there no more is no error: of a client that does not
/// exist the server says 401, as of a token that is good no more.
pub(super) async fn remove(asking: &Asking<'_>, place: &Place) -> Result<(), Error> {
    let make = || bearer(asking.http().delete(place.uri.clone()), &place.token);
    let answer = asking.send("deletion", Safety::Repeatable, make).await?;
    removed(asking, &answer)
}

/// What an answer to a deletion says.
pub(super) fn removed(asking: &Asking<'_>, answer: &Answer) -> Result<(), Error> {
    match answer.status.as_u16() {
        200 | 202 | 204 | 404 | 410 => Ok(()),
        401 => {
            tracing::warn!(
                identity_provider = &*asking.provider().config().name,
                "a client to be deleted is not known to the identity provider, and counts as \
                 deleted; had its registration access token run out, it is still there"
            );
            Ok(())
        }
        405 | 501 => Err(Error::Impossible("deleting a client")),
        _ => Err(Error::Refused(asking.told(answer))),
    }
}

/// What a read or an update says of a client, and what it changed.
fn told(
    asking: &Asking<'_>,
    client_id: &ClientId,
    record: &Record,
    answer: &Answer,
    what: &'static str,
) -> Result<Told, Error> {
    match answer.status.as_u16() {
        200 | 201 => {}
        401 => {
            return Err(Error::Access(format!(
                "the registration access token is good no more, or the client is gone: {}",
                asking.told(answer)
            )));
        }
        403 => {
            return Err(Error::Refused(format!(
                "the client may not be managed with its registration access token: {}",
                asking.told(answer)
            )));
        }
        405 | 501 => return Err(Error::Impossible(what)),
        _ => return Err(asking.refused(answer, Subject::Client)),
    }
    let returned = Returned::read(answer)?;
    if returned.client_id().is_some_and(|told| told != *client_id) {
        let told = "it tells of another client than the one asked for";
        return Err(Error::Refused(told.to_owned()));
    }
    let (newer, issued) = record.renewed(asking, &returned);
    Ok(Told {
        metadata: returned.shown(),
        management: (newer != *record).then(|| newer.seal()),
        issued,
    })
}

/// Where and with what a client is managed.
fn managed(
    asking: &Asking<'_>,
    management: &Management,
    what: &'static str,
) -> Result<(Record, Place), Error> {
    let record = Record::open(management);
    let place = record.place.clone().ok_or(Error::Impossible(what))?;
    asking.hide(&place.token);
    Ok((record, place))
}

/// A request that carries a token, which no log of the client's shows.
pub(super) fn bearer(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    request
        .header(header::ACCEPT, "application/json")
        .bearer_auth(token.expose())
}
