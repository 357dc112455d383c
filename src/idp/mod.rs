//! Everything said to an identity provider (IdP): discovery, key sets, token exchange,
//! introspection.

use std::{sync::Arc, time::Duration};

use url::Url;

use crate::model::credential::{ClientId, Secret};

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
    /// How pairs are sent; by default what the metadata lists, `client_secret_post` first.
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// The gateway's own credentials, for introspection.
    pub client: Option<(ClientId, Secret)>,
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
