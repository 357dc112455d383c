//! `/api/v2/applications/auth-strategies`: with which credentials applications can be made.

use std::collections::HashSet;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        answer,
        applications::CredentialType,
        problem::Problem,
        query::{Asked, Filter, Meta, page_of},
    },
    visit::Me,
};
use crate::portal::{
    Portal,
    record::{self, Strategy},
};

pub(super) const TAG: &str = "Application auth strategies";

/// An auth strategy.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ApplicationAuthStrategy, example = json!({
    "id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
    "name": "Partners",
    "credential_type": "client_credentials",
    "auth_methods": ["client_credentials", "bearer"],
    "available_scopes": ["openid"],
}))]
pub struct Told {
    pub(super) id: Uuid,
    /// For people.
    pub(super) name: String,
    pub(super) credential_type: CredentialType,
    pub(super) auth_methods: Vec<String>,
    /// The scopes that an application may ask for.
    pub(in crate::portal) available_scopes: Vec<String>,
}

/// Auth strategies, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApplicationAuthStrategies)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::text("name"),
    Filter::words("credential_type", CREDENTIAL_TYPES),
];

const CREDENTIAL_TYPES: &[&str] = &["client_credentials", "self_managed_client_credentials"];

/// Lists the auth strategies with which an application can call something.
#[utoipa::path(
    get,
    path = "/api/v2/applications/auth-strategies",
    operation_id = "list-application-auth-strategies",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    _: Me,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let name = asked.matches("name");
    let kind = asked.word("credential_type", CREDENTIAL_TYPES);
    let page = asked.page();
    asked.end()?;
    let mut all: Vec<Told> = offered(&portal).await?.iter().map(Told::from).collect();
    all.retain(|one| name.pass(&one.name));
    all.retain(|one| kind.is_none_or(|kind| one.credential_type.name() == kind));
    Ok(told(page, all))
}

fn told(page: record::Page, all: Vec<Told>) -> Response {
    let found = page_of(all, page);
    let meta = Meta::of(page, found.total);
    let data = found.items;
    answer::plain(StatusCode::OK, &Page { data, meta })
}

/// The strategies that an API accepts which wants applications, by name.
pub(in crate::portal) async fn offered(portal: &Portal) -> Result<Vec<Strategy>, Problem> {
    let apis = portal.apis().await?;
    let mut accepted = HashSet::new();
    for api in &apis {
        if matches!(api.access, "application" | "registered") {
            accepted.extend(api.file_strategies.iter().chain(&api.kept.strategies));
        }
    }
    let mut all = portal.strategies().await?;
    all.retain(|one| accepted.contains(&one.name));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

impl From<&Strategy> for Told {
    fn from(strategy: &Strategy) -> Self {
        let texts = |option: &str| {
            let list = strategy
                .settings
                .get(option)
                .and_then(|list| list.as_array());
            let texts = list.into_iter().flatten().filter_map(|item| item.as_str());
            texts.map(str::to_owned).collect()
        };
        Self {
            id: strategy.id,
            name: strategy.display_name.clone(),
            credential_type: match strategy.provider {
                Some(_) => CredentialType::ClientCredentials,
                None => CredentialType::SelfManagedClientCredentials,
            },
            auth_methods: texts("auth_methods"),
            available_scopes: texts("scopes"),
        }
    }
}
