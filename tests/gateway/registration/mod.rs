//! Clients made, changed and deleted at identity providers, by the library's own [`Registrar`]:
//! against a stand-in with knobs, the vendors' emulations, and real servers.
//!
//! [`Registrar`]: dcr_gateway::idp::registration::Registrar

mod auth0;
mod azure;
mod bridge;
mod commands;
mod curity;
mod generic;
mod log;
mod okta;
mod server;
mod webfinger;
mod wso2;

use std::time::Duration;

use dcr_gateway::{
    idp::{
        self, JwksConfig, Provider,
        registration::{Access, Config, Dialect, Registrar, Request},
        vendor::Vendor,
    },
    model::credential::{ClientId, Secret},
};
use prometheus::{IntCounterVec, Opts};

/// Changes a client while it is made, as an identity provider's own rules may.
pub(crate) type Twist = fn(&mut serde_json::Value);

/// An identity provider as it stands in a configuration with nothing but these.
pub(crate) fn provider(vendor: Vendor, issuer: &str) -> idp::Config {
    idp::Config {
        name: "idp".into(),
        vendor,
        issuer: issuer.to_owned(),
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

/// `identity_providers[].registration` with nothing but these.
pub(crate) fn config(dialect: Dialect, access: Access) -> Config {
    Config {
        dialect,
        access,
        endpoint: None,
        client_metadata: serde_json::Map::new(),
        deadline: Duration::from_secs(30),
        event_hooks: true,
        refresh_secret: true,
    }
}

/// Access by a client of the operator's.
pub(crate) fn initial_client(id: &str, secret: &str) -> Access {
    Access::InitialClient {
        id: ClientId::new(id).unwrap(),
        secret: Secret::new(secret),
        scope: None,
        audience: None,
    }
}

/// One that speaks to this identity provider in this way.
pub(crate) fn registrar(mut provider: idp::Config, config: Config) -> Registrar {
    provider.registration = Some(config.clone());
    let calls = Opts::new("calls", "Calls of this test");
    let calls = IntCounterVec::new(calls, &["identity_provider", "endpoint", "outcome"]).unwrap();
    let runtime = tokio::runtime::Handle::current();
    Registrar::new(Provider::start(provider, calls, &runtime).unwrap(), config)
}

/// An application to be registered.
pub(crate) fn request(name: &str) -> Request {
    Request {
        application: uuid::Uuid::new_v4(),
        name: name.to_owned(),
        description: "Plans trips".to_owned(),
        developer: "dana@example.com".to_owned(),
        strategy: "partners".to_owned(),
        scopes: Vec::new(),
        audience: None,
        redirect_uris: Vec::new(),
    }
}
