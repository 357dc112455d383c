//! Dynamic client registration at Curity, not templatized: initial access tokens are good once, and
//! reading or updating a client gives it another secret and another token.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use url::Url;

use super::{Account, Client, random};
use crate::harness::{
    http1::{Answer, Request},
    now,
};

/// What is registered under.
const REGISTRATION: &str = "/oauth/v2/oauth-registration";
/// The scopes of the profile, which clients may have.
const SCOPES: [&str; 3] = ["orders", "orders:write", "openid"];
/// Members that the server alone sets (RFC 7592 section 2.2).
const SERVERS_OWN: [&str; 4] = [
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];

/// The clients that registered themselves.
pub(crate) struct Registry {
    /// Whether "client management" is switched on: only then do clients come with URI and token.
    pub(crate) managed: bool,
    /// Members put over every client that is returned; null takes one away.
    pub(crate) returned: Map<String, Value>,
    /// Tokens with which clients are registered and managed, by what they are good for.
    tokens: HashMap<String, String>,
    clients: HashMap<String, Registered>,
}

/// One of them.
struct Registered {
    metadata: Map<String, Value>,
    /// Its registration access token.
    token: String,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            managed: true,
            returned: Map::new(),
            tokens: HashMap::new(),
            clients: HashMap::new(),
        }
    }
}

impl Registry {
    /// Takes note of a token that was given.
    pub(super) fn learn(&mut self, token: &str, scope: &str) {
        if scope.split(' ').any(is_for_management) {
            self.tokens.insert(token.to_owned(), scope.to_owned());
        }
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// What a client is registered with.
    pub(crate) fn metadata(&self, id: &str) -> &Map<String, Value> {
        &self.clients[id].metadata
    }

    pub(super) fn answer(
        &mut self,
        account: &mut Account,
        request: &Request,
        base: &str,
    ) -> Answer {
        let line = request.header("authorization");
        let token = line.and_then(|line| line.strip_prefix("Bearer "));
        let Some(token) = token.map(str::to_owned) else {
            return unauthenticated();
        };
        let rest = request.path().strip_prefix(REGISTRATION).unwrap();
        match (request.method.as_str(), rest.strip_prefix('/')) {
            ("POST", None) => self.create(account, request, base, &token),
            ("GET" | "PUT" | "DELETE", Some(id)) => self.manage(account, request, base, &token, id),
            _ => Answer::new(405, ""),
        }
    }

    fn create(
        &mut self,
        account: &mut Account,
        request: &Request,
        base: &str,
        token: &str,
    ) -> Answer {
        match self.tokens.get(token) {
            None => return unauthenticated(),
            Some(scope) if !scope.split(' ').any(|scope| scope == "dcr") => {
                return Answer::json(403, &json!({"error": "insufficient_scope"}));
            }
            Some(_) => {}
        }
        // Good once, whatever becomes of it.
        self.tokens.remove(token);
        let metadata = match checked(request) {
            Ok(metadata) => metadata,
            Err(answer) => return answer,
        };
        let id = uuid::Uuid::new_v4().to_string();
        let registered = Registered {
            metadata,
            token: String::new(),
        };
        self.clients.insert(id.clone(), registered);
        self.renewed(account, base, 201, &id)
    }

    fn manage(
        &mut self,
        account: &mut Account,
        request: &Request,
        base: &str,
        token: &str,
        id: &str,
    ) -> Answer {
        let manages = |scope: &String| scope.split(' ').any(|scope| scope == "dcrm");
        let by_scope = self.tokens.get(token).is_some_and(manages);
        let own = |client: &Registered| self.managed && client.token == token;
        if !self.clients.get(id).is_some_and(|c| by_scope || own(c)) {
            return unauthenticated();
        }
        match request.method.as_str() {
            "DELETE" => {
                self.clients.remove(id);
                account.clients.remove(id);
                account.opaque.retain(|_, facts| facts["client_id"] != id);
                return Answer::new(204, "");
            }
            "PUT" => {
                let metadata = match checked(request) {
                    Ok(metadata) => metadata,
                    Err(answer) => return answer,
                };
                let forbidden = SERVERS_OWN.iter().any(|name| metadata.contains_key(*name));
                if forbidden || metadata.get("client_id") != Some(&json!(id)) {
                    return refused(
                        "invalid_request",
                        "client_id is missing or a member too many",
                    );
                }
                self.clients.get_mut(id).unwrap().metadata = metadata;
            }
            _ => {}
        }
        self.renewed(account, base, 200, id)
    }

    /// The client, with a new secret and a new token: the old ones are good no more.
    fn renewed(&mut self, account: &mut Account, base: &str, status: u16, id: &str) -> Answer {
        let client = self.clients.get_mut(id).unwrap();
        let (secret, token) = (random(43), format!("_0XB{}", random(30)));
        client.token.clone_from(&token);
        let scope = client.metadata.get("scope").and_then(Value::as_str);
        let scope = scope.unwrap_or("orders").to_owned();
        let mut known = Client::new(&secret, "");
        known.scopes = scope.split(' ').map(str::to_owned).collect();
        account.clients.insert(id.to_owned(), known);
        let mut told = json!({
            "client_id": id, "client_id_issued_at": now(), "client_secret": secret,
            "client_secret_expires_at": 0, "scope": scope, "subject_type": "public",
            "access_token_ttl": 300, "audiences": [id], "redirect_uris": [], "response_types": [],
            "post_logout_redirect_uris": [], "require_proof_key": false,
            "requires_consent": false, "default_acr_values": [],
            "token_endpoint_auth_methods": ["client_secret_basic", "client_secret_post"],
        });
        let told = told.as_object_mut().unwrap();
        for name in ["client_name", "grant_types", "token_endpoint_auth_method"] {
            told.insert(name.to_owned(), client.metadata[name].clone());
        }
        if self.managed {
            told.insert(
                "registration_client_uri".to_owned(),
                json!(format!("{base}{REGISTRATION}/{id}")),
            );
            told.insert("registration_access_token".to_owned(), json!(token));
            told.insert(
                "registration_access_token_expires_in".to_owned(),
                json!(31_536_000),
            );
        }
        for (name, value) in &self.returned {
            match value {
                Value::Null => told.remove(name),
                value => told.insert(name.clone(), value.clone()),
            };
        }
        Answer::json(status, &Value::Object(told.clone())).header("Cache-Control", "no-store")
    }
}

/// Whether a scope is one to register or manage clients with.
pub(super) fn is_for_management(scope: impl AsRef<str>) -> bool {
    ["dcr", "dcrm"].contains(&scope.as_ref())
}

/// The metadata of a request, where the server would take it.
fn checked(request: &Request) -> Result<Map<String, Value>, Answer> {
    let invalid = |told: &str| refused("invalid_client_metadata", told);
    let metadata: Map<String, Value> =
        serde_json::from_slice(&request.body).map_err(|_| invalid("no JSON object"))?;
    if metadata.get("grant_types") != Some(&json!(["client_credentials"])) {
        return Err(invalid("grant_types is not supported"));
    }
    let method = metadata
        .get("token_endpoint_auth_method")
        .and_then(Value::as_str);
    if !matches!(method, Some("client_secret_basic" | "client_secret_post")) {
        return Err(invalid("token_endpoint_auth_method is not supported"));
    }
    let scope = metadata.get("scope").and_then(Value::as_str).unwrap_or("");
    let mut words = scope.split(' ').filter(|word| !word.is_empty());
    if let Some(unknown) = words.find(|word| !SCOPES.contains(word)) {
        return Err(invalid(&format!("unknown scope {unknown}")));
    }
    // What names the client to people has to be at the origin where its users come back.
    let origin = |value: &Value| Some(Url::parse(value.as_str()?).ok()?.origin());
    let home = metadata["redirect_uris"].get(0).and_then(origin);
    for name in ["client_uri", "logo_uri", "policy_uri", "tos_uri"] {
        let place = metadata.get(name).and_then(origin);
        if place.is_some() && place != home {
            return Err(invalid(&format!("{name} is of another origin")));
        }
    }
    Ok(metadata)
}

fn unauthenticated() -> Answer {
    Answer::json(401, &json!({"error": "invalid_token"})).header("WWW-Authenticate", "Bearer")
}

fn refused(error: &str, description: &str) -> Answer {
    Answer::json(
        400,
        &json!({"error": error, "error_description": description}),
    )
}
