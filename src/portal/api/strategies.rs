//! `/v2/application-auth-strategies`: which credentials count, and where applications get theirs.

use std::collections::HashSet;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    body::{Body, Form},
    path::Id,
    problem::{self, Problem},
    query::{Asked, Filter, Meta, page_of},
    request::Asking,
    shape::{DcrProviderReference, Labels, LabelsPatch, Line, Name, Note, Source, Time, nullable},
};
use crate::portal::{
    ApiView, Fault, NewStrategy, Portal, StrategyPatch,
    record::{Provider, Strategy},
};

pub(super) const TAG: &str = "Application auth strategies";

/// The only kind of strategy there is.
pub(super) const OPENID_CONNECT: &str = "openid_connect";

/// An application auth strategy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthStrategy, example = json!({
    "id": "0c7c1f0e-3d1f-4f4c-8d1c-0f6d7d0c4b1e",
    "name": "partners",
    "display_name": "Partners",
    "strategy_type": "openid_connect",
    "configs": {"openid-connect": {
        "issuer": "https://tenant.eu.auth0.com",
        "credential_claim": ["azp"],
        "scopes": ["openid"],
        "auth_methods": ["client_credentials", "bearer"],
    }},
    "dcr_provider_id": "6d0a6c0e-6f4e-4a53-a2fd-2a7e3a7c3b4f",
    "dcr_provider": {
        "id": "6d0a6c0e-6f4e-4a53-a2fd-2a7e3a7c3b4f",
        "name": "auth0",
        "display_name": "Auth0, production",
        "provider_type": "auth0",
    },
    "active": true,
    "supports_multiple_credentials": false,
    "labels": {},
    "source": "registry",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// Unique among the strategies of registry and file; never changes.
    name: String,
    /// For people.
    display_name: String,
    strategy_type: StrategyType,
    configs: ToldConfigs,
    /// The DCR provider's id; null: applications bring clients that were made elsewhere.
    dcr_provider_id: Option<Uuid>,
    /// The DCR provider.
    dcr_provider: Option<DcrProviderReference>,
    /// Whether an API accepts it.
    active: bool,
    /// Whether its applications may have several secrets at once.
    supports_multiple_credentials: bool,
    labels: Labels,
    /// Where it stands; what stands in the file can only be read here.
    source: Source,
    created_at: Time,
    updated_at: Time,
}

/// What kind of strategy it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyType {
    /// Client credentials, bearer tokens and sessions of an OpenID provider.
    OpenidConnect,
}

/// The strategy's options, by its kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToldConfigs {
    /// As they were given.
    #[serde(rename = "openid-connect")]
    #[schema(value_type = Object)]
    openid_connect: Map<String, Value>,
}

/// The strategy's options, by its kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Configs {
    /// Of `openid_connect`.
    #[serde(rename = "openid-connect")]
    #[schema(value_type = OpenIdConnect)]
    openid_connect: Map<String, Value>,
}

/// The options to change, by the strategy's kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigsPatch {
    /// Members to set; the others stay, null removes one.
    #[serde(rename = "openid-connect")]
    #[schema(value_type = OpenIdConnect)]
    openid_connect: Map<String, Value>,
}

/// An application auth strategy to be, or the whole of one that takes another's place.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewAuthStrategy, example = json!({
    "name": "partners",
    "display_name": "Partners",
    "strategy_type": "openid_connect",
    "configs": {"openid-connect": {
        "issuer": "https://tenant.eu.auth0.com",
        "credential_claim": ["azp"],
        "scopes": ["openid"],
        "auth_methods": ["client_credentials", "bearer"],
    }},
    "dcr_provider_id": null,
    "labels": {"team": "platform"},
}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Unique among the strategies of registry and file; never changes.
    #[schema(value_type = Name)]
    name: String,
    /// For people; by default the name.
    #[schema(value_type = Option<Note>, nullable = false)]
    display_name: Option<String>,
    /// What kind of strategy it is; `key_auth` is not supported.
    #[schema(value_type = StrategyType)]
    strategy_type: StrategyType,
    configs: Configs,
    /// The DCR provider's id; without one, applications bring clients that were made elsewhere.
    dcr_provider_id: Option<Uuid>,
    #[serde(default)]
    #[schema(nullable = false)]
    labels: Labels,
}

/// What of a strategy is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchAuthStrategy, example = json!({
    "display_name": "Partners",
    "configs": {"openid-connect": {"scopes": ["openid", "flights:read"]}},
}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// For people.
    #[schema(value_type = Option<Note>, nullable = false)]
    display_name: Option<String>,
    /// Options to change.
    #[schema(nullable = false)]
    configs: Option<ConfigsPatch>,
    /// The DCR provider's id; null: none from now on.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Uuid>)]
    dcr_provider_id: Option<Option<Uuid>>,
    /// Marks to set; null removes one.
    #[schema(nullable = false)]
    labels: Option<LabelsPatch>,
}

/// Options of `openid_connect` in Konnect's words. Those of the configuration file stand beside
/// them.
#[derive(Debug, ToSchema)]
pub struct OpenIdConnect {
    /// The issuer, or the address of its metadata.
    #[schema(value_type = Line)]
    pub issuer: String,
    /// Scopes to ask for.
    #[schema(value_type = Option<Vec<super::shape::Scope>>, nullable = false, max_items = 50)]
    pub scopes: Option<Vec<String>>,
    /// Which audience to ask for.
    #[schema(value_type = Option<Vec<Line>>, nullable = false, max_items = 1)]
    pub audience: Option<Vec<String>>,
    /// One of these must be in the token's `aud`.
    #[schema(value_type = Option<Vec<super::shape::Scope>>, nullable = false, max_items = 10)]
    pub audience_required: Option<Vec<String>>,
    /// The claim that holds the scopes: the names that lead to it.
    #[schema(value_type = Option<Vec<Line>>, nullable = false, min_items = 1, max_items = 10)]
    pub scopes_claim: Option<Vec<String>>,
    /// Seconds by which clocks may differ.
    #[schema(nullable = false, minimum = 0, maximum = 300)]
    pub leeway: Option<u32>,
    /// The longest that a good pair of id and secret is remembered, in seconds.
    #[schema(nullable = false, minimum = 1, maximum = 86400)]
    pub cache_ttl_max: Option<u32>,
    /// Credentials are always hidden from the upstream.
    #[schema(nullable = false, value_type = Option<bool>)]
    pub hide_credentials: Option<bool>,
    /// The identity provider of the configuration file that issues the tokens.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
    /// Seconds after which a session ends.
    #[schema(nullable = false, minimum = 1)]
    pub session_absolute_timeout: Option<u32>,
    /// Seconds after which an unused session ends.
    #[schema(nullable = false, minimum = 1)]
    pub session_idling_timeout: Option<u32>,
    /// The name of the session cookie.
    #[schema(value_type = Option<Name>, nullable = false)]
    pub session_cookie_name: Option<String>,
    /// `SameSite` of the session cookie.
    #[schema(value_type = Option<SameSite>, nullable = false)]
    pub session_cookie_same_site: Option<String>,
    /// Names of further parameters of the token request.
    #[schema(value_type = Option<Vec<Line>>, nullable = false, max_items = 50)]
    pub token_post_args_names: Option<Vec<String>>,
    /// Their values.
    #[schema(value_type = Option<Vec<Line>>, nullable = false, max_items = 50)]
    pub token_post_args_values: Option<Vec<String>>,
}

/// `SameSite` of a cookie.
#[derive(Debug, Serialize, ToSchema)]
pub enum SameSite {
    /// Sent along when a page of another site links here.
    Lax,
    /// Sent along by every page.
    None,
    /// Sent by pages of this site only.
    Strict,
}

/// Application auth strategies, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthStrategies)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "NewAuthStrategy";
}

impl From<New> for NewStrategy {
    fn from(new: New) -> Self {
        let New {
            name,
            display_name,
            strategy_type: StrategyType::OpenidConnect,
            configs,
            dcr_provider_id,
            labels,
        } = new;
        Self {
            display_name: display_name.unwrap_or_else(|| name.clone()),
            name,
            settings: configs.openid_connect,
            provider: dcr_provider_id,
            labels: labels.0,
        }
    }
}

impl From<Patch> for StrategyPatch {
    fn from(patch: Patch) -> Self {
        let Patch {
            display_name,
            configs,
            dcr_provider_id,
            labels,
        } = patch;
        Self {
            display_name,
            settings: configs.map(|configs| configs.openid_connect),
            whole: false,
            provider: dcr_provider_id,
            labels: labels.map(|labels| labels.0),
        }
    }
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchAuthStrategy";
    const FIXED: &'static [&'static str] = &["id", "name", "strategy_type"];
}

#[cfg(test)]
impl Patch {
    /// Whether it says that there is no DCR provider any more.
    pub(super) fn removes_provider(&self) -> bool {
        self.dcr_provider_id == Some(None)
    }
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::text("name"),
    Filter::words("strategy_type", &[OPENID_CONNECT]),
];

/// By what a list is sorted.
pub(super) const ORDERS: &[&str] = &["name", "created_at", "updated_at"];

/// Makes an auth strategy.
#[utoipa::path(
    post,
    path = "/v2/application-auth-strategies",
    operation_id = "create-auth-strategy",
    tag = TAG,
    request_body = New,
    responses((status = 201, description = "It was made", body = Told)),
)]
pub(super) async fn create(
    State(portal): State<Portal>,
    asking: Asking,
    body: Body<New>,
) -> Result<Response, Problem> {
    let caller = asking.creator(&body.given);
    let made = portal.create_strategy(&caller, body.value.into()).await?;
    let told = Around::read(&portal)
        .await?
        .tell(made.value.clone())
        .await?;
    let place = format!("/v2/application-auth-strategies/{}", told.id);
    let revision = Some(made.value.revision);
    Ok(answer::created(&made, revision, &place, &told, &told))
}

/// Lists auth strategies.
#[utoipa::path(
    get,
    path = "/v2/application-auth-strategies",
    operation_id = "list-auth-strategies",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let name = asked.matches("name");
    // There is but one.
    asked.word("strategy_type", &[OPENID_CONNECT]);
    let (order, direction) = asked.sort(ORDERS);
    let page = asked.page();
    asked.end()?;
    let mut all = portal.strategies().await?;
    all.retain(|one| name.pass(&one.name));
    all.sort_by(|a, b| {
        let order = match order {
            "created_at" => a.created_at.cmp(&b.created_at),
            "updated_at" => a.updated_at.cmp(&b.updated_at),
            _ => a.name.cmp(&b.name),
        };
        direction.of(order).then_with(|| a.name.cmp(&b.name))
    });
    let found = page_of(all, page);
    let around = Around::read(&portal).await?;
    let mut data = Vec::with_capacity(found.items.len());
    for strategy in found.items {
        data.push(around.tell(strategy).await?);
    }
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one auth strategy.
#[utoipa::path(
    get,
    path = "/v2/application-auth-strategies/{id}",
    operation_id = "get-auth-strategy",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(State(portal): State<Portal>, Id(id): Id) -> Result<Response, Problem> {
    let strategy = portal.strategy(id).await?;
    tell(&portal, StatusCode::OK, strategy).await
}

/// Puts another whole strategy in the place of one, which keeps its id and its name.
#[utoipa::path(
    put,
    path = "/v2/application-auth-strategies/{id}",
    operation_id = "replace-auth-strategy",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = New,
    responses((status = 201, description = "It was replaced", body = Told)),
)]
pub(super) async fn put(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<New>,
) -> Result<Response, Problem> {
    let before = portal.strategy(id).await?;
    let new = body.value;
    if new.name != before.name {
        let fault = Fault {
            field: "name".to_owned(),
            rule: "immutable",
            reason: "cannot be changed: expected the strategy's own name".to_owned(),
        };
        return Err(Problem::invalid(problem::Source::Body, vec![fault]));
    }
    let gone = before.labels.into_keys().map(|name| (name, None));
    let set = new.labels.0.into_iter();
    let set = set.map(|(name, value)| (name, Some(value)));
    let patch = StrategyPatch {
        display_name: Some(new.display_name.unwrap_or(new.name)),
        settings: Some(new.configs.openid_connect),
        whole: true,
        provider: Some(new.dcr_provider_id),
        // What is set comes last, and wins.
        labels: Some(gone.chain(set).collect()),
    };
    let changed = portal.patch_strategy(&asking.caller(), id, patch).await?;
    tell(&portal, StatusCode::CREATED, changed).await
}

/// Changes an auth strategy.
#[utoipa::path(
    patch,
    path = "/v2/application-auth-strategies/{id}",
    operation_id = "update-auth-strategy",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Patch,
    responses((status = 200, description = "It was changed", body = Told)),
)]
pub(super) async fn patch(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
    body: Body<Patch>,
) -> Result<Response, Problem> {
    let patch = body.value.into();
    let changed = portal.patch_strategy(&asking.caller(), id, patch).await?;
    tell(&portal, StatusCode::OK, changed).await
}

/// Deletes an auth strategy that no API lists and no application uses.
#[utoipa::path(
    delete,
    path = "/v2/application-auth-strategies/{id}",
    operation_id = "delete-auth-strategy",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    portal.delete_strategy(&asking.caller(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tell(
    portal: &Portal,
    status: StatusCode,
    strategy: Strategy,
) -> Result<Response, Problem> {
    let revision = strategy.revision;
    let told = Around::read(portal).await?.tell(strategy).await?;
    Ok(answer::one(status, revision, &told))
}

/// What is told of a strategy beside itself.
struct Around<'p> {
    portal: &'p Portal,
    providers: Vec<Provider>,
    accepted: HashSet<String>,
}

impl<'p> Around<'p> {
    async fn read(portal: &'p Portal) -> Result<Self, Problem> {
        let names = |api: ApiView| api.file_strategies.into_iter().chain(api.kept.strategies);
        Ok(Self {
            portal,
            providers: portal.providers().await?,
            accepted: portal.apis().await?.into_iter().flat_map(names).collect(),
        })
    }

    async fn tell(&self, strategy: Strategy) -> Result<Told, Problem> {
        let supports_multiple_credentials = self.portal.has_several_secrets(&strategy).await?;
        let mut providers = self.providers.iter();
        let provider = providers.find(|known| strategy.provider == Some(known.id));
        Ok(Told {
            id: strategy.id,
            active: self.accepted.contains(&strategy.name),
            name: strategy.name,
            display_name: strategy.display_name,
            strategy_type: StrategyType::OpenidConnect,
            configs: ToldConfigs {
                openid_connect: strategy.settings,
            },
            dcr_provider_id: strategy.provider,
            dcr_provider: provider.map(DcrProviderReference::from),
            supports_multiple_credentials,
            labels: Labels(strategy.labels),
            source: strategy.source.into(),
            created_at: strategy.created_at.into(),
            updated_at: strategy.updated_at.into(),
        })
    }
}
