//! `/v2/dcr-providers`: identity providers at which applications are registered.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    answer,
    body::{Body, Form},
    path::Id,
    problem::Problem,
    query::{Asked, Filter, Meta, page_of},
    request::Asking,
    shape::{BridgeKey, HttpAddress, Labels, LabelsPatch, Line, Name, Note, Sealed, Source, Time},
};
use crate::portal::{Fault, NewProvider, Portal, ProviderPatch, record};

pub(super) const TAG: &str = "DCR providers";

/// A DCR provider: an identity provider at which applications are registered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DcrProvider, example = json!({
    "id": "6d0a6c0e-6f4e-4a53-a2fd-2a7e3a7c3b4f",
    "name": "auth0",
    "display_name": "Auth0, production",
    "provider_type": "auth0",
    "issuer": "https://tenant.eu.auth0.com",
    "dcr_config": {"initial_client_id": "abc123"},
    "active": true,
    "labels": {"team": "platform"},
    "source": "registry",
    "created_at": "2026-11-21T13:30:00.000Z",
    "updated_at": "2026-11-21T13:30:00.000Z",
}))]
pub struct Told {
    id: Uuid,
    /// Unique among the providers of registry and file; never changes.
    name: String,
    /// For people.
    display_name: String,
    /// What it speaks; never changes.
    #[schema(value_type = ProviderType)]
    provider_type: String,
    /// Its issuer.
    issuer: String,
    /// How it takes registrations, without secrets.
    #[schema(value_type = Object)]
    dcr_config: Map<String, Value>,
    /// Whether an auth strategy uses it.
    active: bool,
    labels: Labels,
    /// Where it stands; what stands in the file can only be read here.
    source: Source,
    created_at: Time,
    updated_at: Time,
}

/// What an identity provider speaks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub enum ProviderType {
    /// Auth0's Management API.
    #[serde(rename = "auth0")]
    Auth0,
    /// Microsoft Graph, for Entra.
    #[serde(rename = "azureAd")]
    AzureAd,
    /// RFC 7591 and 7592 as Curity does them.
    #[serde(rename = "curity")]
    Curity,
    /// RFC 7591 and 7592.
    #[serde(rename = "generic")]
    Generic,
    /// Konnect's HTTP DCR bridge.
    #[serde(rename = "http")]
    Http,
    /// Okta's clients API.
    #[serde(rename = "okta")]
    Okta,
    /// WSO2's DCR v1.1.
    #[serde(rename = "wso2")]
    Wso2,
}

/// A DCR provider to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewDcrProvider)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Unique among the providers of registry and file; never changes.
    #[schema(value_type = Name)]
    name: String,
    /// For people; by default the name.
    #[serde(default)]
    #[schema(nullable = false, value_type = Option<Note>)]
    display_name: Option<String>,
    /// What it speaks; never changes.
    #[schema(value_type = ProviderType)]
    provider_type: String,
    /// Its issuer, or the address of its metadata.
    #[schema(value_type = HttpAddress)]
    issuer: String,
    /// How it takes registrations, secrets included.
    #[serde(default)]
    #[schema(value_type = Object, nullable = false)]
    dcr_config: Map<String, Value>,
    #[serde(default)]
    #[schema(nullable = false)]
    labels: Labels,
}

/// What of a DCR provider is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatchDcrProvider, example = json!({
    "display_name": "Auth0, production",
    "dcr_config": {"initial_client_secret": "a new one"},
}))]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// For people.
    #[schema(nullable = false, value_type = Option<Note>)]
    display_name: Option<String>,
    /// Its issuer.
    #[schema(nullable = false, value_type = Option<HttpAddress>)]
    issuer: Option<String>,
    /// Members to set; the others stay, and so do secrets that are left out. Null removes one.
    #[schema(value_type = Option<DcrConfigPatch>, nullable = false)]
    dcr_config: Option<Map<String, Value>>,
    /// Marks to set; null removes one.
    #[schema(nullable = false)]
    labels: Option<LabelsPatch>,
}

/// `dcr_config` for Auth0.
#[derive(Debug, ToSchema)]
pub struct Auth0Config {
    /// The client with access to the Management API.
    #[schema(value_type = Line)]
    pub initial_client_id: String,
    /// Its secret.
    #[schema(value_type = Sealed)]
    pub initial_client_secret: String,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// Whether developers choose scopes.
    #[schema(nullable = false)]
    pub use_developer_managed_scopes: Option<bool>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// `dcr_config` for Entra and Curity.
#[derive(Debug, ToSchema)]
pub struct InitialClientConfig {
    /// The client that may register others.
    #[schema(value_type = Line)]
    pub initial_client_id: String,
    /// Its secret.
    #[schema(value_type = Sealed)]
    pub initial_client_secret: String,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// `dcr_config` for Okta: an API token, or an initial client.
#[derive(Debug, ToSchema)]
pub struct OktaConfig {
    /// The API token.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub dcr_token: Option<String>,
    /// The client that may register others.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_id: Option<String>,
    /// Its secret.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_client_secret: Option<String>,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// `dcr_config` for Konnect's HTTP DCR bridge.
#[derive(Debug, ToSchema)]
pub struct HttpConfig {
    /// Where the bridge answers.
    #[schema(value_type = HttpAddress)]
    pub dcr_base_url: String,
    /// What it is shown as `X-API-KEY`.
    #[schema(value_type = BridgeKey)]
    pub api_key: String,
    /// Whether it is told nothing of registrations and changes.
    #[schema(nullable = false)]
    pub disable_event_hooks: Option<bool>,
    /// Whether it cannot make new secrets.
    #[schema(nullable = false)]
    pub disable_refresh_secret: Option<bool>,
    /// Konnect's; without effect, since a bridge's interface has no call for one more secret.
    #[schema(nullable = false)]
    pub allow_multiple_credentials: Option<bool>,
    /// The maker of the identity provider behind it, as `vendor` of the configuration file.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub vendor: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// `dcr_config` for RFC 7591: one of an initial access token, an initial client, and `open: true`.
#[derive(Debug, ToSchema)]
pub struct GenericConfig {
    /// A token that is good for many registrations.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_access_token: Option<String>,
    /// The client that may register others.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_id: Option<String>,
    /// Its secret.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_client_secret: Option<String>,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// Whether anybody may register there.
    #[schema(nullable = false)]
    pub open: Option<bool>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// `dcr_config` for WSO2 Identity Server: an administrator, an initial access token, or `open: true`.
#[derive(Debug, ToSchema)]
pub struct Wso2Config {
    /// A token that is good for many registrations.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_access_token: Option<String>,
    /// The administrator's name.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_id: Option<String>,
    /// The administrator's password.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_client_secret: Option<String>,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// Whether anybody may register there.
    #[schema(nullable = false)]
    pub open: Option<bool>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
}

/// Members of `dcr_config` to set, of those that this type of provider has; null removes one.
#[derive(Debug, ToSchema)]
pub struct DcrConfigPatch {
    /// Konnect's; without effect, since a bridge's interface has no call for one more secret.
    #[schema(nullable = false)]
    pub allow_multiple_credentials: Option<bool>,
    /// What it is shown as `X-API-KEY`.
    #[schema(value_type = Option<BridgeKey>, nullable = false)]
    pub api_key: Option<String>,
    /// Further client metadata sent at registration, as it stands.
    #[schema(value_type = Option<Object>, nullable = false)]
    pub client_metadata: Option<Map<String, Value>>,
    /// Where the bridge answers.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub dcr_base_url: Option<String>,
    /// The API token.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub dcr_token: Option<String>,
    /// The longest that one operation may take; 60 by default.
    #[schema(nullable = false, minimum = 1, maximum = 600)]
    pub deadline_seconds: Option<u32>,
    /// Whether it is told nothing of registrations and changes.
    #[schema(nullable = false)]
    pub disable_event_hooks: Option<bool>,
    /// Whether it cannot make new secrets.
    #[schema(nullable = false)]
    pub disable_refresh_secret: Option<bool>,
    /// Where registrations go, if not where the metadata or the vendor say.
    #[schema(value_type = Option<HttpAddress>, nullable = false)]
    pub endpoint: Option<String>,
    /// The identity provider of the configuration file through which it is reached.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub identity_provider: Option<String>,
    /// A token that is good for many registrations.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_access_token: Option<String>,
    /// The audience that it asks for, if not the vendor's.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_audience: Option<String>,
    /// The client with access to the Management API.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_id: Option<String>,
    /// What it asks for, if not what the vendor documents.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub initial_client_scope: Option<String>,
    /// Its secret.
    #[schema(value_type = Option<Sealed>, nullable = false)]
    pub initial_client_secret: Option<String>,
    /// Whether anybody may register there.
    #[schema(nullable = false)]
    pub open: Option<bool>,
    /// Whether developers choose scopes.
    #[schema(nullable = false)]
    pub use_developer_managed_scopes: Option<bool>,
    /// The maker of the identity provider behind it, as `vendor` of the configuration file.
    #[schema(value_type = Option<Line>, nullable = false)]
    pub vendor: Option<String>,
}

/// What `verify` found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "success", "errors": []}))]
pub struct Verification {
    /// Whether a client was registered, got a token and was deleted.
    status: Outcome,
    /// What is wrong, the first step that failed first.
    errors: Vec<String>,
}

/// How a verification ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It works.
    Success,
    /// It does not.
    Failed,
}

/// DCR providers, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DcrProviders)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "NewDcrProvider";

    fn schema(body: &Map<String, Value>) -> Result<&'static str, Fault> {
        let named = body.get("provider_type").and_then(Value::as_str);
        let variant = |name| {
            VARIANTS
                .iter()
                .find(|variant| variant.provider_type == name)
        };
        match (body.get("provider_type"), named.and_then(variant)) {
            (_, Some(variant)) => Ok(variant.schema),
            (None, None) => Err(Fault {
                field: "provider_type".to_owned(),
                rule: "required",
                reason: "expected it to be there".to_owned(),
            }),
            (Some(_), None) => {
                let words = VARIANTS.map(|variant| variant.provider_type);
                Err(Fault {
                    field: "provider_type".to_owned(),
                    rule: "enum",
                    reason: format!("expected one of: {}", words.join(", ")),
                })
            }
        }
    }
}

impl From<New> for NewProvider {
    fn from(new: New) -> Self {
        let New {
            name,
            display_name,
            provider_type,
            issuer,
            dcr_config,
            labels,
        } = new;
        Self {
            display_name: display_name.unwrap_or_else(|| name.clone()),
            name,
            provider_type,
            issuer,
            dcr_config,
            labels: labels.0,
        }
    }
}

impl From<Patch> for ProviderPatch {
    fn from(patch: Patch) -> Self {
        let Patch {
            display_name,
            issuer,
            dcr_config,
            labels,
        } = patch;
        Self {
            display_name,
            issuer,
            dcr_config,
            labels: labels.map(|labels| labels.0),
        }
    }
}

impl Form for Patch {
    const SCHEMA: &'static str = "PatchDcrProvider";
    const FIXED: &'static [&'static str] = &["id", "name", "provider_type"];
}

/// One form of [`New`]: what its `dcr_config` has to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// The word for it.
    pub(super) provider_type: &'static str,
    /// The name of its schema.
    pub(super) schema: &'static str,
    /// The name of the schema of its `dcr_config`.
    pub(super) config: &'static str,
}

impl Variant {
    /// An example of it.
    pub(super) fn example(&self) -> Value {
        let dcr_config = match self.provider_type {
            "generic" => json!({"initial_access_token": "shown to you once"}),
            "http" => {
                json!({"dcr_base_url": "https://bridge.example.com", "api_key": "at-least-twelve"})
            }
            "okta" => json!({"dcr_token": "an API token"}),
            _ => json!({"initial_client_id": "abc123", "initial_client_secret": "its secret"}),
        };
        json!({
            "name": self.provider_type,
            "display_name": "For people",
            "provider_type": self.provider_type,
            "issuer": "https://idp.example.com",
            "dcr_config": dcr_config,
            "labels": {"team": "platform"},
        })
    }
}

/// All forms of [`New`].
pub(super) const VARIANTS: [Variant; 7] = [
    Variant {
        provider_type: "auth0",
        schema: "NewAuth0Provider",
        config: "Auth0Config",
    },
    Variant {
        provider_type: "azureAd",
        schema: "NewAzureAdProvider",
        config: "InitialClientConfig",
    },
    Variant {
        provider_type: "curity",
        schema: "NewCurityProvider",
        config: "InitialClientConfig",
    },
    Variant {
        provider_type: "generic",
        schema: "NewGenericProvider",
        config: "GenericConfig",
    },
    Variant {
        provider_type: "http",
        schema: "NewHttpProvider",
        config: "HttpConfig",
    },
    Variant {
        provider_type: "okta",
        schema: "NewOktaProvider",
        config: "OktaConfig",
    },
    Variant {
        provider_type: "wso2",
        schema: "NewWso2Provider",
        config: "Wso2Config",
    },
];

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::text("name"),
    Filter::text("issuer"),
    Filter::words("provider_type", &WORDS),
];

const WORDS: [&str; 7] = [
    "auth0", "azureAd", "curity", "generic", "http", "okta", "wso2",
];

/// By what a list is sorted.
pub(super) const ORDERS: &[&str] = &[
    "name",
    "issuer",
    "provider_type",
    "created_at",
    "updated_at",
];

/// Makes a DCR provider.
#[utoipa::path(
    post,
    path = "/v2/dcr-providers",
    operation_id = "create-dcr-provider",
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
    let strategies = portal.strategies().await?;
    let made = portal.create_provider(&caller, body.value.into()).await?;
    let told = Told::new(made.value.clone(), &strategies);
    let place = format!("/v2/dcr-providers/{}", told.id);
    let revision = Some(made.value.revision);
    Ok(answer::created(&made, revision, &place, &told, &told))
}

/// Lists DCR providers.
#[utoipa::path(
    get,
    path = "/v2/dcr-providers",
    operation_id = "list-dcr-providers",
    tag = TAG,
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(portal): State<Portal>,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let name = asked.matches("name");
    let issuer = asked.matches("issuer");
    let provider_type = asked.word("provider_type", &WORDS);
    let (order, direction) = asked.sort(ORDERS);
    let page = asked.page();
    asked.end()?;
    let mut all = portal.providers().await?;
    all.retain(|one| {
        name.pass(&one.name)
            && issuer.pass(&one.issuer)
            && provider_type.is_none_or(|word| one.provider_type == word)
    });
    all.sort_by(|a, b| {
        let order = match order {
            "issuer" => a.issuer.cmp(&b.issuer),
            "provider_type" => a.provider_type.cmp(&b.provider_type),
            "created_at" => a.created_at.cmp(&b.created_at),
            "updated_at" => a.updated_at.cmp(&b.updated_at),
            _ => a.name.cmp(&b.name),
        };
        direction.of(order).then_with(|| a.name.cmp(&b.name))
    });
    let found = page_of(all, page);
    let strategies = portal.strategies().await?;
    let data = found.items.into_iter();
    let data = data.map(|one| Told::new(one, &strategies)).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one DCR provider.
#[utoipa::path(
    get,
    path = "/v2/dcr-providers/{id}",
    operation_id = "get-dcr-provider",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(State(portal): State<Portal>, Id(id): Id) -> Result<Response, Problem> {
    let provider = portal.provider(id).await?;
    tell(&portal, provider).await
}

/// Changes a DCR provider.
#[utoipa::path(
    patch,
    path = "/v2/dcr-providers/{id}",
    operation_id = "update-dcr-provider",
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
    let changed = portal.patch_provider(&asking.caller(), id, patch).await?;
    tell(&portal, changed).await
}

/// Deletes a DCR provider that no auth strategy uses.
#[utoipa::path(
    delete,
    path = "/v2/dcr-providers/{id}",
    operation_id = "delete-dcr-provider",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<StatusCode, Problem> {
    portal.delete_provider(&asking.caller(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Proves a DCR provider: registers a client, gets a token, deletes the client.
#[utoipa::path(
    post,
    path = "/v2/dcr-providers/{id}/verify",
    operation_id = "verify-dcr-provider",
    tag = TAG,
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "What was found", body = Verification)),
)]
pub(super) async fn verify(
    State(portal): State<Portal>,
    Id(id): Id,
    asking: Asking,
) -> Result<Response, Problem> {
    let errors = portal.verify_provider(&asking.caller(), id).await?.errors;
    let status = match errors.is_empty() {
        true => Outcome::Success,
        false => Outcome::Failed,
    };
    Ok(answer::plain(
        StatusCode::OK,
        &Verification { status, errors },
    ))
}

async fn tell(portal: &Portal, provider: record::Provider) -> Result<Response, Problem> {
    let revision = provider.revision;
    let told = Told::new(provider, &portal.strategies().await?);
    Ok(answer::one(StatusCode::OK, revision, &told))
}

impl Told {
    fn new(provider: record::Provider, strategies: &[record::Strategy]) -> Self {
        let mut users = strategies.iter();
        let active = users.any(|strategy| strategy.provider == Some(provider.id));
        Self {
            id: provider.id,
            name: provider.name,
            display_name: provider.display_name,
            provider_type: provider.provider_type,
            issuer: provider.issuer,
            dcr_config: provider.settings,
            active,
            labels: Labels(provider.labels),
            source: provider.source.into(),
            created_at: provider.created_at.into(),
            updated_at: provider.updated_at.into(),
        }
    }
}
