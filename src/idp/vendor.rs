//! What each vendor's identity provider does in its own way, as data: one [`Preset`] for each.
//!
//! A vendor is added by a variant of [`Vendor`], its row in `PRESETS`, and its emulation in the
//! tests. Claims, issuers, token requests and ways to send a pair can be overridden by the
//! configuration, key by key. The texts of IdPs choose a cure to tell the operator, never a
//! verdict.

use url::Url;

use super::AuthMethod;
use crate::token::rules::ScopeReading;

/// Stands in Entra's issuers for the tenant, where one document serves many.
pub const TENANT: &str = "{tenantid}";

/// Stand in the tenant's place of an issuer for many.
pub const MANY_TENANTS: [&str; 2] = ["common", "organizations"];

/// `identity_providers[].vendor`. Default generic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Auth0.
    Auth0,
    /// Microsoft Entra ID, formerly Azure AD.
    Azure,
    /// Curity Identity Server.
    Curity,
    /// Any other: what the RFCs say.
    Generic,
    /// Okta, a custom authorization server.
    Okta,
    /// WSO2 Identity Server and Asgardeo.
    Wso2,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Auth0,
        Self::Azure,
        Self::Curity,
        Self::Generic,
        Self::Okta,
        Self::Wso2,
    ];

    /// What it does in its own way.
    pub const fn preset(self) -> &'static Preset {
        &PRESETS[self as usize]
    }
}

/// One vendor's ways.
#[derive(Debug)]
pub struct Preset {
    /// The word in the configuration.
    pub name: &'static str,
    /// Claims of a JWT that may hold the client id: the first that is present does, and another
    /// one that is present too must not differ.
    pub client_claims: &'static [&'static str],
    /// Claims that hold scopes. Of those that are present all count, or, as
    /// [`Self::scope_reading`] says, the first.
    pub scope_claims: &'static [&'static str],
    /// Which of them count.
    pub scope_reading: ScopeReading,
    /// How the configured issuer and the document's are compared.
    pub issuer: IssuerForm,
    /// How Basic is sent where the metadata lists nothing else: to servers that do not form-decode,
    /// as it stands.
    pub basic: AuthMethod,
    /// How a pair is sent where the metadata lists nothing at all.
    pub unlisted: AuthMethod,
    /// How the gateway's own pair is sent to the introspection endpoint where the metadata does not
    /// list that: in the one way that the vendor documents, or as to the token endpoint.
    pub introspection: Option<AuthMethod>,
    /// How a token request names the API that the token is for.
    pub names_api: NamesApi,
    /// Further form fields of a token request.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Whether tokens are opaque until somebody says otherwise at the IdP.
    pub opaque: Opaque,
    /// The field in which a 429 without `Retry-After` tells, in seconds since 1970, when to come
    /// back.
    pub reset_field: Option<&'static str>,
    /// Answers of the token endpoint that mean something else here than RFC 6749 says.
    pub answers: &'static [Answer],
    /// What an operator can do about an answer of the token endpoint; the first that fits.
    pub advice: &'static [Advice],
    /// What an operator can do about a refusal of ours, by its word for the log.
    pub cures: &'static [(&'static str, &'static str)],
}

/// How the configured issuer and the document's are compared (RFC 8414 section 3.3: byte for byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerForm {
    /// Byte for byte.
    Exact,
    /// One final slash more or less is forgiven: vendors and their users write it either way. The
    /// document's value is then the one that `iss` must be.
    FinalSlash,
    /// As [`Self::FinalSlash`], and a tenant's two documents, v1 and v2, name an issuer each:
    /// which of them stands in a token is decided by the API, not by the endpoint. A document for
    /// many tenants names them by [`TENANT`].
    Tenant,
}

/// How a token request names the API that the token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamesApi {
    /// By `audience`.
    Audience,
    /// Not at all, or by scopes alone.
    ByScope,
    /// By a scope that ends in `/.default` at the v2 endpoint, by `resource` at the v1 one.
    DefaultScope,
}

/// Whether tokens are opaque until somebody says otherwise at the IdP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// A token for an API is a JWT.
    Never,
    /// Nothing is known.
    Perhaps,
    /// Opaque unless the IdP or the client there is set to JWT.
    Usually,
}

/// Whose fault a refusal of the token endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The IdP denies this client the grant.
    GrantRefused,
    /// What the gateway asks for is wrong.
    Misconfigured,
    /// The id or the secret is wrong.
    WrongSecret,
}

/// An answer that means something else here than RFC 6749 says.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `error`.
    pub error: &'static str,
    /// Whose fault it is.
    pub class: Class,
}

/// What an operator can do about an answer of the token endpoint.
#[derive(Debug)]
pub struct Advice {
    /// Its `error`.
    pub error: &'static str,
    /// Stands in its `error_description`; empty fits any.
    pub mentions: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// What a strategy asks the token endpoint for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `token_request.scope`.
    pub scope: Option<&'a str>,
    /// `token_request.audience`.
    pub audience: Option<&'a str>,
    /// `token_request.parameters`.
    pub parameters: &'a [(String, String)],
    /// The strategy's first `audience`: the API that tokens have to be for.
    pub api: Option<&'a str>,
}

/// A form field of a token request.
pub type Field<'a> = (&'a str, std::borrow::Cow<'a, str>);

impl Preset {
    /// The fields of a token request beside the grant type and the client's own.
    pub fn fields<'a>(&'a self, wanted: &Wanted<'a>, token_endpoint: &Url) -> Vec<Field<'a>> {
        let given = |name: &str| wanted.parameters.iter().any(|(given, _)| given == name);
        let (mut scope, mut audience) = (wanted.scope.map(Into::into), wanted.audience);
        let mut fields: Vec<Field<'a>> = Vec::new();
        match self.names_api {
            NamesApi::Audience => audience = audience.or(wanted.api),
            NamesApi::ByScope => {}
            NamesApi::DefaultScope if given("resource") => {}
            NamesApi::DefaultScope if is_v2(token_endpoint) => {
                scope = scope.or_else(|| Some(format!("{}{DEFAULT}", wanted.api?).into()));
            }
            NamesApi::DefaultScope => {
                // That endpoint ignores scopes.
                let named = wanted.scope.and_then(|scope| scope.strip_suffix(DEFAULT));
                let resource = named.or(wanted.api);
                fields.extend(resource.map(|resource| ("resource", resource.into())));
            }
        }
        fields.extend(scope.map(|scope| ("scope", scope)));
        fields.extend(audience.map(|audience| ("audience", audience.into())));
        let own = self.parameters.iter().filter(|(name, _)| !given(name));
        fields.extend(own.map(|(name, value)| (*name, (*value).into())));
        let theirs = wanted.parameters.iter();
        fields.extend(theirs.map(|(name, value)| (&**name, (&**value).into())));
        fields
    }

    /// Whose fault an answer is, where this vendor means something of its own by it.
    pub fn class(&self, status: u16, error: &str) -> Option<Class> {
        let fits = |answer: &&Answer| answer.status == status && answer.error == error;
        self.answers.iter().find(fits).map(|answer| answer.class)
    }

    /// What an operator can do about an answer of the token endpoint.
    pub fn advice(&self, error: &str, description: &str) -> Option<&'static str> {
        let fits =
            |advice: &&Advice| advice.error == error && description.contains(advice.mentions);
        self.advice.iter().find(fits).map(|advice| advice.cure)
    }

    /// What an operator can do about a refusal of ours, by its word for the log.
    pub fn cure(&self, reason: &str) -> Option<&'static str> {
        let fits = |(word, _): &&(&str, &'static str)| *word == reason;
        self.cures.iter().find(fits).map(|(_, cure)| *cure)
    }
}

/// Ends the scope by which Entra is asked for all that a client may do at one API.
pub const DEFAULT: &str = "/.default";
const V1_TOKEN: &str = "/oauth2/token";
const V2_TOKEN: &str = "/oauth2/v2.0/token";

/// Whether a token endpoint of Entra is the second version.
fn is_v2(token_endpoint: &Url) -> bool {
    token_endpoint.path().ends_with(V2_TOKEN)
}

/// Whether an issuer of Entra's is one for many tenants.
pub fn is_for_many_tenants(issuer: &str) -> bool {
    let mut segments = issuer.split('/');
    segments.any(|segment| MANY_TENANTS.contains(&segment))
}

/// Where a tenant's other document lies, v1's for v2 and the other way round: beside the token
/// endpoint that one of them names. For locating alone; the issuer is read there.
pub fn other_document(token_endpoint: &Url) -> Option<Url> {
    let path = token_endpoint.path();
    let (authority, version) = match path.strip_suffix(V2_TOKEN) {
        Some(authority) => (authority, ""),
        None => (path.strip_suffix(V1_TOKEN)?, "/v2.0"),
    };
    let mut document = token_endpoint.clone();
    document.set_query(None);
    document.set_path(&format!(
        "{authority}{version}/.well-known/openid-configuration"
    ));
    Some(document)
}

/// Scopes of OpenID Connect, which say something of a user and nothing of an API.
pub const OPENID_SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
];

const SCOPE: &[&str] = &["scope", "scp"];

/// By `vendor as usize`.
const PRESETS: [Preset; 6] = [
    Preset {
        name: "auth0",
        // The default token profile, and that of RFC 9068.
        client_claims: &["azp", "client_id"],
        scope_claims: SCOPE,
        scope_reading: ScopeReading::Every,
        issuer: IssuerForm::FinalSlash,
        basic: AuthMethod::BasicRaw,
        unlisted: AuthMethod::ClientSecretPost,
        introspection: None,
        names_api: NamesApi::Audience,
        parameters: &[],
        opaque: Opaque::Never,
        reset_field: Some("x-ratelimit-reset"),
        answers: &[Answer {
            status: 403,
            error: "access_denied",
            class: Class::Misconfigured,
        }],
        advice: &[
            // What a 401 says, as it is observed and as it is documented.
            Advice {
                error: "access_denied",
                mentions: "Unauthorized",
                cure: AUTH0_SECRET,
            },
            Advice {
                error: "invalid_client",
                mentions: "",
                cure: AUTH0_SECRET,
            },
            Advice {
                error: "access_denied",
                mentions: "Non-global clients",
                cure: "no audience was asked for: set token_request.audience, or the strategy's \
                       audience, to the identifier of the API at Auth0",
            },
            Advice {
                error: "access_denied",
                mentions: "Service not found",
                cure: "Auth0 has no API with the audience asked for: set token_request.audience, \
                       or the strategy's audience, to the identifier of an API there",
            },
            Advice {
                error: "access_denied",
                mentions: "not authorized to access",
                cure: "the client has no client grant for this audience: authorize the \
                       application for the API at Auth0 (Machine to Machine Applications)",
            },
            Advice {
                error: "access_denied",
                mentions: "not been granted scopes",
                cure: "token_request.scope asks for more than the client grant at Auth0 holds",
            },
            Advice {
                error: "access_denied",
                mentions: "",
                cure: "check the audience asked for and the client grant at Auth0",
            },
            Advice {
                error: "unauthorized_client",
                mentions: "",
                cure: "switch the grant type Client Credentials on for this application at Auth0",
            },
        ],
        cures: &[
            (
                "not_a_jwt",
                "Auth0 gives opaque tokens where no API is asked for: request tokens with \
                 `audience`, the identifier of the API",
            ),
            (
                "audience",
                "audience must be the identifier of the API at Auth0, as in the token request",
            ),
            (
                "algorithm",
                "the API at Auth0 must sign with RS256; tokens signed with HS256 cannot be verified",
            ),
        ],
    },
    Preset {
        name: "azure",
        // v1 tokens have the first, v2 tokens the second.
        client_claims: &["appid", "azp"],
        // A token that a client got for a user has the first, and then the second is the user's.
        scope_claims: &["scp", "roles"],
        scope_reading: ScopeReading::First,
        issuer: IssuerForm::Tenant,
        basic: AuthMethod::ClientSecretBasic,
        unlisted: AuthMethod::ClientSecretPost,
        introspection: None,
        names_api: NamesApi::DefaultScope,
        parameters: &[],
        opaque: Opaque::Never,
        reset_field: None,
        answers: &[
            // AADSTS700016: the tenant has no such application, or not yet.
            Answer {
                status: 400,
                error: "unauthorized_client",
                class: Class::WrongSecret,
            },
            // AADSTS501051: the API asks for an assignment that the client does not have.
            Answer {
                status: 400,
                error: "invalid_grant",
                class: Class::GrantRefused,
            },
        ],
        advice: &[
            Advice {
                error: "invalid_client",
                mentions: "AADSTS7000222",
                cure: "the secret has expired: make a new one at the app registration",
            },
            Advice {
                error: "invalid_client",
                mentions: "AADSTS7000215",
                cure: "send the secret's value, not its id; a new secret takes some seconds to work",
            },
            Advice {
                error: "unauthorized_client",
                // AADSTS700016, AADSTS7000229.
                mentions: "",
                cure: "this tenant has no application with that client id, or does not know it \
                       yet: check the tenant in issuer, and that a service principal exists",
            },
            Advice {
                error: "invalid_scope",
                mentions: "",
                cure: "token_request.scope must name one API and end in /.default, as in \
                       api://APP_ID/.default",
            },
            Advice {
                error: "invalid_resource",
                mentions: "",
                cure: "the tenant has no API with that App ID URI: check audience and \
                       token_request.scope, as in api://APP_ID/.default",
            },
            Advice {
                error: "invalid_grant",
                mentions: "AADSTS501051",
                cure: "assign the client an app role of the API, or switch \"Assignment \
                       required\" off there",
            },
            Advice {
                error: "invalid_request",
                mentions: "AADSTS90100",
                cure: "`resource` is for the v1 token endpoint: at v2 set token_request.scope to \
                       api://APP_ID/.default",
            },
            Advice {
                error: "invalid_request",
                mentions: "AADSTS900144",
                cure: "no API is asked for: set audience, or token_request.scope to \
                       api://APP_ID/.default",
            },
            Advice {
                error: "invalid_request",
                mentions: "AADSTS50059",
                cure: "client credentials need one tenant: set issuer to that tenant's, or \
                       token_endpoint",
            },
            Advice {
                error: "invalid_request",
                mentions: "AADSTS90002",
                cure: "there is no such tenant: check the tenant in issuer",
            },
        ],
        cures: &[
            ("graph_token", GRAPH),
            (
                "not_a_jwt",
                "what Entra gives for an API is a JWT, and nothing else of it can be verified: ask \
                 for a token with scope api://APP_ID/.default",
            ),
            (
                "audience",
                "the token is for another API: audience must list its `aud` (v2: the API's \
                 client id, v1: the App ID URI), and token_request.scope be api://APP_ID/.default",
            ),
            (
                "issuer",
                "the token is of another tenant or version: check the tenant in issuer, and \
                 tenants or extra_issuers",
            ),
            (
                "insufficient_scope",
                "assign the client the app role that scopes_required names: applications get \
                 `roles`, never `scp`",
            ),
        ],
    },
    Preset {
        name: "curity",
        client_claims: &["sub"],
        scope_claims: SCOPE,
        scope_reading: ScopeReading::Every,
        issuer: IssuerForm::Exact,
        basic: AuthMethod::ClientSecretBasic,
        unlisted: AuthMethod::ClientSecretPost,
        introspection: Some(AuthMethod::ClientSecretBasic),
        names_api: NamesApi::ByScope,
        parameters: &[],
        opaque: Opaque::Usually,
        reset_field: None,
        answers: &[],
        advice: &[
            Advice {
                error: "invalid_scope",
                mentions: "",
                cure: "token_request.scope asks for a scope that the client does not have at \
                       Curity: registrations have to name it",
            },
            Advice {
                error: "unauthorized_client",
                mentions: "",
                cure: "switch the client-credentials capability on for this client at Curity",
            },
        ],
        cures: &[
            (
                "no_metadata",
                "Curity exposes no metadata until \"expose metadata\" is set in the token service \
                 profile: set it, or name token_endpoint, jwks_uri and introspection_endpoint",
            ),
            (
                "not_a_jwt",
                "Curity's tokens are opaque: give the identity provider a `client` with the \
                 introspection capability, or switch on \"Use Access Token as JWT\" there",
            ),
            (
                "audience",
                "Curity puts the client id in `aud` unless the client has audiences: set them \
                 there, or list the same values in audience",
            ),
            (
                "client_conflict",
                "the subject is a user, not the client: with a claims mapper that adds client_id \
                 set credential_claim: [client_id]",
            ),
        ],
    },
    Preset {
        name: "generic",
        client_claims: &["client_id"],
        scope_claims: SCOPE,
        scope_reading: ScopeReading::Every,
        issuer: IssuerForm::Exact,
        basic: AuthMethod::ClientSecretBasic,
        // RFC 8414 section 2.
        unlisted: AuthMethod::ClientSecretBasic,
        introspection: None,
        names_api: NamesApi::ByScope,
        parameters: &[],
        opaque: Opaque::Perhaps,
        reset_field: None,
        answers: &[],
        advice: &[],
        cures: &[],
    },
    Preset {
        name: "okta",
        client_claims: &["cid"],
        scope_claims: SCOPE,
        scope_reading: ScopeReading::Every,
        issuer: IssuerForm::Exact,
        basic: AuthMethod::BasicRaw,
        unlisted: AuthMethod::ClientSecretPost,
        introspection: None,
        names_api: NamesApi::ByScope,
        parameters: &[],
        opaque: Opaque::Never,
        reset_field: Some("x-rate-limit-reset"),
        answers: &[],
        advice: &[
            Advice {
                error: "invalid_scope",
                mentions: "",
                cure: "set token_request.scope to a custom scope of this authorization server: \
                       OpenID scopes such as openid cannot be asked for with client credentials",
            },
            Advice {
                error: "access_denied",
                mentions: "",
                cure: "no access policy of the authorization server covers this client: assign \
                       one to all clients, with a rule for Client Credentials and the scope",
            },
            Advice {
                error: "unauthorized_client",
                mentions: "",
                cure: "switch the grant type Client Credentials on for this application at Okta",
            },
        ],
        cures: &[
            (
                "not_a_jwt",
                "a custom authorization server gives JWTs: send one of those, or give the identity \
                 provider a `client` for introspection",
            ),
            ("issuer", ORG),
            (
                "unknown_key",
                "no key of this authorization server signed the token: it is from before a \
                 rotation, or of Okta's org authorization server, whose tokens nobody else can \
                 verify: use a custom one, as in https://ORG/oauth2/default",
            ),
            (
                "audience",
                "audience must be that of the authorization server at Okta, as in api://default",
            ),
        ],
    },
    Preset {
        name: "wso2",
        client_claims: &["client_id"],
        scope_claims: SCOPE,
        scope_reading: ScopeReading::Every,
        issuer: IssuerForm::Exact,
        basic: AuthMethod::BasicRaw,
        unlisted: AuthMethod::ClientSecretPost,
        introspection: Some(AuthMethod::BasicRaw),
        names_api: NamesApi::ByScope,
        // What a registration says too; the token endpoint of a server that does not read it
        // ignores it (RFC 6749 section 3.2).
        parameters: &[("ext_token_type", "JWT")],
        opaque: Opaque::Usually,
        reset_field: None,
        answers: &[],
        advice: &[Advice {
            error: "unauthorized_client",
            mentions: "",
            cure: "allow the grant type Client Credentials for this application at WSO2",
        }],
        cures: &[
            (
                "no_metadata",
                "WSO2's issuer is its token endpoint: https://HOST:9443/oauth2/token, or of a \
                 tenant https://HOST:9443/t/TENANT/oauth2/token",
            ),
            (
                "not_a_jwt",
                "the application's tokens are opaque: set its token type to JWT (ext_token_type \
                 at registration), or give the identity provider a `client` for introspection",
            ),
            (
                "insufficient_scope",
                "WSO2 grants only scopes that are asked for: set token_request.scope, and let the \
                 application have the scope",
            ),
            (
                "audience",
                "WSO2 puts the client id in `aud` unless the application has audiences: set them \
                 there, or leave audience out",
            ),
        ],
    },
];

/// Said where Auth0 refuses a pair.
const AUTH0_SECRET: &str = "the id or the secret is wrong; after a rotation Auth0 may take up to 30 s \
                            to know the new secret";

/// Said of a token for Microsoft Graph, and of a configuration that asks for one.
pub const GRAPH: &str = "a token for Microsoft Graph can be verified by nobody else: register the \
                         API as an application and ask for api://APP_ID/.default";

/// Said of tokens of Okta's org authorization server, and of a configuration that names it.
pub const ORG: &str = "tokens of Okta's org authorization server cannot be verified by others: use \
                       a custom one, as in https://ORG/oauth2/default";

#[cfg(test)]
mod tests;
