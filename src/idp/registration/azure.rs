//! Microsoft Graph, for Entra.

use super::{
    Error, Issued, Known, Management, Registered, Request, Rotated, Told, Trace, asking::Asking,
};
use crate::model::credential::ClientId;

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let _ = (asking, request);
    Err(Error::Impossible("making a client"))
}

pub(super) async fn trace(asking: &Asking<'_>, request: &Request) -> Result<Trace, Error> {
    let _ = (asking, request);
    Err(Error::Impossible("looking for a client"))
}

pub(super) async fn read(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<Told, Error> {
    let _ = (asking, client_id, management);
    Err(Error::Impossible("reading a client"))
}

pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    let _ = (asking, client_id, management, request);
    Err(Error::Impossible("changing a client"))
}

pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Rotated, Error> {
    let _ = (asking, client_id, management, request);
    Err(Error::Impossible("a new secret"))
}

pub(super) async fn add_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(Issued, Management), Error> {
    let _ = (asking, client_id, management);
    Err(Error::Impossible("a second secret"))
}

pub(super) async fn secrets(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<Vec<Known>, Error> {
    let _ = (asking, client_id, management);
    Err(Error::Impossible("listing secrets"))
}

pub(super) async fn remove_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    id: &str,
) -> Result<Management, Error> {
    let _ = (asking, client_id, management, id);
    Err(Error::Impossible("removing one of several secrets"))
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(), Error> {
    let _ = (asking, client_id, management);
    Err(Error::Impossible("deleting a client"))
}

pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    let _ = (asking, client_id);
    Err(Error::Impossible("taking over a client"))
}
