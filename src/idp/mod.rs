//! Everything said to an identity provider (IdP): discovery, key sets, token exchange,
//! introspection.
//!
//! A [`Provider`] is one IdP as configured. It keeps its metadata and keys fresh by itself, starts
//! without the IdP, and shares nothing with other providers, so a dead one holds up nobody else.
//! What is kept of answers about single credentials is not here: see `proxy`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, header};
use prometheus::IntCounterVec;
use reqwest::RequestBuilder;
use tokio::{runtime::Handle, task::JoinHandle};
use url::{Url, form_urlencoded};

use crate::{
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    telemetry::checks::Checks,
    token::jwk::KeyId,
};

pub mod call;
pub mod discovery;
pub mod flight;
pub mod grant;
pub mod introspection;
pub mod keys;
pub mod registration;
pub mod sign_in;
mod told;
pub mod vendor;
pub mod webfinger;

use call::{Caller, Endpoint, Trouble, Unavailable};
use discovery::Metadata;
use flight::Flights;
use keys::Keys;
use vendor::{IssuerForm, TENANT, Vendor, is_for_many_tenants};

/// How a client id and secret are sent to the token or introspection endpoint (RFC 6749
/// section 2.3.1). Never two ways at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// In the Authorization line, as they stand: for servers that do not form-decode.
    BasicRaw,
    /// In the Authorization line, each form-encoded first.
    ClientSecretBasic,
    /// As form fields.
    ClientSecretPost,
}

/// One entry of `identity_providers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name that strategies refer to; unique.
    pub name: Arc<str>,
    /// Whose server it is, and so what stands where nothing is configured. Default generic.
    pub vendor: Vendor,
    /// The issuer byte for byte, or, where `issuer_is_discovery_url`, the discovery URL whose
    /// document names the issuer.
    pub issuer: String,
    /// Whether `issuer` ends in a well-known path and so is no `iss` value itself.
    pub issuer_is_discovery_url: bool,
    /// Where to find the metadata, when not below the issuer.
    pub discovery_url: Option<Url>,
    /// Overrides the metadata's token endpoint.
    pub token_endpoint: Option<Url>,
    /// Overrides the metadata's key set.
    pub jwks_uri: Option<Url>,
    /// Overrides the metadata's introspection endpoint.
    pub introspection_endpoint: Option<Url>,
    /// Further `iss` values signed by the same keys.
    pub extra_issuers: Vec<String>,
    /// The tenants whose tokens count, where the issuer is one for many ([`TENANT`]). Empty for
    /// all other issuers.
    pub tenants: Vec<String>,
    /// How pairs are sent; by default what the metadata lists, `client_secret_post` first.
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// How the gateway's own pair is sent to the introspection endpoint; by default as
    /// `token_endpoint_auth_method` says, or what the metadata lists, or the vendor documents.
    pub introspection_endpoint_auth_method: Option<AuthMethod>,
    /// The gateway's own credentials, for introspection.
    pub client: Option<(ClientId, Secret)>,
    /// How clients are registered there; `None`: they are not.
    pub registration: Option<registration::Config>,
    /// Key-set refreshing.
    pub jwks: JwksConfig,
    /// PEM certificates of a private CA, trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// Limit for one call, connecting included. Default 5 s.
    pub timeout: Duration,
    /// Calls in flight at once. Default 64.
    pub calls: usize,
    /// Allows plain http to a host that is not loopback. Default false.
    pub insecure_http: bool,
    /// Proxy for the calls.
    pub proxy: Option<Url>,
}

impl Config {
    /// Whether the document, once it is read, tells what `iss` has to be, not the configuration.
    fn asks_for_issuer(&self) -> bool {
        let form = self.vendor.preset().issuer;
        let is_complete = || discovery::Metadata::configured(self).is_complete(self);
        self.issuer_is_discovery_url
            || (form == IssuerForm::Tenant && is_for_many_tenants(&self.issuer))
            || (form != IssuerForm::Exact && !is_complete())
    }

    /// The `iss` values that an issuer stands for: one for each tenant, if it is for many.
    fn issuers_of<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = String> + 'a {
        let many = issuer.contains(TENANT) && self.vendor.preset().issuer == IssuerForm::Tenant;
        let tenants: &[String] = if many { &self.tenants } else { &[] };
        let each = tenants
            .iter()
            .map(move |tenant| issuer.replace(TENANT, tenant));
        each.chain((!many).then(|| issuer.to_owned()))
    }
}

/// `identity_providers[].jwks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksConfig {
    /// Time between fetches where the answer's cache headers give none; they are clamped to
    /// 1–60 min. Default 10 min.
    pub refresh: Duration,
    /// Shortest time between two fetches for an unknown `kid`. Default 10 s.
    pub unknown_kid_interval: Duration,
    /// How long the last good set serves while fetches fail. Default 24 h.
    pub max_stale: Duration,
}

/// One identity provider. Cheap to clone; when the last clone goes, its refreshing ends.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    caller: Caller,
    /// Whether keys are fetched along with the metadata.
    reads_keys: bool,
    metadata: ArcSwapOption<Metadata>,
    /// Every `iss` that is this IdP's, as far as known.
    issuers: ArcSwapOption<Vec<String>>,
    keys: ArcSwapOption<Keys>,
    attempts: Mutex<keys::Attempts>,
    /// How long the last good answer stays fresh.
    next: ArcSwapOption<Duration>,
    fetches: Flights<(), Result<(), Unavailable>>,
    refreshing: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let task = self
            .refreshing
            .get_mut()
            .unwrap_or_else(|broken| broken.into_inner());
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Provider {
    /// Makes the provider and begins to fetch its metadata and keys on `runtime`.
    ///
    /// # Errors
    /// Where the CA certificates or the proxy of the configuration cannot be used.
    pub fn start(
        config: Config,
        calls: IntCounterVec,
        runtime: &Handle,
    ) -> Result<Self, reqwest::Error> {
        let provider = Self::make(config, calls, runtime, true)?;
        let task = runtime.spawn(keys::refresh(Arc::downgrade(&provider.0)));
        *provider
            .0
            .refreshing
            .lock()
            .unwrap_or_else(|broken| broken.into_inner()) = Some(task);
        Ok(provider)
    }

    /// Makes one that fetches its metadata when that is needed, keeps nothing fresh and verifies
    /// nothing: for a program that registers a client and ends.
    ///
    /// # Errors
    /// As [`Provider::start`].
    pub fn at_rest(
        config: Config,
        calls: IntCounterVec,
        runtime: &Handle,
    ) -> Result<Self, reqwest::Error> {
        Self::make(config, calls, runtime, false)
    }

    fn make(
        config: Config,
        calls: IntCounterVec,
        runtime: &Handle,
        reads_keys: bool,
    ) -> Result<Self, reqwest::Error> {
        let mut issuers = Vec::new();
        if !config.asks_for_issuer() {
            issuers.push(config.issuer.clone());
        }
        for issuer in &config.extra_issuers {
            issuers.extend(config.issuers_of(issuer));
        }
        Ok(Self(Arc::new(Inner {
            caller: Caller::new(&config, calls)?,
            reads_keys,
            config,
            metadata: ArcSwapOption::empty(),
            issuers: ArcSwapOption::from_pointee(issuers),
            keys: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            next: ArcSwapOption::empty(),
            fetches: Flights::new(runtime.clone()),
            refreshing: Mutex::default(),
        })))
    }

    /// Whether two handles are of the same provider.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The configuration that it was made from.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Every `iss` value whose tokens this IdP signs, as far as known.
    pub fn issuers(&self) -> Arc<Vec<String>> {
        self.0.issuers.load_full().unwrap_or_default()
    }

    /// Whether [`Provider::issuers`] is whole: some documents tell theirs only once they were read.
    pub fn knows_issuer(&self) -> bool {
        let metadata = self.0.metadata.load();
        let read = metadata.as_ref().is_some_and(|read| !read.lacks_issuer);
        read || !self.0.config.asks_for_issuer()
    }

    /// Whether a key still belongs to the IdP: what it verified dies with it.
    pub fn holds_key(&self, key: KeyId, now: Timestamp) -> bool {
        let keys = self.0.keys.load();
        keys.as_ref().is_some_and(|keys| {
            now.since(keys.fetched) <= self.0.config.jwks.max_stale && keys.set.holds(key)
        })
    }

    /// One line for `/readyz`: `Ok` with what is loaded, or what is missing.
    ///
    /// # Errors
    /// What is missing.
    pub fn state(&self, now: Timestamp) -> Result<String, String> {
        if let Some((endpoint, trouble)) = self.0.caller.failing() {
            return Err(format!("{} endpoint: {trouble}", endpoint.name()));
        }
        if let Some(keys) = self.keys(now) {
            let age = now.since(keys.fetched).as_secs();
            let keys = told::counted(keys.set.len());
            return Ok(format!("{keys}, fetched {age} s ago"));
        }
        match &*self.0.metadata.load() {
            Some(metadata) if metadata.jwks_uri.is_none() => Ok("metadata, no key set".to_owned()),
            Some(_) => Err("metadata, but no keys yet".to_owned()),
            None => Err("no metadata yet".to_owned()),
        }
    }

    /// The address of an endpoint, and the metadata that names it.
    async fn endpoint(
        &self,
        endpoint: Endpoint,
        checks: &Checks,
    ) -> Result<(Arc<Metadata>, Url), Unavailable> {
        let metadata = self.metadata().await;
        let found = metadata.and_then(|metadata| {
            let url = self.address(&metadata, endpoint)?;
            Ok((metadata, url))
        });
        self.tell_metadata(checks, endpoint, found.as_ref());
        found
    }

    /// How a client's pair is sent to the token endpoint.
    fn token_auth(&self, metadata: &Metadata) -> AuthMethod {
        (self.config().token_endpoint_auth_method)
            .or(metadata.token_auth)
            .unwrap_or(AuthMethod::ClientSecretPost)
    }

    fn caller(&self) -> &Caller {
        &self.0.caller
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, Unavailable> {
        if let Some(metadata) = self.0.metadata.load_full() {
            return Ok(metadata);
        }
        let loaded = self.first_load().await;
        match (self.0.metadata.load_full(), loaded) {
            (Some(metadata), _) => Ok(metadata),
            (None, Err(unavailable)) => Err(unavailable),
            (None, Ok(())) => Err(Trouble::Lost.after(Duration::from_secs(1))),
        }
    }

    /// Where clients are registered, looked for in all of the metadata where what was read does not
    /// say it: whoever has no `registration` in the file is not known to need it before.
    async fn registration_endpoint(&self) -> Result<Url, Unavailable> {
        let metadata = self.metadata().await?;
        if metadata.registration_endpoint.is_none()
            && let Some(found) =
                discovery::registration_endpoint(self.config(), self.caller()).await?
        {
            self.learn(Metadata {
                registration_endpoint: Some(found.clone()),
                ..(*metadata).clone()
            });
            return Ok(found);
        }
        self.address(&metadata, Endpoint::Registration)
    }

    /// Stores what discovery found.
    fn learn(&self, metadata: Metadata) -> Arc<Metadata> {
        let config = &self.0.config;
        if config.asks_for_issuer() {
            let told = std::iter::once(&metadata.issuer).chain(&metadata.other_issuer);
            let all = told.chain(&config.extra_issuers);
            let issuers = all.flat_map(|issuer| config.issuers_of(issuer)).collect();
            self.0.issuers.store(Some(Arc::new(issuers)));
        }
        let metadata = Arc::new(metadata);
        self.0.metadata.store(Some(Arc::clone(&metadata)));
        metadata
    }

    fn address(&self, metadata: &Metadata, endpoint: Endpoint) -> Result<Url, Unavailable> {
        let url = match endpoint {
            Endpoint::Authorization => metadata.authorization_endpoint.clone(),
            Endpoint::Discovery => None,
            Endpoint::Introspection => metadata.introspection_endpoint.clone(),
            Endpoint::Jwks => metadata.jwks_uri.clone(),
            Endpoint::Registration => metadata.registration_endpoint.clone(),
            Endpoint::Token => metadata.token_endpoint.clone(),
            Endpoint::Userinfo => metadata.userinfo_endpoint.clone(),
        };
        url.ok_or(Trouble::UnknownAddress(endpoint).after(Duration::from_secs(10)))
    }

    /// A form with a client's id and secret, sent in exactly one way.
    fn form<'a>(
        &self,
        url: Url,
        method: AuthMethod,
        client_id: &'a ClientId,
        secret: &'a Secret,
        mut fields: Vec<vendor::Field<'a>>,
    ) -> RequestBuilder {
        let (id, secret) = (client_id.as_str(), secret.expose());
        let request = self
            .0
            .caller
            .http
            .post(url)
            .header(header::ACCEPT, "application/json");
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let (id, secret): (String, String) = match method {
            AuthMethod::BasicRaw => (id.to_owned(), secret.to_owned()),
            AuthMethod::ClientSecretBasic => (encoded(id), encoded(secret)),
            AuthMethod::ClientSecretPost => {
                fields.extend([("client_id", id.into()), ("client_secret", secret.into())]);
                return request.form(&fields);
            }
        };
        let request = request.form(&fields);
        let pair = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        match HeaderValue::try_from(pair) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(header::AUTHORIZATION, value)
            }
            // Base64 is always a legal value; without it the IdP refuses, which is safe.
            Err(_) => request,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config() -> Config {
        Config {
            name: "idp".into(),
            vendor: Vendor::Generic,
            issuer: "https://idp.test".to_owned(),
            issuer_is_discovery_url: false,
            discovery_url: None,
            token_endpoint: None,
            jwks_uri: None,
            introspection_endpoint: None,
            extra_issuers: Vec::new(),
            tenants: Vec::new(),
            token_endpoint_auth_method: None,
            introspection_endpoint_auth_method: None,
            client: None,
            registration: None,
            jwks: JwksConfig {
                refresh: Duration::from_secs(600),
                unknown_kid_interval: Duration::from_secs(10),
                max_stale: Duration::from_secs(86_400),
            },
            ca: None,
            timeout: Duration::from_secs(5),
            calls: 64,
            insecure_http: false,
            proxy: None,
        }
    }
}
