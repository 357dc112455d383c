//! `/api/v2/products`: what an application can ask for. An API of the configuration that wants
//! registered applications is a product with one version.

use std::collections::HashMap;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        answer,
        applications::CredentialType,
        path::{Id, Ids},
        problem::{Kind, Problem},
        query::{Asked, Filter, Meta, page_of},
        shape::Time,
    },
    strategies,
    visit::Me,
};
use crate::{
    model::time::Timestamp,
    portal::{ApiView, Portal, file_id},
};

pub(super) const TAG: &str = "Products";

/// The name of the one version of each product.
pub(super) const VERSION: &str = "current";

/// A product: an API of the gateway.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub struct Told {
    id: Uuid,
    name: String,
    description: Option<String>,
    #[schema(minimum = 0)]
    document_count: u32,
    #[schema(minimum = 0)]
    version_count: u32,
    latest_version: VersionReference,
    #[schema(value_type = Object)]
    public_labels: Map<String, Value>,
    /// Of no account: it stands in the gateway's configuration.
    created_at: Time,
    /// As `created_at`.
    updated_at: Time,
}

/// A version where its product names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionReference {
    id: Uuid,
    name: &'static str,
}

/// The version of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductVersion)]
pub struct Version {
    id: Uuid,
    name: &'static str,
    deprecated: bool,
    /// One for each auth strategy that it accepts.
    registration_configs: Vec<RegistrationConfig>,
    /// As that of the product.
    created_at: Time,
    /// As that of the product.
    updated_at: Time,
}

/// How applications of an auth strategy are registered.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistrationConfig {
    /// The auth strategy's id.
    id: Uuid,
    /// Its name for people.
    name: String,
    credential_type: CredentialType,
    auth_methods: Vec<String>,
    available_scopes: Vec<String>,
    registration_enabled: bool,
    /// Whether nobody has to approve.
    registration_auto_approve: bool,
}

/// Products, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Products)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

/// Versions, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductVersions)]
pub struct VersionPage {
    data: Vec<Version>,
    meta: Meta,
}

/// By what the list of products is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::text("name"),
    Filter::text("description"),
    Filter::new("id", super::super::query::By::Id),
];

/// By what the list of versions is narrowed.
pub(super) const VERSION_FILTERS: &[Filter] = &[Filter::text("name")];

/// Lists products, by name.
#[utoipa::path(
    get,
    path = "/api/v2/products",
    operation_id = "list-products",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    _: Me,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let (name, id) = (asked.matches("name"), asked.id("id"));
    // None has one.
    let description = asked.matches("description");
    let page = asked.page();
    asked.end()?;
    let mut all = all(&portal).await?;
    all.retain(|api| name.pass(&api.name) && description.pass(""));
    all.retain(|api| id.is_none_or(|id| id == product_id(&api.name)));
    let found = page_of(all, page);
    let data = found.items.iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one product.
#[utoipa::path(
    get,
    path = "/api/v2/products/{productId}",
    operation_id = "get-product",
    tag = TAG,
    params(("productId" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(
    State(portal): State<Portal>,
    _: Me,
    Id(id): Id,
) -> Result<Response, Problem> {
    let api = product(&portal, id).await?;
    Ok(answer::plain(StatusCode::OK, &Told::from(&api)))
}

/// Lists the one version of a product.
#[utoipa::path(
    get,
    path = "/api/v2/products/{productId}/versions",
    operation_id = "list-product-versions",
    tag = TAG,
    params(("productId" = Uuid, Path, description = "The product's id")),
    responses((status = 200, description = "One page", body = VersionPage)),
)]
pub(super) async fn list_versions(
    State(portal): State<Portal>,
    _: Me,
    Id(id): Id,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let name = asked.matches("name");
    let page = asked.page();
    asked.end()?;
    let api = product(&portal, id).await?;
    let mut all = vec![Version::read(&portal, &api).await?];
    all.retain(|one| name.pass(one.name));
    let found = page_of(all, page);
    let meta = Meta::of(page, found.total);
    let data = found.items;
    Ok(answer::plain(StatusCode::OK, &VersionPage { data, meta }))
}

/// Reads the version of a product.
#[utoipa::path(
    get,
    path = "/api/v2/products/{productId}/versions/{productVersionId}",
    operation_id = "get-product-version",
    tag = TAG,
    params(
        ("productId" = Uuid, Path, description = "The product's id"),
        ("productVersionId" = Uuid, Path, description = "Its id"),
    ),
    responses((status = 200, description = "It", body = Version)),
)]
pub(super) async fn get_version(
    State(portal): State<Portal>,
    _: Me,
    Ids(id, version): Ids,
) -> Result<Response, Problem> {
    let api = product(&portal, id).await?;
    if version_id(&api.name) != version {
        return Err(nothing("product version"));
    }
    let told = Version::read(&portal, &api).await?;
    Ok(answer::plain(StatusCode::OK, &told))
}

/// The APIs that want registered applications, by name.
pub(in crate::portal) async fn all(portal: &Portal) -> Result<Vec<ApiView>, Problem> {
    let mut all = portal.apis().await?;
    all.retain(|api| api.access == "registered");
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

async fn product(portal: &Portal, id: Uuid) -> Result<ApiView, Problem> {
    let all = all(portal).await?;
    let found = all.into_iter().find(|api| product_id(&api.name) == id);
    found.ok_or_else(|| nothing("product"))
}

/// The API of a version's id.
pub(super) async fn api_of(portal: &Portal, version: Uuid) -> Result<Option<ApiView>, Problem> {
    let all = all(portal).await?;
    Ok(all.into_iter().find(|api| version_id(&api.name) == version))
}

fn nothing(what: &str) -> Problem {
    Problem::new(Kind::NotFound).detailed(format!("no such {what}"))
}

/// An API's id as a product.
pub(super) fn product_id(api: &str) -> Uuid {
    file_id("product", api)
}

/// The id of its version.
pub(super) fn version_id(api: &str) -> Uuid {
    file_id("product_version", api)
}

impl From<&ApiView> for Told {
    fn from(api: &ApiView) -> Self {
        Self {
            id: product_id(&api.name),
            name: api.name.clone(),
            description: None,
            document_count: 0,
            version_count: 1,
            latest_version: VersionReference {
                id: version_id(&api.name),
                name: VERSION,
            },
            public_labels: Map::new(),
            created_at: Timestamp::default().into(),
            updated_at: Timestamp::default().into(),
        }
    }
}

impl Version {
    async fn read(portal: &Portal, api: &ApiView) -> Result<Self, Problem> {
        let known = strategies::offered(portal).await?;
        let known: HashMap<_, _> = known.iter().map(|one| (&one.name, one)).collect();
        let accepted = api.file_strategies.iter().chain(&api.kept.strategies);
        let config = |name: &String| {
            let strategy = strategies::Told::from(*known.get(name)?);
            Some(RegistrationConfig {
                id: strategy.id,
                name: strategy.name,
                credential_type: strategy.credential_type,
                auth_methods: strategy.auth_methods,
                available_scopes: strategy.available_scopes,
                registration_enabled: true,
                registration_auto_approve: api.kept.auto_approve,
            })
        };
        Ok(Self {
            id: version_id(&api.name),
            name: VERSION,
            deprecated: false,
            registration_configs: accepted.filter_map(config).collect(),
            created_at: Timestamp::default().into(),
            updated_at: Timestamp::default().into(),
        })
    }
}
