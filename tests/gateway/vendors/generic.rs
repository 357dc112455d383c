//! A server of nobody in particular that keeps to RFC 7591 and 7592: an update gives the client
//! another registration access token, and the one before is good no more.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::emulation::{Account, Client, Decoding, Presented, Vendor, random};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    keys::Key,
    now,
    token::Token,
};

/// The audience of every token.
const API: &str = "https://orders.example/";
/// The token with which anybody may register.
pub(crate) const INITIAL: &str = "initial-Access_t0ken.of~the+operator/=";
/// Where clients are registered.
const REGISTER: &str = "/reg";

/// The server.
pub(crate) struct Generic {
    base: String,
    /// Clients that registered themselves: their metadata and the token that manages them.
    pub(crate) registered: HashMap<String, (Map<String, Value>, String)>,
    /// Whether clients can be managed at all.
    pub(crate) managed: bool,
}

impl Vendor for Generic {
    const NAME: &'static str = "generic";
    const READ: &'static str = "orders:read";
    const WRITE: &'static str = "orders:write";

    fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            registered: HashMap::new(),
            managed: true,
        }
    }

    fn client_id(&self) -> String {
        random(12)
    }

    fn issuer(&self) -> String {
        self.base.clone()
    }

    fn strategy(&self) -> Value {
        json!({"audience": [API]})
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        match request.path() {
            "/.well-known/openid-configuration" => Some(Endpoint::Discovery),
            "/jwks" => Some(Endpoint::Jwks),
            "/token" => Some(Endpoint::Token),
            path if path.starts_with(REGISTER) => Some(Endpoint::Registration),
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        let base = &self.base;
        match endpoint {
            Endpoint::Discovery => Answer::json(
                200,
                &json!({
                    "issuer": base, "token_endpoint": format!("{base}/token"),
                    "jwks_uri": format!("{base}/jwks"),
                    "registration_endpoint": format!("{base}{REGISTER}"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }),
            ),
            Endpoint::Jwks => {
                let keys: Vec<Value> = account.keys.iter().map(Key::jwk).collect();
                Answer::json(200, &json!({"keys": keys}))
            }
            _ => self.grant(account, request),
        }
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        let line = request.header("authorization").unwrap_or_default();
        let token = line.strip_prefix("Bearer ").unwrap_or_default();
        let id = request.path().strip_prefix("/reg/").map(str::to_owned);
        let Some(id) = id else {
            return match request.method.as_str() {
                "POST" if token == INITIAL => self.create(account, request),
                "POST" => denied(),
                _ => Answer::new(405, ""),
            };
        };
        let known = self.registered.get(&id);
        if known.is_none_or(|(_, own)| own != token) {
            return denied();
        }
        match request.method.as_str() {
            "DELETE" => {
                self.registered.remove(&id);
                account.clients.remove(&id);
                Answer::new(204, "")
            }
            "PUT" => {
                let Some(metadata) = metadata(request) else {
                    return Answer::json(400, &json!({"error": "invalid_client_metadata"}));
                };
                let known = (metadata, random(40));
                self.registered.insert(id.clone(), known);
                self.told(account, 200, &id)
            }
            "GET" => self.told(account, 200, &id),
            _ => Answer::new(405, ""),
        }
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let (key, now) = (account.key(), now());
        let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": key.kid});
        let claims = json!({
            "iss": self.base, "sub": client_id, "client_id": client_id, "aud": API, "iat": now,
            "exp": now + 300, "scope": account.clients[client_id].scopes.join(" "),
        });
        Token::of(key, header, claims)
    }

    fn opaque(&self, _account: &mut Account, _client_id: &str) -> String {
        random(32)
    }
}

impl Generic {
    fn grant(&self, account: &Account, request: &Request) -> Answer {
        let invalid = || Answer::json(401, &json!({"error": "invalid_client"}));
        let Presented::Pair(id, secret) = account.presented(request, Decoding::Form) else {
            return invalid();
        };
        if !(account.clients.get(&id)).is_some_and(|client| client.knows(&secret)) {
            return invalid();
        }
        let token = self.token(account, &id).build();
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 300});
        Answer::json(200, &body)
    }

    fn create(&mut self, account: &mut Account, request: &Request) -> Answer {
        let Some(metadata) = metadata(request) else {
            return Answer::json(400, &json!({"error": "invalid_client_metadata"}));
        };
        let id = self.client_id();
        let client = Client::new(&random(40), Self::READ);
        account.clients.insert(id.clone(), client);
        self.registered.insert(id.clone(), (metadata, random(40)));
        self.told(account, 201, &id)
    }

    fn told(&self, account: &Account, status: u16, id: &str) -> Answer {
        let (metadata, token) = &self.registered[id];
        let mut told = Value::Object(metadata.clone());
        told["client_id"] = json!(id);
        told["client_secret"] = json!(account.clients[id].secrets[0]);
        told["client_secret_expires_at"] = json!(0);
        if self.managed {
            told["registration_access_token"] = json!(token);
            told["registration_client_uri"] = json!(format!("{}{REGISTER}/{id}", self.base));
        }
        Answer::json(status, &told)
    }
}

fn metadata(request: &Request) -> Option<Map<String, Value>> {
    let mut metadata: Map<String, Value> = serde_json::from_slice(&request.body).ok()?;
    metadata.remove("client_id");
    Some(metadata)
}

fn denied() -> Answer {
    Answer::json(401, &json!({"error": "invalid_token"})).header("WWW-Authenticate", "Bearer")
}
