//! An identity provider's metadata. The input's first byte picks how the provider is configured.

use std::{path::Path, sync::Arc, sync::LazyLock};

use dcr_gateway::{
    config::Config,
    idp::{
        self,
        discovery::{Metadata, is_allowed},
    },
};
use url::Url;

use super::token::Members;

static PROVIDERS: LazyLock<Vec<idp::Config>> = LazyLock::new(|| {
    let text = "\
listeners: [{ address: 127.0.0.1:0 }]
identity_providers:
  - { name: a, issuer: https://idp.test }
  - { name: b, issuer: https://idp.test/.well-known/openid-configuration }
  - { name: c, issuer: http://idp.test, insecure_http: true }
  - { name: d, issuer: https://idp.test, jwks_uri: https://keys.test/set }
registry: { file: applications.yaml }
";
    let file: Arc<Path> = Path::new("input.yaml").into();
    let (config, _) = Config::parse(&file, text.as_bytes()).unwrap();
    config.identity_providers
});

/// A document of another issuer is never used, no address is taken that must not be called, and
/// what was configured stays.
pub(super) fn run(input: &[u8]) {
    let Some((choice, document)) = input.split_first() else {
        return;
    };
    let config = &PROVIDERS[usize::from(*choice) % PROVIDERS.len()];
    let place = Url::parse("https://idp.test/.well-known/openid-configuration").unwrap();
    let before = Metadata::configured(config);
    let mut metadata = before.clone();
    if metadata.take(document, &place, config).is_err() {
        assert_eq!(metadata, before, "half taken");
        return;
    }
    let claims: Members = serde_json::from_slice(document).unwrap();
    assert_eq!(claims["issuer"], *metadata.issuer);
    assert!(config.issuer_is_discovery_url || metadata.issuer == config.issuer);
    for (url, configured, name) in [
        (
            &metadata.token_endpoint,
            &config.token_endpoint,
            "token_endpoint",
        ),
        (&metadata.jwks_uri, &config.jwks_uri, "jwks_uri"),
        (
            &metadata.introspection_endpoint,
            &config.introspection_endpoint,
            "introspection_endpoint",
        ),
        (
            &metadata.registration_endpoint,
            &None,
            "registration_endpoint",
        ),
    ] {
        assert!(configured.is_none() || url == configured, "overridden");
        let Some(url) = url else {
            continue;
        };
        assert!(is_allowed(url, config), "{url}");
        let plain = url.scheme() == "http";
        assert!(plain || url.scheme() == "https", "{url}");
        let here = ["127.", "localhost", "[::1]"];
        let host = url.host_str().unwrap();
        let here = here.iter().any(|start| host.starts_with(start));
        assert!(!plain || here || config.insecure_http, "{url} in the clear");
        if configured.is_none() {
            let told = Url::parse(claims[name].as_str().unwrap());
            assert_eq!(told.as_ref(), Ok(url));
        }
    }
    let again = metadata.clone();
    metadata.take(document, &place, config).unwrap();
    assert_eq!(metadata, again, "taken twice");
    assert_eq!(before.or(&metadata).jwks_uri, metadata.jwks_uri);
}
