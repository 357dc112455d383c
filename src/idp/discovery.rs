//! An IdP's metadata: which endpoints it has (RFC 8414, OIDC Discovery 1.0).

use std::time::Duration;

use url::Url;

use super::{
    AuthMethod, Config,
    call::{Caller, Endpoint, Trouble, Unavailable},
    vendor::{IssuerForm, MANY_TENANTS, TENANT, other_document},
};
use crate::{
    model::{
        claims::{Claims, Value},
        time::Timestamp,
    },
    token::json,
};

/// The endings that tell a discovery URL from an issuer.
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// When asking again may help: metadata that is wrong now may be right soon.
const RETRY: Duration = Duration::from_secs(1);

/// What an IdP says of itself, merged with what the configuration says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The document's `issuer`; empty where everything was configured and no document read.
    pub issuer: String,
    /// The issuer of the same tenant's tokens of the other version ([`IssuerForm::Tenant`]).
    pub other_issuer: Option<String>,
    /// Whether [`Self::other_issuer`] could not be asked for, and may come with the next reading.
    pub lacks_issuer: bool,
    /// The token endpoint that the document names, whatever is configured: the tenant's other
    /// document lies beside it.
    pub named_token_endpoint: Option<Url>,
    /// Where browsers are sent to sign in.
    pub authorization_endpoint: Option<Url>,
    /// Where tokens come from.
    pub token_endpoint: Option<Url>,
    /// Where the keys are.
    pub jwks_uri: Option<Url>,
    /// Where tokens are introspected.
    pub introspection_endpoint: Option<Url>,
    /// What is known of a person.
    pub userinfo_endpoint: Option<Url>,
    /// Whether answers of the authorization endpoint carry `iss` (RFC 9207 section 3).
    pub names_issuer: bool,
    /// Where clients are registered (RFC 7591).
    pub registration_endpoint: Option<Url>,
    /// How a client's pair is sent to the token endpoint.
    pub token_auth: Option<AuthMethod>,
    /// How the gateway's own pair is sent to the introspection endpoint.
    pub introspection_auth: Option<AuthMethod>,
    /// When it was read.
    pub read: Timestamp,
}

impl Metadata {
    /// What the configuration alone says.
    pub fn configured(config: &Config) -> Self {
        Self {
            token_endpoint: config.token_endpoint.clone(),
            jwks_uri: config.jwks_uri.clone(),
            introspection_endpoint: config.introspection_endpoint.clone(),
            registration_endpoint: config
                .registration
                .as_ref()
                .and_then(|registration| registration.endpoint.clone()),
            ..Self::default()
        }
    }

    /// Whether nothing that the gateway asks this IdP for is left to be found.
    pub fn is_complete(&self, config: &Config) -> bool {
        self.token_endpoint.is_some()
            && self.jwks_uri.is_some()
            && (config.client.is_none() || self.introspection_endpoint.is_some())
            && (self.registration_endpoint.is_some()
                || !(config.registration.as_ref())
                    .is_some_and(|registration| registration.dialect.is_discovered()))
    }

    /// Takes what is still missing from what was known before.
    pub fn or(mut self, known: &Self) -> Self {
        let take = |mine: &mut Option<Url>, known: &Option<Url>| {
            if mine.is_none() {
                mine.clone_from(known);
            }
        };
        take(
            &mut self.authorization_endpoint,
            &known.authorization_endpoint,
        );
        take(&mut self.userinfo_endpoint, &known.userinfo_endpoint);
        take(&mut self.token_endpoint, &known.token_endpoint);
        take(&mut self.jwks_uri, &known.jwks_uri);
        take(
            &mut self.introspection_endpoint,
            &known.introspection_endpoint,
        );
        take(
            &mut self.registration_endpoint,
            &known.registration_endpoint,
        );
        self.names_issuer |= known.names_issuer;
        self.token_auth = self.token_auth.or(known.token_auth);
        self.introspection_auth = self.introspection_auth.or(known.introspection_auth);
        if self.lacks_issuer && known.other_issuer.is_some() {
            self.other_issuer.clone_from(&known.other_issuer);
            self.lacks_issuer = false;
        }
        self
    }

    /// Whether a place that failed may have more to say: it is asked again with the next fetch.
    pub fn is_partial(&self) -> bool {
        self.read == Timestamp::default()
    }

    /// Takes what is still missing from the document that lay at `place`; the issuer always.
    ///
    /// # Errors
    /// [`Trouble::Unreadable`] where it is no strict JSON object, names no issuer, or is of
    /// another issuer than the configured one; then nothing is taken.
    pub fn take(
        &mut self,
        document: &[u8],
        place: &Url,
        config: &Config,
    ) -> Result<(), Unavailable> {
        let unreadable = |what| Trouble::Unreadable(what).after(RETRY);
        let claims =
            json::claims(document).map_err(|_| unreadable("the metadata is no JSON object"))?;
        let issuer = claims.get("issuer").and_then(|issuer| issuer.as_str());
        let issuer = issuer.ok_or(unreadable("the metadata names no issuer"))?;
        // RFC 8414 section 3.3: a document of another issuer must not be used.
        if !config.issuer_is_discovery_url && !is_issuer(issuer, config) {
            tracing::error!(
                identity_provider = &*config.name,
                document = %place,
                found = issuer.chars().take(200).collect::<String>(),
                expected = config.issuer,
                "the metadata is of another issuer; set `issuer` to the value found, byte for byte"
            );
            return Err(unreadable("the metadata is of another issuer"));
        }
        let form = config.vendor.preset().issuer;
        if form == IssuerForm::Tenant && issuer.contains(TENANT) && config.tenants.is_empty() {
            tracing::error!(
                identity_provider = &*config.name,
                document = %place,
                "the metadata is for many tenants; say in `tenants` whose tokens count"
            );
            return Err(unreadable("the metadata is for many tenants"));
        }
        issuer.clone_into(&mut self.issuer);
        self.fill(&claims, config);
        Ok(())
    }

    /// Takes what is still missing from a document's members.
    fn fill(&mut self, claims: &Claims<'_>, config: &Config) {
        let preset = config.vendor.preset();
        let url = |name| {
            let url = Url::parse(claims.get(name)?.as_str()?).ok()?;
            is_allowed(&url, config).then_some(url)
        };
        let method = |name| {
            let listed = claims.get(name)?.as_array()?;
            let lists = |method: &str| listed.iter().any(|entry| entry.as_str() == Some(method));
            preferred(lists, preset.basic)
        };
        let named = self.named_token_endpoint.take();
        self.named_token_endpoint = named.or_else(|| url("token_endpoint"));
        let configured = self.token_endpoint.take();
        self.token_endpoint = configured.or_else(|| self.named_token_endpoint.clone());
        let asked = self.authorization_endpoint.take();
        self.authorization_endpoint = asked.or_else(|| url("authorization_endpoint"));
        let person = self.userinfo_endpoint.take();
        self.userinfo_endpoint = person.or_else(|| url("userinfo_endpoint"));
        let names = claims.get("authorization_response_iss_parameter_supported");
        self.names_issuer |= names == Some(&Value::Bool(true));
        self.jwks_uri = self.jwks_uri.take().or_else(|| url("jwks_uri"));
        self.introspection_endpoint = self
            .introspection_endpoint
            .take()
            .or_else(|| url("introspection_endpoint"));
        self.registration_endpoint = self
            .registration_endpoint
            .take()
            .or_else(|| url("registration_endpoint"));
        let token_auth = method("token_endpoint_auth_methods_supported").unwrap_or(preset.unlisted);
        self.token_auth.get_or_insert(token_auth);
        self.introspection_auth.get_or_insert(
            method("introspection_endpoint_auth_methods_supported")
                .or(preset.introspection)
                .unwrap_or(token_auth),
        );
    }
}

/// Form fields are encoded in one way everywhere, Basic is not: hence the order.
fn preferred(lists: impl Fn(&str) -> bool, basic: AuthMethod) -> Option<AuthMethod> {
    if lists("client_secret_post") {
        return Some(AuthMethod::ClientSecretPost);
    }
    lists("client_secret_basic").then_some(basic)
}

/// Whether a document's issuer is the configured one, in the vendor's way of comparing.
fn is_issuer(found: &str, config: &Config) -> bool {
    let alike = |found: &str| {
        let bare = |issuer: &str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
        bare(found) == bare(&config.issuer)
    };
    match config.vendor.preset().issuer {
        IssuerForm::Exact => found == config.issuer,
        IssuerForm::FinalSlash => alike(found),
        // A document for many is asked for by one of these words in the tenant's place.
        IssuerForm::Tenant => {
            alike(found)
                || MANY_TENANTS
                    .iter()
                    .any(|word| alike(&found.replace(TENANT, word)))
        }
    }
}

/// Whether an address that a document names may be called: https, or http by `insecure_http`, or on
/// this machine where the document came so too. Else one from far away would have the gateway send
/// requests, and secrets, to its neighbours.
pub fn is_allowed(url: &Url, config: &Config) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return false,
    };
    let place = config.discovery_url.as_ref().map(Url::as_str);
    let local = place.unwrap_or(&config.issuer).starts_with("http:");
    let plain = config.insecure_http || (loopback && local);
    url.scheme() == "https" || (url.scheme() == "http" && plain)
}

/// Reads the metadata, asking at each place where it may lie until nothing is missing.
///
/// # Errors
/// [`Unavailable`] where no place gives a document whose `issuer` is the configured one.
pub async fn read(
    config: &Config,
    caller: &Caller,
    now: Timestamp,
) -> Result<Metadata, Unavailable> {
    let mut metadata = Metadata {
        read: now,
        ..Metadata::configured(config)
    };
    if metadata.is_complete(config) && !config.asks_for_issuer() {
        return Ok(metadata);
    }
    let mut failed = None;
    let mut found = false;
    let places = places(config);
    for place in &places {
        let document = fetch(place, caller).await;
        match document.and_then(|document| metadata.take(&document, place, config)) {
            Ok(()) => {
                found = true;
                if metadata.is_complete(config) {
                    break;
                }
            }
            // That nothing lies at one place tells less than what went wrong at another.
            Err(unavailable) => match unavailable.kind {
                Trouble::NoMetadata(_) if failed.is_some() => {}
                _ => failed = Some(unavailable),
            },
        }
    }
    if found && config.vendor.preset().issuer == IssuerForm::Tenant {
        read_other(&mut metadata, config, caller).await;
    }
    match failed {
        Some(unavailable) if !found => {
            report(&unavailable, &places, config);
            return Err(unavailable);
        }
        Some(_) if !metadata.is_complete(config) => metadata.read = Timestamp::default(),
        _ if metadata.lacks_issuer => metadata.read = Timestamp::default(),
        _ => {}
    }
    Ok(metadata)
}

/// Where clients are registered, by the first place that names it; `None` where none does.
///
/// # Errors
/// [`Unavailable`] where none does, and one of them could not be read.
pub async fn registration_endpoint(
    config: &Config,
    caller: &Caller,
) -> Result<Option<Url>, Unavailable> {
    let mut metadata = Metadata::default();
    let mut failed = None;
    for place in places(config) {
        let document = fetch(&place, caller).await;
        match document.and_then(|document| metadata.take(&document, &place, config)) {
            Ok(()) if metadata.registration_endpoint.is_some() => {
                return Ok(metadata.registration_endpoint);
            }
            Err(unavailable) if !matches!(unavailable.kind, Trouble::NoMetadata(_)) => {
                failed = Some(unavailable);
            }
            Ok(()) | Err(_) => {}
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Says where metadata was looked for in vain. Whatever else may be wrong was said where it showed.
fn report(unavailable: &Unavailable, places: &[Url], config: &Config) {
    let Trouble::NoMetadata(status) = unavailable.kind else {
        return;
    };
    let asked: Vec<&str> = places.iter().map(Url::as_str).collect();
    tracing::error!(
        identity_provider = &*config.name,
        asked = asked.join(" "),
        status,
        cure = config.vendor.preset().cure(unavailable.kind.reason()),
        "there is no metadata where the issuer has it: check `issuer`, or set `discovery_url`"
    );
}

/// Reads the issuer of the tenant's other document. One that does not exist names none; one that
/// cannot be had now is asked for again.
async fn read_other(metadata: &mut Metadata, config: &Config, caller: &Caller) {
    let place = metadata
        .named_token_endpoint
        .as_ref()
        .and_then(other_document);
    let Some(place) = place.filter(|place| is_allowed(place, config)) else {
        return;
    };
    let document = match fetch(&place, caller).await {
        Ok(document) => document,
        Err(Unavailable {
            kind: Trouble::NoMetadata(400..500),
            ..
        }) => return,
        Err(_) => {
            metadata.lacks_issuer = true;
            return;
        }
    };
    let issuer = json::claims(&document).ok().and_then(|claims| {
        let issuer = claims.get("issuer")?.as_str()?;
        Some(issuer.to_owned())
    });
    metadata.other_issuer = issuer.filter(|issuer| *issuer != metadata.issuer);
}

async fn fetch(place: &Url, caller: &Caller) -> Result<Vec<u8>, Unavailable> {
    let request = caller
        .http
        .get(place.clone())
        .header("accept", "application/json");
    let answer = caller.send(Endpoint::Discovery, request).await?;
    if !answer.status.is_success() {
        return Err(Trouble::NoMetadata(answer.status.as_u16()).after(RETRY));
    }
    Ok(answer.body)
}

/// Where the document may lie, in the order of trying.
fn places(config: &Config) -> Vec<Url> {
    if let Some(url) = &config.discovery_url {
        return vec![url.clone()];
    }
    let Ok(issuer) = Url::parse(&config.issuer) else {
        return Vec::new();
    };
    if config.issuer_is_discovery_url {
        return vec![issuer];
    }
    let path = issuer.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![
        at(format!("{path}{OPENID}")),
        at(format!("{OPENID}{path}")),
        at(format!("{OAUTH}{path}")),
    ];
    places.dedup();
    places
}

/// Whether an `issuer` of the configuration is really the address of the document, as Konnect asks
/// for Curity.
pub fn is_discovery_url(issuer: &str) -> bool {
    issuer.ends_with(OPENID) || issuer.contains(OAUTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_with_a_path_has_three_places_and_one_without_has_two() {
        let places = |issuer: &str| {
            let config = Config {
                issuer: issuer.to_owned(),
                ..super::super::tests::config()
            };
            super::places(&config)
                .iter()
                .map(Url::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            places("https://idp.test/oauth2/default"),
            [
                "https://idp.test/oauth2/default/.well-known/openid-configuration",
                "https://idp.test/.well-known/openid-configuration/oauth2/default",
                "https://idp.test/.well-known/oauth-authorization-server/oauth2/default",
            ]
        );
        assert_eq!(
            places("https://idp.test/"),
            [
                "https://idp.test/.well-known/openid-configuration",
                "https://idp.test/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn the_documents_issuer_is_compared_in_the_vendors_way() {
        use crate::idp::vendor::Vendor::{Auth0, Azure, Generic, Okta};
        let slash = "https://idp.test/";
        let template = "https://idp.test/{tenantid}/v2.0";
        for (vendor, configured, found, expected) in [
            (Generic, slash, slash, true),
            (Generic, "https://idp.test", slash, false),
            (Okta, slash, "https://idp.test", false),
            (Auth0, "https://idp.test", slash, true),
            (Auth0, slash, "https://idp.test", true),
            (Auth0, slash, "https://idp.test//", false),
            (Auth0, slash, "https://other.test/", false),
            (Azure, "https://sts.test/t", "https://sts.test/t/", true),
            (Azure, "https://idp.test/common/v2.0", template, true),
            (
                Azure,
                "https://idp.test/organizations/v2.0/",
                template,
                true,
            ),
            (Azure, "https://idp.test/t/v2.0", template, false),
            (Auth0, "https://idp.test/common/v2.0", template, false),
        ] {
            let config = Config {
                vendor,
                issuer: configured.to_owned(),
                ..super::super::tests::config()
            };
            assert_eq!(
                is_issuer(found, &config),
                expected,
                "{vendor:?} {configured} {found}"
            );
        }
    }

    #[test]
    fn a_document_for_many_tenants_counts_only_with_a_list_of_them() {
        let place = Url::parse("https://idp.test/common/v2.0").unwrap();
        let document = br#"{"issuer":"https://idp.test/{tenantid}/v2.0"}"#;
        let mut config = Config {
            vendor: crate::idp::vendor::Vendor::Azure,
            issuer: place.to_string(),
            ..super::super::tests::config()
        };
        assert!(Metadata::default().take(document, &place, &config).is_err());
        config.tenants = vec!["a".to_owned(), "b".to_owned()];
        let mut metadata = Metadata::default();
        metadata.take(document, &place, &config).unwrap();
        let issuers: Vec<String> = config.issuers_of(&metadata.issuer).collect();
        assert_eq!(
            issuers,
            ["https://idp.test/a/v2.0", "https://idp.test/b/v2.0"]
        );
        let own: Vec<String> = config.issuers_of("https://sts.test/c/").collect();
        assert_eq!(own, ["https://sts.test/c/"]);
    }

    #[test]
    fn what_was_known_fills_what_is_missing_and_nothing_else() {
        let url = |text: &str| Some(Url::parse(text).unwrap());
        let known = Metadata {
            token_endpoint: url("https://idp.test/old"),
            introspection_endpoint: url("https://idp.test/introspect"),
            token_auth: Some(AuthMethod::ClientSecretPost),
            ..Metadata::default()
        };
        let read = Metadata {
            token_endpoint: url("https://idp.test/new"),
            ..Metadata::default()
        };
        let merged = read.or(&known);
        assert_eq!(merged.token_endpoint, url("https://idp.test/new"));
        assert_eq!(merged.introspection_endpoint, known.introspection_endpoint);
        assert_eq!(merged.token_auth, known.token_auth);
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let remote = super::super::tests::config();
        let config = Config {
            issuer: "http://127.0.0.1:9400".to_owned(),
            ..remote.clone()
        };
        for (url, allowed) in [
            ("https://idp.test/x", true),
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]/x", true),
            ("http://localhost/x", true),
            ("http://idp.test/x", false),
            ("http://localhost.idp.test/x", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1/x", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_allowed(&url, &config), allowed, "{url}");
            // Whoever is far away may name no neighbour of the gateway.
            let secure = url.scheme() == "https";
            assert_eq!(is_allowed(&url, &remote), secure, "{url}");
        }
    }

    #[test]
    fn the_way_to_send_a_pair_follows_the_list() {
        for (document, method) in [
            (r#"{}"#, AuthMethod::ClientSecretBasic),
            (
                r#"{"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"]}"#,
                AuthMethod::ClientSecretPost,
            ),
            (
                r#"{"token_endpoint_auth_methods_supported":["client_secret_basic"]}"#,
                AuthMethod::ClientSecretBasic,
            ),
        ] {
            let mut metadata = Metadata::default();
            let claims = json::claims(document.as_bytes()).unwrap();
            metadata.fill(&claims, &super::super::tests::config());
            assert_eq!(metadata.token_auth, Some(method), "{document}");
        }
    }
}
