//! An auth strategy: one IdP, the methods it accepts, and what it asks of a token.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use jsonwebtoken::Algorithm;

use crate::model::{claims::ClaimPath, scope::ScopeRule};

/// How a bearer token is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// JWTs by the IdP's keys; any other token by introspection, where the IdP entry has a
    /// `client` for it.
    Auto,
    /// Every token by introspection (RFC 7662).
    Introspection,
    /// JWTs only.
    Jwt,
}

/// When a session cookie has the `__Host-` prefix and `Secure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// Always: for a TLS terminator in front that cannot tell.
    Always,
    /// When the request came over https, as the listener sees it or a trusted proxy tells.
    Auto,
}

/// One entry of `auth_strategies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name that APIs and applications refer to; unique.
    pub name: Arc<str>,
    /// Name of the identity provider.
    pub identity_provider: Arc<str>,
    /// Accepts Basic client credentials.
    pub client_credentials: bool,
    /// Accepts bearer tokens.
    pub bearer: bool,
    /// Sets and accepts session cookies; never without another method.
    pub session: bool,
    /// The claim whose value is the application's client id. Default `[client_id]`.
    pub credential_claim: ClaimPath,
    /// One of these must be in `aud`; empty: not checked.
    pub audience: Vec<String>,
    /// Scopes that each request needs.
    pub scopes_required: ScopeRule,
    /// Claims that hold scopes; all that are present count. Default `scope`, `scp`.
    pub scope_claims: Vec<ClaimPath>,
    /// What a token request asks for.
    pub token_request: TokenRequest,
    /// Client-credentials numbers.
    pub exchange: ExchangeConfig,
    /// Bearer numbers.
    pub tokens: BearerConfig,
    /// Session numbers.
    pub cookie: SessionConfig,
    /// Claims sent upstream as headers.
    pub claim_headers: Vec<(HeaderName, ClaimPath)>,
}

/// `auth_strategies[].token_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// `scope` of the request, space-separated.
    pub scope: Option<String>,
    /// `audience` of the request.
    pub audience: Option<String>,
    /// Further form fields.
    pub parameters: Vec<(String, String)>,
}

/// `auth_strategies[].client_credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// Exchanged pairs kept. Default 100,000.
    pub cache_size: u64,
    /// Longest life of an exchanged pair. Default 1 h.
    pub cache_time: Duration,
    /// How long a wrong secret is remembered. Default 10 s.
    pub wrong_secret_time: Duration,
    /// Wrong secrets per minute for one client id from one address. Default 5.
    pub guesses_per_address: u32,
    /// Wrong secrets per minute for one client id from all addresses. Default 30.
    pub guesses_per_client: u32,
}

/// `auth_strategies[].bearer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerConfig {
    /// How tokens are verified. Default auto.
    pub verify: Verify,
    /// Algorithms accepted; empty: what each key says, RS256 for an RSA key that says nothing.
    pub algorithms: Vec<Algorithm>,
    /// Clock difference forgiven. Default 30 s.
    pub leeway: Duration,
    /// Verified tokens kept. Default 100,000.
    pub cache_size: u64,
    /// Longest life of a positive introspection answer. Default 60 s.
    pub introspection_time: Duration,
}

/// `auth_strategies[].session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Name without prefix. Default `dcr_session`.
    pub cookie_name: String,
    /// Ends a session that is not used. Default 15 min.
    pub idle_timeout: Duration,
    /// Ends any session. Default 24 h.
    pub absolute_timeout: Duration,
    /// The cookie's `SameSite`. Default lax; `none` is refused.
    pub same_site: SameSite,
    /// Prefix and `Secure`. Default auto.
    pub secure: Secure,
}

/// The `SameSite` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent on top-level navigation from other sites too.
    Lax,
    /// Sent from the same site only.
    Strict,
}
