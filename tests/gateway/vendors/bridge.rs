//! An HTTP DCR bridge as Konnect specifies it, at `/dcr`, in front of a small token service: it
//! makes clients there and is asked by its key.

use serde_json::{Value, json};

use super::emulation::{Account, Client, Decoding, Presented, Vendor, random, words};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    keys::Key,
    now, rfc3339,
    token::Token,
};

/// The audience of every token.
pub(crate) const API: &str = "https://orders.example/";
/// What the bridge expects in `X-API-KEY`.
pub(crate) const KEY: &str = "the-key-of-the-bridge-9f27c0";

/// The path below which the bridge is.
const PLACE: &str = "/dcr";

/// The members of `POST /`: all of them, and no others.
const APPLICATION: [&str; 11] = [
    "application_description",
    "auth_strategy_id",
    "client_name",
    "dcr_provider_id",
    "developer_id",
    "grant_types",
    "organization_id",
    "portal_id",
    "redirect_uris",
    "scopes",
    "token_endpoint_auth_method",
];

/// The members of every event.
const EVENT: [&str; 10] = [
    "application_description",
    "application_id",
    "application_name",
    "auth_strategy_id",
    "client_id",
    "dcr_provider_id",
    "developer_id",
    "event_type",
    "organization_id",
    "portal_id",
];

/// A token service, and the bridge in front of it.
pub(crate) struct Bridge {
    base: String,
    /// Changes the answer to a registration, as a bridge of somebody's own may.
    pub(crate) made: Option<fn(&mut Value)>,
    /// What the next client is called.
    pub(crate) next_id: Option<String>,
    /// Events in the order in which they came.
    pub(crate) events: Vec<Value>,
    /// The status of what went well; any of 2xx says so.
    pub(crate) status: Option<u16>,
}

impl Vendor for Bridge {
    const NAME: &'static str = "generic";
    const READ: &'static str = "orders:read";
    const WRITE: &'static str = "orders:write";

    fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            made: None,
            next_id: None,
            events: Vec::new(),
            status: None,
        }
    }

    fn client_id(&self) -> String {
        random(10)
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
            path if path.starts_with(PLACE) => Some(Endpoint::Registration),
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
        if request.header("x-api-key") != Some(KEY) {
            return refuse(401, "Unauthorized", "The API key is not valid.");
        }
        let path = request.path().strip_prefix(PLACE).unwrap_or_default();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let id = percent_encoding::percent_decode_str(segments[0]);
        let id = id.decode_utf8().unwrap().into_owned();
        let mut answer = match (request.method.as_str(), &segments[..]) {
            ("POST", [""]) => self.create(account, request),
            (_, [_, ..]) if !account.clients.contains_key(&id) => {
                refuse(404, "not_found", "There is no such application.")
            }
            ("DELETE", [_]) => {
                account.clients.remove(&id);
                Answer::new(204, "")
            }
            ("POST", [_, "new-secret"]) => {
                let secret = random(40);
                account.clients.get_mut(&id).unwrap().rotate(&secret);
                Answer::json(200, &json!({"client_id": id, "client_secret": secret}))
            }
            ("POST", [_, "event-hook"]) => self.event(&id, request),
            _ => refuse(404, "not_found", "There is no such route."),
        };
        if let Some(status) = self.status
            && answer.status < 300
        {
            answer.status = status;
        }
        answer
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

impl Bridge {
    /// Where the bridge is, as an operator writes it.
    pub(crate) fn address(&self) -> String {
        format!("{}{PLACE}", self.base)
    }

    fn grant(&self, account: &Account, request: &Request) -> Answer {
        let Presented::Pair(id, secret) = account.presented(request, Decoding::Form) else {
            return Answer::json(401, &json!({"error": "invalid_client"}));
        };
        let client = account.clients.get(&id);
        if !client.is_some_and(|client| client.knows(&secret)) {
            return Answer::json(401, &json!({"error": "invalid_client"}));
        }
        let token = self.token(account, &id).build();
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 300});
        Answer::json(200, &body)
    }

    /// `POST /`.
    fn create(&mut self, account: &mut Account, request: &Request) -> Answer {
        let body = match members(request, &APPLICATION, &[]) {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let (id, secret) = (
            self.next_id.take().unwrap_or_else(|| self.client_id()),
            format!("*8p{}$#6!z%2F", random(24)),
        );
        let mut client = Client::new(&secret, "");
        client.scopes = words(&body["scopes"]);
        account.clients.insert(id.clone(), client);
        let mut told = json!({
            "client_id": id, "client_secret": secret, "client_id_issued_at": rfc3339(now()),
        });
        if let Some(made) = self.made {
            made(&mut told);
        }
        Answer::json(201, &told)
    }

    /// `POST /{id}/event-hook`.
    fn event(&mut self, id: &str, request: &Request) -> Answer {
        let kind = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let (further, optional): (&[&str], &[&str]) = match kind["event_type"].as_str() {
            Some("update_application") => (&["redirect_uris"], &[]),
            Some("add_registration" | "remove_registration") => {
                (&["api_product_version_id"], &["audience"])
            }
            _ => return refuse(400, "invalid_request", "There is no such event."),
        };
        match members(request, &[&EVENT, further].concat(), optional) {
            Ok(event) if event["client_id"] == id => {
                self.events.push(event);
                Answer::json(200, &json!({}))
            }
            Ok(_) => refuse(400, "invalid_request", "The event is of another client."),
            Err(refusal) => refusal,
        }
    }
}

/// A body with all of these members, perhaps some of the optional ones, and no others; what is
/// named an id is a UUID, but the client's.
fn members(request: &Request, required: &[&str], optional: &[&str]) -> Result<Value, Answer> {
    let wrong = |text: String| Err(refuse(400, "invalid_request", &text));
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return wrong("The body is no JSON.".to_owned());
    };
    let Some(members) = body.as_object() else {
        return wrong("The body is no object.".to_owned());
    };
    if let Some(name) = required.iter().find(|name| !members.contains_key(**name)) {
        return wrong(format!("must have required property '{name}'"));
    }
    for (name, value) in members {
        if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
            return wrong(format!("must not have the property '{name}'"));
        }
        let is_uuid = || {
            value
                .as_str()
                .is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
        };
        if name.ends_with("_id") && name != "client_id" && !is_uuid() {
            return wrong(format!("/{name} must match format \"uuid\""));
        }
    }
    Ok(body)
}

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": error, "error_description": description}),
    )
}
