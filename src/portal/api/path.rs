//! What a path names.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use uuid::Uuid;

use super::problem::{Kind, Problem};

/// The id in a path. Whatever is no id names nothing.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Id(pub(in crate::portal) Uuid);

/// Two ids in a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Ids(pub(in crate::portal) Uuid, pub(in crate::portal) Uuid);

/// The name in a path.
#[derive(Clone, Debug)]
pub(in crate::portal) struct Name(pub(in crate::portal) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<Uuid>::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing())?;
        Ok(Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((first, second)) = Path::<(Uuid, Uuid)>::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing())?;
        Ok(Self(first, second))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| nothing())?;
        Ok(Self(name))
    }
}

fn nothing() -> Problem {
    Problem::new(Kind::NotFound)
}
