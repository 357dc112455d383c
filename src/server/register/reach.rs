//! How a server is reached: by its issuer, or by WebFinger from an account to that.

use std::time::Duration;

use prometheus::IntCounterVec;
use serde_json::{Map, Value};
use tokio::runtime;
use url::{Position, Url};

use super::{Way, trouble::Error};
use crate::{
    idp::{
        self, JwksConfig, Provider,
        call::{Caller, Trouble},
        registration::{self, Access, Dialect, Registrar},
        vendor::Vendor,
        webfinger,
    },
    telemetry::metrics::Metrics,
};

/// Asks by WebFinger whose the resource is.
pub(super) async fn find(resource: &str, vendor: Vendor, way: &Way) -> Result<String, Error> {
    let config = provider(vendor, "https://webfinger.invalid", way)?;
    let caller =
        Caller::new(&config, counters()?).map_err(|error| Error::Local(error.to_string()))?;
    let asked = |place: &str| format!("asking {place} for the issuer of {resource}");
    let failed = |place: &str, why: String| Error::WebFinger {
        asked: asked(place),
        why,
    };
    let question = |plain| {
        let question = webfinger::question(resource, plain);
        question.map_err(|error| failed("nobody", error.to_string()))
    };
    let place = |question: &Url| question[..Position::BeforePath].to_owned();
    let first = question(webfinger::Plain::Loopback)?;
    let at = place(&first);
    let is_plain = first.scheme() == "http";
    let failure = match webfinger::find(&caller, first).await {
        Ok(issuer) => return Ok(issuer),
        Err(failure) => failure,
    };
    // A server of this machine that wants TLS says so, or hangs up.
    let wants_tls = match &failure {
        webfinger::Failure::Status(status) => *status == 400,
        webfinger::Failure::Unavailable(unavailable) => {
            matches!(unavailable.kind, Trouble::Transport(_))
        }
        webfinger::Failure::Answer(_) => false,
    };
    if is_plain
        && wants_tls
        && let Ok(second) = webfinger::question(resource, webfinger::Plain::Never)
    {
        let at = place(&second);
        let found = webfinger::find(&caller, second).await;
        return found.map_err(|failure| failed(&at, failure.to_string()));
    }
    Err(failed(&at, failure.to_string()))
}

/// Speaks to the server of an issuer.
pub(super) fn registrar(
    vendor: Vendor,
    issuer: &str,
    way: &Way,
    access: Access,
    endpoint: Option<Url>,
    client_metadata: Option<Map<String, Value>>,
) -> Result<Registrar, Error> {
    let dialect = match vendor {
        Vendor::Curity => Dialect::Curity,
        Vendor::Wso2 => Dialect::Wso2,
        _ => Dialect::Generic,
    };
    let registration = registration::Config {
        dialect,
        access,
        endpoint,
        client_metadata: client_metadata.unwrap_or_default(),
        deadline: Duration::from_secs(way.deadline),
        event_hooks: true,
        refresh_secret: true,
    };
    let mut config = provider(vendor, issuer, way)?;
    config.registration = Some(registration.clone());
    let runtime = runtime::Handle::current();
    let provider = Provider::at_rest(config, counters()?, &runtime)
        .map_err(|error| Error::Local(error.to_string()))?;
    Ok(Registrar::new(provider, registration))
}

/// A provider as a configuration would have it that says nothing but this.
fn provider(vendor: Vendor, issuer: &str, way: &Way) -> Result<idp::Config, Error> {
    let place = issuer
        .split_once("/.well-known/")
        .map_or(issuer, |(place, _)| place);
    if !webfinger::is_issuer(place, webfinger::Plain::Loopback) {
        return Err(Error::Issuer);
    }
    let ca = way.ca_file.as_ref().map(|path| {
        let pem = std::fs::read(path).map_err(|error| crate::yaml::reason(&error));
        pem.map_err(|why| Error::File(path.clone(), why))
    });
    Ok(idp::Config {
        name: place.into(),
        vendor,
        issuer: issuer.to_owned(),
        issuer_is_discovery_url: idp::discovery::is_discovery_url(issuer),
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
        ca: ca.transpose()?,
        timeout: Duration::from_secs(way.deadline.min(10)),
        calls: 64,
        insecure_http: false,
        proxy: way.proxy.clone(),
    })
}

/// Nobody reads them here.
fn counters() -> Result<IntCounterVec, Error> {
    let metrics = Metrics::new().map_err(|error| Error::Local(error.to_string()))?;
    Ok(metrics.idp_calls)
}
