//! RFC 7591 and 7592 as Curity does them.

use super::{Error, Management, Registered, Request, Rotated, asking::Asking};
use crate::model::credential::ClientId;

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let _ = (asking, request);
    Err(Error::Impossible("making a client"))
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
