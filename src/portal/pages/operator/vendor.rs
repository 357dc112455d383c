//! What each type of DCR provider needs: how it is called, where its values are found at the vendor,
//! and which fields its form has.

use serde_json::{Map, Value};

use super::super::form::{Choice, Field};
use crate::portal::record::Provider;

/// How the gateway shows a provider that it may register clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A client of its own, or an administrator.
    Client,
    /// The key of a bridge.
    Key,
    /// Nothing: whoever asks may.
    Open,
    /// A token.
    Token,
}

impl Way {
    /// In paths and forms.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Key => "key",
            Self::Open => "open",
            Self::Token => "token",
        }
    }
}

/// A type of provider.
#[derive(Debug)]
pub(super) struct Vendor {
    /// `provider_type`.
    pub(super) word: &'static str,
    /// For people.
    pub(super) name: &'static str,
    /// What you need from there.
    pub(super) needs: &'static str,
    /// What its issuer looks like, and where it is found.
    issuer: &'static str,
    /// How the gateway may show itself there, the usual one first.
    pub(super) ways: &'static [Way],
    /// Where the values of a client are found: its id, and its secret.
    client: [&'static str; 2],
    /// Where a token is found.
    token: &'static str,
    /// What a strategy for its tokens has to say.
    pub(super) strategy: Strategy,
}

/// What a strategy says for a vendor's tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strategy {
    /// Which claim names the client there.
    pub(super) claim: &'static str,
    /// About scopes.
    pub(super) scopes: &'static str,
    /// About what has to be in `aud`.
    pub(super) audience: &'static str,
}

const NO_SCOPES: &str = "With none, the identity provider decides what a token may do.";
const ANY_AUDIENCE: &str = "Left empty, tokens of this issuer count whatever they were made for.";

/// All of them, as they are offered.
pub(super) const VENDORS: [Vendor; 7] = [
    Vendor {
        word: "generic",
        name: "Any identity provider with RFC 7591 and 7592",
        needs: "An initial access token, or a client that may register others. \
                Keycloak, Ory Hydra, PingFederate and many more.",
        issuer: "What its metadata calls issuer: the part before \
                 /.well-known/openid-configuration. With Keycloak https://HOST/realms/REALM.",
        ways: &[Way::Token, Way::Client, Way::Open],
        client: [
            "Of a client that gets tokens by client credentials with which it may register others.",
            "That client's secret.",
        ],
        token: "One that is good for many registrations. \
                With Keycloak: Clients, Client registration, Initial access token.",
        strategy: Strategy {
            claim: "client_id, if you leave it empty. With Keycloak it is azp.",
            scopes: NO_SCOPES,
            audience: ANY_AUDIENCE,
        },
    },
    Vendor {
        word: "auth0",
        name: "Auth0",
        needs: "A machine-to-machine application that is authorized for the Auth0 Management API: \
                read, create, update and delete of clients and client_grants, and \
                update:client_keys.",
        issuer: "https://TENANT.REGION.auth0.com, or your custom domain. \
                 Applications, your application, Settings: Domain.",
        ways: &[Way::Client],
        client: [
            "Applications, your machine-to-machine application, Settings: Client ID.",
            "Beside it: Client Secret.",
        ],
        token: "",
        strategy: Strategy {
            claim: "azp or client_id, if you leave it empty.",
            scopes: NO_SCOPES,
            audience: "The Identifier of your API, letter for letter. It is asked for: \
                       without one Auth0 gives no token.",
        },
    },
    Vendor {
        word: "curity",
        name: "Curity Identity Server",
        needs: "Dynamic client registration (non-templatized) with client management switched on, \
                and a client that gets tokens for the scope dcr.",
        issuer: "The URL of the anonymous endpoint, as in \
                 https://HOST/oauth/v2/oauth-anonymous, or that of its metadata.",
        ways: &[Way::Client],
        client: [
            "Token Service profile, Clients: the one that stands under authenticate-client-by of \
             dynamic client registration.",
            "That client's secret.",
        ],
        token: "",
        strategy: Strategy {
            claim: "sub, if you leave it empty.",
            scopes: NO_SCOPES,
            audience: "That of the clients there. A client without one has its own id as audience.",
        },
    },
    Vendor {
        word: "okta",
        name: "Okta",
        needs: "An API token, or an API Services app with okta.clients.manage; \
                and an access policy of the authorization server that covers all clients.",
        issuer: "That of a custom authorization server, as in https://ORG.okta.com/oauth2/default. \
                 Security, API, Authorization Servers: Issuer URI.",
        ways: &[Way::Token, Way::Client],
        client: [
            "Applications, your API Services app, General: Client ID.",
            "Beside it: Client secret.",
        ],
        token: "Security, API, Tokens: Create token. It is shown once, and has the rights of \
                whoever made it.",
        strategy: Strategy {
            claim: "cid, if you leave it empty.",
            scopes: "At least one of your own (Authorization Servers, Scopes). \
                     openid is refused there.",
            audience: "The Audience of the authorization server, as in api://default.",
        },
    },
    Vendor {
        word: "azureAd",
        name: "Microsoft Entra ID (Azure AD)",
        needs: "An app registration with Application.ReadWrite.OwnedBy of Microsoft Graph \
                (an application permission, consented by an administrator), and a client secret.",
        issuer: "https://login.microsoftonline.com/TENANT_ID/v2.0. \
                 App registrations, Overview: Directory (tenant) ID.",
        ways: &[Way::Client],
        client: [
            "App registrations, your app, Overview: Application (client) ID. Not the object ID.",
            "Certificates & secrets: the Value, not the Secret ID. It ends one day: \
             put the new one here before.",
        ],
        token: "",
        strategy: Strategy {
            claim: "appid or azp, if you leave it empty.",
            scopes: "None: /.default of the audience below is asked for by itself.",
            audience: "The Application ID URI of your API, as in api://APPLICATION_ID, and after a \
                       space its Application (client) ID: tokens name one or the other.",
        },
    },
    Vendor {
        word: "wso2",
        name: "WSO2 Identity Server or Asgardeo",
        needs: "An administrator's name and password; or a token; or open registration.",
        issuer: "The token endpoint, as in https://HOST:9443/oauth2/token, \
                 with /t/TENANT before /oauth2 for a tenant.",
        ways: &[Way::Client, Way::Token, Way::Open],
        client: [
            "Of somebody who may manage applications.",
            "Their password there.",
        ],
        token: "One with internal_dcr_create, _view, _update and _delete that does not end soon.",
        strategy: Strategy {
            claim: "client_id, if you leave it empty.",
            scopes: NO_SCOPES,
            audience: "Empty, unless applications are given one there: else their own id is the only one.",
        },
    },
    Vendor {
        word: "http",
        name: "A bridge over HTTP, as with Konnect",
        needs: "The address of a bridge of your own that speaks Konnect's HTTP DCR interface, \
                and its key. For identity providers that nothing else here fits.",
        issuer: "Of the identity provider behind the bridge: what its metadata calls issuer.",
        ways: &[Way::Key],
        client: ["", ""],
        token: "",
        strategy: Strategy {
            claim: "By default that of the identity provider behind the bridge, else client_id.",
            scopes: NO_SCOPES,
            audience: ANY_AUDIENCE,
        },
    },
];

/// What is said of a strategy whose clients are made elsewhere.
pub(super) const ELSEWHERE: Strategy = Strategy {
    claim: "client_id, if you leave it empty. Auth0 and Keycloak say azp, Okta cid, \
            Entra ID appid or azp, Curity sub.",
    scopes: NO_SCOPES,
    audience: ANY_AUDIENCE,
};

/// One of them, by its word.
pub(super) fn vendor(word: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.word == word)
}

/// A type's name for people.
pub(super) fn name(word: &str) -> &str {
    vendor(word).map_or(word, |vendor| vendor.name)
}

impl Vendor {
    /// One of its ways, by its word; the usual one where there is no such word.
    pub(super) fn way(&self, word: &str) -> Way {
        let named = self.ways.iter().find(|way| way.word() == word);
        named.or(self.ways.first()).copied().unwrap_or(Way::Client)
    }

    /// How a provider of this type is reached now.
    pub(super) fn way_of(&self, provider: &Provider) -> Way {
        let is_open = provider.settings.get("open") == Some(&Value::Bool(true));
        let word = match is_open {
            true => Way::Open,
            false if provider.secrets.contains_key("initial_client_secret") => Way::Client,
            false => Way::Token,
        };
        self.way(word.word())
    }

    /// A way's name for people.
    pub(super) fn way_name(&self, way: Way) -> &'static str {
        match way {
            Way::Client if self.word == "wso2" => "As an administrator",
            Way::Client => "As a client",
            Way::Key => "With a key",
            Way::Open => "Open to anybody",
            Way::Token if self.word == "okta" => "With an API token",
            Way::Token => "With a token",
        }
    }

    /// The issuer's field.
    pub(super) fn issuer(&self) -> Field {
        let field = Field::url("issuer", "Issuer");
        field.required().hint(self.issuer)
    }

    /// The fields that show that the gateway may register clients. A secret that is there already
    /// may be left out.
    pub(super) fn access(&self, way: Way, is_kept: bool) -> Vec<Field> {
        let secret = |name, label, hint: &str| {
            let field = Field::secret(name, label, "off");
            match is_kept {
                true => field.hint(format!("{hint} Left empty, it stays what it is.")),
                false => field.required().hint(hint),
            }
        };
        let [id, password] = self.client;
        match way {
            Way::Client => {
                let (id_label, secret_label) = match self.word {
                    "wso2" => ("Administrator's name", "Administrator's password"),
                    _ => ("Client id", "Client secret"),
                };
                let id_field = Field::text("dcr_config.initial_client_id", id_label);
                let mut fields = vec![
                    id_field.required().hint(id),
                    secret("dcr_config.initial_client_secret", secret_label, password),
                ];
                if self.word == "okta" {
                    let scope =
                        Field::text("dcr_config.initial_client_scope", "Scopes it asks for");
                    let hint = "Those that let it manage clients.";
                    fields.push(scope.required().hint(hint).with("okta.clients.manage"));
                }
                fields
            }
            Way::Key => vec![
                Field::url("dcr_config.dcr_base_url", "Address of the bridge")
                    .required()
                    .hint("The part before /{client id}."),
                secret(
                    "dcr_config.api_key",
                    "Key",
                    "What the bridge expects as X-API-KEY, 12 characters or more.",
                ),
            ],
            Way::Open => Vec::new(),
            Way::Token if self.word == "okta" => {
                vec![secret("dcr_config.dcr_token", "API token", self.token)]
            }
            Way::Token => vec![secret(
                "dcr_config.initial_access_token",
                "Initial access token",
                self.token,
            )],
        }
    }

    fn scope(&self) -> Field {
        let hint = match self.word {
            "azureAd" => "By default that of Microsoft Graph.",
            "curity" => "By default dcr.",
            _ => "By default none.",
        };
        let field = Field::text("dcr_config.initial_client_scope", "Scopes it asks for");
        field.clears().hint(hint)
    }

    /// The fields that few need.
    pub(super) fn more(&self, way: Way) -> Vec<Field> {
        let mut fields = Vec::new();
        if way == Way::Client {
            let hint = match self.word {
                "auth0" => {
                    "By default https://DOMAIN/api/v2/ of the issuer. With a custom domain say \
                     https://TENANT.REGION.auth0.com/api/v2/."
                }
                _ => "By default none.",
            };
            if self.word != "okta" {
                fields.push(self.scope());
            }
            let audience =
                Field::text("dcr_config.initial_client_audience", "Audience it asks for");
            fields.push(audience.clears().hint(hint));
        }
        if self.word == "auth0" {
            let name = "dcr_config.use_developer_managed_scopes";
            fields.push(Field::switch(
                name,
                "Developers choose the scopes of their apps",
            ));
        }
        if self.word == "http" {
            let vendors = [
                ("", "Not said"),
                ("auth0", "Auth0"),
                ("curity", "Curity"),
                ("azure", "Entra ID"),
                ("okta", "Okta"),
                ("wso2", "WSO2"),
                ("generic", "Another one"),
            ];
            let vendors = vendors.map(|(word, name)| Choice::new(word, name));
            fields.extend([
                Field::one(
                    "dcr_config.vendor",
                    "Identity provider behind the bridge",
                    vendors.into(),
                )
                .clears()
                .hint("So that its tokens are read as it writes them."),
                Field::switch(
                    "dcr_config.disable_event_hooks",
                    "Do not tell the bridge of registrations and changes",
                ),
                Field::switch(
                    "dcr_config.disable_refresh_secret",
                    "The bridge cannot make new secrets",
                ),
            ]);
        } else {
            fields.push(
                Field::url("dcr_config.endpoint", "Where clients are registered")
                    .clears()
                    .hint("By default where its metadata, or the vendor's documentation, says."),
            );
        }
        fields.extend([
            Field::text("dcr_config.identity_provider", "Reached as")
                .clears()
                .hint(
                    "The name of an identity provider in the configuration file with the same \
                     issuer, to use its private CA or its proxy.",
                ),
            Field::json_text("dcr_config.client_metadata", "Further client metadata", 3)
                .clears()
                .hint("A JSON object. It is sent along with each registration as it stands."),
            Field::number("dcr_config.deadline_seconds", "Deadline in seconds")
                .clears()
                .hint("The longest that one operation may take: 1 to 600, by default 60."),
        ]);
        fields
    }

    /// Puts what goes with a way into a body: that it is the one, and in a change that the others
    /// are none any more.
    pub(super) fn settle(&self, body: &mut Map<String, Value>, way: Way, is_change: bool) {
        let config = body.entry("dcr_config");
        let config = config.or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(config) = config else {
            return;
        };
        if is_change {
            for other in self.ways.iter().filter(|other| **other != way) {
                for name in members(self.word, *other) {
                    config.insert((*name).to_owned(), Value::Null);
                }
            }
        }
        if way == Way::Open {
            config.insert("open".to_owned(), Value::Bool(true));
        }
    }
}

/// The members of `dcr_config` that a way has.
fn members(vendor: &str, way: Way) -> &'static [&'static str] {
    match way {
        Way::Client => &[
            "initial_client_id",
            "initial_client_secret",
            "initial_client_scope",
            "initial_client_audience",
        ],
        Way::Key => &["api_key"],
        Way::Open => &["open"],
        Way::Token if vendor == "okta" => &["dcr_token"],
        Way::Token => &["initial_access_token"],
    }
}

/// A member of `dcr_config` as people know it.
pub(super) fn label(member: &str) -> &str {
    match member {
        "allow_multiple_credentials" => "Several secrets",
        "api_key" => "Key",
        "client_metadata" => "Further client metadata",
        "dcr_base_url" => "Address of the bridge",
        "dcr_token" => "API token",
        "deadline_seconds" => "Deadline in seconds",
        "disable_event_hooks" => "Bridge is not told of changes",
        "disable_refresh_secret" => "Bridge cannot make new secrets",
        "endpoint" => "Where clients are registered",
        "identity_provider" => "Reached as",
        "initial_access_token" => "Initial access token",
        "initial_client_audience" => "Audience it asks for",
        "initial_client_id" => "Client id",
        "initial_client_scope" => "Scopes it asks for",
        "initial_client_secret" => "Client secret",
        "open" => "Open to anybody",
        "use_developer_managed_scopes" => "Developers choose scopes",
        "vendor" => "Identity provider behind the bridge",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::portal::{
        api::{
            body::understand,
            providers::{New, Patch},
        },
        konnect,
        pages::form::{Form, Sent, Spare},
    };

    fn form(vendor: &Vendor, way: Way, is_kept: bool) -> Form {
        Form::new("/", "token", "Save")
            .field(vendor.issuer())
            .fields(vendor.access(way, is_kept))
            .more(vendor.more(way))
    }

    #[test]
    fn there_is_a_form_for_each_type_that_the_portal_knows() {
        let shown: BTreeSet<_> = VENDORS.iter().map(|vendor| vendor.word).collect();
        let known: BTreeSet<_> = konnect::provider::provider_types().collect();
        assert_eq!(shown, known);
    }

    #[test]
    fn every_field_of_a_form_is_one_that_its_schema_takes() {
        for vendor in &VENDORS {
            for way in vendor.ways {
                let fields = vendor.access(*way, false).into_iter();
                let mut sent = url::form_urlencoded::Serializer::new(String::new());
                sent.append_pair("issuer", "https://idp.example.com/x");
                for field in fields.chain(vendor.more(*way)) {
                    let value = match field.name() {
                        "dcr_config.client_metadata" => "{\"a\": 1}",
                        "dcr_config.deadline_seconds" => "30",
                        "dcr_config.endpoint" | "dcr_config.dcr_base_url" => {
                            "https://idp.example.com/register"
                        }
                        "dcr_config.vendor" => "okta",
                        "dcr_config.disable_event_hooks"
                        | "dcr_config.disable_refresh_secret"
                        | "dcr_config.use_developer_managed_scopes" => "true",
                        _ => "some-words-or-other",
                    };
                    sent.append_pair(field.name(), value);
                }
                let sent = Sent::read(sent.finish().as_bytes());
                let mut body = form(vendor, *way, false).body(&sent, Spare::LeftOut);
                vendor.settle(&mut body, *way, false);
                body.insert("name".to_owned(), json!("one"));
                body.insert("provider_type".to_owned(), json!(vendor.word));
                let config = body["dcr_config"].as_object().unwrap().clone();
                understand::<New>(body).unwrap();
                let (settings, secrets) = konnect::provider::split(vendor.word, config).unwrap();
                for member in settings.keys().chain(secrets.keys()) {
                    assert_ne!(label(member), member, "{member} has no name for people");
                }
            }
        }
    }

    #[test]
    fn a_change_takes_away_what_another_way_had() {
        for vendor in &VENDORS {
            for way in vendor.ways {
                let sent = Sent::read(b"issuer=https%3A%2F%2Fidp.example.com");
                let mut body = form(vendor, *way, true).body(&sent, Spare::Emptied);
                vendor.settle(&mut body, *way, true);
                let config = body["dcr_config"].clone();
                understand::<Patch>(body).unwrap();
                for other in vendor.ways.iter().filter(|other| *other != way) {
                    for member in members(vendor.word, *other) {
                        assert_eq!(config.get(member), Some(&Value::Null), "{member}");
                    }
                }
                for member in members(vendor.word, *way) {
                    let kept = config.get(member);
                    let is_cleared = kept == Some(&Value::Null);
                    let may_be = ["initial_client_scope", "initial_client_audience"];
                    assert!(!is_cleared || may_be.contains(member), "{member}");
                }
            }
        }
    }
}
