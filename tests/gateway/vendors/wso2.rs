//! WSO2 Identity Server: its issuer is its token endpoint, its certificate its own, and its key set
//! names each key once for every algorithm.

mod faithful;
pub(crate) mod management;
mod tests;

use std::{cell::RefCell, collections::HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{
    emulation::{Account, Client, Decoding, Presented, Vendor, random},
    site::OWN_SECRET,
};
use crate::harness::{
    certificates::Pair,
    http1::{Answer, Request},
    idp::Endpoint,
    keys::{Alg, Key},
    now,
    token::Token,
};
use management::{APPLICATIONS, Management, REGISTER};

const HOST: &str = "localhost";
/// An application that may introspect.
const OWN: &str = "OwnApplicationOfTheGateway00";
/// Life of access tokens in seconds.
const LIFE: i64 = 3_600;

/// A server, or one tenant of it.
pub(crate) struct Wso2 {
    base: String,
    /// The tenant that is spoken to; none is `carbon.super`, which has no prefix.
    pub(crate) tenant: Option<&'static str>,
    /// What applications' token type is where a request does not say it.
    pub(super) tokens: Format,
    /// Whether the token endpoint reads `ext_token_type`.
    pub(super) reads_token_type: bool,
    /// Audiences beside the client itself.
    pub(super) audiences: Vec<&'static str>,
    /// Ways of sending a secret to the token endpoint, as the metadata lists them.
    pub(super) lists: Vec<String>,
    /// Whether JWTs have their scopes as a list.
    pub(super) scopes: Scopes,
    /// Who is the subject of an application's token.
    pub(super) subject: Subject,
    /// The certificates of the keystore, by the thumbprint that their keys are named by.
    keystore: RefCell<HashMap<String, Vec<u8>>>,
    /// Keys of the keystore that sign nothing.
    pub(super) others: Vec<Key>,
    /// Registration.
    pub(crate) management: Management,
    /// Whether the metadata names where that is.
    pub(crate) tells_registration: bool,
}

/// What access tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jwt,
    Opaque,
}

/// How a JWT holds its scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scopes {
    List,
    Text,
}

/// Who is the subject of an application's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Client,
    /// Its owner, as in older releases.
    Owner,
}

impl Vendor for Wso2 {
    const NAME: &'static str = "wso2";
    const READ: &'static str = "orders";
    const WRITE: &'static str = "orders_write";

    fn host() -> (&'static str, Option<Pair>) {
        (HOST, Some(Pair::self_signed(HOST)))
    }

    fn at(base: &str) -> Self {
        let mut vendor = Self {
            base: base.to_owned(),
            tenant: None,
            tokens: Format::Opaque,
            reads_token_type: true,
            audiences: Vec::new(),
            lists: ["client_secret_basic", "client_secret_post"]
                .map(str::to_owned)
                .into(),
            scopes: Scopes::Text,
            subject: Subject::Client,
            keystore: RefCell::default(),
            others: Vec::new(),
            management: Management::default(),
            tells_registration: true,
        };
        vendor.others = vec![vendor.entry(Alg::Rs256), vendor.entry(Alg::Es256)];
        vendor
    }

    fn client_id(&self) -> String {
        random(28)
    }

    fn issuer(&self) -> String {
        format!("{}/oauth2/token", self.root())
    }

    fn identity_provider(&self, account: &mut Account) -> Value {
        let own = Client::new(OWN_SECRET, "");
        account.clients.insert(OWN.to_owned(), own);
        json!({
            "client": {"id": OWN, "secret": {"file": "secrets/own"}},
            "ca_file": "wso2.pem",
        })
    }

    fn files(&self, account: &Account) -> Vec<(String, String)> {
        let certificate = account.certificate.clone().unwrap();
        vec![("wso2.pem".to_owned(), certificate)]
    }

    /// A client is its own audience, so there is none to ask for; scopes have to be asked for.
    fn strategy(&self) -> Value {
        json!({"scopes_required": [Self::READ], "token_request": {"scope": Self::READ}})
    }

    fn key(&self) -> Key {
        self.entry(Alg::Rs256)
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        if request.path() == "/.well-known/webfinger" {
            return Some(Endpoint::Discovery);
        }
        let path = match self.tenant {
            Some(tenant) => request.path().strip_prefix(&format!("/t/{tenant}"))?,
            None => request.path(),
        };
        if path.contains("/.well-known/") {
            let (service, document) = path.strip_prefix("/oauth2/")?.split_once("/.well-known/")?;
            return match (service, document) {
                ("token" | "oidcdiscovery", "openid-configuration")
                | ("token", "oauth-authorization-server") => Some(Endpoint::Discovery),
                _ => None,
            };
        }
        match path {
            "/oauth2/introspect" => Some(Endpoint::Introspection),
            "/oauth2/jwks" => Some(Endpoint::Jwks),
            "/oauth2/token" => Some(Endpoint::Token),
            path if path.starts_with(REGISTER) || path.starts_with(APPLICATIONS) => {
                Some(Endpoint::Registration)
            }
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        match endpoint {
            Endpoint::Discovery if request.path() == "/.well-known/webfinger" => {
                self.webfinger(request)
            }
            Endpoint::Discovery => Answer::json(200, &self.document()),
            Endpoint::Introspection => introspect(account, request),
            Endpoint::Jwks => Answer::json(200, &json!({"keys": self.key_set(account)})),
            _ => self.grant(account, request),
        }
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        let tenant = self.tenant.map(|tenant| format!("/t/{tenant}"));
        let prefix = tenant.as_deref().unwrap_or_default();
        let path = request.path().strip_prefix(prefix).unwrap_or_default();
        self.management.answer(account, path, request)
    }

    fn nothing_here(&self, request: &Request) -> Answer {
        if request.path().contains("/oauth2/") && request.path().contains("/.well-known/") {
            return Answer::new(400, "Invalid OIDC discovery service.")
                .header("Content-Type", "text/plain");
        }
        Answer::new(404, "")
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let scopes = account.clients[client_id].scopes.clone();
        self.mint(account, client_id, &scopes.join(" "))
    }

    fn opaque(&self, account: &mut Account, client_id: &str) -> String {
        let scope = account.clients[client_id].scopes.join(" ");
        reference(account, client_id, &scope)
    }
}

impl Wso2 {
    /// Where the server, or the tenant, begins.
    fn root(&self) -> String {
        match self.tenant {
            Some(tenant) => format!("{}/t/{tenant}", self.base),
            None => self.base.clone(),
        }
    }

    /// A key of the keystore, named by its certificate's thumbprint and its algorithm. The
    /// thumbprint is the base64 of its digits, not of its bytes.
    fn entry(&self, alg: Alg) -> Key {
        let key = Key::new(alg);
        let certificate = key.certificate();
        let digits = hex(digest(&SHA256, &certificate).as_ref());
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digits);
        let named = key.named(&format!("{thumbprint}_{}", alg.name()));
        self.keystore.borrow_mut().insert(thumbprint, certificate);
        named
    }

    /// Each key of the keystore, once for each algorithm that is configured for its kind, and once
    /// more as older releases name it.
    fn key_set(&self, account: &Account) -> Vec<Value> {
        let mut entries = Vec::new();
        for key in account.keys.iter().chain(&self.others) {
            let thumbprint = thumbprint(key);
            let algorithms: &[Alg] = match key.alg {
                Alg::Rs256 => &[Alg::Ps256, Alg::Rs512, Alg::Rs256],
                _ => &[Alg::Es256],
            };
            let mut publish = |kid: &str, alg: Alg| {
                let mut named = key.named(kid);
                named.alg = alg;
                let mut jwk = named.jwk();
                let certificate = &self.keystore.borrow()[thumbprint];
                jwk["x5c"] = json!([BASE64_STANDARD.encode(certificate)]);
                jwk["x5t#S256"] = json!(thumbprint);
                jwk["x5t"] = json!(thumbprint);
                entries.push(jwk);
            };
            for alg in algorithms {
                publish(&format!("{thumbprint}_{}", alg.name()), *alg);
            }
            publish(thumbprint, key.alg);
        }
        entries
    }

    fn mint(&self, account: &Account, client_id: &str, scope: &str) -> Token {
        let (key, now) = (account.key(), now());
        let header = json!({
            "x5t": thumbprint(&key), "kid": key.kid, "typ": "at+jwt", "alg": key.alg.name(),
        });
        let subject = match self.subject {
            Subject::Client => client_id,
            Subject::Owner => "admin@carbon.super",
        };
        let scope = match self.scopes {
            Scopes::List => json!(scope.split(' ').collect::<Vec<_>>()),
            Scopes::Text => json!(scope),
        };
        let mut audience = vec![client_id];
        audience.extend(&self.audiences);
        let audience = match audience[..] {
            [only] => json!(only),
            _ => json!(audience),
        };
        let tenant = self.tenant.unwrap_or("carbon.super");
        let claims = json!({
            "sub": subject, "aut": "APPLICATION", "iss": self.issuer(), "client_id": client_id,
            "azp": client_id, "aud": audience, "nbf": now, "iat": now, "exp": now + LIFE,
            "scope": scope, "jti": uuid::Uuid::new_v4().to_string(),
            "realm": {"signing_tenant": tenant},
        });
        Token::of(key, header, claims)
    }

    /// `POST /oauth2/token`.
    fn grant(&self, account: &mut Account, request: &Request) -> Answer {
        if request.method != "POST" {
            return Answer::new(405, "");
        }
        let (id, secret) = match account.presented(request, Decoding::Raw) {
            Presented::Pair(id, secret) => (id, secret),
            Presented::Both => {
                let text = "The client MUST NOT use more than one authentication method in each";
                return refuse(400, "invalid_request", text);
            }
            Presented::IdAlone(_) | Presented::Nothing => return unauthenticated(),
        };
        let client = account.clients.get(&id);
        let Some(client) = client.filter(|client| client.knows(&secret)) else {
            return unauthenticated();
        };
        let grant_type = request.field("grant_type").unwrap_or_default();
        if !client.granted || !client.grant_types.contains(&grant_type) {
            let text = "The authenticated client is not authorized to use this authorization grant \
                        type";
            return refuse(400, "unauthorized_client", text);
        }
        let asked = request.field("scope").unwrap_or_default();
        let granted: Vec<&str> = asked
            .split_ascii_whitespace()
            .filter(|word| client.scopes.iter().any(|scope| scope == word))
            .collect();
        let scope = if granted.is_empty() {
            "default".to_owned()
        } else {
            granted.join(" ")
        };
        let asks_for_jwt =
            self.reads_token_type && request.field("ext_token_type").as_deref() == Some("JWT");
        let is_jwt = self.management.is_jwt(&id);
        let is_jwt = is_jwt.unwrap_or(asks_for_jwt || self.tokens == Format::Jwt);
        let token = if is_jwt {
            self.mint(account, &id, &scope).build()
        } else {
            reference(account, &id, &scope)
        };
        let body = json!({
            "access_token": token, "scope": scope, "token_type": "Bearer", "expires_in": LIFE,
        });
        Answer::json(200, &body)
            .header("Cache-Control", "no-store")
            .header("Pragma", "no-cache")
    }

    fn document(&self) -> Value {
        let root = self.root();
        let register = format!("{root}{REGISTER}");
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{root}/oauth2/authorize"),
            "token_endpoint": format!("{root}/oauth2/token"),
            "jwks_uri": format!("{root}/oauth2/jwks"),
            "introspection_endpoint": format!("{root}/oauth2/introspect"),
            "revocation_endpoint": format!("{root}/oauth2/revoke"),
            "registration_endpoint": self.tells_registration.then_some(register),
            "webfinger_endpoint": format!("{}/.well-known/webfinger", self.base),
            "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
            "subject_types_supported": ["public", "pairwise"],
            "token_endpoint_auth_methods_supported": self.lists,
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }
}

/// An opaque token, with what introspection tells of it: no issuer and no audience.
pub(super) fn reference(account: &mut Account, client_id: &str, scope: &str) -> String {
    let now = now();
    let facts = json!({
        "active": true, "nbf": now, "scope": scope, "token_type": "Bearer",
        "client_id": client_id, "iat": now, "exp": now + LIFE, "aut": "APPLICATION",
    });
    account.keep(uuid::Uuid::new_v4().to_string(), facts)
}

/// `POST /oauth2/introspect`, by Basic of an application.
fn introspect(account: &Account, request: &Request) -> Answer {
    if request.header("authorization").is_none() {
        return unauthenticated();
    }
    let Presented::Pair(id, secret) = account.presented(request, Decoding::Raw) else {
        return unauthenticated();
    };
    if (id.as_str(), secret.as_str()) != (OWN, OWN_SECRET) {
        return unauthenticated();
    }
    let token = request.field("token").unwrap_or_default();
    if token.trim().is_empty() {
        return Answer::json(400, &json!({"error": "Invalid input"}));
    }
    let inactive = json!({"active": false});
    Answer::json(200, account.opaque.get(&token).unwrap_or(&inactive))
}

/// What a key of the keystore is named by, without its algorithm.
fn thumbprint(key: &Key) -> &str {
    key.kid.rsplit_once('_').unwrap().0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unauthenticated() -> Answer {
    refuse(401, "invalid_client", "Client Authentication failed.")
        .header("WWW-Authenticate", &format!("Basic realm={HOST}"))
}

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error_description": description, "error": error}),
    )
}
