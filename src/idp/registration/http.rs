//! Konnect's HTTP DCR bridge, as its client.

use super::{
    Change, Error, Issued, Management, Registered, Request, Rotated, Told, asking::Asking,
};
use crate::model::credential::ClientId;

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let _ = (asking, request);
    Err(Error::Impossible("making a client"))
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

pub(super) async fn registration_changed(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
    api: &str,
    change: Change,
) -> Result<(), Error> {
    let _ = (asking, client_id, management, request, api, change);
    Err(Error::Impossible("telling of a registration"))
}
