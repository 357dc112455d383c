//! Curity Identity Server: its issuer is its anonymous endpoint, tokens are opaque until somebody
//! switches them to JWTs, and those name the client in `sub` alone.

mod faithful;
pub(crate) mod registration;
mod tests;

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    emulation::{Account, Client, Decoding, Presented, Vendor, certified, random},
    site::OWN_SECRET,
};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    keys::{Alg, Key},
    now,
    token::Token,
};
use registration::{Registry, is_for_management};

/// The anonymous endpoint, and so the issuer, as the setup wizard names it.
const ANONYMOUS: &str = "/oauth/v2/oauth-anonymous";
const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// The client with the introspection capability.
const OWN: &str = "gateway-client";
/// Life of access tokens in seconds, as in the product's examples.
const LIFE: i64 = 900;

/// A token service profile.
pub(crate) struct Curity {
    base: String,
    /// Whether "Use Access Token as JWT" is switched on.
    pub(super) tokens: Format,
    /// Whether metadata is exposed; it is not until somebody says so.
    pub(super) exposed: bool,
    /// The audiences of clients; by default a client is its own.
    pub(super) audience: Value,
    /// Ways of sending a secret to the token endpoint, as the metadata lists them.
    pub(super) lists: Vec<String>,
    /// What introspection says of a token that is not active.
    pub(super) inactive: Inactive,
    /// Ids of clients with the introspection capability.
    introspectors: HashSet<String>,
    /// Dynamic client registration.
    pub(crate) registry: Registry,
}

/// What access tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jwt,
    Opaque,
}

/// How an inactive token is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inactive {
    /// 204 without a body, as to those who ask for `application/jwt`.
    NoContent,
    /// As RFC 7662 wants it.
    Told,
}

impl Vendor for Curity {
    const NAME: &'static str = "curity";
    const READ: &'static str = "orders";
    const WRITE: &'static str = "orders:write";

    fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            tokens: Format::Jwt,
            exposed: true,
            audience: Value::Null,
            lists: ["client_secret_basic", "client_secret_post"]
                .map(str::to_owned)
                .into(),
            inactive: Inactive::Told,
            introspectors: HashSet::from([OWN.to_owned()]),
            registry: Registry::default(),
        }
    }

    fn client_id(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn issuer(&self) -> String {
        format!("{}{ANONYMOUS}", self.base)
    }

    fn identity_provider(&self, account: &mut Account) -> Value {
        let own = Client::new(OWN_SECRET, "");
        account.clients.insert(OWN.to_owned(), own);
        json!({"client": {"id": OWN, "secret": {"file": "secrets/own"}}})
    }

    /// By default a client is its own audience, so there is none to ask for.
    fn strategy(&self) -> Value {
        json!({"scopes_required": [Self::READ]})
    }

    fn key(&self) -> Key {
        signer(Alg::Rs256)
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        let path = request.path();
        let rfc8414 = path.strip_prefix("/.well-known/oauth-authorization-server");
        if rfc8414 == Some(ANONYMOUS) {
            return Some(Endpoint::Discovery);
        }
        match path.strip_prefix("/oauth/v2/oauth-")? {
            "anonymous/.well-known/openid-configuration"
            | "anonymous/.well-known/oauth-authorization-server" => Some(Endpoint::Discovery),
            "anonymous/jwks" => Some(Endpoint::Jwks),
            "introspect" => Some(Endpoint::Introspection),
            "token" => Some(Endpoint::Token),
            rest if rest == "registration" || rest.starts_with("registration/") => {
                Some(Endpoint::Registration)
            }
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        match endpoint {
            Endpoint::Discovery if !self.exposed => Answer::new(404, ""),
            Endpoint::Discovery => {
                let mut document = document(&self.base);
                document["token_endpoint_auth_methods_supported"] = json!(self.lists);
                Answer::json(200, &document).header("Cache-Control", "max-age=600")
            }
            Endpoint::Introspection => self.introspect(account, request),
            Endpoint::Jwks => {
                let keys: Vec<Value> = account.keys.iter().map(published).collect();
                Answer::json(200, &json!({"keys": keys}))
            }
            _ => self.grant(account, request),
        }
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        self.registry.answer(account, request, &self.base)
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let scope = account.clients[client_id].scopes.join(" ");
        let key = account.key();
        let header = json!({"kid": key.kid, "x5t": published(&key)["x5t"], "alg": key.alg.name()});
        Token::of(key, header, self.claims(client_id, &scope))
    }

    fn opaque(&self, account: &mut Account, client_id: &str) -> String {
        let scope = account.clients[client_id].scopes.join(" ");
        self.reference(account, client_id, &scope)
    }
}

impl Curity {
    /// An opaque token, with what introspection tells of it.
    pub(super) fn reference(&self, account: &mut Account, client_id: &str, scope: &str) -> String {
        let mut facts = self.claims(client_id, scope);
        facts["active"] = json!(true);
        facts["client_id"] = json!(client_id);
        facts["token_type"] = json!("bearer");
        let token = format!("_0XBK7QZM_{}", uuid::Uuid::new_v4());
        account.keep(token, facts)
    }

    fn claims(&self, client_id: &str, scope: &str) -> Value {
        let now = now();
        let audience = match &self.audience {
            Value::Null => json!(client_id),
            named => named.clone(),
        };
        json!({
            "jti": uuid::Uuid::new_v4().to_string(),
            "delegationId": uuid::Uuid::new_v4().to_string(),
            "exp": now + LIFE, "nbf": now, "scope": scope, "iss": self.issuer(), "sub": client_id,
            "aud": audience, "iat": now, "purpose": "access_token",
        })
    }

    /// `POST /oauth/v2/oauth-token`.
    fn grant(&mut self, account: &mut Account, request: &Request) -> Answer {
        if request.method != "POST" {
            return Answer::new(405, "");
        }
        let (id, secret) = match account.presented(request, Decoding::Form) {
            Presented::Pair(id, secret) => (id, secret),
            Presented::Both => return refuse(400, "invalid_request"),
            Presented::IdAlone(_) | Presented::Nothing => return unauthenticated(request),
        };
        let client = account.clients.get(&id);
        let Some(client) = client.filter(|client| client.knows(&secret)) else {
            return unauthenticated(request);
        };
        let grant_type = request.field("grant_type").unwrap_or_default();
        if !client.granted || !client.grant_types.contains(&grant_type) {
            return refuse(400, "unauthorized_client");
        }
        let asked = request.field("scope").unwrap_or_default();
        let mut words = asked.split_ascii_whitespace();
        if !words.all(|word| client.scopes.iter().any(|scope| scope == word)) {
            return refuse(400, "invalid_scope");
        }
        let scope = if asked.is_empty() {
            // What manages clients is given to those alone who ask for it.
            let usual = client
                .scopes
                .iter()
                .filter(|scope| !is_for_management(scope));
            usual.cloned().collect::<Vec<_>>().join(" ")
        } else {
            asked
        };
        let token = match self.tokens {
            Format::Jwt => {
                let token = self.token(account, &id);
                token.claim("scope", scope.as_str()).build()
            }
            Format::Opaque => self.reference(account, &id, &scope),
        };
        self.registry.learn(&token, &scope);
        let body = json!({
            "access_token": token, "expires_in": LIFE, "scope": scope, "token_type": "bearer",
        });
        Answer::json(200, &body).header("Cache-Control", "no-store")
    }

    /// `POST /oauth/v2/oauth-introspect`, by Basic of a client with the introspection capability.
    fn introspect(&self, account: &Account, request: &Request) -> Answer {
        if request.header("authorization").is_none() {
            return unauthenticated(request);
        }
        let Presented::Pair(id, secret) = account.presented(request, Decoding::Form) else {
            return unauthenticated(request);
        };
        let client = account.clients.get(&id);
        let known = client.is_some_and(|client| client.knows(&secret));
        if !known || !self.introspectors.contains(&id) {
            return unauthenticated(request);
        }
        let token = request.field("token").unwrap_or_default();
        match (account.opaque.get(&token), self.inactive) {
            (Some(facts), _) => Answer::json(200, facts),
            (None, Inactive::NoContent) => Answer::new(204, ""),
            (None, Inactive::Told) => Answer::json(200, &json!({"active": false})),
        }
    }
}

/// A key as Curity names them: by a number, which may be negative, written as text.
pub(super) fn signer(alg: Alg) -> Key {
    let number = i32::from_str_radix(&random(7), 16).unwrap() + 1_000_000_000;
    Key::new(alg).named(&format!("-{number}"))
}

/// The public half with the thumbprint of its certificate, which itself is not published.
fn published(key: &Key) -> Value {
    let mut jwk = match key.alg {
        Alg::Rs256 => certified(key),
        _ => key.jwk(),
    };
    jwk.as_object_mut().unwrap().remove("x5c");
    jwk
}

fn document(base: &str) -> Value {
    let at = |endpoint: &str| format!("{base}/oauth/v2/oauth-{endpoint}");
    json!({
        "issuer": at("anonymous"),
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "jwks_uri": at("anonymous/jwks"),
        "introspection_endpoint": at("introspect"),
        "revocation_endpoint": at("revoke"),
        "registration_endpoint": at("registration"),
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

fn unauthenticated(request: &Request) -> Answer {
    let answer = refuse(401, "invalid_client");
    if request.header("authorization").is_none() {
        return answer;
    }
    answer.header("WWW-Authenticate", "Basic realm=\"oauth-token\"")
}

fn refuse(status: u16, error: &str) -> Answer {
    Answer::json(status, &json!({"error": error}))
}

/// What an operator may write as `issuer:` too: the address of the metadata, as Konnect asks for.
pub(super) fn discovery_url(base: &str) -> String {
    format!("{base}{ANONYMOUS}{CONFIGURATION}")
}
