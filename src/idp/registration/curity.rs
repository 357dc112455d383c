//! RFC 7591 and 7592 as Curity does them.
//!
//! A token to register with is good once, so each attempt gets its own. Reading or updating a client
//! at its `registration_client_uri` gives it another secret and another registration access token,
//! so both are done on purpose only: that is how a secret is rotated. Without management switched
//! on there, clients come without URI and token; then a token of the initial client's with the
//! scope `dcrm` manages them below the registration endpoint.

use ::http::StatusCode;
use url::Url;

use super::{
    Error, Management, Registered, Request, Rotated,
    asking::{Asking, Safety, Subject},
    generic::{self, bearer},
    management::{Place, Record},
    returned::Returned,
};
use crate::model::credential::ClientId;

/// The scope of tokens that manage every registered client.
const MANAGE: &str = "dcrm";

/// Registers a client.
pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    generic::create(asking, request).await
}

/// Has the client's secret changed by reading the client.
pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    _request: &Request,
) -> Result<Rotated, Error> {
    let record = Record::open(management);
    let read = async |place: &Place| {
        let make = || bearer(asking.http().get(place.uri.clone()), &place.token);
        // Done twice, the first of the two secrets is lost, and with it the token for the second.
        asking.send("rotation", Safety::Once, make).await
    };
    let mut answer = read(&place(asking, client_id, &record).await?).await?;
    if answer.status == StatusCode::UNAUTHORIZED
        && let Some(second) = second_place(asking, &record).await?
    {
        answer = read(&second).await?;
    }
    match answer.status.as_u16() {
        200 | 201 => {}
        401 => {
            return Err(Error::Access(format!(
                "the token to manage the client with is good no more, or the client is gone: {}",
                asking.told(&answer)
            )));
        }
        _ => return Err(asking.refused(&answer, Subject::Client)),
    }
    let returned = Returned::read(&answer)?;
    let (newer, issued) = record.renewed(asking, &returned);
    let issued = issued.or_else(|| record.is_blank().then(|| returned.issued()).flatten());
    let issued = issued.ok_or_else(|| {
        let told = "reading the client gave it no other secret; rotate it at Curity itself";
        Error::Refused(told.to_owned())
    })?;
    Ok(Rotated {
        client_id: client_id.clone(),
        management: newer.with_secret(&issued.secret).seal(),
        issued,
    })
}

/// Deletes the client.
pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(), Error> {
    let record = Record::open(management);
    let place = place(asking, client_id, &record).await?;
    let remove = async |place: &Place| {
        let make = || bearer(asking.http().delete(place.uri.clone()), &place.token);
        asking.send("deletion", Safety::Repeatable, make).await
    };
    let mut answer = remove(&place).await?;
    if answer.status == StatusCode::UNAUTHORIZED
        && let Some(second) = second_place(asking, &record).await?
    {
        answer = remove(&second).await?;
    }
    generic::removed(asking, &answer)
}

/// A client that exists can be managed with the scope `dcrm`. Whether it exists nobody can ask
/// without changing its secret.
pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    let record = Record::default();
    place(asking, client_id, &record).await?;
    Ok(record.seal())
}

/// Where the client is managed, and with what.
async fn place(asking: &Asking<'_>, client_id: &ClientId, record: &Record) -> Result<Place, Error> {
    if let Some(place) = &record.place {
        asking.hide(&place.token);
        return Ok(place.clone());
    }
    let endpoint = asking.registration_endpoint().await?;
    let uri = below(endpoint, client_id).ok_or(Error::Impossible("managing a client"))?;
    let token = asking.token_for(MANAGE).await?;
    Ok(Place { uri, token })
}

/// Where a client is managed whose own token is good no more, because the answer with the next one
/// was lost: nowhere, unless the initial client may manage every client.
async fn second_place(asking: &Asking<'_>, record: &Record) -> Result<Option<Place>, Error> {
    let Some(place) = &record.place else {
        return Ok(None);
    };
    match asking.token_for(MANAGE).await {
        Ok(token) => Ok(Some(Place {
            uri: place.uri.clone(),
            token,
        })),
        Err(Error::Access(_) | Error::Impossible(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A client's own address below the registration endpoint.
fn below(mut endpoint: Url, client_id: &ClientId) -> Option<Url> {
    endpoint
        .path_segments_mut()
        .ok()?
        .pop_if_empty()
        .push(client_id.as_str());
    Some(endpoint)
}
