//! Microsoft Entra ID: two versions of everything, of which the API chooses the token's; issuers
//! with another host than the documents; keys that name their issuer and not their algorithm.

mod faithful;
pub(crate) mod graph;
mod tests;

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::emulation::{Account, Client, Decoding, Presented, Vendor, certified, random};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    keys::{Alg, Key},
    now,
    token::Token,
};
use graph::Graph;

/// The App ID URI of the API.
pub(crate) const API: &str = "api://orders";
/// Microsoft Graph, as it is asked for and as its tokens name it.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";
/// The tenant of private Microsoft accounts, whose keys stand beside those of `common`.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// What v1 tokens are for where nothing was asked for: the old directory API.
const DIRECTORY: &str = "00000002-0000-0000-c000-000000000000";
/// Stands in the documents and keys of `common` and `organizations`.
const TENANT: &str = "{tenantid}";

/// A tenant whose API takes tokens of this version, and that is configured by the document of it.
pub(crate) struct Azure<const VERSION: u8> {
    /// Stands for `https://login.microsoftonline.com`.
    pub(super) login: String,
    /// Stands for `https://sts.windows.net`: another host, the same documents of v1.
    pub(super) sts: String,
    pub(crate) tenant: String,
    /// The client id of the API's own registration.
    pub(super) api: String,
    /// `requestedAccessTokenVersion` of the API: it decides, not the endpoint.
    pub(super) version: u8,
    /// What the v2 keys of a tenant name as their issuer.
    pub(super) key_issuer: KeyIssuer,
    /// The key of private Microsoft accounts.
    consumers: Key,
    /// Whether the documents of v1 are out of order.
    pub(super) lacks_v1: bool,
    /// Microsoft Graph, at `/v1.0` of the same host as the token endpoints.
    pub(crate) graph: Graph,
}

/// The client by which the gateway manages applications.
pub(crate) const ADMINISTRATOR: (&str, &str) =
    ("0d5e6b1c-7a2f-4f0e-9c3d-51b7a8e6f402", "Adm8Q~in.x_y-@+:z");

/// What the v2 keys of a tenant name as their issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyIssuer {
    /// The tenant's own v2 issuer.
    Tenant,
    /// The one with the place for a tenant in it.
    Template,
}

impl<const VERSION: u8> Vendor for Azure<VERSION> {
    const NAME: &'static str = "azure";
    const READ: &'static str = "Orders.Read";
    const WRITE: &'static str = "Orders.Write";
    const SECRETS_EXPIRE: bool = true;

    fn at(base: &str) -> Self {
        Self {
            login: base.to_owned(),
            sts: base.replace("127.0.0.1", "localhost"),
            tenant: guid(),
            api: guid(),
            version: VERSION,
            key_issuer: KeyIssuer::Template,
            consumers: named_by_certificate(),
            lacks_v1: false,
            graph: Graph::new(),
        }
    }

    fn client_id(&self) -> String {
        guid()
    }

    fn issuer(&self) -> String {
        self.issuer_of(VERSION, &self.tenant)
    }

    fn strategy(&self) -> Value {
        json!({"audience": [API, self.api]})
    }

    fn key(&self) -> Key {
        named_by_certificate()
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        let (first, rest) = request.path().trim_start_matches('/').split_once('/')?;
        match rest {
            _ if first == "v1.0" => Some(Endpoint::Registration),
            ".well-known/openid-configuration" => Some(Endpoint::Discovery),
            _ if self.is_sts(request) => None,
            "v2.0/.well-known/openid-configuration" => Some(Endpoint::Discovery),
            "discovery/keys" | "discovery/v2.0/keys" => Some(Endpoint::Jwks),
            "oauth2/token" | "oauth2/v2.0/token" => Some(Endpoint::Token),
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        let path = request.path().trim_start_matches('/').to_owned();
        let (tenant, rest) = path.split_once('/').unwrap_or((&path, ""));
        let version = if rest.contains("v2.0") { 2 } else { 1 };
        let many = matches!(tenant, "common" | "organizations");
        if !many && tenant != self.tenant {
            let text = format!(
                "AADSTS90002: Tenant '{tenant}' not found. Check to make sure you have the \
                 correct tenant ID and are signing into the correct cloud."
            );
            return refuse(400, "invalid_request", 90_002, &text);
        }
        match endpoint {
            Endpoint::Discovery if version == 1 && self.lacks_v1 => Answer::new(503, ""),
            Endpoint::Discovery if many => cached(self.document(version, tenant, TENANT)),
            Endpoint::Discovery => cached(self.document(version, tenant, tenant)),
            Endpoint::Jwks => cached(self.keys(account, version, tenant)),
            _ if many => {
                let text = "AADSTS50059: No tenant-identifying information found in either the \
                            request or implied by any provided credentials.";
                refuse(400, "invalid_request", 50_059, text)
            }
            _ => self.grant(account, version, request),
        }
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        let base = format!("{}/v1.0", self.login);
        self.graph.answer(&base, account, request)
    }

    fn nothing_here(&self, _request: &Request) -> Answer {
        Answer::new(404, "").header("Cache-Control", "private")
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let roles = &account.clients[client_id].scopes;
        let audience = if self.version == 1 { API } else { &self.api };
        self.mint(account, self.version, client_id, audience, roles)
    }

    /// There is no such thing for an API; users bring tokens of their own making.
    fn opaque(&self, _account: &mut Account, _client_id: &str) -> String {
        random(43)
    }
}

impl<const VERSION: u8> Azure<VERSION> {
    /// Makes [`ADMINISTRATOR`] known, with one of Graph's permissions.
    pub(crate) fn appoint(&self, account: &mut Account, permission: &str) {
        let client = Client::new(ADMINISTRATOR.1, permission);
        account.clients.insert(ADMINISTRATOR.0.to_owned(), client);
    }

    /// A tenant's issuer.
    pub(super) fn issuer_of(&self, version: u8, tenant: &str) -> String {
        match version {
            1 => format!("{}/{tenant}/", self.sts),
            _ => format!("{}/{tenant}/v2.0", self.login),
        }
    }

    /// A token of either version, for whatever audience. Its tenant is this one.
    pub(super) fn mint(
        &self,
        account: &Account,
        version: u8,
        client_id: &str,
        audience: &str,
        roles: &[String],
    ) -> Token {
        let (key, now) = (account.key(), now());
        let mut header = json!({"typ": "JWT", "alg": "RS256", "kid": key.kid});
        let object = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, client_id.as_bytes());
        let (issuer, object) = (self.issuer_of(version, &self.tenant), object.to_string());
        let mut claims = json!({
            "aud": audience, "iss": issuer, "iat": now, "nbf": now, "exp": now + 3_900,
            "aio": random(40), "oid": object, "rh": format!("1.{}", random(40)), "sub": object,
            "tid": self.tenant, "uti": random(22), "ver": format!("{version}.0"),
        });
        if !roles.is_empty() {
            claims["roles"] = json!(roles);
        }
        if version == 1 {
            header["x5t"] = json!(key.kid);
            claims["appid"] = json!(client_id);
            claims["appidacr"] = json!("1");
            claims["idp"] = json!(issuer);
            claims["idtyp"] = json!("app");
        } else {
            claims["azp"] = json!(client_id);
            claims["azpacr"] = json!("1");
        }
        Token::of(key, header, claims)
    }

    /// A token for Microsoft Graph: what is signed is a header with a digest in the place of the
    /// `nonce` that the token shows.
    pub(super) fn graph_token(&self, account: &Account, client_id: &str) -> String {
        let token = self
            .mint(account, 1, client_id, GRAPH, &[])
            .claim("app_displayname", "Trip Planner");
        let nonce = random(43);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, nonce.as_bytes());
        let hidden = BASE64_URL_SAFE_NO_PAD.encode(digest);
        let signed = token.clone().header("nonce", hidden).build();
        let shown = token.header("nonce", nonce).signing_input();
        let (_, signature) = signed.rsplit_once('.').unwrap();
        format!("{shown}.{signature}")
    }

    fn is_sts(&self, request: &Request) -> bool {
        self.sts
            .ends_with(request.header("host").unwrap_or_default())
    }

    /// Either document. That of v1 names another host in `issuer`, and the keys of all tenants.
    fn document(&self, version: u8, tenant: &str, named: &str) -> Answer {
        let login = &self.login;
        let base = format!("{login}/{tenant}");
        let mut document = json!({
            "issuer": self.issuer_of(version, named),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported":
                ["code", "id_token", "code id_token", "token id_token", "token"],
            "subject_types_supported": ["pairwise"],
            "tenant_region_scope": if named == TENANT { Value::Null } else { json!("EU") },
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        });
        if version == 1 {
            document["token_endpoint"] = json!(format!("{base}/oauth2/token"));
            document["jwks_uri"] = json!(format!("{login}/common/discovery/keys"));
        } else {
            document["token_endpoint"] = json!(format!("{base}/oauth2/v2.0/token"));
            document["jwks_uri"] = json!(format!("{base}/discovery/v2.0/keys"));
            document["request_uri_parameter_supported"] = json!(false);
            document["userinfo_endpoint"] = json!(format!("{GRAPH}/oidc/userinfo"));
            document["kerberos_endpoint"] = json!(format!("{base}/kerberos"));
            document["rbac_url"] = json!("https://pas.windows.net");
        }
        Answer::json(200, &document)
    }

    /// Keys without `alg`; on the v2 endpoint each names its issuer.
    fn keys(&self, account: &Account, version: u8, tenant: &str) -> Answer {
        let many = matches!(tenant, "common" | "organizations");
        let entry = |key: &Key, issuer: String| {
            let mut jwk = certified(key);
            jwk.as_object_mut().unwrap().remove("alg");
            jwk["x5t"] = json!(key.kid);
            if version == 2 {
                jwk["issuer"] = json!(issuer);
            }
            jwk
        };
        let named = match self.key_issuer {
            KeyIssuer::Tenant if !many => tenant,
            KeyIssuer::Tenant | KeyIssuer::Template => TENANT,
        };
        let mut keys = Vec::new();
        if many {
            keys.push(entry(&self.consumers, self.issuer_of(2, CONSUMERS)));
        }
        let own = account.keys.iter().rev();
        keys.extend(own.map(|key| entry(key, self.issuer_of(2, named))));
        Answer::json(200, &json!({"keys": keys}))
    }

    /// `POST /TENANT/oauth2/token` and `POST /TENANT/oauth2/v2.0/token`.
    fn grant(&mut self, account: &Account, version: u8, request: &Request) -> Answer {
        if request.method != "POST" {
            let text = format!(
                "AADSTS900561: The endpoint only accepts POST, OPTIONS requests. Received a {} \
                 request.",
                request.method
            );
            return refuse(400, "invalid_request", 900_561, &text);
        }
        let id = match self.authenticate(account, request) {
            Ok(id) => id,
            Err(refusal) => return refusal,
        };
        let client = &account.clients[&id];
        let grant_type = request.field("grant_type").unwrap_or_default();
        if !client.grant_types.contains(&grant_type) {
            let text = "AADSTS70003: The app requested an unsupported grant type.";
            return refuse(400, "unsupported_grant_type", 70_003, text);
        }
        let resource = match asked_for(version, request) {
            Ok(resource) => resource,
            Err(refusal) => return refusal,
        };
        let token = match resource.as_deref() {
            None => self.mint(account, 1, &id, DIRECTORY, &[]).build(),
            Some(resource) if resource == GRAPH || resource == self.login => {
                let token = self.graph_token(account, &id);
                self.graph.keep(token.clone(), &id);
                token
            }
            Some(known) if known == API || known == self.api || known == self.api_by_id() => {
                if !client.granted {
                    let text = format!(
                        "AADSTS501051: Application '{id}' is not assigned to a role for the \
                         application '{API}'(Orders)."
                    );
                    return refuse(400, "invalid_grant", 501_051, &text);
                }
                // v1 tokens repeat what was asked for, v2 tokens never do.
                let audience = if self.version == 1 { known } else { &self.api };
                self.mint(account, self.version, &id, audience, &client.scopes)
                    .build()
            }
            Some(unknown) => {
                let text = format!(
                    "AADSTS500011: The resource principal named {unknown} was not found in the \
                     tenant named Orders Ltd. This can happen if the application has not been \
                     installed by the administrator of the tenant or consented to by any user in \
                     the tenant."
                );
                return refuse(400, "invalid_resource", 500_011, &text);
            }
        };
        let body = if version == 1 {
            // Every number is a text.
            json!({
                "token_type": "Bearer", "expires_in": "3599", "ext_expires_in": "3599",
                "expires_on": (now() + 3_599).to_string(), "not_before": (now() - 300).to_string(),
                "resource": resource.as_deref().unwrap_or(DIRECTORY), "access_token": token,
            })
        } else {
            json!({
                "token_type": "Bearer", "expires_in": 3_599, "ext_expires_in": 3_599,
                "access_token": token,
            })
        };
        Answer::json(200, &body)
            .header("Cache-Control", "no-store, no-cache")
            .header("Pragma", "no-cache")
    }

    /// The App ID URI that an API gets where nobody chooses another.
    fn api_by_id(&self) -> String {
        format!("api://{}", self.api)
    }

    /// Who asks, or what is said to who does not prove it.
    fn authenticate(&mut self, account: &Account, request: &Request) -> Result<String, Answer> {
        let (id, secret) = match account.presented(request, Decoding::Form) {
            Presented::Pair(id, secret) => (id, secret),
            Presented::IdAlone(_) => {
                let text = "AADSTS7000218: The request body must contain the following parameter: \
                            'client_assertion' or 'client_secret'.";
                return Err(refuse(401, "invalid_client", 7_000_218, text));
            }
            Presented::Nothing => {
                let text = "AADSTS900144: The request body must contain the following parameter: \
                            'client_id'.";
                return Err(refuse(400, "invalid_request", 900_144, text));
            }
            Presented::Both => {
                let text = "AADSTS7000216: 'client_assertion', 'client_secret' or 'request' is \
                            required for the 'client_credentials' grant type.";
                return Err(refuse(400, "invalid_request", 7_000_216, text));
            }
        };
        let Some(client) = account.clients.get(&id) else {
            let text = format!(
                "AADSTS700016: Application with identifier '{id}' was not found in the directory \
                 'Orders Ltd'. This can happen if the application has not been installed by the \
                 administrator of the tenant or consented to by any user in the tenant."
            );
            return Err(refuse(400, "unauthorized_client", 700_016, &text));
        };
        if client.knows(&secret) {
            return match self.graph.refuses(&id, &secret) {
                None => Ok(id),
                Some((status, error, code)) => {
                    let text = format!("AADSTS{code}: The application or its secret is not known.");
                    Err(refuse(status, error, code, &text))
                }
            };
        }
        let expired = client.expired.contains(&secret);
        let (code, text) = if expired {
            (
                7_000_222,
                "The provided client secret keys for app are expired.",
            )
        } else {
            let text = "Invalid client secret provided. Ensure the secret being sent in the \
                        request is the client secret value, not the client secret ID.";
            (7_000_215, text)
        };
        let text = format!("AADSTS{code}: {text}");
        Err(refuse(401, "invalid_client", code, &text))
    }
}

/// Which API a token request names; `None` where a v1 request names none.
fn asked_for(version: u8, request: &Request) -> Result<Option<String>, Answer> {
    let (resource, scope) = (request.field("resource"), request.field("scope"));
    if version == 1 {
        // Scopes are not read.
        return Ok(resource);
    }
    if resource.is_some() {
        let text = "AADSTS901002: The 'resource' request parameter is not supported.";
        let text = format!("AADSTS90100: Invalid request parameter. {text}");
        return Err(refuse(400, "invalid_request", 90_100, &text));
    }
    let Some(scope) = scope else {
        let text = "AADSTS900144: The request body must contain the following parameter: 'scope'.";
        return Err(refuse(400, "invalid_request", 900_144, text));
    };
    match scope.strip_suffix("/.default") {
        Some(resource) if !scope.contains(' ') => Ok(Some(resource.to_owned())),
        Some(_) => {
            let text = format!(
                "AADSTS70011: The provided request must include a 'scope' input parameter. The \
                 provided value for the input parameter 'scope' is not valid. The scope {scope} \
                 is not valid. .default scope can't be combined with resource-specific scopes."
            );
            Err(refuse(400, "invalid_scope", 70_011, &text))
        }
        None => {
            let text = format!(
                "AADSTS1002012: The provided value for scope {scope} is not valid. Client \
                 credential flows must have a scope value with /.default suffixed to the resource \
                 identifier (application ID URI)."
            );
            Err(refuse(400, "invalid_scope", 1_002_012, &text))
        }
    }
}

/// Every error of Entra's: a code, and lines to trace it by in the description.
pub(super) fn refuse(status: u16, error: &str, code: u32, text: &str) -> Answer {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now().unsigned_abs());
    let time = humantime::format_rfc3339_seconds(at)
        .to_string()
        .replace('T', " ");
    let (trace, correlation) = (guid(), guid());
    let description = format!(
        "{text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {time}"
    );
    let body = json!({
        "error": error, "error_description": description, "error_codes": [code],
        "timestamp": time, "trace_id": trace, "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    Answer::json(status, &body).header("Cache-Control", "no-store, no-cache")
}

/// What a tenant that is asked too often says.
pub(super) fn too_many(retry_after: u32) -> Answer {
    let text = "AADSTS90055: The server terminated the request because there are too many.";
    refuse(429, "temporarily_unavailable", 90_055, text)
        .header("Retry-After", &retry_after.to_string())
}

fn cached(answer: Answer) -> Answer {
    answer.header("Cache-Control", "max-age=86400, private")
}

/// A key whose `kid` is the thumbprint of its certificate.
fn named_by_certificate() -> Key {
    let key = Key::new(Alg::Rs256);
    let jwk = certified(&key);
    key.named(jwk["x5t"].as_str().unwrap())
}

fn guid() -> String {
    uuid::Uuid::new_v4().to_string()
}
