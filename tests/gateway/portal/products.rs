//! The table of products: real identity providers and the vendors' emulations, each with the lines
//! that an operator writes for it.

use serde_json::{Value, json};

use crate::{
    harness::{
        idp::Endpoint,
        real_idp::{self, JWT, OPAQUE, RealIdp, Registered},
    },
    vendors::{
        auth0::{self, Auth0},
        azure::{self, Azure, graph::OWNED_BY},
        bridge::{self, Bridge},
        curity::Curity,
        emulation::{Client, Emulation, Vendor},
        okta::Okta,
        wso2::{Wso2, management as wso2},
    },
};

/// Which product, and which kind of token where it has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Auth0,
    Azure,
    Bridge,
    Curity,
    DjangoJwt,
    DjangoOpaque,
    OidcProviderJwt,
    OidcProviderOpaque,
    Okta,
    Wso2,
}

/// The secret of the operator's own client at an emulation, with what awkward secrets hold.
const ADMIN_SECRET: &str = "initial-Client_s3cret/of+the=operator";

/// A running product, and what an operator writes for it.
pub(super) struct Stage {
    idp: Box<dyn Running>,
    /// How registrations are made there.
    pub(super) access: Access,
    /// `provider_type` in Konnect's words.
    provider_type: &'static str,
    /// Its entry in the configuration file, without a name and `registration`.
    identity_provider: Value,
    /// Whether this entry says what REST cannot: a strategy of the registry has to name it.
    pub(super) needs_entry: bool,
    /// The strategy in the file's words, without name, identity provider and methods.
    strategy: Value,
    /// Files that the entry names.
    pub(super) files: Vec<(String, String)>,
    /// Where clients get tokens, and what they ask for beside their own.
    token: (String, Vec<(&'static str, String)>),
}

/// Who the gateway is where it registers.
pub(super) struct Access {
    kind: Kind,
    secret: String,
    endpoint: Option<String>,
}

enum Kind {
    ApiKey,
    Bridge,
    /// By its id.
    Client(String),
    Token,
}

/// What a test asks of any of them.
trait Running: Send + Sync {
    /// What the gateway has shown where clients are managed: keys and tokens in its request heads.
    fn shown(&self) -> Vec<String>;
}

impl<V: Vendor> Running for Emulation<V> {
    fn shown(&self) -> Vec<String> {
        let requests = self.requests(Endpoint::Registration);
        let mut shown: Vec<String> = requests
            .iter()
            .filter_map(|request| request.header("authorization"))
            .filter_map(|line| Some(line.split_once(' ')?.1.to_owned()))
            .collect();
        shown.sort();
        shown.dedup();
        shown
    }
}

impl Running for RealIdp {
    fn shown(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Product {
    /// Whether a rotation gives another client: RFC 7592 has no way to ask for a new secret alone.
    pub(super) fn replaces_clients(self) -> bool {
        matches!(
            self,
            Self::DjangoJwt | Self::DjangoOpaque | Self::OidcProviderJwt | Self::OidcProviderOpaque
        )
    }

    /// Starts it.
    pub(super) async fn start(self) -> Stage {
        match self {
            Self::Auth0 => {
                let idp: Emulation<Auth0> = Emulation::start().await;
                let id = idp.turn(|account, vendor| {
                    vendor.administrator(account, ADMIN_SECRET, &auth0::SCOPES)
                });
                let asked = vec![("audience", auth0::API.to_owned())];
                let token = (format!("{}/oauth/token", idp.base), asked);
                let access = Access::client(&id, ADMIN_SECRET);
                let more = json!({"token_request": {"scope": Auth0::READ}});
                emulated(idp, "auth0", access, token, &more)
            }
            Self::Azure => {
                let idp: Emulation<Azure<2>> = Emulation::start().await;
                let tenant = idp.turn(|account, vendor| {
                    vendor.appoint(account, OWNED_BY);
                    vendor.tenant.clone()
                });
                let (id, secret) = azure::ADMINISTRATOR;
                let access = Access {
                    endpoint: Some(format!("{}/v1.0", idp.base)),
                    ..Access::client(id, secret)
                };
                let asked = vec![("scope", format!("{}/.default", azure::API))];
                let token = (format!("{}/{tenant}/oauth2/v2.0/token", idp.base), asked);
                emulated(idp, "azureAd", access, token, &json!({}))
            }
            Self::Bridge => {
                let idp: Emulation<Bridge> = Emulation::start().await;
                let access = Access {
                    kind: Kind::Bridge,
                    secret: bridge::KEY.to_owned(),
                    endpoint: Some(idp.turn(|_, vendor| vendor.address())),
                };
                let token = (format!("{}/token", idp.base), Vec::new());
                emulated(idp, "http", access, token, &json!({}))
            }
            Self::Curity => {
                let idp: Emulation<Curity> = Emulation::start().await;
                idp.turn(|account, _| {
                    let operator = Client::new(ADMIN_SECRET, "dcr");
                    account.clients.insert("operator".to_owned(), operator);
                });
                let access = Access::client("operator", ADMIN_SECRET);
                let asked = vec![("scope", Curity::READ.to_owned())];
                let token = (format!("{}/oauth/v2/oauth-token", idp.base), asked);
                let more = json!({"token_request": {"scope": Curity::READ}});
                emulated(idp, "curity", access, token, &more)
            }
            Self::Okta => {
                let idp: Emulation<Okta> = Emulation::start().await;
                let key = "00Okta-Api_t0ken.of-the.operator";
                idp.turn(|_, vendor| vendor.management.api_tokens.push(key.to_owned()));
                let access = Access {
                    kind: Kind::ApiKey,
                    secret: key.to_owned(),
                    endpoint: None,
                };
                let asked = vec![("scope", Okta::READ.to_owned())];
                let token = (format!("{}/oauth2/default/v1/token", idp.base), asked);
                emulated(idp, "okta", access, token, &json!({}))
            }
            Self::Wso2 => {
                let idp: Emulation<Wso2> = Emulation::start().await;
                let (id, secret) = wso2::ADMINISTRATOR;
                let asked = vec![("scope", Wso2::READ.to_owned())];
                let token = (format!("{}/oauth2/token", idp.base), asked);
                let access = Access::client(id, secret);
                emulated(idp, "wso2", access, token, &json!({}))
            }
            Self::DjangoJwt => real(real_idp::Product::DjangoOauthToolkit, JWT).await,
            Self::DjangoOpaque => real(real_idp::Product::DjangoOauthToolkit, OPAQUE).await,
            Self::OidcProviderJwt => real(real_idp::Product::OidcProvider, JWT).await,
            Self::OidcProviderOpaque => real(real_idp::Product::OidcProvider, OPAQUE).await,
        }
    }
}

/// An emulation with the lines that its table of credentials is played with, and more.
fn emulated<V: Vendor + Send>(
    idp: Emulation<V>,
    provider_type: &'static str,
    access: Access,
    token: (String, Vec<(&'static str, String)>),
    more: &Value,
) -> Stage {
    let (entry, mut strategy, issuer) = idp.turn(|account, vendor| {
        (
            vendor.identity_provider(account),
            vendor.strategy(),
            vendor.issuer(),
        )
    });
    let mut files = idp.turn(|account, vendor| vendor.files(account));
    let own = ("secrets/own".to_owned(), "the-gateways-own".to_owned());
    files.push(own);
    let mut identity_provider = json!({"vendor": V::NAME, "issuer": issuer});
    // Only what REST has no word for is worth an entry: an authority of one's own.
    let needs_entry = entry.get("ca_file").is_some();
    merge(&mut identity_provider, &entry);
    merge(&mut strategy, more);
    Stage {
        idp: Box::new(idp),
        access,
        provider_type,
        identity_provider,
        needs_entry,
        strategy,
        files,
        token,
    }
}

/// A real provider, whose tokens for this audience are of one kind.
async fn real(product: real_idp::Product, audience: &str) -> Stage {
    let idp = RealIdp::start(product).await;
    let initial = idp.pull("/initial-access-token").await;
    let own: Registered = idp.register().await;
    let mut identity_provider = json!({"issuer": idp.issuer});
    // Opaque tokens are asked about, by a client of the gateway's own.
    let needs_entry = audience == OPAQUE;
    if needs_entry {
        identity_provider["client"] = json!({"id": own.id, "secret": {"file": "secrets/own"}});
    }
    let asked = vec![
        ("resource", audience.to_owned()),
        ("scope", "read".to_owned()),
    ];
    Stage {
        access: Access {
            kind: Kind::Token,
            secret: initial["token"].as_str().unwrap().to_owned(),
            endpoint: None,
        },
        provider_type: "generic",
        identity_provider,
        needs_entry,
        strategy: json!({
            "credential_claim": ["client_id"],
            "audience": [audience],
            "token_request": {"scope": "read", "parameters": {"resource": audience}},
        }),
        files: vec![("secrets/own".to_owned(), own.secret)],
        token: (idp.token_endpoint(), asked),
        idp: Box::new(idp),
    }
}

impl Access {
    fn client(id: &str, secret: &str) -> Self {
        Self {
            kind: Kind::Client(id.to_owned()),
            secret: secret.to_owned(),
            endpoint: None,
        }
    }

    /// `dcr_config`, as REST takes it.
    fn dcr_config(&self) -> Value {
        let (secret, endpoint) = (&self.secret, &self.endpoint);
        let mut config = match &self.kind {
            Kind::ApiKey => json!({"dcr_token": secret}),
            Kind::Bridge => return json!({"api_key": secret, "dcr_base_url": endpoint}),
            Kind::Client(id) => {
                json!({"initial_client_id": id, "initial_client_secret": secret})
            }
            Kind::Token => json!({"initial_access_token": secret}),
        };
        if let Some(endpoint) = endpoint {
            config["endpoint"] = json!(endpoint);
        }
        config
    }

    /// `registration`, as the file has it, with the secret in `secrets/initial`.
    pub(super) fn registration(&self) -> Value {
        let secret = json!({"file": "secrets/initial"});
        let mut section = match &self.kind {
            Kind::ApiKey => json!({"api_key": secret}),
            Kind::Bridge => json!({"dialect": "http", "api_key": secret}),
            Kind::Client(id) => json!({"initial_client": {"id": id, "secret": secret}}),
            Kind::Token => json!({"initial_access_token": secret}),
        };
        if let Some(endpoint) = &self.endpoint {
            section["endpoint"] = json!(endpoint);
        }
        section
    }

    /// What nobody may read anywhere.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl Stage {
    /// The body with which an operator makes its DCR provider, reached through the entry `reached`
    /// of the file where it has one.
    pub(super) fn provider(&self, name: &str, reached: Option<&str>) -> Value {
        let mut config = self.access.dcr_config();
        if let Some(reached) = reached {
            config["identity_provider"] = json!(reached);
        }
        json!({
            "name": name, "display_name": "The story's", "provider_type": self.provider_type,
            "issuer": self.identity_provider["issuer"], "dcr_config": config,
        })
    }

    /// The body with which an operator makes a strategy of it.
    pub(super) fn auth_strategy(
        &self,
        name: &str,
        provider: Option<&str>,
        reached: Option<&str>,
    ) -> Value {
        let mut options = json!({
            "issuer": self.identity_provider["issuer"],
            "auth_methods": ["client_credentials", "bearer", "session"],
        });
        for (key, value) in self.strategy.as_object().unwrap() {
            let konnects = match key.as_str() {
                "audience" => "audience_required",
                key => key,
            };
            options[konnects] = value.clone();
        }
        if let Some(reached) = reached {
            options["identity_provider"] = json!(reached);
        }
        json!({
            "name": name, "display_name": "Partners", "strategy_type": "openid_connect",
            "configs": {"openid-connect": options}, "dcr_provider_id": provider,
        })
    }

    /// Its entry in the configuration file, without `registration`.
    pub(super) fn entry(&self, name: &str) -> Value {
        let mut entry = json!({"name": name});
        merge(&mut entry, &self.identity_provider);
        entry
    }

    /// Its strategy in the configuration file.
    pub(super) fn file_strategy(&self, name: &str, identity_provider: &str) -> Value {
        let mut strategy = json!({
            "name": name, "identity_provider": identity_provider,
            "auth_methods": ["client_credentials", "bearer", "session"],
        });
        merge(&mut strategy, &self.strategy);
        strategy
    }

    /// Asks for a token as a client does: the status, and the token.
    pub(super) async fn grant(&self, id: &str, secret: &str) -> (u16, Option<String>) {
        let (url, asked) = &self.token;
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
        ];
        form.extend(asked.iter().map(|(name, value)| (*name, value.as_str())));
        let http = reqwest::Client::builder().no_proxy();
        let http = http.tls_danger_accept_invalid_certs(true).build().unwrap();
        let answer = http.post(url).form(&form).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        let token = body["access_token"].as_str().map(str::to_owned);
        (status, token)
    }

    /// A token of a client that has to get one.
    pub(super) async fn token(&self, id: &str, secret: &str) -> String {
        let (status, token) = self.grant(id, secret).await;
        token.unwrap_or_else(|| panic!("no token but {status}"))
    }

    /// What the gateway has shown where clients are managed.
    pub(super) fn shown(&self) -> Vec<String> {
        self.idp.shown()
    }
}

/// Puts members over those that are there.
pub(super) fn merge(value: &mut Value, more: &Value) {
    for (name, member) in more.as_object().into_iter().flatten() {
        value[name] = member.clone();
    }
}
