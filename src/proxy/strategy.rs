//! An auth strategy: one IdP, the methods it accepts, and what it asks of a token.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use jsonwebtoken::Algorithm;

use super::{
    authenticate::Method, bearer::Tokens, denial::Code, exchange::Exchanges, identity,
    session::Cookies,
};
use crate::{
    directory::{Directory, Table},
    idp::{
        Provider,
        vendor::{IssuerForm, Preset, Wanted},
    },
    model::{claims::ClaimPath, scope::ScopeRule},
    telemetry::metrics::{Metrics, Slot},
    token::{
        jwk::KeyIssuer,
        jwt::Jwt,
        rules::{Rules, ScopeReading},
        session,
    },
};

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
    /// The claim whose value is the application's client id; by default the vendor's for JWTs, and
    /// `[client_id]` of introspection answers.
    pub credential_claim: Option<ClaimPath>,
    /// One of these must be in `aud`; empty: not checked.
    pub audience: Vec<String>,
    /// Scopes that each request needs.
    pub scopes_required: ScopeRule,
    /// Claims that hold scopes; all that are present count. Default the vendor's: `scope` and `scp`,
    /// of azure `scp`, else `roles`.
    pub scope_claims: Option<Vec<ClaimPath>>,
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

/// `auth_strategies[].token_request`. What is not given here may still be asked for: see
/// [`Preset::fields`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// `scope` of the request, space-separated. Default none; of azure, at the v2 endpoint, the
    /// strategy's first `audience` with `/.default`.
    pub scope: Option<String>,
    /// `audience` of the request. Default none; of auth0 the strategy's first `audience`.
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

/// A strategy at work: its configuration, its IdP, and what it remembers of credentials. All that
/// is remembered belongs to this value, so that no verdict of another strategy, or of this one
/// before it was changed, can be served.
#[derive(Debug)]
pub struct Strategy {
    /// What was configured.
    pub config: Config,
    /// Its identity provider.
    pub provider: Provider,
    /// Its applications.
    pub applications: Table,
    /// Exchanged pairs.
    pub exchanges: Exchanges,
    /// Verified tokens.
    pub tokens: Tokens,
    /// Names and attributes of its cookie.
    pub cookies: Cookies,
    /// Its name, as upstreams are told it.
    pub shown_name: HeaderValue,
    /// What a session is bound to beside the strategy's name: a cookie made before any of it
    /// changed opens no door.
    pub binding: [u8; 16],
    /// Whether exchanged tokens are kept, for an API that forwards them.
    pub keeps_tokens: bool,
    client_claims: Vec<ClaimPath>,
    introspected_client_claims: Vec<ClaimPath>,
    scope_claims: Vec<ClaimPath>,
    scope_reading: ScopeReading,
    header_claims: Box<[ClaimPath]>,
    verdicts: [[Slot; Code::COUNT]; 3],
}

impl Strategy {
    /// Makes a strategy with nothing remembered.
    pub fn new(
        config: Config,
        provider: Provider,
        keeps_tokens: bool,
        directory: &Directory,
        metrics: &Arc<Metrics>,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let idp = provider.config();
        let preset = idp.vendor.preset();
        let usual = |names: &[&str]| {
            let path = |name: &&str| ClaimPath::new([(*name).to_owned()]);
            names.iter().filter_map(path).collect::<Vec<_>>()
        };
        let configured = || config.credential_claim.clone().map(|claim| vec![claim]);
        let client_claims = configured().unwrap_or_else(|| usual(preset.client_claims));
        // RFC 7662 section 2.2, whoever answers.
        let introspected_client_claims = configured().unwrap_or_else(|| usual(&["client_id"]));
        let scope_reading = match config.scope_claims {
            Some(_) => ScopeReading::Every,
            None => preset.scope_reading,
        };
        let scope_claims = config.scope_claims.clone();
        let scope_claims = scope_claims.unwrap_or_else(|| usual(preset.scope_claims));
        let mut parts = vec![idp.issuer.as_str()];
        let issuers = idp.extra_issuers.iter().chain(&idp.tenants);
        parts.extend(issuers.map(String::as_str));
        let claims: Vec<String> = client_claims.iter().map(ClaimPath::to_string).collect();
        parts.push("claim");
        parts.extend(claims.iter().map(String::as_str));
        // A cookie holds the scopes that were read, and stands for them until it ends.
        let scopes: Vec<String> = scope_claims.iter().map(ClaimPath::to_string).collect();
        parts.push(match scope_reading {
            ScopeReading::Every => "scopes",
            ScopeReading::First => "scopes, the first",
        });
        parts.extend(scopes.iter().map(String::as_str));
        parts.push("audience");
        parts.extend(config.audience.iter().map(String::as_str));
        // A cookie holds the values of claims in this order, without their names.
        let headers: Vec<String> = config
            .claim_headers
            .iter()
            .map(|(name, claim)| format!("{name} {claim}"))
            .collect();
        parts.push("headers");
        parts.extend(headers.iter().map(String::as_str));
        let binding = session::binding(&parts);
        let applications = directory.table(&config.name);
        Self {
            exchanges: Exchanges::new(&config, metrics, runtime),
            tokens: Tokens::new(&config, metrics, runtime),
            cookies: Cookies::new(&config.cookie),
            shown_name: identity::shown(&config.name),
            header_claims: config
                .claim_headers
                .iter()
                .map(|(_, path)| path.clone())
                .collect(),
            client_claims,
            introspected_client_claims,
            scope_claims,
            scope_reading,
            verdicts: std::array::from_fn(|_| std::array::from_fn(|_| Slot::default())),
            applications,
            binding,
            keeps_tokens,
            provider,
            config,
        }
    }

    /// Whether it accepts a method.
    pub const fn accepts(&self, method: Method) -> bool {
        match method {
            Method::Bearer => self.config.bearer,
            Method::ClientCredentials => self.config.client_credentials,
            Method::Session => self.config.session,
        }
    }

    /// Whether it asks the same of a credential as another one of its name, and finds the same in
    /// it: what one has verified stands before the other. What is asked of its caller then is not
    /// compared.
    pub fn judges_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.config, &other.config);
        self.provider.is(&other.provider)
            // Issuers, credential claim, audience and claims for headers.
            && self.binding == other.binding
            && ours.scope_claims == theirs.scope_claims
            && ours.token_request == theirs.token_request
            && ours.tokens.verify == theirs.tokens.verify
            && ours.tokens.algorithms == theirs.tokens.algorithms
    }

    /// Whether tokens that are no JWT are introspected.
    pub fn introspects(&self) -> bool {
        match self.config.tokens.verify {
            Verify::Auto => self.provider.config().client.is_some(),
            Verify::Introspection => true,
            Verify::Jwt => false,
        }
    }

    /// Whether a token is verified by the IdP's keys; if not, by introspection.
    pub fn is_signed(&self, jwt: &Jwt<'_>) -> bool {
        self.config.tokens.verify != Verify::Introspection && jwt.looks_like_jwt()
    }

    /// What this strategy asks of a token.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            algorithms: &self.config.tokens.algorithms,
            audience: &self.config.audience,
            leeway: self.config.tokens.leeway,
            client_claims: &self.client_claims,
            introspected_client_claims: &self.introspected_client_claims,
            key_issuer: match self.preset().issuer {
                IssuerForm::Tenant => KeyIssuer::Binds,
                IssuerForm::Exact | IssuerForm::FinalSlash => KeyIssuer::Ignored,
            },
            scope_claims: &self.scope_claims,
            scope_reading: self.scope_reading,
            header_claims: &self.header_claims,
        }
    }

    /// The ways of its IdP's vendor.
    pub fn preset(&self) -> &'static Preset {
        self.provider.config().vendor.preset()
    }

    /// What its token requests ask for.
    pub fn wanted(&self) -> Wanted<'_> {
        let request = &self.config.token_request;
        Wanted {
            scope: request.scope.as_deref(),
            audience: request.audience.as_deref(),
            parameters: &request.parameters,
            api: self.config.audience.first().map(String::as_str),
        }
    }

    /// Counts a verdict.
    pub fn count(&self, metrics: &Metrics, method: Method, code: Code) {
        let labels = [&*self.config.name, method.name(), code.name()];
        self.verdicts[method as usize][code as usize].count(&metrics.verdicts, &labels);
    }
}
